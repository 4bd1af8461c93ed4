/* SPDX-License-Identifier: MIT */
#include "alloc.h"

#include "err.h"

#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static atomic_long fail_after = -1;

void cs_alloc_fail_after(long n)
{
	atomic_store(&fail_after, n);
}

static int must_fail(void)
{
	if (atomic_load_explicit(&fail_after, memory_order_relaxed) < 0)
		return 0;
	long left = atomic_fetch_sub(&fail_after, 1);
	if (left > 0)
		return 0;
	atomic_store(&fail_after, 0);
	return 1;
}

void *cs_alloc(size_t size)
{
	return must_fail() ? NULL : malloc(size ? size : 1);
}

void *cs_zalloc(size_t size)
{
	return must_fail() ? NULL : calloc(1, size ? size : 1);
}

void *cs_realloc(void *p, size_t size)
{
	return must_fail() ? NULL : realloc(p, size ? size : 1);
}

char *cs_strdup(const char *s)
{
	size_t n = strlen(s) + 1;
	char *p = cs_alloc(n);
	return p ? memcpy(p, s, n) : NULL;
}

int cs_grow(void *array_ptr, size_t *cap, size_t need, size_t item)
{
	if (need <= *cap)
		return CS_OK;
	size_t n = *cap ? *cap : 16;
	while (n < need)
		n = n > SIZE_MAX / 2 ? need : n * 2;
	void *p, *old;
	memcpy(&old, array_ptr, sizeof(old));
	if (n > SIZE_MAX / item || !(p = cs_realloc(old, n * item)))
		return CS_E_NOMEM;
	memcpy(array_ptr, &p, sizeof(p));
	*cap = n;
	return CS_OK;
}
