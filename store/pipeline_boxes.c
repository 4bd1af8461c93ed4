/* SPDX-License-Identifier: MIT */
/*
 * pipeline_boxes.c - bundles on their way: opened, filled, closed, and given up
 * when they are committed; and their chunks, found by hash meanwhile.
 */
#include "pipeline_impl.h"

#include "alloc.h"

#include <stdlib.h>
#include <string.h>

#define PER_CHUNK 128u
#define BOX_SLOTS 4096u /* a bundle is closed when it holds that many chunks */
#define NUMBERS 65536u	/* bundle numbers taken at once; a place uses them in runs */

static void box_free(struct cs_box *b)
{
	if (b) {
		free(b->raw);
		free(b->slots);
		free(b->stored);
		free(b);
	}
}

static size_t target_of(int place)
{
	return place >= 2 ? CS_BUNDLE_DELTA_TARGET :
	       place      ? CS_BUNDLE_META_TARGET :
			    CS_BUNDLE_DATA_TARGET;
}

static int take_numbers(struct cs_pipeline *p, struct cs_error *err)
{
	struct cs_txn *t;
	int rc = cs_txn_write(p->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_bundles_reserve(t, NUMBERS, &p->next_number, err);
	if (rc == CS_OK) /* before anybody can see them */
		rc = cs_leases_pin_range(p->store->leases, p->next_number, NUMBERS, err);
	if (rc != CS_OK) {
		cs_txn_end(t);
		return rc;
	}
	rc = cs_txn_commit(t, err);
	if (rc == CS_OK)
		p->numbers_left = NUMBERS;
	return rc;
}

int cs_pipeline_box_open(struct cs_pipeline *p, int kind, int place, size_t room,
			 struct cs_error *err)
{
	if (p->run[place] % CS_BUNDLE_RUN == 0) {
		int rc = p->numbers_left ? CS_OK : take_numbers(p, err);
		if (rc != CS_OK)
			return rc;
		p->run[place] = p->next_number;
		p->next_number += CS_BUNDLE_RUN;
		p->numbers_left -= CS_BUNDLE_RUN;
	}
	struct cs_box *b = cs_zalloc(sizeof(*b));
	size_t cap = target_of(place) + (256u << 10);
	if (cap < room)
		cap = room;
	if (!b || !(b->raw = cs_alloc(cap))) {
		box_free(b);
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	b->cap = cap;
	b->kind = (uint8_t)kind;
	b->place = (uint8_t)place;
	b->number = p->run[place]++;
	p->open[place] = b;
	return CS_OK;
}

bool cs_pipeline_box_has_room(const struct cs_box *b, size_t len)
{
	return b->used < target_of(b->place) && b->nslots < BOX_SLOTS && b->cap - b->used >= len;
}

/* ---- chunks on their way */

static struct cs_pending **bucket_of(struct cs_pipeline *p, const struct cs_hash *h)
{
	return &p->bucket[cs_hash_key(h) % CS_PENDING_BUCKETS];
}

void cs_pipeline_pending_add(struct cs_pipeline *p, struct cs_pending *e, struct cs_box *b,
			     uint32_t slot)
{
	const struct cs_hash *h = &b->slots[slot].hash;
	struct cs_pending **bucket = bucket_of(p, h);
	*e = (struct cs_pending){ cs_hash_key(h), b, slot, *bucket };
	*bucket = e;
}

struct cs_pending *cs_pipeline_pending_new(struct cs_pipeline *p)
{
	struct cs_pending *e = p->spare;
	if (e)
		p->spare = e->chain;
	else
		e = cs_alloc(sizeof(*e));
	return e;
}

void cs_pipeline_pending_give_back(struct cs_pipeline *p, struct cs_pending *e)
{
	e->chain = p->spare;
	p->spare = e;
}

static void pending_drop(struct cs_pipeline *p, const struct cs_box *b)
{
	for (uint32_t i = 0; i < b->nslots; i++) {
		struct cs_pending **at = bucket_of(p, &b->slots[i].hash);
		while (*at && !((*at)->box == b && (*at)->slot == i))
			at = &(*at)->chain;
		struct cs_pending *e = *at;
		if (e) {
			*at = e->chain;
			cs_pipeline_pending_give_back(p, e);
		}
	}
}

cs_chunk cs_pipeline_pending_find(struct cs_pipeline *p, int kind, const struct cs_hash *h,
				  const uint8_t *data, size_t len)
{
	uint64_t key = cs_hash_key(h);
	for (struct cs_pending *e = *bucket_of(p, h); e; e = e->chain) {
		const struct cs_slot *s = &e->box->slots[e->slot];
		if (e->key == key && e->box->kind == kind && s->len == len &&
		    cs_hash_equal(&s->hash, h) && memcmp(e->box->raw + s->off, data, len) == 0)
			return cs_chunk_make(e->box->number, e->slot);
	}
	return 0;
}

/* Committed boxes at the head of the queue are done with. Called without the lock. */
static void reap(struct cs_pipeline *p)
{
	for (;;) {
		pthread_mutex_lock(&p->lock);
		struct cs_box *b = p->head;
		if (b && b->state == CS_BOX_COMMITTED) {
			p->head = b->next;
			if (!p->head)
				p->tail = &p->head;
			p->on_the_way -= b->memory;
		} else {
			b = NULL;
		}
		pthread_mutex_unlock(&p->lock);
		if (!b)
			return;
		pending_drop(p, b);
		box_free(b);
	}
}

void cs_pipeline_fail(struct cs_pipeline *p, int code, const struct cs_error *err)
{
	if (!p->error.code) {
		if (err)
			p->error = *err;
		else
			cs_fail(&p->error, code, "%s", cs_code_text(code));
	}
	pthread_cond_broadcast(&p->moved);
	pthread_cond_broadcast(&p->ready);
}

int cs_pipeline_failure(struct cs_pipeline *p, struct cs_error *err)
{
	int code = p->error.code;
	if (code && err)
		*err = p->error;
	return code;
}

int cs_pipeline_box_close(struct cs_pipeline *p, int place, struct cs_error *err)
{
	struct cs_box *b = p->open[place];
	p->open[place] = NULL;
	/* until it is known what is stored of it, it might be all */
	b->memory = 2 * b->used + b->nslots * PER_CHUNK;
	pthread_mutex_lock(&p->lock);
	b->state = CS_BOX_CLOSED;
	*p->tail = b;
	p->tail = &b->next;
	p->on_the_way += b->memory;
	p->uncompressed++;
	p->stats.raw += b->used;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);

	reap(p);
	pthread_mutex_lock(&p->lock);
	while (!p->error.code && p->on_the_way > CS_PIPELINE_BYTES) {
		if (p->head->state != CS_BOX_COMMITTED) {
			/* the writer must not wait for a fuller batch now */
			pthread_cond_signal(&p->ready);
			pthread_cond_wait(&p->moved, &p->lock);
		}
		pthread_mutex_unlock(&p->lock);
		reap(p);
		pthread_mutex_lock(&p->lock);
	}
	int rc = cs_pipeline_failure(p, err);
	pthread_mutex_unlock(&p->lock);
	return rc;
}

static void free_all(struct cs_pending *e)
{
	for (struct cs_pending *next; e; e = next) {
		next = e->chain;
		free(e);
	}
}

void cs_pipeline_boxes_release(struct cs_pipeline *p)
{
	while (p->head) {
		struct cs_box *b = p->head;
		p->head = b->next;
		box_free(b);
	}
	for (int place = 0; place < CS_PIPELINE_PLACES; place++)
		box_free(p->open[place]);
	for (unsigned i = 0; i < CS_PENDING_BUCKETS; i++)
		free_all(p->bucket[i]);
	free_all(p->spare);
}
