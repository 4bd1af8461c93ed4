/* SPDX-License-Identifier: MIT */
/*
 * dirwalk - read one directory in every way there is: dirwalk DIR COUNT
 *
 * The directory has to show COUNT entries (and . and ..), each once, whether
 * read by readdir, by getdents64 with small buffers, from positions that telldir
 * gave and in any order, after rewinddir, by two streams in turn, or by several
 * processes at once. d_ino and d_type have to be what lstat says, in up to a few
 * thousand entries spread over the directory. Prints what is wrong; exit status 1.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROCESSES 4
#define SAMPLES 4000

struct seen {
	char *name;
	ino_t ino;
	long at;     /* telldir before it */
	unsigned char type;
};

static const char *dir_path;
static struct seen *all; /* in the order of the first reading */
static size_t n_all;
static unsigned wrong;

static void __attribute__((format(printf, 1, 2))) complain(const char *fmt, ...)
{
	va_list ap;

	if (wrong++ > 20)
		return;
	va_start(ap, fmt);
	vprintf(fmt, ap);
	va_end(ap);
	putchar('\n');
}

static DIR *must_open(void)
{
	DIR *d = opendir(dir_path);

	if (!d)
		err(2, "%s", dir_path);
	return d;
}

static bool is(const struct dirent *e, size_t i)
{
	return i < n_all && e->d_ino == all[i].ino && e->d_type == all[i].type &&
	       !strcmp(e->d_name, all[i].name);
}

static uint64_t random_below(uint64_t n)
{
	static uint64_t x = 88172645463325252u;

	x ^= x << 13, x ^= x >> 7, x ^= x << 17;
	return x % n;
}

/* ------------------------------------------------------------ the first reading */

static void read_all(void)
{
	DIR *d = must_open();
	size_t cap = 0;

	for (;;) {
		long at = telldir(d);

		errno = 0;
		struct dirent *e = readdir(d);

		if (!e)
			break;
		if (n_all == cap && !(all = realloc(all, (cap = 2 * cap + 64) * sizeof(*all))))
			err(2, "memory");
		all[n_all++] = (struct seen){ strdup(e->d_name), e->d_ino, at, e->d_type };
	}
	if (errno)
		complain("readdir: %s", strerror(errno));
	if (readdir(d))
		complain("something after the end");
	closedir(d);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct seen *)a)->name, ((const struct seen *)b)->name);
}

static void check_names(size_t count)
{
	struct seen *sorted = malloc((n_all + 1) * sizeof(*sorted));

	if (!sorted)
		err(2, "memory");
	memcpy(sorted, all, n_all * sizeof(*sorted));
	qsort(sorted, n_all, sizeof(*sorted), by_name);
	for (size_t i = 1; i < n_all; i++)
		if (!strcmp(sorted[i - 1].name, sorted[i].name))
			complain("twice: %s", sorted[i].name);
	free(sorted);
	if (n_all != count + 2)
		complain("%zu entries with . and .., wanted %zu", n_all, count + 2);
}

static void check_stat(void)
{
	int fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t step = n_all / SAMPLES + 1;

	if (fd < 0)
		err(2, "%s", dir_path);
	for (size_t i = 0; i < n_all; i += step) {
		struct stat st;

		if (!strcmp(all[i].name, "..")) /* of a mount's root it is elsewhere */
			continue;
		if (fstatat(fd, all[i].name, &st, AT_SYMLINK_NOFOLLOW))
			complain("lstat %s: %s", all[i].name, strerror(errno));
		else if (st.st_ino != all[i].ino)
			complain("%s: d_ino %llu, st_ino %llu", all[i].name,
				 (unsigned long long)all[i].ino, (unsigned long long)st.st_ino);
		else if (all[i].type != DT_UNKNOWN && all[i].type != IFTODT(st.st_mode))
			complain("%s: d_type %u, mode %o", all[i].name, all[i].type, st.st_mode);
	}
	close(fd);
}

/* ------------------------------------------------------------ the other readings */

/* Sorted by position where that is wanted, so the order of names must be the same each time. */
static void check_again(const char *how, DIR *d, size_t from)
{
	struct dirent *e;
	size_t i = from;

	while ((e = readdir(d)))
		if (!is(e, i++)) {
			complain("%s: entry %zu is %s, was %s", how, i - 1, e->d_name,
				 i <= n_all ? all[i - 1].name : "the end");
			return;
		}
	if (i != n_all)
		complain("%s: ends at %zu of %zu", how, i, n_all);
}

static void check_seek(void)
{
	DIR *d = must_open();
	size_t tries = n_all < 500 ? n_all : 500;

	for (size_t t = 0; t < tries; t++) {
		size_t i = tries == n_all ? n_all - 1 - t : random_below(n_all);

		seekdir(d, all[i].at);
		for (size_t k = 0; k < 3 && i + k < n_all; k++) {
			struct dirent *e = readdir(d);

			if (!e || !is(e, i + k)) {
				complain("seekdir to %zu, then %zu on: %s, was %s", i, k,
					 e ? e->d_name : "the end", all[i + k].name);
				break;
			}
			if (i + k + 1 < n_all && telldir(d) != all[i + k + 1].at)
				complain("telldir is %ld after %s, was %ld", telldir(d), e->d_name,
					 all[i + k + 1].at);
		}
	}
	seekdir(d, all[n_all / 2].at);
	check_again("seekdir to the middle", d, n_all / 2);
	rewinddir(d);
	check_again("rewinddir", d, 0);
	closedir(d);
}

/* A file descriptor of its own, and buffers that hold one entry or a few. */
static void check_small_buffers(size_t size)
{
	static char buf[4096] __attribute__((aligned(8)));
	int fd = open(dir_path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	size_t i = 0;
	long n;

	while ((n = syscall(SYS_getdents64, fd, buf, size)) > 0) {
		for (long at = 0; at < n; i++) {
			const struct dirent64 *e = (const void *)(buf + at);

			if (i >= n_all || strcmp(e->d_name, all[i].name) != 0)
				complain("getdents of %zu bytes: entry %zu is %s", size, i,
					 e->d_name);
			at += e->d_reclen;
		}
		if (n_all > 20000 && i > 10000) {
			close(fd); /* enough */
			return;
		}
	}
	if (n < 0)
		complain("getdents of %zu bytes: %s", size, strerror(errno));
	if (i != n_all)
		complain("getdents of %zu bytes: ends at %zu of %zu", size, i, n_all);
	close(fd);
}

static void check_two_streams(void)
{
	DIR *a = must_open(), *b = must_open();
	size_t i = 0, j = 0;
	bool more = true;

	while (more) {
		struct dirent *e;

		more = false;
		for (int k = 0; k < 3 && (e = readdir(a)); k++, more = true)
			if (!is(e, i++))
				complain("first of two streams: %s", e->d_name);
		for (int k = 0; k < 5 && (e = readdir(b)); k++, more = true)
			if (!is(e, j++))
				complain("second of two streams: %s", e->d_name);
	}
	if (i != n_all || j != n_all)
		complain("two streams end at %zu, %zu of %zu", i, j, n_all);
	closedir(a);
	closedir(b);
}

static void check_processes(void)
{
	pid_t pids[PROCESSES];
	int status;

	fflush(stdout);
	for (int p = 0; p < PROCESSES; p++) {
		pids[p] = fork();
		if (pids[p] < 0)
			err(2, "fork");
		if (pids[p] == 0) {
			DIR *d = must_open();

			wrong = 0;
			if (p % 2)
				seekdir(d, all[n_all * (size_t)p / PROCESSES].at);
			check_again("one of several processes", d,
				    p % 2 ? n_all * (size_t)p / PROCESSES : 0);
			fflush(stdout);
			_exit(wrong > 0);
		}
	}
	for (int p = 0; p < PROCESSES; p++)
		if (waitpid(pids[p], &status, 0) < 0 || status)
			complain("process %d fails", p);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "usage: dirwalk DIR COUNT");
	dir_path = argv[1];
	read_all();
	check_names(strtoul(argv[2], NULL, 10));
	if (n_all > 0) {
		check_stat();
		check_seek();
		check_small_buffers(280);
		check_small_buffers(1000);
		check_small_buffers(4096);
		check_two_streams();
		check_processes();
	}
	return wrong > 0;
}
