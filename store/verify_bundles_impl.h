/* SPDX-License-Identifier: MIT */
/*
 * verify_bundles_impl.h - what verify_bundles.c, verify_bundle.c and verify_early.c share:
 * a bundle that is looked at, in its turn or before.
 */
#ifndef CS_VERIFY_BUNDLES_IMPL_H
#define CS_VERIFY_BUNDLES_IMPL_H

#include "verify_impl.h"

/* A bundle in the hands of a thread. */
struct cs_verify_job {
	struct cs_decompressor *decompressor;
	struct cs_txn *t;
	uint64_t number;
	struct cs_slice bytes; /* as stored, borrowed from t */
	bool raw; /* the one before: it took the disk longer than us */
	struct cs_slice ahead; /* what to ask the disk for meanwhile */
	struct cs_error lost; /* instead: rows from number on that could not be read */
	struct cs_verify_passed out;
	uint64_t place; /* at the gate */
};

/*
 * In its turn, as far as the level says; what is wrong is said, and noted in j->out, which
 * has the bundle if it could be decoded. Fails only when verify itself cannot go on.
 */
int cs_verify_bundle(struct cs_verify_run *v, struct cs_verify_job *j,
		     struct cs_error *err) CS_MUST_CHECK;
/*
 * One that could be decoded: hashes, deltas, index. early: deltas too, as far as their bases
 * are at hand; those that are left wait for the end. Without the lock.
 */
void cs_verify_decoded(struct cs_verify_run *v, struct cs_txn *t, uint64_t number,
		       const struct cs_bundle *b, bool early, struct cs_verify_passed *out);

/* What was found when it was looked at before its turn; .early is false: it was not. With the lock. */
struct cs_verify_passed cs_verify_passed_early(struct cs_verify_run *v, uint64_t number);
/* Was the range of a bundle written down early, and is there nothing to add? With the lock. */
bool cs_verify_range_is_told(struct cs_verify_run *v, uint64_t number, bool damaged);

#endif
