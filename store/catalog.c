/* SPDX-License-Identifier: MIT */
/*
 * catalog.c - points and series as a user names them.
 *
 * Lists are made in steps, a read transaction each, so that a caller may take
 * its time with every item; they go on after the last name they gave. A point
 * in the trash (trash.c) is in no list and answers to none of its names.
 */
#include "browse.h"
#include "checked.h"
#include "points.h"

#include <stdio.h>
#include <string.h>

int cs_point_from_record(struct cs_txn *t, const struct cs_point_record *r, struct cs_point *out,
			 struct cs_error *err)
{
	struct cs_hash id;
	memset(out, 0, sizeof(*out));
	int rc = cs_series_name(t, r->series_id, out->series, err);
	if (rc == CS_E_NOTFOUND)
		rc = cs_fail(err, CS_E_CORRUPT, "the catalog is damaged: a series has no name");
	if (rc != CS_OK)
		return rc;
	memcpy(id.b, r->id, sizeof(id.b));
	cs_hash_hex(&id, out->id);
	out->seq = r->seq;
	out->series_id = r->series_id;
	memcpy(out->name, r->name, sizeof(out->name));
	out->started = r->started;
	out->received = r->received;
	out->parent = r->parent;
	out->consistency = r->consistency;
	memcpy(out->host, r->host, sizeof(out->host));
	memcpy(out->source, r->source, sizeof(out->source));
	out->ntags = r->ntags;
	memcpy(out->tags, r->tags, sizeof(out->tags));
	out->digest = r->digest;
	out->totals = r->totals;
	out->added_raw = r->added_raw;
	out->added_stored = r->added_stored;
	out->unreadable = r->unreadable;
	out->changed = r->changed;
	return CS_OK;
}

static void series_fill(struct cs_series *out, const char *name, const struct cs_series_record *r)
{
	memset(out, 0, sizeof(*out));
	out->id = r->id;
	snprintf(out->name, sizeof(out->name), "%s", name);
	out->changed = r->changed;
	out->points = r->points;
}

/* The series after `after`: as cs_series_next, and 0 only if none was lost. */
static int next_series(struct cs_store *s, const char *after, char name[CS_SERIES_MAX + 1],
		       struct cs_series_record *out, struct cs_error *err)
{
	struct cs_txn *t;
	*name = 0;
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_series_next(t, after, name, out, err);
	if (rc == 0)
		rc = cs_series_lost(t, err);
	cs_txn_end(t);
	return rc;
}

int cs_series_list(struct cs_store *s, cs_series_fn *fn, void *arg, struct cs_error *err)
{
	char last[CS_SERIES_MAX + 1] = "", name[CS_SERIES_MAX + 1];
	struct cs_error why;
	int damage = CS_OK;
	for (;;) {
		struct cs_series_record r;
		struct cs_series series;
		int rc = next_series(s, last, name, &r, damage ? &why : err);
		if (rc == CS_E_CORRUPT && *name)
			damage = rc; /* of the first one err tells */
		else if (rc != 1)
			return damage ? damage : rc;
		memcpy(last, name, sizeof(last));
		if (rc != 1)
			continue;
		series_fill(&series, name, &r);
		rc = fn(arg, &series);
		if (rc)
			return rc;
	}
}

int cs_series_get(struct cs_store *s, const char *name, uint32_t id, struct cs_series *out,
		  struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_series_record r;
	char found[CS_SERIES_MAX + 1];
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	if (!name) {
		rc = cs_series_by_id(t, id, found, &r, err);
	} else {
		snprintf(found, sizeof(found), "%s", name);
		rc = strlen(name) > CS_SERIES_MAX ? 0 : cs_series_find(t, found, &r, err);
		if (rc == 0)
			cs_fail(err, CS_E_NOTFOUND, "no series named %s", name);
		rc = rc == 1 ? CS_OK : rc == 0 ? CS_E_NOTFOUND : rc;
	}
	cs_txn_end(t);
	if (rc != CS_OK)
		return rc;
	series_fill(out, found, &r);
	return CS_OK;
}

static int get_point(struct cs_txn *t, uint64_t seq, struct cs_point *out, struct cs_error *err)
{
	struct cs_point_record r;
	int rc = cs_points_get(t, seq, &r, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_points_listed(t, &r, err);
	if (rc == 1)
		rc = cs_point_from_record(t, &r, out, err);
	else if (rc == 0 && (rc = cs_point_lost(t, &r, err)) == CS_OK)
		rc = cs_fail(err, CS_E_NOTFOUND, "point %s (number %llu) is not in the list",
			     r.name, (unsigned long long)seq);
	cs_point_record_release(&r);
	return rc;
}

/*
 * The point that a row of the catalog names (name NULL: any of the series). In
 * one transaction the row and the record agree, or the store is damaged.
 */
static int get_named(struct cs_txn *t, uint32_t series_id, const char *name, uint64_t seq,
		     struct cs_point *out, struct cs_error *err)
{
	int rc = get_point(t, seq, out, err);
	bool agrees = rc == CS_OK && out->series_id == series_id &&
		      (!name || strcmp(out->name, name) == 0);
	if (rc == CS_E_NOTFOUND || (rc == CS_OK && !agrees))
		return cs_fail(err, CS_E_CORRUPT,
			       "the catalog is damaged: point %llu is not where its name says",
			       (unsigned long long)seq);
	return rc;
}

/* The end of a series' list: was none of its points lost? A series that is gone by now lost none. */
static int end_of_series(struct cs_txn *t, uint32_t series_id, struct cs_error *err)
{
	struct cs_series_record r;
	char name[CS_SERIES_MAX + 1];
	int rc = cs_series_name(t, series_id, name, err);
	if (rc == CS_OK)
		rc = cs_series_find(t, name, &r, err);
	if (rc == 1)
		rc = cs_names_lost(t, &r, err);
	return rc == CS_E_NOTFOUND ? CS_OK : rc;
}

/*
 * The point after `after` in a series: 1, 0 at the end. CS_E_CORRUPT with a
 * name: it is that point alone which cannot be read.
 */
static int next_point(struct cs_store *s, uint32_t series_id, const char *after,
		      char name[CS_POINT_NAME_MAX + 1], struct cs_point *out,
		      struct cs_error *err)
{
	struct cs_txn *t;
	uint64_t seq;
	*name = 0;
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_catalog_next(t, series_id, after, name, &seq, err);
	if (rc == 1) {
		rc = get_named(t, series_id, name, seq, out, err);
		rc = rc == CS_OK ? 1 : rc;
	} else if (rc == 0) {
		rc = end_of_series(t, series_id, err);
	}
	cs_txn_end(t);
	return rc;
}

static int list_series(struct cs_store *s, uint32_t series_id, const char *after, cs_point_fn *fn,
		       void *arg, struct cs_error *err)
{
	struct cs_point p;
	struct cs_error why;
	char last[CS_POINT_NAME_MAX + 1], name[CS_POINT_NAME_MAX + 1];
	int damage = CS_OK;
	snprintf(last, sizeof(last), "%s", after ? after : "");
	for (;;) {
		int rc = next_point(s, series_id, last, name, &p, damage ? &why : err);
		if (rc == 0)
			return damage;
		if (rc == CS_E_CORRUPT && *name)
			damage = rc; /* of the first one err tells */
		else if (rc != 1)
			return damage ? damage : rc;
		memcpy(last, name, sizeof(last));
		if (rc != 1)
			continue;
		rc = fn(arg, &p);
		if (rc)
			return rc;
	}
}

struct all {
	struct cs_store *s;
	cs_point_fn *fn;
	void *arg;
	struct cs_error *err;
	int damage;
};

static int list_one_of_all(void *arg, const struct cs_series *series)
{
	struct all *a = arg;
	struct cs_error why;
	int rc = list_series(a->s, series->id, NULL, a->fn, a->arg, a->damage ? &why : a->err);
	if (rc != CS_E_CORRUPT)
		return rc;
	a->damage = rc;
	return 0;
}

int cs_points_list(struct cs_store *s, const char *series, const char *after, cs_point_fn *fn,
		   void *arg, struct cs_error *err)
{
	struct cs_series one;
	if (!series) {
		struct all a = { s, fn, arg, err, CS_OK };
		struct cs_error why;
		int all = cs_series_list(s, list_one_of_all, &a, &why);
		if (all < 0 && err && !a.damage)
			*err = why;
		return a.damage && all <= 0 ? a.damage : all;
	}
	int rc = cs_series_get(s, series, 0, &one, err);
	return rc == CS_OK ? list_series(s, one.id, after, fn, arg, err) : rc;
}

int cs_point_by_seq(struct cs_store *s, uint64_t seq, struct cs_point *out, struct cs_error *err)
{
	struct cs_txn *t;
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = get_point(t, seq, out, err);
	cs_txn_end(t);
	return rc;
}

static int no_such_point(struct cs_txn *t, const char *series, const struct cs_series_record *r,
			 const char *name, struct cs_error *err)
{
	struct cs_trash_row row;
	int rc = cs_names_lost(t, r, err);
	if (rc != CS_OK)
		return rc;
	if (cs_trash_get(t, r->id, name, &row, NULL) == 1 && row.purge_after != CS_TRASH_PURGED)
		return cs_fail(err, CS_E_NOTFOUND, "point %s/%s is in the trash", series, name);
	if (r->points == 0)
		return cs_fail(err, CS_E_NOTFOUND, "no series named %s", series);
	return cs_fail(err, CS_E_NOTFOUND, "no point named %s/%s", series, name);
}

static int point_by_name(struct cs_txn *t, const char *series, const char *name,
			 struct cs_point *out, struct cs_error *err)
{
	struct cs_series_record r;
	uint64_t seq;
	int rc = cs_series_find(t, series, &r, err);
	if (rc == 0)
		return cs_fail(err, CS_E_NOTFOUND, "no series named %s", series);
	if (rc < 0)
		return rc;
	if (strcmp(name, "latest") == 0) {
		seq = r.latest;
		rc = seq != 0;
	} else {
		rc = cs_catalog_get(t, r.id, name, &seq, err);
	}
	if (rc == 0)
		return no_such_point(t, series, &r, name, err);
	if (rc < 0)
		return rc;
	return get_named(t, r.id, strcmp(name, "latest") == 0 ? NULL : name, seq, out, err);
}

int cs_point_by_name(struct cs_store *s, const char *series, const char *name,
		     struct cs_point *out, struct cs_error *err)
{
	struct cs_txn *t;
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = point_by_name(t, series, name, out, err);
	cs_txn_end(t);
	return rc;
}

int cs_point_at(struct cs_store *s, const char *series, struct cs_time at, struct cs_point *out,
		struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_series_record r;
	char before[CS_POINT_NAME_MAX + 1], name[CS_POINT_NAME_MAX + 1], shown[sizeof(name)];
	uint64_t seq;
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	cs_time_name(at, shown);
	at.sec += at.sec < INT64_MAX;
	cs_time_name(at, before);
	rc = cs_series_find(t, series, &r, err);
	if (rc == 0)
		rc = cs_fail(err, CS_E_NOTFOUND, "no series named %s", series);
	else if (rc == 1 && (rc = cs_names_lost(t, &r, err)) == CS_OK) /* an older one would be wrong */
		rc = cs_catalog_before(t, r.id, before, name, &seq, err);
	if (rc == 0)
		rc = cs_fail(err, CS_E_NOTFOUND, "no point of %s is as old as %s", series, shown);
	else if (rc == 1)
		rc = get_named(t, r.id, name, seq, out, err);
	cs_txn_end(t);
	return rc;
}

static bool looks_like_id(const char *text)
{
	size_t n = strlen(text);
	return n >= 4 && n <= 32 && strspn(text, "0123456789abcdef") == n;
}

/* SERIES, or a prefix of an id: a series that is named like an id is meant as a series. */
static int series_or_id(struct cs_txn *t, const char *text, struct cs_point *out,
			struct cs_error *err)
{
	struct cs_series_record r;
	uint64_t seq = 0;
	unsigned count;
	int rc = cs_series_find(t, text, &r, err);
	if (rc < 0)
		return rc;
	if (rc == 1 && r.points)
		return point_by_name(t, text, "latest", out, err);
	count = 0;
	if (strlen(text) >= 4)
		rc = cs_ids_find(t, text, CS_IN_LIST, &seq, &count, err);
	if (rc < 0)
		return rc;
	if (count > 1) { /* or one that is found twice */
		rc = cs_ids_lost(t, err);
		return rc ? rc : cs_fail(err, CS_E_USAGE,
					 "%s: more than one point's id begins with this", text);
	}
	if (count == 1)
		return get_point(t, seq, out, err);
	if (looks_like_id(text) && (rc = cs_ids_lost(t, err)) != CS_OK)
		return rc;
	if (strlen(text) >= 4 && cs_ids_find(t, text, CS_IN_TRASH, &seq, &count, NULL) == CS_OK && count)
		return cs_fail(err, CS_E_NOTFOUND, "point %s is in the trash", text);
	return cs_fail(err, CS_E_NOTFOUND, "no point or series named %s", text);
}

int cs_point_find(struct cs_store *s, const char *selector, struct cs_point *out,
		  struct cs_error *err)
{
	struct cs_txn *t;
	char series[CS_SERIES_MAX + 1];
	const char *slash = strchr(selector, '/');
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	if (!slash) {
		rc = series_or_id(t, selector, out, err);
	} else if (slash - selector > CS_SERIES_MAX) {
		rc = cs_fail(err, CS_E_NOTFOUND, "no point named %s", selector);
	} else {
		memcpy(series, selector, (size_t)(slash - selector));
		series[slash - selector] = 0;
		rc = point_by_name(t, series, slash + 1, out, err);
	}
	cs_txn_end(t);
	return rc;
}

int cs_point_verified(struct cs_store *s, struct cs_point *p, struct cs_error *err)
{
	struct cs_checked_row row;
	struct cs_txn *t;
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_checked_get(t, cs_checked_point(p->seq), &row, err);
	cs_txn_end(t);
	if (rc != CS_OK)
		return rc;
	memcpy(p->verified, row.at, sizeof(p->verified));
	p->damaged = row.damaged != 0;
	return CS_OK;
}
