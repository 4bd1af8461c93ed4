/* SPDX-License-Identifier: MIT */
/*
 * locate.c - from a position back to the directory and the path.
 *
 * A position says which entry, not where it is listed. Positions count in
 * pre-order, so what holds a position is, level by level from the root, the
 * last child that begins at or before it, and a directory's children are
 * searched for that by halves. It takes a few page look-ups a level, and is
 * done only to name a damaged file in a message and for the ".." of a file
 * handle (NFS) that outlived what the kernel knew.
 *
 * The ".." of every listing must be cheaper. The parents of directories handed
 * out lately are kept in a small table where a newer one overwrites an older
 * one in its slot: it is a hint, and locating is the answer when it is gone.
 */
#include "locate.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PARENTS 8192 /* a power of two; 128 KiB */
#define DEPTH 4096   /* no point is deeper; one that is made to look so must not keep us */

static void add_name(char *path, size_t cap, const struct cs_entry *e)
{
	size_t have = cap ? strlen(path) : 0;

	if (have + 1 >= cap)
		return;
	if (have > 0)
		path[have++] = '/';
	size_t n = e->name_len;
	if (n > cap - 1 - have)
		n = cap - 1 - have;
	memcpy(path + have, e->name, n);
	path[have + n] = '\0';
}

static int not_there(struct cs_error *err, uint64_t pos)
{
	return cs_fail(err, CS_E_NOTFOUND, "position %llu", (unsigned long long)pos);
}

/* Child number `index` of a directory. */
static int child_at(struct cs_tree *t, const struct cs_node *dir, uint64_t index,
		    struct cs_node *out, struct cs_error *err)
{
	struct cs_dir *d = NULL;
	const struct cs_node *child;
	int r = cs_dir_open(t, dir, index, &d, err);

	if (r == 0)
		r = cs_dir_next(d, &child, err);
	if (r > 0)
		cs_node_copy(child, out);
	else if (r == 0)
		r = cs_fail(err, CS_E_CORRUPT, "a directory is shorter than it says");
	cs_dir_close(d);
	return r < 0 ? r : 0;
}

/* The last child of dir that begins at or before pos. 1: it is pos; 0: pos is below it. */
static int step(struct cs_tree *t, const struct cs_node *dir, uint64_t pos, struct cs_node *out,
		struct cs_error *err)
{
	/* Child low begins at or before pos, child high does not. */
	uint64_t low = 0, high = dir->entry.children_count;
	struct cs_node child;

	if (pos <= dir->pos || pos - dir->pos > dir->entry.below.entries || high == 0)
		return not_there(err, pos);
	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;
		int r = child_at(t, dir, middle, &child, err);
		if (r < 0)
			return r;
		if (child.pos <= pos)
			low = middle;
		else
			high = middle;
		cs_node_release(&child);
	}
	int r = child_at(t, dir, low, out, err);
	if (r < 0)
		return r;
	if (out->pos != pos && !S_ISDIR(out->entry.mode))
		return not_there(err, pos);
	return out->pos == pos;
}

int cs_locate(struct cs_tree *t, uint64_t pos, uint64_t *out_parent, char *path, size_t cap,
	      struct cs_error *err)
{
	struct cs_node dir = { .held = NULL }, child = { .held = NULL };
	int r = cs_tree_root(t, &dir, err);

	if (cap)
		path[0] = '\0';
	if (r < 0 || pos == 0) {
		if (r == 0)
			*out_parent = 0;
		goto out;
	}
	for (unsigned depth = 0; (r = step(t, &dir, pos, &child, err)) == 0; depth++) {
		if (depth == DEPTH) {
			r = cs_fail(err, CS_E_CORRUPT, "the tree is too deep");
			goto out;
		}
		add_name(path, cap, &child.entry);
		cs_node_release(&dir);
		dir = child;
		memset(&child, 0, sizeof(child));
	}
	if (r < 0)
		goto out;
	add_name(path, cap, &child.entry);
	*out_parent = dir.pos;
	r = 0;
out:
	cs_node_release(&child);
	cs_node_release(&dir);
	return r;
}

/* ------------------------------------------------------- the lately known */

struct cs_parents {
	pthread_mutex_t lock;
	/* guarded by lock */
	struct {
		uint64_t dir, parent;
	} slots[PARENTS];
};

struct cs_parents *cs_parents_new(void)
{
	struct cs_parents *ps = calloc(1, sizeof(*ps));

	if (ps)
		pthread_mutex_init(&ps->lock, NULL);
	return ps;
}

void cs_parents_free(struct cs_parents *ps)
{
	if (!ps)
		return;
	pthread_mutex_destroy(&ps->lock);
	free(ps);
}

/* Positions of neighbours differ in the low bits; the multiplier mixes in the seq. */
static size_t slot_of(uint64_t dir)
{
	return (dir ^ (dir >> 40) * 509) & (PARENTS - 1);
}

void cs_parents_note(struct cs_parents *ps, uint64_t dir, uint64_t parent)
{
	size_t i = slot_of(dir);

	pthread_mutex_lock(&ps->lock);
	ps->slots[i].dir = dir;
	ps->slots[i].parent = parent;
	pthread_mutex_unlock(&ps->lock);
}

uint64_t cs_parents_of(struct cs_parents *ps, uint64_t dir)
{
	size_t i = slot_of(dir);

	pthread_mutex_lock(&ps->lock);
	uint64_t parent = ps->slots[i].dir == dir ? ps->slots[i].parent : 0;
	pthread_mutex_unlock(&ps->lock);
	return parent;
}
