/* SPDX-License-Identifier: MIT */
/* restore_make_impl.h - one entry: its content, its attributes, changed in place. See restore.h. */
#ifndef CS_RESTORE_MAKE_IMPL_H
#define CS_RESTORE_MAKE_IMPL_H

#include "restore.h"

/* ---- one entry (restore_entry.c) */

/* A thread's own. Zero-initialise; release rd. */
struct cs_restore_worker {
	struct cs_restore_run *run;
	struct cs_read rd;
	bool fatal; /* the failure just returned would meet the next entry too */
	int fate;   /* enum cs_restored of the entry just made */
};
/* Make the entry (no directory) in d, which is in use, complete with its attributes; sets w->fate. */
int cs_restore_make(struct cs_restore_worker *w, struct cs_restore_dir *d,
		    const struct cs_node *n, struct cs_error *err) CS_MUST_CHECK;
/* The same, and a failure becomes a notice or stops the run. */
void cs_restore_make_or_tell(struct cs_restore_worker *w, struct cs_restore_dir *d,
			     const struct cs_node *n);
/* Make it where t says, without looking. */
struct cs_restore_target;
int cs_restore_fill_target(struct cs_restore_worker *w, struct cs_restore_target *t,
			   const struct cs_node *n, bool unnamed, bool sync,
			   struct cs_error *err) CS_MUST_CHECK;
/* Content between two offsets into w->rd, all of it. */
int cs_restore_read(struct cs_restore_worker *w, const struct cs_node *n, uint64_t off, size_t len,
		    struct cs_error *err) CS_MUST_CHECK;
/* The destination failed; sets w->fatal. */
int cs_restore_failed(struct cs_restore_worker *w, int sys_errno, struct cs_error *err,
		      const char *what);
#define CS_RESTORE_PIECE (1u << 20) /* what is read at once; larger files can be patched */

/* ---- attributes (restore_attrs.c) */

/* An object of the destination: an open descriptor, or (fd -1) a name in a directory. */
struct cs_restore_target {
	int fd, dirfd;
	const char *name; /* NUL-terminated; also for notices */
	struct cs_restore_dir *dir; /* for notices; with name "" the object is this directory */
	const char *shown; /* the name for notices, when it is another one */
	bool clean; /* made where nothing is inherited */
};
/* Before there is content: nothing inherited; flags that matter for it, project id. fd only. */
void cs_restore_early(struct cs_restore_run *run, const struct cs_restore_target *t,
		      const struct cs_node *n);
/* Owner, extended attributes, mode, times, in this order. */
int cs_restore_attrs(struct cs_restore_run *run, const struct cs_restore_target *t,
		     const struct cs_node *n, struct cs_error *err) CS_MUST_CHECK;
/* True when the entry is to be immutable or append-only in the end. */
bool cs_restore_is_locked(const struct cs_node *n);
/* Make it so. */
void cs_restore_lock(struct cs_restore_run *run, const struct cs_restore_target *t, uint32_t flags);
/* Remember a file for cs_restore_lock_files, which is called when all links are made. */
int cs_restore_lock_later(struct cs_restore_run *run, struct cs_restore_dir *d,
			  const struct cs_node *n, struct cs_error *err) CS_MUST_CHECK;
void cs_restore_lock_files(struct cs_restore_run *run);
void cs_restore_lock_forget(struct cs_restore_run *run);

/* ---- in place (restore_patch.c) */

struct cs_restore_found; /* restore_there_impl.h */
int cs_restore_patch(struct cs_restore_worker *w, const struct cs_restore_target *t,
		     const struct cs_node *n, const struct cs_restore_found *f,
		     struct cs_error *err) CS_MUST_CHECK;
/* The content of a file onto the block device at a path. */
int cs_restore_device(struct cs_restore_run *run, const char *path, const struct cs_node *n,
		      struct cs_error *err) CS_MUST_CHECK;

#endif
