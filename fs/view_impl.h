/* SPDX-License-Identifier: MIT */
/*
 * view_impl.h - what the parts of the view share: its state, an entry of a
 * point by its number, and what a failure becomes. Only for view*.c.
 */
#ifndef CS_VIEW_IMPL_H
#define CS_VIEW_IMPL_H

#include "attrs.h"
#include "handed.h"
#include "holds.h"
#include "inode.h"
#include "locate.h"
#include "trees.h"
#include "view.h"
#include "virtual.h"

#include <pthread.h>
#include <stdatomic.h>

#define CS_VIEW_NAME_MAX 255
#define CS_VIEW_BLOCK 4096

/* Immutable once open, but for what has a lock of its own. */
struct cs_view {
	struct cs_store *store;
	struct cs_view_opts opts;
	struct cs_virtual *virt;
	struct cs_trees *trees;
	struct cs_handed *handed; /* names above the points */
	struct cs_handed *loose;  /* names in points that were left: see view_sweep.c */
	struct cs_parents *parents;
	struct cs_attrs *attrs;
	struct cs_holds *holds;
	uint64_t root;	 /* what FUSE's number for the root stands for */
	uint64_t single; /* seq of the only point shown, or 0 */
	uint32_t series; /* the only series shown, or 0 */
	bool without_xattrs;
	char *data_path;
	pthread_rwlock_t shown;
	struct cs_sweep *sweep;
	/* for view_status.c */
	struct cs_time since;
	_Atomic uint64_t requests, refreshes;
};

/* What sweeping needs to remember: see view_sweep.c. NULL: out of memory. */
struct cs_sweep *cs_sweep_new(void);
void cs_sweep_free(struct cs_sweep *s);

/* An entry of a point, with its tree. */
struct cs_at {
	struct cs_tree *tree;
	struct cs_node node;
	uint64_t seq;
};

/* FUSE's number for the root, and ours: they differ when the root is a series' or a point's. */
static inline uint64_t cs_view_from_fuse(const struct cs_view *v, uint64_t ino)
{
	return ino == CS_INODE_ROOT ? v->root : ino;
}

static inline uint64_t cs_view_to_fuse(const struct cs_view *v, uint64_t ino)
{
	return ino == v->root ? CS_INODE_ROOT : ino;
}

/* A number above the points. Where one point is the whole mount, there is no above. */
static inline bool cs_view_is_virtual(const struct cs_view *v, uint64_t ino)
{
	return !v->single && cs_inode_is_virtual(ino);
}

/* The errno of a failure about ino. What is the store's fault, not the asker's, is logged. */
int cs_view_failed(struct cs_view *v, uint64_t ino, int code, const struct cs_error *err);

/* The same for a call about a number: 0 if code is no failure, ESTALE if the number is gone. */
int cs_view_result(struct cs_view *v, uint64_t ino, int code, const struct cs_error *err);

/* The entry behind a number, or an errno. To be released either way; zero-initialise. */
int cs_view_at(struct cs_view *v, uint64_t ino, struct cs_at *out) CS_MUST_CHECK;
void cs_view_at_release(struct cs_view *v, struct cs_at *a);

#endif
