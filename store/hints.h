/* SPDX-License-Identifier: MIT */
/*
 * hints.h - which leaf page holds a position: what a request that names a file
 * by its number alone would otherwise find by a descent from the root.
 *
 * A fixed table: a row may be overwritten at any time, and a missing row costs
 * a descent. Rows are small values, so nothing is held.
 */
#ifndef CS_HINTS_H
#define CS_HINTS_H

#include "entry.h"

struct cs_hints;

struct cs_hint {
	uint64_t seq;  /* the point */
	uint64_t base; /* entry i of the page has position base + i + entries below those before it */
	cs_chunk page;
};

struct cs_hints *cs_hints_new(void); /* NULL: no memory */
void cs_hints_free(struct cs_hints *h);
/* Positions in one run share a row. */
#define CS_HINT_RUN 32
/* Remember the page for the run of pos. */
void cs_hints_add(struct cs_hints *h, const struct cs_hint *hint, uint64_t pos);
/* A page that may hold pos; false: unknown. */
bool cs_hints_find(struct cs_hints *h, uint64_t seq, uint64_t pos, struct cs_hint *out);

#endif
