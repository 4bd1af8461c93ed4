/* SPDX-License-Identifier: MIT */
/* attrs.h - the attribute lists of the files that were asked for lately. See attrs.c. */
#ifndef CS_ATTRS_H
#define CS_ATTRS_H

#include "trees.h"

struct cs_attrs;

/* trees is borrowed until free. NULL: out of memory. */
struct cs_attrs *cs_attrs_new(struct cs_trees *trees);
/* All lists must have been put back. */
void cs_attrs_free(struct cs_attrs *a);

/* The list of an inode, to be put back, or NULL: not known any more. */
struct cs_xattr_list *cs_attrs_get(struct cs_attrs *a, uint64_t ino);
/* Keep a list just opened, which is then to be put back, and the tree that it is from. */
bool cs_attrs_add(struct cs_attrs *a, uint64_t ino, struct cs_xattr_list *list,
		  struct cs_tree *tree);
void cs_attrs_put(struct cs_attrs *a, struct cs_xattr_list *list);
/* Keep no lists of this point, but for those in use. */
void cs_attrs_drop(struct cs_attrs *a, uint64_t seq);

#endif
