/* SPDX-License-Identifier: MIT */
/*
 * io_calls.c - libc's functions that change files, in front of libc's own.
 *
 * What a descriptor is about is asked of the kernel (/proc/self/fd) at each
 * change and not remembered: a descriptor that came by an unwatched way is
 * seen as well. The 64-bit names are the same functions on a 64-bit machine.
 * Writes through a shared map are not seen; the replayer notices, because its
 * last state then differs from the store.
 */
#undef _FORTIFY_SOURCE
#include "io.h"

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

_Static_assert(sizeof(off_t) == 8, "the 64-bit names are aliases");

#define PATH_LEN 4300

void *io_real(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);
	if (!f)
		abort();
	return f;
}

#define REAL(name) ((__typeof__(&name))io_real(#name))

/* ---- is it the store's? */

/* Its name in the store; 0 when it lies elsewhere. */
static bool name_in_store(const char *path, char out[LOG_NAME_MAX])
{
	const char *dir = getenv("CS_IO_DIR");
	size_t n = dir ? strlen(dir) : 0;

	if (!n || strncmp(path, dir, n) != 0 || (path[n] && path[n] != '/'))
		return false;
	snprintf(out, LOG_NAME_MAX, "%s", path[n] ? path + n + 1 : "");
	return true;
}

static bool path_of_fd(int fd, char out[PATH_LEN])
{
	char link[64];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	ssize_t n = readlink(link, out, PATH_LEN - 1);
	if (n < 0)
		return false;
	out[n] = 0;
	return true;
}

static bool watched_fd(int fd, struct io_change *c)
{
	char path[PATH_LEN];
	struct stat st;
	int saved = errno;
	bool ok = getenv("CS_IO_DIR") && path_of_fd(fd, path) && name_in_store(path, c->name) &&
		  fstat(fd, &st) == 0;
	errno = saved;
	if (ok) {
		c->fd = fd;
		c->ino = st.st_ino;
	}
	return ok;
}

static bool watched_path(int dir, const char *path, char out[LOG_NAME_MAX])
{
	char base[PATH_LEN], whole[2 * PATH_LEN];
	int saved = errno;
	bool ok = true;

	if (!getenv("CS_IO_DIR"))
		return false;
	if (*path == '/')
		snprintf(whole, sizeof(whole), "%s", path);
	else if ((ok = dir == AT_FDCWD ? getcwd(base, PATH_LEN) != NULL : path_of_fd(dir, base)))
		snprintf(whole, sizeof(whole), "%s/%s", base, path);
	errno = saved;
	return ok && name_in_store(whole, out);
}

/* ---- the way of every change */

static int fault_errno(enum io_fault f)
{
	return f == IO_ENOSPC ? ENOSPC : f == IO_EINTR ? EINTR : EIO;
}

/* Between begin and end the caller makes the change. True: it must not, and errno is set. */
static bool begin(const struct io_change *c, enum io_fault *fault)
{
	io_enter();
	*fault = io_fault_next(c);
	if (*fault == IO_KILL)
		raise(SIGKILL);
	if (*fault == IO_NONE || *fault == IO_SHORT || *fault == IO_LATE || *fault == IO_KILL_SYNC)
		return false;
	errno = fault_errno(*fault);
	return true;
}

static void end(const struct io_change *c, bool done)
{
	if (done)
		io_log(c, NULL, 0);
	io_leave();
}

/* ---- writes */

/* The same file, through a descriptor whose writes are not durable at once. */
static ssize_t write_unsynced(int fd, const struct iovec *v, int n, off_t off)
{
	char link[64];
	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	int plain = REAL(open)(link, O_WRONLY | O_CLOEXEC);
	if (plain < 0)
		abort();
	ssize_t done = REAL(pwritev)(plain, v, n, off);
	close(plain);
	return done;
}

static size_t total(const struct iovec *v, int n)
{
	size_t len = 0;
	for (int i = 0; i < n; i++)
		len += v[i].iov_len;
	return len;
}

/* The first half, and at least a byte. */
static int halve(const struct iovec *v, int n, struct iovec *out)
{
	size_t left = (total(v, n) + 1) / 2;
	int i = 0;
	for (; i < n && left; i++) {
		out[i] = v[i];
		if (out[i].iov_len > left)
			out[i].iov_len = left;
		left -= out[i].iov_len;
	}
	return i;
}

/* off < 0: at the file's position, which moves. */
static ssize_t real_write(int fd, const struct iovec *v, int n, off_t off)
{
	return off < 0 ? REAL(writev)(fd, v, n) : REAL(pwritev)(fd, v, n, off);
}

static ssize_t change_write(int fd, const struct iovec *v, int n, off_t off)
{
	struct io_change c = { .kind = LOG_WRITE };
	struct iovec half[1024];
	enum io_fault fault;
	ssize_t done = -1;

	if (n > 1024 || !watched_fd(fd, &c))
		return real_write(fd, v, n, off);
	int flags = REAL(fcntl)(fd, F_GETFL);
	c.off = off >= 0 ? off : flags & O_APPEND ? lseek(fd, 0, SEEK_END) : lseek(fd, 0, SEEK_CUR);
	c.len = total(v, n);
	c.flags = flags & O_DSYNC ? LOG_DURABLE : 0;
	if (begin(&c, &fault)) {
		io_leave();
		return -1;
	}
	if (fault == IO_SHORT) {
		n = halve(v, n, half);
		v = half;
	}
	if (fault == IO_LATE || fault == IO_KILL_SYNC) {
		c.flags = 0;
		done = write_unsynced(fd, v, n, c.off);
	} else {
		done = real_write(fd, v, n, off);
	}
	if (done > 0) {
		c.len = (uint64_t)done;
		io_log(&c, v, n);
	}
	if (fault == IO_KILL_SYNC)
		raise(SIGKILL);
	if (fault == IO_LATE) {
		errno = EIO;
		done = -1;
	}
	io_leave();
	return done;
}

ssize_t write(int fd, const void *buf, size_t len)
{
	struct iovec v = { (void *)buf, len };
	return change_write(fd, &v, 1, -1);
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
	return change_write(fd, v, n, -1);
}

ssize_t pwrite(int fd, const void *buf, size_t len, off_t off)
{
	struct iovec v = { (void *)buf, len };
	return change_write(fd, &v, 1, off);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t off)
{
	return change_write(fd, v, n, off);
}

ssize_t pwritev2(int fd, const struct iovec *v, int n, off_t off, int flags)
{
	struct io_change c = { .kind = LOG_UNKNOWN };
	if (watched_fd(fd, &c) && flags) {
		snprintf(c.name, sizeof(c.name), "pwritev2 with flags");
		io_enter();
		end(&c, true);
	}
	return change_write(fd, v, n, off);
}

ssize_t pwrite64(int, const void *, size_t, off_t) __attribute__((alias("pwrite")));
ssize_t pwritev64(int, const struct iovec *, int, off_t) __attribute__((alias("pwritev")));
ssize_t pwritev64v2(int, const struct iovec *, int, off_t, int) __attribute__((alias("pwritev2")));

/* ---- syncs, sizes, holes */

static bool watched_sync(int fd, struct io_change *c)
{
	char path[PATH_LEN], parent[PATH_LEN];
	const char *dir = getenv("CS_IO_DIR");
	if (watched_fd(fd, c))
		return true;
	if (!dir || !path_of_fd(fd, path))
		return false;
	snprintf(parent, sizeof(parent), "%s", dir);
	char *slash = strrchr(parent, '/');
	if (!slash || slash == parent)
		return false;
	*slash = 0;
	snprintf(c->name, sizeof(c->name), "..");
	return strcmp(path, parent) == 0;
}

static int change_sync(int fd, int (*real)(int))
{
	struct io_change c = { .kind = LOG_SYNC };
	enum io_fault fault;
	int rc = -1;

	if (!watched_sync(fd, &c))
		return real(fd);
	if (!begin(&c, &fault))
		rc = real(fd);
	end(&c, rc == 0);
	return rc;
}

int fsync(int fd)
{
	return change_sync(fd, io_real("fsync"));
}

int fdatasync(int fd)
{
	return change_sync(fd, io_real("fdatasync"));
}

int ftruncate(int fd, off_t size)
{
	struct io_change c = { .kind = LOG_TRUNCATE, .off = size };
	enum io_fault fault;
	int rc = -1;

	if (!watched_fd(fd, &c))
		return REAL(ftruncate)(fd, size);
	if (!begin(&c, &fault))
		rc = REAL(ftruncate)(fd, size);
	end(&c, rc == 0);
	return rc;
}

static int change_allocate(int fd, int mode, off_t off, off_t len)
{
	struct io_change c = { .kind = LOG_EXTEND, .off = off, .len = (uint64_t)len };
	enum io_fault fault;
	int rc = -1;

	if (!watched_fd(fd, &c))
		return REAL(fallocate)(fd, mode, off, len);
	if (mode & FALLOC_FL_PUNCH_HOLE)
		c.kind = LOG_PUNCH;
	else if (mode == FALLOC_FL_KEEP_SIZE) /* blocks past the end: nothing that a reader sees */
		c.len = 0;
	else if (mode != 0)
		c.kind = LOG_UNKNOWN;
	if (!begin(&c, &fault))
		rc = REAL(fallocate)(fd, mode, off, len);
	end(&c, rc == 0 && (c.len || c.kind != LOG_EXTEND));
	return rc;
}

int fallocate(int fd, int mode, off_t off, off_t len)
{
	return change_allocate(fd, mode, off, len);
}

int posix_fallocate(int fd, off_t off, off_t len)
{
	return change_allocate(fd, 0, off, len) == 0 ? 0 : errno;
}

int ftruncate64(int, off_t) __attribute__((alias("ftruncate")));
int fallocate64(int, int, off_t, off_t) __attribute__((alias("fallocate")));
int posix_fallocate64(int, off_t, off_t) __attribute__((alias("posix_fallocate")));

/* ---- names */

static int change_open(int dir, const char *path, int flags, mode_t mode)
{
	struct io_change c = { .kind = LOG_CREATE };
	enum io_fault fault;
	struct stat st;
	bool makes = (flags & O_CREAT) || (flags & O_TRUNC);

	if (!makes || !watched_path(dir, path, c.name))
		return REAL(openat)(dir, path, flags, mode);
	bool is_there = fstatat(dir, path, &st, AT_SYMLINK_NOFOLLOW) == 0;
	if (is_there && !(flags & O_TRUNC))
		return REAL(openat)(dir, path, flags, mode);
	if (is_there)
		c.kind = LOG_TRUNCATE;
	errno = 0;
	int fd = begin(&c, &fault) ? -1 : REAL(openat)(dir, path, flags, mode);
	if (fd >= 0 && fstat(fd, &st) == 0)
		c.ino = st.st_ino;
	end(&c, fd >= 0);
	return fd;
}

#define OPEN_MODE(flags)                                                   \
	({                                                                 \
		mode_t m_ = 0;                                             \
		va_list ap_;                                               \
		va_start(ap_, flags);                                      \
		if (((flags) & O_CREAT) || ((flags) & O_TMPFILE) == O_TMPFILE) \
			m_ = va_arg(ap_, mode_t);                          \
		va_end(ap_);                                               \
		m_;                                                        \
	})

int open(const char *path, int flags, ...)
{
	return change_open(AT_FDCWD, path, flags, OPEN_MODE(flags));
}

int open64(const char *path, int flags, ...)
{
	return change_open(AT_FDCWD, path, flags, OPEN_MODE(flags));
}

int openat(int dir, const char *path, int flags, ...)
{
	return change_open(dir, path, flags, OPEN_MODE(flags));
}

int openat64(int dir, const char *path, int flags, ...)
{
	return change_open(dir, path, flags, OPEN_MODE(flags));
}

int creat(const char *path, mode_t mode)
{
	return change_open(AT_FDCWD, path, O_WRONLY | O_CREAT | O_TRUNC, mode);
}

int creat64(const char *, mode_t) __attribute__((alias("creat")));

/* name: where from, name2: where to. A way into or out of the store is not known. */
static int change_names(uint32_t kind, int from_dir, const char *from, int to_dir, const char *to,
			unsigned flags)
{
	struct io_change c = { .kind = kind };
	enum io_fault fault;
	int rc = -1;
	bool a = watched_path(from_dir, from, c.name), b = watched_path(to_dir, to, c.name2);

	if (a != b)
		c.kind = LOG_UNKNOWN;
	if ((a || b) && begin(&c, &fault)) {
		io_leave();
		return -1;
	}
	rc = kind == LOG_LINK ? REAL(linkat)(from_dir, from, to_dir, to, (int)flags) :
				REAL(renameat2)(from_dir, from, to_dir, to, flags);
	if (flags & RENAME_EXCHANGE)
		c.kind = kind == LOG_LINK ? kind : LOG_UNKNOWN;
	if (a || b)
		end(&c, rc == 0);
	return rc;
}

int rename(const char *from, const char *to)
{
	return change_names(LOG_RENAME, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	return change_names(LOG_RENAME, from_dir, from, to_dir, to, 0);
}

int renameat2(int from_dir, const char *from, int to_dir, const char *to, unsigned flags)
{
	return change_names(LOG_RENAME, from_dir, from, to_dir, to, flags);
}

int link(const char *from, const char *to)
{
	return change_names(LOG_LINK, AT_FDCWD, from, AT_FDCWD, to, 0);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	return change_names(LOG_LINK, from_dir, from, to_dir, to, (unsigned)flags);
}

int unlinkat(int dir, const char *path, int flags)
{
	struct io_change c = { .kind = LOG_UNLINK };
	enum io_fault fault;
	int rc = -1;

	if (!watched_path(dir, path, c.name))
		return REAL(unlinkat)(dir, path, flags);
	if (!begin(&c, &fault))
		rc = REAL(unlinkat)(dir, path, flags);
	end(&c, rc == 0);
	return rc;
}

int unlink(const char *path)
{
	return unlinkat(AT_FDCWD, path, 0);
}

int rmdir(const char *path)
{
	return unlinkat(AT_FDCWD, path, AT_REMOVEDIR);
}

int mkdirat(int dir, const char *path, mode_t mode)
{
	struct io_change c = { .kind = LOG_MKDIR };
	enum io_fault fault;
	int rc = -1;

	if (!watched_path(dir, path, c.name))
		return REAL(mkdirat)(dir, path, mode);
	if (*c.name)
		c.kind = LOG_UNKNOWN;
	if (!begin(&c, &fault))
		rc = REAL(mkdirat)(dir, path, mode);
	end(&c, rc == 0);
	return rc;
}

int mkdir(const char *path, mode_t mode)
{
	return mkdirat(AT_FDCWD, path, mode);
}
