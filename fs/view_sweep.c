/* SPDX-License-Identifier: MIT */
/*
 * view_sweep.c - taking back what the kernel was given, when the store has changed.
 *
 * Names above the points are looked up again, and dropped if they are wrong
 * (handed.c). That has a race: a request read the store before a commit, and
 * its answer reaches the kernel after the name was taken back. So requests
 * hold `shown` for reading from their first look at the store until their
 * reply is written, and a refresh passes through it for writing first. What
 * the kernel does with a reply after that is ordered by the directory's own
 * lock there: it holds it over a lookup or a listing, and dropping a name
 * waits for it.
 *
 * With the name of a forgotten point, the kernel drops all below it that is
 * not in use, and gives its references back. What is in use stays, with the
 * directories on the way to it, and would stay in the kernel's cache when it is
 * not in use any more, as long as there is memory: and hold the point. So each
 * of these names is dropped, too: then it goes with its last user. They are
 * found from the root of the point down: of a directory that the kernel knows,
 * every name is dropped; those that were not known say so, and nothing below
 * them is known either. It costs a call for each child of a directory on the
 * way to something in use. What somebody who stands in such a point meets later
 * is noted, name by name, and dropped with the next sweep.
 */
#include "view_impl.h"

#include "loop.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A list of inode numbers. */
struct numbers {
	uint64_t *list;
	size_t count, cap;
};

struct cs_sweep {
	struct numbers roots; /* of points to be swept */
};

struct cs_sweep *cs_sweep_new(void)
{
	return calloc(1, sizeof(struct cs_sweep));
}

void cs_sweep_free(struct cs_sweep *s)
{
	if (!s)
		return;
	free(s->roots.list);
	free(s);
}

/* Without memory a number is left out: then its point is held for longer, and that is all. */
static void add(struct numbers *n, uint64_t ino)
{
	if (n->count == n->cap) {
		size_t cap = n->cap ? 2 * n->cap : 16;
		uint64_t *list = reallocarray(n->list, cap, sizeof(*list));
		if (!list)
			return;
		n->list = list;
		n->cap = cap;
	}
	n->list[n->count++] = ino;
}

/* ---------------------------------------------------------------- requests */

void cs_view_begin(struct cs_view *v)
{
	if (pthread_rwlock_tryrdlock(&v->shown) == 0)
		return;
	cs_loop_hand_over(); /* a refresh waits for a request that may wait for the disk */
	pthread_rwlock_rdlock(&v->shown);
}

void cs_view_end(struct cs_view *v)
{
	pthread_rwlock_unlock(&v->shown);
}

/* Let the requests that may have seen an old state finish, replies and all. */
static void let_finish(struct cs_view *v)
{
	pthread_rwlock_wrlock(&v->shown);
	pthread_rwlock_unlock(&v->shown);
}

/* ------------------------------------------------------------------- names */

struct refresh {
	struct cs_view *v;
	const struct cs_view_drop *drop;
};

static bool is_dir_kind(uint64_t ino)
{
	struct cs_inode i = cs_inode_decode(ino);

	return i.seq == 0 && i.kind <= CS_KIND_LEVEL && i.kind != CS_KIND_LATEST;
}

static bool still_right(void *arg, const struct cs_handed_name *n)
{
	const struct refresh *r = arg;
	uint64_t now;

	/* The directory's listing and times change with any point in it. */
	if (is_dir_kind(n->ino))
		r->drop->dir(r->drop->arg, n->ino);
	return cs_virtual_lookup(r->v->virt, n->parent, n->name, &now, NULL) == 0 && now == n->ino;
}

static void gone(void *arg, const struct cs_handed_name *n)
{
	const struct refresh *r = arg;

	r->drop->name(r->drop->arg, cs_view_to_fuse(r->v, n->parent), n->name);
	if (!cs_inode_is_virtual(n->ino)) {
		cs_holds_set_left(r->v->holds, cs_inode_decode(n->ino).seq, true);
		add(&r->v->sweep->roots, n->ino);
	}
}

void cs_view_refresh(struct cs_view *v, const struct cs_view_drop *drop)
{
	struct refresh r = { v, drop };
	const struct cs_handed_check check = { still_right, gone, &r };

	v->refreshes++;
	if (v->single)
		return;
	let_finish(v);
	drop->dir(drop->arg, CS_INODE_ROOT);
	while (!cs_handed_each(v->handed, &check))
		usleep(10000); /* out of memory: it must be done, so try until it can */
}

/* ---------------------------------------------------------------- sweeping */

struct walk {
	const struct cs_view_drop *drop;
	uint64_t dir;
	struct numbers *dirs; /* known ones, still to be walked through */
};

static bool drop_child(void *arg, const struct cs_view_dirent *d)
{
	const struct walk *w = arg;

	if (strcmp(d->name, ".") != 0 && strcmp(d->name, "..") != 0 &&
	    w->drop->name(w->drop->arg, w->dir, d->name) && S_ISDIR(d->entry.st.st_mode))
		add(w->dirs, d->entry.st.st_ino);
	return true;
}

static void sweep_point(struct cs_view *v, const struct cs_view_drop *drop, uint64_t root)
{
	struct numbers dirs = { .list = NULL };

	add(&dirs, root);
	while (dirs.count > 0) {
		struct walk w = { drop, dirs.list[--dirs.count], &dirs };
		if (cs_view_readdir(v, w.dir, 0, drop_child, &w) != 0)
			continue; /* it was logged; what is below stays for longer */
	}
	free(dirs.list);
}

static bool never_right(void *arg, const struct cs_handed_name *n)
{
	(void)arg;
	(void)n;
	return false;
}

static void drop_loose(void *arg, const struct cs_handed_name *n)
{
	const struct cs_view_drop *drop = arg;

	drop->name(drop->arg, n->parent, n->name);
}

void cs_view_sweep(struct cs_view *v, const struct cs_view_drop *drop)
{
	struct numbers *roots = &v->sweep->roots;
	struct cs_view_drop d = *drop;
	const struct cs_handed_check loose = { never_right, drop_loose, &d };

	if (!cs_handed_each(v->loose, &loose) || roots->count == 0)
		return;
	let_finish(v); /* they may not have known that the point is one to be left */
	while (roots->count > 0) {
		uint64_t root = roots->list[--roots->count];
		if (!cs_view_join(v, root))
			continue;
		sweep_point(v, drop, root);
		cs_view_forget(v, root, 1);
	}
}
