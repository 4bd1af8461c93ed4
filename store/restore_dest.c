/* SPDX-License-Identifier: MIT */
/*
 * restore_dest.c - decision: DEST is the user's word, so a symbolic link there
 * is followed where it leads to a directory; nothing below it ever is. What is
 * made has a name beside DEST that tells what it is, and is locked: the next
 * restore can carry on in it, but not while this one is at work.
 */
#include "restore_there_impl.h"

#include "cleanup.h"
#include "store.h"

#include "browse.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/xattr.h>

#define PARTIAL ".partial"

int cs_restore_dest_init(struct cs_restore_dest *d, const char *path, struct cs_error *err)
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

bool cs_restore_is_store(const struct cs_restore_run *run, const struct stat *st)
{
	const struct cs_store *s = run->tree->store;
	return st->st_dev == s->dev && st->st_ino == s->ino;
}

/* Nothing is written into the store's own directory, nor below it. */
static int check_outside(struct cs_restore_run *run, int fd, const char *path,
			 struct cs_error *err)
{
	struct stat st, up;
	CS_CLOSE int at = openat(fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);

	while (at >= 0 && fstat(at, &st) == 0) {
		if (cs_restore_is_store(run, &st))
			return cs_fail(err, CS_E_USAGE, "%s is inside the store", path);
		int next = openat(at, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
		bool end = next < 0 || fstat(next, &up) != 0 ||
			   (up.st_dev == st.st_dev && up.st_ino == st.st_ino);
		close(at);
		at = next;
		if (end)
			break;
	}
	return CS_OK;
}

int cs_restore_dest_parent(struct cs_restore_run *run, struct cs_restore_dest *d, bool *there,
			   struct cs_error *err)
{
	struct stat st;
	if (!cs_name_valid(d->name, strlen(d->name)))
		return cs_fail(err, CS_E_USAGE, "%s: not a name for something new", d->path);
	d->parent_fd = open(d->parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (d->parent_fd < 0 && errno == EACCES)
		d->parent_fd = open(d->parent, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (d->parent_fd < 0)
		return cs_fail_errno(err, errno, "%s", d->parent);
	*there = fstatat(d->parent_fd, d->name, &st, AT_SYMLINK_NOFOLLOW) == 0;
	return check_outside(run, d->parent_fd, d->path, err);
}

bool cs_restore_lost_and_found(const struct cs_restore_run *run, const struct cs_restore_dir *d,
			       const char *name)
{
	struct stat st;
	return d == run->top && strcmp(name, "lost+found") == 0 &&
	       fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(st.st_mode);
}

/* May be filled as if it were new? */
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
		    !cs_restore_is_stage(e->d_name) &&
		    !(strcmp(e->d_name, "lost+found") == 0 && e->d_type == DT_DIR))
			r = cs_fail(err, CS_E_EXISTS, "%s exists already and is not empty "
				    "(see --overwrite)", path);
	closedir(dir);
	return r;
}

/* Nobody else's while we fill it, and nothing of it is inherited. */
static void take_over(struct cs_restore_run *run, int fd)
{
	struct stat st;

	run->owned = fchown(fd, (uid_t)-1, run->gid) == 0;
	run->owned &= fchmod(fd, 0700) == 0;
	fremovexattr(fd, "system.posix_acl_access");
	fremovexattr(fd, "system.posix_acl_default");
	run->inherits = fgetxattr(fd, "system.posix_acl_default", NULL, 0) > 0;
	run->owned &= fstat(fd, &st) == 0 && st.st_uid == run->uid && st.st_gid == run->gid &&
		      (st.st_mode & 07777) == 0700;
}

/* DEST is a directory that is there. */
static int take_existing(struct cs_restore_run *run, struct cs_restore_dest *d, int fd,
			 struct cs_error *err)
{
	int r = check_outside(run, fd, d->path, err);

	if (r == CS_OK && run->overwrite == CS_OVERWRITE_REFUSE)
		r = check_empty(fd, d->path, err);
	if (r < 0)
		return r;
	run->merge = run->staged = true;
	if (run->overwrite == CS_OVERWRITE_REFUSE && !run->opts->dry_run)
		take_over(run, fd);
	else
		run->inherits = true;
	return CS_OK;
}

/* DEST.partial is there: carry on in it, if it is what we would have left. */
static int take_partial(struct cs_restore_run *run, struct cs_restore_dest *d, int *fd,
			struct cs_error *err)
{
	struct stat st;

	if (run->overwrite != CS_OVERWRITE_IF_CHANGED && run->overwrite != CS_OVERWRITE_ALWAYS)
		return cs_fail(err, CS_E_EXISTS, "%s/%s is left from a restore that failed: remove "
			       "it first, or carry on with --overwrite=if-changed", d->parent,
			       d->partial);
	*fd = openat(d->parent_fd, d->partial, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	if (*fd < 0)
		return cs_fail_errno(err, errno, "%s/%s", d->parent, d->partial);
	if (fstat(*fd, &st) != 0 || st.st_uid != run->uid || (st.st_mode & 077) != 0) {
		close(*fd);
		*fd = -1;
		return cs_fail(err, CS_E_EXISTS, "%s/%s: not left by a restore of yours", d->parent,
			       d->partial);
	}
	run->merge = run->staged = true;
	return CS_OK;
}

static int make_partial(struct cs_restore_run *run, struct cs_restore_dest *d, int *fd,
			struct cs_error *err)
{
	int room = NAME_MAX - (int)strlen(PARTIAL);
	struct stat st;

	snprintf(d->partial, sizeof(d->partial), "%.*s%s", room, d->name, PARTIAL);
	if (run->opts->dry_run && fstatat(d->parent_fd, d->partial, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return CS_OK;
	if (!run->opts->dry_run && mkdirat(d->parent_fd, d->partial, 0700) == 0) {
		d->made = true;
		*fd = openat(d->parent_fd, d->partial,
			     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (*fd < 0)
			return cs_fail_errno(err, errno, "cannot open %s", d->path);
	} else if (!run->opts->dry_run && errno != EEXIST) {
		return cs_fail_errno(err, errno, "cannot create %s", d->path);
	} else {
		int r = take_partial(run, d, fd, err);
		if (r < 0)
			return r;
	}
	if (flock(*fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
		d->made = false;
		return cs_fail(err, CS_E_BUSY, "%s is being restored by another process", d->path);
	}
	d->made = !run->opts->dry_run;
	if (d->made)
		take_over(run, *fd);
	return CS_OK;
}

int cs_restore_dest_dir(struct cs_restore_run *run, struct cs_restore_dest *d, int *fd,
			struct cs_error *err)
{
	struct stat st;
	bool there;

	*fd = open(d->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd >= 0)
		return take_existing(run, d, *fd, err);
	if (errno != ENOENT) {
		int sys = errno;
		if (sys != ENOTDIR || lstat(d->path, &st) != 0)
			return cs_fail_errno(err, sys, "%s", d->path);
		return cs_fail(err, CS_E_EXISTS, "%s exists already and is not a directory",
			       d->path);
	}
	int r = cs_restore_dest_parent(run, d, &there, err);
	if (r == CS_OK && there)
		r = cs_fail(err, CS_E_EXISTS, "%s exists already", d->path);
	return r == CS_OK ? make_partial(run, d, fd, err) : r;
}

int cs_restore_dest_name(struct cs_restore_dest *d, struct cs_error *err)
{
	if (!d->made)
		return CS_OK;
	int sys = cs_restore_rename_new(d->parent_fd, d->partial, d->parent_fd, d->name);
	if (sys != 0)
		return cs_fail_errno(err, sys, "%s", d->path);
	d->made = false;
	return CS_OK;
}

void cs_restore_dest_failed(struct cs_restore_dest *d, struct cs_error *err)
{
	if (!d->made || unlinkat(d->parent_fd, d->partial, AT_REMOVEDIR) == 0)
		return;
	size_t len = strlen(err->text);
	snprintf(err->text + len, sizeof(err->text) - len,
		 " (what was restored so far is in %s/%s)", d->parent, d->partial);
}
