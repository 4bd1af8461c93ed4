/* SPDX-License-Identifier: MIT */
/*
 * xattr.h - the packed list of an entry's extended attributes:
 *   u8 'X' (no page begins so); var count; each: var length, name (ascending); var value length << 1 |
 *   chunked; the value's bytes, or (chunked) var chunk number, hash
 * A value longer than CS_INLINE_XATTR_VALUE_MAX is a chunk of its own, so that
 * the list stays short and equal values are stored once.
 */
#ifndef CS_XATTR_H
#define CS_XATTR_H

#include "buf.h"
#include "entry.h"
#include "err.h"
#include "format.h"

struct cs_xattr_item {
	const char *name; /* borrowed, not NUL-terminated */
	size_t name_len;
	const uint8_t *value; /* borrowed; NULL when chunked */
	size_t value_len;
	cs_chunk chunk; /* 0: inline */
	struct cs_hash hash; /* of a chunked value */
};

void cs_xattr_pack(struct cs_buf *b, const struct cs_xattr_item *items, size_t n);
/* All items (allocated; free with free()), borrowing from data. */
int cs_xattr_unpack(const void *data, size_t len, struct cs_xattr_item **out,
		    size_t *n) CS_MUST_CHECK;

#endif
