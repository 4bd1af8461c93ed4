/* SPDX-License-Identifier: MIT */
#include "bundles.h"

#include "alloc.h"
#include "cleanup.h"
#include "hash.h"

#include <stdlib.h>
#include <string.h>

#define BLOCK_UNIT ((size_t)128 << 10)

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
	if (v[1] != moved_check(*out_from, v[0]) || v[0] > CS_CHUNK_NUMBER_MAX)
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

/* The slot of a chunk at this very number: 1, 0 (no such bundle) or negative. */
static int slot_at(struct cs_txn *t, cs_chunk at, struct cs_slot *out, struct cs_error *err)
{
	struct cs_slice v;
	struct cs_bundle_header h;
	int rc = cs_bundles_get(t, cs_chunk_bundle(at), &v, err);
	if (rc != 1)
		return rc;
	if (cs_bundle_header_unpack(v.data, v.len, &h) != CS_OK)
		return cs_fail(err, CS_E_CORRUPT, "bundle %llu is damaged",
			       (unsigned long long)cs_chunk_bundle(at));
	rc = cs_bundle_load_table(v, &h, err);
	if (rc != CS_OK)
		return rc;
	if (cs_slot_find(v.data, &h, cs_chunk_slot(at), out) != CS_OK)
		return cs_fail(err, CS_E_CORRUPT, "bundle %llu is damaged",
			       (unsigned long long)cs_chunk_bundle(at));
	return 1;
}

int cs_chunk_info(struct cs_txn *t, cs_chunk chunk, struct cs_slot *out, struct cs_error *err)
{
	cs_chunk at;
	int rc = slot_at(t, chunk, out, err);
	if (rc == 1)
		return CS_OK;
	/* gc moved it; or its bundle is damaged, and it was stored again */
	int moved = cs_chunk_moved(t, chunk, &at, rc == 0 ? err : NULL);
	if (moved == 1)
		rc = slot_at(t, at, out, err);
	else if (moved < 0 && rc == 0)
		return moved;
	if (rc == 0)
		return cs_fail(err, CS_E_CORRUPT, "chunk %llx is missing",
			       (unsigned long long)chunk);
	return rc == 1 ? CS_OK : rc;
}

/* The chunks of the common frame one after the other: where they lie, or copied. NULL: no memory. */
static const uint8_t *gather(const struct cs_bundle_item *items, uint32_t n, size_t raw_len,
			     uint8_t **copy)
{
	const uint8_t *first = NULL, *next = NULL;
	uint32_t i;
	for (i = 0; i < n; i++) {
		if (items[i].slot.frame_len)
			continue;
		if (next && next != items[i].data)
			break;
		first = first ? first : items[i].data;
		next = items[i].data + items[i].slot.len;
	}
	if (i == n && first)
		return first;
	uint8_t *at = *copy = cs_alloc(raw_len + 1);
	for (i = 0; at && i < n; i++)
		if (!items[i].slot.frame_len) {
			memcpy(at, items[i].data, items[i].slot.len);
			at += items[i].slot.len;
		}
	return *copy;
}

static int pack_table(struct cs_bundle_header *h, const struct cs_bundle_item *items, uint32_t n,
		      struct cs_buf *table, size_t *frames)
{
	size_t raw = 0;
	*frames = 0;
	for (uint32_t i = 0; i < n; i++) {
		const struct cs_slot *s = &items[i].slot;
		*(s->frame_len ? frames : &raw) += cs_slot_weight(s);
		cs_slot_pack(table, s);
	}
	h->nslots = n;
	h->raw_len = (uint32_t)raw;
	h->table_len = (uint32_t)table->len;
	h->flags = *frames ? CS_BUNDLE_DELTAS : 0;
	return table->failed ? CS_E_NOMEM : CS_OK;
}

_Static_assert(CS_BUNDLE_LEVEL_MAX == CS_LEVEL_MAX, "a level that a bundle can tell");

static uint8_t tell_level(int level)
{
	return level == CS_LEVEL_NONE ? CS_BUNDLE_LEVEL_NONE : (uint8_t)level;
}

int cs_bundle_level(const struct cs_bundle_header *h)
{
	if (h->level == 0)
		return CS_LEVEL_DEFAULT;
	return h->level == CS_BUNDLE_LEVEL_NONE ? CS_LEVEL_NONE : h->level;
}

/* The common frame to `to`, behind room for a checksum of the head. Returns where it ends. */
static uint8_t *put_common(struct cs_compressor *c, struct cs_bundle_header *h, uint32_t features,
			   const uint8_t *raw, uint8_t *to, size_t cap)
{
	size_t n = h->raw_len ? cs_compress(c, raw, h->raw_len, to, cap) : 0;
	h->codec = n ? CS_CODEC_ZSTD : CS_CODEC_RAW;
	if (n)
		return to + n;
	if (features & CS_FEATURE_HEADS) {
		h->flags |= CS_BUNDLE_HEAD;
		h->table_len += CS_BUNDLE_HEAD_SIZE;
		to += CS_BUNDLE_HEAD_SIZE;
	}
	memcpy(to, raw, h->raw_len);
	return to + h->raw_len;
}

int cs_bundle_encode(struct cs_compressor *c, uint32_t features, uint64_t number, int kind,
		     const struct cs_bundle_item *items, uint32_t n, uint8_t **out, size_t *out_len)
{
	struct cs_bundle_header h = { .kind = (uint8_t)kind };
	struct cs_buf table = { 0 };
	size_t frames;
	uint8_t *b = NULL, *copy = NULL;
	const uint8_t *raw = NULL;
	if (features & CS_FEATURE_LEVELS)
		h.level = tell_level(cs_compressor_level(c));
	int rc = pack_table(&h, items, n, &table, &frames);
	size_t bound = cs_compress_bound(h.raw_len) + CS_BUNDLE_HEAD_SIZE;
	if (rc == CS_OK && (!(raw = gather(items, n, h.raw_len, &copy)) ||
			    !(b = cs_alloc(CS_BUNDLE_HEADER_SIZE + table.len + bound + frames))))
		rc = CS_E_NOMEM;
	if (rc == CS_OK) {
		uint8_t *end = b + CS_BUNDLE_HEADER_SIZE + table.len;
		memcpy(b + CS_BUNDLE_HEADER_SIZE, table.data, table.len);
		end = put_common(c, &h, features, raw, end, bound);
		for (uint32_t i = 0; i < n; i++)
			if (items[i].slot.frame_len) {
				memcpy(end, items[i].data, items[i].slot.frame_len);
				end += items[i].slot.frame_len;
			}
		*out = b;
		*out_len = (size_t)(end - b);
		cs_bundle_header_pack(&h, b);
		cs_bundle_seal(b, *out_len, number);
	}
	free(copy);
	cs_buf_release(&table);
	return rc;
}

/*
 * Bundles are of many lengths. Blocks of few different ones take each other's
 * place when a cache throws some away to make room; blocks as long as what
 * they hold leave gaps between them that fit nothing: nearly as much memory
 * again as the cache is allowed. Short ones, as of deltas, fit in anywhere.
 */
static size_t block_for(size_t len)
{
	return len < BLOCK_UNIT / 4 ? len : (len + BLOCK_UNIT - 1) / BLOCK_UNIT * BLOCK_UNIT;
}

static int decode(struct cs_decompressor *d, const uint8_t *data, size_t len,
		  const struct cs_bundle_header *h, struct cs_bundle *b)
{
	b->kind = h->kind;
	b->level = cs_bundle_level(h);
	b->nslots = h->nslots;
	b->raw_len = h->raw_len;
	b->slots = cs_alloc(h->nslots * sizeof(*b->slots));
	if (!b->slots)
		return CS_E_NOMEM;
	int rc = cs_slots_unpack(data, len, h, b->slots, &b->frames_len);
	if (rc != CS_OK)
		return rc;
	b->raw = cs_alloc(block_for((size_t)h->raw_len + b->frames_len));
	if (!b->raw)
		return CS_E_NOMEM;
	const uint8_t *payload = data + CS_BUNDLE_HEADER_SIZE + h->table_len;
	size_t common = len - CS_BUNDLE_HEADER_SIZE - h->table_len - b->frames_len;
	memcpy(b->raw + h->raw_len, payload + common, b->frames_len);
	if (h->codec == CS_CODEC_ZSTD)
		return cs_decompress(d, payload, common, b->raw, h->raw_len);
	memcpy(b->raw, payload, h->raw_len);
	return CS_OK;
}

int cs_bundle_decode(struct cs_decompressor *d, uint64_t number, const void *data, size_t len,
		     struct cs_bundle **out)
{
	int rc = cs_bundle_check(data, len, number);
	return rc == CS_OK ? cs_bundle_salvage(d, data, len, out) : rc;
}

int cs_bundle_salvage(struct cs_decompressor *d, const void *data, size_t len,
		      struct cs_bundle **out)
{
	struct cs_bundle_header h;
	int rc = cs_bundle_header_unpack(data, len, &h);
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

/* Room for one chunk, which has this length and hash. NULL: no memory. */
static struct cs_bundle *bundle_of_one(uint8_t kind, int level, const struct cs_slot *s)
{
	struct cs_bundle *one = cs_zalloc(sizeof(*one));
	if (!one)
		return NULL;
	*one = (struct cs_bundle){ .kind = kind, .level = level, .nslots = 1, .raw_len = s->len,
				   .slots = cs_alloc(sizeof(*one->slots)),
				   .raw = cs_alloc(block_for(s->len)) };
	if (!one->slots || !one->raw) {
		cs_bundle_free(one);
		return NULL;
	}
	one->slots[0] = (struct cs_slot){ .len = s->len, .hash = s->hash };
	return one;
}

int cs_bundle_of_delta(struct cs_decompressor *d, const struct cs_bundle *b, uint32_t slot,
		       const uint8_t *base, size_t base_len, struct cs_bundle **out)
{
	const struct cs_slot *from = &b->slots[slot];
	struct cs_bundle *one = bundle_of_one(b->kind, b->level, from);
	if (!one)
		return CS_E_NOMEM;
	int rc = cs_decompress_delta(d, base, base_len, b->raw + from->off, from->frame_len,
				     one->raw, from->len);
	if (rc != CS_OK) {
		cs_bundle_free(one);
		return rc;
	}
	*out = one;
	return CS_OK;
}

/* The bytes of a chunk, out of the common frame. */
static int decode_piece(struct cs_decompressor *d, const uint8_t *payload, size_t common,
			const struct cs_bundle_header *h, const struct cs_slot *s, uint8_t *out)
{
	size_t part = (size_t)s->off + s->len;
	if (h->codec != CS_CODEC_ZSTD) {
		memcpy(out, payload + s->off, s->len);
		return CS_OK;
	}
	CS_FREE uint8_t *raw = cs_alloc(part);
	int rc = raw ? cs_decompress_part(d, payload, common, h->raw_len, raw, part) : CS_E_NOMEM;
	if (rc == CS_OK)
		memcpy(out, raw + s->off, s->len);
	return rc;
}

int cs_bundle_decode_one(struct cs_decompressor *d, uint64_t number, const void *data, size_t len,
			 uint32_t slot, struct cs_bundle **out)
{
	struct cs_bundle_header h;
	uint32_t frames;
	int rc = cs_bundle_check(data, len, number);
	if (rc == CS_OK)
		rc = cs_bundle_header_unpack(data, len, &h);
	if (rc == CS_OK && slot >= h.nslots)
		rc = CS_E_NOTFOUND;
	if (rc != CS_OK)
		return rc;
	CS_FREE struct cs_slot *slots = cs_alloc(h.nslots * sizeof(*slots));
	if (!slots)
		return CS_E_NOMEM;
	rc = cs_slots_unpack(data, len, &h, slots, &frames);
	if (rc != CS_OK)
		return rc;
	const struct cs_slot *s = slots + slot;
	if (s->frame_len || s->off + s->len > h.raw_len / 4 * 3)
		return CS_E_NOTFOUND;
	struct cs_bundle *one = bundle_of_one(h.kind, cs_bundle_level(&h), s);
	if (!one)
		return CS_E_NOMEM;
	size_t head = CS_BUNDLE_HEADER_SIZE + h.table_len;
	rc = decode_piece(d, (const uint8_t *)data + head, len - head - frames, &h, s, one->raw);
	if (rc != CS_OK)
		cs_bundle_free(one);
	else
		*out = one;
	return rc;
}

int cs_bundle_read_one(struct cs_slice stored, uint64_t number, uint32_t slot,
		       struct cs_bundle **out, struct cs_error *err)
{
	struct cs_bundle_header h;
	struct cs_slot s;
	if (cs_bundle_header_unpack(stored.data, stored.len, &h) != CS_OK ||
	    !(h.flags & CS_BUNDLE_HEAD))
		return CS_E_NOTFOUND;
	int rc = cs_bundle_load_table(stored, &h, err);
	if (rc != CS_OK)
		return rc;
	if (cs_bundle_check_head(stored.data, &h, number) != CS_OK ||
	    cs_slot_find(stored.data, &h, slot, &s) != CS_OK)
		return CS_E_CORRUPT;
	if (s.frame_len)
		return CS_E_NOTFOUND;
	const uint8_t *data = (const uint8_t *)stored.data + CS_BUNDLE_HEADER_SIZE + h.table_len + s.off;
	struct cs_bundle *one = bundle_of_one(h.kind, cs_bundle_level(&h), &s);
	cs_db_ask((struct cs_slice){ data, s.len });
	rc = one ? cs_db_load((struct cs_slice){ data, s.len }, err) : CS_E_NOMEM;
	if (rc == CS_OK) {
		memcpy(one->raw, data, s.len);
		struct cs_hash hash = cs_hash_of(one->raw, s.len);
		rc = cs_hash_equal(&hash, &s.hash) ? CS_OK : CS_E_CORRUPT;
	}
	if (rc != CS_OK)
		cs_bundle_free(one);
	else
		*out = one;
	return rc;
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
	return sizeof(*b) + block_for((size_t)b->raw_len + b->frames_len) +
	       b->nslots * sizeof(*b->slots);
}
