/* SPDX-License-Identifier: MIT */
/*
 * treegen - make a tree that holds everything a backup has to carry.
 *
 *	treegen DIR [--seed N] [--files N] [--plain] [--no-deep]
 *
 * DIR is created. First come the named corner cases: sizes around every
 * threshold, odd names, a path longer than PATH_MAX, sparse files, hard links,
 * special files, times before 1970, odd modes, extended attributes. Then --files
 * random files and directories. --plain leaves out what needs root or is refused
 * by some file systems (owners, devices, attributes), --no-deep the path that cp
 * and rsync cannot copy. The same seed makes the same tree (but for ctime); it is
 * printed.
 *
 * All work is done relative to directory descriptors, because paths get too
 * long for the kernel. A directory's own times are set when it is complete.
 */
#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>
#include <time.h>
#include <unistd.h>

#define KIB 1024u
#define MIB (1024u * 1024u)

static uint64_t rng_state;
static bool plain, no_deep;
static bool root;

static uint64_t rng(void)
{
	rng_state += 0x9e3779b97f4a7c15u;
	uint64_t z = rng_state;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static uint64_t below(uint64_t n)
{
	return rng() % n;
}

/* ------------------------------------------------------------ content */

enum fill { FILL_RANDOM, FILL_TEXT, FILL_ZERO, FILL_KINDS };

static void fill_bytes(uint8_t *buf, size_t len, enum fill kind)
{
	static const char *const words[] = { "store ", "chunk ", "point ", "of ", "the ", "a\n",
					     "static int ", "return ", "0x1f, ", "bundle " };
	size_t n = 0;

	if (kind == FILL_ZERO) {
		memset(buf, 0, len);
		return;
	}
	while (n < len) {
		uint64_t r = rng();

		if (kind == FILL_RANDOM) {
			size_t k = len - n < 8 ? len - n : 8;

			memcpy(buf + n, &r, k);
			n += k;
		} else {
			const char *w = words[r % (sizeof(words) / sizeof(words[0]))];

			while (*w && n < len)
				buf[n++] = (uint8_t)*w++;
		}
	}
}

static void write_all(int fd, const uint8_t *buf, size_t len)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0)
			err(1, "write");
		buf += n;
		len -= (size_t)n;
	}
}

static int create(int dir, const char *name)
{
	int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0)
		err(1, "create %.40s", name);
	return fd;
}

/* A file whose content is a function of content_seed, so that it can be made twice. */
static void make_file(int dir, const char *name, size_t size, uint64_t content_seed)
{
	uint64_t keep = rng_state;
	int fd = create(dir, name);
	uint8_t buf[64 * KIB];

	rng_state = content_seed;
	enum fill kind = (enum fill)below(FILL_KINDS);

	while (size) {
		size_t n = size < sizeof(buf) ? size : sizeof(buf);

		/* large files change their nature on the way */
		if (below(8) == 0)
			kind = (enum fill)below(FILL_KINDS);
		fill_bytes(buf, n, kind);
		write_all(fd, buf, n);
		size -= n;
	}
	close(fd);
	rng_state = keep;
}

/* ------------------------------------------------------------ attributes */

static void set_xattr(int dir, const char *name, const char *attr, const void *value, size_t len)
{
	char path[64 + 256];

	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", dir, name);
	if (lsetxattr(path, attr, value, len, 0) && errno != ENOTSUP && errno != EPERM &&
	    errno != ENOSPC)
		err(1, "setxattr %s", attr);
}

static void set_times(int dir, const char *name, int64_t sec, uint32_t nsec)
{
	struct timespec t = { .tv_sec = sec, .tv_nsec = nsec }, both[2] = { t, t };

	if (utimensat(dir, name, both, AT_SYMLINK_NOFOLLOW))
		err(1, "utimensat %.40s", name);
}

static void random_times(int dir, const char *name)
{
	int64_t sec = 1000000000 + (int64_t)below(700000000);

	if (below(20) == 0)
		sec = -(int64_t)below(2000000000);
	set_times(dir, name, sec, (uint32_t)below(1000000000));
}

/* Values with NULs, empty ones, long ones, and many of them. */
static void random_xattrs(int dir, const char *name, unsigned count)
{
	uint8_t value[1500];

	for (unsigned i = 0; i < count; i++) {
		char attr[64];
		size_t len = below(4) ? below(40) : below(sizeof(value) / (count > 3 ? 8 : 1));

		snprintf(attr, sizeof(attr), "user.%s%u", below(2) ? "test." : "caf\303\251 ", i);
		fill_bytes(value, len, (enum fill)below(FILL_KINDS));
		set_xattr(dir, name, attr, value, len);
	}
}

/* user::rwx user:1234:r-- group::r-- mask::r-- other::---, as the kernel stores it. */
static void set_acl(int dir, const char *name, const char *attr)
{
	static const uint8_t acl[] = { 2, 0, 0, 0,
				       0x01, 0, 7, 0, 0xff, 0xff, 0xff, 0xff,
				       0x02, 0, 4, 0, 0xd2, 0x04, 0, 0,
				       0x04, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
				       0x10, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
				       0x20, 0, 0, 0, 0xff, 0xff, 0xff, 0xff };

	set_xattr(dir, name, attr, acl, sizeof(acl));
}

static void random_owner(int dir, const char *name)
{
	static const uid_t ids[] = { 0, 1, 1000, 65534, 4000000000u };

	if (root && !plain &&
	    fchownat(dir, name, ids[below(5)], ids[below(5)], AT_SYMLINK_NOFOLLOW))
		err(1, "chown %.40s", name);
}

static void set_mode(int dir, const char *name, mode_t mode)
{
	if (!root)
		mode |= 0400;
	if (fchmodat(dir, name, mode, 0))
		err(1, "chmod %.40s", name);
}

/* ------------------------------------------------------------ names */

static const char *const odd_names[] = {
	" ", "  leading", "trailing ", "-rf", "--help", "...", ".hidden", "a\nb", "\n", "tab\there",
	"back\\slash", "q\"uote", "it's", "$(touch x)", "*", "?", "[a]", "#", "~", "a:b", "|;&<>",
	"\x01\x02\x7f", "\xff\xfe", "caf\xe9", "caf\303\251", "cafe\314\201", "\360\237\222\276",
	"\xed\xa0\x80", "\xc0\xaf", "\\x41", "latest", "%s%n", "CON", "x\r",
};

/* 1 to 255 bytes of anything but '/' and NUL; unlikely to occur twice thanks to the number. */
static void random_name(char name[256], unsigned number)
{
	size_t len = below(10) ? 1 + below(24) : 1 + below(255);
	bool wild = below(6) == 0;
	int n = snprintf(name, 256, "%u", number);

	for (size_t i = (size_t)n; i < len; i++) {
		uint8_t c = wild ? (uint8_t)(1 + below(255)) : (uint8_t)('a' + below(26));

		name[i] = (char)(c == '/' ? '_' : c);
	}
	name[len > (size_t)n ? len : (size_t)n] = 0;
}

/* ------------------------------------------------------------ corner cases */

static int make_dir(int dir, const char *name)
{
	if (mkdirat(dir, name, 0755))
		err(1, "mkdir %.40s", name);
	int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		err(1, "open %.40s", name);
	return fd;
}

static void corner_sizes(int parent)
{
	static const size_t sizes[] = {
		0, 1, 2, 63, 64, 65, 127, 128, 129, 255, 256, 257, 511, 512, 513, 1023, 1024, 1025,
		4095, 4096, 4097, 16383, 16384, 16385, 32767, 32768, 32769, 65535, 65536, 65537,
		131071, 131072, 131073, 262143, 262144, 262145, 524287, 524288, 524289,
		MIB - 1, MIB, MIB + 1, 2 * MIB + 7, 5 * MIB + 123,
	};
	int dir = make_dir(parent, "sizes");

	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char name[32];

		snprintf(name, sizeof(name), "%zu", sizes[i]);
		make_file(dir, name, sizes[i], rng());
	}
	make_file(dir, "same-1", 300 * KIB, 4711);
	make_file(dir, "same-2", 300 * KIB, 4711);
	make_file(dir, "same-small-1", 900, 4712);
	make_file(dir, "same-small-2", 900, 4712);
	close(dir);
}

static void corner_names(int parent)
{
	int dir = make_dir(parent, "names");
	char name[256];

	for (size_t i = 0; i < sizeof(odd_names) / sizeof(odd_names[0]); i++)
		make_file(dir, odd_names[i], i * 11, rng());
	memset(name, 'x', 255);
	name[255] = 0;
	make_file(dir, name, 10, rng());
	memset(name, 0xff, 255);
	close(make_dir(dir, name));
	memcpy(name, "end in a byte of its own", 24);
	if (symlinkat("\xff target\n", dir, name))
		err(1, "symlink");
	close(dir);
}

/* More than 4096 bytes of path, and many levels. */
static void corner_deep(int parent)
{
	char name[256];
	int dir = make_dir(parent, "deep");

	memset(name, 'd', 250);
	name[250] = 0;
	for (int level = 0; level < 20; level++) {
		int next = make_dir(dir, name);

		close(dir);
		dir = next;
	}
	for (int level = 0; level < 80; level++) {
		int next = make_dir(dir, "n");

		close(dir);
		dir = next;
	}
	make_file(dir, "at the bottom", 5000, rng());
	if (symlinkat("at the bottom", dir, "link"))
		err(1, "symlink");
	close(dir);
}

static void make_sparse(int dir, const char *name, off_t size, const off_t *data, size_t ndata)
{
	uint8_t buf[4096];
	int fd = create(dir, name);

	for (size_t i = 0; i < ndata; i++) {
		fill_bytes(buf, sizeof(buf), FILL_RANDOM);
		if (pwrite(fd, buf, sizeof(buf), data[i]) != (ssize_t)sizeof(buf))
			err(1, "pwrite");
	}
	if (ftruncate(fd, size))
		err(1, "ftruncate");
	close(fd);
}

static void corner_sparse(int parent)
{
	static const off_t middle[] = { 1 * MIB, 2 * MIB, 3 * MIB + 4096 };
	static const off_t first[] = { 0 };
	static const off_t end[] = { 8 * MIB - 4096 };
	off_t many[400];
	int dir = make_dir(parent, "sparse");

	make_sparse(dir, "only-a-hole", 64 * MIB, NULL, 0);
	make_sparse(dir, "small-hole", 4096 * 3, NULL, 0);
	make_sparse(dir, "one-byte-hole", 1, NULL, 0);
	make_sparse(dir, "islands", 8 * MIB, middle, 3);
	make_sparse(dir, "data-then-hole", 8 * MIB + 1, first, 1);
	make_sparse(dir, "hole-then-data", 8 * MIB, end, 1);
	make_sparse(dir, "odd-end", 5 * MIB + 77, middle, 1);
	for (size_t i = 0; i < 400; i++)
		many[i] = (off_t)i * 32768;
	make_sparse(dir, "many-islands", 400 * 32768, many, 400);
	close(dir);
}

static void corner_links(int parent)
{
	int dir = make_dir(parent, "links");
	int other = make_dir(dir, "other");
	char target[4000];

	make_file(dir, "one", 3000, rng());
	make_file(dir, "big", 700 * KIB, rng());
	make_file(dir, "same-content-but-not-linked", 3000, rng());
	if (linkat(dir, "one", dir, "two", 0) || linkat(dir, "one", other, "three", 0) ||
	    linkat(dir, "big", other, "a-big", 0))
		err(1, "link");
	memset(target, 't', sizeof(target) - 1);
	target[sizeof(target) - 1] = 0;
	if (symlinkat("one", dir, "relative") || symlinkat("/nowhere/at all", dir, "dangling") ||
	    symlinkat("../..", dir, "up") || symlinkat("self", dir, "self") ||
	    symlinkat(target, dir, "long") ||
	    linkat(dir, "relative", other, "linked-symlink", 0))
		err(1, "symlink");
	if (mkfifoat(dir, "fifo", 0640) || linkat(dir, "fifo", other, "fifo-too", 0))
		err(1, "mkfifo");
	close(other);
	close(dir);
}

static void make_socket(int dir, const char *name)
{
	struct sockaddr_un addr = { .sun_family = AF_UNIX };
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(addr.sun_path, sizeof(addr.sun_path), "/proc/self/fd/%d/%s", dir, name);
	if (fd < 0 || bind(fd, (struct sockaddr *)&addr, sizeof(addr)))
		err(1, "socket");
	close(fd);
}

static void corner_specials(int parent)
{
	int dir = make_dir(parent, "specials");

	if (mkfifoat(dir, "fifo", 0600))
		err(1, "mkfifo");
	make_socket(dir, "socket");
	if (root && !plain &&
	    (mknodat(dir, "null", S_IFCHR | 0666, makedev(1, 3)) ||
	     mknodat(dir, "block", S_IFBLK | 0660, makedev(7, 200)) ||
	     mknodat(dir, "big-numbers", S_IFCHR | 0600, makedev(4095, 1048575))))
		warn("no device nodes: mknod");
	close(make_dir(dir, "empty-dir"));
	close(dir);
}

static void corner_modes(int parent)
{
	static const mode_t modes[] = { 0,     0400,  0444,  0111,  0777, 01644,
					02755, 04755, 06755, 07777, 0200 };
	int dir = make_dir(parent, "modes");

	for (size_t i = 0; i < sizeof(modes) / sizeof(modes[0]); i++) {
		char name[32];

		snprintf(name, sizeof(name), "file-%04o", modes[i]);
		make_file(dir, name, 20, rng());
		random_owner(dir, name);
		set_mode(dir, name, modes[i]);
		if (!root && !(modes[i] & 0500))
			continue;
		snprintf(name, sizeof(name), "dir-%04o", modes[i]);
		close(make_dir(dir, name));
		random_owner(dir, name);
		set_mode(dir, name, root ? modes[i] : modes[i] | 0700);
	}
	close(dir);
}

static void corner_times(int parent)
{
	static const struct {
		const char *name;
		int64_t sec;
		uint32_t nsec;
	} times[] = {
		{ "epoch", 0, 0 },
		{ "one-ns", 0, 1 },
		{ "just-before-1970", -1, 999999999 },
		{ "half-before-1970", -2, 500000000 },
		{ "1901", -2147483648, 0 },
		{ "2038", 2147483647, 999999999 },
		{ "after-2038", 2147483648, 1 },
		{ "2100", 4102444800, 123456789 },
		{ "2400", 13569465600, 7 },
	};
	int dir = make_dir(parent, "times");

	for (size_t i = 0; i < sizeof(times) / sizeof(times[0]); i++) {
		char name[64];

		make_file(dir, times[i].name, 3, rng());
		set_times(dir, times[i].name, times[i].sec, times[i].nsec);
		snprintf(name, sizeof(name), "dir-%s", times[i].name);
		close(make_dir(dir, name));
		set_times(dir, name, times[i].sec, times[i].nsec);
		snprintf(name, sizeof(name), "link-%s", times[i].name);
		if (symlinkat("x", dir, name))
			err(1, "symlink");
		set_times(dir, name, times[i].sec, times[i].nsec);
	}
	close(dir);
}

static void corner_xattrs(int parent)
{
	static const uint8_t caps[20] = { 1, 0, 0, 2, 0, 4 }; /* cap_net_bind_service, effective */
	int dir = make_dir(parent, "xattrs");
	uint8_t big[3000];

	close(make_dir(dir, "dir"));
	set_xattr(dir, "dir", "user.on-a-dir", "value", 5);
	set_acl(dir, "dir", "system.posix_acl_access");
	set_acl(dir, "dir", "system.posix_acl_default");
	make_file(dir, "acl", 10, rng());
	set_acl(dir, "acl", "system.posix_acl_access");
	make_file(dir, "empty-value", 0, rng());
	set_xattr(dir, "empty-value", "user.empty", "", 0);
	make_file(dir, "nul-value", 0, rng());
	set_xattr(dir, "nul-value", "user.nul", "a\0b", 3);
	fill_bytes(big, sizeof(big), FILL_RANDOM);
	make_file(dir, "big-value", 1, rng());
	set_xattr(dir, "big-value", "user.big", big, sizeof(big));
	make_file(dir, "same-value", 2, rng());
	set_xattr(dir, "same-value", "user.big", big, sizeof(big));
	make_file(dir, "many", 1, rng());
	random_xattrs(dir, "many", 12);
	if (symlinkat("x", dir, "link"))
		err(1, "symlink");
	if (root) {
		set_xattr(dir, "link", "trusted.on-a-link", "v", 1);
		set_xattr(dir, "many", "trusted.t", "v", 1);
		make_file(dir, "caps", 4, rng());
		set_mode(dir, "caps", 0755);
		set_xattr(dir, "caps", "security.capability", caps, sizeof(caps));
	}
	close(dir);
}

static void corners(int dir)
{
	corner_sizes(dir);
	corner_names(dir);
	if (!no_deep)
		corner_deep(dir);
	corner_sparse(dir);
	corner_links(dir);
	corner_specials(dir);
	corner_modes(dir);
	corner_times(dir);
	if (!plain)
		corner_xattrs(dir);
}

/* ------------------------------------------------------------ the random part */

static size_t random_size(void)
{
	switch (below(10)) {
	case 0:
		return 0;
	case 1:
		return below(MIB);
	case 2:
		return below(200 * KIB);
	case 3:
		return below(64);
	default:
		return below(12 * KIB);
	}
}

static void random_entry(int dir, const char *name, unsigned number)
{
	uint64_t content = below(4) ? rng() : below(10);
	const char *target = odd_names[below(sizeof(odd_names) / sizeof(odd_names[0]))];

	switch (below(20)) {
	case 0:
		if (symlinkat(target, dir, name))
			err(1, "symlink");
		break;
	case 1:
		if (mkfifoat(dir, name, 0600))
			err(1, "mkfifo");
		break;
	default:
		make_file(dir, name, content < 10 ? 1 + content * 9000 : random_size(),
			  content);
		if (!plain && number % 11 == 0)
			random_xattrs(dir, name, 1 + (unsigned)below(3));
		random_owner(dir, name);
		if (number % 3 == 0)
			set_mode(dir, name, (mode_t)below(010000));
	}
	random_times(dir, name);
}

/* Up to *left entries, at most some in each directory, in a random shape. */
static void random_tree(int dir, unsigned *left, unsigned depth)
{
	unsigned here = 1 + (unsigned)below(40);

	while (here-- && *left) {
		char name[256];
		unsigned number = (*left)--;

		random_name(name, number);
		if (depth < 8 && below(6) == 0) {
			int sub = make_dir(dir, name);

			random_tree(sub, left, depth + 1);
			if (!plain && below(6) == 0)
				random_xattrs(dir, name, 1);
			close(sub);
			random_times(dir, name);
		} else {
			random_entry(dir, name, number);
		}
	}
}

static void usage(void)
{
	fprintf(stderr, "usage: treegen DIR [--seed N] [--files N] [--plain] [--no-deep]\n");
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "seed", required_argument, NULL, 's' },
		{ "files", required_argument, NULL, 'n' },
		{ "plain", no_argument, NULL, 'p' },
		{ "no-deep", no_argument, NULL, 'd' },
		{ 0 },
	};
	uint64_t seed = 1;
	unsigned files = 300;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		if (opt == 's')
			seed = strtoull(optarg, NULL, 10);
		else if (opt == 'n')
			files = (unsigned)strtoul(optarg, NULL, 10);
		else if (opt == 'p')
			plain = true;
		else if (opt == 'd')
			no_deep = true;
		else
			usage();
	}
	if (optind + 1 != argc)
		usage();
	umask(022);
	root = geteuid() == 0;
	rng_state = seed;
	printf("treegen: seed %llu, %u random files\n", (unsigned long long)seed, files);

	int dir = make_dir(AT_FDCWD, argv[optind]);

	corners(dir);
	while (files) {
		char name[32];

		snprintf(name, sizeof(name), "random-%u", files);
		int sub = make_dir(dir, name);

		random_tree(sub, &files, 0);
		close(sub);
		random_times(dir, name);
	}
	close(dir);
	set_times(AT_FDCWD, argv[optind], 1234567890, 987654321);
	return 0;
}
