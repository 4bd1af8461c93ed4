/* SPDX-License-Identifier: MIT */
#include "bundles.h"

#include "alloc.h"
#include "hash.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_UNIT ((size_t)128 << 10)

int cs_bundles_reserve(struct cs_txn *t, uint64_t n, uint64_t *first, struct cs_error *err)
{
	uint64_t next;
	int rc = cs_db_counter_get(t, CS_META_NEXT_BUNDLE, &next, err);
	if (rc != CS_OK)
		return rc;
	if (next == 0 || next + n > CS_BUNDLE_NUMBER_MAX)
		return cs_fail(err, CS_E_LIMIT, "the store has no bundle numbers left");
	rc = cs_db_counter_set(t, CS_META_NEXT_BUNDLE, next + n, err);
	if (rc == CS_OK)
		*first = next;
	return rc;
}

int cs_bundles_put(struct cs_txn *t, uint64_t number, const void *bundle, size_t len,
		   struct cs_error *err)
{
	void *room;
	int rc = cs_db_reserve(t, CS_T_BUNDLES, cs_u64_key(&number), len, &room, err);
	if (rc == CS_OK)
		memcpy(room, bundle, len);
	return rc;
}

int cs_bundles_get(struct cs_txn *t, uint64_t number, struct cs_slice *out, struct cs_error *err)
{
	return cs_db_get(t, CS_T_BUNDLES, cs_u64_key(&number), out, err);
}

int cs_bundles_del(struct cs_txn *t, uint64_t number, struct cs_error *err)
{
	return cs_db_del(t, CS_T_BUNDLES, cs_u64_key(&number), NULL, err);
}

int cs_bundles_next(struct cs_txn *t, uint64_t from, uint64_t *number, struct cs_slice *out,
		    struct cs_error *err)
{
	struct cs_cursor *c;
	struct cs_slice key = cs_u64_key(&from), value;
	int rc = cs_cursor_open(t, CS_T_BUNDLES, &c, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_move(c, CS_SEEK_GE, &key, &value, err);
	/* numbers that go back would send whoever walks the table round for ever */
	if (rc == 1 && (cs_u64_value(key, number) != CS_OK || *number < from))
		rc = cs_fail(err, CS_E_CORRUPT, "the table of bundles is damaged");
	if (rc == 1)
		*out = value;
	cs_cursor_close(c);
	return rc;
}

static uint64_t moved_check(cs_chunk from, cs_chunk to)
{
	uint64_t both[2] = { from, to };
	return cs_checksum(both, sizeof(both));
}

int cs_moved_put(struct cs_txn *t, cs_chunk from, cs_chunk to, struct cs_error *err)
{
	uint64_t value[2] = { to, moved_check(from, to) };
	_Static_assert(sizeof(value) == CS_MOVED_SIZE, "a row of the moved table");
	return cs_db_put(t, CS_T_MOVED, cs_u64_key(&from), (struct cs_slice){ value, sizeof(value) },
			 err);
}

int cs_moved_unpack(struct cs_slice from, struct cs_slice value, cs_chunk *out_from,
		    cs_chunk *out_to)
{
	uint64_t v[2];
	if (cs_u64_value(from, out_from) != CS_OK || value.len != sizeof(v))
		return CS_E_CORRUPT;
	memcpy(v, value.data, sizeof(v));
	if (v[1] != moved_check(*out_from, v[0]))
		return CS_E_CORRUPT;
	*out_to = v[0];
	return CS_OK;
}

int cs_chunk_moved(struct cs_txn *t, cs_chunk chunk, cs_chunk *out, struct cs_error *err)
{
	struct cs_slice v;
	int rc = cs_db_get(t, CS_T_MOVED, cs_u64_key(&chunk), &v, err);
	cs_chunk from;
	if (rc == 1 && cs_moved_unpack(cs_u64_key(&chunk), v, &from, out) != CS_OK)
		return cs_fail(err, CS_E_CORRUPT, "the table of moved chunks is damaged");
	if (rc == 0)
		*out = chunk;
	return rc;
}

int cs_bundle_load_table(struct cs_slice bundle, const struct cs_bundle_header *h,
			 struct cs_error *err)
{
	size_t n = CS_BUNDLE_HEADER_SIZE + h->table_len;
	if (n <= CS_DB_TOUCHED)
		return CS_OK;
	return cs_db_load((struct cs_slice){ bundle.data, n }, err);
}

int cs_chunk_info(struct cs_txn *t, cs_chunk chunk, struct cs_slot *out, struct cs_error *err)
{
	struct cs_slice v;
	struct cs_bundle_header h;
	cs_chunk at = chunk;
	int rc = cs_bundles_get(t, cs_chunk_bundle(at), &v, err);
	if (rc == 0) {
		rc = cs_chunk_moved(t, chunk, &at, err);
		if (rc == 1)
			rc = cs_bundles_get(t, cs_chunk_bundle(at), &v, err);
	}
	if (rc < 0)
		return rc;
	if (rc == 0)
		return cs_fail(err, CS_E_CORRUPT, "chunk %llx is missing",
			       (unsigned long long)chunk);
	if (cs_bundle_header_unpack(v.data, v.len, &h) != CS_OK)
		return cs_fail(err, CS_E_CORRUPT, "bundle %llu is damaged",
			       (unsigned long long)cs_chunk_bundle(at));
	rc = cs_bundle_load_table(v, &h, err);
	if (rc != CS_OK)
		return rc;
	if (cs_slot_find(v.data, &h, cs_chunk_slot(at), out) != CS_OK)
		return cs_fail(err, CS_E_CORRUPT, "bundle %llu is damaged",
			       (unsigned long long)cs_chunk_bundle(at));
	return CS_OK;
}

int cs_bundle_encode(struct cs_compressor *c, uint64_t number, int kind,
		     const struct cs_buf *table, uint32_t nslots, const uint8_t *raw,
		     size_t raw_len, uint8_t **out, size_t *out_len)
{
	size_t head = CS_BUNDLE_HEADER_SIZE + table->len;
	size_t cap = head + cs_compress_bound(raw_len);
	uint8_t *b = cs_alloc(cap);
	if (!b)
		return CS_E_NOMEM;
	struct cs_bundle_header h = { .kind = (uint8_t)kind, .codec = CS_CODEC_ZSTD,
				      .nslots = nslots, .raw_len = (uint32_t)raw_len,
				      .table_len = (uint32_t)table->len };
	memcpy(b + CS_BUNDLE_HEADER_SIZE, table->data, table->len);
	size_t n = cs_compress(c, raw, raw_len, b + head, cap - head);
	if (n == 0) {
		h.codec = CS_CODEC_RAW;
		n = raw_len;
		memcpy(b + head, raw, n);
	}
	cs_bundle_header_pack(&h, b);
	cs_bundle_seal(b, head + n, number);
	*out = b;
	*out_len = head + n;
	return CS_OK;
}

/*
 * Bundles are of many lengths. Blocks of few different ones take each other's
 * place when a cache throws some away to make room; blocks as long as what
 * they hold leave gaps between them that fit nothing: nearly as much memory
 * again as the cache is allowed.
 */
static size_t block_for(size_t len)
{
	return (len + BLOCK_UNIT - 1) / BLOCK_UNIT * BLOCK_UNIT;
}

static int decode(struct cs_decompressor *d, const uint8_t *data, size_t len,
		  const struct cs_bundle_header *h, struct cs_bundle *b)
{
	b->kind = h->kind;
	b->nslots = h->nslots;
	b->raw_len = h->raw_len;
	b->slots = cs_alloc(h->nslots * sizeof(*b->slots));
	b->raw = cs_alloc(block_for(h->raw_len));
	if (!b->slots || !b->raw)
		return CS_E_NOMEM;
	int rc = cs_slots_unpack(data, h, b->slots);
	if (rc != CS_OK)
		return rc;
	const uint8_t *payload = data + CS_BUNDLE_HEADER_SIZE + h->table_len;
	size_t payload_len = len - CS_BUNDLE_HEADER_SIZE - h->table_len;
	if (h->codec == CS_CODEC_ZSTD)
		return cs_decompress(d, payload, payload_len, b->raw, h->raw_len);
	memcpy(b->raw, payload, h->raw_len);
	return CS_OK;
}

int cs_bundle_decode(struct cs_decompressor *d, uint64_t number, const void *data, size_t len,
		     struct cs_bundle **out)
{
	struct cs_bundle_header h;
	int rc = cs_bundle_header_unpack(data, len, &h);
	if (rc == CS_OK)
		rc = cs_bundle_check(data, len, number);
	if (rc != CS_OK)
		return rc;
	struct cs_bundle *b = cs_zalloc(sizeof(*b));
	if (!b)
		return CS_E_NOMEM;
	rc = decode(d, data, len, &h, b);
	if (rc != CS_OK) {
		cs_bundle_free(b);
		return rc;
	}
	*out = b;
	return CS_OK;
}

void cs_bundle_free(struct cs_bundle *b)
{
	if (b) {
		free(b->slots);
		free(b->raw);
		free(b);
	}
}

size_t cs_bundle_memory(const struct cs_bundle *b)
{
	return sizeof(*b) + block_for(b->raw_len) + b->nslots * sizeof(*b->slots);
}
