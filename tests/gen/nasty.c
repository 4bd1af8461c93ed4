/* SPDX-License-Identifier: MIT */
/*
 * nasty - make a tree with one of everything that a file system can know of a file.
 *
 *	nasty DIR OUTSIDE
 *
 * DIR and OUTSIDE are created, on the file system under test; some files of
 * DIR have another link in OUTSIDE. Where treegen looks for sizes and shapes,
 * this is about attributes: each directory of DIR is about one kind, so that a
 * difference names what was lost.
 *
 * What the file system or the user's rights refuse is left out and said: a
 * line "cannot ITEM: why". An item that could be made says "can ITEM". Nothing
 * here is random.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <unistd.h>

#define KIB 1024
#define MIB (1024 * 1024)
#define COUNT(a) (sizeof(a) / sizeof((a)[0]))

static bool root;

/* Say how an item went. Only what a file system or missing rights explain is no error. */
static bool said(const char *item, int rc)
{
	static const int refusals[] = { EPERM,  EACCES, EOPNOTSUPP, ENOTTY,  ENOSPC, E2BIG,
					ERANGE, EINVAL, ENOSYS,     ENODATA, EMLINK, ENAMETOOLONG };

	if (rc >= 0) {
		printf("can %s\n", item);
		return true;
	}
	for (size_t i = 0; i < COUNT(refusals); i++) {
		if (errno == refusals[i]) {
			printf("cannot %s: %s\n", item, strerror(errno));
			return false;
		}
	}
	err(1, "%s", item);
}

static void must(int rc, const char *what)
{
	if (rc < 0)
		err(1, "%s", what);
}

/* ------------------------------------------------------------ making things */

static int make_dir(int parent, const char *name)
{
	must(mkdirat(parent, name, 0755), name);
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	must(fd, name);
	return fd;
}

static int create(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);

	must(fd, name);
	return fd;
}

/* A file of len bytes that depend on its name. */
static void make_file(int dir, const char *name, size_t len)
{
	int fd = create(dir, name);
	uint64_t x = 88172645463325252u;
	char buf[4096];

	for (const char *p = name; *p; p++)
		x = x * 31 + (unsigned char)*p;
	while (len) {
		size_t n = len < sizeof(buf) ? len : sizeof(buf);

		for (size_t i = 0; i < n; i++) {
			x ^= x << 13, x ^= x >> 7, x ^= x << 17;
			buf[i] = (char)x;
		}
		must(write(fd, buf, n) == (ssize_t)n ? 0 : -1, "write");
		len -= n;
	}
	close(fd);
}

static void make_socket(int dir, const char *name)
{
	struct sockaddr_un a = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "/proc/self/fd/%d/%s", dir, name);
	must(fd < 0 ? fd : bind(fd, (struct sockaddr *)&a, sizeof(a)), "socket");
	close(fd);
}

static int set_xattr(int dir, const char *name, const char *attr, const void *v, size_t len)
{
	char path[64 + 256];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, name);
	return lsetxattr(path, attr, v, len, 0);
}

/* ------------------------------------------------------------ mode bits */

static void modes(int parent)
{
	static const mode_t more[] = { 0, 0777, 01777, 02755, 04711, 06755, 07777, 0644, 0170 };
	int dir = make_dir(parent, "modes");
	char name[32];

	for (size_t i = 0; i < 12 + COUNT(more); i++) {
		mode_t mode = i < 12 ? (mode_t)1 << i : more[i - 12];
		/* whoever is not root has to be able to read what he backs up */
		mode_t file = root ? mode : mode | 0400, sub = root ? mode : mode | 0500;

		snprintf(name, sizeof(name), "file-%04o", mode);
		make_file(dir, name, 3);
		must(fchmodat(dir, name, file, 0), name);
		snprintf(name, sizeof(name), "dir-%04o", mode);
		close(make_dir(dir, name));
		must(fchmodat(dir, name, sub, 0), name);
		snprintf(name, sizeof(name), "fifo-%04o", mode);
		must(mkfifoat(dir, name, 0600), name);
		must(fchmodat(dir, name, mode, 0), name);
	}
	printf("can mode bits\n");
	close(dir);
}

/* ------------------------------------------------------------ owners */

static void owners(int parent)
{
	static const uint32_t ids[] = { 0, 1, 1000, 65533, 65534, 65535, 65536, 100000,
					2147483647, 2147483648u, 4294967293u, 4294967294u };
	int dir = make_dir(parent, "owners");
	char name[32];

	for (size_t i = 0; i < COUNT(ids); i++) {
		uint32_t uid = ids[i], gid = ids[COUNT(ids) - 1 - i];

		snprintf(name, sizeof(name), "%u.%u", uid, gid);
		make_file(dir, name, 2);
		if (fchownat(dir, name, uid, gid, 0)) {
			said("32-bit owners", -1);
			break;
		}
		must(fchmodat(dir, name, 06755, 0), name);
		snprintf(name, sizeof(name), "dir-%u.%u", uid, gid);
		close(make_dir(dir, name));
		must(fchownat(dir, name, uid, gid, 0), name);
		snprintf(name, sizeof(name), "link-%u.%u", uid, gid);
		must(symlinkat("x", dir, name), name);
		must(fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW), name);
		if (i + 1 == COUNT(ids))
			said("32-bit owners", 0);
	}
	close(dir);
}

/* ------------------------------------------------------------ times */

static bool set_times(int dir, const char *name, int64_t sec, long nsec)
{
	struct timespec t[2] = { { sec / 2 + 5, 999999999 - nsec }, { sec, nsec } };
	struct stat st;

	must(utimensat(dir, name, t, AT_SYMLINK_NOFOLLOW), name);
	must(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW), name);
	return st.st_mtim.tv_sec == sec && st.st_mtim.tv_nsec == nsec;
}

struct time_item {
	const char *name;
	int64_t sec;
	long nsec;
};

/* Each kind in a directory of its own: a backup that cannot cope may lose all of it. */
static void times_of(int parent, const char *dir_name, const struct time_item *list, size_t n)
{
	int dir = make_dir(parent, dir_name);
	char name[80];

	for (size_t i = 0; i < n; i++) {
		make_file(dir, list[i].name, 1);
		bool kept = set_times(dir, list[i].name, list[i].sec, list[i].nsec);

		errno = ERANGE;
		said(list[i].name, kept ? 0 : -1);
		snprintf(name, sizeof(name), "dir: %s", list[i].name);
		close(make_dir(dir, name));
		set_times(dir, name, list[i].sec, list[i].nsec);
		snprintf(name, sizeof(name), "link: %s", list[i].name);
		must(symlinkat("x", dir, name), name);
		set_times(dir, name, list[i].sec, list[i].nsec);
		snprintf(name, sizeof(name), "fifo: %s", list[i].name);
		must(mkfifoat(dir, name, 0600), name);
		set_times(dir, name, list[i].sec, list[i].nsec);
	}
	close(dir);
}

static void times(int parent)
{
	static const struct time_item plain[] = {
		{ "time 0", 0, 0 },
		{ "time in ns", 1700000000, 123456789 },
		{ "time of 1 ns", 1, 1 },
	};
	static const struct time_item old[] = {
		{ "time 1 ns before 1970", -1, 999999999 },
		{ "time half a second before 1970", -1, 500000000 },
		{ "time in 1969", -12345678, 0 },
		{ "time in 1901", -2147483647, 1 },
		{ "time in 1881", -2808950400, 7 },
	};
	static const struct time_item late[] = {
		{ "time just before 2038", 2147483647, 999999999 },
		{ "time just after 2038", 2147483648, 0 },
		{ "time in 2106", 4294967296, 5 },
		{ "time in 2446", 15032385534, 999999999 },
		{ "time in 3000", 32503680000, 7 },
	};

	times_of(parent, "times", plain, COUNT(plain));
	times_of(parent, "times-before-1970", old, COUNT(old));
	times_of(parent, "times-after-2038", late, COUNT(late));
}

/* ------------------------------------------------------------ hard links */

static void links(int parent, int outside)
{
	int dir = make_dir(parent, "links");
	int a = make_dir(dir, "a"), b = make_dir(dir, "b"), deep = make_dir(b, "deep");

	make_file(a, "two", 5000);
	must(linkat(a, "two", b, "two", 0), "link");
	make_file(a, "three", 300 * KIB);
	must(linkat(a, "three", dir, "z", 0), "link");
	must(linkat(a, "three", deep, "three", 0), "link");
	make_file(a, "one here", 100);
	must(linkat(a, "one here", outside, "one", 0), "link");
	make_file(a, "two here", 100);
	must(linkat(a, "two here", outside, "two", 0), "link");
	must(linkat(a, "two here", deep, "two of three", 0), "link");
	make_file(a, "same content", 0);
	make_file(b, "same content", 0);
	for (int i = 0; i < 40; i++) {
		char name[32];

		snprintf(name, sizeof(name), "many-%02d", i);
		if (i == 0)
			make_file(a, name, 77);
		else
			must(linkat(a, "many-00", i % 2 ? b : a, name, 0), "link");
	}
	printf("can hard links\n");
	must(symlinkat("nowhere", a, "symlink"), "symlink");
	said("hard-linked symlink", linkat(a, "symlink", b, "symlink", 0));
	must(mkfifoat(a, "fifo", 0640), "fifo");
	said("hard-linked fifo", linkat(a, "fifo", deep, "fifo", 0));
	make_socket(a, "socket");
	said("hard-linked socket", linkat(a, "socket", b, "socket", 0));
	if (mknodat(a, "null", S_IFCHR | 0666, makedev(1, 3)) == 0)
		said("hard-linked device", linkat(a, "null", deep, "null", 0));
	close(deep);
	close(b);
	close(a);
	close(dir);
}

/* ------------------------------------------------------------ symlinks */

static void symlinks(int parent)
{
	int dir = make_dir(parent, "symlinks");
	char target[4096];

	must(symlinkat("../modes", dir, "relative"), "symlink");
	must(symlinkat("/no such place/at all", dir, "dangling"), "symlink");
	must(symlinkat("self", dir, "self"), "symlink");
	must(symlinkat("\xff\xfe \xed\xa0\x80\ncaf\xe9", dir, "not-utf8"), "symlink");
	must(symlinkat("x", dir, "name \xff\xfe"), "symlink");
	for (size_t len = 59; len <= 1023; len += len == 59 ? 1 : len == 60 ? 963 : 1) {
		char name[32];

		memset(target, 'a', len);
		target[len] = '\0';
		snprintf(name, sizeof(name), "of-%zu", len);
		must(symlinkat(target, dir, name), "symlink");
	}
	for (size_t i = 0; i < 4095; i++)
		target[i] = (char)(i % 251 == 46 ? '/' : 1 + i % 251 == '/' ? 'x' : 1 + i % 251);
	target[4095] = '\0';
	said("symlink of 4095 bytes", symlinkat(target, dir, "of-4095"));
	must(symlinkat("t", dir, "times"), "symlink");
	set_times(dir, "times", 987654321, 123456789);
	must(symlinkat("t", dir, "xattr"), "symlink");
	said("xattr trusted on a symlink", set_xattr(dir, "xattr", "trusted.link", "of a link", 9));
	said("xattr security on a symlink", set_xattr(dir, "xattr", "security.link", "\0\1", 2));
	close(dir);
}

/* ------------------------------------------------------------ devices and the like */

static void nodes(int parent)
{
	static const struct {
		mode_t type;
		unsigned major, minor;
	} list[] = {
		{ S_IFCHR, 1, 3 },    { S_IFBLK, 7, 9 },	{ S_IFCHR, 0, 0 },
		{ S_IFBLK, 8, 256 },  { S_IFBLK, 259, 65536 },	{ S_IFCHR, 255, 255 },
		{ S_IFCHR, 256, 256 }, { S_IFCHR, 4095, 1048575 }, { S_IFBLK, 4095, 1048575 },
	};
	int dir = make_dir(parent, "nodes");
	int rc = 0;
	char name[64];

	for (size_t i = 0; i < COUNT(list) && rc == 0; i++) {
		snprintf(name, sizeof(name), "%s-%u-%u", list[i].type == S_IFCHR ? "char" : "block",
			 list[i].major, list[i].minor);
		rc = mknodat(dir, name, list[i].type | 0640, makedev(list[i].major, list[i].minor));
	}
	said("devices with large numbers", rc);
	if (rc == 0)
		said("xattr on a device", set_xattr(dir, "char-1-3", "trusted.d", "dev", 3));
	must(mkfifoat(dir, "fifo", 0622), "fifo");
	must(fchmodat(dir, "fifo", 04750, 0), "fifo");
	said("xattr on a fifo", set_xattr(dir, "fifo", "trusted.f", "fifo", 4));
	make_socket(dir, "socket");
	must(fchmodat(dir, "socket", 01777, 0), "socket");
	said("xattr on a socket", set_xattr(dir, "socket", "trusted.s", "sock", 4));
	set_times(dir, "socket", 1234567890, 5);
	printf("can fifo\ncan socket\n");
	close(dir);
}

/* ------------------------------------------------------------ extended attributes */

static int many(int dir, const char *name, int count)
{
	char attr[64], value[64];
	int rc = 0;

	make_file(dir, name, 1);
	for (int i = 0; i < count && rc == 0; i++) {
		snprintf(attr, sizeof(attr), "user.%s%d", i % 2 ? "odd." : "", i);
		snprintf(value, sizeof(value), "the value of number %d", i);
		rc = set_xattr(dir, name, attr, value, strlen(value));
	}
	return rc;
}

static void xattrs(int parent)
{
	static char big[64 * KIB];
	int dir = make_dir(parent, "xattrs");
	char attr[256];

	for (size_t i = 0; i < sizeof(big); i++)
		big[i] = (char)(i * i / 7 + i / 256);
	make_file(dir, "namespaces", 1);
	said("xattr user", set_xattr(dir, "namespaces", "user.t", "in user", 7));
	said("xattr trusted", set_xattr(dir, "namespaces", "trusted.t", "in trusted", 10));
	said("xattr security", set_xattr(dir, "namespaces", "security.t", "in security", 11));
	make_file(dir, "values", 0);
	said("xattr empty", set_xattr(dir, "values", "user.empty", "", 0));
	said("xattr with NUL", set_xattr(dir, "values", "user.nul", "a\0b\0", 4));
	said("xattr of one byte", set_xattr(dir, "values", "user.1", "\xff", 1));
	make_file(dir, "names", 0);
	memset(attr, 'n', sizeof(attr));
	memcpy(attr, "user.", 5);
	attr[255] = '\0';
	said("xattr with a name of 255 bytes", set_xattr(dir, "names", attr, "v", 1));
	said("xattr with a name not UTF-8", set_xattr(dir, "names", "user.\xff =\n\"", "v", 1));
	make_file(dir, "3000", 0);
	said("xattr of 3000 bytes", set_xattr(dir, "3000", "user.big", big, 3000));
	make_file(dir, "64k", 0);
	said("xattr of 64 KiB", set_xattr(dir, "64k", "user.big", big, sizeof(big)));
	said("xattr of 64 KiB, a second one",
	     set_xattr(dir, "64k", "user.big2", big, sizeof(big) - 1));
	said("60 xattrs", many(dir, "60", 60));
	said("1000 xattrs", many(dir, "1000", 1000));
	close(make_dir(dir, "dir"));
	said("xattr on a directory", set_xattr(dir, "dir", "user.d", "dir", 3));
	set_xattr(dir, "dir", "trusted.d", "dir", 3);
	close(dir);
}

/* ------------------------------------------------------------ ACLs, capabilities */

struct acl_entry {
	uint16_t tag, perm;
	uint32_t id;
};

/* user::rwx, count users and groups, group::r-x, mask::rw-, other::r--, as the kernel has it */
static int set_acl(int dir, const char *name, bool is_default, uint32_t count)
{
	struct acl {
		uint32_t version;
		struct acl_entry e[204];
	} a = { .version = 2 };
	size_t n = 0;

	a.e[n++] = (struct acl_entry){ 0x01, 7, UINT32_MAX };
	for (uint32_t i = 0; i < count; i++)
		a.e[n++] = (struct acl_entry){ 0x02, (uint16_t)(i % 8), 1000 + i };
	a.e[n++] = (struct acl_entry){ 0x04, 5, UINT32_MAX };
	for (uint32_t i = 0; i < count; i++)
		a.e[n++] = (struct acl_entry){ 0x08, (uint16_t)(i % 8), 2000 + i };
	a.e[n++] = (struct acl_entry){ 0x10, 6, UINT32_MAX };
	a.e[n++] = (struct acl_entry){ 0x20, 4, UINT32_MAX };
	return set_xattr(dir, name,
			 is_default ? "system.posix_acl_default" : "system.posix_acl_access", &a,
			 4 + n * sizeof(a.e[0]));
}

static void acls(int parent)
{
	int dir = make_dir(parent, "acls");

	make_file(dir, "file", 10);
	said("ACL on a file", set_acl(dir, "file", false, 1));
	make_file(dir, "long", 10);
	said("ACL of 20 entries", set_acl(dir, "long", false, 8));
	make_file(dir, "very long", 10);
	said("ACL of 200 entries", set_acl(dir, "very long", false, 98));
	must(mkfifoat(dir, "fifo", 0600), "fifo");
	said("ACL on a fifo", set_acl(dir, "fifo", false, 2));
	close(make_dir(dir, "access"));
	said("ACL on a directory", set_acl(dir, "access", false, 2));
	close(make_dir(dir, "both"));
	said("ACL, default", set_acl(dir, "both", true, 2));
	set_acl(dir, "both", false, 3);
	/* what is made below inherits; it is then a file with an ACL like any other */
	int sub = openat(dir, "both", O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	must(sub, "both");
	make_file(sub, "inherits", 1);
	close(make_dir(sub, "inherits too"));
	make_file(sub, "has none", 1);
	fremovexattr(sub, "system.posix_acl_access");
	set_acl(dir, "both", false, 3);
	int none = openat(sub, "has none", O_RDONLY | O_CLOEXEC);

	fremovexattr(none, "system.posix_acl_access");
	close(none);
	close(sub);
	close(dir);
}

static void capabilities(int parent)
{
	/* cap_net_bind_service, effective; in revision 3 for the root of a namespace */
	static const uint8_t v2[20] = { 1, 0, 0, 2, 0, 4 };
	static const uint8_t v3[24] = { 1, 0, 0, 3, 0, 4, [20] = 0xa0, 0x86, 1, 0 };
	int dir = make_dir(parent, "capabilities");

	make_file(dir, "v2", 4);
	must(fchmodat(dir, "v2", 0755, 0), "v2");
	said("capability", set_xattr(dir, "v2", "security.capability", v2, sizeof(v2)));
	make_file(dir, "v3", 4);
	must(fchmodat(dir, "v3", 0755, 0), "v3");
	said("capability of a namespace",
	     set_xattr(dir, "v3", "security.capability", v3, sizeof(v3)));
	make_file(dir, "owned", 4);
	(void)!fchownat(dir, "owned", 1000, 1000, 0);
	set_xattr(dir, "owned", "security.capability", v2, sizeof(v2));
	close(dir);
}

/* ------------------------------------------------------------ holes */

static void sparse_file(int dir, const char *name, off_t size, off_t first, off_t step, int pieces)
{
	char buf[64 * KIB];
	int fd = create(dir, name);

	memset(buf, 'd', sizeof(buf));
	for (int i = 0; i < pieces; i++)
		must(pwrite(fd, buf, sizeof(buf), first + i * step) == sizeof(buf) ? 0 : -1, name);
	must(ftruncate(fd, size), name);
	must(fsync(fd), name);
	close(fd);
}

/* Pieces are 64 KiB at multiples of it: no file system rounds those. */
static void sparse(int parent)
{
	int dir = make_dir(parent, "sparse");

	sparse_file(dir, "only a hole", 32 * MIB, 0, 0, 0);
	sparse_file(dir, "small hole", 64 * KIB, 0, 0, 0);
	sparse_file(dir, "hole first", 2 * MIB, 1 * MIB, 64 * KIB, 16);
	sparse_file(dir, "hole last", 3 * MIB + 7, 0, 64 * KIB, 3);
	sparse_file(dir, "islands", 20 * MIB, 256 * KIB, 512 * KIB, 30);
	sparse_file(dir, "no hole", 64 * KIB * 4, 0, 64 * KIB, 4);
	sparse_file(dir, "odd end", 1 * MIB + 65537, 1 * MIB, 64 * KIB, 1);
	printf("can sparse files\n");
	int fd = create(dir, "written zeroes");
	static const char zeroes[256 * KIB];

	must(write(fd, zeroes, sizeof(zeroes)) == sizeof(zeroes) ? 0 : -1, "write");
	must(fsync(fd), "fsync");
	close(fd);
	close(dir);
}

/* ------------------------------------------------------------ names, contents */

static void names(int parent)
{
	static const char *const list[] = {
		" ", "-rf", "...", "a\nb", "tab\t", "\\", "\"", "'", "*", "\x01\x7f", "\xff\xfe",
		"caf\xe9", "caf\303\251", "\xed\xa0\x80", "latest", ".caexclude", "by-id",
	};
	int dir = make_dir(parent, "names");
	char name[256];

	for (size_t i = 0; i < COUNT(list); i++)
		make_file(dir, list[i], i);
	memset(name, 'n', 255);
	name[255] = '\0';
	make_file(dir, name, 1);
	memset(name, 0xff, 255);
	close(make_dir(dir, name));
	close(make_dir(dir, "empty"));
	close(dir);
}

static void contents(int parent)
{
	static const size_t sizes[] = { 0,     1,      511,     4096,       4097,
					65536, 131071, 1000000, 3 * MIB + 1 };
	int dir = make_dir(parent, "contents");
	char name[32];

	for (size_t i = 0; i < COUNT(sizes); i++) {
		snprintf(name, sizeof(name), "%zu", sizes[i]);
		make_file(dir, name, sizes[i]);
	}
	close(dir);
}

/* ------------------------------------------------------------ chattr, projects */

static int add_flags(int fd, int add)
{
	int flags = 0;
	int rc = ioctl(fd, FS_IOC_GETFLAGS, &flags);

	flags |= add;
	return rc ? rc : ioctl(fd, FS_IOC_SETFLAGS, &flags);
}

static int set_project(int fd, uint32_t id, uint32_t xflags)
{
	struct fsxattr x;
	int rc = ioctl(fd, FS_IOC_FSGETXATTR, &x);

	x.fsx_projid = id;
	x.fsx_xflags |= xflags;
	return rc ? rc : ioctl(fd, FS_IOC_FSSETXATTR, &x);
}

static void flags(int parent)
{
	static const struct {
		const char *item, *name;
		int flag;
	} list[] = {
		{ "chattr +i", "i", FS_IMMUTABLE_FL }, { "chattr +a", "a", FS_APPEND_FL },
		{ "chattr +d", "d", FS_NODUMP_FL },    { "chattr +A", "A", FS_NOATIME_FL },
		{ "chattr +S", "S", FS_SYNC_FL },
	};
	int dir = make_dir(parent, "flags");
	char name[32];

	for (size_t i = 0; i < COUNT(list); i++) {
		make_file(dir, list[i].name, 9);
		int fd = openat(dir, list[i].name, O_RDONLY | O_CLOEXEC);

		said(list[i].item, add_flags(fd, list[i].flag));
		close(fd);
		snprintf(name, sizeof(name), "dir-%s", list[i].name);
		fd = make_dir(dir, name);
		make_file(fd, "inside", 1);
		add_flags(fd, list[i].flag);
		close(fd);
	}
	make_file(dir, "project", 9);
	int fd = openat(dir, "project", O_RDONLY | O_CLOEXEC);

	said("project id", set_project(fd, 4000000000u, 0));
	close(fd);
	fd = make_dir(dir, "dir-project");
	said("project id that is inherited", set_project(fd, 4711, FS_XFLAG_PROJINHERIT));
	make_file(fd, "inherits", 1);
	close(fd);
	close(dir);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "usage: nasty DIR OUTSIDE");
	umask(022);
	root = geteuid() == 0;
	int dir = make_dir(AT_FDCWD, argv[1]), outside = make_dir(AT_FDCWD, argv[2]);

	modes(dir);
	owners(dir);
	times(dir);
	links(dir, outside);
	symlinks(dir);
	nodes(dir);
	xattrs(dir);
	acls(dir);
	capabilities(dir);
	sparse(dir);
	names(dir);
	contents(dir);
	flags(dir);
	close(outside);
	close(dir);
	set_times(AT_FDCWD, argv[1], 1111111111, 111111111);
	return 0;
}
