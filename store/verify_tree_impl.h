/* SPDX-License-Identifier: MIT */
/*
 * verify_tree_impl.h - what verify_tree.c, verify_pages.c and verify_content.c share.
 * One thread, the one that called verify.
 */
#ifndef CS_VERIFY_TREE_IMPL_H
#define CS_VERIFY_TREE_IMPL_H

#include "verify_impl.h"

/* Going through one point. */
struct cs_verify_go {
	struct cs_verify_run *v;
	int rc; /* what stops all of it */
	struct cs_error *err;
};

/* What the pieces of a file add up to. */
struct cs_verify_sums {
	uint64_t bytes, data;
};

/* A sequence of pages. */
struct cs_verify_seq {
	struct cs_verify_go *go;
	uint8_t kind; /* of its leaves */
	/* Each leaf, in order; held by the caller. */
	void (*leaf)(struct cs_verify_seq *q, cs_chunk page, const struct cs_page *p);
	void *arg; /* leaf's */
	const struct cs_entry *entry; /* whose they are; NULL: the directory's */
	struct cs_verify_sums *sums; /* of pieces of a file, else NULL; leaf adds to them */
	uint64_t items, weight; /* so far */
	unsigned missing;
	bool whole;  /* nothing was left out */
	bool broken; /* it does not go on; leaf may say so */
};

/* Go through it; what is wrong is said. q->go->rc. */
void cs_verify_seq(struct cs_verify_seq *q, struct cs_pages pages);

/* A finding affects an entry of the directory being looked at; NULL: that one itself. */
void cs_verify_affects_entry(struct cs_verify_go *g, struct cs_found *f, const struct cs_entry *e);
/* What a regular file's content refers to. *hash: what stands for it in its line. */
void cs_verify_content(struct cs_verify_go *g, const struct cs_entry *e, struct cs_hash *hash);
/* An entry's attributes. The list, to be released if true. */
bool cs_verify_xattrs(struct cs_verify_go *g, const struct cs_entry *e, struct cs_xattr_list *out);

#endif
