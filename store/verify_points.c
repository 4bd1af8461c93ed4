/* SPDX-License-Identifier: MIT */
/*
 * verify_points.c - points one by one, and the names that lead to them.
 *
 * Points in the trash are checked like all others: they are to come back whole.
 * One that gc is to remove is nobody's loss. A point is held while it is looked at.
 */
#include "verify_impl.h"

#include <stdio.h>
#include <string.h>

enum place {
	GONE, /* removed, or to be: its damage is nobody's loss */
	KNOWN,
	LOST, /* whoever looks for it by its name does not find it */
};

static enum place place_of(struct cs_verify_run *v, uint64_t seq)
{
	struct cs_point_record r;
	struct cs_trash_row row;
	struct cs_txn *t;
	enum place place = KNOWN;
	if (cs_txn_read(v->store->db, &t, NULL) != CS_OK)
		return KNOWN;
	int rc = cs_points_get(t, seq, &r, NULL);
	if (rc == CS_E_NOTFOUND)
		place = GONE;
	if (rc == CS_OK) {
		if (cs_points_trashed(t, &r, &row, NULL) == 1)
			place = row.purge_after == CS_TRASH_PURGED ? GONE : KNOWN;
		else if (cs_points_listed(t, &r, NULL) != 1)
			place = LOST;
		cs_point_record_release(&r);
	}
	cs_txn_end(t);
	return place;
}

bool cs_verify_point_is_gone(struct cs_verify_run *v, uint64_t seq)
{
	return place_of(v, seq) == GONE;
}

/* Looked at, and to be written down. */
static void is_done(struct cs_verify_run *v, uint64_t seq)
{
	v->result.damaged_points += v->damage != 0;
	cs_verify_is_done(v, cs_checked_point(seq), v->damage != 0, false);
	cs_verify_record(v, false);
}

/* Its record cannot be read. */
static void lost_point(struct cs_verify_run *v, uint64_t seq, const char *why)
{
	char text[64];
	snprintf(text, sizeof(text), "point number %llu", (unsigned long long)seq);
	cs_verify_affects_point(v, cs_verify_found(v, CS_FOUND_RECORD_DAMAGED, seq, "%s: %.200s", text,
						   why), seq, text);
	is_done(v, seq);
}

static void lost_name(struct cs_verify_run *v)
{
	char text[CS_SERIES_MAX + CS_POINT_NAME_MAX + 8];
	snprintf(text, sizeof(text), "%s/%s", v->tree->point.series, v->tree->point.name);
	cs_verify_affects_point(v, cs_verify_found(v, CS_FOUND_NAME_LOST, v->tree->seq,
						   "%s: neither the catalog nor the trash leads to it",
						   text), v->tree->seq, text);
}

static bool is_due(struct cs_verify_run *v, uint64_t seq)
{
	struct cs_txn *t;
	if (cs_txn_read(v->store->db, &t, NULL) != CS_OK)
		return true;
	bool due = cs_verify_due(v, t, cs_checked_point(seq));
	cs_txn_end(t);
	return due;
}

static int check_point(struct cs_verify_run *v, uint64_t seq, struct cs_error *err)
{
	struct cs_error why = { 0 };
	enum place place = place_of(v, seq);
	if (place == GONE)
		return CS_OK;
	if (!is_due(v, seq) && !cs_verify_files_of(v, seq)) {
		v->result.points_skipped++;
		return CS_OK;
	}
	v->damage = 0;
	int rc = cs_tree_open_kept(v->store, seq, false, &v->tree, &why);
	if (rc == CS_E_NOTFOUND) /* removed meanwhile */
		return CS_OK;
	if (rc == CS_E_CORRUPT || rc == CS_E_IO) {
		lost_point(v, seq, why.text);
		return CS_OK;
	}
	if (rc != CS_OK)
		return cs_fail(err, rc, "%s", why.text);
	if (place == LOST)
		lost_name(v);
	rc = cs_verify_tree(v, err);
	v->result.points += rc == CS_OK;
	if (rc == CS_OK)
		is_done(v, seq);
	cs_tree_close(v->tree);
	v->tree = NULL;
	return rc;
}

int cs_verify_next_point(struct cs_verify_run *v, uint64_t from, uint64_t *seq,
			 struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_cursor *c = NULL;
	struct cs_slice key = cs_u64_key(&from), value;
	int rc = cs_txn_read(v->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_open(t, CS_T_POINTS, &c, err);
	if (rc == CS_OK)
		rc = cs_cursor_move(c, CS_SEEK_GE, &key, &value, err);
	if (rc == 1 && (cs_u64_value(key, seq) != CS_OK || *seq < from))
		rc = cs_fail(err, CS_E_CORRUPT, "the table of points is damaged");
	cs_cursor_close(c);
	cs_txn_end(t);
	return rc;
}

/* Behind a row of the table that cannot be found, none can: how many points that is, nobody knows. */
static void lost_points(struct cs_verify_run *v, uint64_t from, const char *why)
{
	cs_verify_found(v, CS_FOUND_RECORD_DAMAGED, from | CS_CHECKED_POINT,
			"the points from number %llu on: %.200s", (unsigned long long)from, why);
	v->result.damaged_points++;
}

static int all_points(struct cs_verify_run *v, struct cs_error *err)
{
	struct cs_error why;
	uint64_t seq = 0, from = 0;
	int rc;
	while ((rc = cs_verify_next_point(v, from, &seq, &why)) == 1) {
		rc = check_point(v, seq, err);
		if (rc == CS_OK)
			rc = cs_verify_tick(v, NULL, err);
		if (rc != CS_OK)
			return rc;
		from = seq + 1;
	}
	if (rc == CS_E_CORRUPT || rc == CS_E_IO)
		lost_points(v, from, why.text);
	else if (rc < 0)
		return cs_fail(err, rc, "%s", why.text);
	return CS_OK;
}

/* ---- names */

/* Does a row of the trash lead to a point of that name that is not listed? */
static bool row_is_good(struct cs_txn *t, uint32_t series_id, const char *name,
			const struct cs_trash_row *row)
{
	struct cs_point_record r;
	if (cs_points_get(t, row->seq, &r, NULL) != CS_OK)
		return false;
	bool good = r.series_id == series_id && strcmp(r.name, name) == 0 &&
		    cs_points_listed(t, &r, NULL) == 0;
	cs_point_record_release(&r);
	return good;
}

/* All rows, each in a transaction of its own. Behind one that cannot be read nothing is looked at. */
static int all_trash(struct cs_verify_run *v, struct cs_error *err)
{
	char name[CS_POINT_NAME_MAX + 1] = "";
	uint32_t series_id = 0;
	for (uint64_t i = 0;; i++) {
		struct cs_txn *t;
		struct cs_trash_row row;
		int rc = cs_txn_read(v->store->db, &t, err);
		if (rc != CS_OK)
			return rc;
		rc = cs_trash_walk(t, &series_id, name, &row, err);
		bool good = rc == 1 ? row_is_good(t, series_id, name, &row) : rc != CS_E_CORRUPT;
		cs_txn_end(t);
		if (!good)
			cs_verify_found(v, CS_FOUND_TRASH_DAMAGED, i,
					"the row of point %s of series %u", name, series_id);
		if (rc != 1)
			return rc == CS_E_CORRUPT ? CS_OK : rc;
	}
}

/* Is this row of the catalog that of its point? A record that is damaged was told of. */
static bool name_is_right(struct cs_txn *t, uint32_t series_id, const char *name, uint64_t seq)
{
	struct cs_point_record r;
	int rc = cs_points_get(t, seq, &r, NULL);
	if (rc != CS_OK)
		return rc != CS_E_NOTFOUND;
	bool right = r.series_id == series_id && strcmp(r.name, name) == 0;
	cs_point_record_release(&r);
	return right;
}

static void check_series(struct cs_verify_run *v, struct cs_txn *t, const char *series,
			 const struct cs_series_record *s)
{
	char after[CS_POINT_NAME_MAX + 1] = "", name[CS_POINT_NAME_MAX + 1], of_id[CS_SERIES_MAX + 1];
	uint64_t points = 0, seq;
	bool latest = s->latest == 0, right = true;
	int rc;
	while ((rc = cs_catalog_next(t, s->id, after, name, &seq, NULL)) == 1) {
		memcpy(after, name, sizeof(after));
		points++;
		latest |= seq == s->latest;
		right = right && name_is_right(t, s->id, name, seq);
	}
	if (rc != 0 || !right)
		cs_verify_found(v, CS_FOUND_CATALOG_DAMAGED, s->id,
				"series %s: its list of points", series);
	else if (points != s->points || !latest || (s->latest == 0) != (points == 0))
		cs_verify_found(v, CS_FOUND_CATALOG_DAMAGED, s->id,
				"series %s: its count of points, or which one is the latest", series);
	else if (cs_series_name(t, s->id, of_id, NULL) != CS_OK || strcmp(of_id, series) != 0)
		cs_verify_found(v, CS_FOUND_CATALOG_DAMAGED, s->id,
				"series %s: its number leads elsewhere", series);
}

static int all_series(struct cs_verify_run *v, struct cs_error *err)
{
	char after[CS_SERIES_MAX + 1], name[CS_SERIES_MAX + 1] = "";
	int rc = 1;
	while (rc == 1) {
		struct cs_txn *t;
		struct cs_series_record s;
		rc = cs_txn_read(v->store->db, &t, err);
		if (rc != CS_OK)
			return rc;
		memcpy(after, name, sizeof(after));
		rc = cs_series_next(t, after, name, &s, err);
		if (rc == 1)
			check_series(v, t, name, &s);
		cs_txn_end(t);
		if (rc == 1 && cs_verify_tick(v, NULL, err) != CS_OK)
			rc = CS_E_INTERRUPTED;
	}
	if (rc != CS_E_CORRUPT)
		return rc;
	cs_verify_found(v, CS_FOUND_CATALOG_DAMAGED, UINT64_MAX, "the list of series behind %s", name);
	return CS_OK;
}

/* Each id leads to its point, and each point has one. */
static int all_ids(struct cs_verify_run *v, struct cs_error *err)
{
	struct cs_error why = { .text = "" };
	struct cs_txn *t;
	int rc = cs_txn_read(v->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_ids_lost(t, &why);
	cs_txn_end(t);
	if (rc == CS_E_CORRUPT || rc == CS_E_IO)
		cs_verify_found(v, CS_FOUND_CATALOG_DAMAGED, UINT64_MAX - 1, "the points' ids: %.250s",
				why.text);
	else if (rc != CS_OK)
		return cs_fail(err, rc, "%s", why.text);
	return CS_OK;
}

int cs_verify_points(struct cs_verify_run *v, struct cs_error *err)
{
	int rc = all_points(v, err);
	if (rc == CS_OK)
		rc = all_trash(v, err);
	if (rc == CS_OK)
		rc = all_series(v, err);
	return rc == CS_OK ? all_ids(v, err) : rc;
}
