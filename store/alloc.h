/* SPDX-License-Identifier: MIT */
/*
 * alloc.h - every allocation of the library goes through here, so that tests
 * can make the n-th one fail. Freed with free(). NULL means out of memory.
 */
#ifndef CS_ALLOC_H
#define CS_ALLOC_H

#include <stddef.h>

void *cs_alloc(size_t size);
void *cs_zalloc(size_t size);
void *cs_realloc(void *p, size_t size);
char *cs_strdup(const char *s);
/* Grow *array (of *cap items of `item` bytes) to hold at least need items. 0 or CS_E_NOMEM. */
int cs_grow(void *array_ptr, size_t *cap, size_t need, size_t item);

/* Tests: let the next n allocations of this process succeed, then fail every one; n < 0: never. */
void cs_alloc_fail_after(long n);

#endif
