/* SPDX-License-Identifier: MIT */
/*
 * verify_pieces.c - the pages of files' pieces that were looked at, by number.
 *
 * Not to remember one costs time only.
 */
#include "verify_impl.h"

#include "alloc.h"

#include <stdlib.h>

static struct cs_verify_pieces *place_of(struct cs_verify_pieces *t, size_t cap, cs_chunk page,
					 unsigned level)
{
	size_t at = (page * 8 + level) * 0x9e3779b97f4a7c15ull >> 20;
	while (t[at & (cap - 1)].page &&
	       !(t[at & (cap - 1)].page == page && t[at & (cap - 1)].level == level))
		at++;
	return &t[at & (cap - 1)];
}

static bool grow(struct cs_verify_run *v)
{
	size_t cap = v->pieces_cap ? 2 * v->pieces_cap : 256;
	struct cs_verify_pieces *t = cs_zalloc(cap * sizeof(*t));
	if (!t)
		return false;
	for (size_t i = 0; i < v->pieces_cap; i++)
		if (v->pieces[i].page)
			*place_of(t, cap, v->pieces[i].page, v->pieces[i].level) = v->pieces[i];
	free(v->pieces);
	v->pieces = t;
	v->pieces_cap = cap;
	return true;
}

const struct cs_verify_pieces *cs_verify_pieces_at(const struct cs_verify_run *v, cs_chunk page,
						   unsigned level)
{
	return place_of(v->pieces, v->pieces_cap, page, level);
}

void cs_verify_pieces_add(struct cs_verify_run *v, const struct cs_verify_pieces *p)
{
	if (2 * (v->npieces + 1) > v->pieces_cap && !grow(v))
		return;
	struct cs_verify_pieces *at = place_of(v->pieces, v->pieces_cap, p->page, p->level);
	v->npieces += !at->page;
	*at = *p;
}
