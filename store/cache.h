/* SPDX-License-Identifier: MIT */
/*
 * cache.h - decoded things by number, bounded in bytes.
 *
 * Single flight: two readers that want one bundle decode it once. A failed
 * fill leaves no entry behind, so a passing error does not stick and a lasting
 * one is reported to each. What is in use is never evicted; when everything
 * is, the bound is exceeded by what is in use and nothing more; but a value that is
 * larger than a shard stays until the next one comes. No backup makes such bundles; in
 * a forged one each of 65535 pages would be a bundle decoded anew.
 *
 * Locking: entries are spread over shards by their key; each shard has its own
 * lock, held for look-ups and list work only, never while a value is made. So
 * readers of different bundles do not wait for each other.
 */
#ifndef CS_CACHE_H
#define CS_CACHE_H

#include "err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct cs_cache;

/* Make the value of a key, and say how many bytes it takes. */
typedef int cs_cache_fill(void *arg, uint64_t key, void **out_value, size_t *out_size,
			  struct cs_error *err);
typedef void cs_cache_destroy(void *value);

/*
 * before_wait, unless NULL, is called by a thread that is about to wait until another
 * one has made a value, with the lock of a shard held. NULL: no memory.
 */
struct cs_cache *cs_cache_new(size_t bytes, cs_cache_destroy *destroy, void (*before_wait)(void));
/* Nothing may be held any more. */
void cs_cache_free(struct cs_cache *c);

/*
 * The value of a key, filled if need be, held until cs_cache_release(*out_held).
 * Any thread.
 */
int cs_cache_get(struct cs_cache *c, uint64_t key, cs_cache_fill *fill, void *arg,
		 void **out_held, void **out_value, struct cs_error *err) CS_MUST_CHECK;
/* True if the key is there or being made; nothing is held. */
bool cs_cache_has(struct cs_cache *c, uint64_t key);
void cs_cache_hold(void *held);    /* once more */
void cs_cache_release(void *held); /* NULL is fine */

struct cs_cache_stats {
	uint64_t hits, misses, evictions, bytes;
};
void cs_cache_stats(struct cs_cache *c, struct cs_cache_stats *out);

#endif
