/* SPDX-License-Identifier: MIT */
/*
 * rebuild.c - what follows from bundles and records, made from them anew: the dedup
 * index, points' totals, their names and ids, the counts of series.
 *
 * Nobody has to stop. What is wrong is looked for in short read transactions and put
 * right in short write transactions, which look again; each of these leaves a store
 * that is sound, or less damaged than before. So a crash costs nothing but the rest
 * of the work.
 *
 * Rows of the moved table do not follow from anything: where gc moved a chunk from is
 * written nowhere else. Those that cannot be read are removed, no more.
 */
#include "alloc.h"
#include "fault.h"
#include "hash.h"
#include "index.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_A_TXN 8192
#define ROWS_AT_ONCE (1u << 19)

/* A row of the index that is to be: hash of a chunk; or not to be: head of a row. */
struct job {
	struct cs_hash hash;
	cs_chunk chunk;
};

struct rebuild {
	struct cs_store *store;
	const struct cs_rebuild_opts *opts;
	struct cs_rebuild_result result;
	/* the table at hand */
	uint64_t number;
	struct cs_slot *slots; /* NULL: it cannot be read, or there is no such bundle */
	uint32_t nslots;
	bool there;
};

static int tick(struct rebuild *r, struct cs_error *err)
{
	const struct cs_progress p = { .what = "rebuild", .entries = r->result.bundles };
	if (r->opts->progress && r->opts->progress(r->opts->arg, &p))
		return cs_fail(err, CS_E_INTERRUPTED, "interrupted; what was done is done");
	return CS_OK;
}

static int load_table(struct rebuild *r, struct cs_txn *t, uint64_t number, struct cs_error *err)
{
	struct cs_slice v;
	struct cs_bundle_header h;
	uint32_t frames;
	if (r->number == number)
		return CS_OK;
	free(r->slots);
	r->slots = NULL;
	r->number = number;
	r->nslots = 0;
	int rc = cs_bundles_get(t, number, &v, NULL);
	r->there = rc != 0;
	if (rc != 1 || cs_bundle_header_unpack(v.data, v.len, &h) != CS_OK ||
	    cs_bundle_load_table(v, &h, NULL) != CS_OK)
		return CS_OK;
	r->slots = cs_alloc((h.nslots + 1u) * sizeof(*r->slots));
	if (!r->slots)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	if (cs_slots_unpack(v.data, v.len, &h, r->slots, &frames) == CS_OK) {
		r->nslots = h.nslots;
	} else {
		free(r->slots);
		r->slots = NULL;
	}
	cs_db_unload(t, v);
	return CS_OK;
}

/* ---- rows that are missing */

static bool in_index(struct cs_txn *t, const struct cs_hash *h, cs_chunk chunk)
{
	cs_chunk at;
	return cs_index_next(t, h, chunk - 1, &at, NULL) == 1 && at == chunk;
}

/* Chunks of the bundles from *number on that have no row. 1: there may be more bundles. */
static int find_missing(struct rebuild *r, uint64_t *from, struct job *jobs, size_t *n,
			struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_slice v;
	uint64_t number;
	cs_chunk to;
	int rc = cs_txn_read(r->store->db, &t, err);
	*n = 0;
	if (rc != CS_OK)
		return rc;
	for (int i = 0; i < 256 && rc >= 0; i++) {
		rc = cs_bundles_next(t, *from, &number, &v, err);
		if (rc == 1)
			rc = load_table(r, t, number, err) == CS_OK ? 1 : CS_E_NOMEM;
		if (rc != 1 || *n + r->nslots > ROWS_AT_ONCE)
			break;
		for (uint32_t k = 0; k < r->nslots; k++) {
			cs_chunk chunk = cs_chunk_make(number, k);
			if (!in_index(t, &r->slots[k].hash, chunk) &&
			    cs_chunk_moved(t, chunk, &to, NULL) != 1)
				jobs[(*n)++] = (struct job){ r->slots[k].hash, chunk };
		}
		r->result.bundles++;
		*from = number + 1;
	}
	cs_txn_end(t);
	return rc;
}

static int add_rows(struct rebuild *r, const struct job *jobs, size_t n, struct cs_error *err)
{
	struct cs_txn *t;
	int rc = cs_txn_write(r->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	r->number = 0;
	for (size_t i = 0; i < n && rc == CS_OK; i++) {
		rc = load_table(r, t, cs_chunk_bundle(jobs[i].chunk), err);
		if (rc == CS_OK && r->there) { /* gc may have been here */
			rc = cs_index_add(t, &jobs[i].hash, jobs[i].chunk, err);
			r->result.index_added++;
		}
	}
	cs_fault("rebuild: before commit");
	if (rc == CS_OK)
		return cs_txn_commit(t, err);
	cs_txn_end(t);
	return rc;
}

static int add_missing(struct rebuild *r, struct job *jobs, struct cs_error *err)
{
	uint64_t from = 1;
	size_t n;
	int more = 1, rc = CS_OK;
	while (more == 1 && rc == CS_OK) {
		more = find_missing(r, &from, jobs, &n, err);
		for (size_t at = 0; more >= 0 && at < n && rc == CS_OK; at += ROWS_A_TXN)
			rc = add_rows(r, jobs + at, n - at < ROWS_A_TXN ? n - at : ROWS_A_TXN, err);
		if (rc == CS_OK && more >= 0)
			rc = tick(r, err);
	}
	return more < 0 ? more : rc;
}

/* ---- rows that lead to no chunk of that hash */

static int by_chunk(const void *a, const void *b)
{
	const struct cs_index_entry *x = a, *y = b;
	return (x->chunk > y->chunk) - (x->chunk < y->chunk);
}

/* 1: it leads nowhere, or to another chunk. A table that cannot be read says nothing. */
static int is_wrong(struct rebuild *r, struct cs_txn *t, const struct cs_index_entry *e,
		    struct cs_error *err)
{
	uint32_t slot = cs_chunk_slot(e->chunk);
	int rc = load_table(r, t, cs_chunk_bundle(e->chunk), err);
	if (rc != CS_OK)
		return rc;
	return !r->there ||
	       (r->slots && (slot >= r->nslots || !cs_index_fits(e, &r->slots[slot].hash)));
}

static int drop_rows(struct rebuild *r, const struct cs_index_entry *rows, size_t n,
		     struct cs_error *err)
{
	struct cs_txn *t;
	int rc = cs_txn_write(r->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	r->number = 0;
	for (size_t i = 0; i < n && rc == CS_OK; i++) {
		rc = is_wrong(r, t, &rows[i], err);
		if (rc == 1) {
			rc = cs_index_drop(t, &rows[i], err);
			r->result.index_removed++;
		}
	}
	if (rc == CS_OK)
		return cs_txn_commit(t, err);
	cs_txn_end(t);
	return rc;
}

/* Of a batch of rows those that are wrong stay, in front. */
static int keep_wrong(struct rebuild *r, struct cs_index_entry *rows, size_t *n,
		      struct cs_error *err)
{
	size_t left = 0;
	int rc = CS_OK;
	qsort(rows, *n, sizeof(*rows), by_chunk);
	for (size_t i = 0; i < *n && rc >= 0;) {
		struct cs_txn *t;
		rc = cs_txn_read(r->store->db, &t, err);
		if (rc != CS_OK)
			return rc;
		r->number = 0;
		for (size_t k = 0; k < ROWS_A_TXN && i < *n && rc >= 0; k++, i++) {
			rc = is_wrong(r, t, &rows[i], err);
			if (rc == 1)
				rows[left++] = rows[i];
		}
		cs_txn_end(t);
	}
	*n = left;
	return rc < 0 ? rc : CS_OK;
}

static int drop_wrong(struct rebuild *r, struct cs_index_entry *rows, struct cs_error *err)
{
	struct cs_index_entry at = { 0, 0 };
	size_t n = 1, have = 0;
	int rc = CS_OK;
	while (n && rc == CS_OK) {
		struct cs_txn *t;
		for (have = 0, n = 1; n && have + ROWS_A_TXN <= ROWS_AT_ONCE && rc == CS_OK; have += n) {
			rc = cs_txn_read(r->store->db, &t, err);
			if (rc != CS_OK)
				return rc;
			rc = cs_index_walk(t, &at, rows + have, ROWS_A_TXN, &n, err);
			if (rc == CS_OK && n)
				at = rows[have + n - 1];
			cs_txn_end(t);
		}
		if (rc == CS_OK)
			rc = keep_wrong(r, rows, &have, err);
		for (size_t i = 0; i < have && rc == CS_OK; i += ROWS_A_TXN)
			rc = drop_rows(r, rows + i, have - i < ROWS_A_TXN ? have - i : ROWS_A_TXN, err);
		if (rc == CS_OK)
			rc = tick(r, err);
	}
	return rc;
}

/* ---- the moved table, points and series */

/* In one transaction: there are few, if any. */
static int drop_moved(struct rebuild *r, struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_cursor *c;
	struct cs_slice key = { 0 }, v;
	uint64_t bad[1024];
	size_t n = 0;
	int rc = cs_txn_write(r->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_open(t, CS_T_MOVED, &c, err);
	if (rc == CS_OK) {
		rc = cs_cursor_move(c, CS_SEEK_FIRST, &key, &v, err);
		while (rc == 1 && n < 1024) {
			cs_chunk from, to;
			if (cs_moved_unpack(key, v, &from, &to) != CS_OK &&
			    cs_u64_value(key, &bad[n]) == CS_OK)
				n++;
			rc = cs_cursor_move(c, CS_SEEK_NEXT, &key, &v, err);
		}
		cs_cursor_close(c);
	}
	for (size_t i = 0; i < n && rc >= 0; i++)
		rc = cs_db_del(t, CS_T_MOVED, cs_u64_key(&bad[i]), NULL, err);
	r->result.moved_removed = n;
	if (rc >= 0 && n)
		return cs_txn_commit(t, err);
	cs_txn_end(t);
	return rc < 0 ? rc : CS_OK;
}

/* A transaction for each: only what is wrong is written. */
static int mend_point(struct rebuild *r, uint64_t seq, struct cs_error *err)
{
	struct cs_txn *t;
	bool changed;
	int rc = cs_txn_write(r->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_points_mend(t, seq, &changed, err);
	r->result.points_changed += rc == CS_OK && changed;
	if (rc == CS_OK && changed)
		return cs_txn_commit(t, err);
	cs_txn_end(t);
	return rc;
}

static int mend_points(struct rebuild *r, struct cs_error *err)
{
	struct cs_txn *t;
	uint64_t end;
	int rc = cs_txn_read(r->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_db_counter_get(t, CS_META_NEXT_POINT, &end, err);
	cs_txn_end(t);
	uint64_t seq = 0;
	while (rc == CS_OK) {
		struct cs_slice key, v;
		uint64_t from = seq + 1;
		struct cs_cursor *c;
		key = cs_u64_key(&from);
		rc = cs_txn_read(r->store->db, &t, err);
		if (rc != CS_OK)
			return rc;
		rc = cs_cursor_open(t, CS_T_POINTS, &c, err);
		if (rc == CS_OK) {
			rc = cs_cursor_move(c, CS_SEEK_GE, &key, &v, err);
			if (rc == 1 && (cs_u64_value(key, &seq) != CS_OK || seq < from))
				rc = 0;
			cs_cursor_close(c);
		}
		cs_txn_end(t);
		if (rc != 1)
			return rc;
		rc = mend_point(r, seq, err);
		if (rc == CS_OK)
			rc = tick(r, err);
	}
	return rc;
}

static int mend_series(struct rebuild *r, struct cs_error *err)
{
	char after[CS_SERIES_MAX + 1], name[CS_SERIES_MAX + 1] = "";
	for (;;) {
		struct cs_series_record s;
		struct cs_txn *t;
		bool changed = false;
		memcpy(after, name, sizeof(after));
		int rc = cs_txn_write(r->store->db, &t, err);
		if (rc != CS_OK)
			return rc;
		rc = cs_series_next(t, after, name, &s, err);
		if (rc == 1) {
			rc = cs_series_mend(t, name, cs_now(), &changed, err);
			rc = rc < 0 ? rc : 1;
		}
		if (rc == 1 && changed) {
			r->result.series_changed++;
			rc = cs_txn_commit(t, err) == CS_OK ? 1 : CS_E_IO;
		} else {
			cs_txn_end(t);
		}
		if (rc != 1)
			return rc;
	}
}

int cs_rebuild(struct cs_store *s, const struct cs_rebuild_opts *opts, struct cs_rebuild_result *out,
	       struct cs_error *err)
{
	struct rebuild r = { .store = s, .opts = opts };
	if (!s->writable)
		return cs_fail(err, CS_E_READONLY, "store %s is open for reading only", s->path);
	size_t room = sizeof(struct job) > sizeof(struct cs_index_entry) ?
			      sizeof(struct job) : sizeof(struct cs_index_entry);
	void *rows = cs_alloc(ROWS_AT_ONCE * room);
	int rc = rows ? CS_OK : cs_fail(err, CS_E_NOMEM, "out of memory");
	if (rc == CS_OK)
		rc = drop_moved(&r, err);
	if (rc == CS_OK)
		rc = add_missing(&r, rows, err);
	if (rc == CS_OK)
		rc = drop_wrong(&r, rows, err);
	if (rc == CS_OK)
		rc = mend_points(&r, err);
	if (rc == CS_OK)
		rc = mend_series(&r, err);
	free(rows);
	free(r.slots);
	if (rc == CS_OK)
		*out = r.result;
	return rc;
}
