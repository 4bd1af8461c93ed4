/* SPDX-License-Identifier: MIT */
#include "store/bundles.h"
#include "store/browse.h"
#include "store/hash.h"
#include "store/reader.h"
#include "store/store.h"
#include "world.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
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

/* A store just opened, with one file in it that was just looked up. */
static struct cs_store *open_with(const char *name, struct cs_tree **t, struct cs_node *n)
{
	struct cs_store *s = world_open();
	uint64_t seq = world_back_up(s, "t");
	world_reopen(&s);
	assert_int_equal(cs_tree_open(s, seq, t, NULL), CS_OK);
	assert_int_equal(cs_tree_lookup(*t, name, n, NULL), CS_OK);
	return s;
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
	struct cs_store *s = open_with("large", &t, &n);
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

/* ---- bundles that are stored raw */

/* A bundle's bytes, as they are or changed. */
static void put(struct cs_store *s, uint64_t number, const uint8_t *data, size_t len)
{
	struct cs_txn *t;
	assert_int_equal(cs_txn_write(s->db, &t, NULL), CS_OK);
	assert_int_equal(cs_bundles_put(t, &(struct cs_bundle_stored){ number, data, len }, 1, NULL),
			 CS_OK);
	assert_int_equal(cs_txn_commit(t, NULL), CS_OK);
}

static uint8_t *take(struct cs_store *s, uint64_t number, size_t *len)
{
	struct cs_txn *t;
	struct cs_slice v;
	assert_int_equal(cs_txn_read(s->db, &t, NULL), CS_OK);
	assert_int_equal(cs_bundles_get(t, number, &v, NULL), 1);
	uint8_t *data = malloc(v.len);
	assert_non_null(data);
	memcpy(data, v.data, *len = v.len);
	cs_txn_end(t);
	return data;
}

/* Read a piece of each chunk of the bundle of `tree/noise` in a store just opened. How many come. */
static unsigned pieces_that_come(struct cs_store **s, uint64_t number, const struct cs_slot *slots,
				 uint32_t n, int64_t lost)
{
	unsigned came = 0;
	for (uint32_t i = 1; i < n; i++) {
		const uint8_t *data;
		size_t len;
		void *held;
		world_reopen(s);
		int whole = cs_reader_chunk(*s, cs_chunk_make(number, i), &held, &data, &len, NULL);
		if (whole == CS_OK)
			cs_cache_release(held);
		world_reopen(s);
		int rc = cs_reader_piece(*s, cs_chunk_make(number, i), false,
					 (struct cs_range){ 0 }, &held, &data, &len, NULL);
		assert_int_equal(whole, rc); /* whoever asks */
		if (rc != CS_OK)
			continue;
		struct cs_hash h = cs_hash_of(data, len);
		assert_int_equal(len, slots[i].len);
		assert_true(cs_hash_equal(&h, &slots[i].hash));
		assert_int_not_equal(i, lost);
		cs_cache_release(held);
		came++;
	}
	return came;
}

/*
 * Its head is trusted by a checksum, the chunk by its hash, and nothing else is looked at:
 * so what is damaged beside it does not matter.
 */
static void a_chunk_of_a_raw_bundle_needs_no_other(void **state)
{
	enum { SIZE = 1 << 20 };
	struct cs_bundle *b;
	void *held;
	struct cs_node node;
	struct cs_tree *t;
	size_t len;
	(void)state;
	world_random("tree/noise", 1, SIZE);
	for (int heads = 1; heads >= 0; heads--) {
		struct cs_store *s = world_open();
		assert_true(s->header.incompat & CS_FEATURE_HEADS);
		if (!heads) {
			world_random("tree/noise", 2, SIZE);
			s->header.incompat &= ~CS_FEATURE_HEADS; /* a store of before */
		}
		uint64_t seq = world_back_up(s, "t");
		assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
		assert_int_equal(cs_tree_lookup(t, "noise", &node, NULL), CS_OK);
		struct cs_file_extents x = { 0 };
		const struct cs_extent *at;
		assert_int_equal(cs_file_extent(s, &node.entry, 0, &x, &at, NULL), CS_OK);
		uint64_t number = cs_chunk_bundle(at->chunk);
		cs_file_extents_release(&x);
		cs_node_release(&node);
		cs_tree_close(t);

		assert_int_equal(cs_reader_bundle(s, number, &held, &b, NULL), CS_OK);
		uint32_t n = b->nslots;
		assert_in_range(n, 4, 64);
		struct cs_slot slots[64];
		memcpy(slots, b->slots, n * sizeof(*slots));
		cs_cache_release(held);
		uint8_t *data = take(s, number, &len);
		assert_int_equal(pieces_that_come(&s, number, slots, n, -1), n - 1);
		data[len - 1] ^= 1; /* in the last chunk */
		put(s, number, data, len);
		assert_int_equal(pieces_that_come(&s, number, slots, n, n - 1), heads ? n - 2 : 0);
		data[len - 1] ^= 1;
		data[CS_BUNDLE_HEADER_SIZE + 30] ^= 1; /* in the table */
		put(s, number, data, len);
		assert_int_equal(pieces_that_come(&s, number, slots, n, -1), 0);
		data[CS_BUNDLE_HEADER_SIZE + 30] ^= 1;
		put(s, number + 1000, data, len); /* where another one is expected */
		assert_int_equal(pieces_that_come(&s, number + 1000, slots, n, -1), 0);
		put(s, number, data, len);
		assert_int_equal(pieces_that_come(&s, number, slots, n, -1), n - 1);
		free(data);
		cs_store_close(s);
	}
}

/* ... and is all that is decoded of it. */
static void a_small_read_of_noise_costs_a_chunk(void **state)
{
	enum { SIZE = 4 << 20 };
	struct cs_tree *t;
	struct cs_node n;
	struct cs_read r = { 0 };
	(void)state;
	world_random("tree/noise", 1, SIZE);
	struct cs_store *s = open_with("noise", &t, &n);
	uint64_t before = s->decoded;
	assert_int_equal(cs_file_read(t, &n, SIZE - 10000, 4096, &r, NULL), CS_OK);
	assert_int_equal(r.len, 4096);
	assert_true(s->decoded - before <= 2 * CS_CHUNK_MAX / 4);
	printf("# decoded: %llu bytes\n", (unsigned long long)(s->decoded - before));
	cs_read_release(&r);
	cs_node_release(&n);
	cs_tree_close(t);
	cs_store_close(s);
}

/* Pages of the store's file that are in memory. */
static size_t pages_in_memory(int fd, size_t len)
{
	static unsigned char there[1 << 16];
	size_t n = 0, pages = (len + 4095) / 4096;
	assert_true(pages <= sizeof(there));
	void *map = mmap(NULL, len, PROT_READ, MAP_SHARED, fd, 0);
	assert_true(map != MAP_FAILED);
	assert_int_equal(mincore(map, len, there), 0);
	munmap(map, len);
	for (size_t i = 0; i < pages; i++)
		n += there[i] & 1;
	return n;
}

/* Those of the chunk over an offset, of its bundle's head, and on the way to it. */
static size_t pages_at(struct cs_store *s, const struct cs_node *n, uint64_t off)
{
	struct cs_file_extents x = { 0 };
	const struct cs_extent *at;
	assert_int_equal(cs_file_extent(s, &n->entry, off, &x, &at, NULL), CS_OK);
	size_t chunk = at->len / 4096 + 2, guessed = 1, head = CS_DB_TOUCHED / 4096 + 1, way = 2;
	cs_file_extents_release(&x);
	return chunk + guessed + head + way;
}

/* Nothing around it is read, however much the kernel likes to: so a disk in a file is of use. */
static void a_small_read_brings_little_into_memory(void **state)
{
	enum { SIZE = 64 << 20 };
	struct cs_tree *t;
	struct cs_node n;
	struct cs_read r = { 0 };
	struct stat st;
	(void)state;
	world_random("tree/noise", 1, SIZE);
	struct cs_store *s = open_with("noise", &t, &n);
	int fd = open(world_path("store/data.mdb"), O_RDONLY | O_CLOEXEC);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	assert_int_equal(cs_file_read(t, &n, 0, 4096, &r, NULL), CS_OK); /* pages of the tree */
	fsync(fd);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	size_t len = (size_t)st.st_size, before = pages_in_memory(fd, len);
	if (before > len / 4096 / 2) {
		print_message("# this file system keeps its files in memory\n");
	} else {
		size_t most = 0;
		for (unsigned i = 1; i <= 8; i++) {
			most += pages_at(s, &n, i * (SIZE / 10));
			assert_int_equal(cs_file_read(t, &n, i * (SIZE / 10), 4096, &r, NULL), CS_OK);
			assert_int_equal(r.len, 4096);
		}
		size_t pages = pages_in_memory(fd, len) - before;
		printf("# %zu pages of 4 KiB for 8 reads, of %zu\n", pages, most);
		assert_in_range(pages, 8, most);
	}
	close(fd);
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
		cmocka_unit_test_setup_teardown(a_chunk_of_a_raw_bundle_needs_no_other, world_begin,
						world_end),
		cmocka_unit_test_setup_teardown(a_small_read_of_noise_costs_a_chunk, world_begin,
						world_end),
		cmocka_unit_test_setup_teardown(a_small_read_brings_little_into_memory, world_begin,
						world_end),
	};
	return cmocka_run_group_tests_name("content", tests, NULL, NULL);
}
