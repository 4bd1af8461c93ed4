/* SPDX-License-Identifier: MIT */
/*
 * attrs - print all that the kernel tells about each file of a tree, as text.
 *
 *	attrs DIR
 *
 * One attribute a line: path, key, value, with tabs between them and odd bytes
 * escaped; paths in the order of their bytes. Two trees are compared by
 * comparing the texts, less the keys that do not matter. Keys:
 *
 *	type mode uid gid size rdev mtime atime ctime blocks nlink
 *	group        path of the first name of the same inode
 *	inside       how many names of this inode the tree has
 *	target       of a symlink
 *	data segs    content (a checksum of it), pieces between holes
 *	xattr NAME   value, or length and checksum of a long one
 *	flags xflags projid   by ioctl; "-" where there are none
 *	error        what could not be asked
 *
 * Types are those of readdir; a second opinion by stat that differs is an
 * error. Nothing is followed, and access times are left alone where that is
 * permitted.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

/* Names of an inode, found in a first pass. */
struct name {
	dev_t dev;
	ino_t ino;
	char *first;
	unsigned long count;
};
static struct name *names;
static size_t n_names, cap_names;

static void *must(void *p)
{
	if (!p)
		err(2, "memory");
	return p;
}

static void put_escaped(const char *s, size_t len)
{
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)s[i];

		if (c < 0x20 || c >= 0x7f || c == '\\')
			printf("\\x%02x", c);
		else
			putchar(c);
	}
}

static void begin(const char *path, const char *key)
{
	put_escaped(path, strlen(path));
	printf("\t%s\t", key);
}

static void number(const char *path, const char *key, unsigned long long v)
{
	begin(path, key);
	printf("%llu\n", v);
}

static void trouble(const char *path, const char *what)
{
	begin(path, "error");
	printf("%s: %s\n", what, strerror(errno));
}

static uint64_t checksum(uint64_t sum, const char *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		sum = (sum ^ (unsigned char)p[i]) * 0x100000001b3u;
	return sum;
}
#define CHECKSUM_START 0xcbf29ce484222325u

/* ------------------------------------------------------------ names of inodes */

static struct name *name_of(const struct stat *st)
{
	for (size_t i = 0; i < n_names; i++)
		if (names[i].ino == st->st_ino && names[i].dev == st->st_dev)
			return &names[i];
	return NULL;
}

static void note_name(const char *path, const struct stat *st)
{
	struct name *n = name_of(st);

	if (st->st_nlink < 2 || S_ISDIR(st->st_mode))
		return;
	if (!n) {
		if (n_names == cap_names)
			names = must(realloc(names, (cap_names = 2 * cap_names + 64) * sizeof(*n)));
		n = &names[n_names++];
		*n = (struct name){ st->st_dev, st->st_ino, must(strdup(path)), 0 };
	}
	n->count++;
}

/* ------------------------------------------------------------ one file */

static void put_stat(const char *path, const struct stat *st)
{
	static const struct {
		const char *key;
		size_t off;
	} times[] = { { "mtime", offsetof(struct stat, st_mtim) },
		      { "atime", offsetof(struct stat, st_atim) },
		      { "ctime", offsetof(struct stat, st_ctim) } };
	const struct name *n = S_ISDIR(st->st_mode) ? NULL : name_of(st);

	begin(path, "mode");
	printf("%04o\n", st->st_mode & 07777);
	number(path, "uid", st->st_uid);
	number(path, "gid", st->st_gid);
	number(path, "nlink", st->st_nlink);
	if (!S_ISDIR(st->st_mode)) {
		number(path, "size", (unsigned long long)st->st_size);
		number(path, "inside", n ? n->count : 1);
		begin(path, "group");
		put_escaped(n ? n->first : path, strlen(n ? n->first : path));
		putchar('\n');
	}
	if (S_ISREG(st->st_mode))
		number(path, "blocks", (unsigned long long)st->st_blocks);
	if (S_ISCHR(st->st_mode) || S_ISBLK(st->st_mode)) {
		begin(path, "rdev");
		printf("%u:%u\n", major(st->st_rdev), minor(st->st_rdev));
	}
	for (size_t i = 0; i < 3; i++) {
		struct timespec t;

		memcpy(&t, (const char *)st + times[i].off, sizeof(t));
		begin(path, times[i].key);
		printf("%lld.%09ld\n", (long long)t.tv_sec, t.tv_nsec);
	}
}

static void put_data(const char *path, int fd, off_t size)
{
	static char buf[1 << 18];
	uint64_t sum = CHECKSUM_START;
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		sum = checksum(sum, buf, (size_t)n);
	if (n < 0) {
		trouble(path, "read");
		return;
	}
	begin(path, "data");
	printf("%016llx\n", (unsigned long long)sum);
	begin(path, "segs");
	for (off_t at = 0, end; at < size; at = end) {
		at = lseek(fd, at, SEEK_DATA);
		if (at < 0)
			break;
		end = lseek(fd, at, SEEK_HOLE);
		printf("%lld-%lld ", (long long)at, (long long)end);
		if (end <= at)
			break;
	}
	putchar('\n');
}

static void put_ioctls(const char *path, int fd)
{
	struct fsxattr x = { 0 };
	int flags = 0;

	begin(path, "flags");
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0)
		printf("%x\n", (unsigned)flags);
	else
		printf("- %s\n", strerror(errno));
	int rc = ioctl(fd, FS_IOC_FSGETXATTR, &x);

	begin(path, "xflags");
	if (rc == 0)
		printf("%x\n", x.fsx_xflags & ~(unsigned)FS_XFLAG_HASATTR);
	else
		printf("- %s\n", strerror(errno));
	begin(path, "projid");
	if (rc == 0)
		printf("%u\n", x.fsx_projid);
	else
		printf("-\n");
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

static void put_xattr(const char *path, const char *file, const char *attr)
{
	static char value[65536];
	ssize_t n = lgetxattr(file, attr, value, sizeof(value));

	put_escaped(path, strlen(path));
	printf("\txattr ");
	put_escaped(attr, strlen(attr));
	putchar('\t');
	if (n < 0)
		printf("%s\n", strerror(errno));
	else if (n > 64)
		printf("%zd bytes %016llx\n", n,
		       (unsigned long long)checksum(CHECKSUM_START, value, (size_t)n));
	else {
		putchar('"');
		put_escaped(value, (size_t)n);
		puts("\"");
	}
}

static void put_xattrs(const char *path, int dir, const char *name)
{
	static char list[65536];
	char file[64 + 256], **sorted;
	size_t count = 0;

	snprintf(file, sizeof(file), "/proc/self/fd/%d/%s", dir, name);
	ssize_t len = llistxattr(file, list, sizeof(list));

	if (len < 0) {
		if (errno != EOPNOTSUPP && errno != ENOSYS)
			trouble(path, "listxattr");
		return;
	}
	sorted = must(malloc(((size_t)len + 1) * sizeof(*sorted)));
	for (ssize_t at = 0; at < len; at += (ssize_t)strlen(list + at) + 1)
		sorted[count++] = list + at;
	qsort(sorted, count, sizeof(*sorted), by_text);
	for (size_t i = 0; i < count; i++)
		put_xattr(path, file, sorted[i]);
	free(sorted);
}

static int open_file(int dir, const char *name, int flags)
{
	flags |= O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC;
	int fd = openat(dir, name, flags | O_NOATIME);

	return fd < 0 && errno == EPERM ? openat(dir, name, flags) : fd;
}

static void put_file(int dir, const char *name, const char *path, const struct stat *st)
{
	static const char letters[] = "?pc?d?b?-?l?s???";
	static char target[65536];

	begin(path, "type");
	printf("%c\n", letters[st->st_mode >> 12 & 15]);
	put_stat(path, st);
	put_xattrs(path, dir, name);
	if (S_ISLNK(st->st_mode)) {
		ssize_t n = readlinkat(dir, name, target, sizeof(target));

		if (n < 0) {
			trouble(path, "readlink");
			return;
		}
		begin(path, "target");
		put_escaped(target, (size_t)n);
		putchar('\n');
	}
	if (S_ISREG(st->st_mode) || S_ISDIR(st->st_mode)) {
		int fd = open_file(dir, name, 0);

		if (fd < 0) {
			trouble(path, "open");
			return;
		}
		put_ioctls(path, fd);
		if (S_ISREG(st->st_mode))
			put_data(path, fd, st->st_size);
		close(fd);
	}
}

/* ------------------------------------------------------------ the tree */

struct child {
	char *name;
	unsigned char type;
};

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct child *)a)->name, ((const struct child *)b)->name);
}

static struct child *children(const char *path, int fd, size_t *out_n)
{
	struct child *list = NULL;
	size_t n = 0, cap = 0;
	int copy = open_file(fd, ".", O_DIRECTORY);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);

	*out_n = 0;
	if (!d) {
		trouble(path, "opendir");
		return NULL;
	}
	errno = 0;
	for (struct dirent *e; (e = readdir(d));) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (n == cap)
			list = must(realloc(list, (cap = 2 * cap + 32) * sizeof(*list)));
		list[n].type = e->d_type;
		list[n++].name = must(strdup(e->d_name));
	}
	if (errno)
		trouble(path, "readdir");
	closedir(d);
	if (n)
		qsort(list, n, sizeof(*list), by_name);
	*out_n = n;
	return list;
}

static void walk(int dir, const char *name, const char *path, unsigned char type, int printing)
{
	struct stat st;
	size_t n;

	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW)) {
		if (printing)
			trouble(path, "stat");
		return;
	}
	if (printing && type != DT_UNKNOWN && type != IFTODT(st.st_mode)) {
		begin(path, "error");
		printf("d_type is %u\n", type);
	}
	if (printing)
		put_file(dir, name, path, &st);
	else
		note_name(path, &st);
	if (!S_ISDIR(st.st_mode))
		return;
	int fd = open_file(dir, name, O_DIRECTORY);

	if (fd < 0)
		return;
	struct child *list = children(path, fd, &n);

	for (size_t i = 0; i < n; i++) {
		char *sub;

		if (asprintf(&sub, "%s%s%s", path, strcmp(path, ".") ? "/" : "", list[i].name) < 0)
			err(2, "memory");
		walk(fd, list[i].name, strcmp(path, ".") ? sub : sub + 1, list[i].type, printing);
		free(sub);
		free(list[i].name);
	}
	free(list);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		errx(2, "usage: attrs DIR");
	int top = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (top < 0)
		err(2, "%s", argv[1]);
	walk(top, ".", ".", DT_UNKNOWN, 0);
	walk(top, ".", ".", DT_UNKNOWN, 1);
	return 0;
}
