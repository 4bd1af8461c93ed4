/* SPDX-License-Identifier: MIT */
/* cleanup.h - descriptors and buffers that close themselves when their scope ends. */
#ifndef CS_CLEANUP_H
#define CS_CLEANUP_H

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

static inline void cs_cleanup_close(int *fd)
{
	if (*fd >= 0) {
		int saved = errno;
		close(*fd);
		errno = saved;
	}
}

static inline void cs_cleanup_free(void *p)
{
	void *v;
	__builtin_memcpy(&v, p, sizeof(v));
	free(v);
}

#define CS_CLOSE __attribute__((cleanup(cs_cleanup_close)))
#define CS_FREE __attribute__((cleanup(cs_cleanup_free)))

#endif
