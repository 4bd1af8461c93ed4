/* SPDX-License-Identifier: MIT */
/*
 * attrs.c - the attribute lists of the files that were asked for lately.
 *
 * Whoever copies a file asks for the list of its extended attributes and then
 * for one after the other, twice each: first for its length. Finding the file
 * and unpacking the list anew for every question would cost the square of
 * their number, so the last few lists stay, until the next files push them
 * out: each with the tree that it belongs to. Points never change, so neither
 * does a list.
 */
#include "attrs.h"

#include "inode.h"

#include <pthread.h>
#include <stdlib.h>

#define SLOTS 8 /* each may pin a bundle, 128 KiB, and the names of one file */

struct slot {
	uint64_t ino; /* 0: free */
	struct cs_xattr_list *list;
	struct cs_tree *tree;
	unsigned refs;
	uint64_t used;
};

struct cs_attrs {
	struct cs_trees *trees;
	pthread_mutex_t lock;
	/* guarded by lock */
	uint64_t clock;
	struct slot slots[SLOTS];
};

struct cs_attrs *cs_attrs_new(struct cs_trees *trees)
{
	struct cs_attrs *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->trees = trees;
	pthread_mutex_init(&a->lock, NULL);
	return a;
}

static void empty(struct cs_attrs *a, struct slot s)
{
	cs_xattr_list_close(s.list);
	cs_trees_put(a->trees, s.tree);
}

void cs_attrs_free(struct cs_attrs *a)
{
	if (!a)
		return;
	for (struct slot *s = a->slots; s < a->slots + SLOTS; s++)
		empty(a, *s);
	pthread_mutex_destroy(&a->lock);
	free(a);
}

struct cs_xattr_list *cs_attrs_get(struct cs_attrs *a, uint64_t ino)
{
	struct cs_xattr_list *found = NULL;

	pthread_mutex_lock(&a->lock);
	for (struct slot *s = a->slots; s < a->slots + SLOTS && !found; s++) {
		if (s->ino != ino)
			continue;
		s->refs++;
		s->used = ++a->clock;
		found = s->list;
	}
	pthread_mutex_unlock(&a->lock);
	return found;
}

/* False: every slot is in use, or another thread was first; the caller keeps both. */
bool cs_attrs_add(struct cs_attrs *a, uint64_t ino, struct cs_xattr_list *list,
		  struct cs_tree *tree)
{
	struct slot *into = NULL, old = { .ino = 0 };

	pthread_mutex_lock(&a->lock);
	for (struct slot *s = a->slots; s < a->slots + SLOTS; s++) {
		if (s->ino == ino) {
			into = NULL;
			break;
		}
		if (s->refs == 0 && (!into || s->used < into->used))
			into = s;
	}
	if (into) {
		old = *into;
		*into = (struct slot){ ino, list, tree, 1, ++a->clock };
	}
	pthread_mutex_unlock(&a->lock);
	empty(a, old);
	return into != NULL;
}

void cs_attrs_put(struct cs_attrs *a, struct cs_xattr_list *list)
{
	pthread_mutex_lock(&a->lock);
	for (struct slot *s = a->slots; s < a->slots + SLOTS; s++)
		if (s->ino && s->list == list)
			s->refs--;
	pthread_mutex_unlock(&a->lock);
}

void cs_attrs_drop(struct cs_attrs *a, uint64_t seq)
{
	struct slot old[SLOTS];
	unsigned n = 0;

	pthread_mutex_lock(&a->lock);
	for (struct slot *s = a->slots; s < a->slots + SLOTS; s++) {
		if (s->ino && s->refs == 0 && cs_inode_decode(s->ino).seq == seq) {
			old[n++] = *s;
			*s = (struct slot){ .ino = 0 };
		}
	}
	pthread_mutex_unlock(&a->lock);
	while (n > 0)
		empty(a, old[--n]);
}
