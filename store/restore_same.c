/* SPDX-License-Identifier: MIT */
/*
 * restore_same.c - decision: what is there is looked at through a descriptor
 * that cannot do anything to it (O_PATH) before it is opened: a FIFO, a device
 * or what a link leads to is never opened by mistake.
 *
 * The extended attributes that count are those that a file brings along: of
 * the user, of root, access lists and capabilities. Labels that the system
 * gives (SELinux, integrity) are set when they were recorded, and otherwise
 * left alone.
 */
#include "restore_there_impl.h"

#include "alloc.h"
#include "cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

int cs_restore_look(struct cs_restore_dir *d, const char *name, struct cs_restore_found *f,
		    struct cs_error *err)
{
	*f = (struct cs_restore_found){ .path_fd = -1, .fd = -1 };
	if (d->absent)
		return CS_OK;
	f->path_fd = openat(d->fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (f->path_fd < 0 && errno == ENOENT)
		return CS_OK;
	if (f->path_fd < 0 || fstat(f->path_fd, &f->st) != 0)
		return cs_fail_errno(err, errno, "cannot look at what is there");
	f->there = true;
	return CS_OK;
}

void cs_restore_found_close(struct cs_restore_found *f)
{
	if (f->path_fd >= 0)
		close(f->path_fd);
	if (f->fd >= 0)
		close(f->fd);
	f->path_fd = f->fd = -1;
}

static const char *found_path(int fd, char out[32])
{
	snprintf(out, 32, "/proc/self/fd/%d", fd);
	return out;
}

int cs_restore_open_found(const struct cs_restore_found *f, int flags)
{
	char path[32];
	int fd = open(found_path(f->path_fd, path), flags | O_NOATIME | O_CLOEXEC);
	if (fd < 0 && errno == EPERM)
		fd = open(path, flags | O_CLOEXEC);
	return fd >= 0 ? fd : -errno;
}

static int compare_time(struct cs_time a, struct timespec b)
{
	if (a.sec != b.tv_sec)
		return a.sec < b.tv_sec ? -1 : 1;
	return a.nsec < b.tv_nsec ? -1 : a.nsec > b.tv_nsec;
}

bool cs_restore_newer(const struct cs_node *n, const struct stat *st)
{
	return compare_time(n->entry.mtime, st->st_mtim) > 0;
}

bool cs_restore_same_time(const struct cs_node *n, const struct stat *st)
{
	return compare_time(n->entry.mtime, st->st_mtim) == 0;
}

/* ---- extended attributes */

static bool counts(const char *name)
{
	return strncmp(name, "user.", 5) == 0 || strncmp(name, "trusted.", 8) == 0 ||
	       strcmp(name, "security.capability") == 0 ||
	       strcmp(name, "system.posix_acl_access") == 0 ||
	       strcmp(name, "system.posix_acl_default") == 0;
}

/* The names that an object has, each with its NUL; *out NULL when there are none. */
static int names_of(int fd, char **out, size_t *len, struct cs_error *err)
{
	char path[32];

	*out = NULL;
	*len = 0;
	ssize_t n = listxattr(found_path(fd, path), NULL, 0);
	if (n <= 0)
		return n == 0 || errno == EOPNOTSUPP ? CS_OK :
			       cs_fail_errno(err, errno, "cannot list extended attributes");
	*out = cs_alloc((size_t)n);
	if (!*out)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	n = listxattr(path, *out, (size_t)n);
	if (n < 0)
		return cs_fail_errno(err, errno, "cannot list extended attributes");
	*len = (size_t)n;
	return CS_OK;
}

static bool is_wanted(const struct cs_xattrs *want, const char *name)
{
	for (size_t i = 0; i < want->count; i++)
		if (strcmp(want->list[i].name, name) == 0)
			return true;
	return false;
}

static bool has_value(int fd, const struct cs_xattr *x)
{
	char path[32];
	CS_FREE uint8_t *value = cs_alloc(x->value_len + 1);
	return value && getxattr(found_path(fd, path), x->name, value, x->value_len + 1) ==
				(ssize_t)x->value_len &&
	       memcmp(value, x->value, x->value_len) == 0;
}

/* With drop, what is too much is removed; else 1: the same. */
static int compare_xattrs(struct cs_restore_run *run, const struct cs_node *n, int fd, bool drop,
			  struct cs_error *err)
{
	struct cs_xattrs want = { 0 };
	CS_FREE char *names = NULL;
	char path[32];
	size_t len, have = 0;
	bool same = true;

	if (!(n->entry.have & CS_HAVE_XATTRS))
		return 1;
	int r = names_of(fd, &names, &len, err);
	if (r == CS_OK && cs_entry_has_xattrs(&n->entry))
		r = cs_xattrs_load(run->tree, n, &want, err);
	for (size_t at = 0; r == CS_OK && at < len; at += strlen(names + at) + 1) {
		if (!counts(names + at) || is_wanted(&want, names + at))
			continue;
		have++;
		if (drop && removexattr(found_path(fd, path), names + at) != 0 &&
		    errno != ENODATA)
			r = cs_fail_errno(err, errno, "cannot remove extended attribute %s",
					  names + at);
	}
	for (size_t i = 0; r == CS_OK && !drop && same && i < want.count; i++)
		same = has_value(fd, &want.list[i]);
	cs_xattrs_release(&want);
	return r < 0 ? r : same && have == 0;
}

int cs_restore_drop_xattrs(struct cs_restore_run *run, const struct cs_node *n, int fd,
			   struct cs_error *err)
{
	int r = compare_xattrs(run, n, fd, true, err);
	return r < 0 ? r : CS_OK;
}

int cs_restore_same_attrs(struct cs_restore_run *run, const struct cs_node *n,
			  const struct cs_restore_found *f, struct cs_error *err)
{
	const struct cs_entry *e = &n->entry;

	if ((e->mode & S_IFMT) != (f->st.st_mode & S_IFMT) || e->uid != f->st.st_uid ||
	    e->gid != f->st.st_gid || !cs_restore_same_time(n, &f->st))
		return 0;
	if (!S_ISLNK(e->mode) && (e->mode & 07777) != (f->st.st_mode & 07777))
		return 0;
	return compare_xattrs(run, n, f->path_fd, false, err);
}

/* ---- content */

/* What is there between two offsets is what rd holds. */
static bool same_piece(struct cs_restore_worker *w, int fd, uint64_t off, uint8_t *buf)
{
	for (size_t i = 0; i < w->rd.niov; i++) {
		const uint8_t *at = w->rd.iov[i].iov_base;
		size_t left = w->rd.iov[i].iov_len;
		while (left > 0) {
			size_t want = left < CS_RESTORE_PIECE ? left : CS_RESTORE_PIECE;
			ssize_t got = pread(fd, buf, want, (off_t)off);
			if (got < 0 && errno == EINTR)
				continue;
			if (got <= 0 || memcmp(buf, at, (size_t)got) != 0)
				return false;
			at += got;
			off += (uint64_t)got;
			left -= (size_t)got;
		}
	}
	return true;
}

int cs_restore_same_content(struct cs_restore_worker *w, const struct cs_node *n,
			    const struct cs_restore_found *f, struct cs_error *err)
{
	uint64_t size = n->entry.size;
	CS_FREE uint8_t *buf = cs_alloc(size < CS_RESTORE_PIECE ? size + 1 : CS_RESTORE_PIECE);

	if (!buf)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	for (uint64_t off = 0; off < size; off += CS_RESTORE_PIECE) {
		size_t len = size - off < CS_RESTORE_PIECE ? (size_t)(size - off) :
							     CS_RESTORE_PIECE;
		int r = cs_restore_alive(w->run, err);
		if (r == CS_OK)
			r = cs_restore_read(w, n, off, len, err);
		if (r < 0)
			return r;
		if (!same_piece(w, f->fd, off, buf))
			return 0;
	}
	return 1;
}
