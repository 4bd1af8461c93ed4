/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <fcntl.h>
#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[64];

int world_begin(void **state)
{
	(void)state;
	snprintf(scratch, sizeof(scratch), "/tmp/chunkstore-unit.XXXXXX");
	return mkdtemp(scratch) && mkdir(world_path("tree"), 0755) == 0 ? 0 : -1;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

int world_end(void **state)
{
	(void)state;
	return nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

const char *world_path(const char *name)
{
	static char path[4][256];
	static unsigned n;
	char *p = path[n++ % 4];

	snprintf(p, sizeof(path[0]), "%s/%s", scratch, name);
	return p;
}

void world_write(const char *name, const void *data, size_t len)
{
	int fd = open(world_path(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);

	assert_true(fd >= 0);
	assert_true(write(fd, data, len) == (ssize_t)len);
	close(fd);
}

void world_random(const char *name, uint64_t seed, size_t len)
{
	struct rng r = { seed };
	uint8_t *data = malloc(len);

	assert_non_null(data);
	rng_bytes(&r, data, len);
	world_write(name, data, len);
	free(data);
}

struct cs_store *world_open(void)
{
	struct cs_open_opts o = { .flags = CS_OPEN_WRITE };
	struct cs_store *s;

	if (access(world_path("store"), F_OK) != 0)
		assert_int_equal(cs_store_init(world_path("store"), NULL, NULL), CS_OK);
	assert_int_equal(cs_store_open(world_path("store"), &o, &s, NULL), CS_OK);
	return s;
}

void world_reopen(struct cs_store **s)
{
	cs_store_close(*s);
	*s = world_open();
}

uint64_t world_back_up(struct cs_store *s, const char *series)
{
	struct cs_backup_opts o = { .series = series, .root = world_path("tree"), .force = true };
	struct cs_backup_result r;
	struct cs_error err = { 0 };

	if (cs_backup(s, &o, &r, &err) != CS_OK)
		fail_msg("backup: %s", err.text);
	return r.point.seq;
}

void world_purge(struct cs_store *s, uint64_t seq)
{
	const struct cs_forget_opts o = { .purge = true };

	assert_int_equal(cs_points_forget(s, &seq, 1, &o, NULL), CS_OK);
}

struct cs_gc_result world_gc(struct cs_store *s)
{
	struct cs_gc_opts o = { 0 };
	struct cs_gc_result r;
	struct cs_error err = { 0 };

	if (cs_gc(s, &o, &r, &err) != CS_OK)
		fail_msg("gc: %s", err.text);
	return r;
}

static void print_finding(void *arg, int kind, const char *text)
{
	(void)arg;
	(void)kind;
	print_message("verify: %s\n", text);
}

void world_verify(struct cs_store *s)
{
	struct cs_verify_opts o = { .notice = print_finding };
	struct cs_verify_result r;

	assert_int_equal(cs_verify(s, &o, &r, NULL), CS_OK);
}

void world_same(struct cs_tree *t, const char *path, const char *name)
{
	struct cs_node n;
	struct cs_read r = { 0 };
	struct cs_error err = { 0 };
	uint64_t at = 0;
	int fd = open(world_path(name), O_RDONLY);

	assert_true(fd >= 0);
	if (cs_tree_lookup(t, path, &n, &err) != CS_OK)
		fail_msg("%s: %s", path, err.text);
	while (at < n.entry.size) {
		if (cs_file_read(t, &n, at, 1 << 20, &r, &err) != CS_OK)
			fail_msg("%s at %llu: %s", path, (unsigned long long)at, err.text);
		assert_true(r.len > 0);
		for (size_t i = 0; i < r.niov; i++) {
			uint8_t *want = malloc(r.iov[i].iov_len);
			assert_true(pread(fd, want, r.iov[i].iov_len, (off_t)at) ==
				    (ssize_t)r.iov[i].iov_len);
			assert_memory_equal(r.iov[i].iov_base, want, r.iov[i].iov_len);
			at += r.iov[i].iov_len;
			free(want);
		}
	}
	cs_read_release(&r);
	cs_node_release(&n);
	close(fd);
}

void world_unchanged(struct cs_store *s, uint64_t seq, const char *path)
{
	struct cs_tree *t;
	char name[64];
	snprintf(name, sizeof(name), "tree/%s", path);
	assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
	world_same(t, path, name);
	cs_tree_close(t);
}
