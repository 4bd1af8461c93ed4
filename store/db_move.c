/* SPDX-License-Identifier: MIT */
/*
 * db_move.c - values at the end of the file go to free pages in front, so that
 * the end becomes free and can be cut off (db_space.c).
 *
 * Nothing here knows more of safety than LMDB does: a value is written again
 * under its key, as it is, in an ordinary transaction. LMDB puts it on pages
 * that nobody needs and frees those it was on; readers go on seeing the old
 * ones in their snapshots, and a crash leaves the one state or the other. The
 * file is never copied as a whole or replaced, because whoever has it open
 * shares lock.mdb with everybody else: a second file would bring a second
 * count of transactions to one table of readers. (The process that finds the
 * writer lock's owner dead sets that count from the file which it has mapped;
 * if that were the old one, the next writer would overwrite the newest state.)
 *
 * LMDB does not tell on which page something is. The address does: a page
 * begins with its own number, and the value of overflow pages comes right
 * behind the 16 bytes of their header, which gives the address of page 0; that
 * its bytes are those of a meta page is checked. A row's key lies in its leaf
 * page, and to write the row touches that page and those above it: they move
 * as well. Pages above leaves that are in front already are found by nobody;
 * to stir is to write a row of every few leaves.
 *
 * LMDB's list of free pages moves when LMDB takes it up, which it does from its
 * beginning and as far as it must. To gather it is to ask for so many pages in
 * a row, again and again, that it takes up all of the list, then to give them
 * back in the same transaction: nothing was written to them, and the list is
 * stored anew, in front.
 *
 * A row is looked up again before it is written, since it may have changed, and
 * after it, to compare the bytes: a slip here would be every point's loss. One
 * that would land behind the limit is left alone: the transaction is abandoned
 * and done again without it.
 */
#include "db_impl.h"

#include "alloc.h"
#include "buf.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP_BYTES ((size_t)8 << 20)
#define STEP_ROWS 20000
#define REFUSED_MAX 64 /* after so many there is no room in front */
#define STIR 16 /* fewer leaves than a page above them has */
#define HEADER 16 /* of a page; it begins with the page's number */
#define META_FLAG 0x08
#define META_MAGIC 0xBEEFC0DEu

/* A row to write again. Its key, and its value if the table has several a key, lie in keys. */
struct item {
	size_t at;
	size_t key_len, value_len;
	size_t bytes; /* about what it will write */
};

struct mover {
	struct cs_db *db;
	const struct cs_move_opts *opts;
	struct cs_move *m;
	uint64_t psize, pages;
	const uint8_t *base; /* of the map */
	struct item *items;
	size_t nitems, cap;
	struct cs_buf keys;
	size_t bytes;
	int table; /* of the items */
	bool dups, end; /* of the table: several values a key; no rows are left */
	/* the transaction */
	MDB_txn *txn;
	struct cs_txn *t; /* when it writes */
	uint64_t moved, stuck;
	bool unreadable; /* why the last row failed */
};

/* ---- where things are */

static bool in_map(const struct mover *v, const void *p)
{
	return (const uint8_t *)p >= v->base &&
	       (const uint8_t *)p < v->base + v->pages * v->psize;
}

static uint64_t page_of(const struct mover *v, const void *p)
{
	return (uint64_t)((const uint8_t *)p - v->base) / v->psize;
}

static uint64_t number_at(const void *value)
{
	uint64_t page;
	memcpy(&page, (const uint8_t *)value - HEADER, sizeof(page));
	return page;
}

/* Is it a value on pages of its own? */
static bool is_big(const struct mover *v, const MDB_val *value)
{
	return value->mv_size > v->psize / 2 && (uintptr_t)value->mv_data % 4096 == HEADER;
}

/* From a value on pages of its own to the address of page 0. */
static int find_base(void *arg, MDB_cursor *c)
{
	struct mover *v = arg;
	MDB_val key, value;
	int rc;
	while ((rc = mdb_cursor_get(c, &key, &value, MDB_NEXT)) == 0)
		if (is_big(v, &value))
			break;
	if (rc)
		return rc;
	uint64_t page = number_at(value.mv_data);
	if (page >= v->pages)
		return MDB_CORRUPTED;
	const uint8_t *base = (const uint8_t *)value.mv_data - HEADER - page * v->psize;
	uint32_t magic;
	memcpy(&magic, base + HEADER, sizeof(magic));
	if (magic != META_MAGIC || !(base[10] & META_FLAG))
		return MDB_INCOMPATIBLE;
	v->base = base;
	return 0;
}

/* ---- what to move */

static int note(struct mover *v, const MDB_val *key, const MDB_val *value, size_t bytes)
{
	if (cs_grow(&v->items, &v->cap, v->nitems + 1, sizeof(*v->items)) != CS_OK)
		return ENOMEM;
	struct item *it = &v->items[v->nitems++];
	while (v->keys.len % 8)
		cs_buf_u8(&v->keys, 0);
	it->at = v->keys.len;
	it->key_len = key->mv_size;
	it->value_len = value ? value->mv_size : 0;
	it->bytes = bytes;
	cs_buf_add(&v->keys, key->mv_data, key->mv_size);
	while (value && v->keys.len % 8)
		cs_buf_u8(&v->keys, 0);
	if (value)
		cs_buf_add(&v->keys, value->mv_data, value->mv_size);
	v->bytes += bytes;
	return v->keys.failed ? ENOMEM : 0;
}

/* The next step begins here. */
static int stay_at(struct cs_move *m, const MDB_val *key, const MDB_val *value)
{
	if (key->mv_size > sizeof(m->key) || (value && value->mv_size > sizeof(m->value)))
		return MDB_CORRUPTED;
	m->key_len = key->mv_size;
	memcpy(m->key, key->mv_data, key->mv_size);
	m->value_len = value ? value->mv_size : 0;
	if (value)
		memcpy(m->value, value->mv_data, value->mv_size);
	return 0;
}

/* To where the last step stayed, or the first row after it. */
static int go_on(const struct cs_move *m, MDB_cursor *c, MDB_val *key, MDB_val *value)
{
	const MDB_val k = { m->key_len, (void *)(uintptr_t)m->key };
	*key = k;
	if (!m->key_len)
		return mdb_cursor_get(c, key, value, MDB_FIRST);
	if (!m->value_len)
		return mdb_cursor_get(c, key, value, MDB_SET_RANGE);
	*value = (MDB_val){ m->value_len, (void *)(uintptr_t)m->value };
	int rc = mdb_cursor_get(c, key, value, MDB_GET_BOTH_RANGE);
	if (rc == 0) /* the key as it lies in the map */
		rc = mdb_cursor_get(c, key, value, MDB_GET_CURRENT);
	if (rc != MDB_NOTFOUND)
		return rc;
	*key = k; /* no such values are left of it, or it is gone */
	rc = mdb_cursor_get(c, key, value, MDB_SET_RANGE);
	bool same = rc == 0 && key->mv_size == k.mv_size &&
		    memcmp(key->mv_data, k.mv_data, k.mv_size) == 0;
	return same ? mdb_cursor_get(c, key, value, MDB_NEXT_NODUP) : rc;
}

/* Look at rows of a table until there is enough to do, or no more. */
static int look_at_rows(void *arg, MDB_cursor *c)
{
	struct mover *v = arg;
	struct cs_move *m = v->m;
	bool dups = v->dups;
	size_t enough = v->opts->step_bytes ? v->opts->step_bytes : STEP_BYTES;
	uint64_t last_leaf = 0, last_at = 0, before = 0, leaves = 0;
	MDB_val key, value;
	int rc = go_on(m, c, &key, &value);
	for (int rows = 0; rc == 0; rows++) {
		if (rows >= STEP_ROWS || v->bytes >= enough) {
			v->end = false;
			return stay_at(m, &key, dups ? &value : NULL);
		}
		if (!in_map(v, key.mv_data))
			return MDB_CORRUPTED;
		uint64_t leaf = page_of(v, key.mv_data), at = page_of(v, value.mv_data);
		uint64_t row = dups ? at : leaf; /* values of one key may be a tree of their own */
		bool stir = row != before && v->opts->stir && leaves++ % STIR == 0;
		before = row;
		bool big = !dups && is_big(v, &value);
		if (stir || (at >= v->opts->floor && (big || at != last_at)) ||
		    (leaf >= v->opts->floor && leaf != last_leaf)) {
			rc = note(v, &key, dups ? &value : NULL, big ? value.mv_size : v->psize);
			last_leaf = leaf;
			last_at = at;
		}
		if (rc == 0)
			rc = mdb_cursor_get(c, &key, &value, MDB_NEXT);
	}
	v->end = rc == MDB_NOTFOUND;
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Collect the next step's rows, of one table. */
static int collect(struct mover *v)
{
	int rc = cs_db_with_cursor(v->txn, v->db->dbi[CS_T_BUNDLES], find_base, v);
	if (rc == MDB_NOTFOUND)
		v->m->table = CS_TABLES; /* nothing big in it: not worth moving */
	else if (rc)
		return rc;
	for (; v->m->table < CS_TABLES && !v->nitems; v->m->table++, v->m->key_len = v->m->value_len = 0) {
		unsigned flags;
		v->table = v->m->table;
		MDB_dbi dbi = v->db->dbi[v->table];
		if (!dbi)
			continue;
		rc = mdb_dbi_flags(v->txn, dbi, &flags);
		if (rc)
			return rc;
		v->dups = flags & MDB_DUPSORT;
		rc = cs_db_with_cursor(v->txn, dbi, look_at_rows, v);
		if (rc || !v->end)
			return rc;
	}
	return 0;
}

/* ---- moving */

enum outcome { MOVED, LEFT_ALONE, REFUSED /* the transaction must be abandoned */ };

static int move_big(struct mover *v, MDB_dbi dbi, MDB_val *key, const MDB_val *value,
		    enum outcome *out)
{
	MDB_val room = { value->mv_size, NULL };
	struct cs_slice s = { value->mv_data, value->mv_size };
	v->unreadable = cs_db_load(s, NULL) != CS_OK;
	*out = REFUSED;
	if (v->unreadable)
		return 0;
	int rc = mdb_put(v->txn, dbi, key, &room, MDB_RESERVE);
	if (rc)
		return rc;
	uint64_t to = number_at(room.mv_data);
	if (to >= v->opts->limit)
		return 0;
	/* the old pages are free, but nobody writes to them before this transaction is over */
	memcpy(room.mv_data, value->mv_data, value->mv_size);
	rc = mdb_get(v->txn, dbi, key, &room);
	if (rc == 0 && (room.mv_size != value->mv_size ||
			memcmp(room.mv_data, value->mv_data, value->mv_size) != 0))
		rc = MDB_CORRUPTED;
	if (rc)
		return rc;
	v->moved += value->mv_size;
	v->stuck += to >= v->opts->floor;
	*out = MOVED;
	return 0;
}

static int move_row(struct mover *v, MDB_cursor *c, MDB_dbi dbi, const struct item *it,
		    enum outcome *out)
{
	/* LMDB points what it is given into its pages; a write may move what is there */
	const MDB_val k = { it->key_len, v->keys.data + it->at };
	const MDB_val val = { it->value_len, v->keys.data + it->at + (it->key_len + 7) / 8 * 8 };
	MDB_val key = k, value = val;
	*out = LEFT_ALONE;
	int rc = cs_db_check_way(v->t, (enum cs_table)v->table, &k, it->value_len ? &val : NULL, false);
	if (rc)
		return rc;
	rc = mdb_cursor_get(c, &key, &value, it->value_len ? MDB_GET_BOTH : MDB_SET);
	if (rc == 0 && !it->value_len)
		rc = mdb_cursor_get(c, &key, &value, MDB_GET_CURRENT);
	if (rc)
		return rc == MDB_NOTFOUND ? 0 : rc;
	key = k;
	if (it->value_len)
		value = val;
	else if (!in_map(v, value.mv_data)) /* written in this transaction */
		return 0;
	else if (is_big(v, &value))
		return move_big(v, dbi, &key, &value, out);
	v->moved += v->psize;
	*out = MOVED;
	return mdb_cursor_put(c, &key, &value, MDB_CURRENT);
}

static int move_rows(struct mover *v, size_t from, size_t to, size_t *refused)
{
	MDB_cursor *c;
	MDB_dbi dbi = v->db->dbi[v->table];
	int rc = mdb_cursor_open(v->txn, dbi, &c);
	if (rc)
		return rc;
	for (size_t i = from; i < to && rc == 0 && *refused == to; i++) {
		enum outcome outcome;
		cs_db_compared = 0;
		rc = move_row(v, c, dbi, &v->items[i], &outcome);
		if (rc == 0 && outcome == REFUSED)
			*refused = i;
	}
	mdb_cursor_close(c);
	return rc;
}

/* Write the rows [from, to) again in one transaction, or nothing, because of row *refused < to. */
static int move_txn(struct mover *v, size_t from, size_t to, size_t *refused, struct cs_error *err)
{
	struct cs_txn *t;
	struct timespec start;
	int rc = cs_txn_write(v->db, &t, err);
	if (rc != CS_OK)
		return rc;
	clock_gettime(CLOCK_MONOTONIC, &start);
	v->txn = t->txn;
	v->t = t;
	v->moved = v->stuck = 0;
	*refused = to;
	GUARDED(rc, move_rows(v, from, to, refused));
	t->fault |= cs_db_met != 0;
	if (rc || *refused < to)
		cs_txn_end(t);
	if (rc)
		return cs_db_fail(v->db, rc, "compact", err);
	if (*refused == to) {
		rc = cs_txn_commit(t, err);
		if (rc == CS_OK) {
			v->m->moved_bytes += v->moved;
			v->m->stuck += v->stuck;
		}
	}
	uint64_t held = cs_db_ns_since(&start);
	if (held > v->m->longest_ns)
		v->m->longest_ns = held;
	return rc;
}

static int move_all(struct mover *v, struct cs_error *err)
{
	for (size_t from = 0, refused; from < v->nitems; from = refused + 1) {
		int rc = move_txn(v, from, v->nitems, &refused, err);
		if (rc != CS_OK || refused == v->nitems)
			return rc;
		v->m->unreadable += v->unreadable;
		v->m->refused += !v->unreadable;
		size_t to = refused;
		if (to > from) /* those before it went well, and will again unless others write */
			rc = move_txn(v, from, to, &refused, err);
		if (rc != CS_OK)
			return rc;
	}
	return CS_OK;
}

/* ---- the list of free pages */

#define GATHER_COST 50000000u /* records times pages: about what LMDB moves in memory */
#define GATHER_PAGES (1u << 22)
#define GATHER_ROOM 1024

struct list_sum {
	uint64_t floor;
	uint64_t records, pages; /* up to the last record that lies behind the floor */
	uint64_t records_seen, pages_seen;
};

static int sum_list(void *arg, MDB_cursor *c)
{
	struct list_sum *sum = arg;
	MDB_val k, v;
	int rc;
	while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
		uint64_t n;
		if (v.mv_size < sizeof(n))
			return MDB_CORRUPTED;
		memcpy(&n, v.mv_data, sizeof(n));
		sum->records_seen++;
		sum->pages_seen += n;
		if ((uintptr_t)v.mv_data % 4096 == HEADER && number_at(v.mv_data) >= sum->floor) {
			sum->records = sum->records_seen;
			sum->pages = sum->pages_seen;
		}
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

/* Ask for runs of n pages until there are none but behind the last page, then give all back. */
static int take_up_list(struct cs_txn *t, uint64_t n, uint64_t psize, uint64_t known)
{
	MDB_txn *txn = t->txn;
	MDB_dbi dbi = t->db->dbi[CS_T_META];
	uint64_t page = 0;
	unsigned i = 0;
	char name[32];
	int rc = 0;
	for (; i < GATHER_ROOM && rc == 0 && page < known; i++) {
		MDB_val key = { (size_t)snprintf(name, sizeof(name), "gather %u", i), name };
		MDB_val room = { n * psize - HEADER, NULL };
		rc = cs_db_check_way(t, CS_T_META, &key, NULL, true);
		if (rc == 0)
			rc = mdb_put(txn, dbi, &key, &room, MDB_RESERVE | MDB_NOOVERWRITE);
		if (rc == 0)
			page = number_at(room.mv_data);
	}
	while (i-- > 0 && rc == 0) {
		MDB_val key = { (size_t)snprintf(name, sizeof(name), "gather %u", i), name };
		rc = mdb_del(txn, dbi, &key, NULL);
	}
	return rc;
}

int cs_db_gather(struct cs_db *db, uint64_t floor, struct cs_error *err)
{
	struct list_sum sum = { .floor = floor };
	struct cs_txn *t;
	MDB_envinfo info;
	MDB_stat st;
	int rc = cs_txn_write(db, &t, err);
	if (rc != CS_OK)
		return rc;
	struct cs_txn *r;
	rc = cs_txn_read(db, &r, err);
	if (rc != CS_OK) {
		cs_txn_end(t);
		return rc;
	}
	GUARDED(rc, mdb_env_info(db->env, &info));
	if (rc == 0)
		GUARDED(rc, mdb_env_stat(db->env, &st));
	if (rc == 0)
		rc = cs_db_with_cursor(r->txn, 0, sum_list, &sum);
	cs_txn_end(r);
	if (rc || !sum.records || sum.pages > GATHER_PAGES ||
	    sum.pages > GATHER_COST / sum.records) {
		cs_txn_end(t);
		return rc ? cs_db_fail(db, rc, "compact", err) : CS_OK;
	}
	GUARDED(rc, take_up_list(t, sum.pages / 256 + 16, st.ms_psize,
				 (uint64_t)info.me_last_pgno + 1));
	t->fault |= cs_db_met != 0;
	if (rc == 0)
		return cs_txn_commit(t, err);
	cs_txn_end(t);
	return rc == ENOMEM ? CS_OK : cs_db_fail(db, rc, "compact", err);
}

/* ---- all of it */

int cs_db_move(struct cs_db *db, const struct cs_move_opts *opts, struct cs_move *m,
	       struct cs_error *err)
{
	struct mover v = { .db = db, .opts = opts, .m = m };
	struct cs_txn *t;
	MDB_envinfo info;
	MDB_stat st;
	int rc = cs_txn_read(db, &t, err);
	if (rc != CS_OK)
		return rc;
	v.txn = t->txn;
	GUARDED(rc, mdb_env_info(db->env, &info));
	if (rc == 0)
		GUARDED(rc, mdb_env_stat(db->env, &st));
	if (rc == 0) {
		v.psize = st.ms_psize;
		v.pages = (uint64_t)info.me_last_pgno + 1;
		rc = collect(&v);
	}
	cs_txn_end(t);
	if (rc)
		rc = cs_db_fail(db, rc, "compact", err);
	else if (v.nitems)
		rc = move_all(&v, err);
	m->done = m->table >= CS_TABLES || m->refused >= REFUSED_MAX;
	free(v.items);
	cs_buf_release(&v.keys);
	return rc;
}
