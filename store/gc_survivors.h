/* SPDX-License-Identifier: MIT */
/*
 * gc_survivors.h - the bundles that chunks go into whose old bundle is to be deleted.
 */
#ifndef CS_GC_SURVIVORS_H
#define CS_GC_SURVIVORS_H

#include "bundles.h"
#include "compress.h"
#include "store.h"

struct cs_survivors {
	struct cs_store *store;
	struct cs_txn *txn; /* the caller's, for writing; NULL: count only, as in a dry run */
	struct cs_compressor *compressor;
	uint64_t stored; /* bytes of the bundles so far, in transactions that were undone as well */
	/* the open bundle */
	uint8_t *raw;
	size_t used, cap;
	struct cs_bundle_item *items; /* slot.off: in raw */
	size_t items_cap;
	uint64_t number; /* the next of a run, or a multiple of CS_BUNDLE_RUN: none left */
	uint32_t nslots;
	int kind, level;
	/* bundles that are complete, of one run, to be put together */
	struct cs_bundle_stored ready[CS_BUNDLE_RUN];
	uint32_t nready;
	size_t ready_bytes;
};

/* The chunk in a slot of a bundle, whole or as the delta it is. *out: its new number. */
int cs_survivors_add(struct cs_survivors *s, const struct cs_bundle *from, uint32_t slot,
		     cs_chunk *out, struct cs_error *err) CS_MUST_CHECK;
/* Before a commit: what is open is stored. A run that was begun ends with its transaction. */
int cs_survivors_flush(struct cs_survivors *s, struct cs_error *err) CS_MUST_CHECK;
/* The transaction was undone: so is what was added in it. */
void cs_survivors_drop(struct cs_survivors *s);
void cs_survivors_release(struct cs_survivors *s);

#endif
