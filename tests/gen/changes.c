/* SPDX-License-Identifier: MIT */
/*
 * changes - try every system call that would change a file system: changes DIR [NAME]
 *
 * On the directory DIR, on a name in it that does not exist, and on the regular
 * file NAME in it. All must fail with EROFS, but for calls on a descriptor that
 * is open for reading, which fail as they do everywhere. Prints what went
 * otherwise; exit status 1.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>
#include <utime.h>

#define NEW "a-name-that-is-not-there"

/* The place: at is DIR, open; fd is what the call is about, open for reading; name is in DIR. */
struct place {
	int at, fd;
	const char *name;
	bool exists, is_dir;
};

static int create(const struct place *p)
{
	return openat(p->at, p->name, O_CREAT | O_EXCL | O_WRONLY, 0600);
}

static int create_for_reading(const struct place *p)
{
	return openat(p->at, p->name, O_CREAT | O_RDONLY, 0600);
}

static int make_dir(const struct place *p) { return mkdirat(p->at, p->name, 0700); }
static int make_fifo(const struct place *p) { return mknodat(p->at, p->name, S_IFIFO | 0600, 0); }
static int make_file(const struct place *p) { return mknodat(p->at, p->name, S_IFREG | 0600, 0); }
static int make_symlink(const struct place *p) { return symlinkat("target", p->at, p->name); }

static int make_device(const struct place *p)
{
	return mknodat(p->at, p->name, S_IFCHR | 0600, makedev(1, 3));
}

static int make_socket(const struct place *p)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int s = socket(AF_UNIX, SOCK_STREAM, 0);

	if (s < 0 || fchdir(p->at) != 0)
		err(2, "socket");
	memcpy(a.sun_path, NEW, sizeof(NEW));
	int rc = bind(s, (struct sockaddr *)&a, sizeof(a)), e = errno;
	close(s);
	errno = e;
	return rc;
}

static int make_unnamed(const struct place *p)
{
	return openat(p->at, ".", O_TMPFILE | O_WRONLY, 0600);
}

static int link_to(const struct place *p)
{
	char from[64];

	snprintf(from, sizeof(from), "/proc/self/fd/%d", p->fd);
	return linkat(AT_FDCWD, from, p->at, NEW, AT_SYMLINK_FOLLOW);
}

static int remove_name(const struct place *p)
{
	return unlinkat(p->at, p->name, p->is_dir ? AT_REMOVEDIR : 0);
}

static int rename_it(const struct place *p)
{
	return renameat(p->at, p->name, p->at, p->exists ? NEW : "other");
}

static int exchange(const struct place *p)
{
	return (int)syscall(SYS_renameat2, p->at, p->name, p->at, p->name, 2);
}

static int open_to_write(const struct place *p) { return openat(p->at, p->name, O_WRONLY); }
static int open_for_both(const struct place *p) { return openat(p->at, p->name, O_RDWR); }
static int open_to_append(const struct place *p) { return openat(p->at, p->name, O_WRONLY | O_APPEND); }
static int open_to_cut(const struct place *p) { return openat(p->at, p->name, O_RDONLY | O_TRUNC); }
static int cut(const struct place *p) { return fchdir(p->at) ? -1 : truncate(p->name, 0); }

static int set_mode(const struct place *p) { return fchmodat(p->at, p->name, 0777, 0); }
static int set_mode_by_fd(const struct place *p) { return fchmod(p->fd, 0777); }
static int set_owner_by_fd(const struct place *p) { return fchown(p->fd, getuid(), getgid()); }

static int set_owner(const struct place *p)
{
	return fchownat(p->at, p->name, getuid(), getgid(), AT_SYMLINK_NOFOLLOW);
}

static int set_times(const struct place *p)
{
	const struct timespec t[2] = { { 1, 0 }, { 1, 0 } };

	return utimensat(p->at, p->name, t, AT_SYMLINK_NOFOLLOW);
}

static int set_times_to_now(const struct place *p)
{
	return fchdir(p->at) ? -1 : utime(p->name, NULL);
}

static int set_xattr(const struct place *p) { return fsetxattr(p->fd, "user.x", "y", 1, 0); }
static int remove_xattr(const struct place *p) { return fremovexattr(p->fd, "user.x"); }

static int set_xattr_by_path(const struct place *p)
{
	return fchdir(p->at) ? -1 : lsetxattr(p->name, "user.x", "y", 1, 0);
}

static int set_access_list(const struct place *p)
{
	static const char list[] = "\2\0\0\0\1\0\7\0\377\377\377\377\4\0\5\0\377\377\377\377"
				   " \0\5\0\377\377\377\377";

	return fsetxattr(p->fd, "system.posix_acl_access", list, sizeof(list) - 1, 0);
}

static int set_flags(const struct place *p)
{
	int flags = FS_NODUMP_FL;

	return ioctl(p->fd, FS_IOC_SETFLAGS, &flags);
}

static int set_project(const struct place *p)
{
	struct fsxattr x = { .fsx_projid = 7 };

	return ioctl(p->fd, FS_IOC_FSSETXATTR, &x);
}

static int write_to_it(const struct place *p) { return (int)pwrite(p->fd, "x", 1, 0); }
static int cut_by_fd(const struct place *p) { return ftruncate(p->fd, 0); }
static int allocate(const struct place *p) { return fallocate(p->fd, 0, 0, 4096); }
static int punch(const struct place *p) { return fallocate(p->fd, 3, 0, 4096); }
static int clone(const struct place *p) { return ioctl(p->fd, FICLONE, p->fd); }

static int copy_into(const struct place *p)
{
	return (int)copy_file_range(p->fd, NULL, p->fd, NULL, 1, 0);
}

static int map_to_write(const struct place *p)
{
	void *m = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);

	return m == MAP_FAILED ? -1 : 0;
}

enum { ABSENT = 1, FILES = 2, DIRS = 4, THERE = FILES | DIRS };

static const struct {
	const char *name;
	int (*call)(const struct place *p);
	int about, want;
} calls[] = {
	{ "open O_CREAT|O_EXCL", create, ABSENT, EROFS },
	{ "open O_CREAT|O_RDONLY", create_for_reading, ABSENT, EROFS },
	{ "mkdir", make_dir, ABSENT, EROFS },
	{ "mknod fifo", make_fifo, ABSENT, EROFS },
	{ "mknod file", make_file, ABSENT, EROFS },
	{ "mknod device", make_device, ABSENT, EROFS },
	{ "symlink", make_symlink, ABSENT, EROFS },
	{ "bind", make_socket, ABSENT, EROFS },
	{ "open O_TMPFILE", make_unnamed, DIRS, EROFS },
	{ "link", link_to, FILES, EROFS },
	{ "unlink, rmdir", remove_name, FILES | ABSENT, EROFS },
	{ "rename", rename_it, FILES | ABSENT, EROFS },
	{ "renameat2 RENAME_EXCHANGE", exchange, FILES, EROFS },
	{ "open O_WRONLY", open_to_write, FILES, EROFS },
	{ "open O_RDWR", open_for_both, FILES, EROFS },
	{ "open O_APPEND", open_to_append, FILES, EROFS },
	{ "open O_RDONLY|O_TRUNC", open_to_cut, FILES, EROFS },
	{ "truncate", cut, FILES, EROFS },
	{ "chmod", set_mode, THERE, EROFS },
	{ "fchmod", set_mode_by_fd, THERE, EROFS },
	{ "lchown", set_owner, THERE, EROFS },
	{ "fchown", set_owner_by_fd, THERE, EROFS },
	{ "utimensat", set_times, THERE, EROFS },
	{ "utime", set_times_to_now, THERE, EROFS },
	{ "fsetxattr", set_xattr, THERE, EROFS },
	{ "lsetxattr", set_xattr_by_path, THERE, EROFS },
	{ "fsetxattr of an access list", set_access_list, THERE, EROFS },
	{ "fremovexattr", remove_xattr, THERE, EROFS },
	{ "FS_IOC_SETFLAGS", set_flags, THERE, EROFS },
	{ "FS_IOC_FSSETXATTR", set_project, THERE, EROFS },
	{ "write", write_to_it, FILES, EBADF },
	{ "ftruncate", cut_by_fd, FILES, EINVAL },
	{ "fallocate", allocate, FILES, EBADF },
	{ "fallocate PUNCH_HOLE", punch, FILES, EBADF },
	{ "FICLONE", clone, FILES, EBADF },
	{ "copy_file_range", copy_into, FILES, EBADF },
	{ "mmap PROT_WRITE, MAP_SHARED", map_to_write, FILES, EACCES },
};

static bool try_all(const struct place *p, const char *what)
{
	int about = !p->exists ? ABSENT : p->is_dir ? DIRS : FILES;
	bool bad = false;

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		if (!(calls[i].about & about))
			continue;
		errno = 0;
		int rc = calls[i].call(p);
		if (rc < 0 && errno == calls[i].want)
			continue;
		printf("%s of %s: %s, not %s\n", calls[i].name, what,
		       rc < 0 ? strerrorname_np(errno) : "success", strerrorname_np(calls[i].want));
		bad = true;
	}
	return bad;
}

int main(int argc, char **argv)
{
	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: changes DIR [NAME]\n");
		return 2;
	}
	int at = open(argv[1], O_RDONLY | O_DIRECTORY);
	if (at < 0)
		err(2, "%s", argv[1]);
	struct place absent = { .at = at, .fd = -1, .name = NEW };
	struct place dir = { .at = at, .fd = at, .name = ".", .exists = true, .is_dir = true };
	bool bad = try_all(&absent, "a new name");
	bad |= try_all(&dir, "the directory");
	if (argc == 3) {
		struct place file = { .at = at, .name = argv[2], .exists = true };
		file.fd = openat(at, argv[2], O_RDONLY);
		if (file.fd < 0)
			err(2, "%s/%s", argv[1], argv[2]);
		bad |= try_all(&file, "the file");
	}
	return bad;
}
