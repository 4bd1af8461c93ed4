/* SPDX-License-Identifier: MIT */
/*
 * bulk - very many small files, quickly, or one long stream
 *
 *	bulk DIR --files N [--per-dir M] [--max-size B] [--empty PERCENT] [--seed S]
 *	bulk DIR … --change G [--percent P]
 *	bulk --text BYTES [--seed S]
 *
 * The first makes DIR with N files of 0 to B bytes, M in a directory and 256 directories in a
 * group; with M = 0 all are in DIR itself. PERCENT of them are empty, whatever B. The second
 * rewrites P percent of the files of such a tree, which ones and with what depending on G, so
 * that a series of points can be made; all other options as when it was made. The third writes
 * text that compresses to a third or so to the standard output.
 *
 * One seed makes one tree. Nothing is held in memory but a dictionary.
 */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { WORDS = 4096, WORD_MAX = 12, GROUP = 256, BLOCK = 1 << 20 };

struct shape {
	uint64_t files, per_dir, max_size, seed;
	unsigned empty;	   /* percent */
	uint64_t change;   /* 0: make the tree */
	double percent;	   /* of the files that a change touches */
};

static char words[WORDS][WORD_MAX];
static uint8_t word_len[WORDS];

/* splitmix64: a function of its argument, so that a file's bytes do not depend on the others. */
static uint64_t mix(uint64_t z)
{
	z += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void make_dictionary(void)
{
	for (unsigned i = 0; i < WORDS; i++) {
		uint64_t r = mix(i);

		word_len[i] = (uint8_t)(2 + r % 9);
		for (unsigned k = 0; k < word_len[i]; k++, r = mix(r))
			words[i][k] = (char)('a' + r % 26);
		words[i][word_len[i]++] = r % 12 ? ' ' : '\n';
	}
}

/* Words, the early ones of the dictionary more often. Returns the state to go on with. */
static uint64_t fill_text(uint8_t *buf, size_t len, uint64_t state)
{
	for (size_t n = 0; n < len;) {
		state = mix(state);
		uint64_t w = (state & (WORDS - 1)) * ((state >> 20) & (WORDS - 1)) / WORDS;
		size_t k = word_len[w] < len - n ? word_len[w] : len - n;

		memcpy(buf + n, words[w], k);
		n += k;
	}
	return state;
}

static void write_all(int fd, const uint8_t *buf, size_t len, const char *name)
{
	while (len) {
		ssize_t n = write(fd, buf, len);

		if (n < 0 && errno != EINTR)
			err(1, "%s", name);
		if (n > 0) {
			buf += n;
			len -= (size_t)n;
		}
	}
}

static void stream(uint64_t bytes, uint64_t seed)
{
	static uint8_t buf[BLOCK];
	uint64_t state = mix(seed);

	while (bytes) {
		size_t n = bytes < BLOCK ? bytes : BLOCK;

		state = fill_text(buf, n, state);
		write_all(1, buf, n, "standard output");
		bytes -= n;
	}
}

/* ------------------------------------------------------------ trees */

static int enter(int parent, const char *name, bool make)
{
	if (make && mkdirat(parent, name, 0755))
		err(1, "mkdir %s", name);
	int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		err(1, "%s", name);
	return fd;
}

static bool touched(const struct shape *s, uint64_t i)
{
	if (!s->change)
		return true;
	return (double)(mix(mix(s->seed ^ s->change) + i) % 1000000) < s->percent * 10000;
}

static void make_file(const struct shape *s, int dir, uint64_t i)
{
	static uint8_t *buf;
	char name[32];
	uint64_t r = mix(mix(s->seed) + i);
	size_t len = r % 100 < s->empty ? 0 : mix(r) % (s->max_size + 1);
	int fd;

	if (!buf && !(buf = malloc(s->max_size + 1)))
		err(1, "memory");
	snprintf(name, sizeof(name), "f%08llu", (unsigned long long)i);
	fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC | (s->change ? O_TRUNC : O_EXCL), 0644);
	if (fd < 0)
		err(1, "%s", name);
	fill_text(buf, len, mix(r ^ s->change));
	write_all(fd, buf, len, name);
	close(fd);
}

static void tree(const struct shape *s, const char *path)
{
	int root = enter(AT_FDCWD, path, !s->change), group = -1, dir = root;
	uint64_t done = 0;

	for (uint64_t i = 0; i < s->files; i++) {
		char name[32];

		if (s->per_dir && i % (s->per_dir * GROUP) == 0) {
			if (group >= 0)
				close(group);
			snprintf(name, sizeof(name), "g%05llu",
				 (unsigned long long)(i / s->per_dir / GROUP));
			group = enter(root, name, !s->change);
		}
		if (s->per_dir && i % s->per_dir == 0) {
			if (dir != root)
				close(dir);
			snprintf(name, sizeof(name), "d%07llu", (unsigned long long)(i / s->per_dir));
			dir = enter(group, name, !s->change);
		}
		if (touched(s, i)) {
			make_file(s, dir, i);
			done++;
		}
	}
	printf("%llu files %s\n", (unsigned long long)done, s->change ? "changed" : "made");
}

static void usage(void)
{
	fputs("usage: bulk DIR --files N [--per-dir M] [--max-size B] [--empty PERCENT] [--seed S]\n"
	      "       bulk DIR ... --change G [--percent P]\n"
	      "       bulk --text BYTES [--seed S]\n", stderr);
	exit(2);
}

int main(int argc, char **argv)
{
	static const struct option options[] = {
		{ "files", required_argument, NULL, 'n' },  { "per-dir", required_argument, NULL, 'd' },
		{ "max-size", required_argument, NULL, 'm' }, { "empty", required_argument, NULL, 'e' },
		{ "seed", required_argument, NULL, 's' },   { "change", required_argument, NULL, 'c' },
		{ "percent", required_argument, NULL, 'p' }, { "text", required_argument, NULL, 't' },
		{ 0 },
	};
	struct shape s = { .per_dir = 100, .max_size = 4096, .seed = 1, .percent = 1 };
	uint64_t bytes = 0;
	bool text = false;
	int opt;

	while ((opt = getopt_long(argc, argv, "", options, NULL)) != -1) {
		uint64_t n = optarg ? strtoull(optarg, NULL, 0) : 0;

		switch (opt) {
		case 'n': s.files = n; break;
		case 'd': s.per_dir = n; break;
		case 'm': s.max_size = n; break;
		case 'e': s.empty = (unsigned)n; break;
		case 's': s.seed = n; break;
		case 'c': s.change = n; break;
		case 'p': s.percent = strtod(optarg, NULL); break;
		case 't': text = true; bytes = n; break;
		default: usage();
		}
	}
	if (optind != argc - !text)
		usage();
	make_dictionary();
	if (text)
		stream(bytes, s.seed);
	else
		tree(&s, argv[optind]);
	return 0;
}
