/* SPDX-License-Identifier: MIT */
/*
 * verify_map.c - what is known of pages that were looked at: an open hash table.
 */
#include "verify_impl.h"

#include "alloc.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_CAP 256 /* a power of two */

/* The row of a page and a key, or the empty one where it belongs. */
static struct cs_verify_key *place_of(const struct cs_verify_map *m, char *rows, size_t cap,
				      cs_chunk page, uint64_t key)
{
	size_t at = (page + key * 0xbf58476d1ce4e5b9ull) * 0x9e3779b97f4a7c15ull >> 20;
	struct cs_verify_key *k;
	while ((k = (void *)(rows + (at & (cap - 1)) * m->size))->page &&
	       !(k->page == page && k->key == key))
		at++;
	return k;
}

static bool grow(struct cs_verify_map *m)
{
	size_t cap = m->cap ? 2 * m->cap : FIRST_CAP;
	char *rows = cs_zalloc(cap * m->size);
	if (!rows)
		return false;
	for (size_t i = 0; i < m->cap; i++) {
		const struct cs_verify_key *k = (const void *)(m->rows + i * m->size);
		if (k->page)
			memcpy(place_of(m, rows, cap, k->page, k->key), k, m->size);
	}
	free(m->rows);
	m->rows = rows;
	m->cap = cap;
	return true;
}

void *cs_verify_map_find(const struct cs_verify_map *m, cs_chunk page, uint64_t key)
{
	struct cs_verify_key *k = m->n ? place_of(m, m->rows, m->cap, page, key) : NULL;
	return k && k->page ? k : NULL;
}

void *cs_verify_map_add(struct cs_verify_map *m, cs_chunk page, uint64_t key)
{
	if (2 * (m->n + 1) > m->cap && !grow(m))
		return NULL;
	struct cs_verify_key *k = place_of(m, m->rows, m->cap, page, key);
	m->n += !k->page;
	*k = (struct cs_verify_key){ page, key };
	return k;
}

void cs_verify_map_release(struct cs_verify_map *m)
{
	free(m->rows);
	m->rows = NULL;
	m->n = m->cap = 0;
}
