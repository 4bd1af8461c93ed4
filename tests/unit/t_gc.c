/* SPDX-License-Identifier: MIT */
#include "store/browse.h"
#include "store/reader.h"
#include "world.h"

#include <sys/stat.h>

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

	(void)state;
	assert_int_equal(mkdir(world_path("tree/zz"), 0755), 0);
	memset(text, 'x', sizeof(text));
	for (int i = 0; i < 20; i++) {
		char name[32];
		snprintf(name, sizeof(name), "tree/zz/%d", i);
		text[0] = (uint8_t)i;
		world_write(name, text, sizeof(text));
	}
	struct cs_store *s = world_open();
	uint64_t first = world_back_up(s, "t");
	size_t len = page_of(s, first, "zz", page, sizeof(page));
	world_write("tree/aa", page, len);
	uint64_t second = world_back_up(s, "t");
	world_purge(s, first);
	cs_store_close(s);

	s = world_open();
	world_gc(s);
	world_verify(s);
	assert_true(page_of(s, second, "zz", page, sizeof(page)) == len);
	cs_store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_with_the_bytes_of_a_page_loses_nothing,
						world_begin, world_end),
	};
	return cmocka_run_group_tests_name("gc", tests, NULL, NULL);
}
