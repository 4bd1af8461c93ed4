/* SPDX-License-Identifier: MIT */
/* trees.h - the opened trees of points that were used lately. See trees.c. */
#ifndef CS_TREES_H
#define CS_TREES_H

#include "store/chunkstore.h"

struct cs_trees;

/* At most max trees stay open when nobody uses them. NULL: out of memory. */
struct cs_trees *cs_trees_new(struct cs_store *store, unsigned max);
/* All trees must have been put back. */
void cs_trees_free(struct cs_trees *ts);

/* The tree of a point, to be put back. CS_E_NOTFOUND: forgotten, and nobody is in it. */
int cs_trees_get(struct cs_trees *ts, uint64_t seq, struct cs_tree **out,
		 struct cs_error *err) CS_MUST_CHECK;
void cs_trees_put(struct cs_trees *ts, struct cs_tree *tree);
/* Nobody refers to the point any more: close its tree, now or when it is put back. */
void cs_trees_drop(struct cs_trees *ts, uint64_t seq);

#endif
