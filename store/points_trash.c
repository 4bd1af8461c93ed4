/* SPDX-License-Identifier: MIT */
/*
 * points_trash.c - points into the trash, out of it, and away for good.
 *
 * Decision: forgetting moves one row, from the catalog to the trash under the
 * same key; the point's record stays in its table, which is where gc finds what
 * is needed. So nothing of a point in the trash can be freed, undelete has
 * nothing to make again, and whoever looks for points by their names in the
 * catalog does not see it. Each of these changes is one transaction of the
 * caller's: a point is always in exactly one of the two. To purge is only to
 * say that a point may go; gc alone removes one, when nobody holds it.
 */
#include "points.h"

#include "checked.h"
#include "page.h"
#include "points_impl.h"

#include <string.h>

static int damaged(struct cs_error *err, const char *what)
{
	return cs_fail(err, CS_E_CORRUPT, "the catalog is damaged: %s", what);
}

/* ---- rows */

static int row_unpack(struct cs_slice v, struct cs_slice key, struct cs_trash_row *out,
		      const char *name, struct cs_error *err)
{
	if (cs_trash_row_unpack(v.data, v.len, key.data, key.len, out) == CS_OK)
		return 1;
	return cs_fail(err, CS_E_CORRUPT, "the trash is damaged: the row of point %s", name);
}

int cs_trash_get(struct cs_txn *t, uint32_t series_id, const char *name, struct cs_trash_row *out,
		 struct cs_error *err)
{
	uint8_t room[CS_CATALOG_KEY_MAX];
	struct cs_slice v;
	if (!*name || strlen(name) > CS_POINT_NAME_MAX)
		return 0;
	struct cs_slice key = cs_catalog_key(series_id, name, room);
	int rc = cs_db_get(t, CS_T_TRASH, key, &v, err);
	return rc == 1 ? row_unpack(v, key, out, name, err) : rc;
}

int cs_trash_next(struct cs_txn *t, uint32_t series_id, const char *after,
		  char name[CS_POINT_NAME_MAX + 1], struct cs_trash_row *out, struct cs_error *err)
{
	uint8_t room[CS_CATALOG_KEY_MAX];
	struct cs_slice v;
	int rc = cs_named_next(t, CS_T_TRASH, series_id, after, name, &v, err);
	if (rc != 1)
		return rc;
	return row_unpack(v, cs_catalog_key(series_id, name, room), out, name, err);
}

int cs_trash_walk(struct cs_txn *t, uint32_t *series_id, char name[CS_POINT_NAME_MAX + 1],
		  struct cs_trash_row *out, struct cs_error *err)
{
	uint8_t room[CS_CATALOG_KEY_MAX];
	struct cs_cursor *c;
	struct cs_slice from = cs_catalog_key(*series_id, name, room), key = from, v;
	int rc = cs_cursor_open(t, CS_T_TRASH, &c, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_move(c, CS_SEEK_GE, &key, &v, err);
	if (rc == 1 && key.len == from.len && memcmp(key.data, room, from.len) == 0)
		rc = cs_cursor_move(c, CS_SEEK_NEXT, &key, &v, err);
	if (rc == 1 && (cs_key_compare(key.data, key.len, room, from.len) <= 0 ||
			!cs_catalog_key_parse(key, series_id, name)))
		rc = damaged(err, "a name in the trash");
	if (rc == 1)
		rc = row_unpack(v, key, out, name, err);
	cs_cursor_close(c);
	return rc;
}

int cs_trash_drop(struct cs_txn *t, uint32_t series_id, const char *name, struct cs_error *err)
{
	uint8_t room[CS_CATALOG_KEY_MAX];
	return cs_db_del(t, CS_T_TRASH, cs_catalog_key(series_id, name, room), NULL, err);
}

static int trash_put(struct cs_txn *t, const struct cs_point_record *r, int64_t purge_after,
		     struct cs_error *err)
{
	uint8_t room[CS_CATALOG_KEY_MAX], packed[CS_TRASH_ROW_SIZE];
	struct cs_trash_row row = { r->seq, purge_after };
	struct cs_slice key = cs_catalog_key(r->series_id, r->name, room);
	cs_trash_row_pack(&row, key.data, key.len, packed);
	return cs_db_put(t, CS_T_TRASH, key, (struct cs_slice){ packed, sizeof(packed) }, err);
}

int cs_points_listed(struct cs_txn *t, const struct cs_point_record *r, struct cs_error *err)
{
	uint64_t seq;
	int rc = cs_catalog_get(t, r->series_id, r->name, &seq, err);
	return rc == 1 ? seq == r->seq : rc;
}

int cs_points_trashed(struct cs_txn *t, const struct cs_point_record *r, struct cs_trash_row *row,
		      struct cs_error *err)
{
	struct cs_trash_row found;
	int rc = cs_trash_get(t, r->series_id, r->name, &found, err);
	if (rc != 1 || found.seq != r->seq)
		return rc < 0 ? rc : 0;
	if (row)
		*row = found;
	return 1;
}

/* ---- the list */

/* The series of a point, which must be there. */
static int series_of(struct cs_txn *t, uint32_t id, char name[CS_SERIES_MAX + 1],
		     struct cs_series_record *out, struct cs_error *err)
{
	int rc = cs_series_name(t, id, name, err);
	if (rc == CS_OK)
		rc = cs_series_find(t, name, out, err);
	if (rc == 0 || rc == CS_E_NOTFOUND)
		return damaged(err, "a series is missing");
	return rc == 1 ? CS_OK : rc;
}

/* The series' listed point with the highest seq; 0: none. */
static int find_latest(struct cs_txn *t, uint32_t series_id, uint64_t *latest,
		       struct cs_error *err)
{
	uint8_t room[CS_CATALOG_KEY_MAX];
	struct cs_cursor *c;
	struct cs_slice prefix = cs_catalog_key(series_id, "", room), key = prefix, v;
	uint64_t seq;
	int rc = cs_cursor_open(t, CS_T_CATALOG, &c, err);
	if (rc != CS_OK)
		return rc;
	*latest = 0;
	rc = cs_cursor_move(c, CS_SEEK_GE, &key, &v, err);
	while (rc == 1 && key.len >= prefix.len && memcmp(key.data, room, prefix.len) == 0) {
		if (cs_u64_value(v, &seq) != CS_OK) {
			rc = damaged(err, "a point's name");
			break;
		}
		if (seq > *latest)
			*latest = seq;
		rc = cs_cursor_move(c, CS_SEEK_NEXT, &key, &v, err);
	}
	cs_cursor_close(c);
	return rc < 0 ? rc : CS_OK;
}

static int unlist(struct cs_txn *t, const struct cs_point_record *r, struct cs_time now,
		  struct cs_error *err)
{
	uint8_t room[CS_CATALOG_KEY_MAX];
	char name[CS_SERIES_MAX + 1];
	struct cs_series_record s;
	int rc = cs_db_del(t, CS_T_CATALOG, cs_catalog_key(r->series_id, r->name, room), NULL, err);
	if (rc == CS_OK)
		rc = series_of(t, r->series_id, name, &s, err);
	if (rc == CS_OK && s.latest == r->seq)
		rc = find_latest(t, r->series_id, &s.latest, err);
	if (rc != CS_OK)
		return rc;
	s.points -= s.points > 0;
	return cs_series_changed(t, name, &s, now, err);
}

static int enlist(struct cs_txn *t, const struct cs_point_record *r, struct cs_time now,
		  struct cs_error *err)
{
	uint8_t room[CS_CATALOG_KEY_MAX];
	char name[CS_SERIES_MAX + 1];
	struct cs_series_record s;
	int rc = cs_db_put(t, CS_T_CATALOG, cs_catalog_key(r->series_id, r->name, room),
			   cs_u64_key(&r->seq), err);
	if (rc == CS_OK)
		rc = series_of(t, r->series_id, name, &s, err);
	if (rc != CS_OK)
		return rc;
	s.points++;
	if (s.latest < r->seq)
		s.latest = r->seq;
	return cs_series_changed(t, name, &s, now, err);
}

/* ---- moves */

static int absent(struct cs_error *err, const struct cs_point_record *r, const char *where)
{
	return cs_fail(err, CS_E_NOTFOUND, "point %s (number %llu) is not in the %s", r->name,
		       (unsigned long long)r->seq, where);
}

typedef int move_fn(struct cs_txn *t, const struct cs_point_record *r, int64_t purge_after,
		    struct cs_time now, struct cs_error *err);

static int move(struct cs_txn *t, uint64_t seq, move_fn *fn, int64_t purge_after,
		struct cs_time now, struct cs_error *err)
{
	struct cs_point_record r;
	int rc = cs_points_get(t, seq, &r, err);
	if (rc != CS_OK)
		return rc;
	rc = fn(t, &r, purge_after, now, err);
	cs_point_record_release(&r);
	return rc;
}

static int to_trash(struct cs_txn *t, const struct cs_point_record *r, int64_t purge_after,
		    struct cs_time now, struct cs_error *err)
{
	struct cs_trash_row other;
	int rc = cs_points_listed(t, r, err);
	if (rc == 0)
		return absent(err, r, "list");
	if (rc == 1)
		rc = cs_trash_get(t, r->series_id, r->name, &other, err);
	if (rc == 1) /* what it leads to would be lost to everybody */
		return cs_fail(err, CS_E_EXISTS, "the trash holds another point named %s", r->name);
	if (rc == 0)
		rc = unlist(t, r, now, err);
	return rc == CS_OK ? trash_put(t, r, purge_after, err) : rc;
}

static int from_trash(struct cs_txn *t, const struct cs_point_record *r, int64_t purge_after,
		      struct cs_time now, struct cs_error *err)
{
	struct cs_trash_row row;
	uint64_t other;
	int rc = cs_points_trashed(t, r, &row, err);
	(void)purge_after;
	if (rc == 0 || (rc == 1 && row.purge_after == CS_TRASH_PURGED))
		return absent(err, r, "trash");
	if (rc == 1)
		rc = cs_catalog_get(t, r->series_id, r->name, &other, err);
	if (rc == 1) /* an older version did not look into the trash for its names */
		return cs_fail(err, CS_E_EXISTS, "there is another point named %s", r->name);
	if (rc == 0)
		rc = cs_trash_drop(t, r->series_id, r->name, err);
	return rc == CS_OK ? enlist(t, r, now, err) : rc;
}

/*
 * The record stays for gc to remove, which alone can tell whether somebody still
 * reads the point. A row of the trash that cannot be read is written anew, and a
 * point that had neither row gets one: so damage ends here.
 */
static int give_up(struct cs_txn *t, const struct cs_point_record *r, int64_t purge_after,
		   struct cs_time now, struct cs_error *err)
{
	struct cs_trash_row row;
	int rc = cs_points_listed(t, r, err);
	if (rc == 1)
		return to_trash(t, r, purge_after, now, err);
	if (rc == 0)
		rc = cs_trash_get(t, r->series_id, r->name, &row, err);
	if (rc == 1 && row.seq != r->seq)
		return cs_fail(err, CS_E_EXISTS, "the trash holds another point named %s", r->name);
	if (rc == 1 && row.purge_after == CS_TRASH_PURGED)
		return absent(err, r, "trash");
	if (rc < 0 && rc != CS_E_CORRUPT)
		return rc;
	return trash_put(t, r, purge_after, err);
}

int cs_points_trash(struct cs_txn *t, uint64_t seq, int64_t purge_after, struct cs_time now,
		    struct cs_error *err)
{
	return move(t, seq, to_trash, purge_after, now, err);
}

int cs_points_untrash(struct cs_txn *t, uint64_t seq, struct cs_time now, struct cs_error *err)
{
	return move(t, seq, from_trash, 0, now, err);
}

int cs_points_purge(struct cs_txn *t, uint64_t seq, struct cs_time now, struct cs_error *err)
{
	return move(t, seq, give_up, CS_TRASH_PURGED, now, err);
}

/* ---- removing */

/* Series ids are never given out again, so nothing can still mean this one. */
static int drop_empty_series(struct cs_txn *t, uint32_t id, struct cs_error *err)
{
	char name[CS_POINT_NAME_MAX + 1], series[CS_SERIES_MAX + 1];
	struct cs_slice v;
	uint64_t key = id;
	int rc = cs_named_next(t, CS_T_CATALOG, id, "", name, &v, err);
	if (rc == 0)
		rc = cs_named_next(t, CS_T_TRASH, id, "", name, &v, err);
	if (rc == 1)
		return CS_OK;
	if (rc == 0)
		rc = cs_series_name(t, id, series, err);
	if (rc == CS_E_NOTFOUND)
		return CS_OK;
	if (rc == CS_OK)
		rc = cs_db_del(t, CS_T_SERIES, (struct cs_slice){ series, strlen(series) }, NULL,
			       err);
	return rc == CS_OK ? cs_db_del(t, CS_T_SERIES_IDS, cs_u64_key(&key), NULL, err) : rc;
}

int cs_points_remove(struct cs_txn *t, uint64_t seq, struct cs_error *err)
{
	struct cs_point_record r;
	int rc = cs_points_get(t, seq, &r, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_points_listed(t, &r, err);
	if (rc == 0)
		rc = cs_points_trashed(t, &r, NULL, err);
	else if (rc == 1)
		rc = 0;
	if (rc == 0)
		rc = absent(err, &r, "trash");
	else if (rc == 1)
		rc = cs_trash_drop(t, r.series_id, r.name, err);
	if (rc == CS_OK)
		rc = cs_db_del(t, CS_T_POINTS, cs_u64_key(&seq), NULL, err);
	if (rc == CS_OK)
		rc = cs_db_del(t, CS_T_IDS, (struct cs_slice){ r.id, 16 }, NULL, err);
	if (rc == CS_OK)
		rc = cs_checked_del(t, cs_checked_point(seq), err);
	if (rc == CS_OK)
		rc = drop_empty_series(t, r.series_id, err);
	cs_point_record_release(&r);
	return rc;
}

/* ---- scrapping */

/* Rows of the two tables of names that lead to a point; of the ids; 1: one was found, its key copied. */
static int find_row(struct cs_txn *t, enum cs_table table, uint64_t seq,
		    uint8_t key_out[CS_CATALOG_KEY_MAX], struct cs_slice *found,
		    struct cs_error *err)
{
	struct cs_cursor *c;
	struct cs_slice key = { 0 }, v;
	struct cs_trash_row row;
	uint64_t to;
	bool here = false;
	int rc = cs_cursor_open(t, table, &c, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_move(c, CS_SEEK_FIRST, &key, &v, err);
	while (rc == 1 && !here) {
		if (table == CS_T_TRASH)
			here = cs_trash_row_unpack(v.data, v.len, key.data, key.len, &row) ==
				       CS_OK && row.seq == seq;
		else
			here = cs_u64_value(v, &to) == CS_OK && to == seq;
		if (here && key.len > CS_CATALOG_KEY_MAX)
			here = false;
		if (here) {
			memcpy(key_out, key.data, key.len);
			*found = (struct cs_slice){ key_out, key.len };
		} else {
			rc = cs_cursor_move(c, CS_SEEK_NEXT, &key, &v, err);
		}
	}
	cs_cursor_close(c);
	return rc;
}

static int scrap_name(struct cs_txn *t, enum cs_table table, struct cs_slice key, uint64_t seq,
		      struct cs_time now, struct cs_error *err)
{
	struct cs_point_record r = { .seq = seq };
	if (!cs_catalog_key_parse(key, &r.series_id, r.name))
		return cs_db_del(t, table, key, NULL, err);
	int rc = table == CS_T_CATALOG ? unlist(t, &r, now, err) :
					 cs_db_del(t, table, key, NULL, err);
	return rc == CS_OK ? drop_empty_series(t, r.series_id, err) : rc;
}

int cs_points_scrap(struct cs_txn *t, uint64_t seq, struct cs_time now, struct cs_error *err)
{
	static const enum cs_table tables[] = { CS_T_CATALOG, CS_T_TRASH, CS_T_IDS };
	uint8_t room[CS_CATALOG_KEY_MAX];
	struct cs_slice key, v;
	int rc = cs_db_get(t, CS_T_POINTS, cs_u64_key(&seq), &v, err);
	if (rc == 0)
		return cs_fail(err, CS_E_NOTFOUND, "no point with number %llu",
			       (unsigned long long)seq);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]) && rc >= 0; i++) {
		while ((rc = find_row(t, tables[i], seq, room, &key, err)) == 1) {
			rc = tables[i] == CS_T_IDS ? cs_db_del(t, tables[i], key, NULL, err) :
						     scrap_name(t, tables[i], key, seq, now, err);
			if (rc != CS_OK)
				break;
		}
	}
	if (rc >= 0)
		rc = cs_checked_del(t, cs_checked_point(seq), err);
	return rc < 0 ? rc : cs_db_del(t, CS_T_POINTS, cs_u64_key(&seq), NULL, err);
}
