/* SPDX-License-Identifier: MIT */
/*
 * db_order.c - how the rows of a table are ordered, and a search that does not end.
 *
 * LMDB looks for a key in a page by halves, and how many keys there are is what the page
 * says. A damaged one may say two thousand million: the sum of two places is negative then,
 * the search goes in circles, and as long as what it meets there can be read, no fault ends
 * it. So LMDB is told to compare by functions that count, and far more than
 * finding one row takes, in one guarded call, is a bad page. They order as LMDB's own do.
 */
#include "db_impl.h"

#define COMPARED_MAX (1u << 16) /* a row takes hundreds; less than a millisecond */

_Thread_local unsigned cs_db_compared;

int cs_db_by_bytes(const MDB_val *a, const MDB_val *b)
{
	size_t n = a->mv_size < b->mv_size ? a->mv_size : b->mv_size;
	int d = memcmp(a->mv_data, b->mv_data, n);
	return d ? d : (a->mv_size > b->mv_size) - (a->mv_size < b->mv_size);
}

int cs_db_by_number(const MDB_val *a, const MDB_val *b)
{
	uint64_t x, y;
	if (a->mv_size != sizeof(x) || b->mv_size != sizeof(y))
		return 1; /* what is no number is like none, and not in order */
	memcpy(&x, a->mv_data, sizeof(x));
	memcpy(&y, b->mv_data, sizeof(y));
	return (x > y) - (x < y);
}

static void count(void)
{
	if (++cs_db_compared > COMPARED_MAX && cs_db_guard)
		siglongjmp(*cs_db_guard, CS_MET_PAGE);
}

static int by_bytes(const MDB_val *a, const MDB_val *b)
{
	count();
	return cs_db_by_bytes(a, b);
}

static int by_number(const MDB_val *a, const MDB_val *b)
{
	count();
	return cs_db_by_number(a, b);
}

int cs_db_set_order(MDB_txn *txn, MDB_dbi dbi, unsigned flags)
{
	int rc = mdb_set_compare(txn, dbi, flags & MDB_INTEGERKEY ? by_number : by_bytes);
	if (rc == 0 && flags & MDB_DUPSORT)
		rc = mdb_set_dupsort(txn, dbi, by_bytes);
	return rc;
}
