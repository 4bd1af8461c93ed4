/* SPDX-License-Identifier: MIT */
/*
 * readby - copy a file to standard output by a stated means: readby HOW FILE
 *
 *	read mmap mmap-populate sendfile splice copy_file_range backwards
 *	direct read-odd preadv
 *
 * copy_file_range needs a file as standard output. Exit status 77: the kernel
 * does not offer that for this file.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#define PIECE (192 * 1024)

static void put(const char *p, size_t n)
{
	while (n) {
		ssize_t w = write(STDOUT_FILENO, p, n);

		if (w < 0)
			err(1, "write");
		p += w;
		n -= (size_t)w;
	}
}

static void must(ssize_t rc, const char *what)
{
	if (rc < 0)
		err(errno == EINVAL || errno == EOPNOTSUPP || errno == ENOSYS ? 77 : 1, "%s", what);
}

static void by_mmap(int fd, size_t size, int flags)
{
	if (!size)
		return;
	char *p = mmap(NULL, size, PROT_READ, flags, fd, 0);

	if (p == MAP_FAILED)
		err(1, "mmap");
	/* the last page first, then every 7th, then all */
	volatile char sum = p[size - 1];

	for (size_t i = 0; i < size; i += 7 * 4096)
		sum = (char)(sum + p[i]);
	put(p, size);
	munmap(p, size);
}

static void by_splice(int fd)
{
	int ends[2];
	char buf[65536];
	ssize_t n;

	must(pipe2(ends, O_CLOEXEC), "pipe");
	while ((n = splice(fd, NULL, ends[1], NULL, sizeof(buf), 0)) > 0)
		while (n > 0) {
			ssize_t got = read(ends[0], buf, sizeof(buf));

			must(got, "read");
			put(buf, (size_t)got);
			n -= got;
		}
	must(n, "splice");
}

static void by_direct(int fd)
{
	char *buf;
	ssize_t n;

	if (posix_memalign((void **)&buf, 4096, 1 << 20))
		err(1, "memory");
	must(fcntl(fd, F_SETFL, O_DIRECT), "O_DIRECT");
	while ((n = read(fd, buf, 1 << 20)) > 0)
		put(buf, (size_t)n);
	must(n, "read");
	free(buf);
}

/* From the end to the start, in odd pieces. */
static void backwards(int fd, size_t size)
{
	char *all = malloc(size + 1);
	size_t at = size;

	if (!all)
		err(1, "memory");
	while (at > 0) {
		size_t n = at < 70001 ? at : 70001;

		at -= n;
		if (pread(fd, all + at, n, (off_t)at) != (ssize_t)n)
			err(1, "pread at %zu", at);
	}
	put(all, size);
	free(all);
}

static void by_preadv(int fd, size_t size)
{
	char a[3], b[5000], c[70000];
	size_t at = 0;

	while (at < size) {
		struct iovec v[3] = { { a, sizeof(a) }, { b, sizeof(b) }, { c, sizeof(c) } };
		ssize_t n = preadv(fd, v, 3, (off_t)at);

		must(n, "preadv");
		for (int i = 0; i < 3; i++) {
			size_t k = v[i].iov_len < (size_t)n ? v[i].iov_len : (size_t)n;

			put(v[i].iov_base, k);
			n -= (ssize_t)k;
			at += k;
		}
	}
}

static void by_read(int fd, size_t piece)
{
	static char buf[PIECE];
	ssize_t n;

	while ((n = read(fd, buf, piece)) > 0)
		put(buf, (size_t)n);
	must(n, "read");
}

int main(int argc, char **argv)
{
	struct stat st;
	ssize_t n;

	if (argc != 3)
		errx(2, "usage: readby HOW FILE");
	const char *how = argv[1];
	int fd = open(argv[2], O_RDONLY | O_CLOEXEC);

	if (fd < 0 || fstat(fd, &st))
		err(1, "%s", argv[2]);
	size_t size = (size_t)st.st_size;

	if (!strcmp(how, "read")) {
		by_read(fd, PIECE);
	} else if (!strcmp(how, "read-odd")) {
		by_read(fd, 12345);
	} else if (!strcmp(how, "mmap")) {
		by_mmap(fd, size, MAP_PRIVATE);
	} else if (!strcmp(how, "mmap-populate")) {
		by_mmap(fd, size, MAP_SHARED | MAP_POPULATE);
	} else if (!strcmp(how, "splice")) {
		by_splice(fd);
	} else if (!strcmp(how, "direct")) {
		by_direct(fd);
	} else if (!strcmp(how, "backwards")) {
		backwards(fd, size);
	} else if (!strcmp(how, "preadv")) {
		by_preadv(fd, size);
	} else if (!strcmp(how, "sendfile")) {
		while ((n = sendfile(STDOUT_FILENO, fd, NULL, PIECE)) > 0)
			;
		must(n, "sendfile");
	} else if (!strcmp(how, "copy_file_range")) {
		while ((n = copy_file_range(fd, NULL, STDOUT_FILENO, NULL, PIECE, 0)) > 0)
			;
		if (n < 0 && errno == EXDEV)
			errno = EOPNOTSUPP;
		must(n, "copy_file_range");
	} else {
		errx(2, "no such means: %s", how);
	}
	return 0;
}
