/* SPDX-License-Identifier: MIT */
/*
 * db.h - LMDB, behind a fence.
 *
 * Rules inherited from LMDB and kept here: one environment per process and
 * file (a second open in one process would break its locks); a write
 * transaction belongs to one thread; a read transaction pins freed pages and
 * so must be short; values point into the map and are 2-byte aligned at the
 * most, and die with their transaction.
 *
 * Durability: every commit is fully synchronous. The map is set far above the
 * data once, so there is no resizing.
 */
#ifndef CS_DB_H
#define CS_DB_H

#include "err.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

enum cs_table {
	CS_T_META,
	CS_T_BUNDLES,
	CS_T_INDEX,
	CS_T_MOVED,
	CS_T_POINTS,
	CS_T_SERIES,
	CS_T_SERIES_IDS,
	CS_T_CATALOG,
	CS_T_IDS,
	CS_T_TRASH,
	CS_T_CHECKED,
	CS_TABLES,
};

struct cs_slice {
	const void *data;
	size_t len;
};

struct cs_db;
struct cs_txn;

enum cs_db_flags {
	CS_DB_READ = 0,
	CS_DB_WRITE = 1,
	CS_DB_CREATE = 3, /* make the files and tables */
};

/*
 * dir holds data.mdb and lock.mdb. Errors name it. A table that is younger than
 * the store is made when it is opened for writing; until then it reads as empty.
 */
int cs_db_open(const char *dir, int flags, struct cs_db **out, struct cs_error *err) CS_MUST_CHECK;
void cs_db_close(struct cs_db *db);
/* Before that, in a directory: is its data.mdb a file that LMDB can be trusted with? See db_meta.c. */
int cs_db_check_file(int dir, const char *name, struct cs_error *err) CS_MUST_CHECK;
/* Before writing: write transactions queue with it. Borrowed until close. */
struct cs_turn;
void cs_db_take_turns(struct cs_db *db, struct cs_turn *turn);
/* Before reading: called at the begin of each read transaction, by its thread; or NULL. */
void cs_db_before_read(struct cs_db *db, void (*fn)(void));

/*
 * A read transaction: a snapshot of now, valid until cs_txn_end. Cheap: a
 * reader slot is kept and renewed. Any thread may use it, one at a time.
 */
int cs_txn_read(struct cs_db *db, struct cs_txn **out, struct cs_error *err) CS_MUST_CHECK;
/*
 * The write transaction; waits for other writers of any process. With turns,
 * CS_E_INTERRUPTED may end that.
 */
int cs_txn_write(struct cs_db *db, struct cs_txn **out, struct cs_error *err) CS_MUST_CHECK;
/* The same, with CS_E_BUSY when others write for longer than ms. */
int cs_txn_write_within(struct cs_db *db, int64_t ms, struct cs_txn **out,
			struct cs_error *err) CS_MUST_CHECK;
/* Durable when it returns CS_OK; nothing happened otherwise. The transaction is gone either way. */
int cs_txn_commit(struct cs_txn *t, struct cs_error *err) CS_MUST_CHECK;
/*
 * For a write transaction that adds `bytes` of values, before it does: CS_E_FULL
 * if what would be left of the disk is too little to forget and gc with.
 */
int cs_txn_leave_room(struct cs_txn *t, uint64_t bytes, struct cs_error *err) CS_MUST_CHECK;
/* End a read transaction, or abandon a write. NULL is fine. */
void cs_txn_end(struct cs_txn *t);

/*
 * What was found to be so in a transaction's snapshot stays so: note it, and it
 * is known until the next commit, or until it is crowded out. Not for writers.
 */
bool cs_txn_known(const struct cs_txn *t, uint64_t fact);
void cs_txn_note(struct cs_txn *t, uint64_t fact);
/* Grows with each commit. */
uint64_t cs_txn_number(const struct cs_txn *t);

/*
 * Values are borrowed until the transaction ends (in a write transaction:
 * until the next write). 1: found, 0: not there, negative: error. Their first
 * CS_DB_TOUCHED bytes can be read safely; for more see cs_db_load.
 */
#define CS_DB_TOUCHED ((size_t)16 << 10)
int cs_db_get(struct cs_txn *t, enum cs_table table, struct cs_slice key, struct cs_slice *out,
	      struct cs_error *err) CS_MUST_CHECK;
int cs_db_put(struct cs_txn *t, enum cs_table table, struct cs_slice key, struct cs_slice value,
	      struct cs_error *err) CS_MUST_CHECK;
/* As put, but the caller fills *out (of len bytes) before its next call on t. */
int cs_db_reserve(struct cs_txn *t, enum cs_table table, struct cs_slice key, size_t len,
		  void **out, struct cs_error *err) CS_MUST_CHECK;
/* Absent keys are no error. value: for tables with duplicates, the one to delete; else NULL. */
int cs_db_del(struct cs_txn *t, enum cs_table table, struct cs_slice key,
	      const struct cs_slice *value, struct cs_error *err) CS_MUST_CHECK;

/*
 * The first row with a key >= *key: 1, and *key is its own; 0: there is none. Of the value nothing
 * is read: before that, cs_db_touch or cs_db_load the part of it that is needed.
 */
int cs_db_find(struct cs_txn *t, enum cs_table table, struct cs_slice *key, struct cs_slice *value,
	       struct cs_error *err) CS_MUST_CHECK;
/* Then the first CS_DB_TOUCHED bytes of it can be read safely. CS_E_IO when the disk cannot. */
int cs_db_touch(struct cs_txn *t, struct cs_slice part, struct cs_error *err) CS_MUST_CHECK;
/*
 * Bring a value's bytes into memory with one large read instead of a page fault
 * each. CS_E_IO when the disk cannot give them: to touch them would be SIGBUS.
 */
int cs_db_load(struct cs_slice value, struct cs_error *err) CS_MUST_CHECK;
/*
 * Where a page of the map is missing the kernel reads much around it, which serves who goes on
 * from there. Not who reads here and there: in a read transaction that stands alone only the
 * pages on the way to a row (cs_db_find) and those that are touched are read, and the parts
 * of its value that are asked for before they are loaded. soon: bytes of what is touched
 * (cs_db_touch) that will be loaded next, as far as they are known; asked for at once.
 */
struct cs_range {
	uint64_t off, len; /* len 0: not known */
};
void cs_txn_alone(struct cs_txn *t, struct cs_range soon);
void cs_db_ask(struct cs_slice part);
/* After reading a value that was loaded: was it all from the file? CS_E_IO: it may be zeros. */
int cs_db_intact(struct cs_error *err) CS_MUST_CHECK;
/*
 * The value is not needed any more: stop counting its pages as this process's
 * memory. Nothing in a write transaction, where it may lie in LMDB's own memory.
 */
void cs_db_unload(const struct cs_txn *t, struct cs_slice value);

/*
 * Go through all of LMDB's own pages, the free ones as well: is each what it says, and
 * nobody else's? It keeps a snapshot meanwhile, and takes one bit of memory a page.
 */
int cs_db_check_pages(struct cs_db *db, bool *good, struct cs_error *err) CS_MUST_CHECK;

/* How many rows a table has. */
int cs_db_rows(struct cs_txn *t, enum cs_table table, uint64_t *out,
	       struct cs_error *err) CS_MUST_CHECK;

/* Integer keys and values (CS_T_MOVED, _POINTS, _SERIES_IDS, _CHECKED). */
static inline struct cs_slice cs_u64_key(const uint64_t *v)
{
	return (struct cs_slice){ v, sizeof(*v) };
}
/* A stored integer; CS_E_CORRUPT if the value has another size. */
int cs_u64_value(struct cs_slice v, uint64_t *out) CS_MUST_CHECK;

/* A cursor over one table. NULL-safe close, before the transaction ends. */
struct cs_cursor;
enum cs_seek {
	CS_SEEK_FIRST,
	CS_SEEK_GE,    /* first key >= *key */
	CS_SEEK_NEXT,
	CS_SEEK_PREV,
	CS_SEEK_LAST,
	CS_SEEK_DUP_GE,   /* this key, its first value >= *value */
};
int cs_cursor_open(struct cs_txn *t, enum cs_table table, struct cs_cursor **out,
		   struct cs_error *err) CS_MUST_CHECK;
void cs_cursor_close(struct cs_cursor *c);
/* 1: *key and *value are set; 0: no such item. */
int cs_cursor_move(struct cs_cursor *c, enum cs_seek how, struct cs_slice *key,
		   struct cs_slice *value, struct cs_error *err) CS_MUST_CHECK;

/* Counters of the meta table. */
int cs_db_counter_get(struct cs_txn *t, const char *name, uint64_t *out,
		      struct cs_error *err) CS_MUST_CHECK;
int cs_db_counter_set(struct cs_txn *t, const char *name, uint64_t v,
		      struct cs_error *err) CS_MUST_CHECK;

struct cs_db_stats {
	uint64_t rows[CS_TABLES];
	uint64_t file_bytes, disk_bytes, free_bytes;
};
int cs_db_stats(struct cs_db *db, struct cs_db_stats *out, struct cs_error *err) CS_MUST_CHECK;

/*
 * Give pages that are free, and that nobody can need any more, back to the file
 * system by making holes in data.mdb. One call is one bounded step, in which
 * the writer lock is held: call again, with the same *p, until p->done; zero *p
 * before the first. A read-only store cannot: CS_E_ACCESS.
 */
struct cs_punch_opts {
	unsigned step_ms;  /* hold the writer lock for about that long; 0: 100 */
	uint64_t max_calls; /* punch at most that often in a step; 0: no limit */
	bool keep_nothing; /* else a little stays allocated, so that a full disk can still be cleared */
	bool cut;          /* shorten the file too when its end is free */
};
struct cs_punch {
	uint64_t next_page; /* where the next step goes on */
	bool done;
	bool unsupported;     /* this file system cannot; that is no error */
	uint64_t given_bytes; /* that the file takes less on disk now */
	uint64_t calls, steps;
	uint64_t longest_ns; /* that the writer lock was held in one step */
	/* as the last step found it */
	uint64_t free_bytes; /* in LMDB's list */
	uint64_t late_bytes; /* of them, freed by the last transaction: another must follow first */
	uint64_t held_bytes; /* of them, in the snapshot of a reader that is still open */
	uint64_t kept_bytes; /* of them, kept allocated */
	uint64_t used_pages; /* not in that list */
	uint64_t end_page;   /* with cut, and done: where the file ends now, or could */
};
int cs_db_punch(struct cs_db *db, const struct cs_punch_opts *opts, struct cs_punch *p,
		struct cs_error *err) CS_MUST_CHECK;

/*
 * Move what lies at the end of data.mdb to free pages further in front: one
 * call is one transaction of about step_bytes, with the same rows after it as
 * before. Call again until m->done; zero *m before the first.
 */
struct cs_move_opts {
	uint64_t floor; /* what lies on this page or behind it is to be moved */
	uint64_t limit; /* and not to this page or behind it */
	size_t step_bytes; /* 0: 8 MiB */
	bool stir; /* also write a row here and there, for the pages above those of rows */
};
struct cs_move {
	bool done;
	uint64_t moved_bytes;
	uint64_t stuck, refused; /* values for which there was no room before the floor, the limit */
	uint64_t unreadable; /* values that the disk cannot give; they stay where they are */
	uint64_t longest_ns; /* that the writer lock was held in one step */
	/* where the next step goes on */
	int table;
	size_t key_len, value_len; /* the value: in tables that have several a key */
	uint8_t key[512] __attribute__((aligned(8)));
	uint8_t value[512] __attribute__((aligned(8)));
};
int cs_db_move(struct cs_db *db, const struct cs_move_opts *opts, struct cs_move *m,
	       struct cs_error *err) CS_MUST_CHECK;
/* The same for LMDB's list of free pages, unless it is too long to do that in a moment. */
int cs_db_gather(struct cs_db *db, uint64_t floor, struct cs_error *err) CS_MUST_CHECK;

#endif
