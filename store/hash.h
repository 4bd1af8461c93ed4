/* SPDX-License-Identifier: MIT */
/*
 * hash.h - XXH3, behind a fence.
 *
 * XXH3-128 names content for speed: it is not collision-resistant, so nobody
 * takes equal hashes for equal bytes (see index.h). A store made for tests may
 * keep only a few bits of it; cs_hash_cut() is applied to every hash such a
 * store computes.
 */
#ifndef CS_HASH_H
#define CS_HASH_H

#include "entry.h"

struct cs_hash cs_hash_of(const void *data, size_t len);
/* XXH3-64 */
uint64_t cs_checksum(const void *data, size_t len);
/* The same with a seed: the checksum of bundles. */
uint64_t cs_checksum_seeded(const void *data, size_t len, uint64_t seed);
/* Keep the first `bits` bits (1..128), clear the rest. */
struct cs_hash cs_hash_cut(struct cs_hash h, unsigned bits);
/* The first 64 bits as a number. */
uint64_t cs_hash_key(const struct cs_hash *h);
bool cs_hash_equal(const struct cs_hash *a, const struct cs_hash *b);

/* Hash of a stream. */
struct cs_hasher;
struct cs_hasher *cs_hasher_new(void); /* NULL: no memory; free with cs_hasher_free */
void cs_hasher_free(struct cs_hasher *h);
void cs_hasher_reset(struct cs_hasher *h);
void cs_hasher_add(struct cs_hasher *h, const void *data, size_t len);
struct cs_hash cs_hasher_end(const struct cs_hasher *h);

#endif
