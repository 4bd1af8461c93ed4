/* SPDX-License-Identifier: MIT */
/* search.h - looking up a number in rows that are sorted by it. */
#ifndef CS_SEARCH_H
#define CS_SEARCH_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

/*
 * The first of n rows, of `size` bytes each, whose uint64_t at offset `at` is not less than
 * key; n: there is none.
 */
static inline size_t cs_search(const void *rows, size_t n, size_t size, size_t at, uint64_t key)
{
	size_t lo = 0, hi = n;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		uint64_t v;
		memcpy(&v, (const char *)rows + mid * size + at, sizeof(v));
		if (v < key)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

#endif
