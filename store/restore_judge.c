/* SPDX-License-Identifier: MIT */
/*
 * restore_judge.c - decision: what is to happen to an entry is said first, from
 * what is there and what was asked for, and done then (restore_merge.c). A dry
 * run is this half.
 *
 * A file with further hard links is never changed where it is, only replaced:
 * its other names may lie outside DEST.
 */
#include "restore_there_impl.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

int cs_restore_set_fate(struct cs_restore_run *run, uint64_t pos, int fate)
{
	void *value = (void *)(intptr_t)(fate + 1);

	pthread_mutex_lock(&run->lock);
	void **at = cs_restore_map_find(&run->fates, pos);
	if (at)
		*at = value;
	int r = at ? CS_OK : cs_restore_map_add(&run->fates, pos, value);
	pthread_mutex_unlock(&run->lock);
	return r;
}

int cs_restore_fate(struct cs_restore_run *run, uint64_t pos)
{
	pthread_mutex_lock(&run->lock);
	void **at = cs_restore_map_find(&run->fates, pos);
	int fate = at ? (int)(intptr_t)*at - 1 : -1;
	pthread_mutex_unlock(&run->lock);
	return fate;
}

bool cs_restore_keeps(const struct cs_restore_run *run, const struct cs_node *n,
		      const struct stat *st)
{
	return run->overwrite == CS_OVERWRITE_NEVER ||
	       (run->overwrite == CS_OVERWRITE_IF_NEWER && !cs_restore_newer(n, st));
}

/* To be patched: who owns what is there could read what is written before the owner changes. */
static bool is_ours(const struct cs_restore_run *run, const struct cs_node *n, const struct stat *st)
{
	return st->st_uid == n->entry.uid || st->st_uid == run->uid;
}

static int judge_file(struct cs_restore_worker *w, const struct cs_node *n,
		      struct cs_restore_found *f, struct cs_error *err)
{
	struct cs_restore_run *run = w->run;
	bool single = f->st.st_nlink == 1;
	int content = (uint64_t)f->st.st_size == n->entry.size, attrs = 0;

	if (content == 1 && !(run->overwrite == CS_OVERWRITE_IF_CHANGED &&
			      cs_restore_same_time(n, &f->st))) {
		f->fd = cs_restore_open_found(f, O_RDONLY);
		content = f->fd >= 0 ? cs_restore_same_content(w, n, f, err) : 0;
	}
	if (content == 1)
		attrs = cs_restore_same_attrs(run, n, f, err);
	if (content < 0 || attrs < 0)
		return content < 0 ? content : attrs;
	if (content == 1 && attrs == 0 && single && f->fd < 0)
		f->fd = cs_restore_open_found(f, O_RDONLY);
	if (attrs == 1)
		f->fate = CS_RESTORED_UNCHANGED;
	else if (content == 1 && single && f->fd >= 0)
		f->fate = CS_RESTORED_UPDATED;
	else if (content == 0 && run->opts->in_place && single && is_ours(run, n, &f->st) &&
		 n->entry.size > CS_RESTORE_PIECE)
		f->fate = CS_RESTORED_PATCHED;
	else
		f->fate = CS_RESTORED_REPLACED;
	return CS_OK;
}

/* Neither a directory nor a regular file, and of the same type. */
static int judge_other(struct cs_restore_run *run, const struct cs_node *n,
		       struct cs_restore_found *f, struct cs_error *err)
{
	const struct cs_entry *e = &n->entry;
	char target[PATH_MAX];

	f->fate = CS_RESTORED_REPLACED;
	if (S_ISLNK(e->mode)) {
		ssize_t len = readlinkat(f->path_fd, "", target, sizeof(target));
		if (len < 0 || (size_t)len != e->bytes_len || memcmp(target, e->bytes,
								     e->bytes_len) != 0)
			return CS_OK;
	} else if ((S_ISCHR(e->mode) || S_ISBLK(e->mode)) &&
		   f->st.st_rdev != makedev(e->rdev_major, e->rdev_minor)) {
		return CS_OK;
	}
	int r = cs_restore_same_attrs(run, n, f, err);
	if (r == 1)
		f->fate = CS_RESTORED_UNCHANGED;
	return r < 0 ? r : CS_OK;
}

/* A directory is where none should be. */
static int judge_directory(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name,
			   struct cs_restore_found *f, struct cs_error *err)
{
	f->fate = CS_RESTORED_REPLACED;
	if (run->single)
		return cs_fail(err, CS_E_ISDIR, "is a directory");
	if (!run->opts->delete_extra)
		return cs_fail(err, CS_E_ISDIR, "a directory is in its place; only --delete would "
			       "replace it");
	return cs_restore_is_guarded(run, d, name) ?
		       cs_fail(err, CS_E_ISDIR, "a directory is in its place that must stay") :
		       CS_OK;
}

int cs_restore_judge(struct cs_restore_worker *w, struct cs_restore_dir *d, const char *name,
		     const struct cs_node *n, struct cs_restore_found *f, struct cs_error *err)
{
	struct cs_restore_run *run = w->run;
	*f = (struct cs_restore_found){ .path_fd = -1, .fd = -1 };
	int r = run->overwrite == CS_OVERWRITE_REFUSE ? CS_OK : cs_restore_look(d, name, f, err);

	if (r < 0)
		return cs_restore_failed(w, err->sys_errno, err, "cannot look at what is there");
	f->fate = f->there && cs_restore_keeps(run, n, &f->st) ? CS_RESTORED_KEPT : CS_RESTORED_CREATED;
	if (!f->there || f->fate == CS_RESTORED_KEPT)
		return CS_OK;
	if (S_ISDIR(f->st.st_mode))
		return judge_directory(run, d, name, f, err);
	if ((f->st.st_mode & S_IFMT) != (n->entry.mode & S_IFMT)) {
		f->fate = CS_RESTORED_REPLACED;
		return CS_OK;
	}
	r = S_ISREG(n->entry.mode) ? judge_file(w, n, f, err) : judge_other(run, n, f, err);
	w->fatal = r == CS_E_NOMEM || w->fatal;
	return r;
}

int cs_restore_judge_link(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name,
			  const struct cs_node *n, struct cs_restore_found *f,
			  struct cs_error *err)
{
	*f = (struct cs_restore_found){ .fate = CS_RESTORED_CREATED, .path_fd = -1, .fd = -1 };
	int r = run->overwrite == CS_OVERWRITE_REFUSE ? CS_OK : cs_restore_look(d, name, f, err);

	if (r < 0 || !f->there)
		return r;
	f->fate = cs_restore_keeps(run, n, &f->st) ? CS_RESTORED_KEPT : CS_RESTORED_REPLACED;
	return f->fate == CS_RESTORED_REPLACED && S_ISDIR(f->st.st_mode) ?
		       judge_directory(run, d, name, f, err) : CS_OK;
}

int cs_restore_judge_dir(struct cs_restore_run *run, const struct cs_node *n, int fd, int *fate,
			 struct cs_error *err)
{
	struct cs_restore_found f = { .there = true, .path_fd = fd, .fd = -1 };

	*fate = CS_RESTORED_UPDATED;
	if (run->overwrite == CS_OVERWRITE_REFUSE || fstat(fd, &f.st) != 0)
		return CS_OK;
	if (cs_restore_keeps(run, n, &f.st)) {
		*fate = CS_RESTORED_KEPT;
		return CS_OK;
	}
	int r = cs_restore_same_attrs(run, n, &f, err);
	if (r == 1)
		*fate = CS_RESTORED_UNCHANGED;
	return r == CS_E_NOMEM ? r : CS_OK;
}
