/* SPDX-License-Identifier: MIT */
/*
 * restore_remove.c - what is removed, with all below it, and what must stay:
 * the store, whatever is mounted, what was excluded; with the directories above
 * it.
 *
 * Decision: no recursion, and only the deepest directories are open, so that
 * neither the stack nor the number of descriptors nor PATH_MAX bounds how deep
 * it may be. One that was closed is opened again from the top, name by name, no
 * link followed, and must be the one it was: who moves it meanwhile keeps it.
 */
#include "restore_there_impl.h"

#include "alloc.h"
#include "buf.h"
#include "cleanup.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OPEN_MAX_LEVELS CS_RESTORE_OPEN_LEVELS

/* ---- names of a directory */

void cs_restore_names_free(struct cs_restore_names *n)
{
	while (n->count > 0)
		free(n->list[--n->count]);
	free(n->list);
	*n = (struct cs_restore_names){ 0 };
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

int cs_restore_names_read(int dirfd, struct cs_restore_names *out, struct cs_error *err)
{
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *e;
	int r = CS_OK;

	if (!dir) {
		r = cs_fail_errno(err, errno, "cannot read the directory");
		if (copy >= 0)
			close(copy);
		return r;
	}
	while (r == CS_OK && (errno = 0, e = readdir(dir))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (cs_grow(&out->list, &out->cap, out->count + 1, sizeof(*out->list)) < 0 ||
		    !(out->list[out->count] = cs_strdup(e->d_name)))
			r = cs_fail(err, CS_E_NOMEM, "out of memory");
		else
			out->count++;
	}
	if (r == CS_OK && errno != 0)
		r = cs_fail_errno(err, errno, "cannot read the directory");
	closedir(dir);
	if (out->count > 0)
		qsort(out->list, out->count, sizeof(*out->list), by_bytes);
	return r;
}

/* ---- what must stay */

/* Why it must, or NULL. A directory that something else is mounted on is not what it seems. */
static const char *guard(struct cs_restore_run *run, int dirfd, const char *name,
			 const struct stat *dir, struct stat *st)
{
	struct statx x;

	if (fstatat(dirfd, name, st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0)
		return errno == ENOENT ? "" : "cannot be looked at";
	if (cs_restore_is_store(run, st))
		return "is the store";
	if (st->st_dev != dir->st_dev ||
	    (statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &x) == 0 &&
	     x.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return "is another file system";
	return NULL;
}

/* A directory on the way down. */
struct level {
	struct cs_restore_names names;
	size_t next;
	const char *name; /* in the level above it; borrowed from there */
	int fd;           /* -1: closed */
	dev_t dev;
	ino_t ino;
	size_t path_len;  /* of its own path */
	bool stayed;      /* something in it, or it must itself */
};

struct removal {
	struct cs_restore_run *run;
	struct cs_restore_dir *d; /* for notices: the path is shown below it */
	bool probe;  /* nothing is removed or counted */
	bool listed; /* count and tell */
	int base;    /* where the first name is */
	struct cs_buf path;
	struct level *levels;
	size_t depth, cap;
};

static void say(struct removal *rm, int kind, const char *why)
{
	if (!rm->probe || kind == CS_NOTICE_INFO)
		cs_restore_tell(rm->run, kind, rm->d, (const char *)rm->path.data, rm->path.len, why);
}

enum look { GONE, STAYS, OTHER, DIRECTORY };

/* What has the name, and may it go? Codes below 0: everything ends. */
static int look(struct removal *rm, int dirfd, const char *name, struct cs_error *err)
{
	struct stat dir, st;

	int r = cs_restore_alive(rm->run, err);
	if (r < 0)
		return r;
	if (cs_restore_excluded(rm->run, rm->d, (const char *)rm->path.data, rm->path.len))
		return STAYS;
	const char *why = fstat(dirfd, &dir) == 0 ? guard(rm->run, dirfd, name, &dir, &st) : "?";
	if (why) {
		if (*why)
			say(rm, CS_NOTICE_INFO, why);
		return *why ? STAYS : GONE;
	}
	return S_ISDIR(st.st_mode) ? DIRECTORY : OTHER;
}

/* GONE, STAYS or a code. */
static int unlink_one(struct removal *rm, int dirfd, const char *name, int flags,
		      struct cs_error *err)
{
	struct cs_error sub;

	if (rm->probe)
		return GONE;
	if (!rm->run->opts->dry_run && unlinkat(dirfd, name, flags) != 0 && errno != ENOENT) {
		int sys = errno;
		if (cs_restore_errno_fatal(sys))
			return cs_fail_errno(err, sys, "%s: cannot delete", name);
		cs_fail_errno(&sub, sys, "cannot delete");
		say(rm, CS_NOTICE_ERROR, sub.text);
		return STAYS;
	}
	if (rm->listed)
		cs_restore_note(rm->run, CS_RESTORED_DELETED, rm->d, (const char *)rm->path.data,
				rm->path.len);
	return GONE;
}

/* ---- levels */

/* GONE: it is entered; STAYS: it cannot be, which was told. */
static int enter(struct removal *rm, int dirfd, const char *name, struct cs_error *err)
{
	struct level l = { .name = name, .path_len = rm->path.len };
	struct cs_error sub;
	struct stat st;

	if (cs_grow(&rm->levels, &rm->cap, rm->depth + 1, sizeof(*rm->levels)) < 0)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	l.fd = cs_restore_open_dir(dirfd, name, strlen(name), &sub);
	int r = l.fd < 0 ? l.fd : cs_restore_names_read(l.fd, &l.names, &sub);
	if (r == CS_OK && fstat(l.fd, &st) != 0)
		r = cs_fail_errno(&sub, errno, "cannot read the directory");
	if (r < 0) {
		cs_restore_names_free(&l.names);
		if (l.fd >= 0)
			close(l.fd);
		say(rm, CS_NOTICE_ERROR, sub.text);
		return STAYS;
	}
	l.dev = st.st_dev;
	l.ino = st.st_ino;
	rm->levels[rm->depth++] = l;
	if (rm->depth > OPEN_MAX_LEVELS) {
		struct level *far = &rm->levels[rm->depth - 1 - OPEN_MAX_LEVELS];
		if (far->fd >= 0)
			close(far->fd);
		far->fd = -1;
	}
	return GONE;
}

static bool is_the_one(const struct level *l, int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 && st.st_dev == l->dev && st.st_ino == l->ino;
}

/* Make the deepest level usable, and those above it that fit. */
static bool reopen(struct removal *rm)
{
	size_t n = rm->depth;
	struct cs_error sub;
	int at = rm->base;

	if (n == 0 || rm->levels[n - 1].fd >= 0)
		return true;
	for (size_t i = 0; i < n; i++) {
		struct level *l = &rm->levels[i];
		int fd = l->fd >= 0 ? l->fd : cs_restore_open_dir(at, l->name, strlen(l->name), &sub);
		if (i > 0 && i + OPEN_MAX_LEVELS <= n) { /* the one above is not to stay open */
			close(at);
			rm->levels[i - 1].fd = -1;
		}
		if (fd < 0)
			return false;
		l->fd = fd;
		if (!is_the_one(l, fd)) {
			close(fd);
			l->fd = -1;
			return false;
		}
		at = fd;
	}
	return true;
}

static void pop(struct removal *rm)
{
	struct level *l = &rm->levels[--rm->depth];
	if (l->fd >= 0)
		close(l->fd);
	cs_restore_names_free(&l->names);
}

/* The deepest level is done: what becomes of it. */
static int leave(struct removal *rm, struct cs_error *err)
{
	struct level *l = &rm->levels[rm->depth - 1];
	const char *name = l->name;
	bool stayed = l->stayed;

	rm->path.len = l->path_len;
	pop(rm);
	if (!reopen(rm)) {
		say(rm, CS_NOTICE_ERROR, "was moved meanwhile; left alone");
		rm->levels[rm->depth - 1].next = rm->levels[rm->depth - 1].names.count;
		return STAYS;
	}
	if (stayed)
		return STAYS;
	return unlink_one(rm, rm->depth ? rm->levels[rm->depth - 1].fd : rm->base, name, AT_REMOVEDIR,
			  err);
}

/* The next name of the deepest level. */
static int next(struct removal *rm, struct cs_error *err)
{
	struct level *l = &rm->levels[rm->depth - 1];
	const char *name = l->names.list[l->next++];
	int fd = l->fd;

	rm->path.len = l->path_len;
	cs_buf_u8(&rm->path, '/');
	cs_buf_add(&rm->path, name, strlen(name));
	if (rm->path.failed)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	int r = look(rm, fd, name, err);
	if (r == OTHER)
		r = unlink_one(rm, fd, name, 0, err);
	else if (r == DIRECTORY)
		r = enter(rm, fd, name, err);
	if (r == STAYS) /* a level that was entered may lie elsewhere now: find it by its number */
		rm->levels[rm->depth - 1].stayed = true;
	return r;
}

/* GONE, STAYS or a code. */
static int remove_all(struct removal *rm, const char *name, struct cs_error *err)
{
	int r = look(rm, rm->base, name, err);

	if (r == OTHER)
		return unlink_one(rm, rm->base, name, 0, err);
	if (r == DIRECTORY)
		r = enter(rm, rm->base, name, err);
	while (r >= 0 && rm->depth > 0) {
		const struct level *l = &rm->levels[rm->depth - 1];
		if (l->next < l->names.count) {
			r = next(rm, err);
			continue;
		}
		r = leave(rm, err);
		if (r == STAYS && rm->depth > 0)
			rm->levels[rm->depth - 1].stayed = true;
	}
	return r;
}

static int run_removal(struct removal *rm, const char *name, const char *shown,
		       struct cs_error *err)
{
	cs_buf_add(&rm->path, shown, strlen(shown));
	int r = rm->path.failed ? cs_fail(err, CS_E_NOMEM, "out of memory") :
				  remove_all(rm, name, err);
	while (rm->depth > 0)
		pop(rm);
	free(rm->levels);
	cs_buf_release(&rm->path);
	return r;
}

/* ---- for the others */

bool cs_restore_is_guarded(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name)
{
	struct removal rm = { .run = run, .d = d, .probe = true, .base = d->fd };
	struct cs_error err;

	return run_removal(&rm, name, name, &err) != GONE;
}

int cs_restore_remove(struct cs_restore_run *run, int dirfd, const char *name,
		      struct cs_restore_dir *d, const char *shown, struct cs_error *err)
{
	struct removal rm = { .run = run, .d = d, .base = dirfd };

	int r = run_removal(&rm, name, shown, err);
	return r < 0 ? r : CS_OK;
}

int cs_restore_remove_extra(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name,
			    struct cs_error *err)
{
	struct removal rm = { .run = run, .d = d, .listed = true, .base = d->fd };

	int r = run_removal(&rm, name, name, err);
	return r < 0 ? r : CS_OK;
}
