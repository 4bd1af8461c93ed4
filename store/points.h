/* SPDX-License-Identifier: MIT */
/*
 * points.h - the catalog: points, their names and their series.
 *
 * All of a point's rows are written in one transaction, the last of its
 * backup: it is there whole, or not at all. A point is listed if the catalog's
 * row of its series and name leads to it, and in the trash if the trash's row
 * does; its record and its id stay where they are when it moves between the
 * two. Every change of the list moves the store's generation and the series'
 * `changed` time, by which a mount's directories show that they changed.
 */
#ifndef CS_POINTS_H
#define CS_POINTS_H

#include "db.h"
#include "record.h"

/*
 * Enter a point into a series (made if new). r's seq, series_id and name are
 * filled in: the name is made from r->started, with a suffix -002, -003, ... if
 * the series has points of that second, listed or in the trash. The series'
 * latest point is the one received last, whatever the clock said.
 */
int cs_points_add(struct cs_txn *t, const char *series, struct cs_point_record *r,
		  struct cs_error *err) CS_MUST_CHECK;
/* From the list to the trash, to be purged at that second (0: at once). CS_E_NOTFOUND: not listed. */
int cs_points_trash(struct cs_txn *t, uint64_t seq, int64_t purge_after, struct cs_time now,
		    struct cs_error *err) CS_MUST_CHECK;
/* And back. CS_E_NOTFOUND: not in the trash, or purged. CS_E_EXISTS: another point has its name. */
int cs_points_untrash(struct cs_txn *t, uint64_t seq, struct cs_time now,
		      struct cs_error *err) CS_MUST_CHECK;
/*
 * Give a point up, wherever it is: nobody can bring it back, and gc removes it
 * when nobody uses it. CS_E_NOTFOUND: so it is already, or there is no such point.
 */
int cs_points_purge(struct cs_txn *t, uint64_t seq, struct cs_time now,
		    struct cs_error *err) CS_MUST_CHECK;
/*
 * Remove what the trash holds of a point, and its series when nothing is left of
 * it. For gc, which knows that nobody uses the point. CS_E_NOTFOUND.
 */
int cs_points_remove(struct cs_txn *t, uint64_t seq, struct cs_error *err) CS_MUST_CHECK;
/*
 * Remove a point whose record cannot be read: every row that leads to its
 * number. Nobody may use it. CS_E_NOTFOUND: there is no record.
 */
int cs_points_scrap(struct cs_txn *t, uint64_t seq, struct cs_time now,
		    struct cs_error *err) CS_MUST_CHECK;
/* Is the point listed; is it in the trash, purged or not (row may be NULL)? 1 or 0. */
int cs_points_listed(struct cs_txn *t, const struct cs_point_record *r,
		     struct cs_error *err) CS_MUST_CHECK;
int cs_points_trashed(struct cs_txn *t, const struct cs_point_record *r, struct cs_trash_row *row,
		      struct cs_error *err) CS_MUST_CHECK;

/* Records, of points listed or not. *out: cs_point_record_release. CS_E_NOTFOUND. */
int cs_points_get(struct cs_txn *t, uint64_t seq, struct cs_point_record *out,
		  struct cs_error *err) CS_MUST_CHECK;
/* The first point with a seq >= from: 1 or 0. *out: release when 1. */
int cs_points_next(struct cs_txn *t, uint64_t from, struct cs_point_record *out,
		   struct cs_error *err) CS_MUST_CHECK;
/* Point of a series by name. 1 or 0. */
int cs_catalog_get(struct cs_txn *t, uint32_t series_id, const char *name, uint64_t *seq,
		   struct cs_error *err) CS_MUST_CHECK;
/* The first name > after ("": the first). 1 or 0. */
int cs_catalog_next(struct cs_txn *t, uint32_t series_id, const char *after, char name[CS_POINT_NAME_MAX + 1],
		    uint64_t *seq, struct cs_error *err) CS_MUST_CHECK;
/* The last name < before. 1 or 0. */
int cs_catalog_before(struct cs_txn *t, uint32_t series_id, const char *before, char name[CS_POINT_NAME_MAX + 1],
		      uint64_t *seq, struct cs_error *err) CS_MUST_CHECK;
/* The trash: a row by name, and the first of a series with a name > after. 1 or 0. */
int cs_trash_get(struct cs_txn *t, uint32_t series_id, const char *name, struct cs_trash_row *out,
		 struct cs_error *err) CS_MUST_CHECK;
int cs_trash_next(struct cs_txn *t, uint32_t series_id, const char *after,
		  char name[CS_POINT_NAME_MAX + 1], struct cs_trash_row *out,
		  struct cs_error *err) CS_MUST_CHECK;
/* The first row behind the one of *series_id and name (0 and "": the first), of whatever series. */
int cs_trash_walk(struct cs_txn *t, uint32_t *series_id, char name[CS_POINT_NAME_MAX + 1],
		  struct cs_trash_row *out, struct cs_error *err) CS_MUST_CHECK;
/* Delete a row that leads nowhere. */
int cs_trash_drop(struct cs_txn *t, uint32_t series_id, const char *name,
		  struct cs_error *err) CS_MUST_CHECK;

enum cs_where {
	CS_IN_LIST,
	CS_IN_TRASH, /* from where it can come back */
	CS_ANYWHERE, /* but not purged */
};
/* Points whose id begins with the nibbles of hex (at most 32 digits): how many (stops at 2). */
int cs_ids_find(struct cs_txn *t, const char *hex, enum cs_where where, uint64_t *seq,
		unsigned *count, struct cs_error *err) CS_MUST_CHECK;

/*
 * Series by name (1 or 0), or the first name > after: CS_E_CORRUPT with a name
 * (else it is empty): it is that series alone which cannot be read.
 */
int cs_series_find(struct cs_txn *t, const char *name, struct cs_series_record *out,
		   struct cs_error *err) CS_MUST_CHECK;
int cs_series_next(struct cs_txn *t, const char *after, char name[CS_SERIES_MAX + 1],
		   struct cs_series_record *out, struct cs_error *err) CS_MUST_CHECK;
/* A series' name by its id. CS_E_NOTFOUND. */
int cs_series_name(struct cs_txn *t, uint32_t id, char name[CS_SERIES_MAX + 1],
		   struct cs_error *err) CS_MUST_CHECK;
/* The same with its record. */
int cs_series_by_id(struct cs_txn *t, uint32_t id, char name[CS_SERIES_MAX + 1],
		    struct cs_series_record *out, struct cs_error *err) CS_MUST_CHECK;

/*
 * Something was not found: CS_OK if it is not there, CS_E_CORRUPT if it may
 * only not be found. Of all series; of a series' points by name; of all ids.
 */
int cs_series_lost(struct cs_txn *t, struct cs_error *err) CS_MUST_CHECK;
int cs_names_lost(struct cs_txn *t, const struct cs_series_record *s,
		  struct cs_error *err) CS_MUST_CHECK;
int cs_ids_lost(struct cs_txn *t, struct cs_error *err) CS_MUST_CHECK;
/* The same for a point that is not listed: it must be in the trash. */
int cs_point_lost(struct cs_txn *t, const struct cs_point_record *r,
		  struct cs_error *err) CS_MUST_CHECK;

/*
 * Rows about a point that follow from its record, and a series' count of points and
 * which is the latest, put right (points_mend.c). A record that is damaged is left alone.
 */
int cs_points_mend(struct cs_txn *t, uint64_t seq, bool *changed,
		   struct cs_error *err) CS_MUST_CHECK;
int cs_series_mend(struct cs_txn *t, const char *series, struct cs_time now, bool *changed,
		   struct cs_error *err) CS_MUST_CHECK;

#endif
