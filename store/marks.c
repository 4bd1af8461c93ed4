/* SPDX-License-Identifier: MIT */
#include "marks.h"

#include "alloc.h"
#include "reach.h"

#include <stdlib.h>
#include <string.h>

#define STEP 1000 /* rows a read transaction */

void cs_marks_release(struct cs_marks *m)
{
	free(m->bundles);
	free(m->moved);
	free(m->bits);
	memset(m, 0, sizeof(*m));
}

static int add_bundle(struct cs_marks *m, uint64_t number, struct cs_slice v,
		      struct cs_error *err)
{
	struct cs_bundle_header h;
	if (cs_bundle_header_unpack(v.data, v.len, &h) != CS_OK)
		return cs_fail(err, CS_E_CORRUPT, "bundle %llu is damaged; run verify",
			       (unsigned long long)number);
	if (cs_grow(&m->bundles, &m->bundles_cap, m->nbundles + 1, sizeof(*m->bundles)) != CS_OK)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	m->bundles[m->nbundles++] = (struct cs_mark_bundle){ number, m->nbits, h.nslots };
	m->nbits += h.nslots;
	return CS_OK;
}

static int list_bundles(struct cs_marks *m, struct cs_store *s, struct cs_error *err)
{
	uint64_t from = 0, number;
	int rc = 1; /* 1: there may be more */
	while (rc == 1) {
		struct cs_txn *t;
		struct cs_slice v;
		rc = cs_txn_read(s->db, &t, err);
		if (rc != CS_OK)
			return rc;
		for (int i = 0; i < STEP; i++) {
			rc = cs_bundles_next(t, from, &number, &v, err);
			if (rc != 1)
				break;
			from = number + 1;
			rc = add_bundle(m, number, v, err);
			if (rc != CS_OK)
				break;
			rc = 1;
		}
		cs_txn_end(t);
	}
	return rc;
}

static int list_moved(struct cs_marks *m, struct cs_store *s, struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_cursor *c = NULL;
	struct cs_slice key = { 0 }, v;
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_open(t, CS_T_MOVED, &c, err);
	if (rc == CS_OK)
		rc = cs_cursor_move(c, CS_SEEK_FIRST, &key, &v, err);
	while (rc == 1) {
		struct cs_mark_moved row = { 0 };
		if (cs_moved_unpack(key, v, &row.from, &row.to) != CS_OK)
			rc = cs_fail(err, CS_E_CORRUPT, "the table of moved chunks is damaged");
		else if (cs_grow(&m->moved, &m->moved_cap, m->nmoved + 1, sizeof(row)) != CS_OK)
			rc = cs_fail(err, CS_E_NOMEM, "out of memory");
		else {
			m->moved[m->nmoved++] = row;
			rc = cs_cursor_move(c, CS_SEEK_NEXT, &key, &v, err);
		}
	}
	cs_cursor_close(c);
	cs_txn_end(t);
	return rc;
}

int cs_marks_init(struct cs_marks *m, struct cs_store *s, struct cs_error *err)
{
	memset(m, 0, sizeof(*m));
	int rc = list_bundles(m, s, err);
	if (rc == CS_OK)
		rc = list_moved(m, s, err);
	if (rc == CS_OK && !(m->bits = cs_zalloc(m->nbits / 8 + 1)))
		rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	return rc;
}

static const struct cs_mark_bundle *find_bundle(const struct cs_marks *m, uint64_t number)
{
	size_t lo = 0, hi = m->nbundles;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (m->bundles[mid].number < number)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->nbundles && m->bundles[lo].number == number ? &m->bundles[lo] : NULL;
}

static struct cs_mark_moved *find_moved(struct cs_marks *m, cs_chunk from)
{
	size_t lo = 0, hi = m->nmoved;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (m->moved[mid].from < from)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < m->nmoved && m->moved[lo].from == from ? &m->moved[lo] : NULL;
}

int cs_marks_set(struct cs_marks *m, cs_chunk chunk)
{
	const struct cs_mark_bundle *b = find_bundle(m, cs_chunk_bundle(chunk));
	if (!b) {
		struct cs_mark_moved *row = find_moved(m, chunk);
		if (!row)
			return 0;
		row->used = true;
		chunk = row->to;
		b = find_bundle(m, cs_chunk_bundle(chunk));
	}
	if (!b || cs_chunk_slot(chunk) >= b->nslots)
		return 0;
	uint64_t bit = b->first + cs_chunk_slot(chunk);
	if (m->bits[bit / 8] >> (bit % 8) & 1)
		return 0;
	m->bits[bit / 8] |= (uint8_t)(1 << (bit % 8));
	m->nset++;
	return 1;
}

bool cs_marks_get(const struct cs_marks *m, const struct cs_mark_bundle *b, uint32_t slot)
{
	uint64_t bit = b->first + slot;
	return m->bits[bit / 8] >> (bit % 8) & 1;
}

/*
 * A page whose chunk is missing would look like one seen before, and what lies
 * below it would be taken for dead: a missing page stops the marking.
 */
static int mark(void *arg, cs_chunk chunk, enum cs_reach_kind kind, struct cs_error *err)
{
	struct cs_marks *m = arg;
	int fresh = cs_marks_set(m, chunk);
	if (fresh || kind == CS_REACH_DATA)
		return fresh;
	const struct cs_mark_bundle *b = find_bundle(m, cs_chunk_bundle(chunk));
	if (!b) {
		const struct cs_mark_moved *row = find_moved(m, chunk);
		b = row ? find_bundle(m, cs_chunk_bundle(row->to)) : NULL;
		chunk = row ? row->to : chunk;
	}
	if (!b || cs_chunk_slot(chunk) >= b->nslots)
		return cs_fail(err, CS_E_CORRUPT, "chunk %llx is missing",
			       (unsigned long long)chunk);
	return 0;
}

int cs_marks_all_points(struct cs_marks *m, struct cs_store *s, struct cs_error *err)
{
	uint64_t from = 0;
	for (;;) {
		struct cs_txn *t;
		struct cs_point_record r;
		int rc = cs_txn_read(s->db, &t, err);
		if (rc != CS_OK)
			return rc;
		rc = cs_points_next(t, from, &r, err);
		cs_txn_end(t);
		if (rc != 1)
			return rc;
		from = r.seq + 1;
		struct cs_error why = { 0 };
		rc = cs_reach_point(s, &r, mark, m, &why);
		if (rc != CS_OK)
			rc = cs_fail(err, rc,
				     "point %s (number %llu) cannot be read: %.500s; nothing was "
				     "freed (forget the point, or see verify)",
				     r.name, (unsigned long long)r.seq, why.text);
		cs_point_record_release(&r);
		if (rc != CS_OK)
			return rc;
	}
}
