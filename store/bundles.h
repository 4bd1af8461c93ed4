/* SPDX-License-Identifier: MIT */
/*
 * bundles.h - bundles by number: the one module that would change if they
 * lived elsewhere than in LMDB.
 *
 * A chunk is a unit of deduplication and never of storage: many chunks are
 * compressed together as one bundle under an ascending number, and several
 * bundles are one value of LMDB (bundles_pack.c). A value a chunk would waste
 * half of LMDB's pages (see chunkstore(7)).
 */
#ifndef CS_BUNDLES_H
#define CS_BUNDLES_H

#include "compress.h"
#include "db.h"
#include "record.h"

static inline cs_chunk cs_chunk_make(uint64_t bundle, uint32_t slot)
{
	return bundle << CS_SLOT_BITS | slot;
}
static inline uint64_t cs_chunk_bundle(cs_chunk c)
{
	return c >> CS_SLOT_BITS;
}
static inline uint32_t cs_chunk_slot(cs_chunk c)
{
	return (uint32_t)(c & CS_SLOTS_MAX);
}

/*
 * Take n bundle numbers that nobody else gets, and the rest of the last run of
 * CS_BUNDLE_RUN; *first is the first, and begins a run. Durable at commit.
 */
int cs_bundles_reserve(struct cs_txn *t, uint64_t n, uint64_t *first,
		       struct cs_error *err) CS_MUST_CHECK;
/* A bundle as it is stored. */
struct cs_bundle_stored {
	uint64_t number;
	const void *data;
	size_t len;
};
/*
 * Store sealed bundles, in ascending order of their numbers; a bundle that is
 * there already is replaced. Those of one run are laid together.
 */
int cs_bundles_put(struct cs_txn *t, const struct cs_bundle_stored *list, size_t n,
		   struct cs_error *err) CS_MUST_CHECK;
/* Its bytes, borrowed until the transaction ends. 1, 0 (no such bundle) or negative. */
int cs_bundles_get(struct cs_txn *t, uint64_t number, struct cs_slice *out,
		   struct cs_error *err) CS_MUST_CHECK;
int cs_bundles_del(struct cs_txn *t, uint64_t number, struct cs_error *err) CS_MUST_CHECK;
/* The first bundle with a number >= from: 1 and its number and bytes, 0 at the end. */
int cs_bundles_next(struct cs_txn *t, uint64_t from, uint64_t *number, struct cs_slice *out,
		    struct cs_error *err) CS_MUST_CHECK;
/*
 * All bundles, ascending, in steps, so that no read transaction lasts: one that comes or
 * goes meanwhile may be met or not. Ends with what fn returns, if that is not CS_OK.
 */
typedef int cs_bundle_fn(void *arg, struct cs_txn *t, uint64_t number, struct cs_slice bundle,
			 struct cs_error *err);
int cs_bundles_walk(struct cs_db *db, cs_bundle_fn *fn, void *arg,
		    struct cs_error *err) CS_MUST_CHECK;

/*
 * A row of the moved table: where a chunk went, with a checksum of both
 * numbers, since a wrong one would lead to other bytes.
 */
#define CS_MOVED_SIZE 16
int cs_moved_put(struct cs_txn *t, cs_chunk from, cs_chunk to, struct cs_error *err) CS_MUST_CHECK;
int cs_moved_unpack(struct cs_slice from, struct cs_slice value, cs_chunk *out_from,
		    cs_chunk *out_to) CS_MUST_CHECK;
/* Where a chunk is now: itself, or where gc moved it. 1: moved. */
int cs_chunk_moved(struct cs_txn *t, cs_chunk chunk, cs_chunk *out,
		   struct cs_error *err) CS_MUST_CHECK;
/* Before a slot table is looked at in the map: see cs_db_load. */
int cs_bundle_load_table(struct cs_slice bundle, const struct cs_bundle_header *h,
			 struct cs_error *err) CS_MUST_CHECK;
/* A chunk's length and hash, without decoding its bundle. CS_E_CORRUPT when it is missing. */
int cs_chunk_info(struct cs_txn *t, cs_chunk chunk, struct cs_slot *out,
		  struct cs_error *err) CS_MUST_CHECK;

/* A chunk of a bundle to be made: cs_slot_weight(&slot) bytes of data; slot.off does not count. */
struct cs_bundle_item {
	struct cs_slot slot;
	const uint8_t *data; /* the chunk, or a delta's frame */
};
/*
 * The stored form of a bundle: chunks compressed together, or raw when that
 * does not help, and deltas as they are. features: of the store (CS_FEATURE_*): what
 * a bundle of it may have. *out is allocated; free with free(). CS_E_NOMEM.
 */
int cs_bundle_encode(struct cs_compressor *c, uint32_t features, uint64_t number, int kind,
		     const struct cs_bundle_item *items, uint32_t n, uint8_t **out,
		     size_t *out_len) CS_MUST_CHECK;

/* The level of a bundle, as cs_compressor_new takes it; one that tells none has the default. */
int cs_bundle_level(const struct cs_bundle_header *h);

/* A bundle decoded into memory, but for its deltas: of these, raw has the frames. */
struct cs_bundle {
	uint8_t kind;
	int level; /* see cs_bundle_level */
	uint32_t nslots;
	struct cs_slot *slots; /* off: in raw */
	uint8_t *raw;
	uint32_t raw_len, frames_len; /* of the common frame; of all deltas' frames behind it */
};
/*
 * Check and decode the stored bundle of a number. CS_E_CORRUPT when the
 * checksum, the table or the frame is wrong, or it is another number's;
 * CS_E_NOMEM. *out: cs_bundle_free.
 */
int cs_bundle_decode(struct cs_decompressor *d, uint64_t number, const void *data, size_t len,
		     struct cs_bundle **out) CS_MUST_CHECK;
/*
 * The same without the checksum: what it holds may be anything, and each chunk has to
 * be compared with its hash.
 */
int cs_bundle_salvage(struct cs_decompressor *d, const void *data, size_t len,
		      struct cs_bundle **out) CS_MUST_CHECK;
/*
 * A delta as a bundle of one chunk of its own, made of its frame and of its
 * base's bytes. CS_E_CORRUPT when they do not make it; CS_E_NOMEM.
 */
int cs_bundle_of_delta(struct cs_decompressor *d, const struct cs_bundle *b, uint32_t slot,
		       const uint8_t *base, size_t base_len, struct cs_bundle **out) CS_MUST_CHECK;
/*
 * One chunk, as a bundle of its own: decoded no further than that. CS_E_NOTFOUND when it
 * is not there, is a delta, or lies in the last quarter: all may as well be decoded then.
 */
int cs_bundle_decode_one(struct cs_decompressor *d, uint64_t number, const void *data, size_t len,
			 uint32_t slot, struct cs_bundle **out) CS_MUST_CHECK;
/*
 * The same, when its bundle is stored raw and has a checksum of its head: nothing but the
 * head and the chunk is read, which has its hash. Anything but CS_OK: it cannot be read so,
 * as none can in a store that keeps a part of each hash only.
 */
int cs_bundle_read_one(struct cs_slice stored, uint64_t number, uint32_t slot,
		       struct cs_bundle **out, struct cs_error *err) CS_MUST_CHECK;
void cs_bundle_free(struct cs_bundle *b);
/* Memory it takes. */
size_t cs_bundle_memory(const struct cs_bundle *b);

#endif
