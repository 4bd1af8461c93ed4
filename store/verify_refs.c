/* SPDX-License-Identifier: MIT */
/*
 * verify_refs.c - where a reference leads.
 *
 * A tree refers to a bundle's chunks one after the other, so the tables of the last
 * bundles are kept unpacked: looking a chunk up in a stored table means to step over
 * all slots before it, which made small files cost twenty microseconds each.
 */
#include "verify_impl.h"

#include "alloc.h"
#include "cleanup.h"

#include <stdlib.h>
#include <string.h>

#define MOVES_MAX 8 /* times that gc moves a chunk while it is looked for */

static void forget_table(struct cs_verify_table *t)
{
	free(t->slots);
	memset(t, 0, sizeof(*t));
}

void cs_verify_tables_release(struct cs_verify_run *v)
{
	for (int i = 0; i < CS_VERIFY_TABLES; i++)
		forget_table(&v->tables[i]);
}

/* False: no memory. A table that is damaged is kept as such. */
static bool unpack(struct cs_slice s, struct cs_verify_table *out)
{
	struct cs_bundle_header h;
	uint32_t frames;
	if (cs_bundle_header_unpack(s.data, s.len, &h) != CS_OK ||
	    cs_bundle_load_table(s, &h, NULL) != CS_OK)
		return true;
	CS_FREE struct cs_slot *slots = cs_alloc((h.nslots + 1u) * sizeof(*slots));
	out->slots = cs_alloc((h.nslots + 1u) * sizeof(*out->slots));
	if (!slots || !out->slots)
		return false;
	if (cs_slots_unpack(s.data, s.len, &h, slots, &frames) != CS_OK)
		return true;
	for (uint32_t i = 0; i < h.nslots; i++)
		out->slots[i] = (struct cs_verify_slot){ slots[i].hash, slots[i].base, slots[i].len };
	out->kind = h.kind;
	out->nslots = h.nslots;
	out->sound = true;
	return true;
}

const struct cs_verify_table *cs_verify_table(struct cs_verify_run *v, uint64_t number)
{
	struct cs_verify_table *at = &v->tables[number % CS_VERIFY_TABLES];
	struct cs_txn *t;
	struct cs_slice s;
	if (at->number == number)
		return at;
	forget_table(at);
	if (cs_txn_read(v->store->db, &t, NULL) != CS_OK)
		return NULL;
	int rc = cs_bundles_get(t, number, &s, NULL);
	if (rc == 1) {
		at->number = number;
		if (!unpack(s, at)) {
			cs_verify_no_memory(v);
			forget_table(at);
			rc = 0;
		}
		cs_db_unload(t, s);
	} else if (rc < 0) { /* the row cannot be read: damaged, not absent */
		at->number = number;
	}
	cs_txn_end(t);
	return rc ? at : NULL;
}

/* ---- what is known against chunks */

void cs_verify_flaw(struct cs_verify_run *v, cs_chunk from, cs_chunk to, struct cs_found *why)
{
	if (!why)
		return;
	pthread_mutex_lock(&v->lock);
	int rc = cs_grow(&v->flaws, &v->flaws_cap, v->nflaws + 1, sizeof(*v->flaws));
	if (rc == CS_OK)
		v->flaws[v->nflaws++] = (struct cs_flaw){ from, to, why };
	pthread_mutex_unlock(&v->lock);
	if (rc != CS_OK)
		cs_verify_no_memory(v);
}

static int by_chunk(const void *a, const void *b)
{
	const struct cs_flaw *x = a, *y = b;
	if (x->from != y->from)
		return x->from < y->from ? -1 : 1;
	return (x->to < y->to) - (x->to > y->to);
}

void cs_verify_flaws_sort(struct cs_verify_run *v)
{
	size_t n = 0;
	if (v->nflaws)
		qsort(v->flaws, v->nflaws, sizeof(*v->flaws), by_chunk);
	for (size_t i = 0; i < v->nflaws; i++)
		if (n == 0 || v->flaws[i].from > v->flaws[n - 1].to)
			v->flaws[n++] = v->flaws[i];
	v->nflaws = n;
}

/* Why a chunk cannot be had, for all that was found so far; NULL: nothing known against it. */
static struct cs_found *flaw_of(const struct cs_verify_run *v, cs_chunk chunk)
{
	size_t lo = 0, hi = v->nflaws;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		if (v->flaws[mid].to < chunk)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo < v->nflaws && v->flaws[lo].from <= chunk ? v->flaws[lo].why : NULL;
}

/* ---- references */

/* The slot of a chunk at this very number. */
static const struct cs_verify_slot *slot_at(struct cs_verify_run *v, cs_chunk chunk, int *kind,
					    struct cs_found **why)
{
	uint64_t number = cs_chunk_bundle(chunk);
	const struct cs_verify_table *t = cs_verify_table(v, number);
	*why = flaw_of(v, chunk);
	if (*why)
		return NULL;
	if (!t)
		*why = cs_verify_found(v, CS_FOUND_CHUNK_MISSING, number,
				       "bundle %llu is not in the store",
				       (unsigned long long)number);
	else if (!t->sound)
		*why = cs_verify_found(v, CS_FOUND_BUNDLE_DAMAGED, number,
				       "bundle %llu: its header or its table is damaged",
				       (unsigned long long)number);
	else if (cs_chunk_slot(chunk) >= t->nslots)
		*why = cs_verify_found(v, CS_FOUND_REFERENCE_WRONG, chunk,
				       "bundle %llu has no slot %u", (unsigned long long)number,
				       cs_chunk_slot(chunk));
	if (!t || !t->sound || cs_chunk_slot(chunk) >= t->nslots)
		return NULL;
	*kind = t->kind;
	return &t->slots[cs_chunk_slot(chunk)];
}

/* There and nothing known against it: what is the case for all but a few. */
static const struct cs_verify_slot *quickly(struct cs_verify_run *v, cs_chunk chunk, int *kind)
{
	const struct cs_verify_table *t = cs_verify_table(v, cs_chunk_bundle(chunk));
	if (!t || !t->sound || cs_chunk_slot(chunk) >= t->nslots || flaw_of(v, chunk))
		return NULL;
	*kind = t->kind;
	return &t->slots[cs_chunk_slot(chunk)];
}

/* The slot of a chunk, wherever it is today: gc may have moved it, or it was stored anew. */
static const struct cs_verify_slot *resolve(struct cs_verify_run *v, cs_chunk chunk, int *kind,
					    struct cs_found **why)
{
	const struct cs_verify_slot *s = quickly(v, chunk, kind);
	cs_chunk at = chunk;
	for (int i = 0; i < MOVES_MAX && !s; i++) {
		struct cs_txn *t;
		cs_chunk before = at;
		if (cs_txn_read(v->store->db, &t, NULL) != CS_OK)
			break;
		int rc = cs_chunk_moved(t, chunk, &at, NULL);
		cs_txn_end(t);
		if (rc != 1 || at == before)
			break;
		s = quickly(v, at, kind);
	}
	return s ? s : slot_at(v, at, kind, why);
}

/* A delta's base is of its kind, and no delta. */
static bool base_is_good(struct cs_verify_run *v, cs_chunk chunk, cs_chunk base, int kind,
			 struct cs_found **why)
{
	int base_kind = 0;
	const struct cs_verify_slot *s = resolve(v, base, &base_kind, why);
	if (!s)
		return false;
	if (!s->base && base_kind == kind)
		return true;
	*why = cs_verify_found(v, CS_FOUND_REFERENCE_WRONG, chunk,
			       "bundle %llu slot %u is a delta, and what it builds on is no base",
			       (unsigned long long)cs_chunk_bundle(chunk), cs_chunk_slot(chunk));
	return false;
}

/* A delta whose base is damaged, but which is there as a chunk of its own, too. */
static bool was_stored_again(struct cs_verify_run *v, cs_chunk chunk, int kind, uint32_t len)
{
	struct cs_txn *t;
	cs_chunk at = chunk;
	int found = 0;
	if (cs_txn_read(v->store->db, &t, NULL) != CS_OK)
		return false;
	int rc = cs_chunk_moved(t, chunk, &at, NULL);
	cs_txn_end(t);
	const struct cs_verify_slot *s = rc == 1 ? quickly(v, at, &found) : NULL;
	return s && !s->base && found == kind && s->len == len;
}

bool cs_verify_ref(struct cs_verify_run *v, cs_chunk chunk, int kind, uint64_t len,
		   struct cs_hash *hash, struct cs_found **why)
{
	int found = 0;
	const struct cs_verify_slot *s = resolve(v, chunk, &found, why);
	if (!s)
		return false;
	struct cs_verify_slot slot = *s; /* looking for the base may drop the table */
	if (hash)
		*hash = slot.hash;
	if (found != kind || (len != CS_ANY_LENGTH && slot.len != len)) {
		*why = cs_verify_found(v, CS_FOUND_REFERENCE_WRONG, chunk,
				       "what refers to bundle %llu slot %u means another chunk",
				       (unsigned long long)cs_chunk_bundle(chunk),
				       cs_chunk_slot(chunk));
		return false;
	}
	return !slot.base || base_is_good(v, chunk, slot.base, kind, why) ||
	       was_stored_again(v, chunk, kind, slot.len);
}
