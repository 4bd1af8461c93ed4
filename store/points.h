/* SPDX-License-Identifier: MIT */
/*
 * points.h - the catalog: points, their names and their series.
 *
 * All of a point's rows are written in one transaction, the last of its
 * backup: it is there whole, or not at all. Every change moves the store's
 * generation and the series' `changed` time, by which a mount's directories
 * show that they changed.
 */
#ifndef CS_POINTS_H
#define CS_POINTS_H

#include "db.h"
#include "record.h"

/*
 * Enter a point into a series (made if new). r's seq, series_id and name are
 * filled in: the name is made from r->started, with a suffix -002, -003, ... if
 * the series has points of that second. The series' latest point is the one
 * received last, whatever the clock said.
 */
int cs_points_add(struct cs_txn *t, const char *series, struct cs_point_record *r,
		  struct cs_error *err) CS_MUST_CHECK;
/* Take a point out of the catalog. CS_E_NOTFOUND. */
int cs_points_remove(struct cs_txn *t, uint64_t seq, struct cs_time now,
		     struct cs_error *err) CS_MUST_CHECK;

/* *out: cs_point_record_release. CS_E_NOTFOUND. */
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
/* Points whose id begins with the bytes/nibbles of hex (at most 32 digits): how many (stops at 2). */
int cs_ids_find(struct cs_txn *t, const char *hex, uint64_t *seq, unsigned *count,
		struct cs_error *err) CS_MUST_CHECK;

/* Series by name (1 or 0), or the first name > after. */
int cs_series_find(struct cs_txn *t, const char *name, struct cs_series_record *out,
		   struct cs_error *err) CS_MUST_CHECK;
int cs_series_next(struct cs_txn *t, const char *after, char name[CS_SERIES_MAX + 1],
		   struct cs_series_record *out, struct cs_error *err) CS_MUST_CHECK;
/* A series' name by its id. CS_E_NOTFOUND. */
int cs_series_name(struct cs_txn *t, uint32_t id, char name[CS_SERIES_MAX + 1],
		   struct cs_error *err) CS_MUST_CHECK;

#endif
