/* SPDX-License-Identifier: MIT */
/*
 * points_lost.c - not there, or not to be found?
 *
 * The rows of names are small and lie in pages of LMDB's trees, which have no
 * checksum. A damaged key, or a damaged page on the way to it, looks just like
 * a row that is not there; but whoever asks for a backup must not be told that
 * there is none. So before a name is called absent, or a list complete, what is
 * stored twice is compared: series by name and by id, a series' number of
 * points and its rows, ids and records. Each row must also be found by its key.
 *
 * That is done once in a snapshot: what was found sound stays so.
 */
#include "points.h"

#include "page.h"
#include "points_impl.h"

#include <string.h>

enum fact { ALL_SERIES = 1, ALL_IDS, NAMES_OF = 16 /* and the series' id */ };

static int lost(struct cs_error *err, const char *what)
{
	return cs_fail(err, CS_E_CORRUPT, "the catalog is damaged: %s", what);
}

/* A row of a table, at a cursor that goes through it. 1: the row is sound and counts, 0: it does not. */
typedef int row_fn(struct cs_txn *t, void *arg, struct cs_slice key, struct cs_slice value,
		   struct cs_error *err);

/* A page that names a row twice, instead of another, still has as many. */
static bool ascends(enum cs_table table, struct cs_slice last, struct cs_slice key)
{
	uint64_t a, b;
	if (table != CS_T_POINTS && table != CS_T_SERIES_IDS)
		return cs_key_compare(last.data, last.len, key.data, key.len) < 0;
	return cs_u64_value(last, &a) == CS_OK && cs_u64_value(key, &b) == CS_OK && a < b;
}

/* Walk a table from the first key >= from, as long as keys begin with it; count what fn counts. */
static int walk(struct cs_txn *t, enum cs_table table, struct cs_slice from, row_fn *fn, void *arg,
		uint64_t *count, struct cs_error *err)
{
	struct cs_cursor *c;
	struct cs_slice key = from, v, again, last = { NULL, 0 };
	int rc = cs_cursor_open(t, table, &c, err);
	if (rc != CS_OK)
		return rc;
	*count = 0;
	rc = cs_cursor_move(c, from.len ? CS_SEEK_GE : CS_SEEK_FIRST, &key, &v, err);
	while (rc == 1 && key.len >= from.len &&
	       (!from.len || memcmp(key.data, from.data, from.len) == 0)) {
		rc = cs_db_get(t, table, key, &again, err);
		if (rc == 0 || (rc == 1 && again.data != v.data))
			rc = lost(err, "a row is not found by its key");
		else if (rc == 1 && last.data && !ascends(table, last, key))
			rc = lost(err, "the order of rows");
		last = key; /* borrowed from the transaction, as all keys are */
		if (rc == 1)
			rc = fn(t, arg, key, v, err);
		if (rc < 0)
			break;
		*count += rc == 1;
		rc = cs_cursor_move(c, CS_SEEK_NEXT, &key, &v, err);
	}
	cs_cursor_close(c);
	return rc < 0 ? rc : CS_OK;
}

/* ---- series */

bool cs_series_all_paired(const struct cs_txn *t)
{
	return cs_txn_known(t, ALL_SERIES);
}

int cs_series_paired(struct cs_txn *t, struct cs_slice name, uint32_t id, struct cs_error *err)
{
	uint64_t key = id;
	struct cs_slice v;
	if (cs_series_all_paired(t))
		return CS_OK;
	int rc = cs_db_get(t, CS_T_SERIES_IDS, cs_u64_key(&key), &v, err);
	if (rc == 0 || (rc == 1 && (v.len != name.len || memcmp(v.data, name.data, v.len) != 0)))
		return lost(err, "the name of a series");
	return rc < 0 ? rc : CS_OK;
}

static int series_row(struct cs_txn *t, void *arg, struct cs_slice key, struct cs_slice value,
		      struct cs_error *err)
{
	struct cs_series_record r;
	(void)arg;
	if (cs_series_record_unpack(value.data, value.len, &r) != CS_OK)
		return lost(err, "a series");
	int rc = cs_series_paired(t, key, r.id, err);
	return rc == CS_OK ? 1 : rc;
}

static int any_row(struct cs_txn *t, void *arg, struct cs_slice key, struct cs_slice value,
		   struct cs_error *err)
{
	(void)t;
	(void)arg;
	(void)key;
	(void)value;
	(void)err;
	return 1;
}

int cs_series_lost(struct cs_txn *t, struct cs_error *err)
{
	uint64_t names, ids;
	if (cs_txn_known(t, ALL_SERIES))
		return CS_OK;
	int rc = walk(t, CS_T_SERIES, (struct cs_slice){ "", 0 }, series_row, NULL, &names, err);
	if (rc == CS_OK)
		rc = walk(t, CS_T_SERIES_IDS, (struct cs_slice){ "", 0 }, any_row, NULL, &ids, err);
	if (rc == CS_OK && names != ids)
		rc = lost(err, "a series is missing");
	if (rc == CS_OK)
		cs_txn_note(t, ALL_SERIES);
	return rc;
}

/* ---- names of points */

static int name_row(struct cs_txn *t, void *arg, struct cs_slice key, struct cs_slice value,
		    struct cs_error *err)
{
	struct cs_point_record r;
	uint32_t series_id;
	uint64_t seq;
	char name[CS_POINT_NAME_MAX + 1];
	(void)arg;
	if (!cs_catalog_key_parse(key, &series_id, name) || cs_u64_value(value, &seq) != CS_OK)
		return lost(err, "a point's name");
	int rc = cs_points_get(t, seq, &r, err);
	if (rc != CS_OK)
		return rc == CS_E_NOTFOUND ? lost(err, "a point is not where its name says") : rc;
	bool agrees = r.series_id == series_id && strcmp(r.name, name) == 0;
	cs_point_record_release(&r);
	return agrees ? 1 : lost(err, "a point is not where its name says");
}

int cs_names_lost(struct cs_txn *t, const struct cs_series_record *s, struct cs_error *err)
{
	uint8_t room[CS_CATALOG_KEY_MAX];
	uint64_t names;
	if (cs_txn_known(t, NAMES_OF + s->id))
		return CS_OK;
	int rc = walk(t, CS_T_CATALOG, cs_catalog_key(s->id, "", room), name_row, NULL, &names, err);
	if (rc == CS_OK && names != s->points)
		rc = lost(err, "a point's name is missing");
	if (rc == CS_OK)
		cs_txn_note(t, NAMES_OF + s->id);
	return rc;
}

int cs_point_lost(struct cs_txn *t, const struct cs_point_record *r, struct cs_error *err)
{
	int rc = cs_points_listed(t, r, err);
	if (rc == 0)
		rc = cs_points_trashed(t, r, NULL, err);
	if (rc < 0)
		return rc;
	return rc ? CS_OK : lost(err, "a point has no name");
}

/* ---- ids */

static int id_agrees(struct cs_txn *t, struct cs_slice id, uint64_t seq, struct cs_error *err)
{
	struct cs_point_record r;
	int rc = cs_points_get(t, seq, &r, err);
	if (rc == CS_E_NOTFOUND)
		return lost(err, "a point is not where its id says");
	if (rc != CS_OK)
		return rc;
	bool agrees = id.len == sizeof(r.id) && memcmp(r.id, id.data, id.len) == 0;
	cs_point_record_release(&r);
	return agrees ? CS_OK : lost(err, "a point is not where its id says");
}

static int id_row(struct cs_txn *t, void *arg, struct cs_slice key, struct cs_slice value,
		  struct cs_error *err)
{
	uint64_t seq;
	(void)arg;
	if (cs_u64_value(value, &seq) != CS_OK)
		return lost(err, "a point's id");
	int rc = id_agrees(t, key, seq, err);
	return rc == CS_OK ? 1 : rc;
}

int cs_ids_lost(struct cs_txn *t, struct cs_error *err)
{
	uint64_t ids, points;
	if (cs_txn_known(t, ALL_IDS))
		return CS_OK;
	int rc = walk(t, CS_T_IDS, (struct cs_slice){ "", 0 }, id_row, NULL, &ids, err);
	if (rc == CS_OK)
		rc = walk(t, CS_T_POINTS, (struct cs_slice){ "", 0 }, any_row, NULL, &points, err);
	if (rc == CS_OK && ids != points)
		rc = lost(err, "a point's id is missing");
	if (rc == CS_OK)
		cs_txn_note(t, ALL_IDS);
	return rc;
}
