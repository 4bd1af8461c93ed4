/* SPDX-License-Identifier: MIT */
/*
 * pages.h - a place to put pages for tests: chunk numbers stand for pages kept
 * in memory, and equal pages get equal numbers, as in a store.
 */
#ifndef CS_TEST_PAGES_H
#define CS_TEST_PAGES_H

#include "store/page.h"

struct page_shelf {
	struct {
		uint8_t *data;
		size_t len;
	} *page;
	size_t count, cap;
	size_t fresh; /* pages that were not there already */
	long fail_at; /* the put that fails with CS_E_FULL; 0: none */
};

int shelf_put(void *arg, const void *page, size_t len, cs_chunk *out, struct cs_error *err);
const uint8_t *shelf_get(const struct page_shelf *s, cs_chunk chunk, size_t *len);
void shelf_release(struct page_shelf *s);

/* Called for each leaf page under root, in order. */
typedef void shelf_leaf_fn(void *arg, const uint8_t *page, size_t len);
void shelf_walk(const struct page_shelf *s, struct cs_pages root, shelf_leaf_fn *fn, void *arg);

#endif
