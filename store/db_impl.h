/* SPDX-License-Identifier: MIT */
/*
 * db_impl.h - what the db*.c files share, and the only file that includes LMDB.
 *
 * db.c       open, transactions, rows
 * db_guard.c what happens when a page of the map cannot be read
 * db_resident.c  how much of the map is counted as ours
 * db_room.c  room that a full disk cannot take away
 * db_space.c the free pages: counting them, giving them back to the file system
 * db_move.c  values at the end of the file go to free pages in front
 */
#ifndef CS_DB_IMPL_H
#define CS_DB_IMPL_H

#include "db.h"
#include "turn.h"

#include <lmdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <time.h>

struct cs_txn {
	MDB_txn *txn;
	struct cs_db *db;
	bool write;
	struct cs_txn *next;
};

struct cs_db {
	MDB_env *env; /* immutable after open */
	MDB_dbi dbi[CS_TABLES]; /* 0: the store has no such table, which reads as empty */
	char *dir;
	ino_t lock_ino; /* of lock.mdb; 0: unknown */
	_Atomic int failed; /* errno of the first commit that failed: LMDB may refuse all others then */
	struct cs_turn *turn; /* NULL: nobody queues; immutable after open */
	pthread_mutex_t lock;
	struct cs_txn *pool; /* reset read transactions; guarded by lock */
	unsigned pooled;
	void *map; /* NULL: unknown */
	size_t map_len;
	int statm; /* see db_resident.c */
	_Atomic unsigned transactions;
	_Atomic uint64_t reserved; /* end of the blocks set aside, 0: none yet; see db_room.c */
};

/* Nanoseconds since a moment of CLOCK_MONOTONIC. */
uint64_t cs_db_ns_since(const struct timespec *t);

/* The one place where LMDB's codes (and errno) become ours. */
int cs_db_fail(struct cs_db *db, int rc, const char *what, struct cs_error *err);

/* How many of the first `end` pages are free, as a read transaction sees it. LMDB's code. */
int cs_db_free_pages(MDB_txn *txn, uint64_t end, uint64_t *pages);
/* The first of them that LMDB will take, at most max. */
int cs_db_first_free(MDB_txn *txn, uint64_t *list, size_t max, size_t *n);
/* After a commit, which may have used what was set aside: do so anew. */
void cs_db_keep_reserve(struct cs_db *db);

/* See db_resident.c. After open; before close; after a transaction, a value, a row put. */
void cs_db_resident_init(struct cs_db *db);
void cs_db_resident_end(struct cs_db *db);
void cs_db_resident_check(struct cs_db *db);

/* See db_guard.c. Handlers of the process, once; of an environment, before it is opened. */
void cs_db_guard_install(void);
int cs_db_guard_env(MDB_env *env);

enum { CS_MET_SECTOR = 1, CS_MET_PAGE };
extern _Thread_local sigjmp_buf *cs_db_guard;

/*
 * rc = the value of call, EIO if it met a bad sector, MDB_CORRUPTED if it met a
 * bad page. The call must not change local variables: pass it pointers.
 */
#define GUARDED(rc, call)                          \
	do {                                       \
		sigjmp_buf here;                   \
		switch (sigsetjmp(here, 0)) {      \
		case 0:                            \
			cs_db_guard = &here;       \
			atomic_signal_fence(memory_order_seq_cst); \
			(rc) = (call);             \
			break;                     \
		case CS_MET_SECTOR:                \
			(rc) = EIO;                \
			break;                     \
		default:                           \
			(rc) = MDB_CORRUPTED;      \
		}                                  \
		atomic_signal_fence(memory_order_seq_cst); \
		cs_db_guard = NULL;                \
	} while (0)

#endif
