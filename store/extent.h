/* SPDX-License-Identifier: MIT */
/*
 * extent.h - the pieces of a large or sparse file, in file order: a chunk, or
 * a hole of any length. Kept in pages of kind CS_PAGE_EXTENT; a page's weight
 * in the index is the number of bytes it covers.
 */
#ifndef CS_EXTENT_H
#define CS_EXTENT_H

#include "page.h"

struct cs_extent {
	uint64_t off; /* in the file, or in the part that a page covers; filled in by unpack */
	uint64_t len; /* bytes, never 0 */
	cs_chunk chunk; /* 0: a hole */
};

/* cut: a number drawn from the content, that tells where pages may end. */
int cs_extent_add(struct cs_pages_writer *w, uint64_t len, cs_chunk chunk, uint64_t cut,
		  struct cs_error *err) CS_MUST_CHECK;
/* All extents of a page (allocated; free with free()). */
int cs_extents_unpack(const void *page, size_t len, struct cs_extent **out,
		      size_t *n) CS_MUST_CHECK;
/* Index of the extent that covers off, n when off is past the end. */
size_t cs_extents_find(const struct cs_extent *x, size_t n, uint64_t off);

/*
 * A point's hard links: which position stands for a source inode. Kept in
 * pages of kind CS_PAGE_LINK, ordered by volume, inode and stamp. The stamp
 * tells apart two files of which one got the other's inode while the backup
 * ran: it is drawn from what all links of a file agree in.
 */
struct cs_link {
	uint32_t volume;
	uint64_t ino;
	uint32_t stamp;
	uint64_t first; /* position of the group's first member */
};
/* The link row of an entry, first = 0. */
struct cs_link cs_link_of(const struct cs_entry *e);
int cs_link_compare(const struct cs_link *a, const struct cs_link *b);
#define CS_LINK_KEY_SIZE 16
/* Big-endian volume, inode and stamp: bytewise order is numeric order. */
void cs_link_key(const struct cs_link *l, uint8_t out[CS_LINK_KEY_SIZE]);
struct cs_link cs_link_from_key(const uint8_t key[CS_LINK_KEY_SIZE]); /* first = 0 */
int cs_link_add(struct cs_pages_writer *w, const struct cs_link *l,
		struct cs_error *err) CS_MUST_CHECK;
int cs_links_unpack(const void *page, size_t len, struct cs_link **out, size_t *n) CS_MUST_CHECK;
/* The row of the same file, or NULL. */
const struct cs_link *cs_links_find(const struct cs_link *l, size_t n, const struct cs_link *want);

#endif
