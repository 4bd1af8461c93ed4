/* SPDX-License-Identifier: MIT */
#include "buf.h"

#include "alloc.h"

#include <stdlib.h>
#include <string.h>

void cs_buf_release(struct cs_buf *b)
{
	free(b->data);
	*b = (struct cs_buf){ 0 };
}

void cs_buf_clear(struct cs_buf *b)
{
	b->len = 0;
	b->failed = false;
}

bool cs_buf_reserve(struct cs_buf *b, size_t n)
{
	if (b->failed)
		return false;
	if (n <= b->cap - b->len)
		return true;
	if (n > SIZE_MAX - b->len || cs_grow(&b->data, &b->cap, b->len + n, 1) != 0) {
		b->failed = true;
		return false;
	}
	return true;
}

void cs_buf_add(struct cs_buf *b, const void *data, size_t n)
{
	if (n && cs_buf_reserve(b, n)) {
		memcpy(b->data + b->len, data, n);
		b->len += n;
	}
}

void cs_buf_u8(struct cs_buf *b, uint8_t v)
{
	if (cs_buf_reserve(b, 1))
		b->data[b->len++] = v;
}

void cs_buf_u32(struct cs_buf *b, uint32_t v)
{
	uint8_t p[4];
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
	cs_buf_add(b, p, sizeof(p));
}

void cs_buf_u64(struct cs_buf *b, uint64_t v)
{
	uint8_t p[8];
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * i));
	cs_buf_add(b, p, sizeof(p));
}

void cs_buf_var(struct cs_buf *b, uint64_t v)
{
	if (!cs_buf_reserve(b, 10))
		return;
	while (v >= 0x80) {
		b->data[b->len++] = (uint8_t)(v | 0x80);
		v >>= 7;
	}
	b->data[b->len++] = (uint8_t)v;
}

void cs_buf_svar(struct cs_buf *b, int64_t v)
{
	cs_buf_var(b, ((uint64_t)v << 1) ^ (uint64_t)(v >> 63));
}

void cs_buf_str(struct cs_buf *b, const void *data, size_t n)
{
	cs_buf_var(b, n);
	cs_buf_add(b, data, n);
}

uint8_t cs_cur_u8(struct cs_cur *c)
{
	if (c->p >= c->end) {
		c->bad = true;
		return 0;
	}
	return *c->p++;
}

static uint64_t number(struct cs_cur *c, int size)
{
	const uint8_t *p = cs_cur_bytes(c, (size_t)size);
	uint64_t v = 0;
	for (int i = size - 1; p && i >= 0; i--)
		v = v << 8 | p[i];
	return v;
}

uint32_t cs_cur_u32(struct cs_cur *c)
{
	return (uint32_t)number(c, 4);
}

uint64_t cs_cur_u64(struct cs_cur *c)
{
	return number(c, 8);
}

uint64_t cs_cur_var_slow(struct cs_cur *c)
{
	uint64_t v = 0;
	for (unsigned shift = 0; shift < 64; shift += 7) {
		if (c->p >= c->end)
			break;
		uint8_t b = *c->p++;
		if (shift == 63 && b > 1)
			break;
		v |= (uint64_t)(b & 0x7f) << shift;
		if (!(b & 0x80))
			return v;
	}
	c->bad = true;
	c->p = c->end;
	return 0;
}

int64_t cs_cur_svar(struct cs_cur *c)
{
	uint64_t v = cs_cur_var(c);
	return (int64_t)(v >> 1) ^ -(int64_t)(v & 1);
}

uint64_t cs_cur_max(struct cs_cur *c, uint64_t max)
{
	uint64_t v = cs_cur_var(c);
	if (v > max) {
		c->bad = true;
		c->p = c->end;
		return 0;
	}
	return v;
}

const uint8_t *cs_cur_bytes(struct cs_cur *c, size_t n)
{
	if (n > cs_cur_left(c)) {
		c->bad = true;
		c->p = c->end;
		return NULL;
	}
	const uint8_t *p = c->p;
	c->p += n;
	return p;
}

const uint8_t *cs_cur_str(struct cs_cur *c, size_t max, size_t *n)
{
	*n = (size_t)cs_cur_max(c, max);
	const uint8_t *p = cs_cur_bytes(c, *n);
	if (!p)
		*n = 0;
	return p;
}

void cs_cur_cstr(struct cs_cur *c, char *out, size_t max)
{
	size_t n;
	const uint8_t *p = cs_cur_str(c, max, &n);
	if (n && memchr(p, 0, n)) {
		c->bad = true;
		n = 0;
	}
	if (n)
		memcpy(out, p, n);
	out[n] = 0;
}
