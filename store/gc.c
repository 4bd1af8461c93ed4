/* SPDX-License-Identifier: MIT */
/*
 * gc.c - free what no point needs, while everybody else goes on.
 *
 * First the points whose time in the trash is over are removed (trash.c), then
 * every chunk that any point refers to is marked; points in the trash and
 * forgotten points that somebody still reads are points like others. If
 * anything on the way cannot be read, nothing is freed. Then, in bounded write
 * transactions,
 *   - a bundle without a marked chunk is deleted with its index rows,
 *   - a bundle that is half dead or more is rewritten: its marked chunks go
 *     into a new bundle (gc_survivors.c), each with a row in the moved table,
 *   - other bundles stay as they are; their dead chunks stay findable, and may
 *     come to life again with a dedup hit.
 *
 * Why nothing that is needed can go. A chunk that a point refers to, or will
 * refer to, is one of these:
 *   - referred to by a point that was there when the marks were made: marked;
 *   - of a point that was committed since: each transaction looks, before it
 *     deletes, whether a point came after the marks, and if so gives up, marks
 *     that point too, and tries again;
 *   - taken over by a running backup from its parent point: the backup holds
 *     the parent, so its record is kept, so all of it is marked;
 *   - found by a running backup in the dedup index, or written by it: its
 *     bundle's group is locked (leases.h), and is left for the next gc. The
 *     locks end after the backup's point is committed, which is the case before;
 *   - the base of a delta that is one of these: marked with the delta; a backup that
 *     makes or finds a delta locks its base's group, too (dedup.h);
 *   - in a bundle that was not there when the marks were first made: left alone.
 * A reader has the point it reads held; when a bundle is rewritten under it, it
 * finds the chunk through the moved table, whose rows stay for as long as
 * anything marked refers to the old number.
 *
 * Crash points: every transaction leaves a store in which every reference
 * resolves: a new bundle, its moved rows and the deletion of the old one are
 * one transaction. A later gc goes on where this one was killed.
 *
 * On a full disk a transaction may not fit into the room that is set aside
 * for this (db_room.c). Then it is tried again with half the work, down to one
 * bundle; one that does not fit even so is left alone. When the others have
 * given their space back, those that were left are tried once more.
 *
 * A dry run does all of it except the writing, so that its figures are those
 * of the real one.
 */
#include "alloc.h"
#include "fault.h"
#include "gc_survivors.h"
#include "hash.h"
#include "index.h"
#include "marks.h"
#include "reader.h"
#include "search.h"
#include "space.h"
#include "trash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define BUNDLES_A_TXN 256
#define WORK_A_TXN ((size_t)16 << 20) /* about a tenth of a second: others wait for the writer's lock */
#define MOVED_A_TXN 10000

struct gc {
	struct cs_store *store;
	const struct cs_gc_opts *opts;
	struct cs_gc_result result;
	struct cs_marks marks;
	struct cs_purged purged; /* from the trash */
	bool dry;
	uint64_t next; /* number of the bundle to go on from */
	size_t work_max; /* of a transaction */
	uint64_t worked; /* bundles freed or rewritten, also in transactions that were undone */
	bool again; /* not the first time through the bundles: some are gone */
	struct cs_txn *txn; /* for writing; for reading in a dry run */
	/* rows whose `to` may move again, by `to` */
	struct cs_mark_moved *by_to;
	struct cs_survivors survivors;
};

static int tick(void *arg, struct cs_error *err)
{
	struct gc *g = arg;
	if (!g->opts->progress)
		return CS_OK;
	struct cs_progress p = { .what = "gc", .entries = cs_marks_at(&g->marks, g->next),
				 .total_entries = g->marks.nbundles };
	if (g->opts->progress(g->opts->arg, &p))
		return cs_fail(err, CS_E_INTERRUPTED, "interrupted; what was freed is free");
	return CS_OK;
}

/* ---- one bundle's slots */

struct victim {
	struct cs_slot *slots;
	struct cs_bundle_header h;
	uint32_t live, frames_len;
	uint64_t live_bytes;
	size_t stored;
};

static bool claim(struct gc *g, const struct cs_mark_bundle *b)
{
	bool ours = g->dry ? !cs_leases_bundle_used(g->store->leases, b->number) :
			     cs_leases_claim_bundle(g->store->leases, b->number);
	g->result.bundles_used += !ours;
	return ours;
}

/*
 * What is damaged and needed by nothing. Its rows in the index cannot be found; they lead to a
 * number that is not given out again, and whoever meets one stores his chunk anew.
 */
static int drop_damaged(struct gc *g, const struct cs_mark_bundle *b, struct cs_error *err)
{
	struct cs_slice s;
	int rc = cs_bundles_get(g->txn, b->number, &s, err);
	if (rc != 1)
		return rc;
	if (!claim(g, b))
		return CS_OK;
	g->worked++;
	g->result.stored_freed += s.len;
	g->result.bundles_freed++;
	return g->dry ? CS_OK : cs_bundles_del(g->txn, b->number, err);
}

/* 1; 0: it is done with, or left alone. */
static int look(struct gc *g, const struct cs_mark_bundle *b, struct victim *v,
		struct cs_error *err)
{
	struct cs_slice s;
	memset(v, 0, sizeof(*v));
	int rc = cs_bundles_get(g->txn, b->number, &s, err);
	if (rc < 0 || (rc == 0 && g->again))
		return rc;
	if (rc == 0 || cs_bundle_header_unpack(s.data, s.len, &v->h) != CS_OK ||
	    v->h.nslots != b->nslots)
		return cs_fail(err, CS_E_CORRUPT, "bundle %llu has changed",
			       (unsigned long long)b->number);
	bool dead = cs_marks_live(&g->marks, b) == 0;
	if (cs_bundle_load_table(s, &v->h, NULL) != CS_OK)
		return dead ? drop_damaged(g, b, err) : CS_OK;
	v->stored = s.len;
	v->slots = cs_alloc(b->nslots * sizeof(*v->slots));
	if (!v->slots)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	int bad = cs_slots_unpack(s.data, s.len, &v->h, v->slots, &v->frames_len);
	cs_db_unload(g->txn, s);
	if (bad) {
		free(v->slots);
		v->slots = NULL;
		return dead ? drop_damaged(g, b, err) : CS_OK;
	}
	for (uint32_t i = 0; i < b->nslots; i++)
		if (cs_marks_get(&g->marks, b, i)) {
			v->live++;
			v->live_bytes += cs_slot_weight(&v->slots[i]);
		}
	return 1;
}

static bool half_dead(const struct victim *v)
{
	return v->live_bytes * 2 <= (uint64_t)v->h.raw_len + v->frames_len;
}

/* Delete a bundle and the index rows of all its chunks. */
static int delete_bundle(struct gc *g, const struct cs_mark_bundle *b, const struct victim *v,
			 struct cs_error *err)
{
	int rc = CS_OK;
	for (uint32_t i = 0; i < b->nslots && rc == CS_OK && !g->dry; i++)
		rc = cs_index_del(g->txn, &v->slots[i].hash, cs_chunk_make(b->number, i), err);
	if (rc == CS_OK && !g->dry)
		rc = cs_bundles_del(g->txn, b->number, err);
	if (rc == CS_OK) {
		g->result.stored_freed += v->stored;
		g->result.chunks_freed += b->nslots - v->live;
	}
	return rc;
}

/* ---- survivors */

/* Rows that led to `old` lead to `new` now: a reference is at most one step from its chunk. */
static int redirect(struct gc *g, cs_chunk old, cs_chunk new, struct cs_error *err)
{
	size_t at = cs_search(g->by_to, g->marks.nmoved, sizeof(*g->by_to),
			      offsetof(struct cs_mark_moved, to), old);
	int rc = cs_moved_put(g->txn, old, new, err);
	for (; at < g->marks.nmoved && g->by_to[at].to == old && rc == CS_OK; at++)
		if (g->by_to[at].used)
			rc = cs_moved_put(g->txn, g->by_to[at].from, new, err);
	return rc;
}

static int move_chunk(struct gc *g, const struct cs_bundle *from, uint32_t slot, cs_chunk old,
		      struct cs_error *err)
{
	cs_chunk new;
	int rc = cs_survivors_add(&g->survivors, from, slot, &new, err);
	if (rc != CS_OK || g->dry)
		return rc;
	rc = cs_index_add(g->txn, &from->slots[slot].hash, new, err);
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

static int sweep_one(struct gc *g, const struct cs_mark_bundle *b, size_t *work,
		     struct cs_error *err)
{
	struct victim v;
	if (b->old && b->nslots == 0)
		return b->needed ? CS_OK : drop_damaged(g, b, err);
	if (!b->old || cs_marks_live(&g->marks, b) == b->nslots)
		return CS_OK;
	int rc = look(g, b, &v, err);
	if (rc != 1)
		return rc;
	rc = CS_OK;
	if ((v.live == 0 || half_dead(&v)) && claim(g, b)) {
		g->worked++;
		*work += b->nslots * (size_t)256; /* rows of the index */
		if (v.live == 0) {
			rc = delete_bundle(g, b, &v, err);
			g->result.bundles_freed += rc == CS_OK;
			*work += CS_PACK_TARGET / 2; /* its neighbours are written again */
		} else {
			rc = rewrite_bundle(g, b, &v, err);
			*work += v.h.raw_len + v.frames_len;
		}
	}
	free(v.slots);
	return rc;
}

static int by_to(const void *a, const void *b)
{
	const struct cs_mark_moved *x = a, *y = b;
	return (x->to > y->to) - (x->to < y->to);
}

/* Make the marks complete: again when a point came. */
static int bring_up_to_date(struct gc *g, struct cs_error *err)
{
	int rc = cs_marks_update(&g->marks, g->store, err);
	if (rc <= 0)
		return rc;
	free(g->by_to);
	g->by_to = cs_alloc((g->marks.nmoved + 1) * sizeof(*g->by_to));
	if (!g->by_to)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	if (g->marks.nmoved) {
		memcpy(g->by_to, g->marks.moved, g->marks.nmoved * sizeof(*g->by_to));
		qsort(g->by_to, g->marks.nmoved, sizeof(*g->by_to), by_to);
	}
	return CS_OK;
}

/* Begin a transaction in which the marks are complete. */
static int begin(struct gc *g, struct cs_error *err)
{
	if (g->dry)
		return cs_txn_read(g->store->db, &g->txn, err);
	for (;;) {
		uint64_t end;
		int rc = cs_txn_write(g->store->db, &g->txn, err);
		if (rc != CS_OK)
			return rc;
		rc = cs_db_counter_get(g->txn, CS_META_NEXT_POINT, &end, err);
		if (rc == CS_OK && end == g->marks.points_end)
			return CS_OK;
		cs_txn_end(g->txn);
		if (rc == CS_OK)
			rc = bring_up_to_date(g, err);
		if (rc != CS_OK)
			return rc;
	}
}

static int end(struct gc *g, int rc, struct cs_error *err)
{
	if (rc == CS_OK && !g->dry) {
		cs_fault("gc: before commit");
		rc = cs_txn_commit(g->txn, err);
	} else {
		cs_txn_end(g->txn);
	}
	if (!g->dry)
		cs_leases_unclaim(g->store->leases);
	return rc;
}

/* A transaction was undone for want of room: the same with less, or without the only bundle of it. */
static int no_room(struct gc *g, const struct gc *before, size_t work)
{
	uint64_t tried = g->worked - before->worked;
	if (tried == 0)
		return CS_E_FULL;
	g->result = before->result;
	g->survivors.stored = before->survivors.stored;
	if (tried > 1) {
		g->work_max = (work < g->work_max ? work : g->work_max) / 2;
		g->next = before->next;
	} else {
		g->result.bundles_no_room++;
	}
	return CS_OK;
}

/* One bounded transaction. */
static int sweep_step(struct gc *g, struct cs_error *err)
{
	const struct gc before = { .next = g->next, .result = g->result,
				   .survivors.stored = g->survivors.stored, .worked = g->worked };
	size_t work = 0;
	int rc = begin(g, err);
	if (rc != CS_OK)
		return rc;
	g->survivors.txn = g->dry ? NULL : g->txn;
	size_t i = cs_marks_at(&g->marks, g->next), last = i + BUNDLES_A_TXN;
	for (; i < g->marks.nbundles && i < last && rc == CS_OK; i++) {
		rc = sweep_one(g, &g->marks.bundles[i], &work, err);
		g->next = g->marks.bundles[i].number + 1;
		if (work >= g->work_max)
			break;
	}
	if (rc == CS_OK)
		rc = cs_survivors_flush(&g->survivors, err);
	cs_survivors_drop(&g->survivors);
	rc = end(g, rc, err);
	return rc == CS_E_FULL && !g->dry ? no_room(g, &before, work) : rc;
}

/* Rows that nothing refers to by their old number. */
static int drop_moved(struct gc *g, struct cs_error *err)
{
	cs_chunk from = 0;
	bool more = g->marks.nmoved > 0;
	while (more) {
		int rc = begin(g, err), n = 0;
		if (rc != CS_OK)
			return rc;
		more = false;
		for (size_t i = 0; i < g->marks.nmoved && rc == CS_OK; i++) {
			const struct cs_mark_moved *row = &g->marks.moved[i];
			if (row->used || row->from < from)
				continue;
			if (n++ == MOVED_A_TXN) {
				more = true;
				break;
			}
			rc = cs_db_del(g->txn, CS_T_MOVED, cs_u64_key(&row->from), NULL, err);
			from = row->from + 1;
		}
		rc = end(g, rc, err);
		if (rc != CS_OK)
			return rc;
	}
	return CS_OK;
}

static bool would_be_gone(void *arg, const struct cs_point_record *r)
{
	const struct gc *g = arg;
	return cs_purged_has(&g->purged, r->seq);
}

/* First, so that what only these points need is not marked. */
static int empty_trash(struct gc *g, struct cs_error *err)
{
	int64_t now = g->opts->empty_trash ? INT64_MAX : cs_now().sec;
	int rc = cs_trash_purge_due(g->store, now, g->dry, &g->purged, err);
	g->result.points_purged = g->purged.n;
	g->result.points_used = g->purged.used;
	g->marks.tick = tick;
	g->marks.arg = g;
	if (g->dry)
		g->marks.skip = would_be_gone;
	return rc;
}

static int give_back(struct gc *g, struct cs_error *err)
{
	const struct cs_space_opts opts = { .progress = g->opts->progress, .arg = g->opts->arg,
					    .what = "gc" };
	return cs_space_give_back(g->store, &opts, &g->result.space, err);
}

/* All bundles; again, while that makes room for those for which there was none. */
static int sweep(struct gc *g, struct cs_error *err)
{
	uint64_t done = 0, before;
	int rc;
	do {
		before = done;
		g->next = 0;
		g->work_max = WORK_A_TXN;
		g->result.bundles_no_room = 0;
		do {
			rc = tick(g, err);
			if (rc == CS_OK)
				rc = sweep_step(g, err);
		} while (rc == CS_OK && cs_marks_at(&g->marks, g->next) < g->marks.nbundles);
		if (rc == CS_OK && !g->dry)
			rc = give_back(g, err);
		g->again = true;
		done = g->result.bundles_freed + g->result.bundles_rewritten;
	} while (rc == CS_OK && g->result.bundles_no_room && done > before);
	if (rc == CS_OK && g->result.bundles_no_room && !done)
		rc = cs_fail_errno(err, ENOSPC, "store %s: nothing could be freed", g->store->path);
	return rc;
}

static int run(struct gc *g, struct cs_error *err)
{
	int rc = tick(g, err);
	if (rc == CS_OK)
		rc = empty_trash(g, err);
	if (rc == CS_OK)
		rc = bring_up_to_date(g, err);
	g->result.chunks_live = g->marks.nset;
	cs_fault("gc: marked");
	if (rc == CS_OK && !g->dry && (rc = drop_moved(g, err)) == CS_E_FULL)
		rc = CS_OK; /* they can wait */
	if (rc == CS_OK)
		rc = sweep(g, err);
	uint64_t again = g->survivors.stored, freed = g->result.stored_freed;
	g->result.stored_freed -= again < freed ? again : freed;
	return rc;
}

int cs_gc(struct cs_store *s, const struct cs_gc_opts *opts, struct cs_gc_result *out,
	  struct cs_error *err)
{
	struct gc g = { .store = s, .opts = opts, .dry = opts->dry_run, .survivors.store = s };
	int rc = CS_OK;
	if (!s->writable && !opts->dry_run)
		return cs_fail(err, CS_E_READONLY, "store %s is open for reading only", s->path);
	rc = cs_leases_enter_gc(s->leases, err);
	if (rc == CS_E_BUSY || (rc != CS_OK && !opts->dry_run))
		return rc;
	rc = run(&g, err);
	if (rc == CS_OK)
		*out = g.result;
	cs_leases_leave_gc(s->leases);
	cs_survivors_release(&g.survivors);
	free(g.by_to);
	cs_marks_release(&g.marks);
	cs_purged_release(&g.purged);
	return rc;
}
