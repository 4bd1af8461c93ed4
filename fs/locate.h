/* SPDX-License-Identifier: MIT */
/* locate.h - from a position back to the directory and the path. See locate.c. */
#ifndef CS_LOCATE_H
#define CS_LOCATE_H

#include "store/chunkstore.h"

/*
 * Find the directory that lists position pos, and its path below the root
 * (cut at cap bytes; cap 0: not wanted). CS_E_NOTFOUND. The root is its own parent.
 */
int cs_locate(struct cs_tree *t, uint64_t pos, uint64_t *out_parent, char *path, size_t cap,
	      struct cs_error *err) CS_MUST_CHECK;

/* The parents of directories that were handed out lately, by inode number. */
struct cs_parents;

struct cs_parents *cs_parents_new(void); /* NULL: out of memory */
void cs_parents_free(struct cs_parents *ps);
void cs_parents_note(struct cs_parents *ps, uint64_t dir, uint64_t parent);
/* 0: not known any more. */
uint64_t cs_parents_of(struct cs_parents *ps, uint64_t dir);

#endif
