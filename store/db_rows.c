/* SPDX-License-Identifier: MIT */
/*
 * db_rows.c - rows of a table: by key, in order, and the counters of the meta table.
 *
 * A damaged page may give any answer. Every key and value is looked at before it
 * is handed out (db_value.c), and a cursor's rows have to ascend.
 */
#include "db_impl.h"

#include "alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define FIRST_LOOKS 64 /* more than a mount needs to show a directory */
#define KEY_MAX 512 /* LMDB's keys, and values of a key that has several, are shorter */

struct cs_cursor {
	MDB_cursor *cursor;
	struct cs_txn *txn;
	enum cs_table table;
	size_t key_len, value_len; /* where it stands: copies, which NEXT is compared with */
	bool stands;
	uint64_t key[KEY_MAX / 8], value[KEY_MAX / 8];
};

/*
 * LMDB looks at a table's root when it is first used in a transaction: here, before a
 * cursor is made of memory that a fault would lose.
 */
static int open_cursor(struct cs_txn *t, enum cs_table table, MDB_cursor **out)
{
	MDB_stat m;
	int rc = mdb_stat(t->txn, t->db->dbi[table], &m);
	return rc ? rc : mdb_cursor_open(t->txn, t->db->dbi[table], out);
}

static MDB_val val(struct cs_slice s)
{
	return (MDB_val){ s.len, (void *)(uintptr_t)s.data };
}

/*
 * A damaged page may say that a value has gigabytes, of pages that are not there, and each
 * of them would be met by the guard. Nobody stores that: it is a row without a value, which
 * whoever reads it finds damaged, and no other.
 */
static struct cs_slice found(const MDB_val *v)
{
	return (struct cs_slice){ v->mv_data, v->mv_size <= CS_DB_VALUE_MAX ? v->mv_size : 0 };
}

/*
 * What is looked for first in a store that was just opened lies far apart, and nothing of it is
 * in memory: a mount's first answer waits for each of these pages.
 */
static void ask_way(struct cs_txn *t, enum cs_table table, const MDB_val *key)
{
	if (t->alone || (!t->write && t->db->looked < FIRST_LOOKS &&
			 atomic_fetch_add(&t->db->looked, 1) < FIRST_LOOKS))
		cs_db_ask_way(t, table, key);
}

int cs_db_get(struct cs_txn *t, enum cs_table table, struct cs_slice key, struct cs_slice *out,
	      struct cs_error *err)
{
	MDB_val k = val(key), v;
	int rc;
	if (!t->db->dbi[table])
		return 0;
	ask_way(t, table, &k);
	GUARDED(rc, mdb_get(t->txn, t->db->dbi[table], &k, &v));
	cs_txn_met(t, rc);
	if (rc == 0) /* a value that cannot be read is no damage to LMDB */
		GUARDED(rc, cs_db_look_at(t, &v));
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return cs_db_fail(t->db, rc, "read", err);
	*out = found(&v);
	return 1;
}

static int find(const struct cs_txn *t, MDB_cursor *c, MDB_val *k, MDB_val *v)
{
	int rc = mdb_cursor_get(c, k, v, MDB_SET_RANGE);
	if (rc == 0)
		rc = cs_db_look_at(t, k);
	return rc ? rc : cs_db_in_map(t, v);
}

int cs_db_find(struct cs_txn *t, enum cs_table table, struct cs_slice *key, struct cs_slice *value,
	       struct cs_error *err)
{
	MDB_val k = val(*key), v;
	MDB_cursor *c;
	int rc;
	if (!t->db->dbi[table])
		return 0;
	ask_way(t, table, &k);
	GUARDED(rc, open_cursor(t, table, &c));
	if (rc == 0) {
		GUARDED(rc, find(t, c, &k, &v));
		mdb_cursor_close(c);
	}
	cs_txn_met(t, rc);
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return cs_db_fail(t->db, rc, "read", err);
	*key = (struct cs_slice){ k.mv_data, k.mv_size };
	*value = found(&v);
	return 1;
}

/*
 * Ascending keys fill pages completely with MDB_APPEND; LMDB refuses
 * it when the key is not past the last one, and then a plain put is right.
 */
static int put(struct cs_txn *t, enum cs_table table, MDB_val *k, MDB_val *v, unsigned flags)
{
	MDB_dbi dbi = t->db->dbi[table];
	if (!dbi)
		return ENOSPC; /* it could not be made: open_tables */
	int bad = cs_db_check_way(t, table, k, cs_db_several(table) ? v : NULL, false);
	if (bad)
		return bad;
	if (table == CS_T_BUNDLES || table == CS_T_POINTS) {
		int rc = mdb_put(t->txn, dbi, k, v, flags | MDB_APPEND);
		if (rc != MDB_KEYEXIST)
			return rc;
	}
	return mdb_put(t->txn, dbi, k, v, flags);
}

int cs_db_put(struct cs_txn *t, enum cs_table table, struct cs_slice key, struct cs_slice value,
	      struct cs_error *err)
{
	MDB_val k = val(key), v = val(value);
	int rc;
	cs_db_resident_check(t->db); /* a large index may be touched all over in one transaction */
	GUARDED(rc, put(t, table, &k, &v, 0));
	cs_txn_met_writing(t, rc);
	return rc ? cs_db_fail(t->db, cs_db_write_error(t->db, rc), "write", err) : CS_OK;
}

int cs_db_reserve(struct cs_txn *t, enum cs_table table, struct cs_slice key, size_t len,
		  void **out, struct cs_error *err)
{
	MDB_val k = val(key), v = { len, NULL };
	int rc;
	GUARDED(rc, put(t, table, &k, &v, MDB_RESERVE));
	cs_txn_met_writing(t, rc);
	if (rc)
		return cs_db_fail(t->db, cs_db_write_error(t->db, rc), "write", err);
	*out = v.mv_data;
	return CS_OK;
}

static int del(struct cs_txn *t, enum cs_table table, MDB_val *k, MDB_val *v)
{
	int rc = cs_db_check_way(t, table, k, v, true);
	return rc ? rc : mdb_del(t->txn, t->db->dbi[table], k, v);
}

int cs_db_del(struct cs_txn *t, enum cs_table table, struct cs_slice key,
	      const struct cs_slice *value, struct cs_error *err)
{
	MDB_val k = val(key), v = { 0 };
	if (value)
		v = val(*value);
	int rc;
	if (!t->db->dbi[table])
		return CS_OK;
	GUARDED(rc, del(t, table, &k, value ? &v : NULL));
	cs_txn_met_writing(t, rc);
	if (rc && rc != MDB_NOTFOUND)
		return cs_db_fail(t->db, cs_db_write_error(t->db, rc), "write", err);
	return CS_OK;
}

int cs_db_rows(struct cs_txn *t, enum cs_table table, uint64_t *out, struct cs_error *err)
{
	MDB_stat m = { 0 };
	int rc = 0;
	if (t->db->dbi[table])
		GUARDED(rc, mdb_stat(t->txn, t->db->dbi[table], &m));
	if (rc)
		return cs_db_fail(t->db, rc, "stat", err);
	*out = m.ms_entries;
	return CS_OK;
}

/* ---- cursors */

int cs_cursor_open(struct cs_txn *t, enum cs_table table, struct cs_cursor **out,
		   struct cs_error *err)
{
	struct cs_cursor *c = cs_zalloc(sizeof(*c));
	if (!c)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	c->txn = t;
	c->table = table;
	int rc = 0;
	if (t->db->dbi[table])
		GUARDED(rc, open_cursor(t, table, &c->cursor));
	if (rc) {
		free(c);
		return cs_db_fail(t->db, rc, "read", err);
	}
	*out = c;
	return CS_OK;
}

void cs_cursor_close(struct cs_cursor *c)
{
	if (c) {
		if (c->cursor)
			mdb_cursor_close(c->cursor);
		free(c);
	}
}

static int move_cursor(struct cs_txn *t, MDB_cursor *c, MDB_val *k, MDB_val *v, MDB_cursor_op op)
{
	int rc = mdb_cursor_get(c, k, v, op);
	if (rc == 0 && op != MDB_GET_BOTH_RANGE) /* which leaves the key as it was given */
		rc = cs_db_look_at(t, k);
	return rc ? rc : cs_db_look_at(t, v);
}

/*
 * Rows ascend, or the tree is damaged: one that leads back to itself would keep
 * whoever follows it for ever.
 */
static int check_order(struct cs_cursor *c, enum cs_seek how, const MDB_val *k, const MDB_val *v)
{
	bool several = cs_db_several(c->table);
	MDB_val key = { c->key_len, c->key }, value = { c->value_len, c->value };

	if (k->mv_size > KEY_MAX || (several && v->mv_size > KEY_MAX))
		return MDB_CORRUPTED;
	if (how == CS_SEEK_NEXT && c->stands) {
		int d = cs_db_key_order(c->table)(&key, k);
		if (d > 0 || (d == 0 && (!several || cs_db_by_bytes(&value, v) >= 0)))
			return MDB_CORRUPTED;
	}
	memcpy(c->key, k->mv_data, k->mv_size);
	c->key_len = k->mv_size;
	if (several)
		memcpy(c->value, v->mv_data, v->mv_size);
	c->value_len = several ? v->mv_size : 0;
	c->stands = true;
	return 0;
}

int cs_cursor_move(struct cs_cursor *c, enum cs_seek how, struct cs_slice *key,
		   struct cs_slice *value, struct cs_error *err)
{
	static const MDB_cursor_op ops[] = {
		[CS_SEEK_FIRST] = MDB_FIRST, [CS_SEEK_GE] = MDB_SET_RANGE,
		[CS_SEEK_NEXT] = MDB_NEXT,   [CS_SEEK_PREV] = MDB_PREV,
		[CS_SEEK_LAST] = MDB_LAST,   [CS_SEEK_DUP_GE] = MDB_GET_BOTH_RANGE,
	};
	MDB_val k = val(*key), v = { 0 };
	int rc;
	if (!c->cursor)
		return 0;
	if (how == CS_SEEK_DUP_GE)
		v = val(*value);
	if (how == CS_SEEK_FIRST || how == CS_SEEK_GE)
		ask_way(c->txn, c->table, &k);
	GUARDED(rc, move_cursor(c->txn, c->cursor, &k, &v, ops[how]));
	if (rc == 0)
		GUARDED(rc, check_order(c, how, &k, &v));
	cs_txn_met(c->txn, rc);
	if (rc == 0)
		GUARDED(rc, cs_db_look_at(c->txn, &v));
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return cs_db_fail(c->txn->db, rc, "read", err);
	*key = (struct cs_slice){ k.mv_data, k.mv_size };
	*value = found(&v);
	return 1;
}

/* ---- counters */

int cs_db_counter_get(struct cs_txn *t, const char *name, uint64_t *out, struct cs_error *err)
{
	struct cs_slice v = { 0 };
	int rc = cs_db_get(t, CS_T_META, (struct cs_slice){ name, strlen(name) }, &v, err);
	if (rc < 0)
		return rc;
	if (rc == 0 || cs_u64_value(v, out) != CS_OK)
		return cs_fail(err, CS_E_CORRUPT, "store %s: counter %s is damaged", t->db->dir,
			       name);
	return CS_OK;
}

int cs_db_counter_set(struct cs_txn *t, const char *name, uint64_t v, struct cs_error *err)
{
	return cs_db_put(t, CS_T_META, (struct cs_slice){ name, strlen(name) },
			 (struct cs_slice){ &v, sizeof(v) }, err);
}

int cs_u64_value(struct cs_slice v, uint64_t *out)
{
	if (v.len != sizeof(*out))
		return CS_E_CORRUPT;
	memcpy(out, v.data, sizeof(*out));
	return CS_OK;
}
