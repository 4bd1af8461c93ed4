/* SPDX-License-Identifier: MIT */
/*
 * eiocmp - compare a tree in a mount of a damaged store with its source.
 *
 *	eiocmp [--zeros] SOURCE MOUNTED
 *
 * Whatever can be read must be as in the source; all else must fail with EIO,
 * and nothing else: no name may be missing, or be there that is not in the
 * source. Content is read in pages; with --zeros bytes that are not the
 * source's may be zero. Prints how many answers were the same, failed and were
 * zeroed. Status 1: there was another answer, each is printed.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAGE 4096

static unsigned long same, failed, zeroed, wrong;
static bool zeros;

/* Did it work? If not it must be EIO. */
static bool worked(bool ok, const char *what, const char *path)
{
	if (ok)
		return true;
	if (errno == EIO) {
		failed++;
	} else if (wrong++ < 20) {
		printf("%s: %s: %s\n", path, what, strerror(errno));
	}
	return false;
}

static void check(bool ok, const char *what, const char *path)
{
	if (ok)
		same++;
	else if (wrong++ < 20)
		printf("%s: %s differs\n", path, what);
}

static void compare_page(const char *path, const char *a, const char *b, size_t n)
{
	bool equal = memcmp(a, b, n) == 0, may = zeros;

	for (size_t i = 0; i < n && may; i++)
		may = b[i] == a[i] || b[i] == 0;
	if (!equal && may)
		zeroed++;
	else
		check(equal, "content", path);
}

static void compare_file(const char *source, const char *path, off_t size)
{
	char a[PAGE], b[PAGE];
	int from = open(source, O_RDONLY | O_NOFOLLOW), fd = open(path, O_RDONLY | O_NOFOLLOW);

	if (from < 0)
		err(2, "%s", source);
	if (!worked(fd >= 0, "open", path))
		goto out;
	for (off_t at = 0; at < size; at += PAGE) {
		ssize_t want = pread(from, a, PAGE, at), n = pread(fd, b, PAGE, at);
		if (!worked(n >= 0, "read", path))
			continue;
		if (n == want)
			compare_page(path, a, b, (size_t)n);
		else
			check(false, "length", path);
	}
	close(fd);
out:
	close(from);
}

static void compare_link(const char *source, const char *path)
{
	char a[PATH_MAX] = "", b[PATH_MAX] = "";
	ssize_t want = readlink(source, a, sizeof(a)), n = readlink(path, b, sizeof(b));

	if (worked(n >= 0, "readlink", path))
		check(n == want && memcmp(a, b, (size_t)n) == 0, "target", path);
}

static void compare(const char *source, const char *path);

/* Each name of one must be in the other; *whole: the list was read to its end. */
static unsigned long names(const char *dir, const char *other, bool mounted, bool *whole)
{
	char a[PATH_MAX], b[PATH_MAX];
	unsigned long n = 0;
	struct stat st;
	DIR *d = opendir(dir);

	*whole = false;
	if (!mounted && !d)
		err(2, "%s", dir);
	if (!worked(d != NULL, "opendir", dir))
		return 0;
	for (struct dirent *e; errno = 0, (e = readdir(d));) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		n++;
		snprintf(a, sizeof(a), "%s/%s", dir, e->d_name);
		snprintf(b, sizeof(b), "%s/%s", other, e->d_name);
		if (mounted)
			check(lstat(b, &st) == 0, "a new name", a);
		else
			compare(a, b);
	}
	*whole = !errno;
	if (errno)
		worked(false, "readdir", dir);
	closedir(d);
	return n;
}

static void compare_dir(const char *source, const char *path)
{
	bool all, whole;
	unsigned long there = names(source, path, false, &all), n = names(path, source, true, &whole);

	if (whole)
		check(n == there, "the number of names", path);
}

static void compare(const char *source, const char *path)
{
	struct stat a, b;

	if (lstat(source, &a) != 0)
		err(2, "%s", source);
	if (!worked(lstat(path, &b) == 0, "lstat", path))
		return;
	check(a.st_mode == b.st_mode && a.st_uid == b.st_uid &&
		      (S_ISDIR(a.st_mode) || a.st_size == b.st_size) &&
		      a.st_mtim.tv_sec == b.st_mtim.tv_sec && a.st_mtim.tv_nsec == b.st_mtim.tv_nsec,
	      "status", path);
	if (S_ISDIR(a.st_mode))
		compare_dir(source, path);
	else if (S_ISREG(a.st_mode))
		compare_file(source, path, a.st_size);
	else if (S_ISLNK(a.st_mode))
		compare_link(source, path);
}

int main(int argc, char **argv)
{
	zeros = argc > 1 && strcmp(argv[1], "--zeros") == 0;
	if (argc - zeros != 3)
		errx(2, "usage: eiocmp [--zeros] SOURCE MOUNTED");
	compare(argv[1 + zeros], argv[2 + zeros]);
	printf("same %lu failed %lu zeroed %lu wrong %lu\n", same, failed, zeroed, wrong);
	return wrong > 0;
}
