/* SPDX-License-Identifier: MIT */
/*
 * points_impl.h - what the two halves of points.h share: points.c (series,
 * names, records) and points_trash.c (in and out of the trash).
 */
#ifndef CS_POINTS_IMPL_H
#define CS_POINTS_IMPL_H

#include "db.h"
#include "record.h"

#define CS_CATALOG_KEY_MAX (4 + CS_POINT_NAME_MAX)

/* The key of a point in the catalog and in the trash; it lies in out. */
struct cs_slice cs_catalog_key(uint32_t series_id, const char *name,
			       uint8_t out[CS_CATALOG_KEY_MAX]);
/* The key taken apart; false when it is none. */
bool cs_catalog_key_parse(struct cs_slice key, uint32_t *series_id,
			  char name[CS_POINT_NAME_MAX + 1]);
/* The first row of a series in one of the two with a name > after. 1 or 0. */
int cs_named_next(struct cs_txn *t, enum cs_table table, uint32_t series_id, const char *after,
		  char name[CS_POINT_NAME_MAX + 1], struct cs_slice *value,
		  struct cs_error *err) CS_MUST_CHECK;

int cs_series_put(struct cs_txn *t, const char *name, const struct cs_series_record *s,
		  struct cs_error *err) CS_MUST_CHECK;
/* Write a series whose list of points has changed: its time and the generation move on. */
int cs_series_changed(struct cs_txn *t, const char *name, struct cs_series_record *s,
		      struct cs_time now, struct cs_error *err) CS_MUST_CHECK;

/* Write a point's record, and nothing that leads to it. */
int cs_point_record_put(struct cs_txn *t, const struct cs_point_record *r,
			struct cs_error *err) CS_MUST_CHECK;
/* Are all series of this snapshot known to be paired with their ids? Then none has to be looked up. */
bool cs_series_all_paired(const struct cs_txn *t);
/* Is that the name of the series with that id? Else CS_E_CORRUPT. */
int cs_series_paired(struct cs_txn *t, struct cs_slice name, uint32_t id,
		     struct cs_error *err) CS_MUST_CHECK;

#endif
