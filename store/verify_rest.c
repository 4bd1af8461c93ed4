/* SPDX-License-Identifier: MIT */
/*
 * verify_rest.c - what needs bundles that have passed.
 *
 * Deltas, and the contents of files that have deltas or pieces of earlier bundles,
 * are read when all bundles were looked at: by the bundle that each needs first, so
 * that one which has many bases, and the pieces beside them, is decoded once more
 * and not many times.
 */
#include "verify_impl.h"

#include "alloc.h"

#include <stdlib.h>

#define STEP 64 /* that a thread takes at a time */

bool cs_verify_later(struct cs_verify_run *v, const struct cs_verify_rest *r)
{
	if (cs_grow(&v->rest, &v->rest_cap, v->nrest + 1, sizeof(*v->rest)) != CS_OK)
		return false;
	v->rest[v->nrest++] = *r;
	return true;
}

/* ---- deltas */

/* *at: the number where the chunk is today. */
static bool is_stored(struct cs_txn *t, cs_chunk chunk, cs_chunk *at)
{
	struct cs_slice s;
	*at = chunk;
	return cs_bundles_get(t, cs_chunk_bundle(chunk), &s, NULL) == 1 ||
	       (cs_chunk_moved(t, chunk, at, NULL) == 1 &&
		cs_bundles_get(t, cs_chunk_bundle(*at), &s, NULL) == 1);
}

/* With the lock. */
static void range_is_damaged(struct cs_verify_run *v, uint64_t bundle)
{
	for (size_t i = 0; i < v->ndone; i++)
		if (v->done[i].key == cs_checked_range(bundle))
			v->done[i].damaged = true;
}

/* The base cannot be read: it is the bundle that it lies in which is damaged, due this time or not. */
static void base_is_damaged(struct cs_verify_run *v, cs_chunk base, const char *why)
{
	uint64_t number = cs_chunk_bundle(base);
	cs_verify_flaw(v, base, base,
		       cs_verify_found(v, CS_FOUND_BUNDLE_DAMAGED, number, "bundle %llu: %.200s",
				       (unsigned long long)number, why));
	pthread_mutex_lock(&v->lock);
	cs_verify_is_done(v, cs_checked_range(number), true, false);
	pthread_mutex_unlock(&v->lock);
}

static void delta_is_damaged(struct cs_verify_run *v, cs_chunk chunk, const char *why)
{
	cs_verify_flaw(v, chunk, chunk,
		       cs_verify_found(v, CS_FOUND_CHUNK_DAMAGED, chunk,
				       "bundle %llu slot %u, a delta: %.200s",
				       (unsigned long long)cs_chunk_bundle(chunk),
				       cs_chunk_slot(chunk), why));
	pthread_mutex_lock(&v->lock);
	range_is_damaged(v, cs_chunk_bundle(chunk));
	pthread_mutex_unlock(&v->lock);
}

/*
 * A delta that no point needs may have outlived its base; one that is needed is
 * found with the file.
 */
static int check_delta(struct cs_verify_run *v, const struct cs_verify_rest *d,
		       struct cs_error *err)
{
	const uint8_t *data;
	size_t len;
	void *held;
	struct cs_error why = { 0 };
	struct cs_txn *t;
	cs_chunk at, base;
	int rc = cs_reader_chunk(v->store, d->delta, &held, &data, &len, &why);
	if (rc == CS_OK) {
		cs_cache_release(held);
		cs_verify_add_raw(v, len);
		return CS_OK;
	}
	if (rc == CS_E_NOMEM)
		return cs_fail(err, rc, "out of memory");
	rc = cs_txn_read(v->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	bool there = is_stored(t, d->delta, &at) && is_stored(t, d->near, &base);
	cs_txn_end(t);
	if (!there)
		return CS_OK;
	if (cs_reader_chunk(v->store, base, &held, &data, &len, NULL) != CS_OK) {
		base_is_damaged(v, base, why.text);
	} else {
		cs_cache_release(held);
		delta_is_damaged(v, d->delta, why.text);
	}
	return CS_OK;
}

/* ---- all of it */

static void *check_rest(void *arg)
{
	struct cs_verify_run *v = arg;
	struct cs_error err = { 0 };
	int rc = CS_OK;
	while (rc == CS_OK) {
		pthread_mutex_lock(&v->lock);
		size_t at = v->next_rest, end = at + STEP;
		end = v->stop ? at : end < v->nrest ? end : v->nrest;
		v->next_rest = end;
		pthread_mutex_unlock(&v->lock);
		if (at == end)
			break;
		for (const struct cs_verify_rest *r; at < end && rc == CS_OK; at++) {
			r = &v->rest[at];
			rc = r->delta ? check_delta(v, r, &err) : cs_verify_file_read(v, r->file, &err);
		}
	}
	return cs_verify_ended(v, rc, &err);
}

static int in_order(const void *a, const void *b)
{
	const struct cs_verify_rest *x = a, *y = b;
	if (x->near != y->near)
		return x->near < y->near ? -1 : 1;
	if (x->delta != y->delta)
		return x->delta < y->delta ? -1 : 1;
	return (x->file > y->file) - (x->file < y->file);
}

int cs_verify_rest(struct cs_verify_run *v, struct cs_error *err)
{
	int rc = v->files ? cs_verify_files_later(v, err) : CS_OK;
	if (rc == CS_OK && v->nrest) {
		qsort(v->rest, v->nrest, sizeof(*v->rest), in_order);
		rc = cs_verify_on_all_cores(v, check_rest, err);
	}
	for (size_t i = 0; i < v->ndone && rc == CS_OK; i++)
		v->done[i].later = false;
	if (v->files)
		cs_verify_files_judge(v);
	return rc;
}
