/* SPDX-License-Identifier: MIT */
/*
 * index.h - the dedup index: which chunks have a hash that begins like this.
 *
 * All rows are values of one key: rows of a fixed size lie in LMDB one behind
 * the other without a header each. 17 bytes a chunk in the file, where a key a
 * chunk takes 37.
 *
 * XXH3 is not collision-resistant, so a row is a hint and never an answer: the
 * caller compares the bytes, and two different chunks with one hash are both
 * kept, as two rows under one key. Losing the index loses no data; it can be
 * made again from the bundles' own tables.
 */
#ifndef CS_INDEX_H
#define CS_INDEX_H

#include "db.h"
#include "entry.h"

int cs_index_add(struct cs_txn *t, const struct cs_hash *hash, cs_chunk chunk,
		 struct cs_error *err) CS_MUST_CHECK;
int cs_index_del(struct cs_txn *t, const struct cs_hash *hash, cs_chunk chunk,
		 struct cs_error *err) CS_MUST_CHECK;
/*
 * Candidates for a hash, in ascending order, starting after `after` (0: from
 * the first). 1: *out is the next one; 0: no more.
 */
int cs_index_next(struct cs_txn *t, const struct cs_hash *hash, cs_chunk after, cs_chunk *out,
		  struct cs_error *err) CS_MUST_CHECK;
/* A row as it is: the first bytes of a hash, and where it leads. */
struct cs_index_entry {
	uint64_t head;
	cs_chunk chunk;
};
/* Up to max rows behind *after (zeroed: from the first). Fewer at the end: *n. */
int cs_index_walk(struct cs_txn *t, const struct cs_index_entry *after, struct cs_index_entry *out,
		  size_t max, size_t *n, struct cs_error *err) CS_MUST_CHECK;
/* Delete that row. */
int cs_index_drop(struct cs_txn *t, const struct cs_index_entry *e,
		  struct cs_error *err) CS_MUST_CHECK;
/* Does the row begin as this hash does? */
bool cs_index_fits(const struct cs_index_entry *e, const struct cs_hash *hash);
/* Pages that hold its rows, at most: no more are in memory when a transaction changes rows. */
int cs_index_pages(struct cs_txn *t, uint64_t *out, struct cs_error *err) CS_MUST_CHECK;

#endif
