/* SPDX-License-Identifier: MIT */
/*
 * reader.h - chunks and pages out of the store, through the caches.
 *
 * No read transaction outlives one call. What is returned is held until
 * cs_cache_release(held).
 */
#ifndef CS_READER_H
#define CS_READER_H

#include "extent.h"
#include "page.h"
#include "store.h"
#include "tree.h"

/* A chunk's bytes. CS_E_CORRUPT when it is missing or damaged. */
int cs_reader_chunk(struct cs_store *s, cs_chunk chunk, void **out_held, const uint8_t **out_data,
		    size_t *out_len, struct cs_error *err) CS_MUST_CHECK;
/*
 * The same, for a reader of files, who may want nothing else of its bundle: that is decoded
 * as far as needed, and when he comes back to it, as a whole. same: not that, but the same
 * request, which goes beyond a chunk. at: where in the chunks of its bundle lies what this
 * request is about, as the file tells; what is read of the disk then, and not what comes of it.
 */
int cs_reader_piece(struct cs_store *s, cs_chunk chunk, bool same, struct cs_range at,
		    void **out_held, const uint8_t **out_data, size_t *out_len,
		    struct cs_error *err) CS_MUST_CHECK;
/* The same, as a bundle that holds it and the slot; a delta's bytes are in one of their own. */
int cs_reader_find(struct cs_store *s, cs_chunk chunk, void **out_held, struct cs_bundle **out,
		   uint32_t *out_slot, struct cs_error *err) CS_MUST_CHECK;
/* The base of a chunk that is a delta; 0: it is none. */
int cs_reader_base(struct cs_store *s, cs_chunk chunk, cs_chunk *out,
		   struct cs_error *err) CS_MUST_CHECK;
/* A decoded bundle by number, as it is stored. CS_E_NOTFOUND when there is none. */
int cs_reader_bundle(struct cs_store *s, uint64_t number, void **out_held,
		     struct cs_bundle **out, struct cs_error *err) CS_MUST_CHECK;

/* A page, parsed and checked. Which part is valid depends on kind. */
struct cs_page {
	uint8_t kind; /* CS_PAGE_* */
	uint8_t *data;
	struct cs_tree_page tree;   /* CS_PAGE_DIR */
	struct cs_index_row *rows;  /* CS_PAGE_INDEX */
	struct cs_extent *extents;  /* CS_PAGE_EXTENT */
	struct cs_link *links;      /* CS_PAGE_LINK */
	size_t n;                   /* of rows, extents, links */
};
/* CS_E_CORRUPT if the chunk is not a page of this kind. */
int cs_reader_page(struct cs_store *s, cs_chunk chunk, uint8_t kind, void **out_held,
		   struct cs_page **out, struct cs_error *err) CS_MUST_CHECK;
void cs_page_free(struct cs_page *p);

/* What a descent from a sequence's root to one of its leaf pages looks for. */
enum cs_by {
	CS_BY_INDEX,    /* the leaf with item number `number` */
	CS_BY_WEIGHT,   /* the leaf where the sum of weights passes `number` */
	CS_BY_POSITION, /* the leaf where the sum of items and weights passes `number` */
	CS_BY_KEY,      /* the leaf that would hold `key` */
};
struct cs_leaf {
	void *held;
	struct cs_page *page;
	cs_chunk chunk;
	uint64_t first;         /* number of its first item */
	uint64_t weight_before; /* weights of all items before it */
};
/*
 * The leaf page of a sequence. CS_E_NOTFOUND when number is past the end as
 * far as index pages tell; a sequence of one leaf always yields that leaf.
 */
int cs_reader_leaf(struct cs_store *s, struct cs_pages pages, uint8_t kind, enum cs_by by,
		   uint64_t number, const void *key, size_t key_len, struct cs_leaf *out,
		   struct cs_error *err) CS_MUST_CHECK;

#endif
