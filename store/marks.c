/* SPDX-License-Identifier: MIT */
#include "marks.h"

#include "alloc.h"
#include "reach.h"
#include "search.h"

#include <stdlib.h>
#include <string.h>

void cs_marks_release(struct cs_marks *m)
{
	free(m->bundles);
	free(m->moved);
	free(m->bits);
	memset(m, 0, sizeof(*m));
}

static int add_bundle(void *arg, struct cs_txn *t, uint64_t number, struct cs_slice v,
		      struct cs_error *err)
{
	struct cs_marks *m = arg;
	struct cs_bundle_header h;
	(void)t;
	if (cs_bundle_header_unpack(v.data, v.len, &h) != CS_OK)
		h = (struct cs_bundle_header){ 0 }; /* it can be freed when nothing needs it any more */
	if (cs_grow(&m->bundles, &m->bundles_cap, m->nbundles + 1, sizeof(*m->bundles)) != CS_OK)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	m->bundles[m->nbundles++] =
		(struct cs_mark_bundle){ number, m->nbytes, h.nslots, !m->listed,
					 h.flags & CS_BUNDLE_DELTAS, false };
	m->nbytes += (h.nslots + 7) / 8;
	return CS_OK;
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

/* What was known of bundles and rows that are still there. */
static void carry_over(struct cs_marks *m, const struct cs_marks *old)
{
	for (size_t i = 0, j = 0; i < m->nbundles; i++) {
		struct cs_mark_bundle *b = &m->bundles[i];
		while (j < old->nbundles && old->bundles[j].number < b->number)
			j++;
		const struct cs_mark_bundle *o = j < old->nbundles ? &old->bundles[j] : NULL;
		if (!o || o->number != b->number || o->nslots != b->nslots)
			continue;
		b->old = o->old;
		b->needed = o->needed;
		memcpy(m->bits + b->first, old->bits + o->first, (b->nslots + 7) / 8);
	}
	for (size_t i = 0, j = 0; i < m->nmoved; i++) {
		while (j < old->nmoved && old->moved[j].from < m->moved[i].from)
			j++;
		if (j < old->nmoved && old->moved[j].from == m->moved[i].from)
			m->moved[i].used = old->moved[j].used;
	}
}

/* List everything anew. The lists of before are read as they are and then given up. */
static int list(struct cs_marks *m, struct cs_store *s, struct cs_error *err)
{
	struct cs_marks now = { .listed = m->listed, .skip = m->skip, .tick = m->tick,
				.arg = m->arg, .points_end = m->points_end };
	int rc = cs_bundles_walk(s->db, add_bundle, &now, err);
	if (rc == CS_OK)
		rc = list_moved(&now, s, err);
	if (rc == CS_OK && !(now.bits = cs_zalloc(now.nbytes + 1)))
		rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	if (rc != CS_OK) {
		cs_marks_release(&now);
		return rc;
	}
	carry_over(&now, m);
	cs_marks_release(m);
	*m = now;
	m->listed = true;
	for (size_t i = 0; i < m->nbundles; i++)
		m->nset += cs_marks_live(m, &m->bundles[i]);
	return CS_OK;
}

size_t cs_marks_at(const struct cs_marks *m, uint64_t from)
{
	return cs_search(m->bundles, m->nbundles, sizeof(*m->bundles),
			 offsetof(struct cs_mark_bundle, number), from);
}

static struct cs_mark_bundle *find_bundle(const struct cs_marks *m, uint64_t number)
{
	size_t i = cs_marks_at(m, number);
	return i < m->nbundles && m->bundles[i].number == number ? &m->bundles[i] : NULL;
}

static struct cs_mark_moved *find_moved(struct cs_marks *m, cs_chunk from)
{
	size_t i = cs_search(m->moved, m->nmoved, sizeof(*m->moved),
			     offsetof(struct cs_mark_moved, from), from);
	return i < m->nmoved && m->moved[i].from == from ? &m->moved[i] : NULL;
}

/*
 * The bundle where a chunk is to be found, and *chunk its number there: where the
 * moved table says, if it is there. That also holds for one whose old bundle is
 * still there: that is damaged, and what was stored again is not needed of it.
 */
static struct cs_mark_bundle *resolve(struct cs_marks *m, cs_chunk *chunk)
{
	struct cs_mark_moved *row = m->nmoved ? find_moved(m, *chunk) : NULL;
	struct cs_mark_bundle *here = find_bundle(m, cs_chunk_bundle(*chunk)), *there = NULL;
	if (row)
		there = find_bundle(m, cs_chunk_bundle(row->to));
	if (!row || (here && (!there || cs_chunk_slot(row->to) >= there->nslots)))
		return here;
	row->used = true;
	*chunk = row->to;
	return there;
}

/* Mark a chunk by the number it is referred to by. 1: it was not marked; 0: it was, or is missing. */
static int set(struct cs_marks *m, cs_chunk chunk)
{
	struct cs_mark_bundle *b = resolve(m, &chunk);
	if (b && b->nslots == 0)
		b->needed = true;
	if (!b || cs_chunk_slot(chunk) >= b->nslots)
		return 0;
	uint8_t *byte = &m->bits[b->first + cs_chunk_slot(chunk) / 8];
	uint8_t bit = (uint8_t)(1 << (cs_chunk_slot(chunk) % 8));
	if (*byte & bit)
		return 0;
	*byte |= bit;
	m->nset++;
	return 1;
}

bool cs_marks_get(const struct cs_marks *m, const struct cs_mark_bundle *b, uint32_t slot)
{
	return m->bits[b->first + slot / 8] >> (slot % 8) & 1;
}

uint32_t cs_marks_live(const struct cs_marks *m, const struct cs_mark_bundle *b)
{
	uint32_t n = 0;
	for (uint32_t i = 0; i < (b->nslots + 7) / 8; i++)
		n += (uint32_t)__builtin_popcount(m->bits[b->first + i]);
	return n;
}

/*
 * A page whose chunk is missing would look like one seen before, and what lies
 * below it would be taken for dead: a missing page stops the marking.
 */
static int mark(void *arg, cs_chunk chunk, enum cs_reach_kind kind, struct cs_error *err)
{
	struct cs_marks *m = arg;
	int fresh = set(m, chunk);
	/* what is forged may take as long as it likes: each page a bundle to decode */
	if (fresh && kind != CS_REACH_DATA && m->tick && m->tick(m->arg, err) != CS_OK)
		return CS_E_INTERRUPTED;
	if (fresh || kind == CS_REACH_DATA)
		return fresh;
	const struct cs_mark_bundle *b = resolve(m, &chunk);
	if (!b || cs_chunk_slot(chunk) >= b->nslots)
		return cs_fail(err, CS_E_CORRUPT, "chunk %llx is missing",
			       (unsigned long long)chunk);
	return 0;
}

static int mark_point(struct cs_marks *m, struct cs_store *s, const struct cs_point_record *r,
		      struct cs_error *err)
{
	struct cs_error why = { 0 };
	if (m->skip && m->skip(m->arg, r))
		return CS_OK;
	int rc = cs_reach_point(s, r, mark, m, &why);
	if (rc == CS_E_INTERRUPTED)
		return cs_fail(err, rc, "%s", why.text);
	if (rc != CS_OK)
		rc = cs_fail(err, rc,
			     "point %s cannot be read: %.500s; nothing more was freed ('chunkstore "
			     "verify' shows the damage; 'chunkstore forget --purge number:%llu' "
			     "gives the point up)",
			     r->name, why.text, (unsigned long long)r->seq);
	return rc;
}

static int mark_points(struct cs_marks *m, struct cs_store *s, uint64_t from, uint64_t end,
		       struct cs_error *err)
{
	while (from < end) {
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
		rc = r.seq < end ? mark_point(m, s, &r, err) : CS_OK;
		cs_point_record_release(&r);
		if (rc != CS_OK)
			return rc;
	}
	return CS_OK;
}

/* The bases of a bundle's marked deltas. One that is gone already is gone: not for gc to say. */
static int mark_bases_of(struct cs_marks *m, struct cs_txn *t, const struct cs_mark_bundle *b,
			 struct cs_error *err)
{
	struct cs_slice v;
	struct cs_bundle_header h;
	struct cs_slot *slots = NULL;
	uint32_t frames;
	int rc = cs_bundles_get(t, b->number, &v, err);
	if (rc <= 0) /* another gc's work is over; nobody else removes one */
		return rc;
	int bad = cs_bundle_header_unpack(v.data, v.len, &h);
	if (bad == CS_OK && h.nslots != b->nslots)
		bad = CS_E_CORRUPT;
	rc = bad == CS_OK ? cs_bundle_load_table(v, &h, err) : CS_OK;
	if (rc != CS_OK)
		return rc;
	if (bad == CS_OK && !(slots = cs_alloc((b->nslots + 1u) * sizeof(*slots))))
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	if (bad == CS_OK)
		bad = cs_slots_unpack(v.data, v.len, &h, slots, &frames);
	cs_db_unload(t, v);
	for (uint32_t i = 0; bad == CS_OK && i < b->nslots; i++)
		if (slots[i].base && cs_marks_get(m, b, i))
			set(m, slots[i].base);
	free(slots);
	if (bad != CS_OK)
		return cs_fail(err, CS_E_CORRUPT, "bundle %llu is damaged; run verify",
			       (unsigned long long)b->number);
	return CS_OK;
}

/* Once all points are marked: a base is never a delta, so there is nothing to follow further. */
static int mark_bases(struct cs_marks *m, struct cs_store *s, struct cs_error *err)
{
	int rc = CS_OK;
	for (size_t i = 0; i < m->nbundles && rc == CS_OK; i++) {
		struct cs_txn *t;
		const struct cs_mark_bundle *b = &m->bundles[i];
		if (!b->deltas || cs_marks_live(m, b) == 0)
			continue;
		rc = cs_txn_read(s->db, &t, err);
		if (rc != CS_OK)
			break;
		rc = mark_bases_of(m, t, b, err);
		cs_txn_end(t);
	}
	return rc;
}

int cs_marks_update(struct cs_marks *m, struct cs_store *s, struct cs_error *err)
{
	struct cs_txn *t;
	uint64_t end;
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_db_counter_get(t, CS_META_NEXT_POINT, &end, err);
	cs_txn_end(t);
	if (rc != CS_OK || (m->listed && end == m->points_end))
		return rc;
	/* bundles after the number of points: those of the points are among them */
	rc = list(m, s, err);
	if (rc == CS_OK)
		rc = mark_points(m, s, m->points_end, end, err);
	if (rc == CS_OK)
		rc = mark_bases(m, s, err);
	if (rc != CS_OK)
		return rc;
	m->points_end = end;
	return 1;
}
