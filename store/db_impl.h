/* SPDX-License-Identifier: MIT */
/*
 * db_impl.h - what the db*.c files share, and the only file that includes LMDB.
 *
 * db.c           the environment: opening and closing it, its tables, its errors
 * db_txn.c       transactions
 * db_rows.c      rows, by key and by cursor; counters
 * db_value.c     the bytes of a value: are they there, can they be read
 * db_meta.c      what can be checked before LMDB opens its file
 * db_guard.c     what happens when a page of the map cannot be read
 * db_order.c     how rows are ordered; a search that does not end
 * db_pages.c     what is in the way of a change: is it right?
 * db_resident.c  how much of the map is counted as ours
 * db_room.c      room that a full disk cannot take away
 * db_free.c      LMDB's list of free pages; statistics
 * db_space.c     free pages are given back to the file system
 * db_move.c      values at the end of the file go to free pages in front
 */
#ifndef CS_DB_IMPL_H
#define CS_DB_IMPL_H

#include "db.h"
#include "turn.h"

#include <errno.h>
#include <lmdb.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdatomic.h>
#include <string.h>
#include <time.h>

struct cs_txn {
	MDB_txn *txn;
	struct cs_db *db;
	bool write;
	bool alone; /* see cs_txn_alone */
	struct cs_range soon;
	bool broken; /* it met damage: what it has done so far may be anything */
	bool fault;  /* in the middle of a change: LMDB's own state may be anything */
	unsigned poisoned; /* cs_db_poisoned() when it began */
	uint64_t end, roots[CS_TABLES]; /* of one that writes: what was there when it began */
	struct cs_txn *next;
};

#define CS_SOUND 4096 /* pages that are known to be sound, at the most */

/* Slots for what is known of a snapshot: see cs_txn_known. */
#define CS_KNOWN 64

struct cs_db {
	MDB_env *env; /* immutable after open */
	MDB_dbi dbi[CS_TABLES]; /* 0: the store has no such table, which reads as empty */
	char *dir;
	ino_t lock_ino; /* of lock.mdb; 0: unknown */
	_Atomic int failed; /* errno of the first commit that failed: LMDB may refuse all others then */
	_Atomic bool stuck; /* a fault left LMDB's writer lock taken */
	struct cs_turn *turn; /* NULL: nobody queues; immutable after open */
	void (*before_read)(void); /* or NULL; immutable after open */
	pthread_mutex_t lock;
	struct cs_txn *pool; /* reset read transactions; guarded by lock */
	unsigned pooled;
	void *map; /* NULL: unknown */
	size_t map_len;
	int statm; /* see db_resident.c */
	_Atomic unsigned transactions;
	_Atomic unsigned looked; /* how often, at first: see db_rows.c */
	_Atomic uint64_t known[CS_KNOWN]; /* hashes of a fact and a snapshot */
	uint64_t sound[CS_SOUND]; /* the writer's: see db_pages.c */
	_Atomic uint64_t reserved; /* end of the blocks set aside, 0: none yet; see db_room.c */
};

/* Nanoseconds since a moment of CLOCK_MONOTONIC. */
uint64_t cs_db_ns_since(const struct timespec *t);

/* The one place where LMDB's codes (and errno) become ours. */
int cs_db_fail(struct cs_db *db, int rc, const char *what, struct cs_error *err);
/* What failed while writing: LMDB calls a short write EIO, and a full disk gives one. */
int cs_db_write_error(struct cs_db *db, int rc);
/* May a key of this table have several values? */
bool cs_db_several(enum cs_table table);
int cs_db_stat_lock(const struct cs_db *db, struct stat *st);

/* See db_txn.c. LMDB's codes. */
int cs_db_begin_read(MDB_env *env, MDB_txn **txn);
int cs_db_begin_write(MDB_env *env, MDB_txn **txn);
/* What a call in the transaction returned: damage, or a fault in the middle of a change? */
void cs_txn_met(struct cs_txn *t, int rc);
void cs_txn_met_writing(struct cs_txn *t, int rc);

/* Far more than the largest bundle, or record. */
#define CS_DB_VALUE_MAX ((size_t)64 << 20)

/*
 * See db_value.c. Under the guard: is this in the map; can its first bytes be
 * read, too? LMDB's codes.
 */
int cs_db_in_map(const struct cs_txn *t, const MDB_val *v);
int cs_db_look_at(const struct cs_txn *t, const MDB_val *v);

/* See db_free.c. What a transaction freed: pages descending. Not aligned to anything. */
struct cs_freed {
	uint64_t id;
	const uint8_t *list; /* borrowed from the transaction that reads it */
	uint64_t n;
};
static inline uint64_t cs_freed_page(const struct cs_freed *f, uint64_t i)
{
	uint64_t page;
	memcpy(&page, f->list + 8 * (i + 1), sizeof(page));
	return page;
}
typedef int cs_freed_fn(void *arg, const struct cs_freed *f);
/*
 * Every record, the oldest first; `each` is called under the guard. Read transactions only: a
 * write transaction changes the list while it works. LMDB's code, or what `each`
 * returns to end it (0 for MDB_NOTFOUND).
 */
int cs_freed_walk(MDB_txn *txn, cs_freed_fn *each, void *arg);
/* How many of a record's pages, in their order, lie on this page or behind it. */
uint64_t cs_freed_from(const struct cs_freed *f, uint64_t page);

/* How many of the first `end` pages are free, as a read transaction sees it. LMDB's code. */
int cs_db_free_pages(MDB_txn *txn, uint64_t end, uint64_t *pages);
/* The first of them that LMDB will take, at most max. */
int cs_db_first_free(MDB_txn *txn, uint64_t *list, size_t max, size_t *n);
/* After a commit, which may have used what was set aside: do so anew. */
void cs_db_keep_reserve(struct cs_db *db);

/* See db_order.c: below 0, 0, above; of bytes and of u64. */
typedef int cs_db_order(const MDB_val *a, const MDB_val *b);
cs_db_order cs_db_by_bytes, cs_db_by_number;
cs_db_order *cs_db_key_order(enum cs_table table);
/* When a table has been opened, before it is used. flags: LMDB's. LMDB's code. */
int cs_db_set_order(MDB_txn *txn, MDB_dbi dbi, unsigned flags);

/* See db_pages.c. LMDB's code. A transaction that writes, when it has begun. */
int cs_db_check_begin(struct cs_txn *t);
/* Before a row is put, or deleted (beside). value: of a table with duplicates; else NULL. */
int cs_db_check_way(struct cs_txn *t, enum cs_table table, const MDB_val *key, const MDB_val *value,
		    bool beside);
/* Of one that reads: have the pages read that are on the way to a key. */
void cs_db_ask_way(struct cs_txn *t, enum cs_table table, const MDB_val *key);
const char *cs_db_table_name(enum cs_table table);

/* See db_resident.c. After open; before close; after a transaction, a value, a row put. */
void cs_db_resident_init(struct cs_db *db);
void cs_db_resident_end(struct cs_db *db);
void cs_db_resident_check(struct cs_db *db);

/* See db_guard.c. Handlers of the process, once; of an environment, before it is opened. */
void cs_db_guard_install(void);
int cs_db_guard_env(MDB_env *env);
/* A write transaction begins, or is over. */
void cs_db_guard_writer(bool begins);
/* A map and its file, from after it was mapped until before it is unmapped. */
void cs_db_guard_map(void *map, size_t len, int fd);
void cs_db_unguard_map(void *map);
/* Pages that were read without a guard and could not be, so far; put them back to what the file has. */
unsigned cs_db_poisoned(void);
void cs_db_cure(void);

enum { CS_MET_SECTOR = 1, CS_MET_PAGE };
extern _Thread_local sigjmp_buf *cs_db_guard;
/* What ended the last guarded call of this thread; 0: it returned. */
extern _Thread_local int cs_db_met;
extern _Thread_local unsigned cs_db_compared; /* keys, in the guarded call of this thread */

/*
 * rc = the value of call, EIO if it met a bad sector, MDB_CORRUPTED if it met a
 * bad page. The call must not change local variables: pass it pointers.
 */
#define GUARDED(rc, call)                          \
	do {                                       \
		sigjmp_buf here, *outer = cs_db_guard; \
		cs_db_met = sigsetjmp(here, 0);    \
		if (!cs_db_met) {                  \
			cs_db_guard = &here;       \
			cs_db_compared = 0;        \
			atomic_signal_fence(memory_order_seq_cst); \
			(rc) = (call);             \
		} else {                           \
			(rc) = cs_db_met == CS_MET_SECTOR ? EIO : MDB_CORRUPTED; \
		}                                  \
		atomic_signal_fence(memory_order_seq_cst); \
		cs_db_guard = outer;               \
	} while (0)

/*
 * fn under the guard, with a cursor on a table as a read transaction sees it, which is closed
 * however that ends. (Those of a write transaction end with it.) LMDB's code, or fn's.
 */
typedef int cs_cursor_fn(void *arg, MDB_cursor *c);
int cs_db_with_cursor(MDB_txn *txn, MDB_dbi dbi, cs_cursor_fn *fn, void *arg);

#endif
