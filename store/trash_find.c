/* SPDX-License-Identifier: MIT */
/*
 * trash_find.c - points in the trash as a user names them: what catalog.c is
 * for the others.
 */
#include "browse.h"
#include "trash.h"

#include <string.h>

/* The point that a row leads to. In one transaction they agree, or the store is damaged. */
static int row_point(struct cs_txn *t, const struct cs_trash_row *row, uint32_t series_id,
		     const char *name, struct cs_point *out, struct cs_error *err)
{
	struct cs_point_record r;
	int rc = cs_points_get(t, row->seq, &r, err);
	if (rc == CS_OK) {
		if (r.series_id == series_id && strcmp(r.name, name) == 0)
			rc = cs_point_from_record(t, &r, out, err);
		else
			rc = CS_E_NOTFOUND;
		cs_point_record_release(&r);
	}
	if (rc == CS_E_NOTFOUND)
		return cs_fail(err, CS_E_CORRUPT,
			       "the trash is damaged: the row of point %s leads nowhere", name);
	return rc;
}

struct list {
	struct cs_store *store;
	cs_trash_fn *fn;
	void *arg;
	struct cs_error *err;
};

static int list_series(void *arg, const struct cs_series *series)
{
	struct list *l = arg;
	char name[CS_POINT_NAME_MAX + 1] = "";
	int damage = CS_OK;
	for (;;) {
		struct cs_txn *t;
		struct cs_trash_row row;
		struct cs_point p;
		struct cs_error why;
		int rc = cs_txn_read(l->store->db, &t, l->err);
		if (rc != CS_OK)
			return rc;
		int got = cs_trash_next(t, series->id, name, name, &row, l->err);
		if (got == 1 && row.purge_after == CS_TRASH_PURGED) {
			cs_txn_end(t);
			continue;
		}
		if (got == 1)
			rc = row_point(t, &row, series->id, name, &p, damage ? &why : l->err);
		cs_txn_end(t);
		if (got != 1)
			return got == 0 ? damage : got;
		if (rc == CS_E_CORRUPT) { /* it does not hide the others */
			damage = rc;
			continue;
		}
		if (rc != CS_OK)
			return rc;
		rc = l->fn(l->arg, &p, row.purge_after);
		if (rc)
			return rc;
	}
}

int cs_trash_list(struct cs_store *s, const char *series, cs_trash_fn *fn, void *arg,
		  struct cs_error *err)
{
	struct list l = { s, fn, arg, err };
	struct cs_series one;
	if (!series)
		return cs_series_list(s, list_series, &l, err);
	int rc = cs_series_get(s, series, 0, &one, err);
	return rc == CS_OK ? list_series(&l, &one) : rc;
}

static int find_name(struct cs_txn *t, const char *selector, const char *slash,
		     struct cs_point *out, struct cs_error *err)
{
	char series[CS_SERIES_MAX + 1];
	struct cs_series_record s;
	struct cs_trash_row row;
	size_t n = (size_t)(slash - selector);
	int rc = 0;
	if (n <= CS_SERIES_MAX) {
		memcpy(series, selector, n);
		series[n] = 0;
		rc = cs_series_find(t, series, &s, err);
	}
	if (rc == 1)
		rc = cs_trash_get(t, s.id, slash + 1, &row, err);
	if (rc == 1 && row.purge_after != CS_TRASH_PURGED)
		return row_point(t, &row, s.id, slash + 1, out, err);
	return rc < 0 ? rc : cs_fail(err, CS_E_NOTFOUND, "no point %s in the trash", selector);
}

static int find_id(struct cs_txn *t, const char *prefix, enum cs_where where, struct cs_point *out,
		   struct cs_error *err)
{
	struct cs_point_record r;
	unsigned count = 0;
	uint64_t seq;
	int rc = strlen(prefix) >= 4 ? cs_ids_find(t, prefix, where, &seq, &count, err) : CS_OK;
	if (rc != CS_OK)
		return rc;
	if (count > 1)
		return cs_fail(err, CS_E_USAGE, "%s: more than one point's id begins with this",
			       prefix);
	if (count == 0)
		return cs_fail(err, CS_E_NOTFOUND, "no point %s%s", prefix,
			       where == CS_IN_TRASH ? " in the trash" : "");
	rc = cs_points_get(t, seq, &r, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_point_from_record(t, &r, out, err);
	cs_point_record_release(&r);
	return rc;
}

int cs_trash_find(struct cs_store *s, const char *selector, struct cs_point *out,
		  struct cs_error *err)
{
	const char *slash = strchr(selector, '/');
	struct cs_txn *t;
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	if (slash)
		rc = find_name(t, selector, slash, out, err);
	else
		rc = find_id(t, selector, CS_IN_TRASH, out, err);
	cs_txn_end(t);
	return rc;
}

int cs_point_find_anywhere(struct cs_store *s, const char *selector, struct cs_point *out,
			   struct cs_error *err)
{
	struct cs_series series;
	struct cs_txn *t;
	bool named = strchr(selector, '/') != NULL;
	if (named || (cs_series_get(s, selector, 0, &series, NULL) == CS_OK && series.points)) {
		int rc = cs_point_find(s, selector, out, err);
		if (rc != CS_E_NOTFOUND || !named)
			return rc;
		return cs_trash_find(s, selector, out, NULL) == CS_OK ? CS_OK : rc;
	}
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = find_id(t, selector, CS_ANYWHERE, out, err);
	cs_txn_end(t);
	return rc;
}
