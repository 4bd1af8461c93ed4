/* SPDX-License-Identifier: MIT */
/*
 * verify_impl.h - what the verify*.c files share.
 *
 * verify.c         the order of things, and threads
 * verify_bundles.c every bundle, by all cores, in order
 * verify_bundle.c  one of them: table, index, frame, hashes
 * verify_early.c   those that were looked at before their turn
 * verify_find.c    which files there are that are made of pieces
 * verify_files.c   do the pieces of a file make its content?
 * verify_file.c    one of them, and how much may be read for that
 * verify_large.c   versions of one that is larger than the cache, together
 * verify_rest.c    deltas, and the files that wait for pieces of earlier bundles
 * verify_index.c   rows of the index and of the moved table that lead nowhere
 * verify_refs.c    does a reference lead to a sound chunk?
 * verify_tree.c    one point's directories, sums and digests
 * verify_pages.c   sequences of pages
 * verify_content.c what an entry refers to
 * verify_map.c     what is known of pages
 * verify_points.c  points, their names, the trash
 * verify_due.c     what is to be verified this time, and writing down what was
 * verify_report.c  findings, and what they affect
 */
#ifndef CS_VERIFY_IMPL_H
#define CS_VERIFY_IMPL_H

#include "browse.h"
#include "checked.h"
#include "hash.h"

enum cs_found_id {
	CS_FOUND_BUNDLE_DAMAGED,
	CS_FOUND_CHUNK_DAMAGED,
	CS_FOUND_CHUNK_MISSING,
	CS_FOUND_REFERENCE_WRONG,
	CS_FOUND_INDEX_MISSING,
	CS_FOUND_INDEX_WRONG,
	CS_FOUND_MOVED_DAMAGED,
	CS_FOUND_RECORD_DAMAGED,
	CS_FOUND_TREE_DAMAGED,
	CS_FOUND_TREE_CYCLE,
	CS_FOUND_CONTENT_DAMAGED,
	CS_FOUND_TOTALS_WRONG,
	CS_FOUND_DIGEST_WRONG,
	CS_FOUND_NAME_LOST,
	CS_FOUND_CATALOG_DAMAGED,
	CS_FOUND_TRASH_DAMAGED,
	CS_FOUND_PAGES_DAMAGED,
	CS_FOUND_IDS,
};

/* A finding while verify runs. There is one for each pair of id and key. */
struct cs_found {
	enum cs_found_id id;
	uint64_t key;
	char text[320];
	uint64_t points, paths;
	uint64_t last_point, last_entry; /* counted already */
	char **sample;
	size_t nsample;
	struct cs_found *next, *chain; /* in the order found; of one hash */
};

/* Chunks that cannot be had, for a reason. */
struct cs_flaw {
	cs_chunk from, to;
	struct cs_found *why;
};

/* A delta to be made, or a file's content to be read on, after all bundles. */
struct cs_verify_rest {
	cs_chunk near;  /* the base, or the first piece: what is to be read together */
	cs_chunk delta; /* 0: a file */
	uint32_t file;
};

/* Something that was verified, to be written down. */
struct cs_verify_done {
	uint64_t key; /* checked.h */
	bool damaged, later; /* later: some of its deltas are not looked at yet */
};

/* A bundle that was looked at, on its way through the gate; or a range of them. */
struct cs_verify_passed {
	uint64_t number; /* 0: none */
	struct cs_bundle *bundle; /* NULL: nobody needs it */
	bool early; /* it was looked at before its turn */
	bool damaged, deltas;
};

/* What each row of a map begins with. */
struct cs_verify_key {
	cs_chunk page; /* 0: none */
	uint64_t key;
};

/* Rows by page and key: see verify_map.c. All zero but size: empty. */
struct cs_verify_map {
	size_t size; /* of a row */
	char *rows;
	size_t n, cap;
};

/* A directory that was looked at, by its first page and what was said of it. */
struct cs_verify_known {
	struct cs_verify_key at;
	struct cs_found *why; /* not NULL: something below is damaged */
};

/* A page of a file's pieces, or what is below an index page of them; by its level. */
struct cs_verify_pieces {
	struct cs_verify_key at;
	uint64_t items, bytes, data;
	struct cs_found *why; /* not NULL: there is damage */
};

/* Bundles that were looked at before their turn: a bit for each of a range, by its number + 1. */
struct cs_verify_early {
	struct cs_verify_key at;
	uint64_t there; /* when the first of them was; all: not known */
	uint64_t claimed, seen, damaged, deltas;
	bool told; /* the range is done */
};

/* A slot table, unpacked. */
struct cs_verify_table {
	uint64_t number; /* 0: none */
	bool sound;
	uint8_t kind;
	uint32_t nslots;
	struct cs_verify_slot {
		struct cs_hash hash;
		cs_chunk base;
		uint32_t len;
	} *slots;
};

#define CS_VERIFY_TABLES 128
#define CS_VERIFY_BUCKETS 1024
#define CS_VERIFY_THREADS 64
#define CS_VERIFY_GATE (2 * CS_VERIFY_THREADS)

struct cs_verify_files;
struct cs_verify_large;

struct cs_verify_run {
	struct cs_store *store;
	const struct cs_verify_opts *opts;
	int level;
	unsigned sample;
	int64_t now;
	bool record;
	struct cs_verify_result result; /* guarded by lock while threads run */

	pthread_mutex_t lock;
	pthread_cond_t told;
	/* guarded by lock */
	struct cs_error error; /* the first one that stops all */
	uint64_t next;         /* bundle to look at */
	uint64_t bundles_end;  /* all numbers given out are below */
	uint32_t lost_rows;
	bool lost_before;      /* the last look for a row found it damaged */
	uint64_t due_range;    /* the last range asked about */
	bool due_known;        /* and it is due */
	const uint8_t *asked; /* up to where the disk was asked for bundles */
	bool end, stop;
	pthread_cond_t room;   /* at the gate */
	struct cs_verify_passed gate[CS_VERIFY_GATE], range;
	uint64_t taken, passed, ahead; /* ahead: how many may be taken and not passed */
	bool passing;          /* somebody is at the gate */
	struct cs_verify_map early; /* cs_verify_early */
	unsigned running;
	struct cs_found *first, **last, *bucket[CS_VERIFY_BUCKETS], *first_of[CS_FOUND_IDS];
	struct cs_flaw *flaws; /* sorted when the threads have ended */
	size_t nflaws, flaws_cap;
	struct cs_verify_rest *rest;
	size_t nrest, rest_cap, next_rest;
	struct cs_verify_done *done;
	size_t ndone, done_cap;
	uint64_t indexed; /* chunks that were found in the index */
	uint64_t nbundles; /* for progress */

	struct cs_verify_files *files; /* NULL: not on this level */
	struct cs_verify_large *large; /* while large files are read */

	/* calling thread only */
	struct timespec recorded;
	struct cs_verify_table tables[CS_VERIFY_TABLES];
	struct cs_verify_map known; /* cs_verify_known */
	uint64_t again; /* entries of directories that were walked more than once */
	struct cs_verify_map pieces; /* cs_verify_pieces */
	uint64_t link_steps, link_steps_max; /* levels gone down to hard links, and how many may be */
	/* the point being looked at */
	struct cs_tree *tree;
	uint64_t entry;  /* counts entries, over all points */
	uint64_t damage; /* counts what was said of this point */
	struct cs_found *last_why;
	struct cs_buf path; /* of the directory */
	struct cs_buf line;
	struct cs_hasher *hasher;
};

/* Told now and then. CS_E_INTERRUPTED. Calling thread, without the lock. */
int cs_verify_tick(struct cs_verify_run *v, const char *path, struct cs_error *err) CS_MUST_CHECK;
/* Run fn on all processors until all of them have ended; each ends with cs_verify_ended. */
int cs_verify_on_all_cores(struct cs_verify_run *v, void *(*fn)(void *),
			   struct cs_error *err) CS_MUST_CHECK;
void *cs_verify_ended(struct cs_verify_run *v, int rc, const struct cs_error *err);
/* Out of memory somewhere where it cannot be returned: the run fails. */
void cs_verify_no_memory(struct cs_verify_run *v);

/* The finding of an id and a key, made when it is new. NULL: no memory. Any thread. */
struct cs_found *cs_verify_found(struct cs_verify_run *v, enum cs_found_id id, uint64_t key,
				 const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* It affects the entry being looked at: this name (may be NULL) in v->path, of v->tree. */
void cs_verify_affects(struct cs_verify_run *v, struct cs_found *f, const char *name, size_t len);
/* It affects a whole point, which is called so. */
void cs_verify_affects_point(struct cs_verify_run *v, struct cs_found *f, uint64_t seq,
			     const char *text);
/* Tell all, and free them. */
void cs_verify_tell(struct cs_verify_run *v);

int cs_verify_bundles(struct cs_verify_run *v, struct cs_error *err) CS_MUST_CHECK;
/*
 * Before the bundles: one was decoded, since a file has a piece of it. It is looked at now,
 * so that it need not be decoded again. False: that was done, or is not to be. Any thread.
 */
bool cs_verify_early(struct cs_verify_run *v, uint64_t number, const struct cs_bundle *b);
/* The files that had them looked at are done, and so are ranges of which all were. Any thread. */
void cs_verify_early_done(struct cs_verify_run *v);
/* Was it? With the lock. */
bool cs_verify_is_early(struct cs_verify_run *v, uint64_t number);
/* So many bytes were decoded that had not been. */
void cs_verify_add_raw(struct cs_verify_run *v, uint64_t bytes);
void cs_verify_gate_release(struct cs_verify_run *v);
/* Once the bundles have passed. With the lock, or when no thread runs. False: no memory. */
bool cs_verify_later(struct cs_verify_run *v, const struct cs_verify_rest *r) CS_MUST_CHECK;
int cs_verify_rest(struct cs_verify_run *v, struct cs_error *err) CS_MUST_CHECK;
int cs_verify_index(struct cs_verify_run *v, struct cs_error *err) CS_MUST_CHECK;

/* Before the bundles: look for the files whose content is to be hashed. */
int cs_verify_files_find(struct cs_verify_run *v, struct cs_error *err) CS_MUST_CHECK;
int cs_verify_files_begin(struct cs_verify_run *v, struct cs_error *err) CS_MUST_CHECK;
/* A file made of extents, of a point. */
int cs_verify_files_add(struct cs_verify_run *v, const struct cs_entry *e, uint64_t seq,
			struct cs_error *err) CS_MUST_CHECK;
/* Now all others wait for bundles. */
int cs_verify_files_ready(struct cs_verify_run *v, struct cs_error *err) CS_MUST_CHECK;
/* Before the bundles: those that are larger than the cache and do not go along with them. */
int cs_verify_large(struct cs_verify_run *v, struct cs_error *err) CS_MUST_CHECK;
/* Does any wait for a bundle? Any thread. */
bool cs_verify_files_waiting(const struct cs_verify_run *v);
/*
 * A decoded bundle, in the order of the numbers, by one thread at a time. NULL: it was
 * looked at early, and is decoded again if somebody waits for it.
 */
void cs_verify_files_meet(struct cs_verify_run *v, uint64_t number, const struct cs_bundle *b);
/* After the bundles: those that need what has passed are to be read later, as far as that is worth it. */
int cs_verify_files_later(struct cs_verify_run *v, struct cs_error *err) CS_MUST_CHECK;
/* Was as much decoded again as may be? Any thread. */
bool cs_verify_files_spent(const struct cs_verify_run *v);
/* One of them. Any thread. Fails only when memory is lacking. */
int cs_verify_file_read(struct cs_verify_run *v, uint32_t file, struct cs_error *err) CS_MUST_CHECK;
/* All were read that will be. */
void cs_verify_files_judge(struct cs_verify_run *v);
/* Is the content of an entry known not to be that of its hash? unread: it could not be read. */
bool cs_verify_file_is_wrong(const struct cs_verify_run *v, const struct cs_entry *e, bool *unread);
/* Is a file wrong for which this point was looked into? */
bool cs_verify_files_of(const struct cs_verify_run *v, uint64_t seq);
void cs_verify_files_release(struct cs_verify_run *v);

/* Chunks that cannot be had; why may be NULL, which was told. Any thread, without the lock. */
void cs_verify_flaw(struct cs_verify_run *v, cs_chunk from, cs_chunk to, struct cs_found *why);
/* In order, and without those that lie in another, so that they can be searched. */
void cs_verify_flaws_sort(struct cs_verify_run *v);
/* No particular length. */
#define CS_ANY_LENGTH UINT64_MAX
/*
 * Does a reference lead to a chunk of this kind and length that can be had? If
 * not *why says so. hash: of the chunk; may be NULL.
 */
bool cs_verify_ref(struct cs_verify_run *v, cs_chunk chunk, int kind, uint64_t len,
		   struct cs_hash *hash, struct cs_found **why);
/* The slot table of a bundle; NULL: there is no such bundle. */
const struct cs_verify_table *cs_verify_table(struct cs_verify_run *v, uint64_t number);
void cs_verify_tables_release(struct cs_verify_run *v);

/* All of the point that is open as v->tree. Fails only when verify itself cannot go on. */
int cs_verify_tree(struct cs_verify_run *v, struct cs_error *err) CS_MUST_CHECK;

/* The row, borrowed until the next one is added; NULL: there is none. */
void *cs_verify_map_find(const struct cs_verify_map *m, cs_chunk page, uint64_t key);
/* The row, made if need be; NULL: out of memory. Page is not 0. */
void *cs_verify_map_add(struct cs_verify_map *m, cs_chunk page, uint64_t key);
void cs_verify_map_release(struct cs_verify_map *m);

int cs_verify_points(struct cs_verify_run *v, struct cs_error *err) CS_MUST_CHECK;
/* The number of the first point record at or after from, damaged ones too: 1, 0 or negative. */
int cs_verify_next_point(struct cs_verify_run *v, uint64_t from, uint64_t *seq,
			 struct cs_error *err) CS_MUST_CHECK;
/* Removed, or to be: its damage is nobody's loss. */
bool cs_verify_point_is_gone(struct cs_verify_run *v, uint64_t seq);

/* Is this to be verified now? key: as in checked.h. */
bool cs_verify_due(struct cs_verify_run *v, struct cs_txn *t, uint64_t key);
/* It was. With the lock, or when no thread runs. */
void cs_verify_is_done(struct cs_verify_run *v, uint64_t key, bool damaged, bool later);
/* Write down what was verified, if it is time to; or at last. Calling thread, without the lock. */
void cs_verify_record(struct cs_verify_run *v, bool at_last);

#endif
