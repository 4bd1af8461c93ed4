/* SPDX-License-Identifier: MIT */
/*
 * churn - change a directory without pause until killed: churn DIR SEED
 *
 * Creates, rewrites, appends to, truncates, renames and removes files and
 * directories of fixed names, so that a backup of DIR meets everything that
 * can change under it.
 */
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { NAMES = 60 };

/* A failing step is part of the game: the name may be a directory, or gone. */
static void step(int dir, unsigned r, const char *buf, size_t len)
{
	char name[32], other[32];
	int fd, flags = O_WRONLY | O_CREAT | O_CLOEXEC;

	snprintf(name, sizeof(name), "n%u", r / 16 % NAMES);
	snprintf(other, sizeof(other), "n%u", r / 4096 % NAMES);
	switch (r % 8) {
	case 0:
		(void)unlinkat(dir, name, 0);
		break;
	case 1:
		(void)!renameat(dir, name, dir, other);
		break;
	case 2:
		(void)mkdirat(dir, name, 0755);
		break;
	case 3:
		(void)unlinkat(dir, name, AT_REMOVEDIR);
		break;
	default:
		flags |= r % 8 == 4 ? O_TRUNC : r % 8 == 5 ? O_APPEND : 0;
		fd = openat(dir, name, flags, 0644);
		if (fd < 0)
			break;
		(void)!write(fd, buf, r / 8 % 2 ? len : 100);
		if (r % 8 == 7)
			(void)!ftruncate(fd, (off_t)(r % (4 * len)));
		close(fd);
	}
}

int main(int argc, char **argv)
{
	static char buf[300000];

	if (argc != 3)
		errx(2, "usage: churn DIR SEED");
	int dir = open(argv[1], O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (dir < 0)
		err(1, "%s", argv[1]);
	srandom((unsigned)strtoul(argv[2], NULL, 10));
	for (;;) {
		unsigned r = (unsigned)random();

		memset(buf + r % 1000 * 100, (int)(r & 0xff), 1000);
		step(dir, r, buf, sizeof(buf));
	}
}
