/* SPDX-License-Identifier: MIT */
/*
 * restore_merge.c - decision: first say what is to happen to an entry, from
 * what is there and what was asked for, then do it. A dry run is the first
 * half. In between somebody may have changed what is there; the doing holds
 * descriptors, or names in a directory that is ours alone, so that it can then
 * only fail, or replace what has the name now.
 *
 * A file with further hard links is never changed where it is, only replaced:
 * its other names may lie outside DEST.
 */
#include "restore.h"

#include "cleanup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

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

static void name_of(const struct cs_node *n, char out[256])
{
	memcpy(out, n->entry.name, n->entry.name_len);
	out[n->entry.name_len] = '\0';
}

/* ---- what is to happen */

/* Is it to stay, whatever it is? */
static bool keeps(struct cs_restore_run *run, const struct cs_node *n, const struct stat *st)
{
	return run->overwrite == CS_OVERWRITE_NEVER ||
	       (run->overwrite == CS_OVERWRITE_IF_NEWER && !cs_restore_newer(n, st));
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
	else if (content == 0 && run->opts->in_place && single && n->entry.size > CS_RESTORE_PIECE)
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

static int judge(struct cs_restore_worker *w, struct cs_restore_dir *d, const char *name,
		 const struct cs_node *n, struct cs_restore_found *f, struct cs_error *err)
{
	struct cs_restore_run *run = w->run;
	*f = (struct cs_restore_found){ .path_fd = -1, .fd = -1 };
	int r = run->overwrite == CS_OVERWRITE_REFUSE ? CS_OK : cs_restore_look(d, name, f, err);

	if (r < 0)
		return cs_restore_failed(w, err->sys_errno, err, "cannot look at what is there");
	f->fate = f->there && keeps(run, n, &f->st) ? CS_RESTORED_KEPT : CS_RESTORED_CREATED;
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
	f->fate = keeps(run, n, &f->st) ? CS_RESTORED_KEPT : CS_RESTORED_REPLACED;
	return f->fate == CS_RESTORED_REPLACED && S_ISDIR(f->st.st_mode) ?
		       judge_directory(run, d, name, f, err) : CS_OK;
}

/* ---- doing it */

/* A directory moves out of the way, in one step where that can be done, and is removed then. */
static int settle_over_dir(struct cs_restore_run *run, struct cs_restore_stage *s,
			   const char *temp, struct cs_restore_dir *d, const char *name)
{
	char old[CS_RESTORE_TEMP];
	struct cs_error err;

	if (renameat2(s->fd, temp, d->fd, name, RENAME_EXCHANGE) == 0) {
		memcpy(old, temp, strlen(temp) + 1);
	} else {
		if (errno != EINVAL && errno != ENOSYS)
			return errno;
		cs_restore_temp_name(run, old);
		if (renameat(d->fd, name, s->fd, old) != 0)
			return errno;
		int sys = cs_restore_rename_new(s->fd, temp, d->fd, name);
		if (sys != 0) {
			(void)cs_restore_rename_new(s->fd, old, d->fd, name);
			return sys;
		}
	}
	if (cs_restore_remove(run, s->fd, old, d, name, &err) < 0)
		cs_restore_tell(run, CS_NOTICE_ERROR, d, name, strlen(name), err.text);
	return 0;
}

int cs_restore_settle(struct cs_restore_worker *w, struct cs_restore_stage *s, const char *temp,
		      struct cs_restore_dir *d, const struct cs_node *n,
		      const struct cs_restore_found *f, struct cs_error *err)
{
	char name[256];
	int sys;

	name_of(n, name);
	if (f->there && S_ISDIR(f->st.st_mode))
		sys = settle_over_dir(w->run, s, temp, d, name);
	else if (f->there)
		sys = renameat(s->fd, temp, d->fd, name) == 0 ? 0 : errno;
	else
		sys = cs_restore_rename_new(s->fd, temp, d->fd, name);
	if (sys == 0)
		return CS_OK;
	unlinkat(s->fd, temp, 0);
	return cs_restore_failed(w, sys, err, f->there ? "cannot replace what is there" :
							 "cannot create");
}

static int make_staged(struct cs_restore_worker *w, struct cs_restore_dir *d, const char *name,
		       const struct cs_node *n, const struct cs_restore_found *f,
		       struct cs_error *err)
{
	struct cs_restore_stage *s;
	char temp[CS_RESTORE_TEMP];
	bool large = n->entry.size > CS_RESTORE_PIECE || n->entry.data_bytes < n->entry.size;
	struct cs_restore_target direct = { .fd = -1, .dirfd = d->fd, .name = name, .dir = d };

	if (!f->there && S_ISREG(n->entry.mode) && (large || w->run->single)) {
		int r = cs_restore_fill_target(w, &direct, n, true, false, err);
		if (r <= 0)
			return r;
	}
	for (int again = 0;; again++) {
		int r = cs_restore_stage_of(w->run, d, &s, err);
		if (r < 0) {
			w->fatal = r == CS_E_NOMEM || cs_restore_errno_fatal(err->sys_errno);
			return r;
		}
		cs_restore_temp_name(w->run, temp);
		struct cs_restore_target t = { .fd = -1, .dirfd = s->fd, .name = temp, .dir = d,
					       .shown = name, .clean = true };
		r = cs_restore_fill_target(w, &t, n, false, f->there, err);
		if (r == CS_OK)
			r = cs_restore_settle(w, s, temp, d, n, f, err);
		if (r == CS_OK || again || err->sys_errno != EXDEV)
			return r;
		r = cs_restore_stage_here(w->run, d, err);
		if (r < 0)
			return r;
	}
}

/* What is there has the right content. */
static int update(struct cs_restore_worker *w, struct cs_restore_target *t, const struct cs_node *n,
		  struct cs_error *err)
{
	int r = cs_restore_drop_xattrs(w->run, n, t->fd, err);
	return r == CS_OK ? cs_restore_attrs(w->run, t, n, err) : r;
}

int cs_restore_merge(struct cs_restore_worker *w, struct cs_restore_dir *d,
		     const struct cs_node *n, struct cs_error *err)
{
	struct cs_restore_found f;
	char name[256];

	name_of(n, name);
	int r = judge(w, d, name, n, &f, err);
	w->fate = f.fate;
	struct cs_restore_target t = { .fd = f.fd, .dirfd = d->fd, .name = name, .dir = d };
	if (r == CS_OK && !w->run->opts->dry_run)
		switch (f.fate) {
		case CS_RESTORED_CREATED:
		case CS_RESTORED_REPLACED:
			r = make_staged(w, d, name, n, &f, err);
			break;
		case CS_RESTORED_PATCHED:
			r = cs_restore_patch(w, &t, n, &f, err);
			break;
		case CS_RESTORED_UPDATED:
			r = update(w, &t, n, err);
			break;
		default:
			break;
		}
	cs_restore_found_close(&f);
	return r;
}

/* ---- directories */

int cs_restore_judge_dir(struct cs_restore_run *run, const struct cs_node *n, int fd, int *fate,
			 struct cs_error *err)
{
	struct cs_restore_found f = { .there = true, .path_fd = fd, .fd = -1 };

	*fate = CS_RESTORED_UPDATED;
	if (run->overwrite == CS_OVERWRITE_REFUSE || fstat(fd, &f.st) != 0)
		return CS_OK;
	if (keeps(run, n, &f.st)) {
		*fate = CS_RESTORED_KEPT;
		return CS_OK;
	}
	int r = cs_restore_same_attrs(run, n, &f, err);
	if (r == 1)
		*fate = CS_RESTORED_UNCHANGED;
	return r == CS_E_NOMEM ? r : CS_OK;
}

/* Left out, with all below it. */
static int leave_out(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name,
		     int sys, const char *why)
{
	struct cs_error err;

	if (sys)
		cs_fail_errno(&err, sys, "%s", why);
	else
		cs_fail(&err, CS_E_EXISTS, "%s", why);
	cs_restore_tell(run, CS_NOTICE_ERROR, d, name, strlen(name), err.text);
	return 0;
}

/* Open it; its owner may have to let himself in. What the others will not be allowed, they are
 * not allowed from now on. */
static int enter_found(struct cs_restore_run *run, const struct cs_node *n,
		       const struct cs_restore_found *f, int fate)
{
	char path[32];
	mode_t now = f->st.st_mode & 07777, mode = now;

	if (fate != CS_RESTORED_KEPT && !run->opts->dry_run) {
		mode &= (n->entry.mode & 07777) | 0700;
		if (f->st.st_uid == run->uid)
			mode |= 0700;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", f->path_fd);
		if (mode != now)
			(void)!chmod(path, mode); /* what it forbids, the next step tells */
	}
	return cs_restore_open_found(f, O_RDONLY | O_DIRECTORY);
}

static int merge_into(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name,
		      const struct cs_node *n, const struct cs_restore_found *f, int *fd,
		      struct cs_error *err)
{
	int fate;

	if (run->overwrite == CS_OVERWRITE_REFUSE && !cs_restore_lost_and_found(run, d, name))
		return leave_out(run, d, name, EEXIST, "cannot create the directory");
	if (cs_restore_is_store(run, &f->st))
		return leave_out(run, d, name, 0, "is the store itself; left alone");
	int r = cs_restore_judge_dir(run, n, f->path_fd, &fate, err);
	if (r < 0)
		return r;
	*fd = enter_found(run, n, f, fate);
	if (*fd < 0)
		return leave_out(run, d, name, -*fd, "cannot open the directory");
	if (cs_restore_set_fate(run, n->pos, fate) < 0) {
		close(*fd);
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	cs_restore_note(run, fate, d, name, strlen(name));
	return 1;
}

/* Something else is where the directory should be. */
static int replace_by_dir(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name,
			  const struct cs_node *n, const struct cs_restore_found *f, int *fd,
			  struct cs_error *err)
{
	struct cs_restore_stage *s;
	char temp[CS_RESTORE_TEMP];

	if (keeps(run, n, &f->st) || !run->opts->delete_extra)
		return leave_out(run, d, name, 0, "something else is in the place of this "
				 "directory; left out with all below it (see --delete)");
	if (!run->opts->dry_run) {
		struct cs_error sub;
		int r = cs_restore_stage_of(run, d, &s, &sub);
		if (r < 0)
			return leave_out(run, d, name, 0, sub.text);
		cs_restore_temp_name(run, temp);
		if (mkdirat(s->fd, temp, 0700) != 0)
			return cs_fail_errno(err, errno, "cannot create a directory");
		if (renameat2(s->fd, temp, d->fd, name, RENAME_EXCHANGE) == 0) {
			unlinkat(s->fd, temp, 0);
		} else {
			unlinkat(s->fd, temp, AT_REMOVEDIR);
			if (unlinkat(d->fd, name, 0) != 0 || mkdirat(d->fd, name, 0700) != 0)
				return leave_out(run, d, name, errno,
						 "cannot replace it by the directory");
		}
		*fd = cs_restore_open_dir(d->fd, name, strlen(name), err);
		if (*fd < 0)
			return leave_out(run, d, name, errno, "cannot open the directory");
	}
	cs_restore_note(run, CS_RESTORED_REPLACED, d, name, strlen(name));
	return 1;
}

static int make_new(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name, int *fd,
		    struct cs_error *err)
{
	if (!run->opts->dry_run) {
		if (mkdirat(d->fd, name, 0700) != 0) {
			int sys = errno;
			CS_FREE char *path = cs_restore_path(d, name, strlen(name));
			if (!cs_restore_errno_fatal(sys))
				return leave_out(run, d, name, sys, "cannot create the directory");
			return cs_fail_errno(err, sys, "%s: cannot create the directory",
					     path ? path : name);
		}
		*fd = cs_restore_open_dir(d->fd, name, strlen(name), err);
		if (*fd < 0)
			return leave_out(run, d, name, errno, "cannot open the directory");
	}
	cs_restore_note(run, CS_RESTORED_CREATED, d, name, strlen(name));
	return 1;
}

int cs_restore_merge_dir(struct cs_restore_run *run, struct cs_restore_dir *d,
			 const struct cs_node *n, int *fd, struct cs_error *err)
{
	struct cs_restore_found f;
	struct cs_error sub;
	char name[256];

	*fd = -1;
	name_of(n, name);
	int r = cs_restore_look(d, name, &f, &sub);
	if (r < 0)
		r = leave_out(run, d, name, 0, sub.text);
	else if (!f.there)
		r = make_new(run, d, name, fd, err);
	else if (S_ISDIR(f.st.st_mode))
		r = merge_into(run, d, name, n, &f, fd, err);
	else
		r = replace_by_dir(run, d, name, n, &f, fd, err);
	cs_restore_found_close(&f);
	return r;
}
