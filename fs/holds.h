/* SPDX-License-Identifier: MIT */
/* holds.h - which points somebody has references into. See holds.c. */
#ifndef CS_HOLDS_H
#define CS_HOLDS_H

#include "store/chunkstore.h"

struct cs_holds;

/* Called with the first reference into a point (0 or a negative enum cs_code), and with the last. */
struct cs_holds_calls {
	int (*hold)(void *arg, uint64_t seq, struct cs_error *err);
	void (*drop)(void *arg, uint64_t seq);
	void *arg;
};

struct cs_holds *cs_holds_new(const struct cs_holds_calls *calls); /* NULL: out of memory */
/* Drops every point that is still held. */
void cs_holds_free(struct cs_holds *h);

/* n references more. Fails, and counts nothing, if it is the first one and the point cannot be held. */
int cs_holds_take(struct cs_holds *h, uint64_t seq, uint64_t n, struct cs_error *err) CS_MUST_CHECK;
/* One more, if there are any. */
bool cs_holds_join(struct cs_holds *h, uint64_t seq) CS_MUST_CHECK;
/*
 * Whether a point in use cannot be reached by its name any more. Forgotten with
 * the last reference; no point is such from the start.
 */
void cs_holds_set_left(struct cs_holds *h, uint64_t seq, bool left);
bool cs_holds_is_left(struct cs_holds *h, uint64_t seq);
/* Call fn for each point in use, in no order, with the lock held: it must not call back. */
struct cs_hold {
	uint64_t seq, count;
};
void cs_holds_each(struct cs_holds *h, void (*fn)(void *arg, const struct cs_hold *p), void *arg);
/* n references fewer. */
void cs_holds_give(struct cs_holds *h, uint64_t seq, uint64_t n);

#endif
