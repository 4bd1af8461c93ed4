/* SPDX-License-Identifier: MIT */
/*
 * hold.c - using points.
 *
 * Who holds a point can read all of it, whatever happens to it meanwhile:
 * forget takes it out of the catalog only, and gc keeps the record of a held
 * point and everything that the record leads to.
 *
 * The lock comes first and the look afterwards, in a new transaction. gc locks
 * against this one while it removes a record, until that is committed: so the
 * record that is found stays.
 */
#include "browse.h"

static int not_listed(struct cs_txn *t, const struct cs_point_record *r, struct cs_error *err)
{
	int rc = cs_point_lost(t, r, err);
	return rc ? rc : cs_fail(err, CS_E_NOTFOUND, "no point has number %llu",
				 (unsigned long long)r->seq);
}

static int is_there(struct cs_store *s, uint64_t seq, bool listed, struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_point_record r = { 0 };
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_points_get(t, seq, &r, err);
	if (rc == CS_OK && listed && (rc = cs_points_listed(t, &r, err)) >= 0)
		rc = rc ? CS_OK : not_listed(t, &r, err);
	cs_point_record_release(&r);
	cs_txn_end(t);
	return rc;
}

int cs_point_hold_kept(struct cs_store *s, uint64_t seq, bool listed, struct cs_error *err)
{
	int rc = cs_leases_hold_point(s->leases, seq, err);
	if (rc != 0)
		return rc < 0 ? rc : CS_OK;
	rc = is_there(s, seq, listed, err);
	if (rc == CS_OK)
		cs_leases_confirm_point(s->leases, seq);
	else
		cs_leases_drop_point(s->leases, seq);
	return rc;
}

int cs_point_hold(struct cs_store *s, uint64_t seq, struct cs_error *err)
{
	return cs_point_hold_kept(s, seq, true, err);
}

void cs_point_drop(struct cs_store *s, uint64_t seq)
{
	cs_leases_drop_point(s->leases, seq);
}

int cs_store_users(struct cs_store *s, cs_user_fn *fn, void *arg, uint64_t *hidden,
		   struct cs_error *err)
{
	return cs_leases_users(s->leases, fn, arg, hidden, err);
}
