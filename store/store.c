/* SPDX-License-Identifier: MIT */
#include "store.h"

#include "hash.h"

#include <time.h>

struct cs_time cs_now(void)
{
	struct timespec ts;
	clock_gettime(CLOCK_REALTIME, &ts);
	return (struct cs_time){ ts.tv_sec, (uint32_t)ts.tv_nsec };
}

struct cs_hash cs_store_hash(const struct cs_store *s, const void *data, size_t len)
{
	struct cs_hash h = cs_hash_of(data, len);
	return s->header.hash_bits >= 128 ? h : cs_hash_cut(h, s->header.hash_bits);
}
