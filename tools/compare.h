/* SPDX-License-Identifier: MIT */
/*
 * compare.h - in what two entries differ.
 */
#ifndef CS_TOOLS_COMPARE_H
#define CS_TOOLS_COMPARE_H

#include "store/chunkstore.h"

/*      bit              name */
#define CS_DIFFERS_TABLE(X)           \
	X(CS_DIFFERS_TYPE,    "type")    \
	X(CS_DIFFERS_CONTENT, "content") \
	X(CS_DIFFERS_TARGET,  "target")  \
	X(CS_DIFFERS_DEVICE,  "device")  \
	X(CS_DIFFERS_MODE,    "mode")    \
	X(CS_DIFFERS_OWNER,   "owner")   \
	X(CS_DIFFERS_LINKS,   "links")   \
	X(CS_DIFFERS_MTIME,   "mtime")   \
	X(CS_DIFFERS_XATTRS,  "xattrs")  \
	X(CS_DIFFERS_FLAGS,   "flags")   \
	X(CS_DIFFERS_PROJECT, "project")

enum cs_differs {
#define X(name, text) name,
	CS_DIFFERS_TABLE(X)
#undef X
	CS_DIFFERS_COUNT,
};

/* The word for a bit number of *what. */
const char *cs_compare_name(unsigned bit);

/*
 * Set a bit (1 << enum cs_differs) of *what for each respect in which two
 * entries differ, names and what is below directories aside. Both trees are of
 * one store.
 */
int cs_compare_nodes(struct cs_tree *ta, const struct cs_node *a, struct cs_tree *tb,
		     const struct cs_node *b, unsigned *what, struct cs_error *err) CS_MUST_CHECK;

/* Is all that is below two directories known to be equal, without reading it? */
bool cs_compare_same_below(const struct cs_entry *a, const struct cs_entry *b);

#endif
