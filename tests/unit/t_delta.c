/* SPDX-License-Identifier: MIT */
/* Chunks stored as the difference to an older one, from the backup that makes them to the gc that frees them. */
#include "store/browse.h"
#include "store/dedup.h"
#include "world.h"

#include <unistd.h>

#define LEN (100u << 10)

/* The tree's file of a name: random by seed, with `edits` places changed. */
static void put_version(const char *name, uint64_t seed, unsigned edits)
{
	static uint8_t data[LEN];
	struct rng r = { seed };
	rng_bytes(&r, data, sizeof(data));
	for (unsigned i = 0; i < edits; i++)
		data[(i * 7919u + 5000u) % LEN] ^= 0x55;
	world_write(name, data, sizeof(data));
}

static cs_chunk chunk_of(struct cs_store *s, uint64_t seq, const char *path)
{
	struct cs_tree *t;
	struct cs_node n;
	assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
	assert_int_equal(cs_tree_lookup(t, path, &n, NULL), CS_OK);
	cs_chunk c = n.entry.chunk;
	cs_node_release(&n);
	cs_tree_close(t);
	return c;
}

static cs_chunk base_of(struct cs_store *s, cs_chunk chunk)
{
	cs_chunk base;
	assert_int_equal(cs_reader_base(s, chunk, &base, NULL), CS_OK);
	return base;
}

static uint64_t chunks_in(struct cs_store *s)
{
	struct cs_store_stats st;
	assert_int_equal(cs_store_stats(s, &st, NULL), CS_OK);
	return st.chunks;
}

static void a_changed_file_is_a_delta_of_depth_one(void **state)
{
	struct cs_store_stats before, after;
	(void)state;
	put_version("tree/f", 1, 0);
	struct cs_store *s = world_open();
	cs_chunk first = chunk_of(s, world_back_up(s, "t"), "f");
	assert_int_equal(cs_store_stats(s, &before, NULL), CS_OK);
	put_version("tree/f", 1, 3);
	uint64_t second = world_back_up(s, "t");
	world_unchanged(s, second, "f");
	put_version("tree/f", 1, 6);
	uint64_t third = world_back_up(s, "t");
	assert_int_equal(cs_store_stats(s, &after, NULL), CS_OK);

	assert_true(base_of(s, first) == 0);
	assert_true(base_of(s, chunk_of(s, second, "f")) == first);
	assert_true(base_of(s, chunk_of(s, third, "f")) == first);
	assert_true(after.stored_bytes - before.stored_bytes < 4000);
	assert_true(after.deltas >= 2);
	world_reopen(&s);
	world_unchanged(s, third, "f");
	world_verify(s);
	cs_store_close(s);
}

static void a_file_that_became_another_is_stored_whole(void **state)
{
	(void)state;
	put_version("tree/f", 1, 0);
	struct cs_store *s = world_open();
	world_back_up(s, "t");
	put_version("tree/f", 2, 0);
	uint64_t second = world_back_up(s, "t");
	assert_true(base_of(s, chunk_of(s, second, "f")) == 0);
	world_unchanged(s, second, "f");
	world_verify(s);
	cs_store_close(s);
}

static void a_place_in_a_large_file_costs_little(void **state)
{
	struct cs_store_stats before, after;
	static uint8_t data[3 << 20];
	struct rng r = rng_start();
	(void)state;
	rng_bytes(&r, data, sizeof(data));
	world_write("tree/image", data, sizeof(data));
	struct cs_store *s = world_open();
	world_back_up(s, "t");
	assert_int_equal(cs_store_stats(s, &before, NULL), CS_OK);
	for (size_t i = 0; i < 5; i++)
		memset(data + i * 600000 + 1000, 7, 100);
	world_write("tree/image", data, sizeof(data));
	uint64_t second = world_back_up(s, "t");
	assert_int_equal(cs_store_stats(s, &after, NULL), CS_OK);
	print_message("5 places in 3 MiB: %llu bytes\n",
		      (unsigned long long)(after.stored_bytes - before.stored_bytes));
	assert_true(after.stored_bytes - before.stored_bytes < 16000);
	world_unchanged(s, second, "image");
	world_verify(s);
	cs_store_close(s);
}

static void a_base_lives_as_long_as_its_delta(void **state)
{
	(void)state;
	put_version("tree/f", 1, 0);
	struct cs_store *s = world_open();
	uint64_t first = world_back_up(s, "t");
	put_version("tree/f", 1, 3);
	uint64_t second = world_back_up(s, "t");
	world_purge(s, first);
	world_gc(s);
	world_reopen(&s);
	world_verify(s);
	world_unchanged(s, second, "f");
	assert_true(base_of(s, chunk_of(s, second, "f")) != 0);
	world_purge(s, second);
	world_gc(s);
	assert_int_equal(chunks_in(s), 0);
	cs_store_close(s);
}

/* A point whose base shares its bundle with much that dies: gc moves the base away. */
static uint64_t with_moved_base(struct cs_store *s)
{
	put_version("tree/f", 1, 0);
	for (uint64_t i = 0; i < 4; i++) {
		char name[32];
		snprintf(name, sizeof(name), "tree/g%d", (int)i);
		put_version(name, 10 + i, 0);
	}
	uint64_t first = world_back_up(s, "t");
	cs_chunk old = chunk_of(s, first, "f");
	for (int i = 0; i < 4; i++) {
		char name[32];
		snprintf(name, sizeof(name), "tree/g%d", i);
		assert_int_equal(unlink(world_path(name)), 0);
	}
	put_version("tree/f", 1, 3);
	uint64_t second = world_back_up(s, "t");
	world_purge(s, first);
	assert_true(world_gc(s).bundles_rewritten > 0);
	struct cs_txn *t;
	cs_chunk now;
	assert_int_equal(cs_txn_read(s->db, &t, NULL), CS_OK);
	assert_int_equal(cs_chunk_moved(t, old, &now, NULL), 1);
	cs_txn_end(t);
	return second;
}

static void gc_may_move_a_base_and_a_delta(void **state)
{
	(void)state;
	struct cs_store *s = world_open();
	uint64_t second = with_moved_base(s);
	world_reopen(&s);
	world_verify(s);
	world_unchanged(s, second, "f");
	/* the next delta builds on it where it is now */
	put_version("tree/f", 1, 5);
	uint64_t third = world_back_up(s, "t");
	assert_true(base_of(s, chunk_of(s, third, "f")) != 0);
	world_purge(s, second);
	world_gc(s);
	world_reopen(&s);
	world_verify(s);
	world_unchanged(s, third, "f");
	world_gc(s);
	world_verify(s);
	cs_store_close(s);
}

static void a_delta_moves_as_it_is(void **state)
{
	(void)state;
	for (int i = 0; i < 6; i++) {
		char name[32];
		snprintf(name, sizeof(name), "tree/%d", i);
		put_version(name, 20 + (uint64_t)i, 0);
	}
	struct cs_store *s = world_open();
	uint64_t first = world_back_up(s, "t");
	for (int i = 0; i < 6; i++) { /* deltas, the most of them dead later */
		char name[32];
		snprintf(name, sizeof(name), "tree/%d", i);
		put_version(name, 20 + (uint64_t)i, 40);
	}
	uint64_t second = world_back_up(s, "t");
	for (int i = 1; i < 6; i++) {
		char name[32];
		snprintf(name, sizeof(name), "tree/%d", i);
		put_version(name, 20 + (uint64_t)i, 0);
	}
	uint64_t third = world_back_up(s, "t");
	world_purge(s, second);
	assert_true(world_gc(s).bundles_rewritten > 0);
	world_purge(s, first);
	world_gc(s);
	world_reopen(&s);
	world_verify(s);
	assert_true(base_of(s, chunk_of(s, third, "0")) != 0);
	for (int i = 0; i < 6; i++) {
		char name[32];
		snprintf(name, sizeof(name), "%d", i);
		world_unchanged(s, third, name);
	}
	cs_store_close(s);
}

/*
 * Its base is only known by a row of the moved table, which gc may drop while
 * the point that would need it is not there yet.
 */
static void a_found_delta_with_a_moved_base_is_stored_again(void **state)
{
	(void)state;
	struct cs_store *s = world_open();
	uint64_t second = with_moved_base(s);
	uint64_t other = world_back_up(s, "other");
	assert_true(chunk_of(s, other, "f") != chunk_of(s, second, "f"));
	world_unchanged(s, other, "f");
	world_purge(s, second);
	world_gc(s);
	world_reopen(&s);
	world_verify(s);
	world_unchanged(s, other, "f");
	cs_store_close(s);
}

static void a_found_delta_is_used_again(void **state)
{
	(void)state;
	put_version("tree/f", 1, 0);
	struct cs_store *s = world_open();
	uint64_t first = world_back_up(s, "t");
	put_version("tree/f", 1, 3);
	uint64_t second = world_back_up(s, "t"), other = world_back_up(s, "other");
	assert_true(chunk_of(s, other, "f") == chunk_of(s, second, "f"));
	world_purge(s, first);
	world_purge(s, second);
	world_gc(s);
	world_reopen(&s);
	world_verify(s);
	world_unchanged(s, other, "f");
	cs_store_close(s);
}

static void a_store_without_the_feature_gets_none(void **state)
{
	struct cs_store_stats st;
	(void)state;
	put_version("tree/f", 1, 0);
	struct cs_store *s = world_open();
	assert_true(s->header.incompat & CS_FEATURE_DELTAS);
	s->header.incompat &= ~CS_FEATURE_DELTAS;
	world_back_up(s, "t");
	put_version("tree/f", 1, 3);
	world_unchanged(s, world_back_up(s, "t"), "f");
	assert_int_equal(cs_store_stats(s, &st, NULL), CS_OK);
	assert_int_equal(st.deltas, 0);
	cs_store_close(s);
}

/* ---- what an enemy or a broken disk may have written */

struct forged {
	struct cs_store *s;
	uint64_t number;
	struct cs_bundle_item items[4];
	uint32_t n;
	uint8_t frame[2048];
	size_t frame_len;
};

static const uint8_t *text(char c)
{
	static uint8_t t[4][1000];
	memset(t[c % 4], c, sizeof(t[0]));
	return t[c % 4];
}

static void add_item(struct forged *f, const void *data, size_t len, const void *bytes,
		     size_t bytes_len, cs_chunk base)
{
	struct cs_bundle_item *it = &f->items[f->n++];
	*it = (struct cs_bundle_item){ .data = data };
	it->slot.len = (uint32_t)bytes_len;
	it->slot.hash = cs_store_hash(f->s, bytes, bytes_len);
	it->slot.frame_len = base ? (uint32_t)len : 0;
	it->slot.base = base;
}

static void forge(struct forged *f, int kind)
{
	struct cs_compressor *c = cs_compressor_new(3);
	struct cs_txn *t;
	uint8_t *out;
	size_t len;
	assert_int_equal(cs_bundle_encode(c, CS_FEATURES_INCOMPAT, f->number, kind, f->items, f->n,
					  &out, &len),
			 CS_OK);
	assert_int_equal(cs_txn_write(f->s->db, &t, NULL), CS_OK);
	assert_int_equal(cs_bundles_put(t, &(struct cs_bundle_stored){ f->number, out, len }, 1, NULL), CS_OK);
	assert_int_equal(cs_txn_commit(t, NULL), CS_OK);
	cs_compressor_free(c);
	free(out);
	f->n = 0;
	f->number++;
}

static int read_chunk(struct cs_store *s, cs_chunk chunk)
{
	const uint8_t *data;
	size_t len;
	void *held;
	int rc = cs_reader_chunk(s, chunk, &held, &data, &len, NULL);
	if (rc == CS_OK)
		cs_cache_release(held);
	return rc;
}

static void a_forged_delta_is_damage_and_no_more(void **state)
{
	struct forged f = { .s = world_open(), .number = 100 };
	struct cs_compressor *c = cs_compressor_new(3);
	(void)state;
	f.frame_len = cs_compress_delta(c, text('a'), 1000, text('b'), 1000, f.frame, 1000);
	assert_true(f.frame_len > 0);
	cs_compressor_free(c);
	/* bundle 100: a base; 101: a delta on it, one on itself, one on a delta, one on nothing */
	add_item(&f, text('a'), 1000, text('a'), 1000, 0);
	forge(&f, CS_BUNDLE_DATA);
	add_item(&f, f.frame, f.frame_len, text('b'), 1000, cs_chunk_make(100, 0));
	add_item(&f, f.frame, f.frame_len, text('b'), 1000, cs_chunk_make(101, 1));
	add_item(&f, f.frame, f.frame_len, text('b'), 1000, cs_chunk_make(101, 0));
	add_item(&f, f.frame, f.frame_len, text('b'), 1000, cs_chunk_make(77, 0));
	forge(&f, CS_BUNDLE_DATA);
	assert_int_equal(read_chunk(f.s, cs_chunk_make(101, 0)), CS_OK);
	for (uint32_t i = 1; i < 4; i++)
		assert_int_equal(read_chunk(f.s, cs_chunk_make(101, i)), CS_E_CORRUPT);
	/* 102: a slot that is not there, another's bytes, another length; 103: the other kind */
	add_item(&f, f.frame, f.frame_len, text('b'), 1000, cs_chunk_make(100, 1));
	add_item(&f, f.frame, f.frame_len, text('c'), 1000, cs_chunk_make(100, 0));
	add_item(&f, f.frame, f.frame_len, text('b'), 999, cs_chunk_make(100, 0));
	add_item(&f, f.frame, f.frame_len - 1, text('b'), 1000, cs_chunk_make(100, 0));
	forge(&f, CS_BUNDLE_DATA);
	for (uint32_t i = 0; i < 4; i++)
		assert_int_equal(read_chunk(f.s, cs_chunk_make(102, i)), CS_E_CORRUPT);
	add_item(&f, f.frame, f.frame_len, text('b'), 1000, cs_chunk_make(100, 0));
	forge(&f, CS_BUNDLE_META);
	assert_int_equal(read_chunk(f.s, cs_chunk_make(103, 0)), CS_E_CORRUPT);
	/* a decompressor that met all this still works */
	assert_int_equal(read_chunk(f.s, cs_chunk_make(101, 0)), CS_OK);
	cs_store_close(f.s);
}

static char findings[4000];

static void collect(void *arg, int kind, const char *line)
{
	size_t n = strlen(findings);
	(void)arg;
	(void)kind;
	snprintf(findings + n, sizeof(findings) - n, "%s\n", line);
}

static void a_damaged_base_is_told_of_with_all_that_need_it(void **state)
{
	struct cs_verify_opts o = { .notice = collect };
	struct cs_verify_result r;
	struct cs_slice v;
	struct cs_txn *t;
	(void)state;
	put_version("tree/f", 1, 0);
	put_version("tree/g", 2, 0);
	struct cs_store *s = world_open();
	uint64_t number = cs_chunk_bundle(chunk_of(s, world_back_up(s, "t"), "f"));
	put_version("tree/f", 1, 3);
	put_version("tree/new", 3, 0);
	uint64_t second = world_back_up(s, "t");
	assert_int_equal(cs_txn_write(s->db, &t, NULL), CS_OK);
	assert_int_equal(cs_bundles_get(t, number, &v, NULL), 1);
	uint8_t *copy = malloc(v.len);
	memcpy(copy, v.data, v.len);
	copy[v.len / 2] ^= 1; /* in f */
	assert_int_equal(cs_bundles_put(t, &(struct cs_bundle_stored){ number, copy, v.len }, 1, NULL), CS_OK);
	free(copy);
	assert_int_equal(cs_txn_commit(t, NULL), CS_OK);
	world_reopen(&s);

	findings[0] = 0;
	assert_int_equal(cs_verify(s, &o, &r, NULL), CS_E_CORRUPT);
	print_message("%s", findings);
	assert_int_equal(r.damaged_points, 2);
	assert_non_null(strstr(findings, "bundle-damaged"));
	assert_null(strstr(findings, "chunk-damaged")); /* the cause, and not what follows */
	assert_non_null(strstr(findings, "2 paths in 2 points"));
	assert_non_null(strstr(findings, ":f"));
	assert_int_equal(read_chunk(s, chunk_of(s, second, "f")), CS_E_CORRUPT);
	world_unchanged(s, second, "new");
	world_unchanged(s, second, "g"); /* beside it in the bundle, which is stored raw */
	cs_store_close(s);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)
	const struct CMUnitTest tests[] = {
		T(a_changed_file_is_a_delta_of_depth_one),
		T(a_file_that_became_another_is_stored_whole),
		T(a_place_in_a_large_file_costs_little),
		T(a_base_lives_as_long_as_its_delta),
		T(gc_may_move_a_base_and_a_delta),
		T(a_delta_moves_as_it_is),
		T(a_found_delta_with_a_moved_base_is_stored_again),
		T(a_found_delta_is_used_again),
		T(a_store_without_the_feature_gets_none),
		T(a_forged_delta_is_damage_and_no_more),
		T(a_damaged_base_is_told_of_with_all_that_need_it),
	};
	return cmocka_run_group_tests_name("delta", tests, NULL, NULL);
}
