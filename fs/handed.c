/* SPDX-License-Identifier: MIT */
/*
 * handed.c - the names above the points that the kernel was given.
 *
 * Series, points, `latest` and the by-* views can change under a mount, yet
 * the kernel keeps their names for ever: with short timeouts every system call
 * of a cp -a with full paths would ask for them again. So each such name is
 * noted here before it is handed out, and after a change of the store each is
 * looked up again, and those that became wrong are dropped from the kernel.
 *
 * The set is bounded by what the store shows (a few names a point), not by
 * what is read: nothing inside a point is ever noted.
 *
 * A name is struck out only by the one caller of cs_handed_each, so pointers
 * to names stay good while it works without the lock. A name that was handed
 * out again between the question and the striking stays in: its answer may
 * not have reached the kernel yet when the name is dropped there.
 */
#include "handed.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct item {
	struct item *next;
	struct cs_handed_name n; /* n.name: the bytes that follow */
	unsigned added; /* how many times it was handed out */
	char name[];
};

struct cs_handed {
	pthread_mutex_t lock;
	/* guarded by lock */
	struct item **slots;
	size_t nslots; /* a power of two */
	size_t count;
};

struct cs_handed *cs_handed_new(void)
{
	struct cs_handed *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->nslots = 64;
	h->slots = calloc(h->nslots, sizeof(*h->slots));
	if (!h->slots) {
		free(h);
		return NULL;
	}
	pthread_mutex_init(&h->lock, NULL);
	return h;
}

void cs_handed_free(struct cs_handed *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->nslots; i++) {
		while (h->slots[i]) {
			struct item *it = h->slots[i];
			h->slots[i] = it->next;
			free(it);
		}
	}
	pthread_mutex_destroy(&h->lock);
	free(h->slots);
	free(h);
}

/* FNV-1a over the name, begun with the parent. */
static size_t hash(uint64_t parent, const char *name)
{
	uint64_t x = UINT64_C(0xcbf29ce484222325) ^ parent;

	for (; *name; name++)
		x = (x ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return (size_t)(x ^ x >> 32);
}

static struct item **slot_of(const struct cs_handed *h, uint64_t parent, const char *name)
{
	return &h->slots[hash(parent, name) & (h->nslots - 1)];
}

/* Double the table; when there is no memory the chains just get longer. */
static void grow(struct cs_handed *h)
{
	size_t n = h->nslots;
	struct item **old = h->slots;
	struct item **slots = calloc(2 * n, sizeof(*slots));

	if (!slots)
		return;
	h->slots = slots;
	h->nslots = 2 * n;
	for (size_t i = 0; i < n; i++) {
		while (old[i]) {
			struct item *it = old[i];
			old[i] = it->next;
			struct item **s = slot_of(h, it->n.parent, it->name);
			it->next = *s;
			*s = it;
		}
	}
	free(old);
}

bool cs_handed_add(struct cs_handed *h, uint64_t parent, const char *name, uint64_t ino)
{
	bool ok = true;

	pthread_mutex_lock(&h->lock);
	struct item *it = *slot_of(h, parent, name);
	while (it && (it->n.parent != parent || strcmp(it->name, name) != 0))
		it = it->next;
	if (it) {
		it->n.ino = ino;
		it->added++;
		goto out;
	}
	size_t len = strlen(name) + 1;
	it = malloc(sizeof(*it) + len);
	if (!it) {
		ok = false;
		goto out;
	}
	memcpy(it->name, name, len);
	it->n = (struct cs_handed_name){ parent, ino, it->name };
	it->added = 1;
	if (h->count >= h->nslots)
		grow(h);
	struct item **s = slot_of(h, parent, name);
	it->next = *s;
	*s = it;
	h->count++;
out:
	pthread_mutex_unlock(&h->lock);
	return ok;
}

/* Unlink an item unless it was handed out again. True: the caller frees it. */
static bool strike(struct cs_handed *h, struct item *gone, unsigned added)
{
	pthread_mutex_lock(&h->lock);
	bool same = gone->added == added;
	if (same) {
		struct item **p = slot_of(h, gone->n.parent, gone->name);
		while (*p != gone)
			p = &(*p)->next;
		*p = gone->next;
		h->count--;
	}
	pthread_mutex_unlock(&h->lock);
	return same;
}

bool cs_handed_each(struct cs_handed *h, const struct cs_handed_check *check)
{
	pthread_mutex_lock(&h->lock);
	size_t n = 0;
	struct item **all = calloc(h->count + 1, sizeof(struct item *));
	for (size_t i = 0; all && i < h->nslots; i++)
		for (struct item *it = h->slots[i]; it; it = it->next)
			all[n++] = it;
	pthread_mutex_unlock(&h->lock);
	if (!all)
		return false;

	for (size_t i = 0; i < n; i++) {
		struct item *it = all[i];
		pthread_mutex_lock(&h->lock);
		struct cs_handed_name name = it->n;
		unsigned added = it->added;
		pthread_mutex_unlock(&h->lock);
		if (check->right(check->arg, &name))
			continue;
		bool struck = strike(h, it, added);
		check->gone(check->arg, &name);
		if (struck)
			free(it);
	}
	free(all);
	return true;
}
