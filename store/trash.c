/* SPDX-License-Identifier: MIT */
/*
 * trash.c - how long the trash keeps, and what gc removes from it.
 *
 * A point's time in the trash is fixed when it is forgotten: a later change of
 * the store's setting is about what is forgotten later. What is due is listed
 * first, in steps that hold no transaction for long; then each point is looked
 * at again in the write transaction that removes it, for it may have come back
 * meanwhile.
 *
 * A point that somebody holds is left for the next gc. Its lease is claimed
 * (leases.h) from before it is removed until that is committed: who wants to hold
 * it in between is refused or finds it gone.
 */
#include "trash.h"

#include "alloc.h"

#include <stdlib.h>
#include <string.h>

#define POINTS_A_TXN 64 /* to remove */
#define ROWS_A_TXN 1000 /* to read */

/* ---- the setting */

int cs_trash_keep(struct cs_txn *t, uint64_t *out, struct cs_error *err)
{
	static const char key[] = CS_META_TRASH_SECONDS;
	struct cs_slice v;
	int rc = cs_db_get(t, CS_T_META, (struct cs_slice){ key, strlen(key) }, &v, err);
	if (rc < 0)
		return rc;
	*out = CS_TRASH_SECONDS_DEFAULT;
	if (rc == 1 && cs_u64_value(v, out) != CS_OK)
		return cs_fail(err, CS_E_CORRUPT, "the setting of the trash is damaged");
	if (*out > CS_TRASH_SECONDS_MAX)
		*out = CS_TRASH_SECONDS_MAX;
	return CS_OK;
}

int cs_store_trash_keep(struct cs_store *s, uint64_t *out, struct cs_error *err)
{
	struct cs_txn *t;
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_trash_keep(t, out, err);
	cs_txn_end(t);
	return rc;
}

int cs_store_set_trash_keep(struct cs_store *s, uint64_t seconds, struct cs_error *err)
{
	struct cs_txn *t;
	if (seconds > CS_TRASH_SECONDS_MAX)
		return cs_fail(err, CS_E_USAGE, "the trash keeps at most 1000 years");
	int rc = cs_txn_write(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_db_counter_set(t, CS_META_TRASH_SECONDS, seconds, err);
	if (rc == CS_OK)
		return cs_txn_commit(t, err);
	cs_txn_end(t);
	return rc;
}

/* ---- for gc */

void cs_purged_release(struct cs_purged *p)
{
	free(p->seqs);
	memset(p, 0, sizeof(*p));
}

/* A row that is due, by its key. */
struct due {
	uint32_t series_id;
	char name[CS_POINT_NAME_MAX + 1];
	uint64_t seq;
};
struct dues {
	struct due *list;
	size_t n, cap;
};

static bool is_due(const struct cs_trash_row *row, int64_t now)
{
	return row->purge_after <= now;
}

static int list_due(struct cs_store *s, int64_t now, struct dues *out, struct cs_error *err)
{
	struct due at = { 0 };
	struct cs_trash_row row;
	int rc = 1;
	while (rc == 1) {
		struct cs_txn *t;
		rc = cs_txn_read(s->db, &t, err);
		if (rc != CS_OK)
			return rc;
		rc = 1;
		for (int i = 0; i < ROWS_A_TXN && rc == 1; i++) {
			rc = cs_trash_walk(t, &at.series_id, at.name, &row, err);
			if (rc != 1 || !is_due(&row, now))
				continue;
			at.seq = row.seq;
			if (cs_grow(&out->list, &out->cap, out->n + 1, sizeof(at)) != CS_OK)
				rc = cs_fail(err, CS_E_NOMEM, "out of memory");
			else
				out->list[out->n++] = at;
		}
		cs_txn_end(t);
	}
	return rc;
}

/* A row that is still there, and still due: 1 or 0. */
static int still_due(struct cs_txn *t, const struct due *d, int64_t now, struct cs_error *err)
{
	struct cs_trash_row row;
	int rc = cs_trash_get(t, d->series_id, d->name, &row, err);
	return rc == 1 ? row.seq == d->seq && is_due(&row, now) : rc;
}

/* Does the row lead to the point of its name? 1 or 0; anything else is damage. */
static int leads_to_it(struct cs_txn *t, const struct due *d, struct cs_error *err)
{
	struct cs_point_record r;
	int rc = cs_points_get(t, d->seq, &r, err);
	if (rc == CS_E_NOTFOUND)
		return 0;
	if (rc != CS_OK)
		return rc;
	bool agrees = r.series_id == d->series_id && strcmp(r.name, d->name) == 0;
	cs_point_record_release(&r);
	return agrees ? 1 : cs_fail(err, CS_E_CORRUPT, "the trash is damaged: the row of point %s "
				    "leads to another", d->name);
}

static int remove_row(struct cs_store *s, struct cs_txn *t, const struct due *d, int64_t now,
		      struct cs_purged *out, size_t *n, struct cs_error *err)
{
	int rc = still_due(t, d, now, err);
	if (rc != 1)
		return rc;
	rc = leads_to_it(t, d, err);
	if (rc == 0) /* nothing but the row is left */
		return cs_trash_drop(t, d->series_id, d->name, err);
	if (rc < 0)
		return rc;
	if (!cs_leases_claim_point(s->leases, d->seq)) {
		out->used++;
		return CS_OK;
	}
	rc = cs_points_remove(t, d->seq, err);
	if (rc == CS_OK)
		out->seqs[(*n)++] = d->seq;
	return rc;
}

/* One transaction: rows *at and on. What is claimed in it is let go when it is over. */
static int remove_some(struct cs_store *s, const struct dues *dues, size_t *at, size_t count,
		       int64_t now, struct cs_purged *out, struct cs_error *err)
{
	struct cs_txn *t;
	size_t n = out->n, first = *at;
	uint64_t used = out->used;
	int rc = cs_txn_write(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	for (size_t i = 0; i < count && *at < dues->n && rc == CS_OK; i++)
		rc = remove_row(s, t, &dues->list[(*at)++], now, out, &n, err);
	if (rc == CS_OK)
		rc = cs_txn_commit(t, err);
	else
		cs_txn_end(t);
	cs_leases_unclaim(s->leases);
	if (rc == CS_OK) {
		out->n = n;
	} else {
		out->used = used;
		*at = first;
	}
	return rc;
}

static void count_only(struct cs_store *s, const struct dues *dues, struct cs_purged *out)
{
	for (size_t i = 0; i < dues->n; i++) {
		if (cs_leases_point_used(s->leases, dues->list[i].seq))
			out->used++;
		else
			out->seqs[out->n++] = dues->list[i].seq;
	}
}

bool cs_purged_has(const struct cs_purged *p, uint64_t seq)
{
	size_t lo = 0, hi = p->n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (p->seqs[mid] < seq)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < p->n && p->seqs[lo] == seq;
}

static int by_seq(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

int cs_trash_purge_due(struct cs_store *s, int64_t now, bool dry_run, struct cs_purged *out,
		       struct cs_error *err)
{
	struct dues dues = { 0 };
	int rc = list_due(s, now, &dues, err);
	if (rc == CS_OK && cs_grow(&out->seqs, &out->cap, dues.n + 1, sizeof(*out->seqs)) != CS_OK)
		rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	if (rc == CS_OK && dry_run)
		count_only(s, &dues, out);
	for (size_t at = 0, count = POINTS_A_TXN; rc == CS_OK && !dry_run && at < dues.n;) {
		rc = remove_some(s, &dues, &at, count, now, out, err);
		if (rc == CS_E_FULL && count > 1) { /* the disk is: less needs less room */
			count /= 2;
			rc = CS_OK;
		}
	}
	if (out->n)
		qsort(out->seqs, out->n, sizeof(*out->seqs), by_seq);
	free(dues.list);
	return rc;
}
