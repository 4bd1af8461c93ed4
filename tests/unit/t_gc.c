/* SPDX-License-Identifier: MIT */
#include "store/browse.h"
#include "store/chunkstore.h"
#include "store/reader.h"
#include "util.h"

#include <fcntl.h>
#include <ftw.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[64];

static const char *in_scratch(const char *name)
{
	static char path[128];
	snprintf(path, sizeof(path), "%s/%s", scratch, name);
	return path;
}

static void write_file(const char *name, const void *data, size_t len)
{
	int fd = open(in_scratch(name), O_WRONLY | O_CREAT | O_TRUNC, 0644);
	assert_true(fd >= 0);
	assert_true(write(fd, data, len) == (ssize_t)len);
	close(fd);
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static struct cs_store *open_store(int use)
{
	struct cs_open_opts o = { .flags = CS_OPEN_WRITE, .use = use };
	struct cs_store *s;
	assert_int_equal(cs_store_open(in_scratch("store"), &o, &s, NULL), CS_OK);
	return s;
}

static uint64_t back_up(struct cs_store *s)
{
	char root[128];
	snprintf(root, sizeof(root), "%s", in_scratch("tree"));
	struct cs_backup_opts o = { .series = "t", .root = root, .force = true };
	struct cs_backup_result r;
	assert_int_equal(cs_backup(s, &o, &r, NULL), CS_OK);
	return r.point.seq;
}

/* The stored bytes of the page that lists a directory of the point. */
static size_t page_of(struct cs_store *s, uint64_t seq, const char *dir, uint8_t *out, size_t cap)
{
	struct cs_tree *t;
	struct cs_node n;
	const uint8_t *data;
	size_t len;
	void *held;
	assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
	assert_int_equal(cs_tree_lookup(t, dir, &n, NULL), CS_OK);
	assert_int_equal(cs_reader_chunk(s, n.entry.children.root, &held, &data, &len, NULL), CS_OK);
	assert_true(len <= cap);
	memcpy(out, data, len);
	cs_cache_release(held);
	cs_node_release(&n);
	cs_tree_close(t);
	return len;
}

/* What a user writes is never taken for a page, and never hides what a page refers to. */
static void a_file_with_the_bytes_of_a_page_loses_nothing(void **state)
{
	uint8_t text[3000], page[65536];
	struct cs_gc_opts gc = { 0 };
	struct cs_gc_result freed;
	struct cs_verify_opts check = { 0 };
	struct cs_verify_result found;

	(void)state;
	assert_int_equal(mkdir(in_scratch("tree"), 0755), 0);
	assert_int_equal(mkdir(in_scratch("tree/zz"), 0755), 0);
	memset(text, 'x', sizeof(text));
	for (int i = 0; i < 20; i++) {
		char name[32];
		snprintf(name, sizeof(name), "tree/zz/%d", i);
		text[0] = (uint8_t)i;
		write_file(name, text, sizeof(text));
	}
	assert_int_equal(cs_store_init(in_scratch("store"), NULL, NULL), CS_OK);
	struct cs_store *s = open_store(CS_USE_DATA);
	uint64_t first = back_up(s);
	size_t len = page_of(s, first, "zz", page, sizeof(page));
	write_file("tree/aa", page, len);
	uint64_t second = back_up(s);
	assert_int_equal(cs_point_forget(s, first, NULL), CS_OK);
	cs_store_close(s);

	s = open_store(CS_USE_EXCLUSIVE);
	assert_int_equal(cs_gc(s, &gc, &freed, NULL), CS_OK);
	assert_int_equal(cs_verify(s, &check, &found, NULL), CS_OK);
	assert_true(page_of(s, second, "zz", page, sizeof(page)) == len);
	cs_store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_with_the_bytes_of_a_page_loses_nothing),
	};
	snprintf(scratch, sizeof(scratch), "/tmp/chunkstore-t_gc.XXXXXX");
	if (!mkdtemp(scratch))
		return 1;
	int rc = cmocka_run_group_tests_name("gc", tests, NULL, NULL);
	nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return rc;
}
