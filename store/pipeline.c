/* SPDX-License-Identifier: MIT */
#include "pipeline_impl.h"

#include "alloc.h"
#include "dedup.h"
#include "index.h"
#include "reader.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEALED_SEARCH 4096u /* healed chunks that are known by their new number, too */
#define DELTA_MIN 256u	    /* a shorter chunk is not worth a second bundle when it is read */

static int place_of(int kind, cs_chunk like)
{
	return (kind == CS_BUNDLE_META) + (like ? 2 : 0);
}

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
	if (threads > CS_PIPELINE_THREADS)
		threads = CS_PIPELINE_THREADS;
	int rc = count_index_pages(p, err);
	if (rc != CS_OK) {
		cs_pipeline_free(p);
		return rc;
	}
	rc = pthread_create(&p->writer, NULL, cs_pipeline_writer, p);
	p->writer_runs = rc == 0;
	while (rc == 0 && p->nthreads < threads) {
		rc = pthread_create(&p->threads[p->nthreads], NULL, cs_pipeline_compressor, p);
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
	cs_pipeline_boxes_release(p);
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
	struct cs_box *b = p->open[place];
	int rc = CS_OK;
	if (b && !cs_pipeline_box_has_room(b, len))
		rc = cs_pipeline_box_close(p, place, err);
	if (rc == CS_OK && !p->open[place])
		rc = cs_pipeline_box_open(p, kind, place, len, err);
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
	struct cs_pending *e = cs_pipeline_pending_new(p);
	if (!e)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	struct cs_box *b = p->open[place];
	bool in_place = b && data == b->raw + b->used;
	int rc = in_place ? CS_OK : room_in(p, kind, place, len, &room, err);
	b = p->open[place];
	if (rc == CS_OK && cs_grow(&b->slots, &b->slots_cap, b->nslots + 1, sizeof(*b->slots)))
		rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	if (rc == CS_OK && like)
		rc = cs_dedup_base(p->store, like, &slot.base, err);
	if (rc != CS_OK) {
		cs_pipeline_pending_give_back(p, e);
		return rc;
	}
	if (!in_place)
		memcpy(room, data, len);
	slot.off = (uint32_t)b->used;
	b->slots[b->nslots] = slot;
	cs_pipeline_pending_add(p, e, b, (uint32_t)b->nslots);
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
	cs_chunk found = cs_pipeline_pending_find(p, kind, &h, data, len);
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
	for (int place = 0; place < CS_PIPELINE_PLACES && rc == CS_OK; place++) {
		struct cs_box *b = p->open[place];
		if (b && b->nslots)
			rc = cs_pipeline_box_close(p, place, err);
	}
	if (rc != CS_OK)
		return rc;
	pthread_mutex_lock(&p->lock);
	while (p->uncompressed && !p->error.code)
		pthread_cond_wait(&p->moved, &p->lock);
	rc = cs_pipeline_failure(p, err);
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
	struct cs_box **batch = NULL;
	size_t cap = 0, n = 0;
	struct cs_txn *t;
	int rc = cs_txn_write(p->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	for (struct cs_box *b = p->head; b && rc == CS_OK; b = b->next) {
		if (b->state == CS_BOX_COMMITTED)
			continue;
		if (cs_grow(&batch, &cap, n + 1, sizeof(*batch)) != CS_OK)
			rc = cs_fail(err, CS_E_NOMEM, "out of memory");
		else
			batch[n++] = b;
	}
	if (rc == CS_OK)
		rc = cs_pipeline_put(t, batch, n, err);
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
	pthread_mutex_lock(&p->lock);
	while (!p->error.code && cs_pipeline_batch_is_full(p))
		pthread_cond_wait(&p->moved, &p->lock);
	pthread_mutex_unlock(&p->lock);
	stop_threads(p);
	rc = cs_pipeline_failure(p, err);
	return rc == CS_OK ? commit_last(p, fn, arg, err) : rc;
}

void cs_pipeline_stats(struct cs_pipeline *p, struct cs_pipeline_stats *out)
{
	pthread_mutex_lock(&p->lock);
	*out = p->stats;
	pthread_mutex_unlock(&p->lock);
}
