/* SPDX-License-Identifier: MIT */
/*
 * heal.h - chunks whose stored bytes are damaged, and their bytes from elsewhere.
 *
 * What refers to a chunk has its number, and cannot be changed. So the bytes are
 * stored again, as a chunk of a new bundle, and a row of the moved table leads from
 * the old number to the new one: the same that gc does when it rewrites a bundle,
 * but that the old bundle is still there. Readers look into the moved table when a
 * bundle cannot be decoded; for gc the row counts, so that a damaged bundle goes
 * when all that is needed of it was stored again.
 *
 * Which chunk it was says the damaged bundle's own table, with the hash, length
 * and kind. Where that is lost, too, there are only the 40 bits that the dedup index
 * has, which is a hint and no identity: such a chunk is not healed.
 * A healed chunk is never a delta, since it may be the base of some.
 */
#ifndef CS_HEAL_H
#define CS_HEAL_H

#include "store.h"

struct cs_healed {
	cs_chunk from, to;
	struct cs_hash hash;
};

/* Damaged chunks that were this one. Up to max: *n. Any thread. */
int cs_heal_find(struct cs_store *s, int kind, const struct cs_hash *h, size_t len, cs_chunk *out,
		 size_t max, size_t *n, struct cs_error *err) CS_MUST_CHECK;
/*
 * Lead from the damaged ones to where they are now. In the transaction in which
 * that is stored, or later. What was healed meanwhile stays as it is.
 */
int cs_heal_put(struct cs_txn *t, const struct cs_healed *list, size_t n,
		struct cs_error *err) CS_MUST_CHECK;

#endif
