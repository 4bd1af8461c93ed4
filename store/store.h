/* SPDX-License-Identifier: MIT */
/*
 * store.h - an open store, as the actions see it.
 */
#ifndef CS_STORE_H
#define CS_STORE_H

#include "bundles.h"
#include "cache.h"
#include "chunkstore.h"
#include "db.h"
#include "leases.h"
#include "points.h"
#include "prefetch.h"
#include "record.h"

#include <pthread.h>

struct cs_hints;

/* All pointers are immutable after open; what they point to guards itself. */
struct cs_store {
	char *path;
	bool writable;
	dev_t dev; /* of the store's directory: a backup leaves it out */
	ino_t ino;
	ino_t lock_ino; /* of LMDB's lock file, on the same device; 0: none */
	struct cs_db *db;
	struct cs_leases *leases;
	struct cs_turn *turn; /* NULL: open for reading */
	struct cs_store_header header;
	struct cs_cache *bundles;      /* bundle number -> struct cs_bundle */
	struct cs_cache *pages;        /* chunk number -> struct cs_page */
	struct cs_hints *hints;        /* position -> page, see browse.c */
	size_t cache_bytes; /* what bundles and pages may take together */
	struct cs_prefetch *prefetch;
	_Atomic uint64_t touched[64]; /* bundles of which one chunk was read */
	_Atomic uint64_t decoded; /* bytes of bundles and of deltas, since the store was opened */
	pthread_mutex_t lock;
	struct cs_decompressor *spare[8]; /* guarded by lock */
	unsigned nspare;
};

/* Now, by the clock of the wall. */
struct cs_time cs_now(void);
/* The content hash as this store keeps it. */
struct cs_hash cs_store_hash(const struct cs_store *s, const void *data, size_t len);

#endif
