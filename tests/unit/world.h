/* SPDX-License-Identifier: MIT */
/* world.h - a scratch directory with a tree to back up and a store, for tests of whole actions. */
#ifndef CS_TEST_WORLD_H
#define CS_TEST_WORLD_H

#include "store/chunkstore.h"
#include "util.h"

/* A scratch directory of its own with an empty directory `tree`. For setup and teardown of tests. */
int world_begin(void **state);
int world_end(void **state);
/* A path in it, good until the fourth next call. */
const char *world_path(const char *name);
void world_write(const char *name, const void *data, size_t len);
/* A file of len bytes that do not compress, always the same for a seed. */
void world_random(const char *name, uint64_t seed, size_t len);

/* The store `store`, made when it is not there; for writing. */
struct cs_store *world_open(void);
/* Close it and open it again: nothing of it is in memory. */
void world_reopen(struct cs_store **s);
/* A point of `tree`, every file read. Its seq. */
uint64_t world_back_up(struct cs_store *s, const char *series);
/* Forget a point for good. */
void world_purge(struct cs_store *s, uint64_t seq);
struct cs_gc_result world_gc(struct cs_store *s);
/* Everything in the store is sound. */
void world_verify(struct cs_store *s);
/* Every byte of a point's file is the scratch file's. */
void world_same(struct cs_tree *t, const char *path, const char *name);
/* The same of a point of `tree` in which the file has not changed since. */
void world_unchanged(struct cs_store *s, uint64_t seq, const char *path);

#endif
