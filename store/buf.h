/* SPDX-License-Identifier: MIT */
/*
 * buf.h - a growing byte buffer, and the little-endian and varint pieces that
 * every stored record is packed from.
 *
 * A failed allocation sets `failed` and makes further appends no-ops: packers
 * check once, at the end.
 */
#ifndef CS_BUF_H
#define CS_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cs_buf {
	uint8_t *data;
	size_t len, cap;
	bool failed;
};

void cs_buf_release(struct cs_buf *b);
void cs_buf_clear(struct cs_buf *b);
/* Room for n more bytes at data + len; false (and failed) without memory. */
bool cs_buf_reserve(struct cs_buf *b, size_t n);
void cs_buf_add(struct cs_buf *b, const void *data, size_t n);
void cs_buf_u8(struct cs_buf *b, uint8_t v);
void cs_buf_u32(struct cs_buf *b, uint32_t v);
void cs_buf_u64(struct cs_buf *b, uint64_t v);
/* LEB128, 1 to 10 bytes. */
void cs_buf_var(struct cs_buf *b, uint64_t v);
/* Signed, zigzag coded, then LEB128. */
void cs_buf_svar(struct cs_buf *b, int64_t v);
/* Length as varint, then the bytes. */
void cs_buf_str(struct cs_buf *b, const void *data, size_t n);

/*
 * A bounds-checked cursor. Reading past the end, or a varint that does not fit
 * 64 bits, sets `bad` and yields zeroes for ever: unpackers check once.
 */
struct cs_cur {
	const uint8_t *p, *end;
	bool bad;
};

static inline struct cs_cur cs_cur(const void *data, size_t n)
{
	return (struct cs_cur){ data, (const uint8_t *)data + n, false };
}
static inline size_t cs_cur_left(const struct cs_cur *c)
{
	return (size_t)(c->end - c->p);
}
/* True when everything was read and nothing went wrong. */
static inline bool cs_cur_done(const struct cs_cur *c)
{
	return !c->bad && c->p == c->end;
}
uint8_t cs_cur_u8(struct cs_cur *c);
uint32_t cs_cur_u32(struct cs_cur *c);
uint64_t cs_cur_u64(struct cs_cur *c);
uint64_t cs_cur_var_slow(struct cs_cur *c);
static inline uint64_t cs_cur_var(struct cs_cur *c)
{
	if (c->p < c->end && *c->p < 0x80)
		return *c->p++;
	return cs_cur_var_slow(c);
}
int64_t cs_cur_svar(struct cs_cur *c);
/* A varint that must not exceed max. */
uint64_t cs_cur_max(struct cs_cur *c, uint64_t max);
/* n bytes, borrowed; NULL (and bad) when fewer are left. */
const uint8_t *cs_cur_bytes(struct cs_cur *c, size_t n);
/* A length (at most max) and that many bytes. */
const uint8_t *cs_cur_str(struct cs_cur *c, size_t max, size_t *n);
/* The same, copied into out[max + 1] with a NUL; bytes may not contain NUL. */
void cs_cur_cstr(struct cs_cur *c, char *out, size_t max);

#endif
