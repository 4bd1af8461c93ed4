/* SPDX-License-Identifier: MIT */
#include "dedup.h"

#include "fault.h"
#include "index.h"
#include "reader.h"

#include <string.h>

/* The next candidate for a hash, safe from gc: 1, 0 or negative. */
static int next_candidate(struct cs_store *s, const struct cs_hash *h, cs_chunk *at,
			  struct cs_error *err)
{
	cs_chunk after = *at;
	for (;;) {
		struct cs_txn *t;
		int rc = cs_txn_read(s->db, &t, err);
		if (rc != CS_OK)
			return rc;
		rc = cs_index_next(t, h, after, at, err);
		cs_txn_end(t);
		if (rc != 1)
			return rc;
		cs_fault("dedup: found, not pinned");
		rc = cs_leases_pin(s->leases, cs_chunk_bundle(*at), err);
		if (rc == CS_E_BUSY) {
			after = *at; /* not worth waiting for: another one, or a new chunk */
			continue;
		}
		if (rc == 1)
			cs_fault("dedup: pinned");
		if (rc != 0)
			return rc;
		/* pinned just now: gc may have been there first, so look again */
	}
}

/* Pin the bundle where a chunk lies. 1: *chunk is its number there, today; 0: not to be had. */
static int pin_in_place(struct cs_store *s, cs_chunk *chunk, struct cs_error *err)
{
	for (int moves = 0; moves < 3; moves++) {
		struct cs_txn *t;
		struct cs_slice v;
		int rc = cs_leases_pin(s->leases, cs_chunk_bundle(*chunk), err);
		if (rc < 0)
			return rc == CS_E_BUSY ? 0 : rc;
		cs_fault("delta: base pinned");
		rc = cs_txn_read(s->db, &t, err);
		if (rc != CS_OK)
			return rc;
		/* what has a row there is to be found where that leads, its old bundle or not */
		rc = cs_chunk_moved(t, *chunk, chunk, err);
		bool there = rc == 0;
		if (rc == 0)
			rc = cs_bundles_get(t, cs_chunk_bundle(*chunk), &v, err);
		cs_txn_end(t);
		if (there || rc <= 0)
			return rc;
	}
	return 0;
}

/* A delta that was found: is its base safe, under the number that the delta has for it? */
static int base_is_safe(struct cs_store *s, cs_chunk chunk, struct cs_error *err)
{
	cs_chunk base, at;
	if (cs_reader_base(s, chunk, &base, NULL) != CS_OK)
		return 0;
	if (!base)
		return 1;
	at = base;
	int rc = pin_in_place(s, &at, err);
	return rc == 1 ? at == base : rc;
}

int cs_dedup_find(struct cs_store *s, int kind, const struct cs_hash *h, const uint8_t *data,
		  size_t len, cs_chunk *out, struct cs_error *err)
{
	cs_chunk at = 0;
	*out = 0;
	for (;;) {
		int rc = next_candidate(s, h, &at, err);
		if (rc != 1)
			return rc;
		struct cs_bundle *b;
		uint32_t slot;
		void *held;
		/* a damaged candidate is no candidate: the chunk is stored again */
		rc = cs_reader_find(s, at, &held, &b, &slot, NULL);
		if (rc == CS_E_NOMEM)
			return cs_fail(err, rc, "out of memory");
		if (rc != CS_OK)
			continue;
		const struct cs_slot *found = &b->slots[slot];
		bool same = b->kind == kind && found->len == len &&
			    memcmp(b->raw + found->off, data, len) == 0;
		cs_cache_release(held);
		rc = same ? base_is_safe(s, at, err) : 0;
		if (rc == 1)
			*out = at;
		if (rc != 0)
			return rc < 0 ? rc : CS_OK;
	}
}

int cs_dedup_base(struct cs_store *s, cs_chunk like, cs_chunk *out, struct cs_error *err)
{
	cs_chunk base, again;
	*out = 0;
	if (cs_reader_base(s, like, &base, NULL) != CS_OK)
		return CS_OK;
	if (!base)
		base = like;
	int rc = pin_in_place(s, &base, err);
	if (rc == 1 && cs_reader_base(s, base, &again, NULL) == CS_OK && !again)
		*out = base;
	return rc < 0 ? rc : CS_OK;
}
