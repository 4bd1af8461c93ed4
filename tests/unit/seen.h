/* SPDX-License-Identifier: MIT */
/*
 * seen.h - all that a mount shows of a store, kept to compare with what it
 * shows later. Asked of the view (fs/view.h), which is the mount without FUSE.
 */
#ifndef CS_TEST_SEEN_H
#define CS_TEST_SEEN_H

#include "fs/view.h"
#include "util.h"

struct seen;

/* Everything from the root down; each name, attribute, byte and hole of it must be readable. */
struct seen *seen_all(struct cs_view *v);
void seen_free(struct seen *s);

/* Later, with damage: what was met. */
struct seen_again {
	unsigned same;    /* answers like the first time */
	unsigned failed;  /* EIO */
	unsigned failed_names; /* of them, for names, lists and attributes */
	unsigned zeroed;  /* ranges of files that read as zeros, where that is allowed */
	unsigned wrong;   /* anything else */
	char first[512];  /* the first of these, in words */
};
/* zeros: ranges of a file that cannot be read may be zeros instead. */
void seen_compare(const struct seen *s, struct cs_view *v, bool zeros, struct seen_again *out);

#endif
