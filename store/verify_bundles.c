/* SPDX-License-Identifier: MIT */
/*
 * verify_bundles.c - every bundle, by all cores.
 *
 * A thread takes a range of bundle numbers at a time, the same ranges that are
 * written down as verified. A bundle's table is looked at, and a row in the index
 * for each of its chunks; then, for the level of data, its checksum, its frame and
 * the hash of each chunk. Deltas wait until all bundles were looked at, and come by
 * base, so that each base is decoded once.
 */
#include "verify_impl.h"

#include "alloc.h"
#include "cleanup.h"
#include "index.h"

#include <stdlib.h>
#include <string.h>

#define DELTA_STEP 64
#define LOST_ROWS (UINT64_C(1) << 63) /* keys of findings about what cannot be counted */
#define LOST_MAX 100000u /* ranges of which no row can be read, in which rows are looked for */

/* A range in the hands of a thread. */
struct range {
	struct cs_decompressor *decompressor;
	uint64_t from, to;
	bool damaged, deltas;
	struct cs_error lost; /* rows that could not be read when it was taken */
	uint64_t lost_at;
};

static void flaw(struct cs_verify_run *v, cs_chunk from, cs_chunk to, struct cs_found *why)
{
	if (!why)
		return;
	pthread_mutex_lock(&v->lock);
	int rc = cs_grow(&v->flaws, &v->flaws_cap, v->nflaws + 1, sizeof(*v->flaws));
	if (rc == CS_OK)
		v->flaws[v->nflaws++] = (struct cs_flaw){ from, to, why };
	pthread_mutex_unlock(&v->lock);
	if (rc != CS_OK)
		cs_verify_no_memory(v);
}

static void flawed_bundle(struct cs_verify_run *v, struct range *r, uint64_t number,
			  const char *what, const char *why)
{
	struct cs_found *f = cs_verify_found(v, CS_FOUND_BUNDLE_DAMAGED, number, "bundle %llu %s%s",
					     (unsigned long long)number, what, why);
	flaw(v, cs_chunk_make(number, 0), cs_chunk_make(number, CS_SLOTS_MAX), f);
	r->damaged = true;
}

static bool in_index(struct cs_txn *t, const struct cs_hash *h, cs_chunk chunk)
{
	cs_chunk at;
	return cs_index_next(t, h, chunk - 1, &at, NULL) == 1 && at == chunk;
}

/* What was stored anew has its row under its new number. */
static void check_index(struct cs_verify_run *v, struct cs_txn *t, uint64_t number,
			const struct cs_slot *slots, uint32_t n)
{
	uint32_t missing = 0, there = 0;
	for (uint32_t i = 0; i < n; i++) {
		cs_chunk chunk = cs_chunk_make(number, i), to;
		if (in_index(t, &slots[i].hash, chunk))
			there++;
		else
			missing += cs_chunk_moved(t, chunk, &to, NULL) != 1;
	}
	if (missing)
		cs_verify_found(v, CS_FOUND_INDEX_MISSING, number,
				"bundle %llu: %u of its %u chunks are not in the dedup index",
				(unsigned long long)number, missing, n);
	pthread_mutex_lock(&v->lock);
	v->indexed += there;
	v->result.bundles++;
	v->result.chunks += n;
	pthread_mutex_unlock(&v->lock);
}

static void note_deltas(struct cs_verify_run *v, struct range *r, uint64_t number,
			const struct cs_bundle *b)
{
	pthread_mutex_lock(&v->lock);
	for (uint32_t i = 0; i < b->nslots; i++) {
		if (!b->slots[i].frame_len)
			continue;
		r->deltas = true;
		if (cs_grow(&v->deltas, &v->deltas_cap, v->ndeltas + 1, sizeof(*v->deltas)) == CS_OK)
			v->deltas[v->ndeltas++] = (struct cs_verify_delta){
				b->slots[i].base, cs_chunk_make(number, i)
			};
		else if (!v->error.code)
			cs_fail(&v->error, CS_E_NOMEM, "out of memory");
	}
	v->result.raw_bytes += b->raw_len;
	pthread_mutex_unlock(&v->lock);
}

static void check_hashes(struct cs_verify_run *v, struct range *r, uint64_t number,
			 const struct cs_bundle *b)
{
	for (uint32_t i = 0; i < b->nslots; i++) {
		const struct cs_slot *s = &b->slots[i];
		if (s->frame_len)
			continue;
		struct cs_hash h = cs_store_hash(v->store, b->raw + s->off, s->len);
		if (cs_hash_equal(&h, &s->hash))
			continue;
		cs_chunk chunk = cs_chunk_make(number, i);
		flaw(v, chunk, chunk,
		     cs_verify_found(v, CS_FOUND_CHUNK_DAMAGED, chunk,
				     "bundle %llu slot %u has not the bytes of its hash",
				     (unsigned long long)number, i));
		r->damaged = true;
	}
}

static int check_table(struct cs_verify_run *v, struct range *r, struct cs_txn *t, uint64_t number,
		       struct cs_slice s, struct cs_error *err)
{
	struct cs_bundle_header h;
	struct cs_error why = { .text = "" };
	uint32_t frames;
	int rc = cs_bundle_header_unpack(s.data, s.len, &h);
	if (rc == CS_OK)
		rc = cs_bundle_load_table(s, &h, &why);
	CS_FREE struct cs_slot *slots = rc ? NULL : cs_alloc((h.nslots + 1u) * sizeof(*slots));
	if (rc == CS_OK && !slots)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	if (rc == CS_OK)
		rc = cs_slots_unpack(s.data, s.len, &h, slots, &frames);
	if (rc == CS_OK)
		check_index(v, t, number, slots, h.nslots);
	else
		flawed_bundle(v, r, number, "has no table that can be read", why.text);
	return CS_OK;
}

static int check_data(struct cs_verify_run *v, struct range *r, struct cs_txn *t, uint64_t number,
		      struct cs_slice s, struct cs_error *err)
{
	struct cs_error why = { .text = "" };
	struct cs_bundle *b;
	int rc = cs_db_load(s, &why);
	if (rc == CS_OK)
		rc = cs_bundle_decode(r->decompressor, number, s.data, s.len, &b);
	if (rc == CS_OK && (rc = cs_db_intact(&why)) != CS_OK)
		cs_bundle_free(b);
	if (rc == CS_OK) {
		check_hashes(v, r, number, b);
		note_deltas(v, r, number, b);
		check_index(v, t, number, b->slots, b->nslots);
		cs_bundle_free(b);
	} else if (rc == CS_E_NOMEM) {
		return cs_fail(err, rc, "out of memory");
	} else {
		flawed_bundle(v, r, number, "cannot be decoded", why.text[0] ? ": it cannot be read" : "");
	}
	return CS_OK;
}

/*
 * The rows of bundles behind a number cannot be read: LMDB's own pages are damaged
 * there. What refers to them says so.
 */
static void lost_rows(struct cs_verify_run *v, uint64_t from, const struct cs_error *why)
{
	cs_verify_found(v, CS_FOUND_BUNDLE_DAMAGED, from | LOST_ROWS,
			"the table of bundles behind number %llu: %.200s", (unsigned long long)from,
			why->text);
}

static bool is_damage(int rc)
{
	return rc == CS_E_CORRUPT || rc == CS_E_IO;
}

/* The next bundle of the range: 1 and r->from past it; 0 when there is none. */
static int check_next(struct cs_verify_run *v, struct range *r, struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_slice s;
	uint64_t number;
	int rc = cs_txn_read(v->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	struct cs_error why;
	rc = cs_bundles_next(t, r->from, &number, &s, &why);
	if (rc < 0)
		r->damaged = true;
	if (is_damage(rc))
		lost_rows(v, r->from, &why);
	else if (rc < 0)
		cs_fail(err, rc, "%s", why.text);
	if (is_damage(rc) || (rc == 1 && number >= r->to))
		rc = 0;
	if (rc == 1) {
		r->from = number + 1;
		int bad = v->level >= CS_VERIFY_DATA ? check_data(v, r, t, number, s, err) :
						       check_table(v, r, t, number, s, err);
		cs_db_unload(t, s);
		rc = bad ? bad : 1;
	}
	cs_txn_end(t);
	return rc;
}

/* The next range that there is: 1, 0 at the end. With the lock. */
static int next_range(struct cs_verify_run *v, struct cs_txn *t, struct range *r,
		      struct cs_error *err)
{
	struct cs_error why;
	struct cs_slice s;
	uint64_t number;
	int rc;
	while (is_damage(rc = cs_bundles_next(t, v->next, &number, &s, &why))) {
		if (v->lost_rows++ == 0) {
			r->lost = why;
			r->lost_at = v->next;
		}
		if (v->next >= v->bundles_end || v->lost_rows > LOST_MAX)
			return 0;
		v->next = (cs_checked_range(v->next) + 1) * CS_CHECKED_RANGE;
	}
	if (rc < 0)
		return cs_fail(err, rc, "%s", why.text);
	if (rc == 1) {
		r->from = number;
		r->to = v->next = (cs_checked_range(number) + 1) * CS_CHECKED_RANGE;
	}
	return rc;
}

/* Take the next range that is due. 0 at the end. */
static int take_range(struct cs_verify_run *v, struct range *r, struct cs_error *err)
{
	struct cs_txn *t = NULL;
	bool due = false;
	pthread_mutex_lock(&v->lock);
	int rc = v->end || v->stop || v->error.code ? 0 : cs_txn_read(v->store->db, &t, err);
	while (t && !due) {
		rc = next_range(v, t, r, err);
		v->end = rc != 1;
		if (rc != 1)
			break;
		due = cs_verify_due(v, t, cs_checked_range(r->from));
		v->result.ranges_skipped += !due;
	}
	cs_txn_end(t);
	pthread_mutex_unlock(&v->lock);
	if (r->lost.code)
		lost_rows(v, r->lost_at, &r->lost);
	r->lost.code = 0;
	r->damaged = r->deltas = false;
	return rc < 0 ? rc : due;
}

static void *check_bundles(void *arg)
{
	struct cs_verify_run *v = arg;
	struct cs_error err = { 0 };
	struct range r = { .decompressor = cs_decompressor_new() };
	int rc = r.decompressor ? 1 : cs_fail(&err, CS_E_NOMEM, "out of memory");
	while (rc >= 0 && (rc = take_range(v, &r, &err)) == 1) {
		uint64_t range = cs_checked_range(r.from);
		bool stopped = false;
		while (!stopped && (rc = check_next(v, &r, &err)) == 1) {
			pthread_mutex_lock(&v->lock);
			stopped = v->stop;
			pthread_mutex_unlock(&v->lock);
		}
		if (rc < 0 || stopped)
			break;
		pthread_mutex_lock(&v->lock);
		cs_verify_is_done(v, range, r.damaged, r.deltas);
		pthread_mutex_unlock(&v->lock);
	}
	cs_decompressor_free(r.decompressor);
	return cs_verify_ended(v, rc, &err);
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
	flaw(v, base, base,
	     cs_verify_found(v, CS_FOUND_BUNDLE_DAMAGED, number, "bundle %llu: %.200s",
			     (unsigned long long)number, why));
	pthread_mutex_lock(&v->lock);
	cs_verify_is_done(v, cs_checked_range(number), true, false);
	pthread_mutex_unlock(&v->lock);
}

static void delta_is_damaged(struct cs_verify_run *v, cs_chunk chunk, const char *why)
{
	flaw(v, chunk, chunk,
	     cs_verify_found(v, CS_FOUND_CHUNK_DAMAGED, chunk,
			     "bundle %llu slot %u, a delta: %.200s",
			     (unsigned long long)cs_chunk_bundle(chunk), cs_chunk_slot(chunk), why));
	pthread_mutex_lock(&v->lock);
	range_is_damaged(v, cs_chunk_bundle(chunk));
	pthread_mutex_unlock(&v->lock);
}

/*
 * A delta that no point needs may have outlived its base; one that is needed is
 * found with the file.
 */
static int check_delta(struct cs_verify_run *v, const struct cs_verify_delta *d,
		       struct cs_error *err)
{
	const uint8_t *data;
	size_t len;
	void *held;
	struct cs_error why = { 0 };
	struct cs_txn *t;
	cs_chunk at, base;
	int rc = cs_reader_chunk(v->store, d->chunk, &held, &data, &len, &why);
	if (rc == CS_OK) {
		cs_cache_release(held);
		pthread_mutex_lock(&v->lock);
		v->result.raw_bytes += len;
		pthread_mutex_unlock(&v->lock);
		return CS_OK;
	}
	if (rc == CS_E_NOMEM)
		return cs_fail(err, rc, "out of memory");
	rc = cs_txn_read(v->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	bool there = is_stored(t, d->chunk, &at) && is_stored(t, d->base, &base);
	cs_txn_end(t);
	if (!there)
		return CS_OK;
	if (cs_reader_chunk(v->store, base, &held, &data, &len, NULL) != CS_OK) {
		base_is_damaged(v, base, why.text);
	} else {
		cs_cache_release(held);
		delta_is_damaged(v, d->chunk, why.text);
	}
	return CS_OK;
}

static void *check_deltas(void *arg)
{
	struct cs_verify_run *v = arg;
	struct cs_error err = { 0 };
	int rc = CS_OK;
	while (rc == CS_OK) {
		pthread_mutex_lock(&v->lock);
		size_t at = v->next_delta, end = at + DELTA_STEP;
		end = v->stop ? at : end < v->ndeltas ? end : v->ndeltas;
		v->next_delta = end;
		pthread_mutex_unlock(&v->lock);
		if (at == end)
			break;
		for (; at < end && rc == CS_OK; at++)
			rc = check_delta(v, &v->deltas[at], &err);
	}
	return cs_verify_ended(v, rc, &err);
}

static int by_base(const void *a, const void *b)
{
	const struct cs_verify_delta *x = a, *y = b;
	if (x->base != y->base)
		return x->base < y->base ? -1 : 1;
	return (x->chunk > y->chunk) - (x->chunk < y->chunk);
}

static int by_chunk(const void *a, const void *b)
{
	const struct cs_flaw *x = a, *y = b;
	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return (x->to < y->to) - (x->to > y->to);
}

/* In order, and without those that lie in another, so that they can be searched. */
static void sort_flaws(struct cs_verify_run *v)
{
	size_t n = 0;
	if (v->nflaws)
		qsort(v->flaws, v->nflaws, sizeof(*v->flaws), by_chunk);
	for (size_t i = 0; i < v->nflaws; i++)
		if (n == 0 || v->flaws[i].from > v->flaws[n - 1].to)
			v->flaws[n++] = v->flaws[i];
	v->nflaws = n;
}

int cs_verify_bundles(struct cs_verify_run *v, struct cs_error *err)
{
	int rc = cs_verify_on_all_cores(v, check_bundles, err);
	if (rc == CS_OK && v->ndeltas) {
		qsort(v->deltas, v->ndeltas, sizeof(*v->deltas), by_base);
		rc = cs_verify_on_all_cores(v, check_deltas, err);
	}
	for (size_t i = 0; i < v->ndone && rc == CS_OK; i++)
		v->done[i].later = false;
	sort_flaws(v);
	return rc;
}
