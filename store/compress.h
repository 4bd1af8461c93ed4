/* SPDX-License-Identifier: MIT */
/*
 * compress.h - zstd, behind a fence. One context per thread; a context is made
 * once and reused.
 */
#ifndef CS_COMPRESS_H
#define CS_COMPRESS_H

#include "err.h"

#include <stdint.h>

#define CS_LEVEL_NONE (-1) /* find nothing worth compressing */
#define CS_LEVEL_DEFAULT 3
#define CS_LEVEL_MAX 19

struct cs_compressor;
struct cs_compressor *cs_compressor_new(int level); /* NULL: no memory */
/* Another level for what comes. */
void cs_compressor_set(struct cs_compressor *c, int level);
int cs_compressor_level(const struct cs_compressor *c);
void cs_compressor_free(struct cs_compressor *c);
/* Room that compressing len bytes may need. */
size_t cs_compress_bound(size_t len);
/*
 * One frame into out[cap]. Returns its size, or 0 when it would not be smaller
 * than len (store the bytes raw then).
 */
size_t cs_compress(struct cs_compressor *c, const void *data, size_t len, void *out, size_t cap);

/*
 * The same as a delta: a frame that needs the base's bytes to be read. 0 unless it is
 * much smaller than the data compressed alone would be: reading it costs the base, too.
 */
size_t cs_compress_delta(struct cs_compressor *c, const void *base, size_t base_len,
			 const void *data, size_t len, void *out, size_t cap);

struct cs_decompressor;
struct cs_decompressor *cs_decompressor_new(void);
void cs_decompressor_free(struct cs_decompressor *d);
/* Exactly raw_len bytes into out, from exactly one frame. Anything else is CS_E_CORRUPT. */
int cs_decompress(struct cs_decompressor *d, const void *frame, size_t len, void *out,
		  size_t raw_len) CS_MUST_CHECK;
/* Only the first part_len bytes of them. What lies behind is not looked at. */
int cs_decompress_part(struct cs_decompressor *d, const void *frame, size_t len, size_t raw_len,
		       void *out, size_t part_len) CS_MUST_CHECK;
int cs_decompress_delta(struct cs_decompressor *d, const void *base, size_t base_len,
			const void *frame, size_t len, void *out, size_t raw_len) CS_MUST_CHECK;

#endif
