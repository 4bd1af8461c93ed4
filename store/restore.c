/* SPDX-License-Identifier: MIT */
/*
 * restore.c - decision: DEST appears when it is complete. See restore.h for
 * the three passes and what is promised about failures.
 */
#include "restore.h"

#include "cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

#define PARTIAL ".partial"

/* Where the result goes. */
struct dest {
	char path[PATH_MAX];     /* as given, without slashes at the end */
	char parent[PATH_MAX];   /* the directory that it is made in */
	const char *name;        /* its name there, into path */
	char partial[NAME_MAX + 1]; /* and its name until it is complete; "": filled in place */
	int parent_fd;
	bool made; /* partial exists and is ours */
};

static int split_path(struct dest *d, const char *path, struct cs_error *err)
{
	size_t len = strlen(path);

	while (len > 1 && path[len - 1] == '/')
		len--;
	if (len == 0)
		return cs_fail(err, CS_E_USAGE, "the destination needs a name");
	if (len >= sizeof(d->path))
		return cs_fail_errno(err, ENAMETOOLONG, "destination");
	memcpy(d->path, path, len);
	d->path[len] = '\0';
	char *slash = strrchr(d->path, '/');
	d->name = slash ? slash + 1 : d->path;
	memcpy(d->parent, d->path, len + 1);
	if (!slash)
		strcpy(d->parent, ".");
	else
		d->parent[slash > d->path ? slash - d->path : 1] = '\0';
	return CS_OK;
}

/* What was asked to be made exists already, or may not be made. */
static int refuse(struct dest *d, int sys, struct cs_error *err)
{
	struct stat st;
	if (lstat(d->path, &st) == 0)
		return cs_fail(err, CS_E_EXISTS, "%s exists already", d->path);
	return cs_fail_errno(err, sys, "%s", d->path);
}

static int open_parent(struct dest *d, struct cs_error *err)
{
	struct stat st;
	if (!cs_name_valid(d->name, strlen(d->name)))
		return cs_fail(err, CS_E_USAGE, "%s: not a name for something new", d->path);
	d->parent_fd = open(d->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->parent_fd < 0 && errno == EACCES)
		d->parent_fd = open(d->parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (d->parent_fd < 0)
		return cs_fail_errno(err, errno, "%s", d->parent);
	if (fstatat(d->parent_fd, d->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return cs_fail(err, CS_E_EXISTS, "%s exists already", d->path);
	return CS_OK;
}

/* A new file system's root has a lost+found, and is empty all the same. */
static int check_empty(int fd, const char *path, struct cs_error *err)
{
	int r = CS_OK, copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *e;

	if (!dir) {
		r = cs_fail_errno(err, errno, "%s", path);
		if (copy >= 0)
			close(copy);
		return r;
	}
	while ((e = readdir(dir)) && r == CS_OK)
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    !(strcmp(e->d_name, "lost+found") == 0 && e->d_type == DT_DIR))
			r = cs_fail(err, CS_E_EXISTS, "%s exists already and is not empty", path);
	closedir(dir);
	return r;
}

/* Make DEST.partial, or take DEST when it is an empty directory. Returns a descriptor. */
static int open_dest_dir(struct dest *d, struct cs_error *err)
{
	int fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd >= 0) {
		int r = check_empty(fd, d->path, err);
		if (r == CS_OK)
			return fd;
		close(fd);
		return r;
	}
	if (errno != ENOENT)
		return refuse(d, errno, err);
	int r = open_parent(d, err);
	if (r < 0)
		return r;
	int room = NAME_MAX - (int)strlen(PARTIAL);
	snprintf(d->partial, sizeof(d->partial), "%.*s%s", room, d->name, PARTIAL);
	if (mkdirat(d->parent_fd, d->partial, 0700) != 0) {
		if (errno == EEXIST)
			return cs_fail(err, CS_E_EXISTS, "%s/%s is left from a restore that "
				       "failed: remove it first", d->parent, d->partial);
		return cs_fail_errno(err, errno, "cannot create %s", d->path);
	}
	d->made = true;
	fd = openat(d->parent_fd, d->partial, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 ? fd : cs_fail_errno(err, errno, "cannot open %s", d->path);
}

static bool inherits(int fd)
{
	return fgetxattr(fd, "system.posix_acl_default", NULL, 0) > 0;
}

/* Nobody else's while we fill it, and nothing of it is inherited. */
static void take_over(struct cs_restore_run *run, int fd)
{
	struct stat st;

	run->owned = fchown(fd, (uid_t)-1, run->gid) == 0;
	run->owned &= fchmod(fd, 0700) == 0;
	fremovexattr(fd, "system.posix_acl_access");
	fremovexattr(fd, "system.posix_acl_default");
	run->inherits = inherits(fd);
	run->owned &= fstat(fd, &st) == 0 && st.st_uid == run->uid && st.st_gid == run->gid &&
		      (st.st_mode & 07777) == 0700;
}

/* ---- the first pass */

static bool is_lost_and_found(const struct cs_restore_run *run, const struct cs_restore_dir *d,
			      const char *name)
{
	struct stat st;
	return d == run->top && strcmp(name, "lost+found") == 0 &&
	       fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

static int make_dir(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		    struct cs_restore_dir **out, struct cs_error *err)
{
	const struct cs_entry *e = &n->entry;
	char name[NAME_MAX + 1];

	int r = cs_restore_pump(run, d, err);
	if (r < 0)
		return r;
	memcpy(name, e->name, e->name_len);
	name[e->name_len] = '\0';
	if (mkdirat(d->fd, name, 0700) != 0 &&
	    !(errno == EEXIST && is_lost_and_found(run, d, name))) {
		struct cs_error sub;
		int sys = errno;
		CS_FREE char *path = cs_restore_path(d, name, e->name_len);
		if (cs_restore_errno_fatal(sys))
			return cs_fail_errno(err, sys, "%s: cannot create the directory",
					     path ? path : name);
		cs_fail_errno(&sub, sys, "cannot create the directory");
		cs_restore_tell(run, CS_NOTICE_ERROR, d, name, e->name_len, sub.text);
		if (cs_restore_map_add(&run->missing, n->pos, NULL) < 0)
			return cs_fail(err, CS_E_NOMEM, "out of memory");
		return 0;
	}
	int fd = cs_restore_open_dir(d->fd, name, e->name_len, err);
	if (fd < 0)
		return fd;
	struct cs_restore_target t = { fd, d->fd, name, d };
	if (e->have & CS_HAVE_FLAGS && e->flags & FS_CASEFOLD_FL)
		cs_restore_early(run, &t, n); /* only an empty directory takes it */
	*out = cs_restore_dir_new(run, d, name, e->name_len, fd);
	if (*out)
		return 1;
	close(fd);
	return cs_fail(err, CS_E_NOMEM, "out of memory");
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

/* ---- the third pass */

static int enter_again(struct cs_restore_run *run, struct cs_restore_dir *d,
		       const struct cs_node *n, struct cs_restore_dir **out, struct cs_error *err)
{
	if (cs_restore_map_find(&run->missing, n->pos))
		return 0;
	int fd = cs_restore_open_dir(d->fd, n->entry.name, n->entry.name_len, err);
	if (fd < 0)
		return fd;
	*out = cs_restore_dir_new(run, d, n->entry.name, n->entry.name_len, fd);
	if (*out)
		return n->entry.subdirs ? 1 : 2;
	close(fd);
	return cs_fail(err, CS_E_NOMEM, "out of memory");
}

static int finish_dir(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		      struct cs_error *err)
{
	struct cs_restore_target t = { d->fd, -1, "", d };
	struct cs_error sub;

	int r = cs_restore_pump(run, d, err);
	if (r < 0)
		return r;
	cs_restore_early(run, &t, n);
	r = cs_restore_attrs(run, &t, n, &sub);
	if (r < 0) {
		CS_FREE char *path = cs_restore_path(d, "", 0);
		cs_fail(err, r, "%s: %s", path ? path : d->name, sub.text);
		return r;
	}
	if (d != run->top && cs_restore_is_locked(n))
		cs_restore_lock(run, &t, n->entry.flags);
	run->entries++;
	return CS_OK;
}

static int restore_tree(struct cs_restore_run *run, const struct cs_node *start,
			struct cs_error *err)
{
	static const struct cs_restore_visitor maker = {
		.enter = make_dir, .entry = make_entry, .tell = true,
	};
	static const struct cs_restore_visitor finisher = {
		.enter = enter_again, .leave = finish_dir,
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
	if (r == CS_OK) {
		cs_restore_lock_files(run);
		r = cs_restore_walk(run, start, &finisher, err);
	}
	if (r == CS_OK)
		r = cs_restore_pump(run, NULL, err);
	return r;
}

/* ---- DEST */

/* Give the complete directory its name. */
static int give_name(struct dest *d, struct cs_error *err)
{
	int from = d->parent_fd;
	struct stat st;

	if (!d->made)
		return CS_OK;
	if (renameat2(from, d->partial, from, d->name, RENAME_NOREPLACE) != 0) {
		if (errno != EINVAL && errno != ENOSYS)
			return cs_fail_errno(err, errno, "%s", d->path);
		if (fstatat(from, d->name, &st, AT_SYMLINK_NOFOLLOW) == 0)
			return cs_fail_errno(err, EEXIST, "%s", d->path);
		if (renameat(from, d->partial, from, d->name) != 0)
			return cs_fail_errno(err, errno, "%s", d->path);
	}
	d->made = false;
	return CS_OK;
}

/* After a failure: nothing is left when nothing was restored; else say where it is. */
static void say_what_is_left(struct dest *d, struct cs_error *err)
{
	if (!d->made || unlinkat(d->parent_fd, d->partial, AT_REMOVEDIR) == 0)
		return;
	size_t len = strlen(err->text);
	snprintf(err->text + len, sizeof(err->text) - len,
		 " (what was restored so far is in %s/%s)", d->parent, d->partial);
}

static int restore_dir(struct cs_restore_run *run, struct dest *d, const struct cs_node *start,
		       struct cs_error *err)
{
	int fd = open_dest_dir(d, err), r = fd;

	if (fd >= 0) {
		take_over(run, fd);
		run->top = cs_restore_dir_new(run, NULL, d->path, strlen(d->path), fd);
		r = run->top ? CS_OK : cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	if (r == CS_OK)
		r = restore_tree(run, start, err);
	if (r == CS_OK)
		r = give_name(d, err);
	if (r == CS_OK && cs_restore_is_locked(start)) {
		struct cs_restore_target t = { fd, -1, "", run->top };
		cs_restore_lock(run, &t, start->entry.flags);
	}
	if (r < 0)
		say_what_is_left(d, err);
	if (fd >= 0 && !run->top)
		close(fd);
	return r;
}

static int restore_file(struct cs_restore_run *run, struct dest *d, const struct cs_node *start,
			struct cs_error *err)
{
	struct cs_restore_worker w = { .run = run };
	struct cs_node named = *start; /* under the name of DEST; start holds the page */
	struct cs_error sub;

	int r = open_parent(d, err);
	if (r < 0)
		return r;
	run->top = cs_restore_dir_new(run, NULL, d->parent, strlen(d->parent), d->parent_fd);
	if (!run->top)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	run->inherits = inherits(d->parent_fd);
	d->parent_fd = -1;
	named.entry.name = d->name;
	named.entry.name_len = (uint32_t)strlen(d->name);
	r = cs_restore_make(&w, run->top, &named, &sub);
	cs_read_release(&w.rd);
	if (r < 0)
		return cs_fail(err, r, "%s: %s", d->path, sub.text);
	cs_restore_lock_files(run);
	run->entries = 1;
	run->bytes = S_ISREG(start->entry.mode) ? start->entry.size : 0;
	return CS_OK;
}

static void run_init(struct cs_restore_run *run, struct cs_tree *t,
		     const struct cs_restore_opts *opts, const struct cs_node *start)
{
	pthread_condattr_t clock;

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
}

int cs_restore(struct cs_tree *t, const char *path, const struct cs_restore_opts *opts,
	       struct cs_restore_result *out, struct cs_error *err)
{
	struct cs_restore_run run = { 0 };
	struct dest d = { .parent_fd = -1 };
	struct cs_node start = { 0 };
	struct cs_error unwanted;

	if (!err)
		err = &unwanted;
	int r = split_path(&d, opts->dest, err);
	if (r == CS_OK)
		r = cs_tree_lookup(t, path, &start, err);
	if (r < 0)
		return r;
	run_init(&run, t, opts, &start);
	r = S_ISDIR(start.entry.mode) ? restore_dir(&run, &d, &start, err) :
					restore_file(&run, &d, &start, err);
	cs_restore_tell_rest(&run);
	if (r == CS_OK) {
		*out = (struct cs_restore_result){ run.entries, run.bytes, run.failed };
		if (run.failed > 0)
			r = cs_fail(err, CS_E_PARTIAL, "%s: restored, but for %llu entries or "
				    "attributes", d.path, (unsigned long long)run.failed);
	}
	run_release(&run);
	cs_node_release(&start);
	if (d.parent_fd >= 0)
		close(d.parent_fd);
	return r;
}
