/* SPDX-License-Identifier: MIT */
/*
 * marks.h - marks: one bit a chunk, and where each bundle's bits are.
 */
#ifndef CS_MARKS_H
#define CS_MARKS_H

#include "store.h"

struct cs_mark_bundle {
	uint64_t number;
	uint64_t first; /* the bit of slot 0 */
	uint32_t nslots;
};

struct cs_mark_moved {
	cs_chunk from, to;
	bool used; /* something refers to `from` */
};

struct cs_marks {
	struct cs_mark_bundle *bundles; /* by number */
	size_t nbundles, bundles_cap;
	struct cs_mark_moved *moved; /* by from */
	size_t nmoved, moved_cap;
	uint8_t *bits;
	uint64_t nbits, nset;
};

/* Lists all bundles and moved chunks, nothing marked. Release in any case. */
int cs_marks_init(struct cs_marks *m, struct cs_store *s, struct cs_error *err) CS_MUST_CHECK;
void cs_marks_release(struct cs_marks *m);
/* Mark a chunk by the number it is referred to by. 1: it was not marked; 0: it was, or is missing. */
int cs_marks_set(struct cs_marks *m, cs_chunk chunk);
bool cs_marks_get(const struct cs_marks *m, const struct cs_mark_bundle *b, uint32_t slot);
/* Mark everything that any point refers to. */
int cs_marks_all_points(struct cs_marks *m, struct cs_store *s, struct cs_error *err) CS_MUST_CHECK;

#endif
