/* SPDX-License-Identifier: MIT */
/*
 * treecmp - do two trees hold the same? Exit status 0: yes, 1: no, 2: trouble.
 *
 *	treecmp A B [--holes] [--no-dir-mtime] [--no-mtime] [--no-owner]
 *	            [--no-nlink] [--no-xattrs] [--no-data] [--max N]
 *
 * Compares names, types, modes, owners, times to the nanosecond, device
 * numbers, symlink targets, all extended attributes, contents, and with --holes
 * where the holes are in files of 4 KiB or more. Hard links have to form the same groups, whatever the
 * inode numbers. Works with paths of any length. Knows nothing of the store: it
 * is the independent witness of the tests.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>
#include <unistd.h>

static bool want_holes, no_dir_mtime, no_mtime, no_owner, no_nlink, no_xattrs, no_data;
static unsigned max_shown = 20;
static unsigned long differences, compared;

/* The path being compared, for messages only. */
static char *path;
static size_t path_len, path_cap;

static void *must(void *p)
{
	if (!p)
		err(2, "memory");
	return p;
}

static void path_push(const char *name)
{
	size_t n = strlen(name);

	if (path_len + n + 2 > path_cap)
		path = must(realloc(path, path_cap = 2 * (path_len + n + 2)));
	path[path_len++] = '/';
	memcpy(path + path_len, name, n + 1);
	path_len += n;
}

static void path_pop(const char *name)
{
	path_len -= strlen(name) + 1;
	path[path_len] = 0;
}

static void print_escaped(const char *s)
{
	size_t len = strlen(s);

	if (len > 400) {
		printf("…");
		s += len - 400;
	}
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c < 0x20 || c >= 0x7f || c == '\\')
			printf("\\x%02x", c);
		else
			putchar(c);
	}
}

static void __attribute__((format(printf, 1, 2))) differ(const char *fmt, ...)
{
	va_list ap;

	if (differences++ >= max_shown)
		return;
	print_escaped(path_len ? path : "/");
	printf(": ");
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

/* ------------------------------------------------------------ hard links */

struct file_id {
	dev_t dev;
	ino_t ino;
};

/* A map from one tree's file to the other's, open addressing, never full. */
struct id_map {
	struct {
		struct file_id key, value;
		bool used;
	} *slot;
	size_t size, count;
};

static size_t id_slot(const struct id_map *m, struct file_id k)
{
	uint64_t hash = (k.ino * 0x9e3779b97f4a7c15u) ^ (k.dev * 0x94d049bb133111ebu);
	size_t i = (size_t)(hash ^ hash >> 32) & (m->size - 1);

	while (m->slot[i].used && (m->slot[i].key.ino != k.ino || m->slot[i].key.dev != k.dev))
		i = (i + 1) & (m->size - 1);
	return i;
}

/* Remember key→value; false when key stands for another value already. */
static bool id_pair(struct id_map *m, struct file_id key, struct file_id value)
{
	if (2 * (m->count + 1) > m->size) {
		struct id_map old = *m;

		m->size = old.size ? 2 * old.size : 1024;
		m->slot = must(calloc(m->size, sizeof(*m->slot)));
		for (size_t i = 0; i < old.size; i++)
			if (old.slot[i].used)
				m->slot[id_slot(m, old.slot[i].key)] = old.slot[i];
		free(old.slot);
	}
	size_t i = id_slot(m, key);

	if (!m->slot[i].used) {
		m->slot[i].key = key;
		m->slot[i].value = value;
		m->slot[i].used = true;
		m->count++;
	}
	return m->slot[i].value.ino == value.ino && m->slot[i].value.dev == value.dev;
}

static struct id_map a_to_b, b_to_a;

static void compare_groups(const struct stat *a, const struct stat *b)
{
	struct file_id ia = { a->st_dev, a->st_ino }, ib = { b->st_dev, b->st_ino };
	bool there = id_pair(&a_to_b, ia, ib), back = id_pair(&b_to_a, ib, ia);

	if (!there || !back)
		differ("hard links form other groups (inodes %llu, %llu)",
		       (unsigned long long)a->st_ino, (unsigned long long)b->st_ino);
	if (!no_nlink && a->st_nlink != b->st_nlink)
		differ("link count %lu, %lu", (unsigned long)a->st_nlink,
		       (unsigned long)b->st_nlink);
}

/* ------------------------------------------------------------ contents */

static ssize_t read_full(int fd, char *buf, size_t len)
{
	size_t got = 0;

	while (got < len) {
		ssize_t n = read(fd, buf + got, len - got);

		if (n < 0)
			return -1;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

static void compare_bytes(int fa, int fb)
{
	static char ba[1 << 20], bb[1 << 20];
	unsigned long long off = 0;

	for (;;) {
		ssize_t na = read_full(fa, ba, sizeof(ba));
		ssize_t nb = read_full(fb, bb, sizeof(bb));

		if (na < 0 || nb < 0) {
			differ("cannot be read: %s", strerror(errno));
			return;
		}
		if (na != nb) {
			differ("content ends at %llu, %llu", off + (size_t)na, off + (size_t)nb);
			return;
		}
		if (memcmp(ba, bb, (size_t)na)) {
			size_t i = 0;

			while (ba[i] == bb[i])
				i++;
			differ("content differs at %llu", off + i);
			return;
		}
		if (!na)
			return;
		off += (size_t)na;
	}
}

static void compare_holes(int fa, int fb, off_t size)
{
	off_t at = 0;
	int whence = SEEK_DATA;

	while (at < size) {
		off_t na = lseek(fa, at, whence);
		int ea = errno;
		off_t nb = lseek(fb, at, whence);
		int eb = errno;

		if (na != nb || (na < 0 && ea != eb)) {
			differ("next %s after %lld at %lld, %lld",
			       whence == SEEK_DATA ? "data" : "hole", (long long)at,
			       (long long)na, (long long)nb);
			return;
		}
		if (na < 0)
			break;
		at = na;
		whence = whence == SEEK_DATA ? SEEK_HOLE : SEEK_DATA;
	}
	if (lseek(fa, 0, SEEK_SET) || lseek(fb, 0, SEEK_SET))
		err(2, "lseek");
}

static void compare_content(int da, int db, const char *name, const struct stat *st)
{
	int fa = openat(da, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
	int fb = openat(db, name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);

	if (fa < 0 || fb < 0) {
		differ("cannot be opened in the %s: %s", fa < 0 ? "first" : "second",
		       strerror(errno));
	} else {
		if (want_holes && st->st_size >= 4096)
			compare_holes(fa, fb, st->st_size);
		if (!no_data)
			compare_bytes(fa, fb);
	}
	if (fa >= 0)
		close(fa);
	if (fb >= 0)
		close(fb);
}

static void compare_targets(int da, int db, const char *name)
{
	static char ta[65536], tb[65536];
	ssize_t na = readlinkat(da, name, ta, sizeof(ta));
	ssize_t nb = readlinkat(db, name, tb, sizeof(tb));

	if (na < 0 || nb < 0)
		differ("readlink: %s", strerror(errno));
	else if (na != nb || memcmp(ta, tb, (size_t)na))
		differ("symlink target '%.*s', '%.*s'", (int)na, ta, (int)nb, tb);
}

/* ------------------------------------------------------------ extended attributes */

static int by_text(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Names sorted, in one block behind the array; NULL-terminated. */
static char **xattr_names(const char *file)
{
	static char buf[65536];
	ssize_t len = llistxattr(file, buf, sizeof(buf));
	size_t n = 0;

	if (len < 0 && errno != ENOTSUP)
		differ("listxattr: %s", strerror(errno));
	if (len < 0)
		len = 0;
	for (ssize_t i = 0; i < len; i++)
		n += !buf[i];
	char **list = must(malloc((n + 1) * sizeof(*list) + (size_t)len));
	char *copy = (char *)(list + n + 1);

	memcpy(copy, buf, (size_t)len);
	for (size_t i = 0; i < n; i++, copy += strlen(copy) + 1)
		list[i] = copy;
	list[n] = NULL;
	qsort(list, n, sizeof(*list), by_text);
	return list;
}

static void compare_xattrs(int da, int db, const char *name)
{
	static char va[65536], vb[65536];
	char pa[320], pb[320];

	snprintf(pa, sizeof(pa), "/proc/self/fd/%d/%s", da, name);
	snprintf(pb, sizeof(pb), "/proc/self/fd/%d/%s", db, name);
	char **la = xattr_names(pa), **lb = xattr_names(pb);
	char **a = la, **b = lb;

	while (*a || *b) {
		int c = !*a ? 1 : !*b ? -1 : strcmp(*a, *b);

		if (c < 0) {
			differ("attribute %s only in the first", *a++);
			continue;
		}
		if (c > 0) {
			differ("attribute %s only in the second", *b++);
			continue;
		}
		ssize_t na = lgetxattr(pa, *a, va, sizeof(va));
		ssize_t nb = lgetxattr(pb, *b, vb, sizeof(vb));

		if (na < 0 || nb < 0 || na != nb || memcmp(va, vb, (size_t)na))
			differ("attribute %s has another value (%zd, %zd bytes)", *a, na, nb);
		a++;
		b++;
	}
	free(la);
	free(lb);
}

/* ------------------------------------------------------------ entries */

static void compare_dirs(int da, int db);

static int open_dir(int dir, const char *name)
{
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		differ("directory cannot be opened: %s", strerror(errno));
	return fd;
}

static void compare_stat(const struct stat *a, const struct stat *b)
{
	bool dir = S_ISDIR(a->st_mode);

	if ((a->st_mode & 07777) != (b->st_mode & 07777))
		differ("mode %04o, %04o", a->st_mode & 07777, b->st_mode & 07777);
	if (!no_owner && (a->st_uid != b->st_uid || a->st_gid != b->st_gid))
		differ("owner %u:%u, %u:%u", a->st_uid, a->st_gid, b->st_uid, b->st_gid);
	if (!no_mtime && !(dir && no_dir_mtime) &&
	    (a->st_mtim.tv_sec != b->st_mtim.tv_sec || a->st_mtim.tv_nsec != b->st_mtim.tv_nsec))
		differ("mtime %lld.%09ld, %lld.%09ld", (long long)a->st_mtim.tv_sec,
		       a->st_mtim.tv_nsec, (long long)b->st_mtim.tv_sec, b->st_mtim.tv_nsec);
	if ((S_ISCHR(a->st_mode) || S_ISBLK(a->st_mode)) && a->st_rdev != b->st_rdev)
		differ("device %u:%u, %u:%u", major(a->st_rdev), minor(a->st_rdev),
		       major(b->st_rdev), minor(b->st_rdev));
	if ((S_ISREG(a->st_mode) || S_ISLNK(a->st_mode)) && a->st_size != b->st_size)
		differ("size %lld, %lld", (long long)a->st_size, (long long)b->st_size);
}

static void compare_entry(int da, int db, const char *name)
{
	struct stat a, b;

	if (fstatat(da, name, &a, AT_SYMLINK_NOFOLLOW) ||
	    fstatat(db, name, &b, AT_SYMLINK_NOFOLLOW)) {
		differ("stat: %s", strerror(errno));
		return;
	}
	compared++;
	if ((a.st_mode ^ b.st_mode) & S_IFMT) {
		differ("type %06o, %06o", a.st_mode & S_IFMT, b.st_mode & S_IFMT);
		return;
	}
	compare_stat(&a, &b);
	if (!no_xattrs)
		compare_xattrs(da, db, name);
	if (!S_ISDIR(a.st_mode))
		compare_groups(&a, &b);
	if (S_ISLNK(a.st_mode))
		compare_targets(da, db, name);
	else if (S_ISREG(a.st_mode) && a.st_size == b.st_size)
		compare_content(da, db, name, &a);
	else if (S_ISDIR(a.st_mode)) {
		int sa = open_dir(da, name), sb = sa < 0 ? -1 : open_dir(db, name);

		if (sb >= 0)
			compare_dirs(sa, sb);
		if (sb >= 0)
			close(sb);
		if (sa >= 0)
			close(sa);
	}
}

struct names {
	char **list;
	size_t count, cap;
};

static void read_names(int fd, struct names *out)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;

	if (!d)
		err(2, "opendir %s", path);
	for (errno = 0; (e = readdir(d)); errno = 0) {
		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (out->count == out->cap) {
			out->cap = 2 * out->cap + 16;
			out->list = must(realloc(out->list, out->cap * sizeof(char *)));
		}
		out->list[out->count++] = must(strdup(e->d_name));
	}
	if (errno)
		differ("readdir: %s", strerror(errno));
	closedir(d);
	if (out->count)
		qsort(out->list, out->count, sizeof(char *), by_text);
	for (size_t i = 1; i < out->count; i++)
		if (!strcmp(out->list[i - 1], out->list[i]))
			differ("name listed twice: %s", out->list[i]);
}

static void free_names(struct names *n)
{
	for (size_t i = 0; i < n->count; i++)
		free(n->list[i]);
	free(n->list);
}

static void compare_dirs(int da, int db)
{
	struct names a = { 0 }, b = { 0 };
	size_t i = 0, j = 0;

	read_names(da, &a);
	read_names(db, &b);
	while (i < a.count || j < b.count) {
		int c = i == a.count ? 1 : j == b.count ? -1 : strcmp(a.list[i], b.list[j]);
		const char *name = c <= 0 ? a.list[i] : b.list[j];

		path_push(name);
		if (c)
			differ("only in the %s", c < 0 ? "first" : "second");
		else
			compare_entry(da, db, name);
		path_pop(name);
		i += c <= 0;
		j += c >= 0;
	}
	free_names(&a);
	free_names(&b);
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		bool *value;
	} flags[] = {
		{ "--holes", &want_holes },   { "--no-dir-mtime", &no_dir_mtime },
		{ "--no-mtime", &no_mtime },  { "--no-owner", &no_owner },
		{ "--no-nlink", &no_nlink },  { "--no-xattrs", &no_xattrs },
		{ "--no-data", &no_data },
	};
	const char *tree[2];
	int trees = 0;

	path = must(calloc(1, path_cap = 4096));
	for (int i = 1; i < argc; i++) {
		bool known = false;

		for (size_t f = 0; f < sizeof(flags) / sizeof(flags[0]); f++)
			if (!strcmp(argv[i], flags[f].name))
				known = *flags[f].value = true;
		if (known)
			continue;
		if (!strcmp(argv[i], "--max") && i + 1 < argc)
			max_shown = (unsigned)atoi(argv[++i]);
		else if (trees < 2 && argv[i][0] != '-')
			tree[trees++] = argv[i];
		else
			errx(2, "unknown argument %s", argv[i]);
	}
	if (trees != 2)
		errx(2, "usage: treecmp A B [options]");

	int da = open(tree[0], O_PATH | O_DIRECTORY | O_CLOEXEC);
	int db = open(tree[1], O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (da < 0 || db < 0)
		err(2, "%s", da < 0 ? tree[0] : tree[1]);
	compare_entry(da, db, ".");
	if (differences > max_shown)
		printf("… and %lu more\n", differences - max_shown);
	printf("%lu entries compared, %lu differences\n", compared, differences);
	return differences ? 1 : 0;
}
