/* SPDX-License-Identifier: MIT */
/*
 * reach.h - every chunk that a point refers to.
 */
#ifndef CS_REACH_H
#define CS_REACH_H

#include "reader.h"

enum cs_reach_kind {
	CS_REACH_DATA,  /* a file's bytes */
	CS_REACH_PAGE,  /* a tree, extent, link or index page: refers to more */
	CS_REACH_XATTR, /* a list of attributes (refers to more) or a long value */
};

/* 1: new, go on below it; 0: seen before; negative: stop. */
typedef int cs_reach_fn(void *arg, cs_chunk chunk, enum cs_reach_kind kind, struct cs_error *err);

/*
 * Tell fn of every chunk that the point refers to, pages before what they
 * refer to. Fails when a page cannot be read: what lies below is then unknown.
 * Memory: bounded by the width of the tree along one path, and by the number of pages.
 */
int cs_reach_point(struct cs_store *s, const struct cs_point_record *r, cs_reach_fn *fn,
		   void *arg, struct cs_error *err) CS_MUST_CHECK;

#endif
