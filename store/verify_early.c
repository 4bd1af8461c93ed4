/* SPDX-License-Identifier: MIT */
/*
 * verify_early.c - bundles that were looked at before their turn.
 *
 * Who reads large files first (verify_large.c) decodes bundles anyway. Each is looked at
 * then, by one thread, and passes the gate later with what was found (verify_bundles.c).
 * A bit for each bundle, kept by the ranges that are written down as verified: one that
 * is whole is written down when the files are done, so that who is interrupted keeps it.
 */
#include "verify_bundles_impl.h"

_Static_assert(CS_CHECKED_RANGE == 64, "a bit for each bundle of a range");

static uint64_t bit_of(uint64_t number)
{
	return UINT64_C(1) << number % CS_CHECKED_RANGE;
}

/* NULL: none of its range was looked at. With the lock. */
static struct cs_verify_early *early_of(struct cs_verify_run *v, uint64_t number)
{
	return cs_verify_map_find(&v->early, cs_checked_range(number) + 1, 0);
}

/* Which bundles of its range there are. */
static uint64_t there(struct cs_txn *t, uint64_t number)
{
	uint64_t range = cs_checked_range(number), at = range * CS_CHECKED_RANGE, bits = 0;
	struct cs_slice bytes;
	int rc;
	while ((rc = cs_bundles_next(t, at, &number, &bytes, NULL)) == 1 &&
	       cs_checked_range(number) == range) {
		bits |= bit_of(number);
		at = number + 1;
		if (cs_checked_range(at) != range)
			break;
	}
	return rc < 0 ? UINT64_MAX : bits;
}

/* It is ours to look at: nobody else has. */
static bool claim(struct cs_verify_run *v, struct cs_txn *t, uint64_t number)
{
	pthread_mutex_lock(&v->lock);
	bool known = early_of(v, number);
	pthread_mutex_unlock(&v->lock);
	uint64_t bits = known ? 0 : there(t, number);
	pthread_mutex_lock(&v->lock);
	struct cs_verify_early *e = early_of(v, number);
	if (!e && (e = cs_verify_map_add(&v->early, cs_checked_range(number) + 1, 0)))
		e->there = bits;
	bool ours = e && !(e->claimed & bit_of(number));
	if (ours)
		e->claimed |= bit_of(number);
	pthread_mutex_unlock(&v->lock);
	return ours;
}

bool cs_verify_early(struct cs_verify_run *v, uint64_t number, const struct cs_bundle *b)
{
	struct cs_verify_passed out = { 0 };
	struct cs_txn *t;
	if (cs_txn_read(v->store->db, &t, NULL) != CS_OK)
		return false;
	bool ours = cs_verify_due(v, t, cs_checked_range(number)) && claim(v, t, number);
	if (ours) {
		cs_verify_decoded(v, t, number, b, true, &out);
		pthread_mutex_lock(&v->lock);
		struct cs_verify_early *e = early_of(v, number);
		e->seen |= bit_of(number);
		e->damaged |= out.damaged ? bit_of(number) : 0;
		e->deltas |= out.deltas ? bit_of(number) : 0;
		pthread_mutex_unlock(&v->lock);
	}
	cs_txn_end(t);
	return ours;
}

void cs_verify_early_done(struct cs_verify_run *v)
{
	pthread_mutex_lock(&v->lock);
	for (size_t i = 0; i < v->early.cap; i++) {
		struct cs_verify_early *e = (void *)(v->early.rows + i * v->early.size);
		if (!e->at.page || e->told || e->there & ~e->seen)
			continue;
		cs_verify_is_done(v, e->at.page - 1, e->damaged, e->deltas);
		e->told = true;
	}
	pthread_mutex_unlock(&v->lock);
}

bool cs_verify_is_early(struct cs_verify_run *v, uint64_t number)
{
	const struct cs_verify_early *e = early_of(v, number);
	return e && e->seen & bit_of(number);
}

struct cs_verify_passed cs_verify_passed_early(struct cs_verify_run *v, uint64_t number)
{
	const struct cs_verify_early *e = early_of(v, number);
	uint64_t bit = bit_of(number);
	if (!e || !(e->seen & bit))
		return (struct cs_verify_passed){ 0 };
	return (struct cs_verify_passed){ .early = true, .damaged = e->damaged & bit,
					  .deltas = e->deltas & bit };
}

bool cs_verify_range_is_told(struct cs_verify_run *v, uint64_t number, bool damaged)
{
	const struct cs_verify_early *e = early_of(v, number);
	return e && e->told && (e->damaged || !damaged);
}
