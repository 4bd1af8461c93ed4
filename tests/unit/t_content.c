/* SPDX-License-Identifier: MIT */
#include "store/bundles.h"
#include "store/store.h"
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

/* A compressible text that no part of repeats. */
static void world_text(const char *name, uint64_t seed, size_t len)
{
	struct rng g = { seed };
	uint8_t *text = malloc(len);
	assert_non_null(text);
	for (size_t i = 0; i < len; i++)
		text[i] = (uint8_t)('a' + rng_below(&g, 7));
	world_write(name, text, len);
	free(text);
}

/* Bytes of bundles that are decoded to read a file. */
static uint64_t cost_of(struct cs_store *s, struct cs_tree *t, const char *name)
{
	char path[64];
	snprintf(path, sizeof(path), "tree/%s", name);
	uint64_t before = s->decoded;
	world_same(t, name, path);
	return s->decoded - before;
}

/* Who reads one file of a bundle has it decoded no further than that; who comes back, all of it. */
static void one_file_of_a_bundle_is_read_alone(void **state)
{
	struct cs_tree *t;
	char name[32];
	(void)state;
	for (unsigned i = 0; i < 20; i++) {
		snprintf(name, sizeof(name), "tree/f%02u", i);
		world_text(name, i, 20000);
	}
	struct cs_store *s = world_open();
	uint64_t seq = world_back_up(s, "t");
	for (int begin = 0; begin < 2; begin++) {
		world_reopen(&s);
		assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
		struct cs_node n;
		assert_int_equal(cs_tree_lookup(t, "f09", &n, NULL), CS_OK);
		assert_int_not_equal(cs_chunk_slot(n.entry.chunk), 0);
		cs_node_release(&n);
		if (begin) {
			for (unsigned i = 0; i < 20; i++) {
				snprintf(name, sizeof(name), "f%02u", i);
				assert_int_equal(cs_tree_lookup(t, name, &n, NULL), CS_OK);
				bool first = cs_chunk_slot(n.entry.chunk) == 0;
				cs_node_release(&n);
				if (first)
					assert_true(cost_of(s, t, name) > 300000);
			}
			assert_int_equal(cost_of(s, t, "f09"), 0);
		} else {
			assert_in_range(cost_of(s, t, "f09"), 20000, 60000);
			assert_int_equal(cost_of(s, t, "f09"), 0);
			assert_true(cost_of(s, t, "f08") > 300000);
			assert_int_equal(cost_of(s, t, "f07"), 0);
		}
		cs_tree_close(t);
	}
	cs_store_close(s);
}

/* The kernel's read-ahead asks for much, in no order: each bundle is decoded once. */
static void much_of_a_large_file_is_read_by_bundles(void **state)
{
	enum { SIZE = 6 << 20, STEP = 1 << 20 };
	struct cs_tree *t;
	struct cs_node n;
	struct cs_read r = { 0 };
	(void)state;
	world_text("tree/large", 1, SIZE);
	struct cs_store *s = world_open();
	uint64_t seq = world_back_up(s, "t");
	world_reopen(&s);
	assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
	assert_int_equal(cs_tree_lookup(t, "large", &n, NULL), CS_OK);
	uint64_t before = s->decoded;
	for (uint64_t off = SIZE; off > 0; off -= STEP) {
		assert_int_equal(cs_file_read(t, &n, off - STEP, STEP, &r, NULL), CS_OK);
		assert_int_equal(r.len, STEP);
	}
	uint64_t cost = s->decoded - before;
	assert_in_range(cost, SIZE, SIZE + SIZE / 7);
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
		cmocka_unit_test_setup_teardown(one_file_of_a_bundle_is_read_alone, world_begin,
						world_end),
		cmocka_unit_test_setup_teardown(much_of_a_large_file_is_read_by_bundles, world_begin,
						world_end),
	};
	return cmocka_run_group_tests_name("content", tests, NULL, NULL);
}
