/* SPDX-License-Identifier: MIT */
/*
 * forget.c - forgetting points, and bringing them back.
 *
 * Decision: many points change in transactions of POINTS_A_TXN each, so that
 * no other writer waits long, and whoever asked is told of each point when its
 * change is durable. What was decided before may be wrong by the time of the
 * transaction (others forget, too), so each is looked at again in it.
 */
#include "trash.h"

#define POINTS_A_TXN 64

enum change {
	TO_TRASH,
	FOR_GOOD,
	BACK,
};

struct run {
	struct cs_store *store;
	const struct cs_forget_opts *opts;
	enum change change;
	const uint64_t *seqs;
	size_t n, at;
	/* of the transaction */
	int fate[POINTS_A_TXN];
	int64_t until;
	uint64_t generation;
	bool changed; /* some transaction was made */
};

/* Is this the only listed point of its series? 1 or 0. */
static int is_last(struct cs_txn *t, uint64_t seq, struct cs_error *err)
{
	struct cs_point_record r;
	struct cs_series_record s;
	char name[CS_SERIES_MAX + 1];
	int rc = cs_points_get(t, seq, &r, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_points_listed(t, &r, err);
	if (rc == 1) {
		rc = cs_series_name(t, r.series_id, name, err);
		rc = rc == CS_OK ? cs_series_find(t, name, &s, err) : rc;
		rc = rc == 1 ? s.points <= 1 : rc;
	}
	cs_point_record_release(&r);
	return rc;
}

static int change_one(struct run *run, struct cs_txn *t, uint64_t seq, struct cs_time now, int *fate,
		      struct cs_error *err)
{
	int rc = 0;
	if (run->change != BACK && run->opts->keep_last)
		rc = is_last(t, seq, err);
	*fate = CS_FATE_KEPT;
	if (rc == 1)
		return CS_OK;
	*fate = CS_FATE_DONE;
	if (rc == 0 && run->change == TO_TRASH)
		rc = cs_points_trash(t, seq, run->until, now, err);
	else if (rc == 0 && run->change == FOR_GOOD)
		rc = cs_points_purge(t, seq, now, err);
	else if (rc == 0)
		rc = cs_points_untrash(t, seq, now, err);
	if (rc != CS_E_NOTFOUND)
		return rc;
	*fate = CS_FATE_ABSENT; /* and nothing was written */
	return CS_OK;
}

static int change_some(struct run *run, size_t count, struct cs_error *err)
{
	struct cs_time now = cs_now();
	struct cs_txn *t;
	uint64_t keep = 0;
	int rc = cs_txn_write(run->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_trash_keep(t, &keep, err);
	run->until = keep ? now.sec + (int64_t)keep : 0;
	for (size_t i = 0; i < count && rc == CS_OK; i++)
		rc = change_one(run, t, run->seqs[run->at + i], now, &run->fate[i], err);
	if (rc == CS_OK)
		rc = cs_db_counter_get(t, CS_META_GENERATION, &run->generation, err);
	if (rc == CS_OK)
		return cs_txn_commit(t, err);
	cs_txn_end(t);
	return rc;
}

static void tell(const struct run *run, size_t count)
{
	for (size_t i = 0; run->opts->told && i < count; i++)
		run->opts->told(run->opts->arg, run->at + i, run->fate[i],
				run->change == TO_TRASH ? run->until : 0);
}

static int change_all(struct run *run, struct cs_error *err)
{
	int rc = CS_OK;
	while (run->at < run->n && rc == CS_OK) {
		size_t count = run->n - run->at;
		if (count > POINTS_A_TXN)
			count = POINTS_A_TXN;
		if (run->opts->stopped && run->opts->stopped(run->opts->arg))
			rc = cs_fail(err, CS_E_INTERRUPTED, "interrupted after %zu of %zu points",
				     run->at, run->n);
		else
			rc = change_some(run, count, err);
		if (rc != CS_OK)
			break;
		run->changed = true;
		tell(run, count);
		run->at += count;
	}
	if (run->changed)
		cs_leases_settle(run->store->leases, run->generation);
	return rc;
}

int cs_points_forget(struct cs_store *s, const uint64_t *seqs, size_t n,
		     const struct cs_forget_opts *opts, struct cs_error *err)
{
	struct run run = { .store = s, .opts = opts, .seqs = seqs, .n = n };
	run.change = opts->purge ? FOR_GOOD : TO_TRASH;
	return change_all(&run, err);
}

int cs_point_give_up(struct cs_store *s, uint64_t seq, struct cs_error *err)
{
	struct cs_time now = cs_now();
	struct cs_txn *t;
	uint64_t generation = 0;
	int rc = cs_txn_write(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_points_purge(t, seq, now, err);
	if (rc == CS_E_CORRUPT && cs_leases_point_used(s->leases, seq))
		rc = cs_fail(err, CS_E_BUSY, "point number %llu is in use ('chunkstore stats' says "
			     "by whom)", (unsigned long long)seq);
	else if (rc == CS_E_CORRUPT)
		rc = cs_points_scrap(t, seq, now, err);
	if (rc == CS_OK)
		rc = cs_db_counter_get(t, CS_META_GENERATION, &generation, err);
	if (rc != CS_OK) {
		cs_txn_end(t);
		return rc;
	}
	rc = cs_txn_commit(t, err);
	if (rc == CS_OK)
		cs_leases_settle(s->leases, generation);
	return rc;
}

int cs_points_undelete(struct cs_store *s, const uint64_t *seqs, size_t n,
		       const struct cs_forget_opts *opts, struct cs_error *err)
{
	struct run run = { .store = s, .opts = opts, .seqs = seqs, .n = n, .change = BACK };
	return change_all(&run, err);
}
