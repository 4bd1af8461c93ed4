/* SPDX-License-Identifier: MIT */
/*
 * space.c - the steps of giving space back (why it is safe: db_space.c).
 *
 * Pages that the last transaction freed are still needed by the one before it,
 * until another is committed. gc ends with a transaction that freed much, so
 * one that changes nothing follows, and a second look takes those as well.
 * A full disk may refuse that transaction; then the next gc takes them.
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

int cs_space_give_back(struct cs_store *s, const struct cs_space_opts *opts,
		       struct cs_space_result *out, struct cs_error *err)
{
	struct cs_punch p = { 0 };
	int rc = one_pass(s, opts, &p, err);
	if (rc == CS_OK && p.late_bytes >= WORTH_A_COMMIT && (!p.unsupported || opts->cut)) {
		rc = follow(s, err);
		rc = rc == CS_E_FULL ? CS_OK : rc == CS_OK ? one_pass(s, opts, &p, err) : rc;
	}
	out->given_back += p.given_bytes;
	out->held = p.held_bytes;
	out->unsupported = p.unsupported;
	return rc;
}
