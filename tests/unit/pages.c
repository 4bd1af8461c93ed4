/* SPDX-License-Identifier: MIT */
#include "pages.h"

#include "util.h"

int shelf_put(void *arg, const void *page, size_t len, cs_chunk *out, struct cs_error *err)
{
	struct page_shelf *s = arg;

	if (s->fail_at && --s->fail_at == 0)
		return cs_fail(err, CS_E_FULL, "the shelf is full");
	for (size_t i = 0; i < s->count; i++) {
		if (s->page[i].len == len && memcmp(s->page[i].data, page, len) == 0) {
			*out = (cs_chunk)(i + 1) << CS_SLOT_BITS | (i & CS_SLOTS_MAX);
			return CS_OK;
		}
	}
	if (s->count == s->cap) {
		s->cap = 2 * s->cap + 64;
		s->page = realloc(s->page, s->cap * sizeof(*s->page));
		assert_non_null(s->page);
	}
	s->page[s->count].data = exact_copy(page, len);
	s->page[s->count++].len = len;
	s->fresh++;
	*out = (cs_chunk)s->count << CS_SLOT_BITS | ((s->count - 1) & CS_SLOTS_MAX);
	return CS_OK;
}

const uint8_t *shelf_get(const struct page_shelf *s, cs_chunk chunk, size_t *len)
{
	size_t i = (size_t)(chunk >> CS_SLOT_BITS) - 1;

	assert_true(i < s->count);
	assert_int_equal(chunk & CS_SLOTS_MAX, i & CS_SLOTS_MAX);
	*len = s->page[i].len;
	return s->page[i].data;
}

void shelf_release(struct page_shelf *s)
{
	for (size_t i = 0; i < s->count; i++)
		free(s->page[i].data);
	free(s->page);
	memset(s, 0, sizeof(*s));
}

void shelf_walk(const struct page_shelf *s, struct cs_pages root, shelf_leaf_fn *fn, void *arg)
{
	struct cs_index_row *rows;
	size_t len, n;

	if (root.root == 0)
		return;
	const uint8_t *page = shelf_get(s, root.root, &len);

	if (root.level == 0) {
		fn(arg, page, len);
		return;
	}
	assert_int_equal(cs_index_rows_unpack(page, len, &rows, &n), CS_OK);
	for (size_t i = 0; i < n; i++) {
		struct cs_pages below = { rows[i].page, (uint8_t)(root.level - 1) };

		shelf_walk(s, below, fn, arg);
	}
	free(rows);
}
