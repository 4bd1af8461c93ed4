/* SPDX-License-Identifier: MIT */
/*
 * gc.c - free what no point needs.
 *
 * Why nothing reachable can go: the caller holds the store exclusively
 * (leases.h), so no backup takes up chunks and no point comes while this runs.
 * Every chunk that any point refers to is marked first; if anything on the way
 * cannot be read, nothing is freed. Only then
 *   - a bundle without a marked chunk is deleted with its index rows,
 *   - a bundle that is half dead or more is rewritten: its marked chunks go
 *     into a new bundle, each with a row in the moved table,
 *   - other bundles stay as they are; their dead chunks stay findable, and may
 *     come to life again with a dedup hit.
 * Crash points: every transaction leaves a store in which every reference
 * resolves: a new bundle, its moved rows and the deletion of the old one are
 * one transaction. A later gc goes on where this one was killed.
 */
#include "alloc.h"
#include "hash.h"
#include "index.h"
#include "marks.h"
#include "reader.h"
#include "space.h"

#include <stdlib.h>
#include <string.h>

#define BUNDLES_A_TXN 256
#define BYTES_A_TXN ((size_t)32 << 20)

struct gc {
	struct cs_store *store;
	const struct cs_gc_opts *opts;
	struct cs_gc_result result;
	struct cs_marks marks;
	struct cs_compressor *compressor;
	size_t at; /* next bundle of marks */
	struct cs_txn *txn;
	/* rows whose `to` may move again, by `to` */
	struct cs_mark_moved *by_to;
	uint64_t stored_again; /* bytes of bundles that survivors went into */
	/* the bundle that survivors go into */
	uint8_t *raw;
	size_t used, cap;
	struct cs_buf table;
	uint64_t number, next_number, numbers_left;
	uint32_t nslots;
	int kind;
};

static int tick(struct gc *g, struct cs_error *err)
{
	if (!g->opts->progress)
		return CS_OK;
	struct cs_progress p = { .what = "gc", .entries = g->at, .total_entries = g->marks.nbundles };
	if (g->opts->progress(g->opts->arg, &p))
		return cs_fail(err, CS_E_INTERRUPTED, "interrupted; what was freed is free");
	return CS_OK;
}

/* ---- one bundle's slots */

struct victim {
	struct cs_slot *slots;
	struct cs_bundle_header h;
	uint32_t live;
	uint64_t live_bytes;
	size_t stored;
};

static int look(struct gc *g, struct cs_txn *t, const struct cs_mark_bundle *b, struct victim *v,
		struct cs_error *err)
{
	struct cs_slice s;
	memset(v, 0, sizeof(*v));
	int rc = cs_bundles_get(t, b->number, &s, err);
	if (rc < 0)
		return rc;
	if (rc == 0 || cs_bundle_header_unpack(s.data, s.len, &v->h) != CS_OK ||
	    v->h.nslots != b->nslots)
		return cs_fail(err, CS_E_CORRUPT, "bundle %llu is damaged; run verify",
			       (unsigned long long)b->number);
	rc = cs_bundle_load_table(s, &v->h, err);
	if (rc != CS_OK)
		return rc;
	v->stored = s.len;
	v->slots = cs_alloc(b->nslots * sizeof(*v->slots));
	if (!v->slots)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	if (cs_slots_unpack(s.data, &v->h, v->slots) != CS_OK) {
		free(v->slots);
		v->slots = NULL;
		return cs_fail(err, CS_E_CORRUPT, "bundle %llu is damaged; run verify",
			       (unsigned long long)b->number);
	}
	for (uint32_t i = 0; i < b->nslots; i++)
		if (cs_marks_get(&g->marks, b, i)) {
			v->live++;
			v->live_bytes += v->slots[i].len;
		}
	return CS_OK;
}

static bool half_dead(const struct victim *v)
{
	return v->live_bytes * 2 <= v->h.raw_len;
}

/* Delete a bundle and the index rows of all its chunks. */
static int delete_bundle(struct gc *g, const struct cs_mark_bundle *b, const struct victim *v,
			 struct cs_error *err)
{
	int rc = CS_OK;
	for (uint32_t i = 0; i < b->nslots && rc == CS_OK; i++)
		rc = cs_index_del(g->txn, &v->slots[i].hash, cs_chunk_make(b->number, i), err);
	if (rc == CS_OK)
		rc = cs_bundles_del(g->txn, b->number, err);
	if (rc == CS_OK) {
		g->result.stored_freed += v->stored;
		g->result.chunks_freed += b->nslots - v->live;
	}
	return rc;
}

/* ---- survivors */

static int flush_survivors(struct gc *g, struct cs_error *err)
{
	if (g->nslots == 0)
		return CS_OK;
	uint8_t *out;
	size_t len;
	int rc = cs_bundle_encode(g->compressor, g->number, g->kind, &g->table, g->nslots, g->raw,
				  g->used, &out, &len);
	if (rc != CS_OK)
		return cs_fail(err, rc, "out of memory");
	rc = cs_bundles_put(g->txn, g->number, out, len, err);
	free(out);
	g->stored_again += len;
	g->used = 0;
	g->nslots = 0;
	cs_buf_clear(&g->table);
	return rc;
}

static int begin_survivors(struct gc *g, int kind, size_t len, struct cs_error *err)
{
	size_t target = kind == CS_BUNDLE_META ? CS_BUNDLE_META_TARGET : CS_BUNDLE_DATA_TARGET;
	if (g->nslots &&
	    (g->kind != kind || g->used + len > target || g->nslots >= CS_SLOTS_MAX)) {
		int rc = flush_survivors(g, err);
		if (rc != CS_OK)
			return rc;
	}
	if (g->nslots == 0) {
		if (!g->numbers_left) {
			int rc = cs_bundles_reserve(g->txn, BUNDLES_A_TXN, &g->next_number, err);
			if (rc != CS_OK)
				return rc;
			g->numbers_left = BUNDLES_A_TXN;
		}
		g->number = g->next_number++;
		g->numbers_left--;
		g->kind = kind;
	}
	if (cs_grow(&g->raw, &g->cap, g->used + len, 1) != CS_OK)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	return CS_OK;
}

/* Rows that led to `old` lead to `new` now: a reference is at most one step from its chunk. */
static int redirect(struct gc *g, cs_chunk old, cs_chunk new, struct cs_error *err)
{
	size_t lo = 0, hi = g->marks.nmoved;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (g->by_to[mid].to < old)
			lo = mid + 1;
		else
			hi = mid;
	}
	int rc = cs_moved_put(g->txn, old, new, err);
	for (; lo < g->marks.nmoved && g->by_to[lo].to == old && rc == CS_OK; lo++)
		if (g->by_to[lo].used)
			rc = cs_moved_put(g->txn, g->by_to[lo].from, new, err);
	return rc;
}

static int move_chunk(struct gc *g, const struct cs_bundle *from, uint32_t slot, cs_chunk old,
		      struct cs_error *err)
{
	const struct cs_slot *s = &from->slots[slot];
	int rc = begin_survivors(g, from->kind, s->len, err);
	if (rc != CS_OK)
		return rc;
	memcpy(g->raw + g->used, from->raw + s->off, s->len);
	cs_slot_pack(&g->table, s->len, &s->hash);
	if (g->table.failed)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	cs_chunk new = cs_chunk_make(g->number, g->nslots++);
	g->used += s->len;
	rc = cs_index_add(g->txn, &s->hash, new, err);
	return rc == CS_OK ? redirect(g, old, new, err) : rc;
}

static int rewrite_bundle(struct gc *g, const struct cs_mark_bundle *b, const struct victim *v,
			  struct cs_error *err)
{
	struct cs_bundle *from;
	void *held;
	int rc = cs_reader_bundle(g->store, b->number, &held, &from, err);
	if (rc == CS_E_CORRUPT) /* what can still be read of it must not be lost with it */
		return CS_OK;
	if (rc != CS_OK)
		return rc;
	for (uint32_t i = 0; i < b->nslots && rc == CS_OK; i++)
		if (cs_marks_get(&g->marks, b, i))
			rc = move_chunk(g, from, i, cs_chunk_make(b->number, i), err);
	cs_cache_release(held);
	if (rc == CS_OK)
		rc = delete_bundle(g, b, v, err);
	if (rc == CS_OK)
		g->result.bundles_rewritten++;
	return rc;
}

/* ---- sweeping */

static int sweep_one(struct gc *g, const struct cs_mark_bundle *b, size_t *bytes,
		     struct cs_error *err)
{
	struct victim v;
	int rc = look(g, g->txn, b, &v, err);
	if (rc != CS_OK)
		return rc;
	if (v.live == 0) {
		rc = delete_bundle(g, b, &v, err);
		g->result.bundles_freed += rc == CS_OK;
		*bytes += v.stored / 8; /* its pages are only entered into a list */
	} else if (half_dead(&v)) {
		rc = rewrite_bundle(g, b, &v, err);
		*bytes += v.h.raw_len;
	}
	free(v.slots);
	return rc;
}

/* One bounded transaction. */
static int sweep_step(struct gc *g, struct cs_error *err)
{
	size_t bytes = 0;
	int rc = cs_txn_write(g->store->db, &g->txn, err);
	if (rc != CS_OK)
		return rc;
	for (int i = 0; i < BUNDLES_A_TXN && bytes < BYTES_A_TXN && g->at < g->marks.nbundles &&
			rc == CS_OK;
	     i++)
		rc = sweep_one(g, &g->marks.bundles[g->at++], &bytes, err);
	if (rc == CS_OK)
		rc = flush_survivors(g, err);
	g->numbers_left = 0; /* those not used are lost: they are many */
	if (rc != CS_OK) {
		cs_txn_end(g->txn);
		return rc;
	}
	return cs_txn_commit(g->txn, err);
}

/* Rows that nothing refers to by their old number. */
static int drop_moved(struct gc *g, struct cs_error *err)
{
	size_t i = 0;
	int rc = CS_OK;
	while (i < g->marks.nmoved && rc == CS_OK) {
		rc = cs_txn_write(g->store->db, &g->txn, err);
		if (rc != CS_OK)
			return rc;
		for (int n = 0; n < 10000 && i < g->marks.nmoved && rc == CS_OK; n++, i++)
			if (!g->marks.moved[i].used)
				rc = cs_db_del(g->txn, CS_T_MOVED,
					       cs_u64_key(&g->marks.moved[i].from), NULL, err);
		if (rc == CS_OK)
			rc = cs_txn_commit(g->txn, err);
		else
			cs_txn_end(g->txn);
	}
	return rc;
}

static int count(struct gc *g, struct cs_error *err)
{
	int rc = CS_OK;
	for (size_t i = 0; i < g->marks.nbundles && rc == CS_OK;) {
		struct cs_txn *t;
		rc = cs_txn_read(g->store->db, &t, err);
		if (rc != CS_OK)
			return rc;
		for (int n = 0; n < 1000 && i < g->marks.nbundles && rc == CS_OK; n++, i++) {
			struct victim v;
			rc = look(g, t, &g->marks.bundles[i], &v, err);
			if (rc == CS_OK && (v.live == 0 || half_dead(&v))) {
				g->result.chunks_freed += v.h.nslots - v.live;
				g->result.bundles_freed += v.live == 0;
				g->result.bundles_rewritten += v.live != 0;
				g->result.stored_freed +=
					v.live == 0 ? v.stored :
						      v.stored - (size_t)((double)v.stored *
									  (double)v.live_bytes /
									  (v.h.raw_len + 1.0));
			}
			free(v.slots);
		}
		cs_txn_end(t);
	}
	return rc;
}

static int by_to(const void *a, const void *b)
{
	const struct cs_mark_moved *x = a, *y = b;
	return (x->to > y->to) - (x->to < y->to);
}

static int sweep(struct gc *g, struct cs_error *err)
{
	g->compressor = cs_compressor_new(CS_LEVEL_DEFAULT);
	g->by_to = cs_alloc((g->marks.nmoved + 1) * sizeof(*g->by_to));
	if (!g->compressor || !g->by_to)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	if (g->marks.nmoved) {
		memcpy(g->by_to, g->marks.moved, g->marks.nmoved * sizeof(*g->by_to));
		qsort(g->by_to, g->marks.nmoved, sizeof(*g->by_to), by_to);
	}
	int rc = drop_moved(g, err);
	while (rc == CS_OK && g->at < g->marks.nbundles) {
		rc = tick(g, err);
		if (rc == CS_OK)
			rc = sweep_step(g, err);
	}
	return rc;
}

int cs_gc(struct cs_store *s, const struct cs_gc_opts *opts, struct cs_gc_result *out,
	  struct cs_error *err)
{
	struct gc g = { .store = s, .opts = opts };
	int rc = CS_OK;
	if (!s->writable && !opts->dry_run)
		return cs_fail(err, CS_E_READONLY, "store %s is open for reading only", s->path);
	rc = cs_marks_init(&g.marks, s, err);
	if (rc == CS_OK)
		rc = tick(&g, err);
	if (rc == CS_OK)
		rc = cs_marks_all_points(&g.marks, s, err);
	g.result.chunks_live = g.marks.nset;
	if (rc == CS_OK)
		rc = opts->dry_run ? count(&g, err) : sweep(&g, err);
	if (rc == CS_OK && !opts->dry_run)
		rc = cs_space_give_back(s, &(struct cs_space_opts){ .progress = opts->progress,
								    .arg = opts->arg, .what = "gc" },
					&g.result.space, err);
	g.result.stored_freed -= g.stored_again < g.result.stored_freed ? g.stored_again :
									  g.result.stored_freed;
	if (rc == CS_OK)
		*out = g.result;
	cs_compressor_free(g.compressor);
	free(g.by_to);
	free(g.raw);
	cs_buf_release(&g.table);
	cs_marks_release(&g.marks);
	return rc;
}
