/* SPDX-License-Identifier: MIT */
/*
 * chunker.h - where to cut a large file, so that an insertion moves few cuts.
 *
 * Pure, no allocation. One chunker cuts one stream; it belongs to one thread.
 */
#ifndef CS_CHUNKER_H
#define CS_CHUNKER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CS_CHUNKER_MIN (32u << 10)
#define CS_CHUNKER_AVG (64u << 10)
#define CS_CHUNKER_MAX (256u << 10)
#define CS_CHUNKER_WINDOW 64u /* a cut is decided by so many bytes before it */

/* Bytes. WINDOW <= min <= avg <= max; avg is a power of two, 256 .. 1 GiB. */
struct cs_chunker_params {
	uint32_t min; /* no chunk is shorter, but the last */
	uint32_t avg; /* from here on a cut is 16 times as likely; the mean is a little above */
	uint32_t max; /* no chunk is longer */
};

struct cs_chunker {
	uint32_t min, avg, max;
	uint64_t mask_hard, mask_easy; /* before and after avg */
	/* the chunk being looked at, so that little feeds are not scanned again and again */
	uint64_t hash;
	uint32_t done; /* bytes of it that are in the hash or skipped; 0: a fresh chunk */
};

/* p NULL: the three constants above. Parameters out of bounds are a programmer's error. */
void cs_chunker_init(struct cs_chunker *c, const struct cs_chunker_params *p);
/*
 * The length of the next chunk, which begins at data[0]; 0: more data is needed
 * (only while len < max and not end), then call again with the same bytes and
 * more behind them. end: nothing follows data[len - 1]. After a chunk was
 * returned the next call begins with the byte after it. Cuts depend on the
 * stream alone, not on how it is fed.
 */
size_t cs_chunker_next(struct cs_chunker *c, const uint8_t *data, size_t len, bool end);

#endif
