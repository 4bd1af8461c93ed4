/* SPDX-License-Identifier: MIT */
#include "store/extent.h"
#include "store/page.h"
#include "pages.h"
#include "util.h"

static struct page_shelf shelf;

static struct cs_pages write_links(uint64_t n, uint64_t step)
{
	struct cs_pages_writer w;
	struct cs_pages out;

	cs_pages_writer_init(&w, CS_PAGE_LINK, shelf_put, &shelf);
	for (uint64_t i = 0; i < n; i++) {
		struct cs_link l = { .volume = 0, .ino = i * step, .first = i };

		assert_int_equal(cs_link_add(&w, &l, NULL), CS_OK);
	}
	assert_int_equal(cs_pages_finish(&w, &out, NULL), CS_OK);
	cs_pages_writer_release(&w);
	return out;
}

struct count {
	uint64_t items, pages;
	size_t longest;
};

static void count_links(void *arg, const uint8_t *page, size_t len)
{
	struct count *c = arg;
	struct cs_link *l;
	size_t n;

	assert_int_equal(cs_links_unpack(page, len, &l, &n), CS_OK);
	for (size_t i = 0; i < n; i++)
		assert_true(l[i].first == c->items + i);
	free(l);
	c->items += n;
	c->pages++;
	c->longest = len > c->longest ? len : c->longest;
}

static void every_item_is_reached_at_every_length(void **state)
{
	static const uint64_t counts[] = { 0, 1, 2, 100, 5000, 30000, 400000 };

	(void)state;
	for (size_t i = 0; i < sizeof(counts) / sizeof(counts[0]); i++) {
		struct cs_pages root = write_links(counts[i], 1);
		struct count c = { 0 };

		shelf_walk(&shelf, root, count_links, &c);
		assert_true(c.items == counts[i]);
		assert_true(c.longest <= CS_PAGE_MAX + 100);
		assert_int_equal(root.root == 0, counts[i] == 0);
		assert_int_equal(root.level == 0, c.pages <= 1);
		shelf_release(&shelf);
	}
}

/* With pages of a few items each level fills up at one of these counts, also while finishing. */
static void every_count_is_reached_whole(void **state)
{
	(void)state;
	for (uint64_t n = 0; n < 2500; n++) {
		struct cs_pages_writer w;
		struct cs_pages root;
		struct count c = { 0 };

		cs_pages_writer_init(&w, CS_PAGE_LINK, shelf_put, &shelf);
		w.min = 8;
		w.max = 160;
		for (uint64_t i = 0; i < n; i++) {
			struct cs_link l = { .ino = i, .first = i };

			assert_int_equal(cs_link_add(&w, &l, NULL), CS_OK);
		}
		assert_int_equal(cs_pages_finish(&w, &root, NULL), CS_OK);
		cs_pages_writer_release(&w);
		shelf_walk(&shelf, root, count_links, &c);
		assert_true(c.items == n);
		shelf_release(&shelf);
	}
}

/* Sums over the rows of all index pages equal what lies below them. */
static uint64_t check_sums(struct cs_pages p)
{
	struct cs_index_row *rows;
	size_t len, n;
	uint64_t items = 0;
	const uint8_t *page = shelf_get(&shelf, p.root, &len);

	if (p.level == 0) {
		struct count c = { 0 };
		struct cs_link *l;

		assert_int_equal(cs_links_unpack(page, len, &l, &n), CS_OK);
		c.items = n;
		free(l);
		return c.items;
	}
	assert_int_equal(cs_index_rows_unpack(page, len, &rows, &n), CS_OK);
	for (size_t i = 0; i < n; i++) {
		struct cs_pages below = { rows[i].page, (uint8_t)(p.level - 1) };

		assert_true(rows[i].before == items);
		assert_true(check_sums(below) == rows[i].below);
		items += rows[i].below;
	}
	free(rows);
	return items;
}

static void index_sums_are_right(void **state)
{
	(void)state;
	struct cs_pages root = write_links(300000, 3);

	assert_true(root.level >= 1);
	assert_true(check_sums(root) == 300000);
	shelf_release(&shelf);
}

/* One item more in a long sequence: a page or two and the index above are new. */
static void an_insertion_changes_few_pages(void **state)
{
	struct cs_pages_writer w;
	struct cs_pages root;

	(void)state;
	write_links(200000, 2);
	size_t all = shelf.count;

	assert_true(all > 20);
	shelf.fresh = 0;
	cs_pages_writer_init(&w, CS_PAGE_LINK, shelf_put, &shelf);
	for (uint64_t i = 0; i < 200000; i++) {
		struct cs_link l = { .volume = 0, .ino = i * 2, .first = i };
		struct cs_link extra = { .volume = 0, .ino = i * 2 + 1, .first = 7 };

		assert_int_equal(cs_link_add(&w, &l, NULL), CS_OK);
		if (i == 100000)
			assert_int_equal(cs_link_add(&w, &extra, NULL), CS_OK);
	}
	assert_int_equal(cs_pages_finish(&w, &root, NULL), CS_OK);
	cs_pages_writer_release(&w);
	assert_in_range(shelf.fresh, 1, 6);
	shelf_release(&shelf);
}

static void a_failed_put_is_passed_on(void **state)
{
	struct cs_error err = { 0 };

	(void)state;
	for (long at = 1; at < 8; at++) {
		struct cs_pages_writer w;
		struct cs_pages out;
		int rc = CS_OK;

		shelf.fail_at = at;
		cs_pages_writer_init(&w, CS_PAGE_LINK, shelf_put, &shelf);
		for (uint64_t i = 0; i < 100000 && rc == CS_OK; i++) {
			struct cs_link l = { .volume = 0, .ino = i, .first = i };

			rc = cs_link_add(&w, &l, &err);
		}
		if (rc == CS_OK)
			rc = cs_pages_finish(&w, &out, &err);
		cs_pages_writer_release(&w);
		assert_int_equal(rc, CS_E_FULL);
		assert_string_equal(err.text, "the shelf is full");
		shelf_release(&shelf);
	}
}

static int unpack_index(void *arg, const uint8_t *data, size_t len)
{
	struct cs_index_row *rows;
	size_t n;
	int rc = cs_index_rows_unpack(data, len, &rows, &n);

	(void)arg;
	if (rc == CS_OK)
		free(rows);
	return rc;
}

static void a_damaged_index_page_is_refused(void **state)
{
	struct rng r = rng_start();
	struct cs_pages root = write_links(60000, 1);
	size_t len;

	(void)state;
	assert_int_equal(root.level, 1);
	const uint8_t *page = shelf_get(&shelf, root.root, &len);

	assert_int_equal(unpack_index(NULL, page, len), CS_OK);
	check_truncations(unpack_index, NULL, page, len, CS_E_CORRUPT);
	check_trailing(unpack_index, NULL, page, len, CS_E_CORRUPT);
	check_mutations(unpack_index, NULL, page, len, &r, 20000);
	shelf_release(&shelf);
}

/* A count that no page could hold is refused before anything is allocated for it. */
static void an_impossible_count_is_refused(void **state)
{
	static const uint8_t kinds[] = { CS_PAGE_INDEX, CS_PAGE_LINK, CS_PAGE_EXTENT, CS_PAGE_DIR };
	struct cs_page_head h;
	struct cs_buf b = { 0 };

	(void)state;
	for (size_t i = 0; i < sizeof(kinds); i++) {
		cs_buf_clear(&b);
		cs_buf_u8(&b, kinds[i]);
		cs_buf_var(&b, 1ull << 60);
		for (int k = 0; k < 40; k++)
			cs_buf_u8(&b, 0);
		struct cs_cur c = cs_cur(b.data, b.len);

		assert_int_equal(cs_page_head_unpack(&c, &h), CS_E_CORRUPT);
	}
	cs_buf_release(&b);
}

static void references_come_back(void **state)
{
	struct rng r = rng_start();
	struct cs_buf b = { 0 };

	(void)state;
	for (int i = 0; i < 10000; i++) {
		uint64_t base = rng_number(&r, CS_BUNDLE_NUMBER_MAX);
		cs_chunk c = (1 + rng_number(&r, CS_BUNDLE_NUMBER_MAX - 1)) << CS_SLOT_BITS |
			     rng_number(&r, CS_SLOTS_MAX);

		cs_buf_clear(&b);
		cs_ref_pack(&b, c, base);
		struct cs_cur cur = cs_cur(b.data, b.len);

		assert_true(cs_ref_unpack(&cur, base) == c);
		assert_true(cs_cur_done(&cur));
	}
	cs_buf_clear(&b);
	cs_buf_svar(&b, -5);
	cs_buf_var(&b, 0);
	struct cs_cur cur = cs_cur(b.data, b.len);

	assert_true(cs_ref_unpack(&cur, 5) != 0);
	assert_true(cur.bad);
	cs_buf_release(&b);
}

static void keys_are_ordered_bytewise(void **state)
{
	(void)state;
	assert_true(cs_key_compare("a", 1, "b", 1) < 0);
	assert_true(cs_key_compare("a", 1, "ab", 2) < 0);
	assert_true(cs_key_compare("", 0, "a", 1) < 0);
	assert_true(cs_key_compare("\xff", 1, "a", 1) > 0);
	assert_int_equal(cs_key_compare("same", 4, "same", 4), 0);
	assert_int_equal(cs_key_compare(NULL, 0, NULL, 0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_item_is_reached_at_every_length),
		cmocka_unit_test(every_count_is_reached_whole),
		cmocka_unit_test(index_sums_are_right),
		cmocka_unit_test(an_insertion_changes_few_pages),
		cmocka_unit_test(a_failed_put_is_passed_on),
		cmocka_unit_test(a_damaged_index_page_is_refused),
		cmocka_unit_test(an_impossible_count_is_refused),
		cmocka_unit_test(references_come_back),
		cmocka_unit_test(keys_are_ordered_bytewise),
	};

	return cmocka_run_group_tests_name("page", tests, NULL, NULL);
}
