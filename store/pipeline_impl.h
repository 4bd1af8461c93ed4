/* SPDX-License-Identifier: MIT */
/*
 * pipeline_impl.h - what the three kinds of threads of a pipeline share:
 * pipeline.c (the caller), pipeline_compress.c, pipeline_write.c; and the
 * bundles that go from one to the next, pipeline_boxes.c.
 */
#ifndef CS_PIPELINE_IMPL_H
#define CS_PIPELINE_IMPL_H

#include "pipeline.h"

#include "bundles.h"
#include "hash.h"
#include "heal.h"

#include <pthread.h>

/* Bytes of closed bundles that are not committed: raw, stored, and what each chunk takes beside. */
#define CS_PIPELINE_BYTES ((size_t)72 << 20)
#define CS_PIPELINE_THREADS 64u
#define CS_PENDING_BUCKETS 16384u

/* Where chunks are collected: of each kind, those that may become deltas by themselves. */
enum { CS_PIPELINE_PLACES = 4 };

enum cs_box_state {
	CS_BOX_OPEN,
	CS_BOX_CLOSED,
	CS_BOX_COMPRESSING,
	CS_BOX_READY, /* for the writer */
	CS_BOX_COMMITTED,
};

/* A bundle on its way. raw and slots belong to the caller's thread until it is freed. */
struct cs_box {
	uint64_t number;
	uint8_t kind;
	enum cs_box_state state; /* guarded by lock once closed */
	uint8_t place;
	uint8_t *raw;
	size_t used, cap;
	struct cs_slot *slots; /* base: on which it may be a delta */
	size_t nslots, slots_cap;
	uint8_t *stored; /* made by a compressor */
	size_t stored_len;
	size_t memory; /* as counted in on_the_way */
	struct cs_box *next; /* in the queue, in the order of closing */
};

/* A chunk on its way, found by its hash. Caller's thread only. */
struct cs_pending {
	uint64_t key;
	struct cs_box *box;
	uint32_t slot;
	struct cs_pending *chain;
};

struct cs_pipeline {
	struct cs_store *store;
	/* caller's thread only */
	struct cs_box *open[CS_PIPELINE_PLACES];
	struct cs_pending *bucket[CS_PENDING_BUCKETS];
	struct cs_pending *spare;
	uint64_t next_number, numbers_left; /* not yet of a place's run */
	/* the next number of each; a multiple of CS_BUNDLE_RUN: none left */
	uint64_t run[CS_PIPELINE_PLACES];
	struct cs_pipeline_stats stats; /* stored: guarded by lock */
	bool heal;
	struct cs_healed *healed;
	size_t nhealed, healed_cap;

	pthread_mutex_t lock;
	pthread_cond_t work;  /* for compressors: a bundle was closed, or stop */
	pthread_cond_t ready; /* for the writer: a bundle is ready, or stop */
	pthread_cond_t moved; /* for the caller: something was committed or failed */
	/* guarded by lock */
	struct cs_box *head, **tail; /* closed and later, not yet reaped */
	size_t on_the_way;
	uint64_t index_pages;
	unsigned uncompressed; /* boxes before CS_BOX_READY */
	bool stop_work, stop_writer;
	struct cs_error error; /* the first failure of a thread */

	int level;
	unsigned nthreads;
	pthread_t threads[CS_PIPELINE_THREADS], writer;
	bool writer_runs;
};

/* pipeline_boxes.c; caller's thread only, but for the last two */

/* A new one for chunks of this kind, with room for so many bytes, open at its place. */
int cs_pipeline_box_open(struct cs_pipeline *p, int kind, int place, size_t room,
			 struct cs_error *err) CS_MUST_CHECK;
/* It can take that much more. */
bool cs_pipeline_box_has_room(const struct cs_box *b, size_t len);
/* Hand a full box to the compressors; wait while too much is on its way. */
int cs_pipeline_box_close(struct cs_pipeline *p, int place, struct cs_error *err) CS_MUST_CHECK;
/* All of them, and what is known of their chunks. The threads have ended. */
void cs_pipeline_boxes_release(struct cs_pipeline *p);
/* Memory for what pending_add takes; NULL: none. */
struct cs_pending *cs_pipeline_pending_new(struct cs_pipeline *p);
void cs_pipeline_pending_give_back(struct cs_pipeline *p, struct cs_pending *e);
/* Slot of b is a chunk on its way. */
void cs_pipeline_pending_add(struct cs_pipeline *p, struct cs_pending *e, struct cs_box *b,
			     uint32_t slot);
/* Such a chunk with the same bytes, or 0. */
cs_chunk cs_pipeline_pending_find(struct cs_pipeline *p, int kind, const struct cs_hash *h,
				  const uint8_t *data, size_t len);
/* The first failure counts, and wakes all who wait; err may be NULL. With the lock held. */
void cs_pipeline_fail(struct cs_pipeline *p, int code, const struct cs_error *err);
/* CS_OK, or that of a thread that failed. With the lock held. */
int cs_pipeline_failure(struct cs_pipeline *p, struct cs_error *err);

/* Threads; arg: the pipeline. */
void *cs_pipeline_compressor(void *arg);
void *cs_pipeline_writer(void *arg);

/* Is a whole batch ready at the head of the queue, where the writer takes? With the lock held. */
bool cs_pipeline_batch_is_full(const struct cs_pipeline *p);
/* Bundles and their index rows. */
int cs_pipeline_put(struct cs_txn *t, struct cs_box *const *boxes, size_t n,
		    struct cs_error *err) CS_MUST_CHECK;

#endif
