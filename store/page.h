/* SPDX-License-Identifier: MIT */
/*
 * page.h - sequences kept in pages: how every list of the store that can be
 * long (a directory, a file's extents, a point's hard links) is cut into
 * pages, and how index pages above them make any item reachable in a few
 * steps.
 *
 * Decision: leaf pages end where an item's own key says so, not after a fixed
 * number of items. A name that comes or goes in a directory of 300 000 entries
 * then changes one leaf page and the index above it, and every other page is
 * found again as the chunk it already is.
 *
 * Pure: finished pages leave through a callback that stores them and says
 * under which chunk number.
 */
#ifndef CS_PAGE_H
#define CS_PAGE_H

#include "buf.h"
#include "entry.h"
#include "err.h"
#include "format.h"

#define CS_PAGE_BASES 4

/* Store one page; the bytes are borrowed for the call. */
typedef int cs_page_put(void *arg, const void *page, size_t len, cs_chunk *out,
			struct cs_error *err);

struct cs_page_level {
	struct cs_buf items;
	uint64_t bases[CS_PAGE_BASES];
	uint64_t count;  /* items in the page being filled */
	uint64_t below;  /* leaf items under it */
	uint64_t weight; /* sum of their weights */
	uint64_t pages;  /* pages of this level put so far */
	struct cs_buf first_key;
};

/* Fills pages and the index levels above them. Zero-initialise, then init. */
struct cs_pages_writer {
	uint8_t kind;
	uint32_t min, max;
	cs_page_put *put;
	void *arg;
	struct cs_page_level level[CS_LEVELS_MAX];
	struct cs_buf scratch; /* the item being packed by tree.c, extent.c */
};

void cs_pages_writer_init(struct cs_pages_writer *w, uint8_t kind, cs_page_put *put, void *arg);
void cs_pages_writer_release(struct cs_pages_writer *w);
/* True when the next item opens a page: its packer sets the bases of level[0] then. */
static inline bool cs_pages_fresh(const struct cs_pages_writer *w)
{
	return w->level[0].count == 0;
}
/* Append the item packed in w->scratch. cut: a number drawn from its key. */
int cs_pages_append(struct cs_pages_writer *w, const void *key, size_t key_len, uint64_t weight,
		    uint64_t cut, struct cs_error *err) CS_MUST_CHECK;
/* Put what is left. An empty sequence gives {0, 0}. The writer is empty again. */
int cs_pages_finish(struct cs_pages_writer *w, struct cs_pages *out,
		    struct cs_error *err) CS_MUST_CHECK;
/*
 * If all items so far fit one page of at most max bytes: append that page to b
 * (it is not put), empty the writer and return true.
 */
bool cs_pages_take_single(struct cs_pages_writer *w, size_t max, struct cs_buf *b);

/* ---- reading */

/* A page's opening: kind, count and bases; the cursor stands at the first item. */
struct cs_page_head {
	uint8_t kind;
	uint64_t count;
	uint64_t bases[CS_PAGE_BASES];
};
int cs_page_head_unpack(struct cs_cur *c, struct cs_page_head *out) CS_MUST_CHECK;

/* A chunk reference, relative to a base bundle. */
void cs_ref_pack(struct cs_buf *b, cs_chunk chunk, uint64_t base);
/* Sets c->bad when it is no possible chunk number. Never returns 0 otherwise. */
cs_chunk cs_ref_unpack(struct cs_cur *c, uint64_t base);

/* One row of an index page. */
struct cs_index_row {
	const uint8_t *key; /* borrowed from the page */
	uint32_t key_len;
	cs_chunk page;
	uint64_t before, weight_before; /* sums over the rows before this one */
	uint64_t below, weight;
};
/*
 * Unpack an index page into rows (allocated; free with free()). Keys must
 * ascend, sums must not overflow.
 */
int cs_index_rows_unpack(const void *page, size_t len, struct cs_index_row **out,
			 size_t *n) CS_MUST_CHECK;

/* Order of keys and names: bytewise, the shorter first. */
int cs_key_compare(const void *a, size_t alen, const void *b, size_t blen);

#endif
