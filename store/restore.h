/* SPDX-License-Identifier: MIT */
/*
 * restore.h - what the parts of restore share; the public face is cs_restore()
 * in chunkstore.h.
 *
 *   restore.c        what is restored: a directory, a file, onto a device
 *   restore_passes.c a directory with all below it: the order of things
 *   restore_dest.c   DEST: what it is, and its name
 *   restore_dirs.c   directories below DEST, and walks over them
 *   restore_judge.c  an entry where something may be already: what to do
 *   restore_merge.c  doing it; restore_merge_dir.c for a directory
 *   restore_same.c   is what is there the same
 *   restore_entry.c  one entry with its content
 *   restore_attrs.c  owner, mode, times, extended attributes, flags
 *   restore_links.c  hard links
 *   restore_stage.c  where entries are made before they get their names
 *   restore_patch.c  large files changed in place, block devices
 *   restore_delete.c what the point does not have
 *   restore_remove.c removing it, and what must stay
 *   restore_pool.c   threads, notices, progress
 *
 * This header has the run, directories below DEST, hard links and threads;
 * restore_make_impl.h how an entry is made, restore_there_impl.h DEST and what
 * is there already.
 *
 * Passes over the tree. The first makes directories with mode 0700 and hands
 * the files in them to the threads; the second makes hard links, if there are
 * any; the third deletes, if that was asked for; the last gives directories
 * their attributes, children first, DEST last. So nobody but the caller gets
 * into a directory that we made before all is done, directories take files
 * whatever their final mode, and their times stay.
 *
 * A DEST that is not there is made as "DEST.partial" and renamed when all is
 * done: there is never a half-made DEST, even after a crash, and files in it
 * can have their own names from the start. In a DEST that is there (staged)
 * each entry other than a directory is made complete, with its attributes, in
 * a directory that only we can enter, and then renamed to its place: every
 * name is old or new, whole. Every path is walked by descriptors, and no
 * symbolic link below DEST is ever followed; so it does not matter what others
 * who may write to a DEST that is there do to it meanwhile.
 *
 * No half file keeps its name in DEST.partial either, but after a crash: the
 * content of a small file is read in full before the file is made; a large one
 * is written without a name (O_TMPFILE) where the file system can, and is
 * removed on failure where it cannot. What cannot be read from the store, and
 * what the destination refuses for one entry alone, is named by a notice and
 * left out: CS_E_PARTIAL. What would fail for the next one as well (disk full,
 * disk error) ends the restore; what was restored so far stays.
 *
 * A dry run is the same code, which stops before each change.
 *
 * Memory: the queue, a level of the tree for each directory on the way down,
 * a record for each group of hard links, and 24 to 48 bytes for each directory
 * that was there and each hard link.
 */
#ifndef CS_RESTORE_H
#define CS_RESTORE_H

#include "chunkstore.h"

#include <limits.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>

#define CS_RESTORE_BATCH 64u              /* entries handed over at once */
#define CS_RESTORE_BATCH_BYTES (2u << 20) /* or so much content */
#define CS_RESTORE_QUEUE 32u              /* batches waiting; each keeps a directory open */
#define CS_RESTORE_OPEN_LEVELS 64u        /* directories kept open on the way down */
#define CS_RESTORE_DEPTH 4096u            /* deeper directories are left out, with a notice */
#define CS_RESTORE_THREADS 64u
#define CS_RESTORE_NOTICES 1024u          /* waiting to be told */

/* ---- directories below DEST (restore_dirs.c) */

/* Counted; opened again from its parents when it was closed meanwhile. */
struct cs_restore_dir {
	struct cs_restore_dir *parent; /* a reference; NULL: the top */
	size_t refs;                   /* guarded by run->lock, as the next two */
	unsigned users;                /* of fd; closed with the last */
	int fd;                        /* -1: closed; stable for a user */
	bool absent; /* a dry run would have made it: in use without a descriptor */
	struct cs_restore_stage *stage; /* NULL: its parent's; guarded by run->stage_lock */
	size_t name_len;
	char name[]; /* of the top: as the user named it */
};

/* What the destination refuses again and again is told once, with a count. */
enum cs_restore_lapse_kind {
	CS_RESTORE_OWNER,
	CS_RESTORE_MODE,
	CS_RESTORE_TIMES,
	CS_RESTORE_XATTR,
	CS_RESTORE_DEVICE,
	CS_RESTORE_LINK,
	CS_RESTORE_FLAGS,  /* from here on: optional, not counted as failed */
	CS_RESTORE_PROJID,
	CS_RESTORE_LAPSES,
};

#define CS_RESTORE_TOLD 256 /* added to an enum cs_restored: a notice for opts->told */

struct cs_restore_notice {
	struct cs_restore_notice *next;
	int kind;
	size_t len;
	char text[];
};

struct cs_restore_batch {
	struct cs_restore_batch *next;
	struct cs_restore_dir *dir; /* a reference and a use */
	uint64_t bytes;
	size_t count;
	struct cs_node nodes[CS_RESTORE_BATCH];
};

/* u64 -> pointer, open addressing. */
struct cs_restore_map {
	struct cs_restore_slot *slots;
	size_t used, cap;
};

struct cs_restore_flagged;
struct cs_restore_stage;

struct cs_restore_run {
	/* immutable while threads run */
	struct cs_tree *tree;
	const struct cs_restore_opts *opts;
	struct cs_restore_dir *top;
	uid_t uid;
	gid_t gid;
	char *path; /* of start in the point, without slashes around it: for excludes */
	int overwrite; /* enum cs_overwrite */
	bool merge;  /* there may be something where an entry goes */
	bool staged; /* entries other than directories get their names when they are complete */
	bool single; /* DEST is a file: top is the directory that it is in */
	bool owned; /* what we make belongs to uid and gid from the start */
	bool inherits; /* what we make gets an access list of its directory's */
	pthread_t caller;

	atomic_bool stop;        /* fatal is set */
	atomic_bool no_tmpfile;  /* the destination cannot make files without a name */
	atomic_uint_least64_t entries, bytes, failed, written;
	atomic_uint_least64_t counts[CS_RESTORED_KINDS];
	atomic_uint temps;       /* names given in stages */
	pthread_mutex_t stage_lock;
	struct cs_restore_stage *stages; /* guarded by stage_lock */

	pthread_mutex_t lock;
	pthread_cond_t work, room, calm; /* for threads; for the caller; for threads with notices */
	/* guarded by lock */
	struct cs_error fatal;
	struct cs_restore_batch *first, **last; /* the queue */
	size_t queued, busy;                    /* batches waiting, and being worked on */
	bool closing;
	struct cs_restore_notice *notices, **notices_end;
	size_t notices_count;
	uint64_t lapses[CS_RESTORE_LAPSES];
	struct cs_restore_flagged *flagged; /* files to be made immutable or append-only */
	struct cs_restore_map fates; /* position -> enum cs_restored + 1: directories that were there,
				      * hard links */

	/* the calling thread's */
	pthread_t threads[CS_RESTORE_THREADS];
	unsigned nthreads;
	struct cs_restore_batch *filling;
	struct cs_restore_map links; /* identity -> struct link */
	uint64_t links_to_make;
	struct cs_restore_map missing; /* positions of directories that could not be made */
	struct cs_restore_dir *link_dir; /* where the last link pointed: in use */
	struct cs_progress progress;
	int64_t told; /* when progress was told last, ms */
};

/*
 * A new directory object with one reference, and one use when fd >= 0 (which
 * it then owns). NULL: no memory (fd stays the caller's).
 */
struct cs_restore_dir *cs_restore_dir_new(struct cs_restore_run *run,
					  struct cs_restore_dir *parent, const char *name,
					  size_t name_len, int fd);
void cs_restore_dir_hold(struct cs_restore_run *run, struct cs_restore_dir *d);
void cs_restore_dir_drop(struct cs_restore_run *run, struct cs_restore_dir *d);
/* Make d->fd usable until cs_restore_dir_unuse. Calling thread only, but unuse. */
int cs_restore_dir_use(struct cs_restore_run *run, struct cs_restore_dir *d,
		       struct cs_error *err) CS_MUST_CHECK;
void cs_restore_dir_unuse(struct cs_restore_run *run, struct cs_restore_dir *d);
/* The path below the top, as it is; free it. NULL: no memory. */
char *cs_restore_below(const struct cs_restore_dir *d, const char *name, size_t name_len,
		       size_t *out_len);
/* Was it asked to leave this alone? */
bool cs_restore_excluded(const struct cs_restore_run *run, const struct cs_restore_dir *d,
			 const char *name, size_t name_len);
/* The path of an entry as a notice shows it (escaped); free it. NULL: no memory. */
char *cs_restore_path(const struct cs_restore_dir *d, const char *name, size_t name_len);

/*
 * A walk in pre-order from the top, whose node is start. All may be NULL. d is
 * in use, n borrowed. Codes below 0 stop the walk.
 */
struct cs_restore_visitor {
	/* A directory in d. 1: *out is its object, with a reference and a use, go in;
	 * 2: the same, but its entries are not of interest; 0: leave it out. */
	int (*enter)(struct cs_restore_run *run, struct cs_restore_dir *d,
		     const struct cs_node *n, struct cs_restore_dir **out, struct cs_error *err);
	/* Anything else in d. */
	int (*entry)(struct cs_restore_run *run, struct cs_restore_dir *d,
		     const struct cs_node *n, struct cs_error *err);
	/* All in d has been seen; n is d's own node. */
	int (*leave)(struct cs_restore_run *run, struct cs_restore_dir *d,
		     const struct cs_node *n, struct cs_error *err);
	bool tell; /* notices about what cannot be walked (else another walk told) */
};
int cs_restore_walk(struct cs_restore_run *run, const struct cs_node *start,
		    const struct cs_restore_visitor *v, struct cs_error *err) CS_MUST_CHECK;
/* openat of a directory that this restore made. Fills err. Negative on failure. */
int cs_restore_open_dir(int dirfd, const char *name, size_t name_len,
			struct cs_error *err) CS_MUST_CHECK;

/* For visitors of later passes: enter a directory that the first one made, or found. */
int cs_restore_enter_again(struct cs_restore_run *run, struct cs_restore_dir *d,
			   const struct cs_node *n, struct cs_restore_dir **out,
			   struct cs_error *err) CS_MUST_CHECK;

/* ---- what becomes of entries */

/* An entry has met its fate: counted and told. */
void cs_restore_note(struct cs_restore_run *run, int fate, const struct cs_restore_dir *d,
		     const char *name, size_t name_len);
/* Remember and recall fates; -1: none. */
int cs_restore_set_fate(struct cs_restore_run *run, uint64_t pos, int fate) CS_MUST_CHECK;
int cs_restore_fate(struct cs_restore_run *run, uint64_t pos);
/* True when an errno of the destination is not about one entry alone. */
bool cs_restore_errno_fatal(int sys_errno);
/* Fails when the run was stopped. */
int cs_restore_alive(struct cs_restore_run *run, struct cs_error *err) CS_MUST_CHECK;
/* Passes over a directory (restore_passes.c). */
int cs_restore_tree(struct cs_restore_run *run, const struct cs_node *start,
		    struct cs_error *err) CS_MUST_CHECK;

/* ---- hard links (restore_links.c) */

/* *out false: the entry is a later member of a group, the second pass links it. */
int cs_restore_link_first(struct cs_restore_run *run, struct cs_restore_dir *d,
			  const struct cs_node *n, bool *out, struct cs_error *err) CS_MUST_CHECK;
/* The second pass. */
int cs_restore_links(struct cs_restore_run *run, const struct cs_node *start,
		     struct cs_error *err) CS_MUST_CHECK;
void cs_restore_links_release(struct cs_restore_run *run);
/* NULL: not there. */
void **cs_restore_map_find(const struct cs_restore_map *m, uint64_t key);
/* The key must not be there yet. */
int cs_restore_map_add(struct cs_restore_map *m, uint64_t key, void *value) CS_MUST_CHECK;

/* ---- threads, notices, progress (restore_pool.c) */

int cs_restore_pool_start(struct cs_restore_run *run, struct cs_error *err) CS_MUST_CHECK;
/* Hand an entry over; d is in use. */
int cs_restore_pool_add(struct cs_restore_run *run, struct cs_restore_dir *d,
			const struct cs_node *n, struct cs_error *err) CS_MUST_CHECK;
/* Wait until all is done that was handed over. */
int cs_restore_pool_finish(struct cs_restore_run *run, struct cs_error *err) CS_MUST_CHECK;
/* End the threads; after a failure what is queued is dropped. May be called twice. */
void cs_restore_pool_stop(struct cs_restore_run *run);

/* Stop everything with this error; the first one counts. */
void cs_restore_stop(struct cs_restore_run *run, const struct cs_error *err);
/* A notice "PATH: text"; CS_NOTICE_ERROR counts as failed. From any thread. */
void cs_restore_tell(struct cs_restore_run *run, int kind, const struct cs_restore_dir *d,
		     const char *name, size_t name_len, const char *text);
struct cs_restore_target; /* restore_make_impl.h */
/* The destination refused an attribute: told once a kind if that is to be expected, else now. */
void cs_restore_lapse(struct cs_restore_run *run, int kind, const struct cs_restore_target *t,
		      const char *detail, int sys_errno);
/* For opts->told. */
void cs_restore_tell_fate(struct cs_restore_run *run, int fate, const char *path, size_t len);
/* Hand waiting notices and progress to the callbacks; fails when the run was stopped. */
int cs_restore_pump(struct cs_restore_run *run, const struct cs_restore_dir *at,
		    struct cs_error *err) CS_MUST_CHECK;
/* The last: all notices, lapses with their counts. */
void cs_restore_tell_rest(struct cs_restore_run *run);

#endif
