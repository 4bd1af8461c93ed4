/* SPDX-License-Identifier: MIT */
/*
 * browse.h - the tree of a point, as an action sees it.
 */
#ifndef CS_BROWSE_H
#define CS_BROWSE_H

#include "buf.h"
#include "reader.h"
#include "xattr.h"

struct cs_tree {
	struct cs_store *store;
	uint64_t seq; /* held */
	struct cs_point_record record;
	struct cs_point point;
	struct cs_tree_page root; /* the root's entry, parsed from record.root */
};

/* As cs_point_hold and cs_tree_open; listed false: points in the trash, too. */
int cs_point_hold_kept(struct cs_store *s, uint64_t seq, bool listed,
		       struct cs_error *err) CS_MUST_CHECK;
int cs_tree_open_kept(struct cs_store *s, uint64_t seq, bool listed, struct cs_tree **out,
		      struct cs_error *err) CS_MUST_CHECK;

/* As cs_tree_at; adds the levels that were gone down to *steps. */
int cs_tree_at_counted(struct cs_tree *t, uint64_t pos, struct cs_node *out, uint64_t *steps,
		       struct cs_error *err) CS_MUST_CHECK;
/* As cs_node_identity. 1: the point holds further links of the file; 0: it is alone. */
int cs_node_group(struct cs_tree *t, const struct cs_node *n, uint64_t *out,
		  struct cs_error *err) CS_MUST_CHECK;

/*
 * Give back the page that a list stands in, and with it the last child: it is looked up
 * again for the next one. A walk does it for directories deeper than so many levels,
 * since a forged tree has 4096 of them, and in each a page of 1 MiB.
 */
#define CS_DIRS_HELD 32
void cs_dir_rest(struct cs_dir *d);

/* The attributes of an entry by name, their long values not yet read. */
struct cs_xattr_list {
	struct cs_xattr_item *items; /* names ascend */
	size_t count;
	struct cs_tree *tree;
	struct cs_node node; /* what the items borrow from: held */
	void *chunk;         /* or this, held */
};

/* An entry without attributes has an empty list. Released by the second. */
int cs_xattr_list_init(struct cs_tree *t, const struct cs_node *n, struct cs_xattr_list *out,
		       struct cs_error *err) CS_MUST_CHECK;
void cs_xattr_list_release(struct cs_xattr_list *l);

/* A record as the public face shows it. */
int cs_point_from_record(struct cs_txn *t, const struct cs_point_record *r, struct cs_point *out,
			 struct cs_error *err) CS_MUST_CHECK;

/* The extents that cover a place in a file, a page of them at a time. Begins zeroed. */
struct cs_file_extents {
	struct cs_extent *own; /* unpacked from the entry: freed */
	void *held;            /* or the page's */
	cs_chunk page;
	const struct cs_extent *x;
	size_t n;
	uint64_t base; /* offset in the file of the page's first byte */
};
/* The extent over off, which lies below the size of e, a file that is made of extents. */
int cs_file_extent(struct cs_store *s, const struct cs_entry *e, uint64_t off,
		   struct cs_file_extents *x, const struct cs_extent **out,
		   struct cs_error *err) CS_MUST_CHECK;
void cs_file_extents_release(struct cs_file_extents *x);

/* As cs_node_dump, appended to b. */
int cs_node_dump_line(struct cs_tree *t, const struct cs_node *n, const char *path,
		      size_t path_len, struct cs_buf *b, struct cs_error *err) CS_MUST_CHECK;

#endif
