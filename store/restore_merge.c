/* SPDX-License-Identifier: MIT */
/*
 * restore_merge.c - an entry that is no directory, where something may be.
 * Between judging (restore_judge.c) and doing somebody may have changed what is
 * there; the doing holds descriptors, or names in a directory that is ours
 * alone, so that it can then only fail, or replace what has the name now.
 */
#include "restore_there_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

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

	cs_restore_name_of(n, name);
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

	cs_restore_name_of(n, name);
	int r = cs_restore_judge(w, d, name, n, &f, err);
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
