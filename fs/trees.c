/* SPDX-License-Identifier: MIT */
/*
 * trees.c - the opened trees of points that were used lately.
 *
 * A request names a point by its seq, and opening its tree reads the point's
 * record, so the trees stay open in a short list, most recently used first.
 * The list is bounded: a find over ten thousand points opens each in turn and
 * keeps the last few. A tree in use is never closed; there are no more of
 * those than requests being served.
 *
 * An open tree holds its point, which gc then leaves alone. So when the last
 * reference into a point goes (holds.c), its tree is not kept for later.
 *
 * Opening happens outside the lock. Two requests may then open the same tree
 * at once; the later one closes its own and takes the first one's.
 */
#include "trees.h"

#include <pthread.h>
#include <stdbool.h>
#include <stdlib.h>

struct item {
	struct item *next;
	struct cs_tree *tree;
	uint64_t seq;
	unsigned refs;
	bool dropped; /* to be closed when refs is 0 */
};

struct cs_trees {
	struct cs_store *store;
	unsigned max;
	pthread_mutex_t lock;
	/* guarded by lock */
	struct item *first; /* most recently used first */
	unsigned count;
};

struct cs_trees *cs_trees_new(struct cs_store *store, unsigned max)
{
	struct cs_trees *ts = calloc(1, sizeof(*ts));

	if (!ts)
		return NULL;
	ts->store = store;
	ts->max = max;
	pthread_mutex_init(&ts->lock, NULL);
	return ts;
}

void cs_trees_free(struct cs_trees *ts)
{
	if (!ts)
		return;
	while (ts->first) {
		struct item *it = ts->first;
		ts->first = it->next;
		cs_tree_close(it->tree);
		free(it);
	}
	pthread_mutex_destroy(&ts->lock);
	free(ts);
}

/* Find seq, move it to the front and take a reference. Called with the lock held. */
static struct item *take(struct cs_trees *ts, uint64_t seq)
{
	for (struct item **p = &ts->first; *p; p = &(*p)->next) {
		struct item *it = *p;
		if (it->seq != seq)
			continue;
		*p = it->next;
		it->next = ts->first;
		ts->first = it;
		it->refs++;
		it->dropped = false; /* somebody is in the point again */
		return it;
	}
	return NULL;
}

/* Move an item to the list of those to be closed. Called with the lock held. */
static void unlink_item(struct cs_trees *ts, struct item **p, struct item **out)
{
	struct item *it = *p;

	*p = it->next;
	it->next = *out;
	*out = it;
	ts->count--;
}

/* Unlink the least recently used items that nobody uses. Called with the lock held. */
static struct item *evict(struct cs_trees *ts)
{
	struct item *out = NULL;

	while (ts->count > ts->max) {
		struct item **last = NULL;
		for (struct item **p = &ts->first; *p; p = &(*p)->next)
			if ((*p)->refs == 0)
				last = p;
		if (!last)
			break;
		unlink_item(ts, last, &out);
	}
	return out;
}

static void close_all(struct item *it)
{
	while (it) {
		struct item *next = it->next;
		cs_tree_close(it->tree);
		free(it);
		it = next;
	}
}

int cs_trees_get(struct cs_trees *ts, uint64_t seq, struct cs_tree **out, struct cs_error *err)
{
	pthread_mutex_lock(&ts->lock);
	struct item *it = take(ts, seq);
	pthread_mutex_unlock(&ts->lock);
	if (it) {
		*out = it->tree;
		return 0;
	}

	struct item *mine = calloc(1, sizeof(*mine));
	if (!mine)
		return cs_fail(err, CS_E_NOMEM, "opening point %llu", (unsigned long long)seq);
	int r = cs_tree_open(ts->store, seq, &mine->tree, err);
	if (r < 0) {
		free(mine);
		return r;
	}
	mine->seq = seq;
	mine->refs = 1;

	pthread_mutex_lock(&ts->lock);
	it = take(ts, seq);
	struct item *gone = NULL;
	if (it) {
		gone = mine;
	} else {
		it = mine;
		it->next = ts->first;
		ts->first = it;
		ts->count++;
		gone = evict(ts);
	}
	pthread_mutex_unlock(&ts->lock);
	close_all(gone);
	*out = it->tree;
	return 0;
}

void cs_trees_put(struct cs_trees *ts, struct cs_tree *tree)
{
	struct item *gone = NULL;

	if (!tree)
		return;
	pthread_mutex_lock(&ts->lock);
	for (struct item **p = &ts->first; *p; p = &(*p)->next) {
		if ((*p)->tree == tree) {
			if (--(*p)->refs == 0 && (*p)->dropped)
				unlink_item(ts, p, &gone);
			break;
		}
	}
	if (!gone)
		gone = evict(ts);
	pthread_mutex_unlock(&ts->lock);
	close_all(gone);
}

void cs_trees_drop(struct cs_trees *ts, uint64_t seq)
{
	struct item *gone = NULL;

	pthread_mutex_lock(&ts->lock);
	for (struct item **p = &ts->first; *p; p = &(*p)->next) {
		if ((*p)->seq == seq) {
			(*p)->dropped = true;
			if ((*p)->refs == 0)
				unlink_item(ts, p, &gone);
			break;
		}
	}
	pthread_mutex_unlock(&ts->lock);
	close_all(gone);
}
