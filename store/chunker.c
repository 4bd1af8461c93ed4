/* SPDX-License-Identifier: MIT */
/*
 * chunker.c - decision: the gear hash of FastCDC with normalised chunking.
 *
 * hash = hash * 2 + gear[byte]: a byte's influence has left the 64 bits after
 * 64 steps, so the hash at a place depends on the 64 bytes before it and on
 * nothing else. It is warmed up on the 64 bytes before the minimum, so a place
 * is a cut or not wherever its chunk began, and two streams fall into step
 * again soon after a difference. A cut is where the top bits are zero: 18 of
 * them up to the normal length, 14 after it, which draws the lengths together.
 * The first bytes of a chunk, up to the minimum, are not even looked at.
 */
#include "chunker.h"

#include "gear.h"

#include <assert.h>

#define NORMALISATION 2 /* bits more before, and fewer after, the normal length */

void cs_chunker_init(struct cs_chunker *c, const struct cs_chunker_params *p)
{
	static const struct cs_chunker_params defaults = {
		CS_CHUNKER_MIN, CS_CHUNKER_AVG, CS_CHUNKER_MAX,
	};
	if (!p)
		p = &defaults;
	assert(p->min >= CS_CHUNKER_WINDOW && p->min <= p->avg && p->avg <= p->max);
	assert(p->avg >= 256 && p->avg <= 1u << 30 && (p->avg & (p->avg - 1)) == 0);
	int bits = __builtin_ctz(p->avg);
	*c = (struct cs_chunker){
		.min = p->min,
		.avg = p->avg,
		.max = p->max,
		.mask_hard = ~0ull << (64 - (bits + NORMALISATION)),
		.mask_easy = ~0ull << (64 - (bits - NORMALISATION)),
	};
}

/*
 * Roll from *pos to end; true when a cut was found, *pos is then behind it.
 * Two bytes a step: both hashes come from the one before, so the second does
 * not wait for the first.
 */
static bool roll(const uint8_t *data, uint32_t *pos, uint32_t end, uint64_t *hash, uint64_t mask)
{
	uint64_t h = *hash;
	uint32_t i = *pos;
	bool cut = false;

	while (end - i >= 2) {
		uint64_t first = cs_gear[data[i]], second = cs_gear[data[i + 1]];
		uint64_t h1 = (h << 1) + first;
		h = (h << 2) + ((first << 1) + second);
		i += 2;
		if (!(h1 & mask)) {
			i--;
			cut = true;
			break;
		}
		if (!(h & mask)) {
			cut = true;
			break;
		}
	}
	if (!cut && i < end) {
		h = (h << 1) + cs_gear[data[i++]];
		cut = !(h & mask);
	}
	*hash = h;
	*pos = i;
	return cut;
}

static uint32_t least(uint32_t a, uint32_t b)
{
	return a < b ? a : b;
}

size_t cs_chunker_next(struct cs_chunker *c, const uint8_t *data, size_t len, bool end)
{
	uint32_t have = len < c->max ? (uint32_t)len : c->max;
	uint32_t pos = c->done;
	bool cut = false;

	if (pos == 0) {
		pos = c->min - CS_CHUNKER_WINDOW;
		c->hash = 0;
	}
	if (have > pos) {
		/* the last byte of the warm-up is the first that may end a chunk */
		while (pos < c->min - 1 && pos < have)
			c->hash = (c->hash << 1) + cs_gear[data[pos++]];
		if (pos < least(have, c->avg))
			cut = roll(data, &pos, least(have, c->avg), &c->hash, c->mask_hard);
		if (!cut && pos < have)
			cut = roll(data, &pos, have, &c->hash, c->mask_easy);
		c->done = pos;
	}
	if (!cut) {
		if (have < c->max && !end)
			return 0;
		pos = have;
	}
	c->done = 0;
	return pos;
}
