/* SPDX-License-Identifier: MIT */
#include "index.h"

#include "format.h"
#include "hash.h"

#include <string.h>

#define CHUNK_BITS 56
#define HASH_SIZE 5u
#define ROWS_A_PAGE 170u /* at least: LMDB's pages of fixed rows are half full or more */

_Static_assert(CS_CHUNK_NUMBER_MAX < UINT64_C(1) << CHUNK_BITS, "a chunk number in a row");

struct row {
	uint8_t b[CS_INDEX_ROW_SIZE];
};

static void row_pack(struct row *r, const struct cs_hash *hash, cs_chunk chunk)
{
	uint64_t k = cs_hash_key(hash);
	for (unsigned i = 0; i < HASH_SIZE; i++)
		r->b[i] = (uint8_t)(k >> (56 - 8 * i));
	for (unsigned i = HASH_SIZE; i < CS_INDEX_ROW_SIZE; i++)
		r->b[i] = (uint8_t)(chunk >> (8 * (CS_INDEX_ROW_SIZE - 1 - i)));
}

static struct cs_slice key(void)
{
	return (struct cs_slice){ CS_INDEX_KEY, 1 };
}

static struct cs_slice value_of(const struct row *r)
{
	return (struct cs_slice){ r->b, sizeof(r->b) };
}

int cs_index_add(struct cs_txn *t, const struct cs_hash *hash, cs_chunk chunk, struct cs_error *err)
{
	struct row r;
	row_pack(&r, hash, chunk);
	return cs_db_put(t, CS_T_INDEX, key(), value_of(&r), err);
}

int cs_index_del(struct cs_txn *t, const struct cs_hash *hash, cs_chunk chunk, struct cs_error *err)
{
	struct row r;
	row_pack(&r, hash, chunk);
	struct cs_slice v = value_of(&r);
	return cs_db_del(t, CS_T_INDEX, key(), &v, err);
}

int cs_index_next(struct cs_txn *t, const struct cs_hash *hash, cs_chunk after, cs_chunk *out,
		  struct cs_error *err)
{
	struct row r;
	struct cs_cursor *c;
	row_pack(&r, hash, after + 1);
	struct cs_slice k = key(), value = value_of(&r);
	int rc = cs_cursor_open(t, CS_T_INDEX, &c, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_move(c, CS_SEEK_DUP_GE, &k, &value, err);
	const uint8_t *v = value.data;
	if (rc == 1 && value.len != CS_INDEX_ROW_SIZE)
		rc = cs_fail(err, CS_E_CORRUPT, "the dedup index is damaged");
	else if (rc == 1 && memcmp(v, r.b, HASH_SIZE) != 0)
		rc = 0;
	if (rc == 1) {
		*out = 0;
		for (unsigned i = HASH_SIZE; i < CS_INDEX_ROW_SIZE; i++)
			*out = *out << 8 | v[i];
	}
	cs_cursor_close(c);
	return rc;
}

static uint64_t number_of(const uint8_t *p, unsigned n)
{
	uint64_t v = 0;
	for (unsigned i = 0; i < n; i++)
		v = v << 8 | p[i];
	return v;
}

static struct cs_index_entry row_unpack(const uint8_t *p)
{
	return (struct cs_index_entry){ number_of(p, HASH_SIZE),
					number_of(p + HASH_SIZE, CS_INDEX_ROW_SIZE - HASH_SIZE) };
}

static void entry_pack(struct row *r, uint64_t head, cs_chunk chunk)
{
	for (unsigned i = 0; i < HASH_SIZE; i++)
		r->b[i] = (uint8_t)(head >> (8 * (HASH_SIZE - 1 - i)));
	for (unsigned i = HASH_SIZE; i < CS_INDEX_ROW_SIZE; i++)
		r->b[i] = (uint8_t)(chunk >> (8 * (CS_INDEX_ROW_SIZE - 1 - i)));
}

int cs_index_drop(struct cs_txn *t, const struct cs_index_entry *e, struct cs_error *err)
{
	struct row r;
	entry_pack(&r, e->head, e->chunk);
	struct cs_slice v = value_of(&r);
	return cs_db_del(t, CS_T_INDEX, key(), &v, err);
}

int cs_index_walk(struct cs_txn *t, const struct cs_index_entry *after, struct cs_index_entry *out,
		  size_t max, size_t *n, struct cs_error *err)
{
	struct row r;
	struct cs_cursor *c;
	entry_pack(&r, after->head, after->chunk + 1);
	struct cs_slice k = key(), value = value_of(&r);
	int rc = cs_cursor_open(t, CS_T_INDEX, &c, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_move(c, CS_SEEK_DUP_GE, &k, &value, err);
	for (*n = 0; rc == 1 && *n < max;) {
		struct cs_index_entry e = { 0 };
		const struct cs_index_entry *last = *n ? &out[*n - 1] : after;
		if (value.len == CS_INDEX_ROW_SIZE)
			e = row_unpack(value.data);
		/* rows that go back would send whoever walks them round for ever */
		if (e.head < last->head || (e.head == last->head && e.chunk <= last->chunk)) {
			rc = cs_fail(err, CS_E_CORRUPT, "the dedup index is damaged");
			break;
		}
		out[(*n)++] = e;
		rc = *n < max ? cs_cursor_move(c, CS_SEEK_NEXT, &k, &value, err) : 0;
	}
	cs_cursor_close(c);
	return rc < 0 ? rc : CS_OK;
}

bool cs_index_fits(const struct cs_index_entry *e, const struct cs_hash *hash)
{
	return e->head == cs_hash_key(hash) >> (64 - 8 * HASH_SIZE);
}

int cs_index_pages(struct cs_txn *t, uint64_t *out, struct cs_error *err)
{
	uint64_t rows;
	int rc = cs_db_rows(t, CS_T_INDEX, &rows, err);
	if (rc == CS_OK)
		*out = rows / ROWS_A_PAGE + 1;
	return rc;
}
