/* SPDX-License-Identifier: MIT */
/*
 * tree.h - directory entries in tree pages.
 *
 * Decision: an entry is coded against the bases in its page's head (the first
 * entry's times, inode and bundle), never against the entry before it. A page
 * is checked once, when it is parsed; after that any entry of it is unpacked
 * alone, without the others and without an allocation.
 */
#ifndef CS_TREE_H
#define CS_TREE_H

#include "page.h"

/* Append an entry to a writer of kind CS_PAGE_DIR; names must ascend. */
int cs_tree_add(struct cs_pages_writer *w, const struct cs_entry *e,
		struct cs_error *err) CS_MUST_CHECK;

/* A directory page that was parsed and found right. */
struct cs_tree_page {
	const uint8_t *data; /* borrowed from the caller of parse */
	size_t len;
	size_t count;
	uint64_t bases[CS_PAGE_BASES];
	uint32_t *off;    /* where each entry begins, and where the last one ends: count + 1 */
	uint64_t *before; /* entries below the directories before each entry: count + 1 */
};
/* Check the whole page. data must outlive the page. root: one entry without a name. */
int cs_tree_page_parse(const void *data, size_t len, bool root,
		       struct cs_tree_page *out) CS_MUST_CHECK;
void cs_tree_page_release(struct cs_tree_page *p);
/* Bytes that parse allocated. */
size_t cs_tree_page_memory(const struct cs_tree_page *p);
/* Entry i, borrowing from the page's data. */
void cs_tree_page_entry(const struct cs_tree_page *p, size_t i, struct cs_entry *out);
/* Index of a name; false when absent, *out is then where it would stand. */
bool cs_tree_page_find(const struct cs_tree_page *p, const char *name, size_t len, size_t *out);

/* Directory, file and so on: the type bits of mode are one of the seven. */
bool cs_mode_valid(uint32_t mode);

#endif
