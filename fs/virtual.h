/* SPDX-License-Identifier: MIT */
/*
 * virtual.h - the directories above the points: series, latest, by-id, by-tag
 * and by-consistency. See virtual.c. Functions return 0 or a negative enum
 * cs_code.
 */
#ifndef CS_VIRTUAL_H
#define CS_VIRTUAL_H

#include "store/chunkstore.h"

struct cs_virtual;

struct cs_virtual_opts {
	uid_t uid; /* whose the directories and symlinks are */
	gid_t gid;
	uint32_t series; /* only this series and what is in it; 0: everything */
	const struct cs_time *at; /* the root shows trees as of that time; NULL: everything */
};

/* at is borrowed until free. NULL: out of memory. */
struct cs_virtual *cs_virtual_new(struct cs_store *store, const struct cs_virtual_opts *opts);
void cs_virtual_free(struct cs_virtual *v);

/* What a name in a virtual directory stands for: a virtual inode or a point's root. */
int cs_virtual_lookup(struct cs_virtual *v, uint64_t parent, const char *name, uint64_t *out,
		      struct cs_error *err) CS_MUST_CHECK;
/* The directory a virtual inode is listed in; a series for a point's root. */
int cs_virtual_parent(struct cs_virtual *v, uint64_t ino, uint64_t *out,
		      struct cs_error *err) CS_MUST_CHECK;
int cs_virtual_attr(struct cs_virtual *v, uint64_t ino, struct stat *out,
		    struct cs_error *err) CS_MUST_CHECK;
/* A symlink's target, NUL-terminated. CS_E_USAGE: not a symlink. */
#define CS_VIRTUAL_TARGET_MAX 256
int cs_virtual_readlink(struct cs_virtual *v, uint64_t ino, char out[CS_VIRTUAL_TARGET_MAX],
			struct cs_error *err) CS_MUST_CHECK;

/*
 * Show the names of a directory behind cookie `after` (0: from the start) to
 * fn, without "." and "..", until it returns false. Cookies grow, and a name
 * keeps its cookie as long as it exists.
 */
typedef bool cs_virtual_fn(void *arg, const char *name, uint64_t ino, uint32_t type,
			   uint64_t cookie);
int cs_virtual_list(struct cs_virtual *v, uint64_t dir, uint64_t after, cs_virtual_fn *fn,
		    void *arg, struct cs_error *err) CS_MUST_CHECK;

#endif
