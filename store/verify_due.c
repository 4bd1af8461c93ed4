/* SPDX-License-Identifier: MIT */
/*
 * verify_due.c - what is verified this time, and when it was the last time.
 *
 * A part of a store is made of points and of ranges of bundles, drawn by a hash
 * of their numbers: each is in one part, always the same, and the parts are alike
 * however many points and bundles a backup adds. What was found damaged is due
 * at any time, so that a mark never outlives the damage, and no check is without
 * the damage that others found.
 *
 * Writing that down must hold up nobody, verify itself least of all: it is done in
 * small transactions, when the writer's turn can be had at once; what could not be
 * written waits for the next time. A check of a lower level never hides the damage
 * that a higher one found.
 */
#include "verify_impl.h"

#include "alloc.h"
#include "fault.h"

#include <string.h>
#include <time.h>

#define EVERY_MS 1000
#define WAIT_MS 20
#define WAIT_AT_LAST_MS 1000
#define ROWS_A_TXN 1000

bool cs_verify_due(struct cs_verify_run *v, struct cs_txn *t, uint64_t key)
{
	struct cs_checked_row row;
	const struct cs_verify_opts *o = v->opts;
	if (!o->parts && !o->older_than)
		return true;
	if (cs_checked_get(t, key, &row, NULL) != CS_OK || row.damaged)
		return true;
	if (o->parts && cs_checksum(&key, sizeof(key)) % o->parts != o->part - 1)
		return false;
	int64_t at = row.at[v->level - 1];
	return !o->older_than || at > v->now || at <= v->now - o->older_than;
}

void cs_verify_is_done(struct cs_verify_run *v, uint64_t key, bool damaged, bool later)
{
	if (!v->record)
		return;
	if (cs_grow(&v->done, &v->done_cap, v->ndone + 1, sizeof(*v->done)) == CS_OK)
		v->done[v->ndone++] = (struct cs_verify_done){ key, damaged, later };
}

static int put_row(struct cs_verify_run *v, struct cs_txn *t, const struct cs_verify_done *d,
		   struct cs_error *err)
{
	struct cs_checked_row row;
	struct cs_slice there;
	uint64_t seq = d->key & ~CS_CHECKED_POINT;
	int top = v->level;
	if (d->key & CS_CHECKED_POINT) { /* gc may have removed it */
		int rc = cs_db_get(t, CS_T_POINTS, cs_u64_key(&seq), &there, err);
		if (rc != 1)
			return rc;
	} else if (top == CS_VERIFY_DATA) {
		top = CS_VERIFY_DIGEST; /* a bundle has none of its own */
	}
	int rc = cs_checked_get(t, d->key, &row, err);
	if (rc != CS_OK)
		return rc;
	for (int i = 0; i < top; i++)
		row.at[i] = v->now;
	if (d->damaged)
		row.damaged = (uint8_t)v->level;
	else if (row.damaged <= top)
		row.damaged = 0;
	return cs_checked_put(t, d->key, &row, err);
}

/* A transaction of some that are ready; they are taken out of the list. How many, or negative. */
static int put_some(struct cs_verify_run *v, int64_t wait_ms, struct cs_error *err)
{
	struct cs_verify_done some[ROWS_A_TXN];
	struct cs_txn *t;
	int n = 0;
	size_t left = 0;
	pthread_mutex_lock(&v->lock);
	for (size_t i = 0; i < v->ndone && n < ROWS_A_TXN; i++)
		if (!v->done[i].later)
			some[n++] = v->done[i];
	pthread_mutex_unlock(&v->lock);
	if (n == 0)
		return 0;
	int rc = cs_txn_write_within(v->store->db, wait_ms, &t, err);
	if (rc != CS_OK)
		return rc;
	for (int i = 0; i < n && rc == CS_OK; i++)
		rc = put_row(v, t, &some[i], err);
	cs_fault("verify: before commit");
	if (rc == CS_OK)
		rc = cs_txn_commit(t, err);
	else
		cs_txn_end(t);
	if (rc != CS_OK)
		return rc;
	pthread_mutex_lock(&v->lock);
	for (size_t i = 0, taken = 0; i < v->ndone; i++) {
		if (!v->done[i].later && taken < (size_t)n)
			taken++;
		else
			v->done[left++] = v->done[i];
	}
	v->ndone = left;
	pthread_mutex_unlock(&v->lock);
	return n;
}

static int64_t ms_since(const struct timespec *t)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)(now.tv_sec - t->tv_sec) * 1000 + (now.tv_nsec - t->tv_nsec) / 1000000;
}

void cs_verify_record(struct cs_verify_run *v, bool at_last)
{
	struct cs_error why = { 0 };
	int rc;
	if (!v->record || (!at_last && ms_since(&v->recorded) < EVERY_MS))
		return;
	do
		rc = put_some(v, at_last ? WAIT_AT_LAST_MS : WAIT_MS, &why);
	while (rc > 0);
	clock_gettime(CLOCK_MONOTONIC, &v->recorded);
	if (rc < 0 && (rc != CS_E_BUSY || at_last))
		v->record = false; /* no reason to verify less */
}
