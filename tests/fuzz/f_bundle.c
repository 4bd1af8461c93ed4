/* SPDX-License-Identifier: MIT */
/*
 * f_bundle.c - a stored bundle: the bytes as they are, and behind a right
 * checksum, which is where a bundle made by an enemy begins to matter.
 */
#include "fuzz.h"

#include "store/bundles.h"
#include "store/hash.h"

#include <string.h>

/* Without the checksum of the bundle: what comes has the hash that the table says. */
static void read_one(const uint8_t *data, size_t len, uint32_t slot, const uint8_t *raw)
{
	struct cs_bundle *one;

	if (cs_bundle_read_one((struct cs_slice){ data, len }, 1, slot, &one, NULL) != CS_OK)
		return;
	struct cs_hash h = cs_hash_of(one->raw, one->raw_len);
	MUST(cs_hash_equal(&h, &one->slots[0].hash));
	MUST(!raw || memcmp(one->raw, raw, one->raw_len) == 0);
	cs_bundle_free(one);
}

static void look_at(struct cs_decompressor *d, struct cs_bundle *b, const uint8_t *data, size_t len)
{
	uint64_t sum = 0;

	MUST(b->kind >= CS_BUNDLE_DATA && b->kind <= CS_BUNDLE_META);
	MUST(b->raw_len <= CS_BUNDLE_RAW_MAX && b->frames_len <= CS_BUNDLE_FRAMES_MAX);
	for (uint32_t i = 0; i < b->nslots; i++) {
		const struct cs_slot *s = &b->slots[i];
		struct cs_bundle *one;
		MUST(s->len <= CS_CHUNK_MAX);
		for (uint32_t k = 0; k < cs_slot_weight(s); k += 512)
			sum += b->raw[s->off + k];
		if (cs_slot_weight(s))
			sum += b->raw[s->off + cs_slot_weight(s) - 1];
		if (!s->frame_len) {
			int rc = cs_bundle_decode_one(d, 1, data, len, i, &one);
			if (rc == CS_OK) {
				MUST(one->raw_len == s->len);
				MUST(memcmp(one->raw, b->raw + s->off, s->len) == 0);
				cs_bundle_free(one);
			}
			/*
			 * zstd 1.5.4 has two decoders of sequences, and the one for a base that is
			 * not in the cache takes a frame whose bits are not used up; it is used for
			 * the next frame as well, if that of a delta was refused before its first
			 * block. No compressor makes such a frame.
			 */
			MUST(rc == CS_OK || rc == CS_E_NOTFOUND || rc == CS_E_CORRUPT);
			read_one(data, len, i, b->raw + s->off);
			continue;
		}
		if (cs_bundle_of_delta(d, b, i, b->raw, b->raw_len, &one) == CS_OK) {
			MUST(one->raw_len == s->len);
			cs_bundle_free(one);
		}
	}
	MUST(cs_bundle_memory(b) > 0 && sum < UINT64_MAX);
}

/* The same rows, one by one. */
static void find_slots(const uint8_t *data, size_t len)
{
	struct cs_bundle_header h;
	struct cs_slot s;

	if (cs_bundle_header_unpack(data, len, &h) != CS_OK)
		return;
	for (uint32_t i = 0; i <= h.nslots && i < 32; i++)
		if (cs_slot_find(data, &h, i, &s) == CS_OK)
			MUST(i < h.nslots && s.len <= CS_CHUNK_MAX);
	for (uint32_t i = 0; i <= h.nslots && i < 8; i++)
		read_one(data, len, i, NULL);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static struct cs_decompressor *d;
	struct cs_bundle *b;

	if (!d)
		d = cs_decompressor_new();
	if (cs_bundle_decode(d, 1, data, size, &b) == CS_OK) {
		look_at(d, b, data, size);
		cs_bundle_free(b);
	}
	find_slots(data, size);
	if (size < CS_BUNDLE_HEADER_SIZE)
		return 0;
	uint8_t *sealed = malloc(size);
	MUST(sealed);
	memcpy(sealed, data, size);
	cs_bundle_seal(sealed, size, 1);
	find_slots(sealed, size);
	if (cs_bundle_decode(d, 1, sealed, size, &b) == CS_OK) {
		look_at(d, b, sealed, size);
		cs_bundle_free(b);
	}
	free(sealed);
	return 0;
}
