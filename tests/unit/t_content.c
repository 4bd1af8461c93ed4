/* SPDX-License-Identifier: MIT */
#include "world.h"

#include <fcntl.h>
#include <unistd.h>

#define PIECES 600u

/* A file of very many pieces: each read holds few of them, and is right. */
static void a_read_of_many_pieces_holds_few(void **state)
{
	struct rng rng = rng_start();
	uint8_t block[4096];
	struct cs_tree *t;
	struct cs_node n;
	struct cs_read r = { 0 };

	(void)state;
	int fd = open(world_path("tree/sparse"), O_WRONLY | O_CREAT, 0644);
	assert_true(fd >= 0);
	for (unsigned i = 0; i < PIECES; i++) {
		rng_bytes(&rng, block, sizeof(block));
		assert_int_equal(pwrite(fd, block, sizeof(block), (off_t)i * 8192), sizeof(block));
	}
	close(fd);
	struct cs_store *s = world_open();
	uint64_t seq = world_back_up(s, "t");
	assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
	world_same(t, "sparse", "tree/sparse");
	assert_int_equal(cs_tree_lookup(t, "sparse", &n, NULL), CS_OK);
	for (uint64_t off = 0; off < PIECES * 8192; off += 777777) {
		assert_int_equal(cs_file_read(t, &n, off, PIECES * 8192, &r, NULL), CS_OK);
		assert_true(r.nheld <= 64);
		assert_int_equal(r.len, n.entry.size - off);
	}
	cs_read_release(&r);
	cs_node_release(&n);
	cs_tree_close(t);
	cs_store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_read_of_many_pieces_holds_few, world_begin,
						world_end),
	};
	return cmocka_run_group_tests_name("content", tests, NULL, NULL);
}
