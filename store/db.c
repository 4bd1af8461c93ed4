/* SPDX-License-Identifier: MIT */
/*
 * db.c - the environment: how LMDB is opened and closed, its tables, and what its
 * codes mean here.
 *
 * Decision: the map is set far above the data once, so that nobody ever has to
 * resize it while others use it.
 */
#include "db_impl.h"

#include "alloc.h"
#include "format.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

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

const char *cs_db_table_name(enum cs_table table)
{
	return tables[table].name;
}

cs_db_order *cs_db_key_order(enum cs_table table)
{
	return tables[table].flags & MDB_INTEGERKEY ? cs_db_by_number : cs_db_by_bytes;
}

bool cs_db_several(enum cs_table table)
{
	return tables[table].flags & MDB_DUPSORT;
}

/* ---- errors */

/* LMDB calls a short write EIO, and a full disk gives one. */
static bool disk_is_full(struct cs_db *db)
{
	struct statvfs v;
	return statvfs(db->dir, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < 1u << 20;
}

int cs_db_write_error(struct cs_db *db, int rc)
{
	return rc == EIO && disk_is_full(db) ? ENOSPC : rc;
}

int cs_db_fail(struct cs_db *db, int rc, const char *what, struct cs_error *err)
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

/* ---- opening */

static int commit_open(MDB_txn *txn)
{
	int rc;
	GUARDED(rc, mdb_txn_commit(txn));
	return rc;
}

static int open_table(MDB_txn *txn, enum cs_table table, bool create, MDB_dbi *dbi)
{
	unsigned flags = tables[table].flags;
	int rc = mdb_dbi_open(txn, tables[table].name, create ? flags | MDB_CREATE : 0, dbi);
	return rc ? rc : cs_db_set_order(txn, *dbi, flags);
}

static int open_table_of_tables(MDB_txn *txn)
{
	MDB_dbi dbi;
	int rc = mdb_dbi_open(txn, NULL, 0, &dbi);
	return rc ? rc : cs_db_set_order(txn, dbi, 0);
}

/* Open the tables that are not open yet, all or none. *missing: a younger one is not there. */
static int open_missing(struct cs_db *db, bool create, bool *missing)
{
	MDB_txn *txn;
	MDB_dbi before[CS_TABLES];
	memcpy(before, db->dbi, sizeof(before));
	int rc = create ? cs_db_begin_write(db->env, &txn) : cs_db_begin_read(db->env, &txn);
	if (rc)
		return rc;
	*missing = false;
	struct cs_txn probe = { .txn = txn, .db = db, .write = true };
	GUARDED(rc, open_table_of_tables(txn));
	if (create && rc == 0)
		GUARDED(rc, cs_db_check_begin(&probe));
	for (volatile int i = 0; i < CS_TABLES && rc == 0; i++) {
		if (db->dbi[i])
			continue;
		GUARDED(rc, open_table(txn, (enum cs_table)i, create, &db->dbi[i]));
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
		cs_db_resident_init(db); /* what is changed is looked at before */
		rc = cs_db_write_error(db, open_missing(db, true, &missing));
		if (rc == ENOSPC)
			rc = 0;
	}
	return rc ? cs_db_fail(db, rc, "open", err) : CS_OK;
}

/* A limit on address space (ulimit -v; valgrind: EINVAL) makes a large map fail: try smaller ones. */
static int open_env(struct cs_db *db, int flags)
{
	int rc = ENOMEM;
	for (uint64_t size = MAP_SIZE_TOP;
	     size >= MAP_SIZE_BOTTOM && (rc == ENOMEM || rc == EINVAL); size /= 2) {
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
			return cs_db_fail(db, rc, "cannot open", err);
		rc = open_tables(db, flags, &why);
		if (rc == CS_OK || why.sys_errno != EINVAL)
			break;
		cs_db_resident_end(db);
		mdb_env_close(db->env);
		db->env = NULL;
		nanosleep(&(struct timespec){ 0, 1000000L * (1 + i % 7) }, NULL);
	}
	if (rc != CS_OK && err)
		*err = why;
	return rc;
}

int cs_db_stat_lock(const struct cs_db *db, struct stat *st)
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
	if (cs_db_stat_lock(db, &st) == 0)
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

void cs_db_before_read(struct cs_db *db, void (*fn)(void))
{
	db->before_read = fn;
}

void cs_db_take_turns(struct cs_db *db, struct cs_turn *turn)
{
	db->turn = turn;
}
