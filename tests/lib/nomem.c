/* SPDX-License-Identifier: MIT */
/*
 * nomem.c - preloaded into a program: allocation number CS_NOMEM (from 1) of the whole
 * process finds no memory; the C library's, LMDB's and zstd's count as well. At its
 * end the number of all of them is written to the file CS_NOMEM_COUNT.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *__libc_malloc(size_t n);
void *__libc_calloc(size_t n, size_t size);
void *__libc_realloc(void *p, size_t n);

static atomic_long count;
static long victim;
static int begun;

__attribute__((constructor)) static void begin(void)
{
	const char *n = getenv("CS_NOMEM");

	victim = n ? atol(n) : 0;
	begun = 1;
}

__attribute__((destructor)) static void end(void)
{
	const char *path = getenv("CS_NOMEM_COUNT");
	char text[32];

	if (!path)
		return;
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	int len = snprintf(text, sizeof(text), "%ld\n", atomic_load(&count));
	if (fd >= 0 && write(fd, text, (size_t)len) == len)
		close(fd);
}

static int refused(void)
{
	if (!begun || atomic_fetch_add(&count, 1) + 1 != victim)
		return 0;
	errno = ENOMEM;
	return 1;
}

void *malloc(size_t n)
{
	return refused() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return refused() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return refused() ? NULL : __libc_realloc(p, n);
}
