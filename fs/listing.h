/* SPDX-License-Identifier: MIT */
/* listing.h - the names of one virtual directory, as rows of memory. See listing.c. */
#ifndef CS_LISTING_H
#define CS_LISTING_H

#include "store/chunkstore.h"

#define CS_LISTING_NAME_MAX 255

struct cs_listing_row {
	uint64_t cookie;
	uint64_t ino;
	uint32_t type; /* S_IFDIR or S_IFLNK */
	size_t name;   /* offset into text */
};

/* Immutable once built, but for refs. */
struct cs_listing {
	unsigned refs; /* guarded by the owner's lock */
	uint64_t dir, generation;
	struct cs_listing_row *rows; /* cookies ascend */
	size_t count, rows_cap;
	char *text; /* the names, each NUL-terminated */
	size_t text_len, text_cap;
	size_t *slots; /* row + 1 by the hash of its name; 0: free */
	size_t nslots; /* a power of two, or 0 */
	struct cs_error damage; /* code 0: none; else points are missing that cannot be read */
};

/* What to list. */
struct cs_listing_what {
	uint64_t dir;
	const char *tag;          /* of a tag's directory */
	const struct cs_time *at; /* the root shows trees as of that time; NULL: everything */
};

/* List a virtual directory from the store. CS_E_NOTDIR, CS_E_NOTFOUND. Freed by cs_listing_free. */
int cs_listing_build(struct cs_store *store, const struct cs_listing_what *what,
		     struct cs_listing **out, struct cs_error *err) CS_MUST_CHECK;
void cs_listing_free(struct cs_listing *l);
/* The row of a name, or NULL. */
const struct cs_listing_row *cs_listing_find(const struct cs_listing *l, const char *name);
/* In the listing of by-tag: the name of tag number n, or NULL. */
const char *cs_listing_tag(const struct cs_listing *l, uint64_t n);

/* How a tag is written as a directory name; false when it has no such form. */
bool cs_listing_tag_name(const char *tag, char out[CS_LISTING_NAME_MAX + 1]);
/* The tag that such a name stands for. */
bool cs_listing_tag_of(const char *name, char out[CS_LISTING_NAME_MAX + 1]);
/* How a point is named in the views that mix series: SERIES@NAME. */
#define CS_LISTING_LINK_MAX (CS_SERIES_MAX + 1 + CS_POINT_NAME_MAX)
void cs_listing_link_name(const struct cs_point *p, char out[CS_LISTING_LINK_MAX + 1]);

#endif
