/* SPDX-License-Identifier: MIT */
/*
 * repair.c - damaged bundles, healed with what the store itself or another one has.
 *
 * It looks at the ranges that verify wrote down as damaged. A bundle that cannot be
 * decoded still has a table, most often; each chunk is sought by its hash, length
 * and kind: among what can be decoded of the bundle in spite of its checksum, in
 * other bundles, and in the other store. What was found is stored in a new bundle, and
 * rows of the moved table lead to it (heal.h), one transaction a bundle. When all
 * of a bundle was found, it is removed.
 *
 * gc is kept out meanwhile, so that what is found stays. A crash leaves some
 * bundles healed, and the others as they were.
 */
#include "alloc.h"
#include "checked.h"
#include "fault.h"
#include "hash.h"
#include "heal.h"
#include "index.h"
#include "reader.h"

#include <stdlib.h>
#include <string.h>

struct repair {
	struct cs_store *store, *from;
	const struct cs_repair_opts *opts;
	struct cs_repair_result result;
	struct cs_compressor *compressor;
	struct cs_decompressor *decompressor;
	/* the bundle at hand */
	uint64_t number;
	int kind;
	struct cs_slot *slots;
	uint32_t nslots;
	struct cs_bundle_item *items; /* what goes into a new one */
	uint8_t **bytes;              /* of these; owned */
	struct cs_healed *healed;     /* to: 0 for those in the new one */
	uint32_t nitems, nhealed, known;
	size_t used;
};

/* ---- where the bytes are */

/* A chunk of this hash, length and kind in a store: its number and its bytes, held. 1 or 0. */
static int find_in(struct repair *r, struct cs_store *s, const struct cs_slot *want, cs_chunk *at,
		   void **held, const uint8_t **data, bool *delta)
{
	*at = 0;
	for (;;) {
		struct cs_txn *t;
		struct cs_bundle *b;
		uint32_t slot;
		cs_chunk base;
		if (cs_txn_read(s->db, &t, NULL) != CS_OK)
			return 0;
		int rc = cs_index_next(t, &want->hash, *at, at, NULL);
		cs_txn_end(t);
		if (rc != 1)
			return 0;
		if ((s == r->store && cs_chunk_bundle(*at) == r->number) ||
		    cs_reader_find(s, *at, held, &b, &slot, NULL) != CS_OK)
			continue;
		*data = b->raw + b->slots[slot].off;
		struct cs_hash h = cs_hash_of(*data, b->slots[slot].len);
		if (b->kind == r->kind && b->slots[slot].len == want->len &&
		    cs_hash_equal(&h, &want->hash)) {
			*delta = cs_reader_base(s, *at, &base, NULL) != CS_OK || base;
			return 1;
		}
		cs_cache_release(*held);
	}
}

/* Take these bytes into the new bundle, for slot i of the old one. */
static int take(struct repair *r, uint32_t i, const uint8_t *data, struct cs_error *err)
{
	const struct cs_slot *s = &r->slots[i];
	uint8_t *copy = cs_alloc(s->len + 1u);
	if (!copy)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	memcpy(copy, data, s->len);
	r->bytes[r->nitems] = copy;
	r->items[r->nitems++] = (struct cs_bundle_item){
		.slot = { .len = s->len, .hash = s->hash }, .data = copy
	};
	r->healed[r->nhealed++] = (struct cs_healed){ cs_chunk_make(r->number, i), 0, s->hash };
	r->used += s->len;
	return CS_OK;
}

static int seek_chunk(struct repair *r, uint32_t i, const struct cs_bundle *left,
		      struct cs_error *err)
{
	const struct cs_slot *s = &r->slots[i];
	struct cs_store *stores[2] = { r->store, r->from };
	if (left && !left->slots[i].frame_len) {
		struct cs_hash h = cs_hash_of(left->raw + left->slots[i].off, s->len);
		if (cs_hash_equal(&h, &s->hash))
			return take(r, i, left->raw + left->slots[i].off, err);
	}
	for (int k = 0; k < 2 && stores[k]; k++) {
		const uint8_t *data;
		cs_chunk at;
		void *held;
		bool delta;
		if (!find_in(r, stores[k], s, &at, &held, &data, &delta))
			continue;
		int rc = CS_OK;
		if (k == 0 && !delta)
			r->healed[r->nhealed++] = (struct cs_healed){
				cs_chunk_make(r->number, i), at, s->hash
			};
		else
			rc = take(r, i, data, err);
		cs_cache_release(held);
		return rc;
	}
	return CS_OK;
}

/* ---- a bundle */

/* Its table, and what can be decoded of it. 1: it is damaged; 0: it is sound, or gone. */
static int open_bundle(struct repair *r, struct cs_bundle **left, struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_slice v;
	struct cs_bundle_header h;
	struct cs_bundle *b = NULL;
	uint32_t frames;
	int rc = cs_txn_read(r->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_bundles_get(t, r->number, &v, NULL);
	if (rc == 1 && cs_db_load(v, NULL) == CS_OK) {
		rc = cs_bundle_decode(r->decompressor, r->number, v.data, v.len, &b);
		if (rc == CS_OK) {
			cs_bundle_free(b);
			cs_txn_end(t);
			return 0;
		}
		if (cs_bundle_salvage(r->decompressor, v.data, v.len, left) != CS_OK)
			*left = NULL;
	}
	if (rc != 0 && cs_bundles_get(t, r->number, &v, NULL) == 1 &&
	    cs_bundle_header_unpack(v.data, v.len, &h) == CS_OK &&
	    cs_bundle_load_table(v, &h, NULL) == CS_OK &&
	    (r->slots = cs_alloc((h.nslots + 1u) * sizeof(*r->slots))) &&
	    cs_slots_unpack(v.data, v.len, &h, r->slots, &frames) == CS_OK) {
		r->nslots = h.nslots;
		r->kind = h.kind;
		cs_compressor_set(r->compressor, cs_bundle_level(&h));
	}
	cs_txn_end(t);
	return rc != 0;
}

/* What was found, into the store: one transaction. */
static int store_found(struct repair *r, struct cs_error *err)
{
	struct cs_bundle_stored made = { 0 };
	struct cs_txn *t;
	uint8_t *out = NULL;
	int rc = cs_txn_write(r->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	if (r->nitems)
		rc = cs_bundles_reserve(t, 1, &made.number, err);
	if (rc == CS_OK && r->nitems &&
	    (rc = cs_bundle_encode(r->compressor, r->store->header.incompat, made.number, r->kind,
				   r->items, r->nitems, &out, &made.len)) != CS_OK)
		cs_fail(err, rc, "out of memory");
	made.data = out;
	if (rc == CS_OK && r->nitems)
		rc = cs_txn_leave_room(t, made.len, err);
	if (rc == CS_OK && r->nitems)
		rc = cs_bundles_put(t, &made, 1, err);
	for (uint32_t i = 0, item = 0; i < r->nhealed && rc == CS_OK; i++)
		if (!r->healed[i].to) {
			r->healed[i].to = cs_chunk_make(made.number, item++);
			rc = cs_index_add(t, &r->healed[i].hash, r->healed[i].to, err);
		}
	if (rc == CS_OK)
		rc = cs_heal_put(t, r->healed, r->nhealed, err);
	cs_fault("repair: before commit");
	if (rc == CS_OK)
		rc = cs_txn_commit(t, err);
	else
		cs_txn_end(t);
	free(out);
	return rc;
}

/* Nothing is needed of it any more. If that cannot be done, gc will. */
static void remove_bundle(struct repair *r)
{
	struct cs_txn *t;
	if (cs_txn_write(r->store->db, &t, NULL) != CS_OK)
		return;
	int rc = cs_bundles_del(t, r->number, NULL);
	for (uint32_t i = 0; i < r->nslots && rc == CS_OK; i++)
		rc = cs_index_del(t, &r->slots[i].hash, cs_chunk_make(r->number, i), NULL);
	if (rc != CS_OK)
		cs_txn_end(t);
	else if (cs_txn_commit(t, NULL) == CS_OK)
		r->result.bundles_removed++;
}

/* 1: the moved table leads from slot i to elsewhere. */
static int was_healed(struct repair *r, uint32_t i, struct cs_error *err)
{
	struct cs_txn *t;
	cs_chunk to;
	int rc = cs_txn_read(r->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_chunk_moved(t, cs_chunk_make(r->number, i), &to, NULL);
	cs_txn_end(t);
	return rc == 1;
}

static int heal_bundle(struct repair *r, const struct cs_bundle *left, struct cs_error *err)
{
	int rc = CS_OK;
	for (uint32_t i = 0; i < r->nslots && rc == CS_OK; i++) {
		rc = was_healed(r, i, err);
		r->known += rc == 1;
		if (rc == 0 && r->slots[i].len && r->used + r->slots[i].len <= CS_BUNDLE_RAW_MAX)
			rc = seek_chunk(r, i, left, err);
		else if (rc == 1)
			rc = CS_OK;
	}
	if (rc == CS_OK && r->nhealed)
		rc = store_found(r, err);
	if (rc != CS_OK)
		return rc;
	r->result.chunks_healed += r->nhealed;
	r->result.chunks_lost += r->nslots - r->known - r->nhealed;
	if (r->known + r->nhealed == r->nslots)
		remove_bundle(r);
	return CS_OK;
}

static int repair_bundle(struct repair *r, uint64_t number, struct cs_error *err)
{
	struct cs_bundle *left = NULL;
	r->number = number;
	r->nslots = r->nitems = r->nhealed = r->known = 0;
	r->used = 0;
	r->slots = NULL;
	int rc = open_bundle(r, &left, err);
	if (rc == 1) {
		r->result.bundles_damaged++;
		r->items = cs_alloc((r->nslots + 1u) * sizeof(*r->items));
		r->bytes = cs_alloc((r->nslots + 1u) * sizeof(*r->bytes));
		r->healed = cs_alloc((r->nslots + 1u) * sizeof(*r->healed));
		rc = !r->items || !r->bytes || !r->healed ?
			     cs_fail(err, CS_E_NOMEM, "out of memory") :
			     r->nslots ? heal_bundle(r, left, err) : CS_OK;
		for (uint32_t i = 0; i < r->nitems; i++)
			free(r->bytes[i]);
		free(r->items);
		free(r->bytes);
		free(r->healed);
	}
	cs_bundle_free(left);
	free(r->slots);
	return rc;
}

/* ---- all of them */

static int tick(struct repair *r, struct cs_error *err)
{
	const struct cs_progress p = { .what = "repair", .entries = r->result.chunks_healed };
	if (r->opts->progress && r->opts->progress(r->opts->arg, &p))
		return cs_fail(err, CS_E_INTERRUPTED, "interrupted; what was healed is healed");
	return CS_OK;
}

/* The next bundle at or after from whose range is marked: 1 and its number, or 0. */
static int next_marked(struct repair *r, uint64_t from, uint64_t *number, struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_slice v;
	struct cs_checked_row row = { .damaged = 0 };
	int rc = cs_txn_read(r->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	while ((rc = cs_bundles_next(t, from, number, &v, err)) == 1) {
		rc = cs_checked_get(t, cs_checked_range(*number), &row, err);
		if (rc != CS_OK || row.damaged)
			break;
		from = (cs_checked_range(*number) + 1) * CS_CHECKED_RANGE;
	}
	cs_txn_end(t);
	return rc == CS_OK && row.damaged ? 1 : rc;
}

static int run(struct repair *r, struct cs_error *err)
{
	uint64_t number = 0;
	int rc;
	r->compressor = cs_compressor_new(CS_LEVEL_DEFAULT);
	r->decompressor = cs_decompressor_new();
	if (!r->compressor || !r->decompressor)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	while ((rc = next_marked(r, number, &number, err)) == 1) {
		rc = tick(r, err);
		if (rc == CS_OK)
			rc = repair_bundle(r, number, err);
		if (rc != CS_OK)
			break;
		number++;
	}
	return rc;
}

int cs_repair(struct cs_store *s, const struct cs_repair_opts *opts, struct cs_repair_result *out,
	      struct cs_error *err)
{
	struct repair r = { .store = s, .from = opts->from, .opts = opts };
	if (!s->writable)
		return cs_fail(err, CS_E_READONLY, "store %s is open for reading only", s->path);
	if (s->header.hash_bits < 128 || (r.from && r.from->header.hash_bits < 128))
		return cs_fail(err, CS_E_USAGE, "a store whose hashes are cut cannot be repaired");
	if (r.from && memcmp(r.from->header.id, s->header.id, sizeof(s->header.id)) == 0 &&
	    r.from->ino == s->ino && r.from->dev == s->dev)
		return cs_fail(err, CS_E_USAGE, "store %s cannot be repaired from itself", s->path);
	int rc = cs_leases_enter_gc(s->leases, err);
	if (rc != CS_OK)
		return rc;
	rc = run(&r, err);
	cs_leases_leave_gc(s->leases);
	cs_compressor_free(r.compressor);
	cs_decompressor_free(r.decompressor);
	if (rc == CS_OK)
		*out = r.result;
	return rc;
}
