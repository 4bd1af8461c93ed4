/* SPDX-License-Identifier: MIT */
#include "points.h"

#include "points_impl.h"

#include "page.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Is it one that a backup may give? Names go to terminals and into directories. */
static bool series_name(struct cs_slice v, char name[CS_SERIES_MAX + 1])
{
	if (v.len > CS_SERIES_MAX || memchr(v.data, 0, v.len))
		return false;
	memcpy(name, v.data, v.len);
	name[v.len] = 0;
	return cs_series_check(name, NULL) == CS_OK;
}

static int damaged(struct cs_error *err, const char *what)
{
	return cs_fail(err, CS_E_CORRUPT, "the catalog is damaged: %s", what);
}

struct cs_slice cs_catalog_key(uint32_t series_id, const char *name,
			       uint8_t out[CS_CATALOG_KEY_MAX])
{
	size_t n = strlen(name);
	for (int i = 0; i < 4; i++)
		out[i] = (uint8_t)(series_id >> (8 * (3 - i)));
	memcpy(out + 4, name, n);
	return (struct cs_slice){ out, 4 + n };
}

/* Keys that do not ascend would send whoever lists them round for ever. */
static bool is_behind(struct cs_slice key, struct cs_slice last)
{
	return cs_key_compare(key.data, key.len, last.data, last.len) > 0;
}

/* ---- series */

static struct cs_slice text(const char *s)
{
	return (struct cs_slice){ s, strlen(s) };
}

int cs_series_find(struct cs_txn *t, const char *name, struct cs_series_record *out,
		   struct cs_error *err)
{
	struct cs_slice v;
	if (!*name || strlen(name) > CS_SERIES_MAX)
		return 0;
	int rc = cs_db_get(t, CS_T_SERIES, text(name), &v, err);
	if (rc == 1 && cs_series_record_unpack(v.data, v.len, out) != CS_OK)
		return damaged(err, "a series");
	if (rc < 0)
		return rc;
	int bad = rc ? cs_series_paired(t, text(name), out->id, err) : cs_series_lost(t, err);
	return bad ? bad : rc;
}

int cs_series_next(struct cs_txn *t, const char *after, char name[CS_SERIES_MAX + 1],
		   struct cs_series_record *out, struct cs_error *err)
{
	struct cs_cursor *c;
	struct cs_slice key = text(after), v;
	*name = 0;
	int rc = cs_cursor_open(t, CS_T_SERIES, &c, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_move(c, *after ? CS_SEEK_GE : CS_SEEK_FIRST, &key, &v, err);
	if (rc == 1 && key.len == strlen(after) && memcmp(key.data, after, key.len) == 0)
		rc = cs_cursor_move(c, CS_SEEK_NEXT, &key, &v, err);
	if (rc == 1) {
		char found[CS_SERIES_MAX + 1];
		if (!is_behind(key, text(after)) || !series_name(key, found)) {
			rc = damaged(err, "a series");
		} else {
			memcpy(name, found, key.len + 1);
			if (cs_series_record_unpack(v.data, v.len, out) != CS_OK)
				rc = damaged(err, "a series");
		}
	}
	cs_cursor_close(c);
	int bad = rc == 1 ? cs_series_paired(t, text(name), out->id, err) : CS_OK;
	return bad ? bad : rc;
}

/* The name that the table of ids has. */
static int name_of_id(struct cs_txn *t, uint32_t id, char name[CS_SERIES_MAX + 1],
		      struct cs_error *err)
{
	uint64_t key = id;
	struct cs_slice v;
	int rc = cs_db_get(t, CS_T_SERIES_IDS, cs_u64_key(&key), &v, err);
	if (rc == 0) {
		rc = cs_series_lost(t, err);
		return rc ? rc : cs_fail(err, CS_E_NOTFOUND, "no series with id %u", id);
	}
	if (rc < 0)
		return rc;
	char found[CS_SERIES_MAX + 1];
	if (!series_name(v, found))
		return damaged(err, "a series name");
	memcpy(name, found, v.len + 1);
	return CS_OK;
}

int cs_series_by_id(struct cs_txn *t, uint32_t id, char name[CS_SERIES_MAX + 1],
		    struct cs_series_record *out, struct cs_error *err)
{
	struct cs_slice v;
	int rc = name_of_id(t, id, name, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_db_get(t, CS_T_SERIES, text(name), &v, err);
	if (rc == 0 || (rc == 1 && (cs_series_record_unpack(v.data, v.len, out) != CS_OK ||
				    out->id != id)))
		return damaged(err, "a series");
	return rc < 0 ? rc : CS_OK;
}

int cs_series_name(struct cs_txn *t, uint32_t id, char name[CS_SERIES_MAX + 1],
		   struct cs_error *err)
{
	struct cs_series_record r;
	return cs_series_all_paired(t) ? name_of_id(t, id, name, err) :
					 cs_series_by_id(t, id, name, &r, err);
}

int cs_series_put(struct cs_txn *t, const char *name, const struct cs_series_record *s,
		  struct cs_error *err)
{
	struct cs_buf b = { 0 };
	cs_series_record_pack(s, &b);
	int rc = b.failed ? cs_fail(err, CS_E_NOMEM, "out of memory") :
			    cs_db_put(t, CS_T_SERIES, text(name),
				      (struct cs_slice){ b.data, b.len }, err);
	cs_buf_release(&b);
	return rc;
}

static int series_create(struct cs_txn *t, const char *name, struct cs_series_record *out,
			 struct cs_error *err)
{
	uint64_t id;
	int rc = cs_series_check(name, err);
	if (rc == CS_OK)
		rc = cs_db_counter_get(t, CS_META_NEXT_SERIES, &id, err);
	if (rc == CS_OK && (id == 0 || id >= UINT32_MAX))
		rc = cs_fail(err, CS_E_LIMIT, "the store has no series numbers left");
	if (rc == CS_OK)
		rc = cs_db_counter_set(t, CS_META_NEXT_SERIES, id + 1, err);
	if (rc == CS_OK)
		rc = cs_db_put(t, CS_T_SERIES_IDS, cs_u64_key(&id), text(name), err);
	if (rc == CS_OK)
		*out = (struct cs_series_record){ .id = (uint32_t)id };
	return rc;
}

/* `changed` only ever grows, whatever the clock does: caches compare it. */
static struct cs_time later(struct cs_time old, struct cs_time now)
{
	if (now.sec > old.sec || (now.sec == old.sec && now.nsec > old.nsec))
		return now;
	old.nsec++;
	if (old.nsec == 1000000000) {
		old.nsec = 0;
		old.sec++;
	}
	return old;
}

int cs_series_changed(struct cs_txn *t, const char *name, struct cs_series_record *s,
		      struct cs_time now, struct cs_error *err)
{
	uint64_t g;
	s->changed = later(s->changed, now);
	int rc = cs_series_put(t, name, s, err);
	if (rc == CS_OK)
		rc = cs_db_counter_get(t, CS_META_GENERATION, &g, err);
	return rc == CS_OK ? cs_db_counter_set(t, CS_META_GENERATION, g + 1, err) : rc;
}

/* ---- catalog */

int cs_catalog_get(struct cs_txn *t, uint32_t series_id, const char *name, uint64_t *seq,
		   struct cs_error *err)
{
	uint8_t key[CS_CATALOG_KEY_MAX];
	struct cs_slice v;
	if (!*name || strlen(name) > CS_POINT_NAME_MAX)
		return 0;
	int rc = cs_db_get(t, CS_T_CATALOG, cs_catalog_key(series_id, name, key), &v, err);
	if (rc == 1 && cs_u64_value(v, seq) != CS_OK)
		return damaged(err, "a point's name");
	return rc;
}

bool cs_catalog_key_parse(struct cs_slice key, uint32_t *series_id,
			  char name[CS_POINT_NAME_MAX + 1])
{
	const uint8_t *p = key.data;
	size_t n = key.len - 4;
	if (key.len < 4 || !cs_point_name_valid((const char *)p + 4, n))
		return false;
	*series_id = 0;
	for (int i = 0; i < 4; i++)
		*series_id = *series_id << 8 | p[i];
	memcpy(name, p + 4, n);
	name[n] = 0;
	return true;
}

int cs_named_next(struct cs_txn *t, enum cs_table table, uint32_t series_id, const char *after,
		  char name[CS_POINT_NAME_MAX + 1], struct cs_slice *value, struct cs_error *err)
{
	uint8_t from[CS_CATALOG_KEY_MAX];
	struct cs_cursor *c;
	if (strlen(after) > CS_POINT_NAME_MAX)
		return 0;
	struct cs_slice first = cs_catalog_key(series_id, after, from), key = first;
	int rc = cs_cursor_open(t, table, &c, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_move(c, CS_SEEK_GE, &key, value, err);
	if (rc == 1 && *after && key.len == first.len && memcmp(key.data, from, first.len) == 0)
		rc = cs_cursor_move(c, CS_SEEK_NEXT, &key, value, err);
	if (rc == 1 && !is_behind(key, first))
		rc = damaged(err, "the order of names");
	if (rc == 1 && (key.len < 4 || memcmp(key.data, from, 4) != 0))
		rc = 0; /* another series */
	else if (rc == 1 && !cs_catalog_key_parse(key, &series_id, name))
		rc = damaged(err, "a point's name");
	cs_cursor_close(c);
	return rc;
}

int cs_catalog_next(struct cs_txn *t, uint32_t series_id, const char *after,
		    char name[CS_POINT_NAME_MAX + 1], uint64_t *seq, struct cs_error *err)
{
	struct cs_slice v;
	int rc = cs_named_next(t, CS_T_CATALOG, series_id, after, name, &v, err);
	if (rc == 1 && cs_u64_value(v, seq) != CS_OK)
		return damaged(err, "a point's name");
	return rc;
}

int cs_catalog_before(struct cs_txn *t, uint32_t series_id, const char *before,
		      char name[CS_POINT_NAME_MAX + 1], uint64_t *seq, struct cs_error *err)
{
	uint8_t from[CS_CATALOG_KEY_MAX];
	struct cs_cursor *c;
	uint32_t found;
	if (strlen(before) > CS_POINT_NAME_MAX)
		return 0;
	struct cs_slice key = cs_catalog_key(series_id, before, from), v;
	int rc = cs_cursor_open(t, CS_T_CATALOG, &c, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_move(c, CS_SEEK_GE, &key, &v, err);
	if (rc >= 0)
		rc = cs_cursor_move(c, rc == 1 ? CS_SEEK_PREV : CS_SEEK_LAST, &key, &v, err);
	if (rc == 1 && (!cs_catalog_key_parse(key, &found, name) || cs_u64_value(v, seq) != CS_OK))
		rc = damaged(err, "a point's name");
	else if (rc == 1)
		rc = found == series_id;
	cs_cursor_close(c);
	return rc;
}

static bool nibble(char c, uint8_t *out)
{
	static const char set[] = "0123456789abcdef";
	const char *p = c ? strchr(set, c) : NULL;
	if (p)
		*out = (uint8_t)(p - set);
	return p != NULL;
}

/* Do the first n hex digits of id equal hex? */
static bool id_matches(const uint8_t *id, const char *hex, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint8_t v;
		if (!nibble(hex[i], &v) || (i % 2 ? id[i / 2] & 15 : id[i / 2] >> 4) != v)
			return false;
	}
	return true;
}

/* Is this point where it is looked for? A damaged record is everywhere: whoever uses it is told. */
static int id_counts(struct cs_txn *t, struct cs_slice id, uint64_t seq, enum cs_where where,
		     struct cs_error *err)
{
	struct cs_point_record r;
	int rc = cs_points_get(t, seq, &r, err);
	if (rc == CS_E_CORRUPT)
		return 1;
	if (rc != CS_OK && rc != CS_E_NOTFOUND)
		return rc;
	if (rc == CS_E_NOTFOUND || memcmp(r.id, id.data, sizeof(r.id)) != 0) {
		if (rc == CS_OK)
			cs_point_record_release(&r);
		return damaged(err, "a point is not where its id says");
	}
	struct cs_trash_row row = { 0 };
	if (where == CS_IN_LIST && (rc = cs_points_listed(t, &r, err)) == 0)
		rc = cs_point_lost(t, &r, err);
	else if (where != CS_IN_LIST)
		rc = cs_points_trashed(t, &r, &row, where == CS_IN_TRASH ? err : NULL);
	cs_point_record_release(&r);
	if (where == CS_ANYWHERE) /* a row that is damaged does not hide it */
		rc = 1;
	return rc == 1 ? row.purge_after != CS_TRASH_PURGED : rc;
}

int cs_ids_find(struct cs_txn *t, const char *hex, enum cs_where where, uint64_t *seq,
		unsigned *count, struct cs_error *err)
{
	uint8_t from[16] = { 0 };
	size_t n = strlen(hex);
	struct cs_cursor *c;
	*count = 0;
	if (n > 32)
		return CS_OK;
	for (size_t i = 0; i < n; i++) {
		uint8_t v;
		if (!nibble(hex[i], &v))
			return CS_OK;
		from[i / 2] |= (uint8_t)(i % 2 ? v : v << 4);
	}
	struct cs_slice key = { from, sizeof(from) }, v;
	int rc = cs_cursor_open(t, CS_T_IDS, &c, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_move(c, CS_SEEK_GE, &key, &v, err);
	while (rc == 1 && key.len == 16 && id_matches(key.data, hex, n) && *count < 2) {
		uint64_t s;
		if (cs_u64_value(v, &s) != CS_OK) {
			rc = damaged(err, "a point's id");
			break;
		}
		rc = id_counts(t, key, s, where, err);
		if (rc < 0)
			break;
		if (rc == 1 && (*count)++ == 0)
			*seq = s;
		rc = cs_cursor_move(c, CS_SEEK_NEXT, &key, &v, err);
	}
	cs_cursor_close(c);
	return rc < 0 ? rc : CS_OK;
}

/* ---- points */

int cs_points_get(struct cs_txn *t, uint64_t seq, struct cs_point_record *out,
		  struct cs_error *err)
{
	struct cs_slice v;
	int rc = cs_db_get(t, CS_T_POINTS, cs_u64_key(&seq), &v, err);
	if (rc < 0)
		return rc;
	if (rc == 0)
		return cs_fail(err, CS_E_NOTFOUND, "no point with number %llu",
			       (unsigned long long)seq);
	rc = cs_point_record_unpack(v.data, v.len, out);
	if (rc == CS_OK && out->seq != seq) {
		cs_point_record_release(out);
		rc = CS_E_CORRUPT;
	}
	if (rc == CS_E_CORRUPT)
		return cs_fail(err, rc, "the record of point number %llu is damaged ('chunkstore "
			       "forget --purge number:%llu' gives it up)",
			       (unsigned long long)seq, (unsigned long long)seq);
	return rc == CS_OK ? rc : cs_fail(err, rc, "out of memory");
}

int cs_points_next(struct cs_txn *t, uint64_t from, struct cs_point_record *out,
		   struct cs_error *err)
{
	struct cs_cursor *c;
	struct cs_slice key = cs_u64_key(&from), v;
	uint64_t seq = 0;
	int rc = cs_cursor_open(t, CS_T_POINTS, &c, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_move(c, CS_SEEK_GE, &key, &v, err);
	if (rc == 1 && (cs_u64_value(key, &seq) != CS_OK || seq < from))
		rc = damaged(err, "a point");
	cs_cursor_close(c);
	if (rc != 1)
		return rc;
	rc = cs_points_get(t, seq, out, err);
	return rc == CS_OK ? 1 : rc;
}

/* The highest number of a series' names that begin with base; 1 for base alone, 0: none. */
static int highest_number(struct cs_txn *t, enum cs_table table, uint32_t series_id,
			  const char *base, unsigned *out, struct cs_error *err)
{
	char name[CS_POINT_NAME_MAX + 1];
	uint8_t key[CS_CATALOG_KEY_MAX];
	struct cs_slice v;
	size_t n = strlen(base);
	int rc = cs_db_get(t, table, cs_catalog_key(series_id, base, key), &v, err);
	*out = rc == 1;
	memcpy(name, base, n + 1);
	while (rc >= 0 && (rc = cs_named_next(t, table, series_id, name, name, &v, err)) == 1 &&
	       strncmp(name, base, n) == 0 && name[n] == '-')
		*out = (unsigned)strtoul(name + n + 1, NULL, 10);
	return rc < 0 ? rc : CS_OK;
}

/*
 * The time's name; if the series has points of that second, one more than the
 * last of them. Those in the trash count: they may come back, with their names.
 */
static int pick_name(struct cs_txn *t, struct cs_point_record *r, struct cs_error *err)
{
	char base[CS_POINT_NAME_MAX + 1];
	unsigned last = 0, trashed = 0;
	cs_time_name(r->started, base);
	int rc = highest_number(t, CS_T_CATALOG, r->series_id, base, &last, err);
	if (rc == CS_OK)
		rc = highest_number(t, CS_T_TRASH, r->series_id, base, &trashed, err);
	if (rc != CS_OK)
		return rc;
	if (last < trashed)
		last = trashed;
	if (last >= 999)
		return cs_fail(err, CS_E_EXISTS, "too many points named %s", base);
	if (last)
		snprintf(r->name, sizeof(r->name), "%.24s-%03u", base, last + 1);
	else
		memcpy(r->name, base, sizeof(r->name));
	return CS_OK;
}

int cs_point_record_put(struct cs_txn *t, const struct cs_point_record *r, struct cs_error *err)
{
	struct cs_buf b = { 0 };
	cs_point_record_pack(r, &b);
	int rc = b.failed ? cs_fail(err, CS_E_NOMEM, "out of memory") :
			    cs_db_put(t, CS_T_POINTS, cs_u64_key(&r->seq),
				      (struct cs_slice){ b.data, b.len }, err);
	cs_buf_release(&b);
	return rc;
}

static int put_rows(struct cs_txn *t, const struct cs_point_record *r, struct cs_error *err)
{
	uint8_t key[CS_CATALOG_KEY_MAX];
	int rc = cs_point_record_put(t, r, err);
	if (rc == CS_OK)
		rc = cs_db_put(t, CS_T_CATALOG, cs_catalog_key(r->series_id, r->name, key),
			       cs_u64_key(&r->seq), err);
	if (rc == CS_OK)
		rc = cs_db_put(t, CS_T_IDS, (struct cs_slice){ r->id, 16 }, cs_u64_key(&r->seq),
			       err);
	return rc;
}

int cs_points_add(struct cs_txn *t, const char *series, struct cs_point_record *r,
		  struct cs_error *err)
{
	struct cs_series_record s;
	int rc = cs_series_find(t, series, &s, err);
	if (rc == 0)
		rc = series_create(t, series, &s, err);
	if (rc < 0)
		return rc;
	rc = cs_db_counter_get(t, CS_META_NEXT_POINT, &r->seq, err);
	if (rc == CS_OK)
		rc = cs_db_counter_set(t, CS_META_NEXT_POINT, r->seq + 1, err);
	if (rc != CS_OK)
		return rc;
	r->series_id = s.id;
	rc = pick_name(t, r, err);
	if (rc == CS_OK)
		rc = put_rows(t, r, err);
	s.points++;
	s.latest = r->seq;
	return rc == CS_OK ? cs_series_changed(t, series, &s, r->received, err) : rc;
}
