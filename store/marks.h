/* SPDX-License-Identifier: MIT */
/*
 * marks.h - which chunks the points need: one bit a chunk, and where each
 * bundle's bits are. A chunk is needed when a point refers to it, or when it is
 * the base of a delta that is.
 *
 * Points come while gc works. So the marks know up to which point they are
 * complete, and can be brought up to date; what came later is cheap to mark,
 * since most of it was marked before. Bundles that were not there at the first
 * listing are known for marking only: they are not gc's to free this time.
 */
#ifndef CS_MARKS_H
#define CS_MARKS_H

#include "store.h"

struct cs_mark_bundle {
	uint64_t number;
	uint64_t first; /* the byte of bits where slot 0 is */
	uint32_t nslots;
	bool old; /* was there at the first listing */
	bool deltas; /* some of its chunks are */
	bool needed; /* something refers to it; only told of one whose header is damaged: nslots is 0 */
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
	uint64_t nbytes, nset;
	bool listed;
	uint64_t points_end; /* all points with a smaller seq are marked */
	/* points to leave out, NULL: none */
	bool (*skip)(void *arg, const struct cs_point_record *r);
	/* asked at each page: anything but CS_OK stops it. NULL: nobody */
	int (*tick)(void *arg, struct cs_error *err);
	void *arg;
};

/*
 * List what is there and mark what all points refer to, or go on from the last
 * time: 1 when something may have changed, 0 when no point came meanwhile.
 * m begins zeroed; release it in any case.
 */
int cs_marks_update(struct cs_marks *m, struct cs_store *s, struct cs_error *err) CS_MUST_CHECK;
void cs_marks_release(struct cs_marks *m);
bool cs_marks_get(const struct cs_marks *m, const struct cs_mark_bundle *b, uint32_t slot);
/* How many of a bundle's chunks are marked. */
uint32_t cs_marks_live(const struct cs_marks *m, const struct cs_mark_bundle *b);
/* The index of the first bundle with a number >= from. */
size_t cs_marks_at(const struct cs_marks *m, uint64_t from);

#endif
