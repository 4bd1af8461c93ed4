/* SPDX-License-Identifier: MIT */
/*
 * restore_entry.c - decision: a file appears whole or not at all. A small one
 * (one read) is read before it is made, so that damage in the store leaves no
 * trace; a large one has no name until it is complete. Renaming a temporary
 * name instead would cost every small file two directory changes more, and
 * could meet an entry of that name.
 *
 * Holes are found by asking the store, not by looking for zeroes: what was
 * written as zeroes stays written.
 */
#include "restore_there_impl.h"

#include "alloc.h"
#include "browse.h"
#include "cleanup.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#define READ_SIZE CS_RESTORE_PIECE

bool cs_restore_errno_fatal(int sys_errno)
{
	switch (sys_errno) {
	case ENOSPC:
	case EDQUOT:
	case EROFS:
	case EIO:
	case ENOMEM:
	case EMFILE:
	case ENFILE:
	case ESTALE:
		return true;
	default:
		return false;
	}
}

int cs_restore_failed(struct cs_restore_worker *w, int sys_errno, struct cs_error *err,
		      const char *what)
{
	w->fatal = cs_restore_errno_fatal(sys_errno);
	return cs_fail_errno(err, sys_errno, "%s", what);
}

static int write_pieces(struct cs_restore_worker *w, int fd, uint64_t off, struct cs_error *err)
{
	struct iovec *iov = w->rd.iov;
	size_t left = w->rd.niov;

	while (left > 0) {
		ssize_t n = pwritev(fd, iov, left < IOV_MAX ? (int)left : IOV_MAX, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cs_restore_failed(w, errno, err, "cannot write");
		off += (uint64_t)n;
		w->run->written += (uint64_t)n;
		for (; left > 0 && (size_t)n >= iov->iov_len; iov++, left--)
			n -= (ssize_t)iov->iov_len;
		if (left > 0) {
			iov->iov_base = (char *)iov->iov_base + n;
			iov->iov_len -= (size_t)n;
		}
	}
	return CS_OK;
}

int cs_restore_read(struct cs_restore_worker *w, const struct cs_node *n, uint64_t off, size_t len,
		    struct cs_error *err)
{
	int r = cs_file_read(w->run->tree, n, off, len, &w->rd, err);
	w->fatal = r == CS_E_NOMEM;
	if (r == CS_OK && w->rd.len != len)
		r = cs_fail(err, CS_E_CORRUPT, "the content is shorter than the file");
	return r;
}

int cs_restore_alive(struct cs_restore_run *run, struct cs_error *err)
{
	/* on the calling thread nobody else looks up */
	if (pthread_equal(pthread_self(), run->caller))
		return cs_restore_pump(run, NULL, err);
	if (atomic_load_explicit(&run->stop, memory_order_relaxed))
		return cs_fail(err, CS_E_INTERRUPTED, "interrupted");
	return CS_OK;
}

/* Copy what lies between two offsets. */
static int copy_range(struct cs_restore_worker *w, int fd, const struct cs_node *n, uint64_t off,
		      uint64_t end, struct cs_error *err)
{
	while (off < end) {
		size_t len = end - off < READ_SIZE ? (size_t)(end - off) : READ_SIZE;
		int r = cs_restore_alive(w->run, err);
		if (r == CS_OK)
			r = cs_restore_read(w, n, off, len, err);
		if (r == CS_OK)
			r = write_pieces(w, fd, off, err);
		if (r < 0)
			return r;
		off += len;
	}
	return CS_OK;
}

static int copy_sparse(struct cs_restore_worker *w, int fd, const struct cs_node *n,
		       struct cs_error *err)
{
	uint64_t off = 0, size = n->entry.size;

	if (ftruncate(fd, (off_t)size) != 0)
		return cs_restore_failed(w, errno, err, "cannot set the size");
	while (off < size) {
		uint64_t data, hole;
		int r = cs_file_seek(w->run->tree, n, off, true, &data, err);
		if (r == CS_E_NOTFOUND)
			return CS_OK;
		if (r == CS_OK)
			r = cs_file_seek(w->run->tree, n, data, false, &hole, err);
		if (r == CS_OK && (hole <= data || hole > size))
			r = cs_fail(err, CS_E_CORRUPT, "the extents are damaged");
		if (r == CS_OK)
			r = copy_range(w, fd, n, data, hole, err);
		if (r < 0)
			return r;
		off = hole;
	}
	return CS_OK;
}

/* Content (rd has it when it is small) and attributes into an open file. */
static int fill(struct cs_restore_worker *w, const struct cs_restore_target *t,
		const struct cs_node *n, bool small, struct cs_error *err)
{
	int r;

	cs_restore_early(w->run, t, n);
	if (small)
		r = n->entry.size ? write_pieces(w, t->fd, 0, err) : CS_OK;
	else if (n->entry.data_bytes < n->entry.size)
		r = copy_sparse(w, t->fd, n, err);
	else
		r = copy_range(w, t->fd, n, 0, n->entry.size, err);
	if (r < 0)
		return r;
	r = cs_restore_attrs(w->run, t, n, err);
	w->fatal = r < 0;
	return r;
}

/* Content that takes the place of another one has to be on the disk before the name is. */
static int sync_file(struct cs_restore_worker *w, int fd, struct cs_error *err)
{
	return fdatasync(fd) == 0 ? CS_OK : cs_restore_failed(w, errno, err, "cannot write");
}

static int close_file(struct cs_restore_worker *w, int fd, int r, struct cs_error *err)
{
	/* some file systems tell only now that the disk is full */
	if (close(fd) != 0 && errno != EINTR && r == CS_OK)
		return cs_restore_failed(w, errno, err, "cannot write");
	return r;
}

/* Under its name at once, which goes again on failure. */
static int make_named(struct cs_restore_worker *w, struct cs_restore_target *t,
		      const struct cs_node *n, bool small, bool sync, struct cs_error *err)
{
	t->fd = openat(t->dirfd, t->name, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC,
		       0600);
	if (t->fd < 0)
		return cs_restore_failed(w, errno, err, "cannot create");
	int r = fill(w, t, n, small, err);
	if (r == CS_OK && sync)
		r = sync_file(w, t->fd, err);
	r = close_file(w, t->fd, r, err);
	if (r < 0)
		unlinkat(t->dirfd, t->name, 0);
	return r;
}

/* 1: the file system cannot do this. */
static int make_unnamed(struct cs_restore_worker *w, struct cs_restore_target *t,
			const struct cs_node *n, struct cs_error *err)
{
	char path[64];

	t->fd = openat(t->dirfd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, 0600);
	if (t->fd < 0)
		return cs_restore_errno_fatal(errno) ? cs_restore_failed(w, errno, err, "cannot create") : 1;
	/* tried on the empty file: afterwards would be late to find out */
	snprintf(path, sizeof(path), "/proc/self/fd/%d", t->fd);
	if (access(path, F_OK) != 0) {
		close(t->fd);
		return 1;
	}
	int r = fill(w, t, n, false, err);
	if (r == CS_OK && linkat(AT_FDCWD, path, t->dirfd, t->name, AT_SYMLINK_FOLLOW) != 0)
		r = errno == EEXIST || cs_restore_errno_fatal(errno) ?
			    cs_restore_failed(w, errno, err, "cannot create") : 1;
	if (r == 1) {
		close(t->fd);
		return r;
	}
	return close_file(w, t->fd, r, err);
}

/* unnamed: that, or 1. */
static int make_file(struct cs_restore_worker *w, struct cs_restore_target *t,
		     const struct cs_node *n, bool unnamed, bool sync, struct cs_error *err)
{
	bool small = n->entry.size <= READ_SIZE && n->entry.data_bytes >= n->entry.size;

	if (n->entry.size > INT64_MAX)
		return cs_fail(err, CS_E_CORRUPT, "the size is damaged");
	if (unnamed) {
		if (atomic_load_explicit(&w->run->no_tmpfile, memory_order_relaxed))
			return 1;
		int r = make_unnamed(w, t, n, err);
		if (r == 1)
			atomic_store(&w->run->no_tmpfile, true);
		return r;
	}
	if (small && n->entry.size > 0) {
		int r = cs_restore_read(w, n, 0, (size_t)n->entry.size, err);
		if (r < 0)
			return r;
	}
	return make_named(w, t, n, small, sync, err);
}

static int make_symlink(struct cs_restore_worker *w, struct cs_restore_target *t,
			const struct cs_node *n, struct cs_error *err)
{
	char target[PATH_MAX];

	if (n->entry.bytes_len >= sizeof(target) ||
	    memchr(n->entry.bytes, '\0', n->entry.bytes_len))
		return cs_fail(err, CS_E_CORRUPT, "the link's target is damaged");
	memcpy(target, n->entry.bytes, n->entry.bytes_len);
	target[n->entry.bytes_len] = '\0';
	if (symlinkat(target, t->dirfd, t->name) != 0)
		return cs_restore_failed(w, errno, err, "cannot create the symbolic link");
	return CS_OK;
}

static int make_special(struct cs_restore_worker *w, struct cs_restore_target *t,
			const struct cs_node *n, struct cs_error *err)
{
	const struct cs_entry *e = &n->entry;

	if (mknodat(t->dirfd, t->name, (e->mode & S_IFMT) | 0600,
		    makedev(e->rdev_major, e->rdev_minor)) != 0)
		return cs_restore_failed(w, errno, err, "cannot create the special file");
	return CS_OK;
}

int cs_restore_fill_target(struct cs_restore_worker *w, struct cs_restore_target *t,
			   const struct cs_node *n, bool unnamed, bool sync, struct cs_error *err)
{
	int r;

	switch (n->entry.mode & S_IFMT) {
	case S_IFREG:
		return make_file(w, t, n, unnamed, sync, err);
	case S_IFLNK:
		r = make_symlink(w, t, n, err);
		break;
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		r = make_special(w, t, n, err);
		break;
	default:
		return cs_fail(err, CS_E_CORRUPT, "unknown type of file");
	}
	if (r == CS_OK) {
		r = cs_restore_attrs(w->run, t, n, err);
		w->fatal = r < 0;
	}
	return r;
}

/* In a directory that is ours alone. */
static int make_fresh(struct cs_restore_worker *w, struct cs_restore_dir *d,
		      const struct cs_node *n, struct cs_error *err)
{
	char name[256];
	struct cs_restore_target t = { .fd = -1, .dirfd = d->fd, .name = name, .dir = d };
	bool large = n->entry.size > READ_SIZE || n->entry.data_bytes < n->entry.size;
	int r = 1;

	w->fate = CS_RESTORED_CREATED;
	if (w->run->opts->dry_run)
		return CS_OK;
	memcpy(name, n->entry.name, n->entry.name_len);
	name[n->entry.name_len] = '\0';
	if (large && S_ISREG(n->entry.mode))
		r = cs_restore_fill_target(w, &t, n, true, false, err);
	return r == 1 ? cs_restore_fill_target(w, &t, n, false, false, err) : r;
}

int cs_restore_make(struct cs_restore_worker *w, struct cs_restore_dir *d,
		    const struct cs_node *n, struct cs_error *err)
{
	w->fatal = false;
	int r = w->run->merge ? cs_restore_merge(w, d, n, err) : make_fresh(w, d, n, err);
	if (r == CS_OK && S_ISREG(n->entry.mode) && cs_restore_is_locked(n) &&
	    !w->run->opts->dry_run && w->fate != CS_RESTORED_KEPT &&
	    w->fate != CS_RESTORED_UNCHANGED) {
		r = cs_restore_lock_later(w->run, d, n, err);
		w->fatal = r < 0;
	}
	return r;
}

/* Done, as far as the entry itself is concerned. */
static void count(struct cs_restore_worker *w, struct cs_restore_dir *d, const struct cs_node *n)
{
	struct cs_restore_run *run = w->run;
	const struct cs_entry *e = &n->entry;
	struct cs_error err;
	uint64_t first;

	cs_restore_note(run, w->fate, d, e->name, e->name_len);
	if (w->fate != CS_RESTORED_KEPT) {
		run->entries++;
		run->bytes += S_ISREG(e->mode) ? e->size : 0;
	}
	if (e->nlink > 1 && cs_node_group(run->tree, n, &first, NULL) != 0 &&
	    cs_restore_set_fate(run, n->pos, w->fate) < 0) {
		cs_fail(&err, CS_E_NOMEM, "out of memory");
		cs_restore_stop(run, &err);
	}
}

void cs_restore_make_or_tell(struct cs_restore_worker *w, struct cs_restore_dir *d,
			     const struct cs_node *n)
{
	struct cs_restore_run *run = w->run;
	const struct cs_entry *e = &n->entry;
	struct cs_error err, whole;

	int r = cs_restore_make(w, d, n, &err);
	if (r == CS_OK) {
		count(w, d, n);
	} else if (w->fatal) {
		CS_FREE char *path = cs_restore_path(d, e->name, e->name_len);
		cs_fail(&whole, r, "%s: %s", path ? path : "?", err.text);
		whole.sys_errno = err.sys_errno;
		cs_restore_stop(run, &whole);
	} else if (!atomic_load(&run->stop)) {
		if ((S_ISCHR(e->mode) || S_ISBLK(e->mode)) && err.sys_errno == EPERM) {
			char name[256];
			struct cs_restore_target t = { .fd = -1, .dirfd = d->fd, .name = name,
						       .dir = d };
			memcpy(name, e->name, e->name_len);
			name[e->name_len] = '\0';
			cs_restore_lapse(run, CS_RESTORE_DEVICE, &t, NULL, EPERM);
		} else {
			cs_restore_tell(run, CS_NOTICE_ERROR, d, e->name, e->name_len, err.text);
		}
	}
}
