/* SPDX-License-Identifier: MIT */
/*
 * mkbig - fill a directory with very many entries: mkbig DIR COUNT
 *
 * Most are empty files, every 100th has a line in it, every 1000th is a
 * directory, every 1001st has a name of 200 bytes. DIR is created.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void make_entry(int dir, unsigned long i)
{
	char name[256];
	int n = snprintf(name, sizeof(name), "entry-%08lu", i);

	if (i % 1001 == 0) {
		memset(name + n, 'l', 200 - (size_t)n);
		name[200] = 0;
	}
	if (i % 1000 == 0) {
		if (mkdirat(dir, name, 0755))
			err(1, "%s", name);
		return;
	}
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0 || (i % 100 == 0 && dprintf(fd, "line of %lu\n", i) < 0))
		err(1, "%s", name);
	close(fd);
}

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "usage: mkbig DIR COUNT");
	if (mkdir(argv[1], 0755))
		err(1, "%s", argv[1]);
	int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		err(1, "%s", argv[1]);
	for (unsigned long i = 0, n = strtoul(argv[2], NULL, 10); i < n; i++)
		make_entry(dir, i);
	close(dir);
	return 0;
}
