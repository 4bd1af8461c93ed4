/* SPDX-License-Identifier: MIT */
/*
 * byhandle - files by handle instead of by name, as an NFS server finds them.
 *
 *	byhandle save PATH…            print a handle a line, in hex
 *	byhandle show MOUNT <HANDLES   of each: "ino mode size checksum", or what is wrong
 *
 * The checksum is that of a file's content, of the names and numbers in a
 * directory ("." and ".." among them), or of a symlink's target. Needs root.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static union {
	struct file_handle h;
	unsigned char room[sizeof(struct file_handle) + MAX_HANDLE_SZ];
} u;

static void save(const char *path)
{
	int mount;

	u.h.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(AT_FDCWD, path, &u.h, &mount, 0) != 0)
		err(2, "%s: handle", path);
	printf("%x ", (unsigned)u.h.handle_type);
	for (unsigned i = 0; i < u.h.handle_bytes; i++)
		printf("%02x", u.h.f_handle[i]);
	putchar('\n');
}

static uint64_t sum(uint64_t x, const void *data, size_t len)
{
	const unsigned char *p = data;

	while (len-- > 0)
		x = (x ^ *p++) * UINT64_C(0x100000001b3);
	return x;
}

static uint64_t sum_of_dir(int fd, uint64_t x)
{
	DIR *d = fdopendir(dup(fd));

	if (!d)
		err(1, "opendir");
	for (struct dirent *e; (e = readdir(d));) {
		x = sum(x, e->d_name, strlen(e->d_name));
		x = sum(x, &e->d_ino, sizeof(e->d_ino));
	}
	closedir(d);
	/* the way up as well */
	struct stat st;
	if (fstatat(fd, "..", &st, 0) != 0)
		err(1, "..");
	return sum(x, &st.st_ino, sizeof(st.st_ino));
}

static void show(int mount)
{
	uint64_t x = UINT64_C(0xcbf29ce484222325);
	char buf[65536];
	struct stat st;
	ssize_t n;
	int fd = open_by_handle_at(mount, &u.h, O_PATH);

	if (fd < 0 || fstat(fd, &st) != 0) {
		printf("%s\n", strerrorname_np(errno));
		return;
	}
	if (S_ISLNK(st.st_mode)) {
		n = readlinkat(fd, "", buf, sizeof(buf));
		x = sum(x, buf, n < 0 ? 0 : (size_t)n);
	} else if (S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)) {
		close(fd);
		fd = open_by_handle_at(mount, &u.h, O_RDONLY);
		if (fd < 0)
			err(1, "open by handle");
		if (S_ISDIR(st.st_mode))
			x = sum_of_dir(fd, x);
		else
			while ((n = read(fd, buf, sizeof(buf))) > 0)
				x = sum(x, buf, (size_t)n);
	}
	close(fd);
	printf("%ju %o %jd %016jx\n", (uintmax_t)st.st_ino, st.st_mode, (intmax_t)st.st_size,
	       (uintmax_t)x);
}

int main(int argc, char **argv)
{
	unsigned type, byte;

	if (argc >= 3 && strcmp(argv[1], "save") == 0) {
		for (int i = 2; i < argc; i++)
			save(argv[i]);
		return 0;
	}
	if (argc != 3 || strcmp(argv[1], "show") != 0)
		errx(2, "usage: byhandle save PATH... | show MOUNT");
	int mount = open(argv[2], O_RDONLY | O_DIRECTORY);
	if (mount < 0)
		err(2, "%s", argv[2]);
	while (scanf("%x ", &type) == 1) {
		u.h.handle_type = (int)type;
		u.h.handle_bytes = 0;
		while (u.h.handle_bytes < MAX_HANDLE_SZ && scanf("%2x", &byte) == 1) {
			u.h.f_handle[u.h.handle_bytes++] = (unsigned char)byte;
			int c = getchar();
			if (c == '\n' || c == EOF)
				break;
			ungetc(c, stdin);
		}
		show(mount);
	}
	return 0;
}
