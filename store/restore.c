/* SPDX-License-Identifier: MIT */
/*
 * restore.c - decision: DEST appears when it is complete, and what was there
 * before is changed one whole entry at a time. See restore.h for what is
 * promised about failures, restore_passes.c for a directory's passes.
 */
#include "restore_there_impl.h"

#include "alloc.h"
#include "cleanup.h"
#include "deadline.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
		r = cs_restore_tree(run, start, err);
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
	cs_deadline_cond(&run->room);
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
