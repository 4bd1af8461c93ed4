/* SPDX-License-Identifier: MIT */
/*
 * pipeline_write.c - bundles and their index rows into the store, a batch a transaction,
 * in the order in which the bundles were closed.
 */
#include "pipeline_impl.h"

#include "alloc.h"
#include "index.h"

#include <stdlib.h>

/*
 * A transaction is made of this much. Index rows lie all over the index, and
 * each page that is changed is in memory until the commit: when the index is
 * large, a transaction has fewer of them.
 */
#define BATCH_STORED ((size_t)16 << 20)
#define BATCH_ROWS 65536u
#define BATCH_PAGES 4096u

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
static int put_rows(struct cs_txn *t, struct cs_box *const *boxes, size_t nboxes,
		    struct cs_error *err)
{
	size_t n = 0, at = 0;
	for (size_t i = 0; i < nboxes; i++)
		n += boxes[i]->nslots;
	struct row *rows = cs_alloc(n * sizeof(*rows));
	if (!rows)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < nboxes; i++) {
		const struct cs_box *b = boxes[i];
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

static int put_bundles(struct cs_txn *t, struct cs_box *const *boxes, size_t n,
		       struct cs_error *err)
{
	size_t bytes = 0;
	struct cs_bundle_stored *list = cs_alloc((n + 1) * sizeof(*list));
	if (!list)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < n; i++) {
		const struct cs_box *b = boxes[i];
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

int cs_pipeline_put(struct cs_txn *t, struct cs_box *const *boxes, size_t n, struct cs_error *err)
{
	int rc = put_bundles(t, boxes, n, err);
	return rc == CS_OK ? put_rows(t, boxes, n, err) : rc;
}

/* *pages: of the index, then. */
static int commit_batch(struct cs_pipeline *p, struct cs_box *const *boxes, size_t n,
			uint64_t *pages, struct cs_error *err)
{
	struct cs_txn *t;
	int rc = cs_txn_write(p->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_pipeline_put(t, boxes, n, err);
	if (rc == CS_OK)
		rc = cs_index_pages(t, pages, err);
	if (rc != CS_OK) {
		cs_txn_end(t);
		return rc;
	}
	return cs_txn_commit(t, err);
}

static size_t batch_rows(const struct cs_pipeline *p)
{
	return p->index_pages > BATCH_PAGES ? BATCH_PAGES : BATCH_ROWS;
}

/* Is a batch ready at the head of the queue, from where the writer takes? *bytes: what is. */
static bool is_full(const struct cs_pipeline *p, size_t *bytes)
{
	size_t rows = 0;
	const struct cs_box *b = p->head;
	*bytes = 0;
	while (b && b->state == CS_BOX_COMMITTED)
		b = b->next;
	for (; b && b->state == CS_BOX_READY; b = b->next) {
		*bytes += b->stored_len;
		rows += b->nslots;
	}
	return *bytes >= BATCH_STORED || rows >= batch_rows(p);
}

bool cs_pipeline_batch_is_full(const struct cs_pipeline *p)
{
	size_t bytes;
	return is_full(p, &bytes);
}

/*
 * The ready boxes at the head of the queue, a batch of them and no more, as a
 * list of their own: the queue grows while they are committed. Called with the
 * lock held. Negative: no memory.
 */
static ssize_t take_batch(struct cs_pipeline *p, struct cs_box ***list, size_t *cap)
{
	struct cs_box *b = p->head;
	size_t n = 0, bytes = 0, rows = 0, rows_max = batch_rows(p);
	while (b && b->state == CS_BOX_COMMITTED)
		b = b->next;
	for (; b && b->state == CS_BOX_READY; b = b->next) {
		if (bytes >= BATCH_STORED || rows >= rows_max)
			break;
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
	return is_full(p, &n) || (n && p->on_the_way > CS_PIPELINE_BYTES);
}

void *cs_pipeline_writer(void *arg)
{
	struct cs_pipeline *p = arg;
	struct cs_box **batch = NULL;
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
			cs_pipeline_fail(p, rc, &err);
			break;
		}
		for (ssize_t i = 0; i < n; i++)
			batch[i]->state = CS_BOX_COMMITTED;
		pthread_cond_broadcast(&p->moved);
	}
	pthread_mutex_unlock(&p->lock);
	free(batch);
	return NULL;
}
