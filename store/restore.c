/* SPDX-License-Identifier: MIT */
/*
 * restore.c - decision: DEST appears when it is complete, and what was there
 * before is changed one whole entry at a time. See restore.h for the passes
 * and what is promised about failures.
 */
#include "restore.h"

#include "alloc.h"
#include "cleanup.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>

void cs_restore_note(struct cs_restore_run *run, int fate, const struct cs_restore_dir *d,
		     const char *name, size_t name_len)
{
	size_t len;

	run->counts[fate]++;
	if (!run->opts->told || fate == CS_RESTORED_UNCHANGED)
		return;
	CS_FREE char *below = run->single ? cs_strdup("") : cs_restore_below(d, name, name_len,
									     &len);
	if (below)
		cs_restore_tell_fate(run, fate, below, run->single ? 0 : len);
}

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

static int restore_tree(struct cs_restore_run *run, const struct cs_node *start,
			struct cs_error *err)
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

/* ---- what is restored: a directory, a file, a file onto a device */

/* DEST itself. */
static int begin_top(struct cs_restore_run *run, const struct cs_node *start, int fd,
		     struct cs_error *err)
{
	int fate = CS_RESTORED_CREATED;

	run->top->absent = fd < 0;
	run->top->users = 1;
	if (fd >= 0 && run->merge) {
		int r = cs_restore_judge_dir(run, start, fd, &fate, err);
		if (r == CS_OK)
			r = cs_restore_set_fate(run, start->pos, fate);
		if (r < 0)
			return cs_fail(err, r, "out of memory");
	}
	cs_restore_note(run, fate, run->top, "", 0);
	return CS_OK;
}

static int restore_dir(struct cs_restore_run *run, struct cs_restore_dest *d,
		       const struct cs_node *start, struct cs_error *err)
{
	int fd = -1, r = cs_restore_dest_dir(run, d, &fd, err);

	if (r == CS_OK) {
		run->top = cs_restore_dir_new(run, NULL, d->path, strlen(d->path), fd);
		r = run->top ? begin_top(run, start, fd, err) :
			       cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	if (r == CS_OK)
		r = restore_tree(run, start, err);
	if (r == CS_OK)
		r = cs_restore_dest_name(d, err);
	if (r == CS_OK && fd >= 0 && !run->opts->dry_run && cs_restore_is_locked(start) &&
	    cs_restore_fate(run, start->pos) != CS_RESTORED_KEPT) {
		struct cs_restore_target t = { .fd = fd, .dirfd = -1, .name = "", .dir = run->top };
		cs_restore_lock(run, &t, start->entry.flags);
	}
	if (r < 0)
		cs_restore_dest_failed(d, err);
	if (fd >= 0 && !run->top)
		close(fd);
	return r;
}

static int restore_file(struct cs_restore_run *run, struct cs_restore_dest *d,
			const struct cs_node *start, struct cs_error *err)
{
	struct cs_restore_worker w = { .run = run };
	struct cs_node named = *start; /* under the name of DEST; start holds the page */
	struct cs_error sub;
	bool there;

	int r = cs_restore_dest_parent(run, d, &there, err);
	if (r < 0)
		return r;
	if (there && run->overwrite == CS_OVERWRITE_REFUSE)
		return cs_fail(err, CS_E_EXISTS, "%s exists already", d->path);
	run->top = cs_restore_dir_new(run, NULL, d->parent, strlen(d->parent), d->parent_fd);
	if (!run->top)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	run->merge = run->staged = run->single = run->inherits = true;
	d->parent_fd = -1;
	named.entry.name = d->name;
	named.entry.name_len = (uint32_t)strlen(d->name);
	r = cs_restore_make(&w, run->top, &named, &sub);
	cs_read_release(&w.rd);
	cs_restore_stages_end(run);
	if (r < 0)
		return cs_fail(err, r, "%s: %s", d->path, sub.text);
	cs_restore_lock_files(run);
	cs_restore_note(run, w.fate, run->top, d->name, strlen(d->name));
	run->entries = w.fate != CS_RESTORED_KEPT;
	run->bytes = run->entries && S_ISREG(start->entry.mode) ? start->entry.size : 0;
	return CS_OK;
}

static int restore_any(struct cs_restore_run *run, struct cs_restore_dest *d,
		       const struct cs_node *start, struct cs_error *err)
{
	struct stat st;

	if (S_ISDIR(start->entry.mode))
		return restore_dir(run, d, start, err);
	if (run->opts->in_place && S_ISREG(start->entry.mode) && stat(d->path, &st) == 0 &&
	    S_ISBLK(st.st_mode))
		return cs_restore_device(run, d->path, start, err);
	return restore_file(run, d, start, err);
}

/* ---- */

/* The path without slashes around it; as long as those inside are single, as excludes want it. */
static char *inner(const char *path)
{
	while (*path == '/')
		path++;
	char *out = cs_strdup(path);
	for (size_t n = out ? strlen(out) : 0; n > 0 && out[n - 1] == '/';)
		out[--n] = '\0';
	return out;
}

static void run_init(struct cs_restore_run *run, struct cs_tree *t,
		     const struct cs_restore_opts *opts, const struct cs_node *start)
{
	pthread_condattr_t clock;

	run->overwrite = opts->overwrite == CS_OVERWRITE_REFUSE && opts->in_place ?
				 CS_OVERWRITE_ALWAYS : opts->overwrite;

	run->tree = t;
	run->opts = opts;
	run->uid = geteuid();
	run->gid = getegid();
	run->caller = pthread_self();
	run->last = &run->first;
	run->notices_end = &run->notices;
	run->progress.what = "restore";
	run->progress.total_entries = start->entry.below.entries + 1;
	run->progress.total_bytes = S_ISREG(start->entry.mode) ? start->entry.size :
								start->entry.below.bytes;
	pthread_mutex_init(&run->lock, NULL);
	pthread_mutex_init(&run->stage_lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&run->room, &clock);
	pthread_condattr_destroy(&clock);
	pthread_cond_init(&run->work, NULL);
	pthread_cond_init(&run->calm, NULL);
}

static void run_release(struct cs_restore_run *run)
{
	cs_restore_links_release(run);
	cs_restore_lock_forget(run);
	if (run->top) {
		cs_restore_dir_unuse(run, run->top);
		cs_restore_dir_drop(run, run->top);
	}
	pthread_cond_destroy(&run->room);
	pthread_cond_destroy(&run->work);
	pthread_cond_destroy(&run->calm);
	pthread_mutex_destroy(&run->lock);
	pthread_mutex_destroy(&run->stage_lock);
	free(run->fates.slots);
	free(run->path);
}

int cs_restore(struct cs_tree *t, const char *path, const struct cs_restore_opts *opts,
	       struct cs_restore_result *out, struct cs_error *err)
{
	struct cs_restore_run run = { 0 };
	struct cs_restore_dest d = { .parent_fd = -1 };
	struct cs_node start = { 0 };
	struct cs_error unwanted;

	if (!err)
		err = &unwanted;
	int r = cs_restore_dest_init(&d, opts->dest, err);
	if (r == CS_OK && opts->delete_extra && opts->overwrite <= CS_OVERWRITE_NEVER)
		r = cs_fail(err, CS_E_USAGE, "to delete, say what is to be overwritten");
	if (r == CS_OK)
		r = cs_tree_lookup(t, path, &start, err);
	if (r < 0)
		return r;
	run_init(&run, t, opts, &start);
	run.path = inner(path);
	r = run.path ? restore_any(&run, &d, &start, err) :
		       cs_fail(err, CS_E_NOMEM, "out of memory");
	cs_restore_tell_rest(&run);
	if (r == CS_OK) {
		*out = (struct cs_restore_result){ .entries = run.entries, .bytes = run.bytes,
						   .written = run.written, .failed = run.failed };
		for (int i = 0; i < CS_RESTORED_KINDS; i++)
			out->counts[i] = run.counts[i];
		if (run.failed > 0)
			r = cs_fail(err, CS_E_PARTIAL, "%s: %s, but for %llu entries or "
				    "attributes", d.path,
				    opts->dry_run ? "would be restored" : "restored", (unsigned long long)run.failed);
	}
	run_release(&run);
	cs_node_release(&start);
	if (d.parent_fd >= 0)
		close(d.parent_fd);
	return r;
}
