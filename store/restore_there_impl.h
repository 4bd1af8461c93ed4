/* SPDX-License-Identifier: MIT */
/*
 * restore_there_impl.h - DEST, and what is there already: found, judged,
 * replaced by way of a stage, removed. See restore.h.
 */
#ifndef CS_RESTORE_THERE_IMPL_H
#define CS_RESTORE_THERE_IMPL_H

#include "restore_make_impl.h"

#include <string.h>

/* ---- what is there already (restore_same.c, restore_judge.c, restore_merge*.c) */

/* What was found at an entry's place, and what to do. Released by cs_restore_found_close. */
struct cs_restore_found {
	int fate;        /* enum cs_restored */
	bool there;
	struct stat st;  /* when there */
	int path_fd;     /* O_PATH, or -1 */
	int fd;          /* open for reading when the fate needs it, or -1 */
};
/* Look at a name, without following it; not there is no failure. */
int cs_restore_look(struct cs_restore_dir *d, const char *name, struct cs_restore_found *f,
		    struct cs_error *err) CS_MUST_CHECK;
void cs_restore_found_close(struct cs_restore_found *f);
/* Open what path_fd is, a regular file or a directory, with flags. Negative errno. */
int cs_restore_open_found(const struct cs_restore_found *f, int flags);
/* Is the recorded time of modification the later one? */
bool cs_restore_newer(const struct cs_node *n, const struct stat *st);
bool cs_restore_same_time(const struct cs_node *n, const struct stat *st);
/* 1: type, owner, mode, time of modification and extended attributes are as recorded. */
int cs_restore_same_attrs(struct cs_restore_run *run, const struct cs_node *n,
			  const struct cs_restore_found *f, struct cs_error *err) CS_MUST_CHECK;
/* Remove the extended attributes that were not recorded, where backups record them. */
int cs_restore_drop_xattrs(struct cs_restore_run *run, const struct cs_node *n, int fd,
			   struct cs_error *err) CS_MUST_CHECK;
/* 1: f->fd has the content of n. */
int cs_restore_same_content(struct cs_restore_worker *w, const struct cs_node *n,
			    const struct cs_restore_found *f, struct cs_error *err) CS_MUST_CHECK;

/* Is it to stay, whatever it is? */
bool cs_restore_keeps(const struct cs_restore_run *run, const struct cs_node *n,
		      const struct stat *st);
/* What is to happen to a name: *f, with its fate; to be closed either way. */
int cs_restore_judge(struct cs_restore_worker *w, struct cs_restore_dir *d, const char *name,
		     const struct cs_node *n, struct cs_restore_found *f,
		     struct cs_error *err) CS_MUST_CHECK;
/* Its name, for system calls. */
static inline void cs_restore_name_of(const struct cs_node *n, char out[256])
{
	memcpy(out, n->entry.name, n->entry.name_len);
	out[n->entry.name_len] = '\0';
}
/* Make an entry that is no directory, where something may be: sets w->fate. */
int cs_restore_merge(struct cs_restore_worker *w, struct cs_restore_dir *d,
		     const struct cs_node *n, struct cs_error *err) CS_MUST_CHECK;
/*
 * The directory n in d, where something may be. 1: *fd is open (-1: a dry run
 * would make it); 0: left out, with a notice.
 */
int cs_restore_merge_dir(struct cs_restore_run *run, struct cs_restore_dir *d,
			 const struct cs_node *n, int *fd, struct cs_error *err) CS_MUST_CHECK;
/* What to do with the attributes of a directory that is there, open as fd. */
int cs_restore_judge_dir(struct cs_restore_run *run, const struct cs_node *n, int fd, int *fate,
			 struct cs_error *err) CS_MUST_CHECK;
/* What is to happen to a name that is to be one more hard link: CREATED, REPLACED or KEPT. */
int cs_restore_judge_link(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name,
			  const struct cs_node *n, struct cs_restore_found *f,
			  struct cs_error *err) CS_MUST_CHECK;
/* Give what is in the stage as temp its name. there: it takes the place of what is there. */
int cs_restore_settle(struct cs_restore_worker *w, struct cs_restore_stage *s, const char *temp,
		      struct cs_restore_dir *d, const struct cs_node *n,
		      const struct cs_restore_found *f, struct cs_error *err) CS_MUST_CHECK;
/* ---- stages (restore_stage.c) */

#define CS_RESTORE_STAGE ".chunkstore-restore." /* and 16 hexadecimal digits */
#define CS_RESTORE_TEMP 16                      /* room for a name in it */

struct cs_restore_stage {
	struct cs_restore_stage *next;
	struct cs_restore_dir *dir; /* that it is in: a reference, and a use */
	int fd;
	char name[48];
};
/* The stage for entries of d. */
int cs_restore_stage_of(struct cs_restore_run *run, struct cs_restore_dir *d,
			struct cs_restore_stage **out, struct cs_error *err) CS_MUST_CHECK;
/* The same in d itself, which is in use: when names cannot be moved from its parents' to d. */
int cs_restore_stage_here(struct cs_restore_run *run, struct cs_restore_dir *d,
			  struct cs_error *err) CS_MUST_CHECK;
void cs_restore_temp_name(struct cs_restore_run *run, char out[CS_RESTORE_TEMP]);
/* Is a name that of a stage? */
bool cs_restore_is_stage(const char *name);
/* Is it one that another restore works with? */
bool cs_restore_stage_in_use(struct cs_restore_dir *d, const char *name);
/* renameat, but EEXIST when something is there. Returns 0 or an errno. */
int cs_restore_rename_new(int from, const char *old, int to, const char *name);
/* Remove them all. */
void cs_restore_stages_end(struct cs_restore_run *run);

/* ---- deletion (restore_delete.c) */

/* The third pass. */
int cs_restore_delete(struct cs_restore_run *run, const struct cs_node *start,
		      struct cs_error *err) CS_MUST_CHECK;
/* Names of a directory, in bytewise order. Zero-initialise; free either way. */
struct cs_restore_names {
	char **list;
	size_t count, cap;
};
int cs_restore_names_read(int dirfd, struct cs_restore_names *out,
			  struct cs_error *err) CS_MUST_CHECK;
void cs_restore_names_free(struct cs_restore_names *n);
/* Remove what is in d as name, and all below it that may go; each is counted and told. */
int cs_restore_remove_extra(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name,
			    struct cs_error *err) CS_MUST_CHECK;
/* True when a directory holds something that must stay: told by a notice. */
bool cs_restore_is_guarded(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name);
/* Remove what is in dirfd as name; for notices and counts it is shown in d. */
int cs_restore_remove(struct cs_restore_run *run, int dirfd, const char *name,
		      struct cs_restore_dir *d, const char *shown,
		      struct cs_error *err) CS_MUST_CHECK;
/* Is this the directory of the store? */
bool cs_restore_is_store(const struct cs_restore_run *run, const struct stat *st);

/* ---- DEST (restore_dest.c) */

/* Where the result goes. */
struct cs_restore_dest {
	char path[PATH_MAX];     /* as given, without slashes at the end */
	char parent[PATH_MAX];   /* the directory that it is made in */
	const char *name;        /* its name there, into path */
	char partial[NAME_MAX + 1]; /* and its name until it is complete; "": filled in place */
	int parent_fd;
	bool made; /* partial exists and is ours */
};
int cs_restore_dest_init(struct cs_restore_dest *d, const char *path,
			 struct cs_error *err) CS_MUST_CHECK;
/* Open its parent, where a file gets its name; *there: something has that name. */
int cs_restore_dest_parent(struct cs_restore_run *run, struct cs_restore_dest *d, bool *there,
			   struct cs_error *err) CS_MUST_CHECK;
/* Make DEST.partial, or take what is there. *fd -1: a dry run would make it. Sets merge and staged. */
int cs_restore_dest_dir(struct cs_restore_run *run, struct cs_restore_dest *d, int *fd,
			struct cs_error *err) CS_MUST_CHECK;
/* Give the complete directory its name. */
int cs_restore_dest_name(struct cs_restore_dest *d, struct cs_error *err) CS_MUST_CHECK;
/* After a failure: nothing is left when nothing was restored; else say where it is. */
void cs_restore_dest_failed(struct cs_restore_dest *d, struct cs_error *err);
/* A new file system's root has one, and is empty all the same. */
bool cs_restore_lost_and_found(const struct cs_restore_run *run, const struct cs_restore_dir *d,
			       const char *name);

#endif
