/* SPDX-License-Identifier: MIT */
/*
 * inodes - the inode numbers of a tree as the kernel tells them: inodes DIR
 *
 * One line an entry below DIR: st_ino, d_ino, link count, type letter, path with
 * odd bytes escaped. Symlinks are not followed.
 */
#include <dirent.h>
#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void put_escaped(const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if (c <= 0x20 || c >= 0x7f || c == '\\')
			printf("\\x%02x", c);
		else
			putchar(c);
	}
}

static void list(int parent, const char *name, const char *path)
{
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;

	if (!d)
		err(1, "%s", path);
	while ((e = readdir(d))) {
		struct stat st;
		char *sub;

		if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
			continue;
		if (fstatat(fd, e->d_name, &st, AT_SYMLINK_NOFOLLOW))
			err(1, "stat %s/%s", path, e->d_name);
		if (asprintf(&sub, "%s%s%s", path, *path ? "/" : "", e->d_name) < 0)
			err(1, "memory");
		printf("%llu %llu %lu %c ", (unsigned long long)st.st_ino,
		       (unsigned long long)e->d_ino, (unsigned long)st.st_nlink,
		       S_ISDIR(st.st_mode) ? 'd' : S_ISREG(st.st_mode) ? 'f' : 'o');
		put_escaped(sub);
		putchar('\n');
		if (S_ISDIR(st.st_mode))
			list(fd, e->d_name, sub);
		free(sub);
	}
	closedir(d);
}

int main(int argc, char **argv)
{
	if (argc != 2)
		errx(2, "usage: inodes DIR");
	list(AT_FDCWD, argv[1], "");
	return 0;
}
