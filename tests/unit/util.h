/* SPDX-License-Identifier: MIT */
/*
 * util.h - what the unit tests share: cmocka with its prerequisites, random
 * numbers from a printed seed, and stored bytes in blocks of their exact
 * length, so that a sanitizer sees a read past their end.
 *
 * CS_TEST_SEED=N starts from another seed.
 */
#ifndef CS_TEST_UTIL_H
#define CS_TEST_UTIL_H

/* clang-format off: cmocka.h needs these before it */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct rng {
	uint64_t state;
};

static inline uint64_t rng_next(struct rng *r)
{
	r->state += 0x9e3779b97f4a7c15u;
	uint64_t z = r->state;

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static inline uint64_t rng_below(struct rng *r, uint64_t n)
{
	return rng_next(r) % n;
}

/* Numbers of every magnitude, the ends of the range among them. */
static inline uint64_t rng_number(struct rng *r, uint64_t max)
{
	uint64_t v = rng_next(r) >> rng_below(r, 64);

	switch (rng_below(r, 16)) {
	case 0:
		return 0;
	case 1:
		return max;
	default:
		return max == UINT64_MAX ? v : v % (max + 1);
	}
}

static inline void rng_bytes(struct rng *r, void *out, size_t len)
{
	uint8_t *p = (uint8_t *)out;

	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)rng_next(r);
}

static inline struct rng rng_start(void)
{
	const char *seed = getenv("CS_TEST_SEED");
	struct rng r = { seed ? strtoull(seed, NULL, 10) : 20261122 };

	printf("# seed %llu\n", (unsigned long long)r.state);
	return r;
}

/* A copy in a block of exactly len bytes (never NULL). */
static inline uint8_t *exact_copy(const void *data, size_t len)
{
	uint8_t *p = (uint8_t *)malloc(len ? len : 1);

	assert_non_null(p);
	if (len)
		memcpy(p, data, len);
	return p;
}

/* unpack(arg, bytes, len): 0 accepted, else a negative code. */
typedef int unpack_fn(void *arg, const uint8_t *data, size_t len);

/* Every prefix of a valid record is refused with want (0: with any code). */
static inline void check_truncations(unpack_fn *unpack, void *arg, const void *data, size_t len,
				     int want)
{
	for (size_t n = 0; n < len; n++) {
		uint8_t *copy = exact_copy(data, n);
		int rc = unpack(arg, copy, n);

		free(copy);
		if (want ? rc != want : rc >= 0)
			fail_msg("%zu of %zu bytes gave %d, not %d", n, len, rc, want);
	}
}

/* A byte too many is refused too. */
static inline void check_trailing(unpack_fn *unpack, void *arg, const void *data, size_t len,
				  int want)
{
	uint8_t *copy = (uint8_t *)malloc(len + 1);

	assert_non_null(copy);
	memcpy(copy, data, len);
	copy[len] = 0;
	assert_int_equal(unpack(arg, copy, len + 1), want);
	free(copy);
}

/* Changed bytes may be accepted or refused, but nothing worse (a sanitizer watches). */
static inline void check_mutations(unpack_fn *unpack, void *arg, const void *data, size_t len,
				   struct rng *r, unsigned rounds)
{
	for (unsigned i = 0; i < rounds; i++) {
		uint8_t *copy = exact_copy(data, len);

		for (uint64_t k = 1 + rng_below(r, 4); k > 0 && len; k--)
			copy[rng_below(r, len)] = (uint8_t)rng_next(r);
		size_t n = rng_below(r, 4) ? len : (size_t)rng_below(r, len + 1);
		uint8_t *shorter = exact_copy(copy, n);

		assert_true(unpack(arg, shorter, n) <= 0);
		free(shorter);
		free(copy);
	}
}

#endif
