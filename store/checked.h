/* SPDX-License-Identifier: MIT */
/*
 * checked.h - what was verified when, and whether it was sound: a row a point,
 * and a row a range of bundle numbers.
 *
 * It is a note to whoever verifies next, and no part of the data: a row that is
 * missing or damaged reads as "never", and one too many does no harm. Ranges, since
 * a row a bundle would be written as often as bundles are.
 */
#ifndef CS_CHECKED_H
#define CS_CHECKED_H

#include "db.h"
#include "record.h"

static inline uint64_t cs_checked_point(uint64_t seq)
{
	return seq | CS_CHECKED_POINT;
}
static inline uint64_t cs_checked_range(uint64_t bundle)
{
	return bundle / CS_CHECKED_RANGE;
}

/* All zero when nothing is known. */
int cs_checked_get(struct cs_txn *t, uint64_t key, struct cs_checked_row *out,
		   struct cs_error *err) CS_MUST_CHECK;
int cs_checked_put(struct cs_txn *t, uint64_t key, const struct cs_checked_row *row,
		   struct cs_error *err) CS_MUST_CHECK;
int cs_checked_del(struct cs_txn *t, uint64_t key, struct cs_error *err) CS_MUST_CHECK;

#endif
