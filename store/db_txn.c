/* SPDX-License-Identifier: MIT */
/*
 * db_txn.c - transactions: beginning, ending, and what damage leaves of them.
 *
 * Read transactions are reset and kept, so that the next begins without a new
 * place in LMDB's table of readers. A write transaction that met damage is never
 * committed; one that a fault ended in the middle of a change is not undone
 * either, since that would work on memory that may be anything: the process
 * writes no more, and what was on the disk before is what is there.
 */
#include "db_impl.h"

#include "alloc.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define POOL_MAX 64

/*
 * A place in LMDB's table of readers. Processes that were killed leave theirs
 * taken until somebody looks, and that has to be the one who finds none free.
 */
int cs_db_begin_read(MDB_env *env, MDB_txn **txn)
{
	int dead, rc;
	GUARDED(rc, mdb_txn_begin(env, NULL, MDB_RDONLY, txn));
	if (rc == MDB_READERS_FULL && mdb_reader_check(env, &dead) == 0 && dead > 0)
		GUARDED(rc, mdb_txn_begin(env, NULL, MDB_RDONLY, txn));
	return rc;
}

int cs_db_begin_write(MDB_env *env, MDB_txn **txn)
{
	int rc;
	GUARDED(rc, mdb_txn_begin(env, NULL, 0, txn));
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

/*
 * Who removes lock.mdb while it is in use parts those who have it open from
 * those who come later: neither knows what the other writes. The one who notices
 * does not write any more. (Where it cannot be looked at, it is not noticed.)
 */
static int check_lock(const struct cs_db *db, struct cs_error *err)
{
	struct stat st;
	if (!db->lock_ino ||
	    (cs_db_stat_lock(db, &st) != 0 ? errno != ENOENT : st.st_ino == db->lock_ino))
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
	if (db->before_read)
		db->before_read();
	int rc = check_metas(db);
	if (rc)
		return cs_db_fail(db, rc, "read", err);
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
		rc = cs_db_begin_read(db->env, &t->txn);
	}
	if (rc) {
		free(t);
		return cs_db_fail(db, rc, "read", err);
	}
	t->alone = false;
	*out = t;
	return CS_OK;
}

void cs_txn_alone(struct cs_txn *t, struct cs_range soon)
{
	t->alone = !t->write;
	t->soon = soon;
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
		return cs_db_fail(db, rc, "write", err);
	}
	rc = cs_db_begin_write(db->env, &t->txn);
	if (rc) {
		over(db);
		free(t);
		return cs_db_fail(db, rc, "write", err);
	}
	t->poisoned = cs_db_poisoned();
	cs_db_guard_writer(true);
	GUARDED(rc, cs_db_check_begin(t));
	if (rc) {
		rc = cs_db_fail(db, rc, "write", err); /* which asks what ended the last call */
		cs_txn_end(t);
		return rc;
	}
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

void cs_txn_met(struct cs_txn *t, int rc)
{
	t->broken |= rc == EIO || rc == MDB_CORRUPTED || rc == MDB_PAGE_NOTFOUND;
}

void cs_txn_met_writing(struct cs_txn *t, int rc)
{
	cs_txn_met(t, rc);
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
	cs_db_guard_writer(false);
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
	rc = cs_db_write_error(db, rc);
	if (rc > 0 && !db->failed)
		db->failed = rc;
	if (fault)
		db->stuck = true;
	else
		write_is_over(db);
	return cs_db_fail(db, rc, "commit", err);
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
		cs_db_guard_writer(false);
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
