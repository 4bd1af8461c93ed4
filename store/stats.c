/* SPDX-License-Identifier: MIT */
/*
 * stats.c - what a store says of itself.
 */
#include "alloc.h"
#include "checked.h"
#include "store.h"

#include <stdlib.h>
#include <string.h>

int cs_store_generation(struct cs_store *s, uint64_t *out, struct cs_error *err)
{
	struct cs_txn *t;
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_db_counter_get(t, CS_META_GENERATION, out, err);
	if (rc == CS_E_CORRUPT) { /* what is listed needs to know of changes, not their number */
		*out = cs_txn_number(t);
		rc = CS_OK;
	}
	cs_txn_end(t);
	return rc;
}

int cs_store_announce(struct cs_store *s, uint64_t generation, struct cs_error *err)
{
	return cs_leases_announce(s->leases, generation, err);
}

static int count_deltas(struct cs_slice v, const struct cs_bundle_header *h,
			struct cs_store_stats *st, struct cs_error *err)
{
	uint32_t frames;
	struct cs_slot *slots = cs_alloc((h->nslots + 1u) * sizeof(*slots));
	int rc = slots ? cs_bundle_load_table(v, h, err) : cs_fail(err, CS_E_NOMEM, "out of memory");
	if (rc == CS_OK && cs_slots_unpack(v.data, v.len, h, slots, &frames) == CS_OK)
		for (uint32_t i = 0; i < h->nslots; i++)
			if (slots[i].frame_len) {
				st->deltas++;
				st->raw_bytes += slots[i].len;
				st->delta_bytes += slots[i].len;
				st->delta_stored_bytes += slots[i].frame_len;
			}
	free(slots);
	return rc;
}

static int count_range(struct cs_txn *t, uint64_t range, struct cs_store_stats *st,
		       struct cs_error *err)
{
	struct cs_checked_row row;
	int rc = cs_checked_get(t, range, &row, err);
	if (rc != CS_OK)
		return rc;
	int64_t at = row.at[CS_VERIFY_DATA - 1];
	st->ranges++;
	st->ranges_never += !at && !row.damaged;
	st->ranges_damaged += row.damaged != 0;
	if (at && (!st->verified || at < st->verified))
		st->verified = at;
	return CS_OK;
}

struct count {
	struct cs_store_stats *st;
	uint64_t range; /* that was counted last */
};

static int count_bundle(void *arg, struct cs_txn *t, uint64_t number, struct cs_slice v,
			struct cs_error *err)
{
	struct count *c = arg;
	struct cs_store_stats *st = c->st;
	struct cs_bundle_header h;
	int rc = CS_OK;
	st->bundles++;
	if (c->range != cs_checked_range(number)) {
		c->range = cs_checked_range(number);
		rc = count_range(t, c->range, st, err);
	}
	st->stored_bytes += v.len;
	if (rc != CS_OK || cs_bundle_header_unpack(v.data, v.len, &h) != CS_OK)
		return rc; /* a damaged one is verify's business */
	st->chunks += h.nslots;
	st->raw_bytes += h.raw_len;
	if (h.kind == CS_BUNDLE_META)
		st->meta_stored_bytes += v.len;
	return h.flags & CS_BUNDLE_DELTAS ? count_deltas(v, &h, st, err) : CS_OK;
}

static int count_bundles(struct cs_store *s, struct cs_store_stats *st, struct cs_error *err)
{
	struct count c = { st, UINT64_MAX };
	return cs_bundles_walk(s->db, count_bundle, &c, err);
}

/* 1: the next point that is listed, with its size; 0: there is none. */
static int next_listed(struct cs_txn *t, uint64_t *from, uint64_t *bytes, struct cs_error *err)
{
	struct cs_point_record r;
	for (;;) {
		int rc = cs_points_next(t, *from, &r, err);
		if (rc != 1)
			return rc;
		*from = r.seq + 1;
		*bytes = r.totals.bytes;
		rc = cs_points_listed(t, &r, err);
		cs_point_record_release(&r);
		if (rc != 0)
			return rc;
	}
}

static int count_points(struct cs_store *s, struct cs_store_stats *st, struct cs_error *err)
{
	uint64_t from = 0, bytes;
	for (;;) {
		struct cs_txn *t;
		int rc = cs_txn_read(s->db, &t, err);
		if (rc != CS_OK)
			return rc;
		rc = next_listed(t, &from, &bytes, err);
		cs_txn_end(t);
		if (rc != 1)
			return rc;
		st->points++;
		st->logical_bytes += bytes;
	}
}

/* What can be brought back. */
static int count_trash(struct cs_store *s, struct cs_store_stats *st, struct cs_error *err)
{
	char name[CS_POINT_NAME_MAX + 1] = "";
	uint32_t series_id = 0;
	int rc = 1;
	while (rc == 1) {
		struct cs_trash_row row;
		struct cs_txn *t;
		rc = cs_txn_read(s->db, &t, err);
		if (rc != CS_OK)
			return rc;
		rc = 1;
		for (int i = 0; i < 1000 && rc == 1; i++) {
			rc = cs_trash_walk(t, &series_id, name, &row, err);
			st->trash_points += rc == 1 && row.purge_after != CS_TRASH_PURGED;
		}
		cs_txn_end(t);
	}
	return rc;
}

static int count_series(void *arg, const struct cs_series *series)
{
	struct cs_store_stats *st = arg;
	st->series += series->points > 0;
	return 0;
}

int cs_store_stats(struct cs_store *s, struct cs_store_stats *out, struct cs_error *err)
{
	struct cs_store_stats st = { 0 };
	struct cs_db_stats d;
	struct cs_hash id;

	int rc = cs_db_stats(s->db, &d, err);
	if (rc == CS_OK)
		rc = count_bundles(s, &st, err);
	if (rc == CS_OK)
		rc = count_points(s, &st, err);
	if (rc == CS_OK)
		rc = cs_series_list(s, count_series, &st, err);
	if (rc == CS_OK)
		rc = count_trash(s, &st, err);
	if (rc == CS_OK)
		rc = cs_store_trash_keep(s, &st.trash_seconds, err);
	if (rc != CS_OK)
		return rc;
	memcpy(id.b, s->header.id, sizeof(id.b));
	cs_hash_hex(&id, st.id);
	st.index_rows = d.rows[CS_T_INDEX];
	st.moved_rows = d.rows[CS_T_MOVED];
	st.file_bytes = d.file_bytes;
	st.disk_bytes = d.disk_bytes;
	st.free_bytes = d.free_bytes;
	*out = st;
	return CS_OK;
}

void cs_store_caches(struct cs_store *s, struct cs_store_caches *out)
{
	struct cs_cache_stats b, p;
	cs_cache_stats(s->bundles, &b);
	cs_cache_stats(s->pages, &p);
	*out = (struct cs_store_caches){
		.limit = s->cache_bytes,
		.bundle_bytes = b.bytes, .bundle_hits = b.hits, .bundle_misses = b.misses,
		.page_bytes = p.bytes, .page_hits = p.hits, .page_misses = p.misses,
	};
}
