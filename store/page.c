/* SPDX-License-Identifier: MIT */
#include "page.h"

#include "alloc.h"

#include <stdlib.h>
#include <string.h>

static unsigned nbases(uint8_t kind)
{
	switch (kind) {
	case CS_PAGE_DIR:
		return 4;
	case CS_PAGE_EXTENT:
	case CS_PAGE_INDEX:
		return 1;
	default:
		return 0;
	}
}

int cs_key_compare(const void *a, size_t alen, const void *b, size_t blen)
{
	size_t n = alen < blen ? alen : blen;
	int d = n ? memcmp(a, b, n) : 0;
	return d ? d : (alen > blen) - (alen < blen);
}

void cs_ref_pack(struct cs_buf *b, cs_chunk chunk, uint64_t base)
{
	cs_buf_svar(b, (int64_t)((chunk >> CS_SLOT_BITS) - base));
	cs_buf_var(b, chunk & CS_SLOTS_MAX);
}

cs_chunk cs_ref_unpack(struct cs_cur *c, uint64_t base)
{
	uint64_t bundle = base + (uint64_t)cs_cur_svar(c);
	uint64_t slot = cs_cur_max(c, CS_SLOTS_MAX);
	if (bundle == 0 || bundle > CS_BUNDLE_NUMBER_MAX) {
		c->bad = true;
		return 1;
	}
	return bundle << CS_SLOT_BITS | slot;
}

/* ---- writing */

void cs_pages_writer_init(struct cs_pages_writer *w, uint8_t kind, cs_page_put *put, void *arg)
{
	memset(w, 0, sizeof(*w));
	w->kind = kind;
	w->min = kind == CS_PAGE_EXTENT ? CS_EXTENT_PAGE_MIN : CS_PAGE_MIN;
	w->max = kind == CS_PAGE_EXTENT ? CS_EXTENT_PAGE_MAX : CS_PAGE_MAX;
	w->put = put;
	w->arg = arg;
}

void cs_pages_writer_release(struct cs_pages_writer *w)
{
	for (unsigned i = 0; i < CS_LEVELS_MAX; i++) {
		cs_buf_release(&w->level[i].items);
		cs_buf_release(&w->level[i].first_key);
	}
	cs_buf_release(&w->scratch);
}

static void page_pack(const struct cs_page_level *l, uint8_t kind, struct cs_buf *b)
{
	cs_buf_u8(b, kind);
	cs_buf_var(b, l->count);
	for (unsigned i = 0; i < nbases(kind); i++)
		cs_buf_svar(b, (int64_t)l->bases[i]);
	cs_buf_add(b, l->items.data, l->items.len);
}

static void level_clear(struct cs_page_level *l)
{
	cs_buf_clear(&l->items);
	cs_buf_clear(&l->first_key);
	l->count = l->below = l->weight = 0;
}

static int add_row(struct cs_pages_writer *w, unsigned at, cs_chunk page,
		   const struct cs_page_level *from, struct cs_error *err);

/* Put the page that is being filled at a level and enter it one level up. */
static int flush_level(struct cs_pages_writer *w, unsigned at, cs_chunk *out_page,
		       struct cs_error *err)
{
	struct cs_page_level *l = &w->level[at];
	struct cs_buf page = { 0 };
	cs_chunk chunk;
	int rc;

	page_pack(l, at ? CS_PAGE_INDEX : w->kind, &page);
	if (page.failed || l->items.failed || l->first_key.failed)
		rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	else if (page.len > CS_PAGE_RAW_MAX)
		rc = cs_fail(err, CS_E_LIMIT, "an entry is too large to store");
	else
		rc = w->put(w->arg, page.data, page.len, &chunk, err);
	cs_buf_release(&page);
	if (rc != CS_OK)
		return rc;
	l->pages++;
	if (out_page)
		*out_page = chunk;
	else
		rc = add_row(w, at + 1, chunk, l, err);
	level_clear(l);
	return rc;
}

static int add_row(struct cs_pages_writer *w, unsigned at, cs_chunk page,
		   const struct cs_page_level *from, struct cs_error *err)
{
	if (at >= CS_LEVELS_MAX)
		return cs_fail(err, CS_E_LIMIT, "too many items for the page index");
	struct cs_page_level *l = &w->level[at];
	if (l->count == 0) {
		l->bases[0] = page >> CS_SLOT_BITS;
		cs_buf_add(&l->first_key, from->first_key.data, from->first_key.len);
	}
	cs_buf_str(&l->items, from->first_key.data, from->first_key.len);
	cs_ref_pack(&l->items, page, l->bases[0]);
	cs_buf_var(&l->items, from->below);
	cs_buf_var(&l->items, from->weight);
	l->count++;
	l->below += from->below;
	l->weight += from->weight;
	return l->items.len >= w->max ? flush_level(w, at, NULL, err) : CS_OK;
}

int cs_pages_append(struct cs_pages_writer *w, const void *key, size_t key_len, uint64_t weight,
		    uint64_t cut, struct cs_error *err)
{
	struct cs_page_level *l = &w->level[0];
	if (l->count == 0)
		cs_buf_add(&l->first_key, key, key_len);
	cs_buf_add(&l->items, w->scratch.data, w->scratch.len);
	if (w->scratch.failed || l->items.failed)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	cs_buf_clear(&w->scratch);
	l->count++;
	l->below++;
	l->weight += weight;
	if (l->items.len >= w->max || (l->items.len >= w->min && cut % CS_PAGE_CUT == 0))
		return flush_level(w, 0, NULL, err);
	return CS_OK;
}

static bool rows_above(const struct cs_pages_writer *w, unsigned at)
{
	for (unsigned i = at + 1; i < CS_LEVELS_MAX; i++)
		if (w->level[i].count)
			return true;
	return false;
}

/*
 * From the leaves up, each level's last page becomes a row of the level above;
 * a level with nothing above it is the root. Asked anew for each level: a row
 * may fill the page above, and that one the next.
 */
int cs_pages_finish(struct cs_pages_writer *w, struct cs_pages *out, struct cs_error *err)
{
	int rc = CS_OK;
	*out = (struct cs_pages){ 0, 0 };
	for (unsigned i = 0; i < CS_LEVELS_MAX && rc == CS_OK && !out->root; i++) {
		if (w->level[i].count == 0)
			continue;
		out->level = (uint8_t)i;
		rc = flush_level(w, i, rows_above(w, i) ? NULL : &out->root, err);
	}
	for (unsigned i = 0; i < CS_LEVELS_MAX; i++) {
		level_clear(&w->level[i]);
		w->level[i].pages = 0;
	}
	return rc;
}

bool cs_pages_take_single(struct cs_pages_writer *w, size_t max, struct cs_buf *b)
{
	struct cs_page_level *l = &w->level[0];
	if (l->count == 0 || l->pages || l->items.len + 32 > max)
		return false;
	page_pack(l, w->kind, b);
	level_clear(l);
	return true;
}

/* ---- reading */

/* The bytes that an item takes at least, so that a count can be trusted for an allocation. */
static size_t item_min(uint8_t kind)
{
	switch (kind) {
	case CS_PAGE_DIR:
		return 10;
	case CS_PAGE_INDEX:
		return 5;
	case CS_PAGE_LINK:
		return 4;
	default:
		return 1;
	}
}

int cs_page_head_unpack(struct cs_cur *c, struct cs_page_head *out)
{
	struct cs_page_head h = { 0 };
	h.kind = cs_cur_u8(c);
	h.count = cs_cur_var(c);
	for (unsigned i = 0; i < nbases(h.kind); i++)
		h.bases[i] = (uint64_t)cs_cur_svar(c);
	if (c->bad || h.count == 0 || h.count > cs_cur_left(c) / item_min(h.kind))
		return CS_E_CORRUPT;
	*out = h;
	return CS_OK;
}

int cs_index_rows_unpack(const void *page, size_t len, struct cs_index_row **out, size_t *n)
{
	struct cs_cur c = cs_cur(page, len);
	struct cs_page_head h;
	int rc = cs_page_head_unpack(&c, &h);
	if (rc != CS_OK || h.kind != CS_PAGE_INDEX)
		return CS_E_CORRUPT;
	struct cs_index_row *rows = cs_alloc(h.count * sizeof(*rows));
	if (!rows)
		return CS_E_NOMEM;
	uint64_t before = 0, weight = 0;
	for (size_t i = 0; i < h.count; i++) {
		struct cs_index_row *r = &rows[i];
		size_t key_len;
		r->key = cs_cur_str(&c, CS_NAME_MAX, &key_len);
		r->key_len = (uint32_t)key_len;
		r->page = cs_ref_unpack(&c, h.bases[0]);
		r->below = cs_cur_max(&c, 1ull << 48);
		r->weight = cs_cur_max(&c, INT64_MAX);
		r->before = before;
		r->weight_before = weight;
		before += r->below;
		weight += r->weight; /* both terms are below 2^63 */
		bool ordered = i == 0 || key_len == 0 ||
			       cs_key_compare(rows[i - 1].key, rows[i - 1].key_len, r->key,
					      r->key_len) < 0;
		if (c.bad || r->below == 0 || !ordered || before > 1ull << 48 ||
		    weight > INT64_MAX) {
			free(rows);
			return CS_E_CORRUPT;
		}
	}
	if (!cs_cur_done(&c)) {
		free(rows);
		return CS_E_CORRUPT;
	}
	*out = rows;
	*n = h.count;
	return CS_OK;
}
