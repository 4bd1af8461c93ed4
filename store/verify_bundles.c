/* SPDX-License-Identifier: MIT */
/*
 * verify_bundles.c - every bundle, by all cores.
 *
 * A thread takes the next bundle and looks at it (verify_bundle.c). Deltas wait until
 * all bundles were looked at (verify_rest.c). A bundle that was looked at before its turn
 * (verify_early.c) is not read again.
 *
 * What is done with a bundle passes a gate in the order of the bundles' numbers:
 * one after the other, by whichever thread closes a gap. There the ranges are put
 * together that are written down as verified, and the decoded bundle is shown to the
 * files that have pieces in it (verify_files.c), which are stored in that order.
 * Nobody runs further ahead than the gate has places.
 */
#include "verify_bundles_impl.h"

#define LOST_ROWS (UINT64_C(1) << 63) /* keys of findings about what cannot be counted */
#define READ_ON (8 << 20) /* bytes; asked for by halves */
#define LOST_MAX 100000u /* ranges of which no row can be read, in which rows are looked for */

/* ---- damage of LMDB */

/*
 * The rows of bundles behind a number cannot be read: LMDB's own pages are damaged
 * there. What refers to them says so.
 */
static void lost_rows(struct cs_verify_run *v, uint64_t from, const struct cs_error *why)
{
	cs_verify_found(v, CS_FOUND_BUNDLE_DAMAGED, from | LOST_ROWS,
			"the table of bundles behind number %llu: %.200s", (unsigned long long)from,
			why->text);
}

static bool is_damage(int rc)
{
	return rc == CS_E_CORRUPT || rc == CS_E_IO;
}

/* ---- in order */

static int fill_given(void *arg, uint64_t number, void **out, size_t *size, struct cs_error *err)
{
	struct cs_bundle **b = arg;
	(void)number;
	(void)err;
	*out = *b;
	*size = cs_bundle_memory(*b);
	*b = NULL;
	return CS_OK;
}

/*
 * A bundle at the gate. One thread at a time, in the order of the numbers; without the lock.
 * It is in the cache then for a while: it may have the base of a delta, and a file may
 * come back to it.
 */
static void pass(struct cs_verify_run *v, struct cs_verify_passed *p)
{
	void *held = NULL, *value;
	if (!p->bundle && p->early)
		cs_verify_files_meet(v, p->number, NULL);
	if (!p->bundle)
		return;
	if (p->bundle->kind != CS_BUNDLE_DATA || !cs_verify_files_waiting(v) ||
	    cs_cache_get(v->store->bundles, p->number, fill_given, &p->bundle, &held, &value,
			 NULL) != CS_OK)
		value = p->bundle;
	cs_verify_files_meet(v, p->number, value);
	cs_cache_release(held);
	cs_bundle_free(p->bundle);
	p->bundle = NULL;
}

/* The range that the last bundles were of is whole. With the lock. */
static void end_range(struct cs_verify_run *v)
{
	if (v->range.number &&
	    !cs_verify_range_is_told(v, v->range.number, v->range.damaged))
		cs_verify_is_done(v, cs_checked_range(v->range.number), v->range.damaged,
				  v->range.deltas);
	v->range.number = 0;
}

/* What is at the gate, in turn, as far as there is no gap. With the lock. */
static void open_gate(struct cs_verify_run *v)
{
	struct cs_verify_passed *p = &v->gate[v->passed % CS_VERIFY_GATE];
	if (v->passing)
		return;
	v->passing = true;
	while (p->number) {
		pthread_mutex_unlock(&v->lock);
		pass(v, p);
		pthread_mutex_lock(&v->lock);
		if (v->range.number &&
		    cs_checked_range(v->range.number) != cs_checked_range(p->number))
			end_range(v);
		if (!v->range.number)
			v->range = (struct cs_verify_passed){ .number = p->number };
		v->range.damaged |= p->damaged;
		v->range.deltas |= p->deltas;
		p->number = 0;
		p = &v->gate[++v->passed % CS_VERIFY_GATE];
		pthread_cond_broadcast(&v->room);
	}
	v->passing = false;
}

static void hand_over(struct cs_verify_run *v, struct cs_verify_job *j)
{
	if (!cs_verify_files_waiting(v)) {
		cs_bundle_free(j->out.bundle);
		j->out.bundle = NULL;
	}
	pthread_mutex_lock(&v->lock);
	j->out.number = j->number;
	v->gate[j->place % CS_VERIFY_GATE] = j->out;
	open_gate(v);
	pthread_mutex_unlock(&v->lock);
	j->out = (struct cs_verify_passed){ 0 };
}

/*
 * What was stored next lies behind it, mostly: the disk reads that while this is looked at.
 * Not where chunks were compressed: zstd is what takes time there, and the kernel's own
 * read-ahead costs less of it. With the lock.
 */
static struct cs_slice read_on(struct cs_verify_run *v, struct cs_slice bytes)
{
	const uint8_t *end = (const uint8_t *)bytes.data + bytes.len;
	if (v->asked > end && v->asked - end <= READ_ON && v->asked - end > READ_ON / 2)
		return (struct cs_slice){ 0 };
	const uint8_t *from = v->asked > end && v->asked - end <= READ_ON ? v->asked : end;
	v->asked = end + READ_ON;
	return (struct cs_slice){ from, (size_t)(v->asked - from) };
}

/*
 * The next bundle of a range that is due: 1, 0 at the end. Rows that cannot be read are
 * told of once for all that follow each other, and looked for range by range. With the lock.
 */
static int next_bundle(struct cs_verify_run *v, struct cs_verify_job *j, struct cs_error *err)
{
	struct cs_error why;
	for (;;) {
		uint64_t end = (cs_checked_range(v->next) + 1) * CS_CHECKED_RANGE;
		int rc = cs_bundles_next(j->t, v->next, &j->number, &j->bytes, &why);
		if (is_damage(rc)) {
			bool first = !v->lost_before;
			j->number = v->next ? v->next : 1;
			v->lost_before = true;
			v->end |= v->next >= v->bundles_end || ++v->lost_rows > LOST_MAX;
			v->next = v->next ? end : 1; /* no bundle is number 0: it may be that row alone */
			j->lost = why;
			if (first || v->end)
				return first;
			continue;
		}
		if (rc < 0)
			return cs_fail(err, rc, "%s", why.text);
		if (rc == 0)
			return 0;
		v->lost_before = false;
		uint64_t range = cs_checked_range(j->number);
		if (v->due_known && v->due_range == range)
			break;
		v->due_range = range;
		v->due_known = cs_verify_due(v, j->t, range);
		if (v->due_known)
			break;
		v->result.ranges_skipped++;
		v->next = (range + 1) * CS_CHECKED_RANGE;
	}
	v->next = j->number + 1;
	j->lost.code = 0;
	j->out = cs_verify_passed_early(v, j->number);
	j->ahead = j->raw ? read_on(v, j->bytes) : (struct cs_slice){ 0 };
	return 1;
}

/* Take the next bundle, when there is room for it at the gate. 0 at the end. */
static int take_bundle(struct cs_verify_run *v, struct cs_verify_job *j, struct cs_error *err)
{
	pthread_mutex_lock(&v->lock);
	while (v->taken - v->passed >= v->ahead && !v->stop && !v->error.code)
		pthread_cond_wait(&v->room, &v->lock);
	int rc = v->end || v->stop || v->error.code ? 0 : cs_txn_read(v->store->db, &j->t, err);
	if (j->t) {
		rc = next_bundle(v, j, err);
		v->end |= rc != 1;
		if (rc == 1)
			j->place = v->taken++;
		else
			cs_txn_end(j->t);
		if (rc != 1)
			j->t = NULL;
	}
	pthread_mutex_unlock(&v->lock);
	return rc;
}

static int check_bundle(struct cs_verify_run *v, struct cs_verify_job *j, struct cs_error *err)
{
	int rc = CS_OK;
	if (j->lost.code) {
		lost_rows(v, j->number, &j->lost);
		j->out.damaged = true;
	} else if (!j->out.early) {
		rc = cs_verify_bundle(v, j, err);
		cs_db_unload(j->t, j->bytes);
	}
	cs_txn_end(j->t);
	j->t = NULL;
	return rc;
}

static void *check_bundles(void *arg)
{
	struct cs_verify_run *v = arg;
	struct cs_error err = { 0 };
	struct cs_verify_job j = { .decompressor = cs_decompressor_new() };
	int rc = j.decompressor ? 1 : cs_fail(&err, CS_E_NOMEM, "out of memory");
	while (rc >= 0 && (rc = take_bundle(v, &j, &err)) == 1 &&
	       (rc = check_bundle(v, &j, &err)) == CS_OK)
		hand_over(v, &j);
	cs_decompressor_free(j.decompressor);
	return cs_verify_ended(v, rc, &err);
}

void cs_verify_gate_release(struct cs_verify_run *v)
{
	for (unsigned i = 0; i < CS_VERIFY_GATE; i++)
		cs_bundle_free(v->gate[i].bundle);
}

int cs_verify_bundles(struct cs_verify_run *v, struct cs_error *err)
{
	int rc = cs_verify_on_all_cores(v, check_bundles, err);
	if (rc == CS_OK)
		end_range(v);
	return rc;
}
