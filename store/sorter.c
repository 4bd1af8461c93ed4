/* SPDX-License-Identifier: MIT */
#include "sorter.h"

#include "alloc.h"
#include "spill.h"

#include <stdlib.h>
#include <string.h>

#define HEAD sizeof(uint16_t)
#define BUDGET_MAX ((size_t)1 << 30) /* offsets have 32 bits */
#define ROW (2 * sizeof(uint32_t))   /* a record's offset, and the sort's copy of it */

void cs_sorter_init(struct cs_sorter *s, const char *dir, size_t budget)
{
	*s = (struct cs_sorter){ .dir = dir, .budget = budget < BUDGET_MAX ? budget : BUDGET_MAX };
}

static void drop_memory(struct cs_sorter *s)
{
	cs_buf_release(&s->text);
	free(s->off);
	s->off = NULL;
	s->n = s->cap = 0;
}

void cs_sorter_release(struct cs_sorter *s)
{
	drop_memory(s);
	cs_buf_release(&s->last);
	cs_spill_free(s->spill);
	s->spill = NULL;
	s->next = 0;
	s->sorted = false;
}

static inline size_t length_of(const uint8_t *rec)
{
	uint16_t n;
	memcpy(&n, rec - HEAD, HEAD);
	return n;
}

static int compare(const void *a, const void *b, void *text)
{
	const uint8_t *x = (const uint8_t *)text + *(const uint32_t *)a;
	const uint8_t *y = (const uint8_t *)text + *(const uint32_t *)b;
	size_t xn = length_of(x), yn = length_of(y);
	int d = memcmp(x, y, xn < yn ? xn : yn);
	return d ? d : (xn > yn) - (xn < yn);
}

static void sort_memory(struct cs_sorter *s)
{
	if (s->n > 1)
		qsort_r(s->off, s->n, sizeof(*s->off), compare, s->text.data);
}

/* What is in memory becomes a run of its own. */
static int spill_memory(struct cs_sorter *s, struct cs_error *err)
{
	int rc = s->spill ? CS_OK : cs_spill_new(s->dir, s->budget / 2, &s->spill, err);
	if (rc == CS_OK)
		rc = cs_spill_begin(s->spill, err);
	if (rc != CS_OK)
		return rc;
	sort_memory(s);
	for (size_t i = 0; i < s->n && rc == CS_OK; i++) {
		const uint8_t *rec = s->text.data + s->off[i];
		rc = cs_spill_put(s->spill, rec, length_of(rec), err);
	}
	if (rc == CS_OK)
		rc = cs_spill_end(s->spill, err);
	cs_buf_clear(&s->text);
	s->n = 0;
	return rc;
}

int cs_sorter_add(struct cs_sorter *s, const void *data, size_t len, struct cs_error *err)
{
	uint16_t head = (uint16_t)len;
	if (len > CS_SORTER_RECORD_MAX)
		return cs_fail(err, CS_E_LIMIT, "a record of %zu bytes is too long to sort", len);
	if (s->n && s->text.len + HEAD + len + (s->n + 1) * ROW > s->budget) {
		int rc = spill_memory(s, err);
		if (rc != CS_OK)
			return rc;
	}
	if (cs_grow(&s->off, &s->cap, s->n + 1, sizeof(*s->off)) != CS_OK ||
	    !cs_buf_reserve(&s->text, HEAD + len))
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	uint8_t *rec = s->text.data + s->text.len;
	memcpy(rec, &head, HEAD);
	if (len)
		memcpy(rec + HEAD, data, len);
	s->off[s->n++] = (uint32_t)(s->text.len + HEAD);
	s->text.len += HEAD + len;
	return CS_OK;
}

int cs_sorter_sort(struct cs_sorter *s, struct cs_error *err)
{
	int rc = CS_OK;
	s->next = 0;
	if (!s->sorted && s->spill) {
		if (s->n)
			rc = spill_memory(s, err);
		drop_memory(s);
	} else if (!s->sorted) {
		sort_memory(s);
	}
	s->sorted = true;
	return rc == CS_OK && s->spill ? cs_spill_rewind(s->spill, err) : rc;
}

static int next_in_memory(struct cs_sorter *s, const void **data, size_t *len)
{
	while (s->next < s->n) {
		size_t i = s->next++;
		if (s->unique && i && compare(&s->off[i - 1], &s->off[i], s->text.data) == 0)
			continue;
		*data = s->text.data + s->off[i];
		*len = length_of(*data);
		return 1;
	}
	return 0;
}

/* The record before is gone when the next has come: a copy of it tells equal ones. */
static int next_unique(struct cs_sorter *s, const void **data, size_t *len, struct cs_error *err)
{
	for (;;) {
		int rc = cs_spill_next(s->spill, data, len, err);
		if (rc != 1)
			return rc;
		if (s->next && s->last.len == *len &&
		    (*len == 0 || memcmp(s->last.data, *data, *len) == 0))
			continue;
		cs_buf_clear(&s->last);
		cs_buf_add(&s->last, *data, *len);
		if (s->last.failed)
			return cs_fail(err, CS_E_NOMEM, "out of memory");
		s->next++;
		return 1;
	}
}

int cs_sorter_next(struct cs_sorter *s, const void **data, size_t *len, struct cs_error *err)
{
	if (!s->spill)
		return next_in_memory(s, data, len);
	return s->unique ? next_unique(s, data, len, err) :
			   cs_spill_next(s->spill, data, len, err);
}

const void *cs_sorter_peek(const struct cs_sorter *s, size_t n)
{
	return !s->spill && s->sorted && n < s->n - s->next ? s->text.data + s->off[s->next + n] : NULL;
}

size_t cs_sorter_memory(const struct cs_sorter *s)
{
	return s->text.len + s->n * ROW + cs_spill_memory(s->spill);
}
