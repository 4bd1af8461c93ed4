/* SPDX-License-Identifier: MIT */
/*
 * select.h - what of a source goes into a point: everything below a root, or
 * named paths with their parents; less what is excluded.
 */
#ifndef CS_SELECT_H
#define CS_SELECT_H

#include "walk.h"

/* One directory on the way to the named paths. */
struct cs_select {
	char *name;
	bool whole; /* named itself: everything below it, whatever else is named there */
	struct cs_select *child; /* in name order */
	struct cs_select *next;
};

/*
 * The tree of the named paths, made absolute; the parents' symlinks are
 * resolved, a path's own last name is not. *out is the node of "/".
 */
int cs_select_new(const char *const *paths, size_t n, struct cs_select **out,
		  struct cs_error *err) CS_MUST_CHECK;
void cs_select_free(struct cs_select *s);
const struct cs_select *cs_select_child(const struct cs_select *s, const char *name);
/* The names to look at in a directory on the way, each with its NUL. */
int cs_select_names(const struct cs_select *s, struct cs_sorter *out,
		    struct cs_error *err) CS_MUST_CHECK;

/* Is an entry excluded? path is relative to the point's root. */
bool cs_excluded(const char *const *patterns, size_t n, const char *path, const char *name);

#endif
