/* SPDX-License-Identifier: MIT */
#include "extent.h"

#include "alloc.h"
#include "hash.h"

#include <stdlib.h>

int cs_extent_add(struct cs_pages_writer *w, uint64_t len, cs_chunk chunk, uint64_t cut,
		  struct cs_error *err)
{
	if (cs_pages_fresh(w))
		w->level[0].bases[0] = chunk >> CS_SLOT_BITS;
	cs_buf_var(&w->scratch, len << 1 | (chunk == 0));
	if (chunk)
		cs_ref_pack(&w->scratch, chunk, w->level[0].bases[0]);
	return cs_pages_append(w, NULL, 0, len, cut, err);
}

int cs_extents_unpack(const void *page, size_t len, struct cs_extent **out, size_t *n)
{
	struct cs_cur c = cs_cur(page, len);
	struct cs_page_head h;
	if (cs_page_head_unpack(&c, &h) != CS_OK || h.kind != CS_PAGE_EXTENT)
		return CS_E_CORRUPT;
	struct cs_extent *x = cs_alloc(h.count * sizeof(*x));
	if (!x)
		return CS_E_NOMEM;
	uint64_t off = 0;
	for (size_t i = 0; i < h.count && !c.bad; i++) {
		uint64_t v = cs_cur_var(&c);
		x[i] = (struct cs_extent){ .off = off, .len = v >> 1 };
		if (!(v & 1))
			x[i].chunk = cs_ref_unpack(&c, h.bases[0]);
		off += x[i].len;
		if (x[i].len == 0 || off > INT64_MAX || (x[i].chunk && x[i].len > CS_CHUNK_MAX))
			c.bad = true;
	}
	if (!cs_cur_done(&c)) {
		free(x);
		return CS_E_CORRUPT;
	}
	*out = x;
	*n = h.count;
	return CS_OK;
}

size_t cs_extents_find(const struct cs_extent *x, size_t n, uint64_t off)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (x[mid].off + x[mid].len <= off)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct cs_link cs_link_of(const struct cs_entry *e)
{
	uint8_t bytes[24];
	uint64_t v[3] = { (uint64_t)e->ctime.sec, e->ctime.nsec, e->size };
	for (int i = 0; i < 24; i++)
		bytes[i] = (uint8_t)(v[i / 8] >> (8 * (i % 8)));
	return (struct cs_link){ .volume = e->volume, .ino = e->ino,
				 .stamp = (uint32_t)cs_checksum(bytes, sizeof(bytes)) };
}

int cs_link_compare(const struct cs_link *a, const struct cs_link *b)
{
	if (a->volume != b->volume)
		return a->volume < b->volume ? -1 : 1;
	if (a->ino != b->ino)
		return a->ino < b->ino ? -1 : 1;
	return (a->stamp > b->stamp) - (a->stamp < b->stamp);
}

void cs_link_key(const struct cs_link *l, uint8_t out[CS_LINK_KEY_SIZE])
{
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(l->volume >> (8 * (3 - i)));
	for (int i = 0; i < 8; i++)
		out[4 + i] = (uint8_t)(l->ino >> (8 * (7 - i)));
	for (int i = 0; i < 4; i++)
		out[12 + i] = (uint8_t)(l->stamp >> (8 * (3 - i)));
}

struct cs_link cs_link_from_key(const uint8_t key[CS_LINK_KEY_SIZE])
{
	struct cs_link l = { 0 };
	for (int i = 0; i < 4; i++)
		l.volume = l.volume << 8 | key[i];
	for (int i = 0; i < 8; i++)
		l.ino = l.ino << 8 | key[4 + i];
	for (int i = 0; i < 4; i++)
		l.stamp = l.stamp << 8 | key[12 + i];
	return l;
}

int cs_link_add(struct cs_pages_writer *w, const struct cs_link *l, struct cs_error *err)
{
	uint8_t key[CS_LINK_KEY_SIZE];
	cs_link_key(l, key);
	cs_buf_var(&w->scratch, l->volume);
	cs_buf_var(&w->scratch, l->ino);
	cs_buf_var(&w->scratch, l->stamp);
	cs_buf_var(&w->scratch, l->first);
	return cs_pages_append(w, key, sizeof(key), 0, cs_checksum(key, sizeof(key)), err);
}

int cs_links_unpack(const void *page, size_t len, struct cs_link **out, size_t *n)
{
	struct cs_cur c = cs_cur(page, len);
	struct cs_page_head h;
	if (cs_page_head_unpack(&c, &h) != CS_OK || h.kind != CS_PAGE_LINK)
		return CS_E_CORRUPT;
	struct cs_link *l = cs_alloc(h.count * sizeof(*l));
	if (!l)
		return CS_E_NOMEM;
	for (size_t i = 0; i < h.count && !c.bad; i++) {
		l[i].volume = (uint32_t)cs_cur_max(&c, UINT32_MAX);
		l[i].ino = cs_cur_var(&c);
		l[i].stamp = (uint32_t)cs_cur_max(&c, UINT32_MAX);
		l[i].first = cs_cur_max(&c, 1ull << 40);
		if (i && cs_link_compare(&l[i - 1], &l[i]) >= 0)
			c.bad = true;
	}
	if (!cs_cur_done(&c)) {
		free(l);
		return CS_E_CORRUPT;
	}
	*out = l;
	*n = h.count;
	return CS_OK;
}

const struct cs_link *cs_links_find(const struct cs_link *l, size_t n, const struct cs_link *want)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		int d = cs_link_compare(&l[mid], want);
		if (d == 0)
			return &l[mid];
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}
