/* SPDX-License-Identifier: MIT */
/*
 * restore_passes.c - a directory with all below it: the passes over its tree,
 * as restore.h tells them.
 */
#include "restore_there_impl.h"

#include "alloc.h"
#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <unistd.h>

/* ---- the first pass */

static int make_fresh_dir(struct cs_restore_run *run, struct cs_restore_dir *d,
			  const struct cs_node *n, int *fd, struct cs_error *err)
{
	const struct cs_entry *e = &n->entry;
	char name[NAME_MAX + 1];

	memcpy(name, e->name, e->name_len);
	name[e->name_len] = '\0';
	if (!run->opts->dry_run && mkdirat(d->fd, name, 0700) != 0) {
		struct cs_error sub;
		int sys = errno;
		CS_FREE char *path = cs_restore_path(d, name, e->name_len);
		if (cs_restore_errno_fatal(sys))
			return cs_fail_errno(err, sys, "%s: cannot create the directory",
					     path ? path : name);
		cs_fail_errno(&sub, sys, "cannot create the directory");
		cs_restore_tell(run, CS_NOTICE_ERROR, d, name, e->name_len, sub.text);
		return 0;
	}
	*fd = run->opts->dry_run ? -1 : cs_restore_open_dir(d->fd, e->name, e->name_len, err);
	if (*fd < 0 && !run->opts->dry_run)
		return *fd;
	cs_restore_note(run, CS_RESTORED_CREATED, d, name, e->name_len);
	return 1;
}

/* Takes fd over, also on failure; -1: absent. */
static int new_dir(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		   int fd, struct cs_restore_dir **out, struct cs_error *err)
{
	*out = cs_restore_dir_new(run, d, n->entry.name, n->entry.name_len, fd);
	if (!*out) {
		if (fd >= 0)
			close(fd);
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	if (fd < 0) {
		(*out)->absent = true;
		(*out)->users = 1;
	}
	return CS_OK;
}

static int make_dir(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		    struct cs_restore_dir **out, struct cs_error *err)
{
	const struct cs_entry *e = &n->entry;
	int fd = -1;

	int r = cs_restore_pump(run, d, err);
	if (r < 0)
		return r;
	r = run->merge ? cs_restore_merge_dir(run, d, n, &fd, err) :
			 make_fresh_dir(run, d, n, &fd, err);
	if (r < 0)
		return r;
	if (r == 0)
		return cs_restore_map_add(&run->missing, n->pos, NULL) == CS_OK ?
			       0 : cs_fail(err, CS_E_NOMEM, "out of memory");
	struct cs_restore_target t = { .fd = fd, .dirfd = d->fd, .name = "", .dir = d };
	if (fd >= 0 && e->have & CS_HAVE_FLAGS && e->flags & FS_CASEFOLD_FL &&
	    cs_restore_fate(run, n->pos) < 0)
		cs_restore_early(run, &t, n); /* only an empty directory takes it */
	r = new_dir(run, d, n, fd, out, err);
	return r < 0 ? r : 1;
}

static int make_entry(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		      struct cs_error *err)
{
	bool first;
	int r = cs_restore_link_first(run, d, n, &first, err);
	if (r < 0 || !first)
		return r;
	return cs_restore_pool_add(run, d, n, err);
}

/* ---- later passes */

int cs_restore_enter_again(struct cs_restore_run *run, struct cs_restore_dir *d,
			   const struct cs_node *n, struct cs_restore_dir **out,
			   struct cs_error *err)
{
	struct cs_error sub;

	if (cs_restore_map_find(&run->missing, n->pos))
		return 0;
	bool absent = run->opts->dry_run && cs_restore_fate(run, n->pos) < 0;
	int fd = absent ? -1 : cs_restore_open_dir(d->fd, n->entry.name, n->entry.name_len, &sub);
	if (fd < 0 && !absent) {
		if (!run->merge || cs_restore_errno_fatal(sub.sys_errno)) {
			if (err)
				*err = sub;
			return sub.code;
		}
		/* somebody else has been here */
		cs_restore_tell(run, CS_NOTICE_ERROR, d, n->entry.name, n->entry.name_len,
				sub.text);
		return cs_restore_map_add(&run->missing, n->pos, NULL) == CS_OK ?
			       0 : cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	int r = new_dir(run, d, n, fd, out, err);
	return r < 0 ? r : 1;
}

static int enter_to_finish(struct cs_restore_run *run, struct cs_restore_dir *d,
			   const struct cs_node *n, struct cs_restore_dir **out,
			   struct cs_error *err)
{
	int r = cs_restore_enter_again(run, d, n, out, err);
	return r <= 0 || n->entry.subdirs ? r : 2;
}

/* A directory that was there: 1 when nothing is to be done about it. */
static int is_finished(struct cs_restore_run *run, struct cs_restore_dir *d,
		       const struct cs_node *n, int fate, struct cs_error *err)
{
	struct cs_restore_found f = { .there = true, .path_fd = d->fd, .fd = -1 };

	if (fate == CS_RESTORED_KEPT)
		return 1;
	if (fate == CS_RESTORED_CREATED || fstat(d->fd, &f.st) != 0)
		return 0;
	int r = cs_restore_same_attrs(run, n, &f, err);
	return r == 0 ? cs_restore_drop_xattrs(run, n, d->fd, err) : r;
}

static int finish_dir(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		      struct cs_error *err)
{
	struct cs_restore_target t = { .fd = d->fd, .dirfd = -1, .name = "", .dir = d };
	int fate = cs_restore_fate(run, n->pos);
	struct cs_error sub;

	int r = cs_restore_pump(run, d, err);
	if (r < 0)
		return r;
	run->entries += fate != CS_RESTORED_KEPT;
	if (run->opts->dry_run)
		return CS_OK;
	r = fate < 0 ? 0 : is_finished(run, d, n, fate, &sub);
	if (r == 1)
		return CS_OK;
	if (r == 0) {
		cs_restore_early(run, &t, n);
		r = cs_restore_attrs(run, &t, n, &sub);
	}
	if (r < 0) {
		CS_FREE char *path = cs_restore_path(d, "", 0);
		cs_fail(err, r, "%s: %s", path ? path : d->name, sub.text);
		return r;
	}
	if (d != run->top && cs_restore_is_locked(n))
		cs_restore_lock(run, &t, n->entry.flags);
	return CS_OK;
}

int cs_restore_tree(struct cs_restore_run *run, const struct cs_node *start, struct cs_error *err)
{
	static const struct cs_restore_visitor maker = {
		.enter = make_dir, .entry = make_entry, .tell = true,
	};
	static const struct cs_restore_visitor finisher = {
		.enter = enter_to_finish, .leave = finish_dir,
	};
	int r = cs_restore_pool_start(run, err);
	if (r == CS_OK)
		r = cs_restore_walk(run, start, &maker, err);
	if (r == CS_OK)
		r = cs_restore_pool_finish(run, err);
	if (r < 0)
		cs_restore_stop(run, err);
	cs_restore_pool_stop(run);
	if (r == CS_OK)
		r = cs_restore_links(run, start, err);
	cs_restore_stages_end(run);
	if (r == CS_OK)
		r = cs_restore_delete(run, start, err);
	if (r == CS_OK) {
		cs_restore_lock_files(run);
		r = cs_restore_walk(run, start, &finisher, err);
	}
	if (r == CS_OK)
		r = cs_restore_pump(run, NULL, err);
	return r;
}
