/* SPDX-License-Identifier: MIT */
/*
 * holds.c - which points somebody has references into.
 *
 * A forgotten point stays readable for those who are in it: gc leaves alone
 * what a lease is held on. The kernel does not tell of opens (it was told not
 * to, ops.c), but every inode that it knows was given to it by a reply, and is
 * given back by a FORGET: as long as a file is open, mapped, or the directory
 * that a process stands in, its inode is known. So the references into each
 * point are counted, all together: the first one takes the lease, the last one
 * drops it. What the kernel merely keeps in its caches counts as well, until
 * the point's name is dropped there (watch.c); then the unused ones come back.
 *
 * The count of a point is one number however many of its files are known. One
 * lock is enough: a listing is one update. It is held while the point is taken
 * or dropped, so that the two cannot overtake each other.
 */
#include "holds.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

struct item {
	struct item *next;
	uint64_t seq, count;
	bool left;
};

struct cs_holds {
	struct cs_holds_calls calls;
	pthread_mutex_t lock;
	/* guarded by lock */
	struct item **slots;
	size_t nslots; /* a power of two */
	size_t items;
	atomic_uint left; /* how many; changed with the lock held */
};

struct cs_holds *cs_holds_new(const struct cs_holds_calls *calls)
{
	struct cs_holds *h = calloc(1, sizeof(*h));

	if (!h)
		return NULL;
	h->calls = *calls;
	h->nslots = 64;
	h->slots = calloc(h->nslots, sizeof(*h->slots));
	if (!h->slots) {
		free(h);
		return NULL;
	}
	pthread_mutex_init(&h->lock, NULL);
	return h;
}

void cs_holds_free(struct cs_holds *h)
{
	if (!h)
		return;
	for (size_t i = 0; i < h->nslots; i++) {
		while (h->slots[i]) {
			struct item *it = h->slots[i];
			h->slots[i] = it->next;
			h->calls.drop(h->calls.arg, it->seq);
			free(it);
		}
	}
	pthread_mutex_destroy(&h->lock);
	free(h->slots);
	free(h);
}

/* What points to the item of seq, or to NULL where it belongs. Seqs ascend: no hash is needed. */
static struct item **place(const struct cs_holds *h, uint64_t seq)
{
	struct item **p = &h->slots[seq & (h->nslots - 1)];

	while (*p && (*p)->seq != seq)
		p = &(*p)->next;
	return p;
}

/* Double the table; when there is no memory the chains just get longer. */
static void grow(struct cs_holds *h)
{
	size_t n = h->nslots;
	struct item **old = h->slots, **slots = calloc(2 * n, sizeof(*slots));

	if (!slots)
		return;
	h->slots = slots;
	h->nslots = 2 * n;
	for (size_t i = 0; i < n; i++) {
		while (old[i]) {
			struct item *it = old[i], **p = place(h, it->seq);
			old[i] = it->next;
			it->next = NULL;
			*p = it;
		}
	}
	free(old);
}

/* The first reference into a point. Called with the lock held. */
static int hold(struct cs_holds *h, uint64_t seq, uint64_t n, struct cs_error *err)
{
	struct item *it = malloc(sizeof(*it));

	if (!it)
		return cs_fail(err, CS_E_NOMEM, "holding point %llu", (unsigned long long)seq);
	int r = h->calls.hold(h->calls.arg, seq, err);
	if (r < 0) {
		free(it);
		return r;
	}
	if (h->items >= h->nslots)
		grow(h);
	*it = (struct item){ .seq = seq, .count = n };
	*place(h, seq) = it;
	h->items++;
	return 0;
}

int cs_holds_take(struct cs_holds *h, uint64_t seq, uint64_t n, struct cs_error *err)
{
	int r = 0;

	pthread_mutex_lock(&h->lock);
	struct item *it = *place(h, seq);
	if (it)
		it->count += n;
	else if (n > 0)
		r = hold(h, seq, n, err);
	pthread_mutex_unlock(&h->lock);
	return r;
}

bool cs_holds_join(struct cs_holds *h, uint64_t seq)
{
	pthread_mutex_lock(&h->lock);
	struct item *it = *place(h, seq);
	if (it)
		it->count++;
	pthread_mutex_unlock(&h->lock);
	return it != NULL;
}

void cs_holds_set_left(struct cs_holds *h, uint64_t seq, bool left)
{
	pthread_mutex_lock(&h->lock);
	struct item *it = *place(h, seq);
	if (it && it->left != left) {
		it->left = left;
		if (left)
			h->left++;
		else
			h->left--;
	}
	pthread_mutex_unlock(&h->lock);
}

bool cs_holds_is_left(struct cs_holds *h, uint64_t seq)
{
	if (h->left == 0)
		return false;
	pthread_mutex_lock(&h->lock);
	struct item *it = *place(h, seq);
	bool left = it && it->left;
	pthread_mutex_unlock(&h->lock);
	return left;
}

void cs_holds_give(struct cs_holds *h, uint64_t seq, uint64_t n)
{
	pthread_mutex_lock(&h->lock);
	struct item **p = place(h, seq), *it = *p;
	if (it && it->count > n) {
		it->count -= n;
	} else if (it) {
		*p = it->next;
		h->items--;
		h->left -= it->left;
		h->calls.drop(h->calls.arg, seq);
		free(it);
	}
	pthread_mutex_unlock(&h->lock);
}

void cs_holds_each(struct cs_holds *h, void (*fn)(void *arg, const struct cs_hold *p), void *arg)
{
	pthread_mutex_lock(&h->lock);
	for (size_t i = 0; i < h->nslots; i++)
		for (const struct item *it = h->slots[i]; it; it = it->next)
			fn(arg, &(struct cs_hold){ it->seq, it->count });
	pthread_mutex_unlock(&h->lock);
}
