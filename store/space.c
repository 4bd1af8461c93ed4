/* SPDX-License-Identifier: MIT */
/*
 * space.c - the steps of giving space back and of compact (why they are safe:
 * db_space.c, db_move.c).
 *
 * Pages that the last transaction freed are still needed by the one before it,
 * until another is committed. gc ends with a transaction that freed much, so
 * one that changes nothing follows, and a second look takes those as well.
 * A full disk may refuse that transaction; then the next gc takes them.
 *
 * compact is for file systems that cannot make holes, and for who wants a
 * shorter file: rounds of moving what lies behind the floor, the length that
 * the pages in use would have side by side, and of cutting off the free end.
 * LMDB chooses where moved values go, not always well; each round begins with
 * what the one before has left, and when one hardly helps, that was it. Two
 * compacts would move each other's values, and gc's; so there is one at a time.
 */
#include "space.h"

#include <time.h>

#define WORTH_A_COMMIT (64u << 10)

/* Whoever waits for the writer lock gets it now. */
static void let_others_in(void)
{
	nanosleep(&(struct timespec){ 0, 2000000 }, NULL);
}

/* A transaction that changes nothing. */
static int follow(struct cs_store *s, struct cs_error *err)
{
	struct cs_txn *t;
	uint64_t v;
	int rc = cs_txn_write(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_db_counter_get(t, CS_META_GENERATION, &v, err);
	if (rc == CS_OK)
		rc = cs_db_counter_set(t, CS_META_GENERATION, v, err);
	if (rc == CS_OK)
		return cs_txn_commit(t, err);
	cs_txn_end(t);
	return rc;
}

static int one_pass(struct cs_store *s, const struct cs_space_opts *o, struct cs_punch *p,
		    struct cs_error *err)
{
	const struct cs_punch_opts punch = { .cut = o->cut };
	const struct cs_progress progress = { .what = o->what };
	p->next_page = 0;
	p->done = false;
	for (;;) {
		int rc = cs_db_punch(s->db, &punch, p, err);
		if (rc != CS_OK || p->done)
			return rc;
		if (o->progress && o->progress(o->arg, &progress))
			return cs_fail(err, CS_E_INTERRUPTED,
				       "interrupted; what was freed is free");
		let_others_in();
	}
}

/* Pages, also those that the last transaction freed. */
static int give_back(struct cs_store *s, const struct cs_space_opts *o, struct cs_punch *p,
		     struct cs_error *err)
{
	int rc = one_pass(s, o, p, err);
	if (rc != CS_OK || p->late_bytes < WORTH_A_COMMIT || (p->unsupported && !o->cut))
		return rc;
	rc = follow(s, err);
	if (rc == CS_E_FULL)
		return CS_OK;
	return rc == CS_OK ? one_pass(s, o, p, err) : rc;
}

int cs_space_give_back(struct cs_store *s, const struct cs_space_opts *opts,
		       struct cs_space_result *out, struct cs_error *err)
{
	struct cs_punch p = { 0 };
	int rc = give_back(s, opts, &p, err);
	out->given_back += p.given_bytes;
	out->held = p.held_bytes;
	out->unsupported = p.unsupported;
	return rc;
}

/* ---- compact */

#define ROUNDS 8
#define SLACK_MIN 256 /* pages */
#define READERS_WAIT_MS 2000

/* Free pages that may stay between those in use: chasing the last ones moves much for little. */
static uint64_t slack(uint64_t used)
{
	return used / 32 + SLACK_MIN;
}

/* Move what lies behind the floor, in steps. */
static int move_round(struct cs_store *s, const struct cs_space_opts *o, const struct cs_punch *p,
		      bool stir, struct cs_compact_result *r, struct cs_error *err)
{
	const struct cs_move_opts move = {
		.floor = p->used_pages + slack(p->used_pages),
		.limit = p->end_page,
		.stir = stir,
	};
	struct cs_move m = { 0 };
	int rc = CS_OK;
	while (!m.done && rc == CS_OK) {
		const struct cs_progress progress = { .what = o->what,
						      .bytes = r->moved + m.moved_bytes };
		if (o->progress && o->progress(o->arg, &progress))
			rc = cs_fail(err, CS_E_INTERRUPTED, "interrupted; what was done is done");
		if (rc == CS_OK)
			rc = cs_db_move(s->db, &move, &m, err);
		let_others_in();
	}
	r->moved += m.moved_bytes;
	r->unreadable = m.unreadable;
	return rc == CS_OK ? cs_db_gather(s->db, move.floor, err) : rc;
}

/* Cut the file, when the readers that still see what was moved are done. */
static int cut(struct cs_store *s, const struct cs_space_opts *o, struct cs_punch *p,
	       struct cs_error *err)
{
	int rc = give_back(s, o, p, err);
	for (int ms = 0; rc == CS_OK && p->held_bytes && ms < READERS_WAIT_MS; ms += 20) {
		nanosleep(&(struct timespec){ 0, 20000000 }, NULL);
		rc = one_pass(s, o, p, err);
	}
	return rc;
}

static int rounds(struct cs_store *s, const struct cs_space_opts *o, struct cs_punch *p,
		  struct cs_compact_result *r, struct cs_error *err)
{
	bool stir = false;
	int rc = cut(s, o, p, err);
	for (int i = 0; i < ROUNDS && rc == CS_OK; i++) {
		uint64_t end = p->end_page, wanted = p->used_pages + slack(p->used_pages);
		if (end <= wanted)
			break;
		rc = move_round(s, o, p, stir, r, err);
		if (rc == CS_OK)
			rc = cut(s, o, p, err);
		bool helped = p->end_page + (end - wanted) / 16 < end;
		if (stir && !helped)
			break;
		stir = !helped;
	}
	return rc;
}

int cs_compact(struct cs_store *s, const struct cs_compact_opts *opts,
	       struct cs_compact_result *out, struct cs_error *err)
{
	const struct cs_space_opts o = { .cut = true, .progress = opts->progress, .arg = opts->arg,
					 .what = "compact" };
	struct cs_compact_result r = { 0 };
	struct cs_punch p = { 0 };
	struct cs_db_stats before, after;
	if (!s->writable)
		return cs_fail(err, CS_E_READONLY, "store %s is open for reading only", s->path);
	int rc = cs_leases_enter_gc(s->leases, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_db_stats(s->db, &before, err);
	if (rc == CS_OK)
		rc = rounds(s, &o, &p, &r, err);
	cs_leases_leave_gc(s->leases);
	if (rc == CS_OK)
		rc = cs_db_stats(s->db, &after, err);
	if (rc != CS_OK)
		return rc;
	r.file_before = before.file_bytes;
	r.file_after = after.file_bytes;
	r.space.given_back = before.disk_bytes > after.disk_bytes ?
				     before.disk_bytes - after.disk_bytes : 0;
	r.space.held = p.held_bytes;
	r.space.unsupported = p.unsupported;
	*out = r;
	return CS_OK;
}
