/* SPDX-License-Identifier: MIT */
/*
 * pipeline_compress.c - closed bundles into their stored form, a thread for each processor.
 *
 * A chunk becomes a delta here, on what it resembles, and stays whole when that saves less
 * than half of it.
 */
#include "pipeline_impl.h"

#include "alloc.h"
#include "reader.h"

#include <stdlib.h>

/*
 * The frame of a chunk as a delta into out, which has room for half of the
 * chunk. Its length, or 0: it is stored as it is, also when its base cannot be read.
 */
static size_t make_delta(struct cs_pipeline *p, struct cs_compressor *c, const struct cs_box *b,
			 const struct cs_slot *s, uint8_t *out)
{
	struct cs_bundle *from;
	uint32_t slot;
	void *held;
	size_t n = 0;
	if (!s->base || cs_reader_find(p->store, s->base, &held, &from, &slot, NULL) != CS_OK)
		return 0;
	const struct cs_slot *base = &from->slots[slot];
	if (from->kind == b->kind)
		n = cs_compress_delta(c, from->raw + base->off, base->len, b->raw + s->off, s->len,
				      out, s->len / 2);
	cs_cache_release(held);
	return n;
}

static int encode(struct cs_pipeline *p, struct cs_compressor *c, struct cs_box *b, uint8_t **out)
{
	struct cs_bundle_item *items = cs_alloc((b->nslots + 1) * sizeof(*items));
	uint8_t *frames = b->place >= 2 ? cs_alloc(b->used + 1) : NULL;
	size_t used = 0;
	int rc = items && (frames || b->place < 2) ? CS_OK : CS_E_NOMEM;
	for (size_t i = 0; i < b->nslots && rc == CS_OK; i++) {
		struct cs_bundle_item *it = &items[i];
		*it = (struct cs_bundle_item){ b->slots[i], b->raw + b->slots[i].off };
		size_t n = frames ? make_delta(p, c, b, &b->slots[i], frames + used) : 0;
		it->slot.frame_len = (uint32_t)n;
		if (n) {
			it->data = frames + used;
			used += n;
		} else {
			it->slot.base = 0;
		}
	}
	if (rc == CS_OK)
		rc = cs_bundle_encode(c, p->store->header.incompat, b->number, b->kind, items,
				      (uint32_t)b->nslots, out, &b->stored_len);
	free(items);
	free(frames);
	return rc;
}

static int box_compress(struct cs_pipeline *p, struct cs_compressor *c, struct cs_box *b)
{
	uint8_t *out;
	int rc = encode(p, c, b, &out);
	if (rc != CS_OK)
		return rc;
	/* many wait to be committed: give the spare room back */
	b->stored = realloc(out, b->stored_len);
	if (!b->stored)
		b->stored = out;
	return CS_OK;
}

static struct cs_box *next_closed(struct cs_pipeline *p)
{
	struct cs_box *b = p->head;
	while (b && b->state != CS_BOX_CLOSED)
		b = b->next;
	return b;
}

void *cs_pipeline_compressor(void *arg)
{
	struct cs_pipeline *p = arg;
	struct cs_compressor *c = cs_compressor_new(p->level);
	pthread_mutex_lock(&p->lock);
	if (!c)
		cs_pipeline_fail(p, CS_E_NOMEM, NULL);
	while (c) {
		struct cs_box *b;
		while (!(b = next_closed(p)) && !p->stop_work)
			pthread_cond_wait(&p->work, &p->lock);
		if (!b || p->stop_work)
			break;
		b->state = CS_BOX_COMPRESSING;
		pthread_mutex_unlock(&p->lock);
		int rc = box_compress(p, c, b);
		pthread_mutex_lock(&p->lock);
		if (rc != CS_OK)
			cs_pipeline_fail(p, rc, NULL);
		b->state = CS_BOX_READY;
		p->on_the_way -= b->used;
		p->on_the_way += b->stored_len;
		b->memory += b->stored_len - b->used;
		p->stats.stored += b->stored_len;
		p->uncompressed--;
		pthread_cond_signal(&p->ready);
		if (p->uncompressed == 0)
			pthread_cond_broadcast(&p->moved);
	}
	pthread_mutex_unlock(&p->lock);
	cs_compressor_free(c);
	return NULL;
}
