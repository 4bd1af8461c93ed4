/* SPDX-License-Identifier: MIT */
/*
 * gc_survivors.c - what gc moves is collected into bundles, as a backup collects what is new.
 *
 * Decision: a bundle says how hard it was compressed, and what was in it is compressed
 * again as hard, no less (the room was paid for with time) and no more. So a new bundle
 * has survivors of one kind and one level. Deltas are copied as they are.
 */
#include "gc_survivors.h"

#include "alloc.h"

#include <stdlib.h>
#include <string.h>

static void drop_ready(struct cs_survivors *s)
{
	while (s->nready)
		free((void *)(uintptr_t)s->ready[--s->nready].data);
	s->ready_bytes = 0;
}

static int put_ready(struct cs_survivors *s, struct cs_error *err)
{
	int rc = s->txn ? cs_bundles_put(s->txn, s->ready, s->nready, err) : CS_OK;
	drop_ready(s);
	return rc;
}

static int have_compressor(struct cs_survivors *s, struct cs_error *err)
{
	if (!s->compressor && !(s->compressor = cs_compressor_new(s->level)))
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	cs_compressor_set(s->compressor, s->level);
	return CS_OK;
}

/* The open bundle is complete. */
static int close_bundle(struct cs_survivors *s, struct cs_error *err)
{
	uint8_t *out;
	size_t len;
	if (s->nslots == 0)
		return CS_OK;
	int rc = have_compressor(s, err);
	if (rc != CS_OK)
		return rc;
	for (uint32_t i = 0; i < s->nslots; i++)
		s->items[i].data = s->raw + s->items[i].slot.off;
	rc = cs_bundle_encode(s->compressor, s->store->header.incompat, s->number, s->kind, s->items,
			      s->nslots, &out, &len);
	if (rc != CS_OK)
		return cs_fail(err, rc, "out of memory");
	s->ready[s->nready++] = (struct cs_bundle_stored){ s->number++, out, len };
	s->ready_bytes += len;
	s->stored += len;
	s->used = 0;
	s->nslots = 0;
	return s->number % CS_BUNDLE_RUN && s->ready_bytes < CS_PACK_TARGET ? CS_OK :
									      put_ready(s, err);
}

int cs_survivors_flush(struct cs_survivors *s, struct cs_error *err)
{
	int rc = close_bundle(s, err);
	s->number = 0;
	return rc == CS_OK ? put_ready(s, err) : rc;
}

void cs_survivors_drop(struct cs_survivors *s)
{
	drop_ready(s);
	s->used = 0;
	s->nslots = 0;
	s->number = 0;
}

void cs_survivors_release(struct cs_survivors *s)
{
	cs_survivors_drop(s);
	cs_compressor_free(s->compressor);
	free(s->raw);
	free(s->items);
}

/* Room in the open bundle for a chunk of `from`; it may have to be another one. */
static int make_room(struct cs_survivors *s, const struct cs_bundle *from, size_t len,
		     struct cs_error *err)
{
	size_t target = from->kind == CS_BUNDLE_META ? CS_BUNDLE_META_TARGET :
						       CS_BUNDLE_DATA_TARGET;
	int rc = CS_OK;
	if (s->nslots && (s->kind != from->kind || s->level != from->level ||
			  s->used + len > target || s->nslots >= CS_SLOTS_MAX))
		rc = close_bundle(s, err);
	if (rc == CS_OK && s->nslots == 0) {
		if (s->txn && s->number % CS_BUNDLE_RUN == 0)
			rc = cs_bundles_reserve(s->txn, CS_BUNDLE_RUN, &s->number, err);
		s->kind = from->kind;
		s->level = from->level;
	}
	if (rc != CS_OK)
		return rc;
	if (cs_grow(&s->raw, &s->cap, s->used + len, 1) != CS_OK ||
	    cs_grow(&s->items, &s->items_cap, s->nslots + 1, sizeof(*s->items)) != CS_OK)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	return CS_OK;
}

int cs_survivors_add(struct cs_survivors *s, const struct cs_bundle *from, uint32_t slot,
		     cs_chunk *out, struct cs_error *err)
{
	const struct cs_slot *c = &from->slots[slot];
	uint32_t len = cs_slot_weight(c);
	int rc = make_room(s, from, len, err);
	if (rc != CS_OK)
		return rc;
	memcpy(s->raw + s->used, from->raw + c->off, len);
	s->items[s->nslots].slot = *c;
	s->items[s->nslots].slot.off = (uint32_t)s->used;
	*out = cs_chunk_make(s->number, s->nslots++);
	s->used += len;
	return CS_OK;
}
