/* SPDX-License-Identifier: MIT */
#include "store/extent.h"
#include "pages.h"
#include "util.h"

static struct page_shelf shelf;

static int unpack_extents(void *arg, const uint8_t *data, size_t len)
{
	struct cs_extent *x;
	size_t n;
	int rc = cs_extents_unpack(data, len, &x, &n);

	(void)arg;
	if (rc == CS_OK) {
		for (uint64_t off = 0; off < 5000000; off += 99999)
			assert_true(cs_extents_find(x, n, off) <= n);
		free(x);
	}
	return rc;
}

static struct cs_extent random_extent(struct rng *r)
{
	struct cs_extent x = { .len = 1 + rng_number(r, CS_CHUNK_MAX - 1) };

	if (rng_below(r, 5)) {
		x.chunk = (1 + rng_number(r, 1u << 20)) << CS_SLOT_BITS | rng_below(r, 100);
	} else {
		x.len = 1 + rng_number(r, 1ull << 40);
	}
	return x;
}

static void one_page_comes_back(void **state)
{
	struct rng r = rng_start();
	struct cs_buf b = { 0 };

	(void)state;
	for (int round = 0; round < 200; round++) {
		struct cs_extent want[40], *got;
		size_t n = 1 + (size_t)rng_below(&r, 40), got_n;
		struct cs_pages_writer w;
		uint64_t off = 0;

		cs_pages_writer_init(&w, CS_PAGE_EXTENT, shelf_put, &shelf);
		for (size_t i = 0; i < n; i++) {
			want[i] = random_extent(&r);
			assert_int_equal(cs_extent_add(&w, want[i].len, want[i].chunk, 1, NULL),
					 CS_OK);
		}
		cs_buf_clear(&b);
		assert_true(cs_pages_take_single(&w, CS_PAGE_MAX, &b));
		cs_pages_writer_release(&w);
		assert_int_equal(cs_extents_unpack(b.data, b.len, &got, &got_n), CS_OK);
		assert_int_equal(got_n, n);
		for (size_t i = 0; i < n; i++) {
			assert_true(got[i].off == off && got[i].len == want[i].len &&
				    got[i].chunk == want[i].chunk);
			assert_int_equal(cs_extents_find(got, n, off), i);
			assert_int_equal(cs_extents_find(got, n, off + got[i].len - 1), i);
			off += got[i].len;
		}
		assert_int_equal(cs_extents_find(got, n, off), n);
		free(got);
	}
	cs_buf_release(&b);
}

struct collected {
	struct cs_extent *x;
	size_t n;
	uint64_t bytes;
};

static void collect(void *arg, const uint8_t *page, size_t len)
{
	struct collected *c = arg;
	struct cs_extent *x;
	size_t n;

	assert_int_equal(cs_extents_unpack(page, len, &x, &n), CS_OK);
	for (size_t i = 0; i < n; i++, c->n++) {
		assert_true(c->x[c->n].len == x[i].len && c->x[c->n].chunk == x[i].chunk);
		c->bytes += x[i].len;
	}
	free(x);
}

static void many_pages_come_back(void **state)
{
	struct rng r = rng_start();
	struct cs_pages_writer w;
	struct cs_pages root;
	const size_t n = 20000;
	struct cs_extent *want = calloc(n, sizeof(*want));
	struct collected c = { .x = want };
	uint64_t bytes = 0;

	(void)state;
	cs_pages_writer_init(&w, CS_PAGE_EXTENT, shelf_put, &shelf);
	for (size_t i = 0; i < n; i++) {
		want[i] = random_extent(&r);
		want[i].len = 1 + want[i].len % CS_CHUNK_MAX;
		bytes += want[i].len;
		assert_int_equal(
			cs_extent_add(&w, want[i].len, want[i].chunk, rng_next(&r), NULL), CS_OK);
	}
	assert_int_equal(cs_pages_finish(&w, &root, NULL), CS_OK);
	cs_pages_writer_release(&w);
	assert_true(root.level > 0);
	shelf_walk(&shelf, root, collect, &c);
	assert_int_equal(c.n, n);
	assert_true(c.bytes == bytes);
	shelf_release(&shelf);
	free(want);
}

static void a_damaged_page_is_refused(void **state)
{
	struct rng r = rng_start();
	struct cs_pages_writer w;
	struct cs_buf b = { 0 };

	(void)state;
	cs_pages_writer_init(&w, CS_PAGE_EXTENT, shelf_put, &shelf);
	for (int i = 0; i < 30; i++) {
		struct cs_extent x = random_extent(&r);

		assert_int_equal(cs_extent_add(&w, x.len, x.chunk, 1, NULL), CS_OK);
	}
	assert_true(cs_pages_take_single(&w, CS_PAGE_MAX, &b));
	cs_pages_writer_release(&w);
	assert_int_equal(unpack_extents(NULL, b.data, b.len), CS_OK);
	check_truncations(unpack_extents, NULL, b.data, b.len, CS_E_CORRUPT);
	check_trailing(unpack_extents, NULL, b.data, b.len, CS_E_CORRUPT);
	check_mutations(unpack_extents, NULL, b.data, b.len, &r, 20000);
	cs_buf_release(&b);
}

/* Sizes that would overflow a file's length, chunks that are too long, empty extents. */
static void impossible_extents_are_refused(void **state)
{
	static const struct {
		uint64_t len;
		cs_chunk chunk;
	} bad[] = { { 0, 0 }, { CS_CHUNK_MAX + 1, 1 << CS_SLOT_BITS }, { 1ull << 62, 0 } };

	(void)state;
	for (size_t i = 0; i < 3; i++) {
		struct cs_pages_writer w;
		struct cs_buf b = { 0 };

		cs_pages_writer_init(&w, CS_PAGE_EXTENT, shelf_put, &shelf);
		assert_int_equal(cs_extent_add(&w, 5, 1 << CS_SLOT_BITS, 1, NULL), CS_OK);
		assert_int_equal(cs_extent_add(&w, bad[i].len, bad[i].chunk, 1, NULL), CS_OK);
		assert_int_equal(cs_extent_add(&w, 1ull << 62, 0, 1, NULL), CS_OK);
		assert_true(cs_pages_take_single(&w, CS_PAGE_MAX, &b));
		cs_pages_writer_release(&w);
		assert_int_equal(unpack_extents(NULL, b.data, b.len), CS_E_CORRUPT);
		cs_buf_release(&b);
	}
}

/* ------------------------------------------------------------ hard links */

static int unpack_links(void *arg, const uint8_t *data, size_t len)
{
	struct cs_link *l;
	size_t n;
	int rc = cs_links_unpack(data, len, &l, &n);

	(void)arg;
	if (rc == CS_OK)
		free(l);
	return rc;
}

static void links_are_found(void **state)
{
	struct rng r = rng_start();
	struct cs_pages_writer w;
	struct cs_buf b = { 0 };
	struct cs_link *l;
	size_t n;

	(void)state;
	cs_pages_writer_init(&w, CS_PAGE_LINK, shelf_put, &shelf);
	for (uint32_t volume = 0; volume < 3; volume++)
		for (uint64_t ino = 0; ino < 100; ino++) {
			struct cs_link x = { .volume = volume, .ino = ino * 1000000007ull,
					     .stamp = 7, .first = ino + volume };

			assert_int_equal(cs_link_add(&w, &x, NULL), CS_OK);
		}
	assert_true(cs_pages_take_single(&w, CS_PAGE_MAX, &b));
	cs_pages_writer_release(&w);
	assert_int_equal(cs_links_unpack(b.data, b.len, &l, &n), CS_OK);
	assert_int_equal(n, 300);
	struct cs_link want = { .volume = 2, .ino = 99 * 1000000007ull, .stamp = 7 };
	const struct cs_link *f = cs_links_find(l, n, &want);

	assert_non_null(f);
	assert_true(f->first == 101);
	want.stamp = 8;
	assert_null(cs_links_find(l, n, &want));
	want = (struct cs_link){ .volume = 1, .ino = 5, .stamp = 7 };
	assert_null(cs_links_find(l, n, &want));
	want = (struct cs_link){ .volume = 3, .stamp = 7 };
	assert_null(cs_links_find(l, n, &want));
	free(l);
	check_truncations(unpack_links, NULL, b.data, b.len, CS_E_CORRUPT);
	check_trailing(unpack_links, NULL, b.data, b.len, CS_E_CORRUPT);
	check_mutations(unpack_links, NULL, b.data, b.len, &r, 20000);
	cs_buf_release(&b);
}

static void link_keys_sort_as_links_do(void **state)
{
	static const struct cs_link order[] = {
		{ .volume = 0, .ino = UINT64_MAX, .stamp = UINT32_MAX },
		{ .volume = 1, .ino = 0, .stamp = 0 },
		{ .volume = 1, .ino = 0, .stamp = 255 },
		{ .volume = 1, .ino = 0, .stamp = 256 },
		{ .volume = 1, .ino = 255, .stamp = 0 },
		{ .volume = 1, .ino = 256, .stamp = 0 },
		{ .volume = 255, .ino = 0, .stamp = 0 },
		{ .volume = 256, .ino = 0, .stamp = 0 },
	};
	const size_t n = sizeof(order) / sizeof(order[0]);

	(void)state;
	for (size_t i = 0; i < n; i++) {
		for (size_t k = 0; k < n; k++) {
			uint8_t a[CS_LINK_KEY_SIZE], b[CS_LINK_KEY_SIZE];

			cs_link_key(&order[i], a);
			cs_link_key(&order[k], b);
			int keys = memcmp(a, b, sizeof(a));
			int links = cs_link_compare(&order[i], &order[k]);

			assert_int_equal(keys < 0, i < k);
			assert_int_equal(links < 0, i < k);
			assert_int_equal(links == 0, i == k);
		}
	}
}

/* All names of one file agree in their row; a file that got its inode later does not. */
static void a_link_row_stands_for_one_file(void **state)
{
	struct cs_entry a = { .mode = 0100644, .ino = 77, .nlink = 2, .size = 5,
			      .mtime = { 1000, 1 }, .ctime = { 2000, 2 } };
	struct cs_entry b = a, c = a;

	(void)state;
	b.name = "another";
	b.name_len = 7;
	struct cs_link x = cs_link_of(&a), y = cs_link_of(&b);

	assert_int_equal(cs_link_compare(&x, &y), 0);
	c.mode = 0120777;
	c.mtime.sec++;
	c.ctime.sec++;
	c.size++;
	y = cs_link_of(&c);
	assert_int_not_equal(cs_link_compare(&x, &y), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(one_page_comes_back),
		cmocka_unit_test(many_pages_come_back),
		cmocka_unit_test(a_damaged_page_is_refused),
		cmocka_unit_test(impossible_extents_are_refused),
		cmocka_unit_test(links_are_found),
		cmocka_unit_test(link_keys_sort_as_links_do),
		cmocka_unit_test(a_link_row_stands_for_one_file),
	};

	return cmocka_run_group_tests_name("extent", tests, NULL, NULL);
}
