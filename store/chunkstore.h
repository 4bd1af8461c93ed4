/* SPDX-License-Identifier: MIT */
/*
 * chunkstore.h - the library's public face, and the only header of store/ that
 * programs include.
 *
 * A store is opened once per process and shared by its threads: every function
 * here may be called from any thread unless it says otherwise. Open it after
 * daemonising, never across fork. Strings and numbers come out by value;
 * pointers are borrowed until the object named in the comment is released.
 * Functions return 0 or a negative enum cs_code and fill *err (may be NULL);
 * outputs are untouched on failure. Closing functions accept NULL.
 */
#ifndef CHUNKSTORE_H
#define CHUNKSTORE_H

#include "entry.h"
#include "err.h"
#include "text.h"

#include <sys/uio.h>

#define CS_VERSION "0.1"
#define CS_DEFAULT_STORE "/var/lib/chunkstore"

/* ------------------------------------------------------------------ store */

struct cs_store;

struct cs_init_opts {
	unsigned hash_bits; /* for tests: bits of the content hash that are kept, 1..128; 0: 128 */
	const uint64_t *trash_seconds; /* see cs_store_trash_keep; NULL: 7 days */
	bool share;	    /* let the members of group read the store */
	gid_t group;	    /* with share */
};

/*
 * Make an empty store at path: a directory that does not exist or is empty.
 * Its mode is 0700 and its files' 0600 whatever the umask; shared, they are
 * 02750, and 0640 or (lock.mdb) 0660. Nothing is left behind on failure.
 */
int cs_store_init(const char *path, const struct cs_init_opts *opts,
		  struct cs_error *err) CS_MUST_CHECK;

enum cs_open_flags {
	CS_OPEN_READ = 0,
	CS_OPEN_WRITE = 1, /* fails with CS_E_READONLY on read-only media */
};

struct cs_open_opts {
	int flags;          /* enum cs_open_flags */
	size_t cache_bytes; /* bound of decoded chunks and tree pages kept; 0: 64 MiB */
	/*
	 * Called now and then, by any thread, while another process writes and this
	 * one waits for it, ms so far. Nonzero: give up, with CS_E_INTERRUPTED. NULL: wait.
	 */
	int (*waiting)(void *arg, unsigned ms);
	void *arg;
	/*
	 * Called by a thread that is about to read the store's file, or to wait for one
	 * that does: from here on it may take long. May not call back. NULL: nothing.
	 */
	void (*before_disk)(void);
};

/*
 * Open an existing store. CS_E_NOTFOUND: no such path, or not a store (the
 * text says which). CS_E_VERSION: written by a newer version. A store on
 * read-only media opens with CS_OPEN_READ. Any number of processes may have
 * one open and do anything with it at the same time; the second gc alone is
 * sent away.
 */
int cs_store_open(const char *path, const struct cs_open_opts *opts,
		  struct cs_store **out, struct cs_error *err) CS_MUST_CHECK;
void cs_store_close(struct cs_store *s);

/*
 * Before it is opened without the privileges to: the modes of a shared store's lock
 * files, as its owner or root opening it would set them. It need not succeed.
 */
void cs_store_mend(const char *path);

/* The path given to cs_store_open. Borrowed until close. */
const char *cs_store_path(const struct cs_store *s);

struct cs_store_stats {
	char id[33];           /* the store's id, hex */
	uint64_t points, series; /* listed, not in the trash */
	uint64_t trash_points;
	uint64_t trash_seconds; /* see cs_store_trash_keep */
	uint64_t bundles;      /* bundles stored, data and metadata together */
	uint64_t chunks;       /* chunks in them */
	uint64_t deltas;       /* of which stored as the difference to another */
	uint64_t delta_bytes, delta_stored_bytes; /* of these, before and after */
	uint64_t raw_bytes;    /* their size before compression */
	uint64_t stored_bytes; /* and after */
	uint64_t meta_stored_bytes; /* of which tree pages and the like */
	uint64_t logical_bytes; /* sum of the sizes of all points' files */
	uint64_t index_rows;
	uint64_t moved_rows;
	uint64_t file_bytes;   /* size of data.mdb */
	uint64_t disk_bytes;   /* blocks it occupies */
	uint64_t free_bytes;   /* of file_bytes: pages free for reuse */
	/* the data, as verify wrote down, by ranges of 64 bundle numbers */
	uint64_t ranges, ranges_never, ranges_damaged; /* never: not verified yet */
	int64_t verified;      /* seconds: of the others all since then; 0: there are none */
};

/* Totals of the store. Reads every bundle's header: some milliseconds a GB. */
int cs_store_stats(struct cs_store *s, struct cs_store_stats *out,
		   struct cs_error *err) CS_MUST_CHECK;

/* What this process keeps decoded, and how often that helped. */
struct cs_store_caches {
	size_t limit, bundle_bytes, page_bytes;
	uint64_t bundle_hits, bundle_misses, page_hits, page_misses;
};
void cs_store_caches(struct cs_store *s, struct cs_store_caches *out);

/*
 * A number that grows with every change of the set of points (a point stored,
 * forgotten or brought back). Cheap; needs no lease.
 */
int cs_store_generation(struct cs_store *s, uint64_t *out, struct cs_error *err) CS_MUST_CHECK;

/*
 * Tell committers that this process has noticed every change up to generation.
 * A committer (backup, forget, undelete) waits a bounded moment for all announced
 * processes, so that a mount's view has changed when the command returns.
 * One announcement per store handle; each call replaces the one before.
 */
int cs_store_announce(struct cs_store *s, uint64_t generation, struct cs_error *err) CS_MUST_CHECK;

/* ----------------------------------------------------------------- points */

struct cs_series {
	uint32_t id; /* never reused */
	char name[CS_SERIES_MAX + 1];
	struct cs_time changed; /* last time a point came or went; strictly grows */
	uint64_t points;
};

struct cs_point {
	uint64_t seq;       /* never reused; 1.. */
	uint32_t series_id;
	char series[CS_SERIES_MAX + 1];
	char name[CS_POINT_NAME_MAX + 1]; /* 2026-11-22T06-39-05Z: UTC, sorts by time */
	char id[33];        /* 32 hex digits; a unique prefix names the point */
	struct cs_time started, received; /* when the backup began; when it was committed */
	uint64_t parent;    /* seq of the point it was compared with, 0: none */
	int consistency;    /* enum cs_consistency */
	char host[CS_HOST_MAX + 1];
	char source[4096];  /* what was backed up, as given, one path a line; control characters escaped */
	unsigned ntags;
	char tags[CS_TAGS_MAX][CS_TAG_MAX + 1];
	struct cs_hash digest;   /* of the whole tree */
	struct cs_totals totals; /* the root included */
	uint64_t added_raw, added_stored; /* new chunks of this point, before and after compression */
	uint64_t unreadable; /* source entries that could not be read */
	uint64_t changed;    /* source files that changed while they were read */
	/* as verify wrote down; filled in by cs_point_verified alone */
	int64_t verified[3]; /* seconds when it was verified last, by level less 1; 0: never */
	bool damaged;        /* then it was not sound */
};

/* When the point was verified last, and whether it was sound, into *p. */
int cs_point_verified(struct cs_store *s, struct cs_point *p, struct cs_error *err) CS_MUST_CHECK;

typedef int cs_series_fn(void *arg, const struct cs_series *s);
typedef int cs_point_fn(void *arg, const struct cs_point *p);

/* Call fn for each series in name order; a nonzero return of fn stops and is returned. */
int cs_series_list(struct cs_store *s, cs_series_fn *fn, void *arg,
		   struct cs_error *err) CS_MUST_CHECK;
/* One series by name, or by id when name is NULL. CS_E_NOTFOUND. */
int cs_series_get(struct cs_store *s, const char *name, uint32_t id,
		  struct cs_series *out, struct cs_error *err) CS_MUST_CHECK;
/*
 * Call fn for each point of a series (NULL: of all series, series by series)
 * in name order, which is time order, from the first name > after (NULL or "":
 * from the start). A point whose record is damaged is left out, and
 * CS_E_CORRUPT returned when all others were given; err tells of the first such
 * point, also if fn stops before that.
 */
int cs_points_list(struct cs_store *s, const char *series, const char *after,
		   cs_point_fn *fn, void *arg, struct cs_error *err) CS_MUST_CHECK;
/* One point: by seq, or by series name and point name ("latest" is the newest). CS_E_NOTFOUND. */
int cs_point_by_seq(struct cs_store *s, uint64_t seq, struct cs_point *out,
		    struct cs_error *err) CS_MUST_CHECK;
int cs_point_by_name(struct cs_store *s, const char *series, const char *name,
		     struct cs_point *out, struct cs_error *err) CS_MUST_CHECK;
/*
 * One point as a user names it: SERIES/NAME, SERIES/latest, SERIES (the
 * newest), or a unique prefix (4 digits or more) of its id.
 */
int cs_point_find(struct cs_store *s, const char *selector, struct cs_point *out,
		  struct cs_error *err) CS_MUST_CHECK;
/*
 * The newest point of a series that was begun at that second or before, by the
 * points' names. CS_E_NOTFOUND.
 */
int cs_point_at(struct cs_store *s, const char *series, struct cs_time at, struct cs_point *out,
		struct cs_error *err) CS_MUST_CHECK;

/* ------------------------------------------------------------------ trash */

/*
 * A forgotten point is in the trash: no list and no name leads to it, and it
 * cannot be opened, but nothing of it is freed, until gc finds that its time
 * there is over. It comes back exactly as it was. A purged point is gone for
 * everybody; gc removes it when nobody holds it any more.
 */

/* What became of one point of many. */
enum cs_fate {
	CS_FATE_DONE,
	CS_FATE_ABSENT, /* somebody else was faster: it is not where it was looked for */
	CS_FATE_KEPT,   /* it is the last one of its series: see keep_last */
};
/* The i-th point: told when its change is durable. until: CS_FATE_DONE of a forgotten point, the
 * second from which on gc purges it; 0: at once. */
typedef void cs_fate_fn(void *arg, size_t i, int fate, int64_t until);

struct cs_forget_opts {
	bool purge;     /* for good: gc removes them when nobody reads them; also out of the trash */
	bool keep_last; /* leave the last listed point of a series where it is */
	cs_fate_fn *told; /* may be NULL */
	int (*stopped)(void *arg); /* asked before each transaction; nonzero: stop with CS_E_INTERRUPTED */
	void *arg;      /* for both */
};

/*
 * Forget points, by seq, in their order. They change in transactions of a
 * bounded number each: what was told is done when this fails. Needs
 * CS_OPEN_WRITE.
 */
int cs_points_forget(struct cs_store *s, const uint64_t *seqs, size_t n,
		     const struct cs_forget_opts *opts, struct cs_error *err) CS_MUST_CHECK;
/* Bring points back from the trash: the same names, ids and trees. In opts purge and keep_last mean
 * nothing. CS_E_EXISTS: a name is taken (by an older version that knew of no trash). */
int cs_points_undelete(struct cs_store *s, const uint64_t *seqs, size_t n,
		       const struct cs_forget_opts *opts, struct cs_error *err) CS_MUST_CHECK;
/*
 * Give a point up for good, wherever it is and though its record cannot be
 * read. CS_E_BUSY: that is so, and somebody uses it.
 */
int cs_point_give_up(struct cs_store *s, uint64_t seq, struct cs_error *err) CS_MUST_CHECK;

/* A point in the trash, and the second from which on gc purges it; 0: at once. */
typedef int cs_trash_fn(void *arg, const struct cs_point *p, int64_t until);
/* Call fn for each point in the trash, as cs_points_list does for the others. */
int cs_trash_list(struct cs_store *s, const char *series, cs_trash_fn *fn, void *arg,
		  struct cs_error *err) CS_MUST_CHECK;
/* A point in the trash as a user names it: SERIES/NAME, or a unique prefix of its id. CS_E_NOTFOUND. */
int cs_trash_find(struct cs_store *s, const char *selector, struct cs_point *out,
		  struct cs_error *err) CS_MUST_CHECK;
/*
 * A point that need not be listed, to purge it: as cs_point_find and
 * cs_trash_find, and by its id even one that neither leads to, which is damage.
 */
int cs_point_find_anywhere(struct cs_store *s, const char *selector, struct cs_point *out,
			   struct cs_error *err) CS_MUST_CHECK;

/* How long the trash keeps what is forgotten from now on, in seconds; 0: until the next gc. */
int cs_store_trash_keep(struct cs_store *s, uint64_t *out, struct cs_error *err) CS_MUST_CHECK;
int cs_store_set_trash_keep(struct cs_store *s, uint64_t seconds,
			    struct cs_error *err) CS_MUST_CHECK;

/* ------------------------------------------------------------------ use */

/*
 * Use a point: until it is dropped as often as it was held, everything in it
 * stays readable, though it be forgotten and gc run. The kernel drops the
 * holds of a process that dies. CS_E_NOTFOUND: the point is not listed, and
 * not held by this process already.
 */
int cs_point_hold(struct cs_store *s, uint64_t seq, struct cs_error *err) CS_MUST_CHECK;
void cs_point_drop(struct cs_store *s, uint64_t seq);

/* A process that uses the store now. */
struct cs_user {
	long pid;
	char name[64];          /* of the program */
	bool gc, backup, mount; /* mount: shows the points to others */
	bool writes;            /* is in a write transaction: others who want one wait */
	bool stopped;           /* by a signal */
	uint64_t points;        /* that it holds */
};
typedef int cs_user_fn(void *arg, const struct cs_user *u);
/*
 * Call fn for each, as far as /proc shows them; *hidden: how many locks are
 * held by processes that cannot be seen. A nonzero return stops.
 */
int cs_store_users(struct cs_store *s, cs_user_fn *fn, void *arg, uint64_t *hidden,
		   struct cs_error *err) CS_MUST_CHECK;

/* ------------------------------------------------------------------ trees */

/*
 * The tree of one point, opened for reading. Immutable; shared by threads. It
 * holds its point.
 */
struct cs_tree;

int cs_tree_open(struct cs_store *s, uint64_t seq, struct cs_tree **out,
		 struct cs_error *err) CS_MUST_CHECK;
void cs_tree_close(struct cs_tree *t);
const struct cs_point *cs_tree_point(const struct cs_tree *t);

/*
 * One entry in its tree. Its position counts the entries before it in
 * pre-order: 0 is the root. It is found from the path and turned back into it
 * without a table (browse.c).
 * The entry's pointers are borrowed until cs_node_release.
 */
struct cs_node {
	uint64_t pos;
	struct cs_entry entry;
	void *held; /* the page it was unpacked from */
};

int cs_tree_root(struct cs_tree *t, struct cs_node *out, struct cs_error *err) CS_MUST_CHECK;
/* The entry at a position. CS_E_NOTFOUND when the point has no such position. */
int cs_tree_at(struct cs_tree *t, uint64_t pos, struct cs_node *out,
	       struct cs_error *err) CS_MUST_CHECK;
/* The child of a directory by name. CS_E_NOTFOUND, CS_E_NOTDIR. dir and out may not be the same. */
int cs_tree_child(struct cs_tree *t, const struct cs_node *dir, const char *name,
		  size_t name_len, struct cs_node *out, struct cs_error *err) CS_MUST_CHECK;
/* The entry at a path below the root ("", "/", "etc/passwd"); symlinks are not followed. */
int cs_tree_lookup(struct cs_tree *t, const char *path, struct cs_node *out,
		   struct cs_error *err) CS_MUST_CHECK;
/* Releases what the node holds; a zeroed node is fine. */
void cs_node_release(struct cs_node *n);
/* Takes another reference, so that *out must be released as well. */
void cs_node_copy(const struct cs_node *n, struct cs_node *out);

/*
 * The position that stands for the file behind the entry: the same for all
 * members of a hard-link group of this point, else the entry's own.
 */
int cs_node_identity(struct cs_tree *t, const struct cs_node *n, uint64_t *out,
		     struct cs_error *err) CS_MUST_CHECK;

/* Children of a directory, in name order (bytewise). Used by one thread at a time. */
struct cs_dir;
/* From the child with index first (0-based) on. */
int cs_dir_open(struct cs_tree *t, const struct cs_node *dir, uint64_t first,
		struct cs_dir **out, struct cs_error *err) CS_MUST_CHECK;
/* 1: *out is the next child, borrowed until the next call or close (not to be released). 0: end. */
int cs_dir_next(struct cs_dir *d, const struct cs_node **out, struct cs_error *err) CS_MUST_CHECK;
void cs_dir_close(struct cs_dir *d);

/*
 * Walk a subtree in pre-order without recursion, names in bytewise order. path
 * is relative to the start ("" for the start itself). fn returns 0 to go on,
 * CS_WALK_SKIP not to descend, or a negative code to stop with it.
 *
 * A directory of which the rest cannot be read for damage is told to lost, with its
 * path, and the walk goes on behind it if that returns 0; NULL: it ends there.
 */
#define CS_WALK_SKIP 1
typedef int cs_walk_fn(void *arg, const char *path, const struct cs_node *n, struct cs_error *err);
typedef int cs_walk_lost_fn(void *arg, const char *path, const struct cs_error *why);
int cs_tree_walk(struct cs_tree *t, const struct cs_node *start, cs_walk_fn *fn,
		 cs_walk_lost_fn *lost, void *arg, struct cs_error *err) CS_MUST_CHECK;

/* ---------------------------------------------------------------- content */

/*
 * A range of a file as pieces of memory, held until cs_read_release. Holes are
 * pieces of zeroes. Zero-initialise before first use; may be reused.
 */
struct cs_read {
	struct iovec *iov;
	size_t niov;
	size_t len;   /* bytes in all: less than asked for only at the end of the file */
	void **held;
	size_t nheld;
	size_t cap;
	uint8_t *copy; /* what is in too many pieces to be held */
};

int cs_file_read(struct cs_tree *t, const struct cs_node *n, uint64_t off, size_t len,
		 struct cs_read *out, struct cs_error *err) CS_MUST_CHECK;
/*
 * The same, but content that cannot be read is given as zeros: *lost bytes of
 * it, and err says why of the first. Damage to what tells where content lies
 * stays an error.
 */
int cs_file_read_zeros(struct cs_tree *t, const struct cs_node *n, uint64_t off, size_t len,
		       struct cs_read *out, uint64_t *lost, struct cs_error *err) CS_MUST_CHECK;
void cs_read_release(struct cs_read *r);

/*
 * The next data (want_data) or hole at or after off, as lseek's SEEK_DATA and
 * SEEK_HOLE; the end of the file counts as a hole. CS_E_NOTFOUND: off is at or
 * past the end, or no data follows.
 */
int cs_file_seek(struct cs_tree *t, const struct cs_node *n, uint64_t off, bool want_data,
		 uint64_t *out, struct cs_error *err) CS_MUST_CHECK;

/* XXH3-128 of the file's content, a hole counting as its length in 8 bytes,
 * little-endian; from the records, no data is read. */
int cs_file_hash(struct cs_tree *t, const struct cs_node *n, struct cs_hash *out,
		 struct cs_error *err) CS_MUST_CHECK;

/*
 * Decode in the background what a read of this file will need first. Returns
 * at once; a hint, so it cannot fail.
 */
void cs_file_prefetch(struct cs_tree *t, const struct cs_node *n);

/* Extended attributes of an entry, parsed. Pointers borrowed until release. */
struct cs_xattr {
	const char *name; /* NUL-terminated, with its namespace: user.comment */
	const uint8_t *value;
	size_t value_len;
};
struct cs_xattrs {
	struct cs_xattr *list;
	size_t count;
	void *priv;
};
int cs_xattrs_load(struct cs_tree *t, const struct cs_node *n, struct cs_xattrs *out,
		   struct cs_error *err) CS_MUST_CHECK;
void cs_xattrs_release(struct cs_xattrs *x);

/*
 * The same for who asks for one attribute after the other: nothing but the
 * names is read until a value is asked for. Valid until the tree is closed; any
 * number of threads may ask at once.
 */
struct cs_xattr_list;
int cs_xattr_list_open(struct cs_tree *t, const struct cs_node *n, struct cs_xattr_list **out,
		       struct cs_error *err) CS_MUST_CHECK;
void cs_xattr_list_close(struct cs_xattr_list *l);
/* Name number i (0-based) in bytewise order, not NUL-terminated, and its length; NULL behind the last. */
const char *cs_xattr_list_name(const struct cs_xattr_list *l, size_t i, size_t *out_len);
/* An attribute by name: its length, and its value if it is not longer than cap. CS_E_NOTFOUND. */
int cs_xattr_list_get(const struct cs_xattr_list *l, const char *name, void *buf, size_t cap,
		      size_t *out_len, struct cs_error *err) CS_MUST_CHECK;

/* The canonical one-line text of an entry (chunkstore-format(5)), path last, without newline.
 * Caller frees *out with free(). */
int cs_node_dump(struct cs_tree *t, const struct cs_node *n, const char *path, size_t path_len,
		 char **out, struct cs_error *err) CS_MUST_CHECK;

/* ---------------------------------------------------------------- actions */

/* Progress of a long action. Called now and then, from the calling thread. */
struct cs_progress {
	const char *what;       /* "backup", "restore", "verify", "gc" */
	uint64_t entries, bytes; /* done so far */
	uint64_t total_entries, total_bytes; /* 0: unknown */
	const char *path;       /* being worked on, or NULL */
};
/* A nonzero return stops the action with CS_E_INTERRUPTED. */
typedef int cs_progress_fn(void *arg, const struct cs_progress *p);

/* How bad what an action met on its way is. */
enum cs_notice_kind {
	CS_NOTICE_INFO,    /* left out on purpose, or vanished while we looked */
	CS_NOTICE_CHANGED, /* changed while it was being read */
	CS_NOTICE_ERROR,   /* could not be read, or restored; counts for CS_E_PARTIAL */
};
/* One line about one path. Called from the calling thread. */
typedef void cs_notice_fn(void *arg, int kind, const char *text);

struct cs_backup_opts {
	const char *series;      /* required */
	const char *root;        /* a directory whose contents become the point's root, or NULL */
	const char *const *paths; /* else these keep their absolute paths */
	size_t npaths;
	const char *const *tags;
	size_t ntags;
	const char *const *excludes; /* fnmatch(3) patterns: with '/', of the path in the point; else of any name */
	size_t nexcludes;
	const char *host;        /* NULL: this machine's name */
	int consistency;         /* enum cs_consistency */
	bool force;              /* read every file, changed or not */
	bool heal;               /* the same; chunks that are damaged become right again for all points */
	bool one_file_system;    /* do not descend into other file systems */
	int level;               /* zstd level, 1 to 19; 0: the default, 3; -1: compress nothing */
	unsigned threads;        /* compressors; 0: one a processor */
	cs_progress_fn *progress;
	cs_notice_fn *notice;
	void *arg;               /* for both */
};

struct cs_backup_result {
	struct cs_point point;
	uint64_t files_read, bytes_read; /* opened, because new or changed */
	uint64_t entries_reused;         /* taken over from the parent point */
	uint64_t chunks_new, chunks_dup;
	uint64_t chunks_healed;
};

/*
 * Store a new point. CS_E_PARTIAL: the point is stored (and *out filled), but
 * some sources could not be read; each was named by notice. Any other failure
 * leaves no point.
 */
int cs_backup(struct cs_store *s, const struct cs_backup_opts *opts,
	      struct cs_backup_result *out, struct cs_error *err) CS_MUST_CHECK;

/* What happens to what is at its place already. chunkstore(1) has it in full. */
enum cs_overwrite {
	CS_OVERWRITE_REFUSE, /* dest must not exist, or be an empty directory for a directory */
	CS_OVERWRITE_NEVER,
	CS_OVERWRITE_IF_NEWER,   /* when the point's was modified later; then as ALWAYS */
	CS_OVERWRITE_IF_CHANGED, /* the same type, size and time of modification: the same content */
	CS_OVERWRITE_ALWAYS,     /* contents are compared; what is the same is not written again */
};
/* What became of an entry. */
enum cs_restored {
	CS_RESTORED_CREATED,
	CS_RESTORED_REPLACED,
	CS_RESTORED_PATCHED,   /* differing blocks were written in place */
	CS_RESTORED_UPDATED,   /* its attributes only */
	CS_RESTORED_UNCHANGED,
	CS_RESTORED_KEPT,      /* what was there stays, though it may differ */
	CS_RESTORED_DELETED,
	CS_RESTORED_KINDS,
};
/* A change, made or (dry_run) to be made; path is relative to dest, "" for dest itself, borrowed. */
typedef void cs_restored_fn(void *arg, int what, const char *path, size_t len);

struct cs_restore_opts {
	const char *dest;
	int overwrite;     /* enum cs_overwrite */
	bool delete_extra; /* remove what the point does not have; not with REFUSE and NEVER */
	bool in_place;     /* patch large files; dest may be a block device. Implies ALWAYS for REFUSE */
	bool dry_run;      /* tell, and write nothing */
	const char *const *excludes; /* as of a backup: neither restored nor deleted nor changed */
	size_t nexcludes;
	unsigned threads;  /* 0: one a processor */
	cs_progress_fn *progress;
	cs_notice_fn *notice;
	cs_restored_fn *told; /* all but what is UNCHANGED; may be NULL */
	void *arg;         /* for the three */
};
struct cs_restore_result {
	uint64_t entries, bytes; /* that are now as in the point */
	uint64_t written; /* bytes of content written */
	uint64_t counts[CS_RESTORED_KINDS];
	uint64_t failed; /* attributes or entries that could not be restored, each named by notice */
};
/* Recreate the entry at path of a point as dest. CS_E_PARTIAL: done, but something could not be set. */
int cs_restore(struct cs_tree *t, const char *path, const struct cs_restore_opts *opts,
	       struct cs_restore_result *out, struct cs_error *err) CS_MUST_CHECK;

struct cs_gc_opts {
	bool dry_run;
	bool empty_trash; /* remove all that is in the trash, not only what is due */
	cs_progress_fn *progress;
	void *arg;
};
/* What went back to the file system. */
struct cs_space_result {
	uint64_t given_back; /* bytes that the store takes less on disk */
	uint64_t held;       /* bytes that are free, but readers still see; next time */
	bool unsupported;    /* this file system cannot make holes in a file */
};
struct cs_gc_result {
	uint64_t points_purged; /* removed for good */
	uint64_t points_used;   /* would have been, but somebody reads them */
	uint64_t chunks_live, chunks_freed;
	uint64_t bundles_freed, bundles_rewritten;
	uint64_t bundles_used; /* would have been freed or rewritten, but a backup uses them */
	uint64_t bundles_no_room; /* the same, but the disk is too full to rewrite them */
	uint64_t stored_freed; /* bytes of bundles that are gone */
	struct cs_space_result space;
};
/*
 * Remove the points that were purged or whose time in the trash is over, and
 * free what no point needs, while others go on. CS_E_BUSY: another gc is
 * running. What is in use is left for the next one.
 */
int cs_gc(struct cs_store *s, const struct cs_gc_opts *opts, struct cs_gc_result *out,
	  struct cs_error *err) CS_MUST_CHECK;

struct cs_compact_opts {
	cs_progress_fn *progress;
	void *arg;
};
struct cs_compact_result {
	uint64_t moved;       /* bytes that were written again, further in front */
	uint64_t file_before, file_after; /* bytes, data.mdb's length */
	uint64_t unreadable;  /* bundles that could not be read and stayed where they are */
	struct cs_space_result space;
};
/*
 * Make data.mdb shorter: what lies at its end is moved to free space in front,
 * and the end is cut off. Anybody may use the store meanwhile; CS_E_BUSY only
 * while gc or another one runs. Needs CS_OPEN_WRITE.
 */
int cs_compact(struct cs_store *s, const struct cs_compact_opts *opts,
	       struct cs_compact_result *out, struct cs_error *err) CS_MUST_CHECK;

/* Each level contains those before it. */
enum cs_verify_level {
	CS_VERIFY_ALL,       /* the highest */
	CS_VERIFY_STRUCTURE, /* every reference resolves, sums are right, index and bundles agree */
	CS_VERIFY_DATA,      /* every bundle is decoded, every chunk has its hash */
	CS_VERIFY_DIGEST,    /* every digest follows from what was read */
};

/* One thing that is wrong. Borrowed for the call. */
struct cs_finding {
	const char *id;   /* stable; chunkstore(1) has the list */
	const char *text; /* what is wrong, in words */
	uint64_t points, paths; /* that it affects: how many */
	const char *const *sample; /* the first of these paths, SERIES/NAME:PATH, escaped */
	size_t nsample;
};
typedef void cs_finding_fn(void *arg, const struct cs_finding *f);

struct cs_verify_opts {
	unsigned threads; /* 0: one a processor */
	int level;        /* enum cs_verify_level */
	unsigned part, parts; /* only the part-th of so many parts, from 1; 0: everything */
	int64_t older_than; /* only what was not verified in the last so many seconds; 0: everything */
	bool no_record;   /* do not write down what was verified */
	unsigned sample;  /* paths that a finding names; 0: 10 */
	cs_progress_fn *progress;
	cs_finding_fn *finding; /* at the end, one after the other */
	cs_notice_fn *notice; /* the same as a line, starting with the id */
	void *arg;        /* for the three */
};
struct cs_verify_result {
	uint64_t points, entries, bundles, chunks, raw_bytes;
	uint64_t points_skipped, ranges_skipped; /* not in this part, or verified lately */
	uint64_t findings; /* things that are wrong */
	uint64_t damaged_points;
	uint64_t files_left; /* contents of large files that were not hashed: too much of them is shared */
	uint64_t links_left; /* hard links of which it was not looked where they lead: they lie too deep */
	bool recorded; /* what was verified is written down */
};
/*
 * Read and check everything, or what opts choose; what was found damaged before is
 * always checked again. Others may go on meanwhile. Open for writing it writes down
 * what was verified when. CS_E_CORRUPT: there are findings. *out is filled then,
 * too, and when it is interrupted.
 */
int cs_verify(struct cs_store *s, const struct cs_verify_opts *opts, struct cs_verify_result *out,
	      struct cs_error *err) CS_MUST_CHECK;

struct cs_repair_opts {
	struct cs_store *from; /* another store that may have what is damaged in this one; NULL: none */
	cs_progress_fn *progress;
	void *arg;
};
struct cs_repair_result {
	uint64_t bundles_damaged, bundles_removed; /* removed: all of it was healed */
	uint64_t chunks_healed, chunks_lost; /* lost: not found, needed or not */
};
/*
 * Heal what verify wrote down as damaged, as far as its content is somewhere else in
 * the store, or in another. Backups and readers may go on; CS_E_BUSY while gc runs.
 * Needs CS_OPEN_WRITE.
 */
int cs_repair(struct cs_store *s, const struct cs_repair_opts *opts, struct cs_repair_result *out,
	      struct cs_error *err) CS_MUST_CHECK;

struct cs_rebuild_opts {
	cs_progress_fn *progress;
	void *arg;
};
struct cs_rebuild_result {
	uint64_t bundles; /* that were looked at */
	uint64_t index_added, index_removed, moved_removed; /* rows */
	uint64_t points_changed, series_changed;
};
/*
 * Make the dedup index anew from the bundles, and from the points' records their
 * totals, names and ids; only what is wrong is written. Others may go on meanwhile.
 * Needs CS_OPEN_WRITE.
 */
int cs_rebuild(struct cs_store *s, const struct cs_rebuild_opts *opts,
	       struct cs_rebuild_result *out, struct cs_error *err) CS_MUST_CHECK;

#endif
