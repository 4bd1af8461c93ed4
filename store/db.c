/* SPDX-License-Identifier: MIT */
#include "db_impl.h"

#include "alloc.h"
#include "format.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

/* Address space is free, but not under the sanitizers' shadow maps. */
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define MAP_SIZE_TOP (256ull << 30)
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define MAP_SIZE_TOP (256ull << 30)
#endif
#endif
#ifndef MAP_SIZE_TOP
#define MAP_SIZE_TOP (8ull << 40)
#endif
#define MAP_SIZE_BOTTOM (64ull << 20) /* LMDB makes it as large as the file at least */

#define READERS_MAX 1024
#define POOL_MAX 64

#define KEY_MAX 512 /* LMDB's keys, and values of a key that has several, are shorter */

struct cs_cursor {
	MDB_cursor *cursor;
	struct cs_txn *txn;
	enum cs_table table;
	size_t key_len, value_len; /* where it stands: copies, which NEXT is compared with */
	bool stands;
	uint64_t key[KEY_MAX / 8], value[KEY_MAX / 8];
};

static const struct {
	const char *name;
	unsigned flags;
	bool younger; /* than the first stores: see open_tables */
} tables[CS_TABLES] = {
	[CS_T_META] = { CS_DB_META, 0, false },
	[CS_T_BUNDLES] = { CS_DB_BUNDLES, 0, false },
	[CS_T_INDEX] = { CS_DB_INDEX, MDB_DUPSORT | MDB_DUPFIXED, false },
	[CS_T_MOVED] = { CS_DB_MOVED, MDB_INTEGERKEY, false },
	[CS_T_POINTS] = { CS_DB_POINTS, MDB_INTEGERKEY, false },
	[CS_T_SERIES] = { CS_DB_SERIES, 0, false },
	[CS_T_SERIES_IDS] = { CS_DB_SERIES_IDS, MDB_INTEGERKEY, false },
	[CS_T_CATALOG] = { CS_DB_CATALOG, 0, false },
	[CS_T_IDS] = { CS_DB_IDS, 0, false },
	[CS_T_TRASH] = { CS_DB_TRASH, 0, true },
	[CS_T_CHECKED] = { CS_DB_CHECKED, MDB_INTEGERKEY, true },
};

/* Read a byte of every page of what the caller will look at. */
static void touch(const MDB_val *v)
{
	const volatile uint8_t *p = v->mv_data;
	size_t n = v->mv_size < CS_DB_TOUCHED ? v->mv_size : CS_DB_TOUCHED;
	for (size_t i = 0; i < n; i += 4096)
		(void)p[i];
	if (n)
		(void)p[n - 1];
}

/*
 * A damaged page may lead anywhere. What lies outside the map is no item, unless
 * the transaction writes and has pages of its own.
 */
static int in_map(const struct cs_txn *t, const MDB_val *v)
{
	uintptr_t map = (uintptr_t)t->db->map, at = (uintptr_t)v->mv_data;
	if (map && !t->write &&
	    (at < map || at - map > t->db->map_len || v->mv_size > t->db->map_len - (at - map)))
		return MDB_CORRUPTED;
	return 0;
}

static int look_at(const struct cs_txn *t, const MDB_val *v)
{
	int rc = in_map(t, v);
	if (rc == 0)
		touch(v);
	return rc;
}

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

static int move_cursor(struct cs_txn *t, MDB_cursor *c, MDB_val *k, MDB_val *v, MDB_cursor_op op)
{
	int rc = mdb_cursor_get(c, k, v, op);
	if (rc == 0 && op != MDB_GET_BOTH_RANGE) /* which leaves the key as it was given */
		rc = look_at(t, k);
	return rc ? rc : look_at(t, v);
}

/* LMDB calls a short write EIO, and a full disk gives one. */
static bool disk_is_full(struct cs_db *db)
{
	struct statvfs v;
	return statvfs(db->dir, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < 1u << 20;
}

static int write_error(struct cs_db *db, int rc)
{
	return rc == EIO && disk_is_full(db) ? ENOSPC : rc;
}

static int fail(struct cs_db *db, int rc, const char *what, struct cs_error *err)
{
	switch (rc) {
	case MDB_CORRUPTED:
	case MDB_PAGE_NOTFOUND:
	case MDB_BAD_VALSIZE:
	case MDB_INCOMPATIBLE:
	case MDB_BAD_DBI:
		return cs_fail(err, CS_E_CORRUPT, "store %s: %s: %s", db->dir, what,
			       mdb_strerror(rc));
	case MDB_PANIC:
		return cs_fail_errno(err, db->failed ? db->failed : EIO,
				     "store %s: %s: an earlier write failed", db->dir, what);
	case MDB_INVALID:
	case MDB_NOTFOUND:
		return cs_fail(err, CS_E_CORRUPT, "%s: not a chunkstore store", db->dir);
	case MDB_VERSION_MISMATCH:
		return cs_fail(err, CS_E_VERSION, "store %s: unknown LMDB version", db->dir);
	case MDB_MAP_FULL:
		return cs_fail(err, CS_E_FULL, "store %s: %s: the map is full", db->dir, what);
	case MDB_READERS_FULL:
		return cs_fail(err, CS_E_BUSY, "store %s: too many readers", db->dir);
	default:
		if (rc == EIO && cs_db_met == CS_MET_SECTOR)
			return cs_fail(err, CS_E_IO, "store %s: %s: data.mdb cannot be read: a disk "
				       "error, or it was cut short", db->dir, what);
		if (rc > 0)
			return cs_fail_errno(err, rc, "store %s: %s", db->dir, what);
		return cs_fail(err, CS_E_IO, "store %s: %s: %s", db->dir, what, mdb_strerror(rc));
	}
}

int cs_db_fail(struct cs_db *db, int rc, const char *what, struct cs_error *err)
{
	return fail(db, rc, what, err);
}

/*
 * A place in LMDB's table of readers. Processes that were killed leave theirs
 * taken until somebody looks, and that has to be the one who finds none free.
 */
static int begin_read(MDB_env *env, MDB_txn **txn)
{
	int dead, rc;
	GUARDED(rc, mdb_txn_begin(env, NULL, MDB_RDONLY, txn));
	if (rc == MDB_READERS_FULL && mdb_reader_check(env, &dead) == 0 && dead > 0)
		GUARDED(rc, mdb_txn_begin(env, NULL, MDB_RDONLY, txn));
	return rc;
}

/*
 * A transaction begins with a look at a meta page. That it can be read is found
 * out before, when nothing has been taken that would have to be given back.
 */
static int read_metas(const struct cs_db *db)
{
	const volatile uint8_t *p = db->map;
	size_t page = (size_t)sysconf(_SC_PAGESIZE);
	if (p)
		(void)(p[0] | p[page]);
	return 0;
}

static int check_metas(struct cs_db *db)
{
	int rc;
	cs_db_cure();
	GUARDED(rc, read_metas(db));
	return rc;
}

static int commit_open(MDB_txn *txn)
{
	int rc;
	GUARDED(rc, mdb_txn_commit(txn));
	return rc;
}

static int begin_write(MDB_env *env, MDB_txn **txn)
{
	int rc;
	GUARDED(rc, mdb_txn_begin(env, NULL, 0, txn));
	return rc;
}

/* Open the tables that are not open yet, all or none. *missing: a younger one is not there. */
static int open_missing(struct cs_db *db, bool create, bool *missing)
{
	MDB_txn *txn;
	MDB_dbi before[CS_TABLES];
	memcpy(before, db->dbi, sizeof(before));
	int rc = create ? begin_write(db->env, &txn) : begin_read(db->env, &txn);
	if (rc)
		return rc;
	*missing = false;
	for (volatile int i = 0; i < CS_TABLES && rc == 0; i++) {
		if (db->dbi[i])
			continue;
		GUARDED(rc, mdb_dbi_open(txn, tables[i].name,
					 create ? tables[i].flags | MDB_CREATE : 0, &db->dbi[i]));
		if (rc == MDB_NOTFOUND && tables[i].younger) {
			*missing = true;
			rc = 0;
		}
	}
	if (rc == 0)
		rc = commit_open(txn);
	else
		mdb_txn_abort(txn);
	if (rc)
		memcpy(db->dbi, before, sizeof(before));
	return rc;
}

/*
 * Who only reads an older store sees no younger table; who writes makes them.
 * On a full disk that has to wait: what frees space must be able to open it.
 */
static int open_tables(struct cs_db *db, int flags, struct cs_error *err)
{
	bool missing = false;
	memset(db->dbi, 0, sizeof(db->dbi));
	int rc = open_missing(db, flags == CS_DB_CREATE, &missing);
	if (rc == 0 && missing && flags == CS_DB_WRITE) {
		rc = write_error(db, open_missing(db, true, &missing));
		if (rc == ENOSPC)
			rc = 0;
	}
	return rc ? fail(db, rc, "open", err) : CS_OK;
}

/* A limit on address space (ulimit -v) makes a large map fail: try smaller ones. */
static int open_env(struct cs_db *db, int flags)
{
	int rc = ENOMEM;
	for (uint64_t size = MAP_SIZE_TOP; size >= MAP_SIZE_BOTTOM && rc == ENOMEM; size /= 2) {
		rc = mdb_env_create(&db->env);
		if (rc)
			return rc;
		rc = cs_db_guard_env(db->env);
		if (rc == 0)
			rc = mdb_env_set_maxdbs(db->env, CS_TABLES + 4);
		if (rc == 0)
			rc = mdb_env_set_maxreaders(db->env, READERS_MAX);
		if (rc == 0)
			rc = mdb_env_set_mapsize(db->env, size);
		if (rc == 0)
			rc = mdb_env_open(db->env, db->dir,
					  MDB_NOTLS | (flags == CS_DB_READ ? MDB_RDONLY : 0), 0600);
		if (rc) {
			mdb_env_close(db->env);
			db->env = NULL;
		}
	}
	return rc;
}

static int open_env_guarded(struct cs_db *db, int flags)
{
	int rc;
	GUARDED(rc, open_env(db, flags));
	return rc;
}

#define OPEN_TRIES 50

/*
 * LMDB 0.9.30 and later destroys its mutexes when the last user closes; who
 * opens in that instant finds them destroyed (EINVAL) and has to open anew.
 */
static int open_both(struct cs_db *db, int flags, struct cs_error *err)
{
	struct cs_error why = { 0 };
	int rc = CS_OK;
	for (int i = 0; i < OPEN_TRIES; i++) {
		rc = open_env_guarded(db, flags);
		if (rc)
			return fail(db, rc, "cannot open", err);
		rc = open_tables(db, flags, &why);
		if (rc == CS_OK || why.sys_errno != EINVAL)
			break;
		mdb_env_close(db->env);
		db->env = NULL;
		nanosleep(&(struct timespec){ 0, 1000000L * (1 + i % 7) }, NULL);
	}
	if (rc != CS_OK && err)
		*err = why;
	return rc;
}

static int stat_lock(const struct cs_db *db, struct stat *st)
{
	char path[4200];
	snprintf(path, sizeof(path), "%s/lock.mdb", db->dir);
	return stat(path, st);
}

int cs_db_open(const char *dir, int flags, struct cs_db **out, struct cs_error *err)
{
	static pthread_once_t once = PTHREAD_ONCE_INIT;
	struct cs_db *db = cs_zalloc(sizeof(*db));
	if (!db || !(db->dir = cs_strdup(dir))) {
		free(db);
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	pthread_mutex_init(&db->lock, NULL);
	pthread_once(&once, cs_db_guard_install);
	int rc = open_both(db, flags, err);
	if (rc != CS_OK) {
		cs_db_close(db);
		return rc;
	}
	if (flags != CS_DB_READ) {
		int dead;
		mdb_reader_check(db->env, &dead);
	}
	struct stat st;
	if (stat_lock(db, &st) == 0)
		db->lock_ino = st.st_ino;
	cs_db_resident_init(db);
	*out = db;
	return CS_OK;
}

void cs_db_close(struct cs_db *db)
{
	if (!db)
		return;
	while (db->pool) {
		struct cs_txn *t = db->pool;
		db->pool = t->next;
		mdb_txn_abort(t->txn);
		free(t);
	}
	if (db->env && !db->stuck)
		mdb_env_close(db->env);
	cs_db_resident_end(db);
	pthread_mutex_destroy(&db->lock);
	free(db->dir);
	free(db);
}

/* ---- transactions */

void cs_db_take_turns(struct cs_db *db, struct cs_turn *turn)
{
	db->turn = turn;
}

/*
 * Who removes lock.mdb while it is in use parts those who have it open from
 * those who come later: neither knows what the other writes. The one who notices
 * does not write any more. (Where it cannot be looked at, it is not noticed.)
 */
static int check_lock(const struct cs_db *db, struct cs_error *err)
{
	struct stat st;
	if (!db->lock_ino || (stat_lock(db, &st) != 0 ? errno != ENOENT : st.st_ino == db->lock_ino))
		return CS_OK;
	return cs_fail(err, CS_E_IO, "store %s: lock.mdb was removed or replaced while the store was "
		       "in use; nothing more is written", db->dir);
}

/* A write transaction is over, durable or undone: the next may come. */
static void write_is_over(struct cs_db *db)
{
	if (db->turn)
		cs_turn_leave(db->turn);
}

/*
 * A fault inside LMDB that ended beginning or ending a write transaction: its
 * lock stays taken for as long as this process lives, and the turn as well, so
 * that others who wait can see for whom.
 */
static void over(struct cs_db *db)
{
	if (cs_db_met)
		db->stuck = true;
	else
		write_is_over(db);
}

static int check_stuck(const struct cs_db *db, struct cs_error *err)
{
	if (!db->stuck)
		return CS_OK;
	return cs_fail(err, CS_E_IO, "store %s: damage was met while writing; nothing more is "
		       "written", db->dir);
}

int cs_txn_read(struct cs_db *db, struct cs_txn **out, struct cs_error *err)
{
	int rc = check_metas(db);
	if (rc)
		return fail(db, rc, "read", err);
	pthread_mutex_lock(&db->lock);
	struct cs_txn *t = db->pool;
	if (t) {
		db->pool = t->next;
		db->pooled--;
	}
	pthread_mutex_unlock(&db->lock);
	if (t) {
		GUARDED(rc, mdb_txn_renew(t->txn));
		if (rc)
			mdb_txn_abort(t->txn);
	} else {
		t = cs_zalloc(sizeof(*t));
		if (!t)
			return cs_fail(err, CS_E_NOMEM, "out of memory");
		t->db = db;
		rc = begin_read(db->env, &t->txn);
	}
	if (rc) {
		free(t);
		return fail(db, rc, "read", err);
	}
	*out = t;
	return CS_OK;
}

int cs_txn_write_within(struct cs_db *db, int64_t ms, struct cs_txn **out, struct cs_error *err)
{
	struct cs_txn *t = cs_zalloc(sizeof(*t));
	if (!t)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	t->db = db;
	t->write = true;
	int rc = check_stuck(db, err);
	if (rc == CS_OK && db->turn)
		rc = cs_turn_take_within(db->turn, ms, err);
	if (rc == CS_OK && (rc = check_lock(db, err)) != CS_OK)
		write_is_over(db);
	if (rc != CS_OK) {
		free(t);
		return rc;
	}
	rc = check_metas(db);
	if (rc) {
		write_is_over(db);
		free(t);
		return fail(db, rc, "write", err);
	}
	rc = begin_write(db->env, &t->txn);
	if (rc) {
		over(db);
		free(t);
		return fail(db, rc, "write", err);
	}
	t->poisoned = cs_db_poisoned();
	*out = t;
	return CS_OK;
}

int cs_txn_write(struct cs_db *db, struct cs_txn **out, struct cs_error *err)
{
	return cs_txn_write_within(db, -1, out, err);
}

/*
 * What a write transaction has done when it meets damage, or reads zeros that
 * are not in the file, may be anything: it is not committed.
 */
static int give_up(struct cs_txn *t, struct cs_error *err)
{
	struct cs_db *db = t->db;
	cs_txn_end(t);
	return cs_fail(err, CS_E_CORRUPT,
		       "store %s: damage was met while writing; nothing was changed", db->dir);
}

static void meet(struct cs_txn *t, int rc)
{
	t->broken |= rc == EIO || rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND;
}

static void meet_writing(struct cs_txn *t, int rc)
{
	meet(t, rc);
	t->fault |= cs_db_met != 0;
}

int cs_txn_commit(struct cs_txn *t, struct cs_error *err)
{
	struct cs_db *db = t->db;
	int rc;
	if (t->broken || t->poisoned != cs_db_poisoned())
		return give_up(t, err);
	GUARDED(rc, mdb_txn_commit(t->txn));
	bool fault = cs_db_met;
	free(t);
	if (rc == 0)
		write_is_over(db);
	atomic_store(&db->transactions, 0); /* look now: it may have touched much */
	cs_db_resident_check(db);
	if (rc == 0) {
		cs_db_keep_reserve(db);
		return CS_OK;
	}
	/*
	 * The disk may have taken the commit and still called it an error. LMDB has
	 * put the old state back, but only in the page cache: it must be on the disk
	 * before the next commit writes into pages that the failed one counts as its
	 * own, or a loss of power then would leave that one, damaged.
	 */
	if (rc > 0)
		mdb_env_sync(db->env, 1);
	rc = write_error(db, rc);
	if (rc > 0 && !db->failed)
		db->failed = rc;
	if (fault)
		db->stuck = true;
	else
		write_is_over(db);
	return fail(db, rc, "commit", err);
}

void cs_txn_end(struct cs_txn *t)
{
	if (!t)
		return;
	struct cs_db *db = t->db;
	if (t->write) {
		int rc = 0;
		if (t->fault) { /* to undo it in memory could do anything; it is nowhere else */
			db->stuck = true;
		} else {
			GUARDED(rc, (mdb_txn_abort(t->txn), rc));
			over(db);
		}
		free(t);
		return;
	}
	mdb_txn_reset(t->txn);
	cs_db_resident_check(db);
	pthread_mutex_lock(&db->lock);
	bool keep = db->pooled < POOL_MAX;
	if (keep) {
		t->next = db->pool;
		db->pool = t;
		db->pooled++;
	}
	pthread_mutex_unlock(&db->lock);
	if (!keep) {
		mdb_txn_abort(t->txn);
		free(t);
	}
}

uint64_t cs_txn_number(const struct cs_txn *t)
{
	return mdb_txn_id(t->txn);
}

static uint64_t known_as(const struct cs_txn *t, uint64_t fact)
{
	return fact * UINT64_C(0x9e3779b97f4a7c15) ^ (cs_txn_number(t) + 1);
}

bool cs_txn_known(const struct cs_txn *t, uint64_t fact)
{
	return !t->write && atomic_load(&t->db->known[fact % CS_KNOWN]) == known_as(t, fact);
}

void cs_txn_note(struct cs_txn *t, uint64_t fact)
{
	if (!t->write)
		atomic_store(&t->db->known[fact % CS_KNOWN], known_as(t, fact));
}

/* ---- rows */

static MDB_val val(struct cs_slice s)
{
	return (MDB_val){ s.len, (void *)(uintptr_t)s.data };
}

int cs_db_get(struct cs_txn *t, enum cs_table table, struct cs_slice key, struct cs_slice *out,
	      struct cs_error *err)
{
	MDB_val k = val(key), v;
	int rc;
	if (!t->db->dbi[table])
		return 0;
	GUARDED(rc, mdb_get(t->txn, t->db->dbi[table], &k, &v));
	meet(t, rc);
	if (rc == 0) /* a value that cannot be read is no damage to LMDB */
		GUARDED(rc, look_at(t, &v));
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return fail(t->db, rc, "read", err);
	*out = (struct cs_slice){ v.mv_data, v.mv_size };
	return 1;
}

static int find(const struct cs_txn *t, MDB_cursor *c, MDB_val *k, MDB_val *v)
{
	int rc = mdb_cursor_get(c, k, v, MDB_SET_RANGE);
	if (rc == 0)
		rc = look_at(t, k);
	return rc ? rc : in_map(t, v);
}

int cs_db_find(struct cs_txn *t, enum cs_table table, struct cs_slice *key, struct cs_slice *value,
	       struct cs_error *err)
{
	MDB_val k = val(*key), v;
	MDB_cursor *c;
	int rc;
	if (!t->db->dbi[table])
		return 0;
	GUARDED(rc, open_cursor(t, table, &c));
	if (rc == 0) {
		GUARDED(rc, find(t, c, &k, &v));
		mdb_cursor_close(c);
	}
	meet(t, rc);
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return fail(t->db, rc, "read", err);
	*key = (struct cs_slice){ k.mv_data, k.mv_size };
	*value = (struct cs_slice){ v.mv_data, v.mv_size };
	return 1;
}

int cs_db_touch(struct cs_txn *t, struct cs_slice part, struct cs_error *err)
{
	const MDB_val v = val(part);
	int rc;
	GUARDED(rc, look_at(t, &v));
	return rc ? fail(t->db, rc, "read", err) : CS_OK;
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
	meet_writing(t, rc);
	return rc ? fail(t->db, write_error(t->db, rc), "write", err) : CS_OK;
}

int cs_db_reserve(struct cs_txn *t, enum cs_table table, struct cs_slice key, size_t len,
		  void **out, struct cs_error *err)
{
	MDB_val k = val(key), v = { len, NULL };
	int rc;
	GUARDED(rc, put(t, table, &k, &v, MDB_RESERVE));
	meet_writing(t, rc);
	if (rc)
		return fail(t->db, rc, "write", err);
	*out = v.mv_data;
	return CS_OK;
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
	GUARDED(rc, mdb_del(t->txn, t->db->dbi[table], &k, value ? &v : NULL));
	meet_writing(t, rc);
	return rc && rc != MDB_NOTFOUND ? fail(t->db, rc, "write", err) : CS_OK;
}

/* The whole pages a value lies on; the map begins on a page. */
static size_t pages_of(struct cs_slice v, uintptr_t *start)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	*start = (uintptr_t)v.data & ~(page - 1);
	uintptr_t end = ((uintptr_t)v.data + v.len + page - 1) & ~(page - 1);
	return end - *start;
}

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

#define VALUE_MAX ((size_t)64 << 20)
static _Thread_local unsigned seen_poison; /* at the last load */

static int unreadable(struct cs_error *err)
{
	return cs_fail(err, CS_E_IO, "the store's file cannot be read");
}

int cs_db_load(struct cs_slice value, struct cs_error *err)
{
	uintptr_t start;
	size_t n = pages_of(value, &start);
	int rc;
	if (value.len > VALUE_MAX)
		return cs_fail(err, CS_E_CORRUPT, "a value is too long");
	cs_db_cure();
	seen_poison = cs_db_poisoned();
	do
		rc = madvise((void *)start, n, MADV_POPULATE_READ);
	while (rc != 0 && errno == EINTR);
	if (rc != 0 && (errno == EFAULT || errno == EIO || errno == EHWPOISON || errno == ENOMEM))
		return unreadable(err);
	return CS_OK; /* an older kernel: the pages come as they are touched */
}

int cs_db_intact(struct cs_error *err)
{
	return seen_poison == cs_db_poisoned() ? CS_OK : unreadable(err);
}

void cs_db_unload(const struct cs_txn *t, struct cs_slice value)
{
	uintptr_t start;
	if (t->write)
		return;
	size_t n = pages_of(value, &start);
	madvise((void *)start, n, MADV_DONTNEED);
	cs_db_resident_check(t->db); /* the kernel maps pages around those that are touched */
}

int cs_u64_value(struct cs_slice v, uint64_t *out)
{
	if (v.len != sizeof(*out))
		return CS_E_CORRUPT;
	memcpy(out, v.data, sizeof(*out));
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
		return fail(t->db, rc, "read", err);
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

/*
 * Rows ascend, or the tree is damaged: one that leads back to itself would keep
 * whoever follows it for ever.
 */
static int check_order(struct cs_cursor *c, enum cs_seek how, const MDB_val *k, const MDB_val *v)
{
	MDB_dbi dbi = c->txn->db->dbi[c->table];
	bool several = tables[c->table].flags & MDB_DUPSORT;
	MDB_val key = { c->key_len, c->key }, value = { c->value_len, c->value };

	if (k->mv_size > KEY_MAX || (several && v->mv_size > KEY_MAX))
		return MDB_CORRUPTED;
	if (how == CS_SEEK_NEXT && c->stands) {
		int d = mdb_cmp(c->txn->txn, dbi, &key, k);
		if (d > 0 || (d == 0 && (!several || mdb_dcmp(c->txn->txn, dbi, &value, v) >= 0)))
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
	GUARDED(rc, move_cursor(c->txn, c->cursor, &k, &v, ops[how]));
	if (rc == 0)
		GUARDED(rc, check_order(c, how, &k, &v));
	meet(c->txn, rc);
	if (rc == 0)
		GUARDED(rc, look_at(c->txn, &v));
	if (rc == MDB_NOTFOUND)
		return 0;
	if (rc)
		return fail(c->txn->db, rc, "read", err);
	*key = (struct cs_slice){ k.mv_data, k.mv_size };
	*value = (struct cs_slice){ v.mv_data, v.mv_size };
	return 1;
}

int cs_db_rows(struct cs_txn *t, enum cs_table table, uint64_t *out, struct cs_error *err)
{
	MDB_stat m;
	int rc;
	GUARDED(rc, mdb_stat(t->txn, t->db->dbi[table], &m));
	if (rc)
		return fail(t->db, rc, "stat", err);
	*out = m.ms_entries;
	return CS_OK;
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
