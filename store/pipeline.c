/* SPDX-License-Identifier: MIT */
#include "pipeline.h"

#include "alloc.h"
#include "dedup.h"
#include "hash.h"
#include "heal.h"
#include "index.h"
#include "reader.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* Closed bundles that are not committed: raw, stored, and what each chunk takes beside. */
#define ON_THE_WAY ((size_t)72 << 20)
#define PER_CHUNK 128u
/*
 * A transaction is made of this much. Index rows lie all over the index, and
 * each page that is changed is in memory until the commit: when the index is
 * large, a transaction has fewer of them.
 */
#define BATCH_STORED ((size_t)16 << 20)
#define BATCH_ROWS 65536u
#define BATCH_PAGES 4096u
#define BOX_SLOTS 4096u /* a bundle is closed when it holds that many chunks */
#define NUMBERS 65536u  /* bundle numbers taken at once; a place uses them in runs */
#define HEALED_SEARCH 4096u /* healed chunks that are known by their new number, too */
#define DELTA_MIN 256u /* a shorter chunk is not worth a second bundle when it is read */
#define THREADS_MAX 64u
#define PENDING_BUCKETS 16384u

/* Where chunks are collected: of each kind, those that may become deltas by themselves. */
enum { PLACES = 4 };

enum state { OPEN, CLOSED, COMPRESSING, READY, COMMITTED };

/* A bundle on its way. raw and slots belong to the caller's thread until it is freed. */
struct box {
	uint64_t number;
	uint8_t kind;
	enum state state; /* guarded by lock once CLOSED */
	uint8_t place;
	uint8_t *raw;
	size_t used, cap;
	struct cs_slot *slots; /* base: on which it may be a delta */
	size_t nslots, slots_cap;
	uint8_t *stored; /* made by a compressor */
	size_t stored_len;
	size_t memory; /* as counted in on_the_way */
	struct box *next; /* in the queue, in the order of closing */
};

/* A chunk on its way, found by its hash. Caller's thread only. */
struct pending {
	uint64_t key;
	struct box *box;
	uint32_t slot;
	struct pending *chain;
};

struct cs_pipeline {
	struct cs_store *store;
	/* caller's thread only */
	struct box *open[PLACES];
	struct pending *bucket[PENDING_BUCKETS];
	struct pending *spare;
	uint64_t next_number, numbers_left; /* not yet of a place's run */
	uint64_t run[PLACES]; /* the next number of each; a multiple of CS_BUNDLE_RUN: none left */
	struct cs_pipeline_stats stats; /* stored: guarded by lock */
	bool heal;
	struct cs_healed *healed;
	size_t nhealed, healed_cap;

	pthread_mutex_t lock;
	pthread_cond_t work;  /* for compressors: a bundle was closed, or stop */
	pthread_cond_t ready; /* for the writer: a bundle is ready, or stop */
	pthread_cond_t moved; /* for the caller: something was committed or failed */
	/* guarded by lock */
	struct box *head, **tail; /* closed and later, not yet reaped */
	size_t on_the_way;
	uint64_t index_pages;
	unsigned uncompressed; /* CLOSED and COMPRESSING boxes */
	bool stop_work, stop_writer;
	struct cs_error error; /* the first failure of a thread */

	int level;
	unsigned nthreads;
	pthread_t threads[THREADS_MAX], writer;
	bool writer_runs;
};

/* ---- boxes */

static void box_free(struct box *b)
{
	if (b) {
		free(b->raw);
		free(b->slots);
		free(b->stored);
		free(b);
	}
}

static int place_of(int kind, cs_chunk like)
{
	return (kind == CS_BUNDLE_META) + (like ? 2 : 0);
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

static int box_open(struct cs_pipeline *p, int kind, int place, size_t room,
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
	struct box *b = cs_zalloc(sizeof(*b));
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

/* ---- chunks on their way */

static void pending_add(struct cs_pipeline *p, struct pending *e, struct box *b, uint32_t slot,
			uint64_t key)
{
	*e = (struct pending){ key, b, slot, p->bucket[key % PENDING_BUCKETS] };
	p->bucket[key % PENDING_BUCKETS] = e;
}

static struct pending *pending_new(struct cs_pipeline *p)
{
	struct pending *e = p->spare;
	if (e)
		p->spare = e->chain;
	else
		e = cs_alloc(sizeof(*e));
	return e;
}

static void pending_drop(struct cs_pipeline *p, const struct box *b)
{
	for (uint32_t i = 0; i < b->nslots; i++) {
		struct pending **at = &p->bucket[cs_hash_key(&b->slots[i].hash) % PENDING_BUCKETS];
		while (*at && !((*at)->box == b && (*at)->slot == i))
			at = &(*at)->chain;
		struct pending *e = *at;
		if (e) {
			*at = e->chain;
			e->chain = p->spare;
			p->spare = e;
		}
	}
}

static cs_chunk pending_find(struct cs_pipeline *p, int kind, const struct cs_hash *h,
			     const uint8_t *data, size_t len)
{
	uint64_t key = cs_hash_key(h);
	for (struct pending *e = p->bucket[key % PENDING_BUCKETS]; e; e = e->chain) {
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
		struct box *b = p->head;
		if (b && b->state == COMMITTED) {
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

static int thread_error(struct cs_pipeline *p, struct cs_error *err)
{
	int code = p->error.code;
	if (code && err)
		*err = p->error;
	return code;
}

/* Hand a full box to the compressors; wait while too much is on its way. */
static int box_close(struct cs_pipeline *p, int place, struct cs_error *err)
{
	struct box *b = p->open[place];
	p->open[place] = NULL;
	/* until it is known what is stored of it, it might be all */
	b->memory = 2 * b->used + b->nslots * PER_CHUNK;
	pthread_mutex_lock(&p->lock);
	b->state = CLOSED;
	*p->tail = b;
	p->tail = &b->next;
	p->on_the_way += b->memory;
	p->uncompressed++;
	p->stats.raw += b->used;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);

	reap(p);
	pthread_mutex_lock(&p->lock);
	while (!p->error.code && p->on_the_way > ON_THE_WAY) {
		if (p->head->state != COMMITTED) {
			/* the writer must not wait for a fuller batch now */
			pthread_cond_signal(&p->ready);
			pthread_cond_wait(&p->moved, &p->lock);
		}
		pthread_mutex_unlock(&p->lock);
		reap(p);
		pthread_mutex_lock(&p->lock);
	}
	int rc = thread_error(p, err);
	pthread_mutex_unlock(&p->lock);
	return rc;
}

/* ---- compressors */

/*
 * The frame of a chunk as a delta into out, which has room for half of the
 * chunk. Its length, or 0: it is stored as it is, also when its base cannot be read.
 */
static size_t make_delta(struct cs_pipeline *p, struct cs_compressor *c, const struct box *b,
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

static int encode(struct cs_pipeline *p, struct cs_compressor *c, struct box *b, uint8_t **out)
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
		rc = cs_bundle_encode(c, b->number, b->kind, items, (uint32_t)b->nslots, out,
				      &b->stored_len);
	free(items);
	free(frames);
	return rc;
}

static int box_compress(struct cs_pipeline *p, struct cs_compressor *c, struct box *b)
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

static void set_error(struct cs_pipeline *p, int code, const struct cs_error *err)
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

static struct box *next_closed(struct cs_pipeline *p)
{
	struct box *b = p->head;
	while (b && b->state != CLOSED)
		b = b->next;
	return b;
}

static size_t batch_rows(const struct cs_pipeline *p)
{
	return p->index_pages > BATCH_PAGES ? BATCH_PAGES : BATCH_ROWS;
}

/* Is a batch ready at the head of the queue, from where the writer takes? *bytes: what is. */
static bool batch_is_full(const struct cs_pipeline *p, size_t *bytes)
{
	size_t rows = 0;
	const struct box *b = p->head;
	*bytes = 0;
	while (b && b->state == COMMITTED)
		b = b->next;
	for (; b && b->state == READY; b = b->next) {
		*bytes += b->stored_len;
		rows += b->nslots;
	}
	return *bytes >= BATCH_STORED || rows >= batch_rows(p);
}

static void *compressor(void *arg)
{
	struct cs_pipeline *p = arg;
	struct cs_compressor *c = cs_store_compressor(p->store, p->level);
	pthread_mutex_lock(&p->lock);
	if (!c)
		set_error(p, CS_E_NOMEM, NULL);
	while (c) {
		struct box *b;
		while (!(b = next_closed(p)) && !p->stop_work)
			pthread_cond_wait(&p->work, &p->lock);
		if (!b || p->stop_work)
			break;
		b->state = COMPRESSING;
		pthread_mutex_unlock(&p->lock);
		int rc = box_compress(p, c, b);
		pthread_mutex_lock(&p->lock);
		if (rc != CS_OK)
			set_error(p, rc, NULL);
		b->state = READY;
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

/* ---- writer */

struct row {
	uint64_t key;
	const struct cs_hash *hash;
	cs_chunk chunk;
};

static int row_compare(const void *a, const void *b)
{
	const struct row *x = a, *y = b;
	if (x->key != y->key)
		return x->key < y->key ? -1 : 1;
	return (x->chunk > y->chunk) - (x->chunk < y->chunk);
}

/* Index rows go in by ascending key: each page of the index is touched once a batch. */
static int put_rows(struct cs_txn *t, struct box *const *boxes, size_t nboxes,
		    struct cs_error *err)
{
	size_t n = 0, at = 0;
	for (size_t i = 0; i < nboxes; i++)
		n += boxes[i]->nslots;
	struct row *rows = cs_alloc(n * sizeof(*rows));
	if (!rows)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < nboxes; i++) {
		const struct box *b = boxes[i];
		for (uint32_t s = 0; s < b->nslots; s++)
			rows[at++] = (struct row){ cs_hash_key(&b->slots[s].hash),
						   &b->slots[s].hash, cs_chunk_make(b->number, s) };
	}
	qsort(rows, n, sizeof(*rows), row_compare);
	int rc = CS_OK;
	for (at = 0; at < n && rc == CS_OK; at++)
		rc = cs_index_add(t, rows[at].hash, rows[at].chunk, err);
	free(rows);
	return rc;
}

static int stored_compare(const void *a, const void *b)
{
	const struct cs_bundle_stored *x = a, *y = b;
	return (x->number > y->number) - (x->number < y->number);
}

static int put_bundles(struct cs_txn *t, struct box *const *boxes, size_t n, struct cs_error *err)
{
	size_t bytes = 0;
	struct cs_bundle_stored *list = cs_alloc((n + 1) * sizeof(*list));
	if (!list)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const struct box *b = boxes[i];
		list[i] = (struct cs_bundle_stored){ b->number, b->stored, b->stored_len };
		bytes += b->stored_len;
	}
	qsort(list, n, sizeof(*list), stored_compare);
	int rc = cs_txn_leave_room(t, bytes, err);
	if (rc == CS_OK)
		rc = cs_bundles_put(t, list, n, err);
	free(list);
	return rc;
}

static int put_batch(struct cs_txn *t, struct box *const *boxes, size_t n, struct cs_error *err)
{
	int rc = put_bundles(t, boxes, n, err);
	return rc == CS_OK ? put_rows(t, boxes, n, err) : rc;
}

/* *pages: of the index, then. */
static int commit_batch(struct cs_pipeline *p, struct box *const *boxes, size_t n,
			uint64_t *pages, struct cs_error *err)
{
	struct cs_txn *t;
	int rc = cs_txn_write(p->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = put_batch(t, boxes, n, err);
	if (rc == CS_OK)
		rc = cs_index_pages(t, pages, err);
	if (rc != CS_OK) {
		cs_txn_end(t);
		return rc;
	}
	return cs_txn_commit(t, err);
}

/*
 * The READY boxes at the head of the queue, a batch of them and no more, as a
 * list of their own: the queue grows while they are committed. Called with the
 * lock held. Negative: no memory.
 */
static ssize_t take_batch(struct cs_pipeline *p, struct box ***list, size_t *cap)
{
	struct box *b = p->head;
	size_t n = 0, bytes = 0, rows = 0, rows_max = batch_rows(p);
	while (b && b->state == COMMITTED)
		b = b->next;
	for (; b && b->state == READY && bytes < BATCH_STORED && rows < rows_max; b = b->next) {
		if (cs_grow(list, cap, n + 1, sizeof(**list)) != CS_OK)
			return CS_E_NOMEM;
		(*list)[n++] = b;
		bytes += b->stored_len;
		rows += b->nslots;
	}
	return (ssize_t)n;
}

/* A batch is due when it is worth a transaction, or when the caller waits for room. */
static bool batch_is_due(struct cs_pipeline *p)
{
	size_t n;
	return batch_is_full(p, &n) || (n && p->on_the_way > ON_THE_WAY);
}

static void *writer(void *arg)
{
	struct cs_pipeline *p = arg;
	struct box **batch = NULL;
	size_t cap = 0;
	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!p->stop_writer && !p->error.code && !batch_is_due(p))
			pthread_cond_wait(&p->ready, &p->lock);
		if (p->stop_writer || p->error.code)
			break;
		ssize_t n = take_batch(p, &batch, &cap);
		uint64_t pages = p->index_pages;
		pthread_mutex_unlock(&p->lock);
		struct cs_error err = { 0 };
		int rc = n < 0 ? cs_fail(&err, (int)n, "out of memory") :
				 commit_batch(p, batch, (size_t)n, &pages, &err);
		pthread_mutex_lock(&p->lock);
		p->index_pages = pages;
		if (rc != CS_OK) {
			set_error(p, rc, &err);
			break;
		}
		for (ssize_t i = 0; i < n; i++)
			batch[i]->state = COMMITTED;
		pthread_cond_broadcast(&p->moved);
	}
	pthread_mutex_unlock(&p->lock);
	free(batch);
	return NULL;
}

/* ---- public */

static int count_index_pages(struct cs_pipeline *p, struct cs_error *err)
{
	struct cs_txn *t;
	int rc = cs_txn_read(p->store->db, &t, err);
	if (rc == CS_OK) {
		rc = cs_index_pages(t, &p->index_pages, err);
		cs_txn_end(t);
	}
	return rc;
}

int cs_pipeline_new(struct cs_store *s, int level, unsigned threads, struct cs_pipeline **out,
		    struct cs_error *err)
{
	struct cs_pipeline *p = cs_zalloc(sizeof(*p));
	if (!p)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	p->store = s;
	cs_leases_pins_begin(s->leases);
	p->level = level ? level : CS_LEVEL_DEFAULT;
	p->tail = &p->head;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	pthread_cond_init(&p->ready, NULL);
	pthread_cond_init(&p->moved, NULL);
	if (!threads)
		threads = cpus > 0 ? (unsigned)cpus : 1;
	if (threads > THREADS_MAX)
		threads = THREADS_MAX;
	int rc = count_index_pages(p, err);
	if (rc != CS_OK) {
		cs_pipeline_free(p);
		return rc;
	}
	rc = pthread_create(&p->writer, NULL, writer, p);
	p->writer_runs = rc == 0;
	while (rc == 0 && p->nthreads < threads) {
		rc = pthread_create(&p->threads[p->nthreads], NULL, compressor, p);
		p->nthreads += rc == 0;
	}
	if (rc) {
		cs_pipeline_free(p);
		return cs_fail_errno(err, rc, "cannot start a thread");
	}
	*out = p;
	return CS_OK;
}

static void stop_threads(struct cs_pipeline *p)
{
	pthread_mutex_lock(&p->lock);
	p->stop_work = p->stop_writer = true;
	pthread_cond_broadcast(&p->work);
	pthread_cond_broadcast(&p->ready);
	pthread_mutex_unlock(&p->lock);
	while (p->nthreads)
		pthread_join(p->threads[--p->nthreads], NULL);
	if (p->writer_runs)
		pthread_join(p->writer, NULL);
	p->writer_runs = false;
}

void cs_pipeline_free(struct cs_pipeline *p)
{
	if (!p)
		return;
	stop_threads(p);
	while (p->head) {
		struct box *b = p->head;
		p->head = b->next;
		box_free(b);
	}
	for (int place = 0; place < PLACES; place++)
		box_free(p->open[place]);
	for (unsigned i = 0; i < PENDING_BUCKETS; i++)
		for (struct pending *e = p->bucket[i], *next; e; e = next) {
			next = e->chain;
			free(e);
		}
	for (struct pending *e = p->spare, *next; e; e = next) {
		next = e->chain;
		free(e);
	}
	free(p->healed);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->work);
	pthread_cond_destroy(&p->ready);
	pthread_cond_destroy(&p->moved);
	cs_leases_pins_end(p->store->leases);
	free(p);
}

static int room_in(struct cs_pipeline *p, int kind, int place, size_t len, uint8_t **out,
		   struct cs_error *err)
{
	struct box *b = p->open[place];
	int rc = CS_OK;
	if (b && (b->used >= target_of(place) || b->nslots >= BOX_SLOTS || b->cap - b->used < len))
		rc = box_close(p, place, err);
	if (rc == CS_OK && !p->open[place])
		rc = box_open(p, kind, place, len, err);
	b = p->open[place];
	if (rc == CS_OK)
		*out = b->raw + b->used;
	return rc;
}

/* Without the feature in its header, a store's readers may not know deltas. */
static cs_chunk usable(const struct cs_pipeline *p, cs_chunk like, size_t len)
{
	return len >= DELTA_MIN && (p->store->header.incompat & CS_FEATURE_DELTAS) ? like : 0;
}

int cs_pipeline_room(struct cs_pipeline *p, int kind, cs_chunk like, size_t len, uint8_t **out,
		     struct cs_error *err)
{
	return room_in(p, kind, place_of(kind, usable(p, like, len)), len, out, err);
}

static int append(struct cs_pipeline *p, int kind, const uint8_t *data, size_t len, cs_chunk like,
		  const struct cs_hash *h, cs_chunk *out, struct cs_error *err)
{
	uint8_t *room;
	int place = place_of(kind, like);
	struct cs_slot slot = { .len = (uint32_t)len, .hash = *h };
	struct pending *e = pending_new(p);
	if (!e)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	struct box *b = p->open[place];
	bool in_place = b && data == b->raw + b->used;
	int rc = in_place ? CS_OK : room_in(p, kind, place, len, &room, err);
	b = p->open[place];
	if (rc == CS_OK && cs_grow(&b->slots, &b->slots_cap, b->nslots + 1, sizeof(*b->slots)))
		rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	if (rc == CS_OK && like)
		rc = cs_dedup_base(p->store, like, &slot.base, err);
	if (rc != CS_OK) {
		e->chain = p->spare;
		p->spare = e;
		return rc;
	}
	if (!in_place)
		memcpy(room, data, len);
	slot.off = (uint32_t)b->used;
	b->slots[b->nslots] = slot;
	pending_add(p, e, b, (uint32_t)b->nslots, cs_hash_key(h));
	*out = cs_chunk_make(b->number, (uint32_t)b->nslots++);
	b->used += len;
	p->stats.chunks_new++;
	return CS_OK;
}

void cs_pipeline_heal(struct cs_pipeline *p)
{
	p->heal = true;
}

/* What was healed by this chunk, or the chunk itself. */
static cs_chunk name_of(const struct cs_pipeline *p, cs_chunk chunk)
{
	size_t n = p->nhealed < HEALED_SEARCH ? p->nhealed : HEALED_SEARCH;
	for (size_t i = 0; i < n; i++)
		if (p->healed[i].to == chunk)
			return p->healed[i].from;
	return chunk;
}

/*
 * The chunks that this one heals lead to *found, if it is no delta; else it is
 * stored, as no delta either. It goes by its old number from now on: so a page
 * that refers to it has the bytes that it had, and may heal one in turn.
 */
static int heal(struct cs_pipeline *p, int kind, const uint8_t *data, size_t len,
		const struct cs_hash *h, cs_chunk *found, struct cs_error *err)
{
	cs_chunk bad[16], base = 0;
	size_t n;
	int rc = cs_heal_find(p->store, kind, h, len, bad, sizeof(bad) / sizeof(bad[0]), &n, err);
	if (rc != CS_OK || n == 0)
		return rc;
	if (*found && (cs_reader_base(p->store, *found, &base, NULL) != CS_OK || base))
		*found = 0;
	if (!*found)
		rc = append(p, kind, data, len, 0, h, found, err);
	if (rc == CS_OK && cs_grow(&p->healed, &p->healed_cap, p->nhealed + n, sizeof(*p->healed)))
		rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < n && rc == CS_OK; i++)
		p->healed[p->nhealed++] = (struct cs_healed){ bad[i], *found, *h };
	p->stats.healed = p->nhealed;
	*found = rc == CS_OK ? bad[0] : 0;
	return rc;
}

int cs_pipeline_chunk(struct cs_pipeline *p, int kind, const uint8_t *data, size_t len,
		      cs_chunk like, cs_chunk *out, struct cs_hash *out_hash, struct cs_error *err)
{
	struct cs_hash h = cs_store_hash(p->store, data, len);
	if (out_hash)
		*out_hash = h;
	cs_chunk found = pending_find(p, kind, &h, data, len);
	bool pending = found != 0;
	int rc = found ? CS_OK : cs_dedup_find(p->store, kind, &h, data, len, &found, err);
	uint64_t before = p->stats.chunks_new;
	if (rc == CS_OK && p->heal && !pending)
		rc = heal(p, kind, data, len, &h, &found, err);
	if (rc != CS_OK)
		return rc;
	if (!found)
		return append(p, kind, data, len, usable(p, like, len), &h, out, err);
	p->stats.chunks_dup += p->stats.chunks_new == before;
	*out = p->nhealed ? name_of(p, found) : found;
	return CS_OK;
}

int cs_pipeline_flush(struct cs_pipeline *p, struct cs_error *err)
{
	int rc = CS_OK;
	for (int place = 0; place < PLACES && rc == CS_OK; place++) {
		struct box *b = p->open[place];
		if (b && b->nslots)
			rc = box_close(p, place, err);
	}
	if (rc != CS_OK)
		return rc;
	pthread_mutex_lock(&p->lock);
	while (p->uncompressed && !p->error.code)
		pthread_cond_wait(&p->moved, &p->lock);
	rc = thread_error(p, err);
	pthread_mutex_unlock(&p->lock);
	return rc;
}

/* Numbers that were taken last and are not needed: they stay dense, and so the locks short. */
static int give_numbers_back(struct cs_pipeline *p, struct cs_txn *t, struct cs_error *err)
{
	uint64_t next;
	int rc = cs_db_counter_get(t, CS_META_NEXT_BUNDLE, &next, err);
	if (rc == CS_OK && p->numbers_left && next == p->next_number + p->numbers_left)
		rc = cs_db_counter_set(t, CS_META_NEXT_BUNDLE, p->next_number, err);
	return rc;
}

/* Everything that is left, whatever its size, with fn's rows in one transaction. */
static int commit_last(struct cs_pipeline *p, cs_pipeline_last *fn, void *arg,
		       struct cs_error *err)
{
	struct box **batch = NULL;
	size_t cap = 0, n = 0;
	struct cs_txn *t;
	int rc = cs_txn_write(p->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	for (struct box *b = p->head; b && rc == CS_OK; b = b->next) {
		if (b->state == COMMITTED)
			continue;
		if (cs_grow(&batch, &cap, n + 1, sizeof(*batch)) != CS_OK)
			rc = cs_fail(err, CS_E_NOMEM, "out of memory");
		else
			batch[n++] = b;
	}
	if (rc == CS_OK)
		rc = put_batch(t, batch, n, err);
	if (rc == CS_OK)
		rc = cs_heal_put(t, p->healed, p->nhealed, err);
	if (rc == CS_OK)
		rc = give_numbers_back(p, t, err);
	if (rc == CS_OK && fn)
		rc = fn(arg, t, err);
	free(batch);
	if (rc != CS_OK) {
		cs_txn_end(t);
		return rc;
	}
	return cs_txn_commit(t, err);
}

int cs_pipeline_finish(struct cs_pipeline *p, cs_pipeline_last *fn, void *arg,
		       struct cs_error *err)
{
	int rc = cs_pipeline_flush(p, err);
	if (rc != CS_OK)
		return rc;
	/* the last transaction is no larger than the others */
	size_t left;
	pthread_mutex_lock(&p->lock);
	while (!p->error.code && batch_is_full(p, &left))
		pthread_cond_wait(&p->moved, &p->lock);
	pthread_mutex_unlock(&p->lock);
	stop_threads(p);
	rc = thread_error(p, err);
	return rc == CS_OK ? commit_last(p, fn, arg, err) : rc;
}

void cs_pipeline_stats(struct cs_pipeline *p, struct cs_pipeline_stats *out)
{
	pthread_mutex_lock(&p->lock);
	*out = p->stats;
	pthread_mutex_unlock(&p->lock);
}
