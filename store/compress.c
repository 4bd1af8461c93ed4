/* SPDX-License-Identifier: MIT */
#include "compress.h"

#include "alloc.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

struct cs_compressor {
	ZSTD_CCtx *ctx;
	int level;
};

struct cs_decompressor {
	ZSTD_DCtx *ctx;
};

struct cs_compressor *cs_compressor_new(int level)
{
	struct cs_compressor *c = cs_zalloc(sizeof(*c));
	if (!c)
		return NULL;
	c->ctx = ZSTD_createCCtx();
	if (!c->ctx) {
		free(c);
		return NULL;
	}
	ZSTD_CCtx_setParameter(c->ctx, ZSTD_c_contentSizeFlag, 1);
	ZSTD_CCtx_setParameter(c->ctx, ZSTD_c_checksumFlag, 0);
	cs_compressor_set(c, level);
	return c;
}

void cs_compressor_set(struct cs_compressor *c, int level)
{
	c->level = level;
	if (level != CS_LEVEL_NONE)
		ZSTD_CCtx_setParameter(c->ctx, ZSTD_c_compressionLevel, level);
}

int cs_compressor_level(const struct cs_compressor *c)
{
	return c->level;
}

void cs_compressor_free(struct cs_compressor *c)
{
	if (c) {
		ZSTD_freeCCtx(c->ctx);
		free(c);
	}
}

size_t cs_compress_bound(size_t len)
{
	return ZSTD_compressBound(len);
}

size_t cs_compress(struct cs_compressor *c, const void *data, size_t len, void *out, size_t cap)
{
	if (c->level == CS_LEVEL_NONE)
		return 0;
	size_t n = ZSTD_compress2(c->ctx, out, cap, data, len);
	/* a gain below 1/32 is not worth a decode */
	return ZSTD_isError(n) || n + len / 32 >= len ? 0 : n;
}

/*
 * A frame below an eighth is small beside any other form of the data. Above
 * that the data is compressed alone to compare, and half of it is worth it.
 */
size_t cs_compress_delta(struct cs_compressor *c, const void *base, size_t base_len,
			 const void *data, size_t len, void *out, size_t cap)
{
	if (c->level == CS_LEVEL_NONE)
		return 0;
	ZSTD_CCtx_refPrefix(c->ctx, base, base_len);
	size_t n = ZSTD_compress2(c->ctx, out, cap, data, len);
	ZSTD_CCtx_refPrefix(c->ctx, NULL, 0);
	if (ZSTD_isError(n) || n > len / 2)
		return 0;
	if (n <= len / 8)
		return n;
	size_t room = ZSTD_compressBound(len);
	void *alone = cs_alloc(room);
	size_t m = alone ? ZSTD_compress2(c->ctx, alone, room, data, len) : 0;
	free(alone);
	return !ZSTD_isError(m) && 2 * n <= m ? n : 0;
}

struct cs_decompressor *cs_decompressor_new(void)
{
	struct cs_decompressor *d = cs_zalloc(sizeof(*d));
	if (d && !(d->ctx = ZSTD_createDCtx())) {
		free(d);
		return NULL;
	}
	return d;
}

void cs_decompressor_free(struct cs_decompressor *d)
{
	if (d) {
		ZSTD_freeDCtx(d->ctx);
		free(d);
	}
}

/*
 * A frame of today's format that says how long its content is. The library also
 * reads the formats of zstd before 1.0, by decoders that nobody looks after.
 */
static int is_ours(const uint8_t *frame, size_t len, size_t raw_len)
{
	static const uint8_t magic[4] = { 0x28, 0xb5, 0x2f, 0xfd };
	return len > sizeof(magic) && memcmp(frame, magic, sizeof(magic)) == 0 &&
	       ZSTD_getFrameContentSize(frame, len) == raw_len;
}

int cs_decompress(struct cs_decompressor *d, const void *frame, size_t len, void *out,
		  size_t raw_len)
{
	if (!is_ours(frame, len, raw_len) || ZSTD_findFrameCompressedSize(frame, len) != len)
		return CS_E_CORRUPT;
	size_t n = ZSTD_decompressDCtx(d->ctx, out, raw_len, frame, len);
	return ZSTD_isError(n) || n != raw_len ? CS_E_CORRUPT : CS_OK;
}

int cs_decompress_part(struct cs_decompressor *d, const void *frame, size_t len, size_t raw_len,
		       void *out, size_t part_len)
{
	ZSTD_inBuffer from = { frame, len, 0 };
	ZSTD_outBuffer to = { out, part_len, 0 };
	size_t n = 1;
	if (!is_ours(frame, len, raw_len) || part_len > raw_len)
		return CS_E_CORRUPT;
	ZSTD_DCtx_reset(d->ctx, ZSTD_reset_session_only);
	while (to.pos < to.size && from.pos < from.size && !ZSTD_isError(n))
		n = ZSTD_decompressStream(d->ctx, &to, &from);
	ZSTD_DCtx_reset(d->ctx, ZSTD_reset_session_only);
	return ZSTD_isError(n) || to.pos < to.size ? CS_E_CORRUPT : CS_OK;
}

int cs_decompress_delta(struct cs_decompressor *d, const void *base, size_t base_len,
			const void *frame, size_t len, void *out, size_t raw_len)
{
	if (ZSTD_isError(ZSTD_DCtx_refPrefix(d->ctx, base, base_len)))
		return CS_E_CORRUPT;
	int rc = cs_decompress(d, frame, len, out, raw_len);
	ZSTD_DCtx_refPrefix(d->ctx, NULL, 0); /* also when the frame was never looked at */
	return rc;
}
