/* SPDX-License-Identifier: MIT */
#include "hash.h"

#include "alloc.h"

#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

static struct cs_hash canonical(XXH128_hash_t v)
{
	XXH128_canonical_t c;
	struct cs_hash h;
	XXH128_canonicalFromHash(&c, v);
	memcpy(h.b, c.digest, sizeof(h.b));
	return h;
}

struct cs_hash cs_hash_of(const void *data, size_t len)
{
	return canonical(XXH3_128bits(data, len));
}

uint64_t cs_checksum(const void *data, size_t len)
{
	return XXH3_64bits(data, len);
}

uint64_t cs_checksum_seeded(const void *data, size_t len, uint64_t seed)
{
	return XXH3_64bits_withSeed(data, len, seed);
}

struct cs_hash cs_hash_cut(struct cs_hash h, unsigned bits)
{
	for (unsigned i = 0; i < CS_HASH_SIZE; i++) {
		if (bits >= 8 * (i + 1))
			continue;
		h.b[i] = bits <= 8 * i ? 0 : (uint8_t)(h.b[i] & (0xff << (8 - (bits - 8 * i))));
	}
	return h;
}

uint64_t cs_hash_key(const struct cs_hash *h)
{
	uint64_t v = 0;
	for (int i = 0; i < 8; i++)
		v = v << 8 | h->b[i];
	return v;
}

bool cs_hash_equal(const struct cs_hash *a, const struct cs_hash *b)
{
	return memcmp(a->b, b->b, CS_HASH_SIZE) == 0;
}

struct cs_hasher {
	XXH3_state_t *state;
};

struct cs_hasher *cs_hasher_new(void)
{
	struct cs_hasher *h = cs_zalloc(sizeof(*h));
	if (h && !(h->state = XXH3_createState())) {
		free(h);
		return NULL;
	}
	if (h)
		XXH3_128bits_reset(h->state);
	return h;
}

void cs_hasher_free(struct cs_hasher *h)
{
	if (h) {
		XXH3_freeState(h->state);
		free(h);
	}
}

void cs_hasher_reset(struct cs_hasher *h)
{
	XXH3_128bits_reset(h->state);
}

void cs_hasher_add(struct cs_hasher *h, const void *data, size_t len)
{
	XXH3_128bits_update(h->state, data, len);
}

struct cs_hash cs_hasher_end(const struct cs_hasher *h)
{
	return canonical(XXH3_128bits_digest(h->state));
}
