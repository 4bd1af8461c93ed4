/* SPDX-License-Identifier: MIT */
#include "hints.h"

#include "alloc.h"

#include <pthread.h>
#include <stdlib.h>

#define ROWS 8192
#define STRIPES 64

struct cs_hints {
	pthread_mutex_t lock[STRIPES]; /* guards the rows i with i % STRIPES */
	struct cs_hint row[ROWS];
};

static size_t row_of(uint64_t seq, uint64_t run)
{
	uint64_t v = (run + seq * 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull;
	return (v >> 40) % ROWS;
}

struct cs_hints *cs_hints_new(void)
{
	struct cs_hints *h = cs_zalloc(sizeof(*h));
	for (int i = 0; h && i < STRIPES; i++)
		pthread_mutex_init(&h->lock[i], NULL);
	return h;
}

void cs_hints_free(struct cs_hints *h)
{
	for (int i = 0; h && i < STRIPES; i++)
		pthread_mutex_destroy(&h->lock[i]);
	free(h);
}

void cs_hints_add(struct cs_hints *h, const struct cs_hint *hint, uint64_t pos)
{
	size_t i = row_of(hint->seq, pos / CS_HINT_RUN);
	pthread_mutex_lock(&h->lock[i % STRIPES]);
	h->row[i] = *hint;
	pthread_mutex_unlock(&h->lock[i % STRIPES]);
}

bool cs_hints_find(struct cs_hints *h, uint64_t seq, uint64_t pos, struct cs_hint *out)
{
	size_t i = row_of(seq, pos / CS_HINT_RUN);
	pthread_mutex_lock(&h->lock[i % STRIPES]);
	*out = h->row[i];
	pthread_mutex_unlock(&h->lock[i % STRIPES]);
	return out->seq == seq && pos >= out->base;
}
