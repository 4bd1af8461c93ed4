/* SPDX-License-Identifier: MIT */
/*
 * prefetch.h - decode the next bundle on another core while a reader uses this
 * one. Bundles hold files in the order in which a restore reads them, so a
 * reader that steps from bundle to bundle will want the next: a random reader
 * does not, and triggers nothing.
 */
#ifndef CS_PREFETCH_H
#define CS_PREFETCH_H

#include <stdbool.h>
#include <stdint.h>

struct cs_prefetch;

/*
 * Decode into a cache, unless it is there, the bundle `number` (exactly) or
 * else the first data bundle after it. Called by the prefetcher's thread.
 */
typedef void cs_prefetch_fn(void *arg, uint64_t number, bool exactly);

/* The thread is started with the first use. NULL: no memory. */
struct cs_prefetch *cs_prefetch_new(cs_prefetch_fn *fn, void *arg);
/* Waits for what is being decoded. NULL is fine. */
void cs_prefetch_free(struct cs_prefetch *p);
/* A reader uses this bundle now. Cheap; any thread. */
void cs_prefetch_used(struct cs_prefetch *p, uint64_t number);
/* A reader will use this bundle soon. */
void cs_prefetch_wanted(struct cs_prefetch *p, uint64_t number);

#endif
