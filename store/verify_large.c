/* SPDX-License-Identifier: MIT */
/*
 * verify_large.c - large files, before the bundles pass; the versions of one together.
 *
 * Versions of a disk image have most pieces in common, and others here and there. In
 * the order of the bundles, where each was stored, a version would need what has passed
 * long ago; one version after the other, each would need all of it. At one place
 * of the file they need the same bundles, or such as lie beside each other. So files
 * that begin with the same bundles are a group and go along together: who is behind
 * has the next turn, and what is common is decoded once for all of them. A bundle that
 * is decoded so is looked at as verify_bundles.c does, and not decoded again.
 *
 * One thread hashes a group. Those that have none decode ahead for the others.
 *
 * A file that is the only one of its group needs none of this: it goes along with the
 * bundles as they pass, which takes less time.
 */
#include "verify_files_impl.h"

#include "alloc.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_PIECES 4096 /* of a file: what it has in common with others */
#define PIECES_MAX (1u << 24) /* that are looked at for that, in all */
#define TURN 32 /* pieces that a file goes on before it is another's turn */
#define AHEAD (16u << 20) /* bytes that are decoded ahead of a group, in all */
#define AHEAD_LEAST (2u << 20) /* of one file */
#define QUEUE 64 /* bundles */

struct member {
	uint32_t group, file;
};

struct cs_verify_large {
	struct member *list; /* those of a group one after the other */
	size_t n, cap;
	/* with the lock */
	size_t next; /* where the next group begins */
	unsigned reading; /* threads that have a group */
	uint64_t queue[QUEUE]; /* bundles that will be needed */
	unsigned first, queued;
};

/* ---- groups */

/* The first file of its group. */
static uint32_t group_of(struct cs_verify_files *fs, uint32_t i)
{
	while (fs->list[i].group != i)
		i = fs->list[i].group = fs->list[fs->list[i].group].group;
	return i;
}

static void join(struct cs_verify_files *fs, uint32_t a, uint32_t b)
{
	a = group_of(fs, a);
	b = group_of(fs, b);
	if (a < b)
		fs->list[b].group = a;
	else
		fs->list[a].group = b;
}

/* Who begins with a bundle: the first that was seen. */
struct user {
	struct cs_verify_key at;
	uint32_t file;
};

/* Into the group of those that have a bundle that it begins with. */
static int find_group(struct cs_verify_run *v, struct cs_verify_map *users, uint32_t file,
		      unsigned *pieces)
{
	const struct cs_verify_file *f = &v->files->list[file];
	const struct cs_entry e = cs_verify_file_entry(f);
	struct cs_file_extents x = { 0 };
	const struct cs_extent *at;
	uint64_t off = 0, last = 0;
	int rc = CS_OK;
	for (unsigned n = 0; n < FIRST_PIECES && off < f->size && rc == CS_OK; n++, off += at->len) {
		if (++*pieces > PIECES_MAX)
			break;
		if (cs_file_extent(v->store, &e, off, &x, &at, NULL) != CS_OK)
			break;
		uint64_t number = cs_chunk_bundle(at->chunk);
		if (!number || number == last)
			continue;
		last = number;
		struct user *u = cs_verify_map_find(users, number, 0);
		if (u)
			join(v->files, u->file, file);
		else if ((u = cs_verify_map_add(users, number, 0)))
			u->file = file;
		else
			rc = CS_E_NOMEM;
	}
	cs_file_extents_release(&x);
	return rc;
}

static int by_group(const void *a, const void *b)
{
	const struct member *x = a, *y = b;
	if (x->group != y->group)
		return x->group < y->group ? -1 : 1;
	return (x->file > y->file) - (x->file < y->file);
}

/* Those that are alone in their group go along with the bundles. */
static void leave_out_who_is_alone(struct cs_verify_files *fs, struct cs_verify_large *l)
{
	size_t n = 0;
	for (size_t i = 0; i < l->n; i++)
		fs->list[l->list[i].file].apart =
			(i && l->list[i - 1].group == l->list[i].group) ||
			(i + 1 < l->n && l->list[i + 1].group == l->list[i].group);
	for (size_t i = 0; i < l->n; i++)
		if (fs->list[l->list[i].file].apart)
			l->list[n++] = l->list[i];
	l->n = n;
}

static int find_groups(struct cs_verify_run *v, struct cs_verify_large *l, struct cs_error *err)
{
	struct cs_verify_files *fs = v->files;
	struct cs_verify_map users = { .size = sizeof(struct user) };
	unsigned pieces = 0;
	int rc = CS_OK;
	for (uint32_t i = 0; i < fs->n && rc == CS_OK; i++) {
		if (fs->list[i].data_bytes < CS_VERIFY_LARGE)
			continue;
		fs->list[i].group = i;
		rc = cs_grow(&l->list, &l->cap, l->n + 1, sizeof(*l->list));
		if (rc == CS_OK)
			l->list[l->n++].file = i;
		if (rc == CS_OK)
			rc = find_group(v, &users, i, &pieces);
		rc = rc == CS_OK ? cs_verify_tick(v, NULL, err) : cs_fail(err, rc, "out of memory");
	}
	cs_verify_map_release(&users);
	for (size_t i = 0; i < l->n; i++)
		l->list[i].group = group_of(fs, l->list[i].file);
	if (l->n)
		qsort(l->list, l->n, sizeof(*l->list), by_group);
	leave_out_who_is_alone(fs, l);
	return rc;
}

/* ---- a bundle */

/* A bundle that is needed, now or soon: what is verified of it is verified while it is here. */
static void look_at(struct cs_verify_run *v, uint64_t number)
{
	struct cs_bundle *b;
	void *held;
	if (cs_reader_bundle(v->store, number, &held, &b, NULL) != CS_OK)
		return; /* who needs it will see */
	if (cs_verify_early(v, number, b))
		v->files->decoded += cs_bundle_memory(b);
	cs_cache_release(held);
}

/* ---- a group */

/* False: there is no room. */
static bool want(struct cs_verify_run *v, struct cs_verify_large *l, uint64_t number)
{
	bool there = cs_cache_has(v->store->bundles, number);
	pthread_mutex_lock(&v->lock);
	for (unsigned i = 0; i < l->queued && !there; i++)
		there = l->queue[(l->first + i) % QUEUE] == number;
	bool room = there || l->queued < QUEUE;
	if (!there && room) {
		l->queue[(l->first + l->queued++) % QUEUE] = number;
		pthread_cond_signal(&v->room);
	}
	pthread_mutex_unlock(&v->lock);
	return room;
}

/* Have decoded what f needs next. */
static void look_ahead(struct cs_verify_run *v, struct cs_verify_large *l,
		       struct cs_verify_file *f, uint64_t bytes)
{
	const struct cs_entry e = cs_verify_file_entry(f);
	struct cs_file_extents x = { 0 };
	const struct cs_extent *at;
	uint64_t last = 0, off = f->ahead > f->off ? f->ahead : f->off;
	while (off < f->size && off - f->off < bytes &&
	       cs_file_extent(v->store, &e, off, &x, &at, NULL) == CS_OK) {
		uint64_t number = cs_chunk_bundle(at->chunk);
		if (number && number != last && !want(v, l, number))
			break;
		last = number;
		off += at->len;
	}
	cs_file_extents_release(&x);
	f->ahead = off;
}

/* True: it wants another turn. */
static bool take_turn(struct cs_verify_run *v, struct cs_verify_large *l, struct cs_verify_file *f,
		      uint64_t ahead)
{
	struct cs_file_extents x = { 0 };
	const struct cs_extent *at;
	int rc = CS_OK;
	for (int i = 0; i < TURN && cs_verify_files_may(v) && cs_verify_file_piece(v, f, &x, &at); i++) {
		uint64_t number = cs_chunk_bundle(at->chunk);
		if (number && number != f->bundle) {
			look_ahead(v, l, f, ahead);
			look_at(v, number);
			f->bundle = number;
		}
		rc = cs_verify_file_fetch(v, f, at);
		if (rc != CS_OK)
			break;
		cs_verify_file_went_on(v, f, at);
	}
	cs_file_extents_release(&x);
	return rc == CS_OK && f->state == CS_FILE_WAITS && cs_verify_files_may(v);
}

/* Who did not come to an end is read on with the rest, if it may stay open until then. */
static void leave(struct cs_verify_run *v, struct cs_verify_file *f)
{
	struct cs_verify_files *fs = v->files;
	if (f->state == CS_FILE_WAITS && f->hasher && fs->open++ < CS_VERIFY_OPEN_MAX)
		return;
	if (f->state == CS_FILE_WAITS)
		f->off = 0;
	cs_verify_file_close(f);
}

static int read_group(struct cs_verify_run *v, struct cs_verify_large *l, size_t from, size_t to)
{
	struct cs_verify_files *fs = v->files;
	struct cs_verify_heap behind = { 0 };
	uint64_t ahead = AHEAD / (to - from);
	if (cs_grow(&behind.list, &behind.cap, to - from, sizeof(*behind.list)) != CS_OK)
		return CS_E_NOMEM;
	for (size_t i = from; i < to; i++)
		cs_verify_heap_push(&behind, (struct cs_verify_wait){ .file = l->list[i].file });
	while (behind.n && !cs_verify_must_stop(v)) {
		uint32_t i = cs_verify_heap_pop(&behind).file;
		struct cs_verify_file *f = &fs->list[i];
		cs_verify_files_allow(v);
		if (take_turn(v, l, f, ahead > AHEAD_LEAST ? ahead : AHEAD_LEAST))
			cs_verify_heap_push(&behind, (struct cs_verify_wait){ 0, f->off, i });
		else
			leave(v, f);
	}
	if (!behind.n)
		cs_verify_early_done(v);
	free(behind.list);
	return CS_OK;
}

/* ---- all of them */

/* Where the group ends that begins at `from`. */
static size_t group_end(const struct cs_verify_large *l, size_t from)
{
	size_t to = from + 1;
	while (to < l->n && to - from < CS_VERIFY_OPEN_MAX &&
	       l->list[to].group == l->list[from].group)
		to++;
	return to;
}

static void *read_large(void *arg)
{
	struct cs_verify_run *v = arg;
	struct cs_verify_large *l = v->large;
	struct cs_error err = { 0 };
	int rc = CS_OK;
	pthread_mutex_lock(&v->lock);
	while (rc == CS_OK && !v->stop && !v->error.code) {
		if (l->next < l->n) {
			size_t from = l->next, to = group_end(l, from);
			l->next = to;
			l->reading++;
			pthread_mutex_unlock(&v->lock);
			rc = read_group(v, l, from, to);
			pthread_mutex_lock(&v->lock);
			l->reading--;
			pthread_cond_broadcast(&v->room);
		} else if (l->queued) {
			uint64_t number = l->queue[l->first];
			l->first = (l->first + 1) % QUEUE;
			l->queued--;
			bool known = cs_verify_is_early(v, number);
			pthread_mutex_unlock(&v->lock);
			if (!known)
				look_at(v, number);
			pthread_mutex_lock(&v->lock);
		} else if (l->reading) {
			pthread_cond_wait(&v->room, &v->lock);
		} else {
			break;
		}
	}
	pthread_mutex_unlock(&v->lock);
	if (rc != CS_OK)
		cs_fail(&err, rc, "out of memory");
	return cs_verify_ended(v, rc, &err);
}

int cs_verify_large(struct cs_verify_run *v, struct cs_error *err)
{
	struct cs_verify_large l = { 0 };
	v->files->decoded = v->store->decoded;
	int rc = find_groups(v, &l, err);
	v->large = &l;
	if (rc == CS_OK && l.n)
		rc = cs_verify_on_all_cores(v, read_large, err);
	v->large = NULL;
	free(l.list);
	return rc;
}
