/* SPDX-License-Identifier: MIT */
/*
 * pipeline.h - chunks in, chunk numbers out.
 *
 *   caller's thread     reads sources into the open bundle, hashes, looks for
 *                       the chunk among those on their way and in the index,
 *                       compares bytes, numbers it; a full bundle is closed
 *   compressor threads  turn closed bundles into their stored form
 *   writer thread       commits bundles and index rows, a batch a transaction
 *
 * A chunk has its number before it is stored: bundle numbers are taken in
 * advance. Memory is bounded: when too much is on its way, the caller waits.
 *
 * Crash points: a batch is durable or absent, whole. Bundles that no point
 * refers to yet are gc's to free. The point is written in the same transaction
 * as the last batch (cs_pipeline_finish), so it never refers to what is not
 * there.
 */
#ifndef CS_PIPELINE_H
#define CS_PIPELINE_H

#include "store.h"

struct cs_pipeline;

struct cs_pipeline_stats {
	uint64_t chunks_new, chunks_dup;
	uint64_t raw, stored; /* bytes of new bundles, before and after compression */
	uint64_t healed; /* damaged chunks that were stored again, or found elsewhere */
};

/* level, threads: as in struct cs_backup_opts. */
int cs_pipeline_new(struct cs_store *s, int level, unsigned threads, struct cs_pipeline **out,
		    struct cs_error *err) CS_MUST_CHECK;
/* From now on, heal what is damaged (heal.h) when its content is met; with cs_pipeline_finish. */
void cs_pipeline_heal(struct cs_pipeline *p);
/* Stops the threads. What was not committed is given up. NULL is fine. */
void cs_pipeline_free(struct cs_pipeline *p);

/*
 * Room for len bytes (at most CS_CHUNK_MAX) in the open bundle of a kind
 * (CS_BUNDLE_*), valid until the next call on p.
 */
int cs_pipeline_room(struct cs_pipeline *p, int kind, cs_chunk like, size_t len, uint8_t **out,
		     struct cs_error *err) CS_MUST_CHECK;
/*
 * Store a chunk of 1 to CS_CHUNK_MAX bytes, unless it is there. data may lie
 * at the start of the room for the same `like`, and is not copied then.
 * like: a stored chunk that this one resembles, so that it may become a delta;
 * 0: none is known. out_hash may be NULL.
 */
int cs_pipeline_chunk(struct cs_pipeline *p, int kind, const uint8_t *data, size_t len,
		      cs_chunk like, cs_chunk *out, struct cs_hash *out_hash,
		      struct cs_error *err) CS_MUST_CHECK;

/*
 * Commit what is left together with what fn writes in the same transaction.
 * fn may not use p. Called once, last.
 */
typedef int cs_pipeline_last(void *arg, struct cs_txn *t, struct cs_error *err);
int cs_pipeline_finish(struct cs_pipeline *p, cs_pipeline_last *fn, void *arg,
		       struct cs_error *err) CS_MUST_CHECK;
/* Wait until all closed bundles are compressed, so that stats are complete; closes the open ones. */
int cs_pipeline_flush(struct cs_pipeline *p, struct cs_error *err) CS_MUST_CHECK;

void cs_pipeline_stats(struct cs_pipeline *p, struct cs_pipeline_stats *out);

#endif
