/* SPDX-License-Identifier: MIT */
/*
 * verify_pages.c - a sequence of pages, index pages included: entries, links, pieces.
 *
 * A few forged pages can claim to be a sequence that nobody ever came to the end of,
 * by naming one page again and again. Names and links ascend, so the first page that
 * does not go on where the last one ended is the end: whoever looks at its leaves says
 * so. Pieces of a file may repeat, in a sound one as well: a page of them is looked at
 * once, in whichever file, and known by its sums.
 */
#include "verify_tree_impl.h"

#define MISSING_MAX 1000u /* pages of one sequence that are missing, before it is given up */

void cs_verify_affects_entry(struct cs_verify_go *g, struct cs_found *f, const struct cs_entry *e)
{
	cs_verify_affects(g->v, f, e && e->name_len ? e->name : NULL, e ? e->name_len : 0);
}

static uint64_t items_of(const struct cs_page *p)
{
	return p->kind == CS_PAGE_DIR ? p->tree.count : p->n;
}

static uint64_t weight_of(const struct cs_page *p)
{
	if (p->kind == CS_PAGE_DIR)
		return p->tree.before[p->tree.count];
	if (p->kind == CS_PAGE_EXTENT && p->n)
		return p->extents[p->n - 1].off + p->extents[p->n - 1].len;
	return 0;
}

/* The key of its first item, which the row above it repeats. */
static bool key_is_right(const struct cs_page *p, const struct cs_index_row *row)
{
	uint8_t key[CS_LINK_KEY_SIZE];
	struct cs_entry e;
	if (p->kind == CS_PAGE_DIR && p->tree.count) {
		cs_tree_page_entry(&p->tree, 0, &e);
		return cs_key_compare(e.name, e.name_len, row->key, row->key_len) == 0;
	}
	if (p->kind == CS_PAGE_LINK && p->n) {
		cs_link_key(&p->links[0], key);
		return cs_key_compare(key, sizeof(key), row->key, row->key_len) == 0;
	}
	if (p->kind == CS_PAGE_INDEX)
		return cs_key_compare(p->rows[0].key, p->rows[0].key_len, row->key,
				      row->key_len) == 0;
	return true;
}

/* A page, if it can be had; what is missing is said. */
static struct cs_page *get_page(struct cs_verify_seq *q, cs_chunk chunk, unsigned level, void **held)
{
	struct cs_verify_run *v = q->go->v;
	struct cs_found *why;
	struct cs_page *p;
	struct cs_error text;
	if (!cs_verify_ref(v, chunk, CS_BUNDLE_META, CS_ANY_LENGTH, NULL, &why)) {
		cs_verify_affects_entry(q->go, why, q->entry);
		return NULL;
	}
	int rc = cs_reader_page(v->store, chunk, level ? CS_PAGE_INDEX : q->kind, held, &p, &text);
	if (rc == CS_OK)
		return p;
	if (rc == CS_E_NOMEM) {
		q->go->rc = cs_fail(q->go->err, rc, "out of memory");
		return NULL;
	}
	why = cs_verify_found(v, CS_FOUND_TREE_DAMAGED, chunk, "%.250s", text.text);
	cs_verify_affects_entry(q->go, why, q->entry);
	return NULL;
}

/*
 * A page of pieces, or an index page above some, that was looked at: in any file. True:
 * that is all that there is to it.
 */
static bool is_known_page(struct cs_verify_seq *q, cs_chunk chunk, unsigned level)
{
	struct cs_verify_run *v = q->go->v;
	const struct cs_verify_pieces *k =
		q->sums ? cs_verify_map_find(&v->pieces, chunk, level) : NULL;
	if (!k)
		return false;
	q->items += k->items;
	q->weight += k->bytes;
	q->sums->bytes = cs_bytes_add(q->sums->bytes, k->bytes);
	q->sums->data = cs_bytes_add(q->sums->data, k->data);
	q->whole &= !k->why;
	cs_verify_affects_entry(q->go, k->why, q->entry);
	return true;
}

static void page_is_wrong(struct cs_verify_seq *q, cs_chunk chunk)
{
	struct cs_found *f = cs_verify_found(q->go->v, CS_FOUND_TOTALS_WRONG, chunk,
					     "bundle %llu slot %u is a page that is not what the "
					     "index page above it says",
					     (unsigned long long)cs_chunk_bundle(chunk),
					     cs_chunk_slot(chunk));
	cs_verify_affects_entry(q->go, f, q->entry);
}

static void look_at_page(struct cs_verify_seq *q, cs_chunk chunk, unsigned level,
			 const struct cs_index_row *row);

/* The same for the first time, and remember it. */
static void look_at_pieces(struct cs_verify_seq *q, cs_chunk chunk, unsigned level,
			   const struct cs_index_row *row)
{
	struct cs_verify_run *v = q->go->v;
	uint64_t damage = v->damage, items = q->items;
	struct cs_verify_sums *sum = q->sums, own = { 0, 0 };
	if (is_known_page(q, chunk, level))
		return;
	q->sums = &own;
	look_at_page(q, chunk, level, row);
	q->sums = sum;
	sum->bytes = cs_bytes_add(sum->bytes, own.bytes);
	sum->data = cs_bytes_add(sum->data, own.data);
	struct cs_verify_pieces *k =
		q->go->rc == CS_OK ? cs_verify_map_add(&v->pieces, chunk, level) : NULL;
	if (k) /* not to remember it costs time only */
		*k = (struct cs_verify_pieces){ k->at, q->items - items, own.bytes, own.data,
						v->damage == damage ? NULL : v->last_why };
}

/* A page and all below it. The depth is that of a sequence's levels: eight at the most. */
static void look_at_page(struct cs_verify_seq *q, cs_chunk chunk, unsigned level,
			 const struct cs_index_row *row)
{
	struct cs_verify_go *g = q->go;
	uint64_t items = q->items, weight = q->weight;
	void *held;
	struct cs_page *p = get_page(q, chunk, level, &held);
	if (!p) {
		q->whole = false;
		q->broken |= ++q->missing > MISSING_MAX;
		q->items += row ? row->below : 0;
		q->weight += row ? row->weight : 0;
		return;
	}
	if (level) {
		for (size_t i = 0; i < p->n && g->rc == CS_OK && !q->broken; i++)
			(q->sums ? look_at_pieces : look_at_page)(q, p->rows[i].page, level - 1,
								  &p->rows[i]);
		if (g->rc == CS_OK)
			g->rc = cs_verify_tick(g->v, NULL, g->err);
	} else {
		q->leaf(q, chunk, p);
		q->items += items_of(p);
		q->weight += weight_of(p);
	}
	q->whole &= !q->broken;
	if (row && g->rc == CS_OK && !q->broken &&
	    (q->items - items != row->below || q->weight - weight != row->weight ||
	     !key_is_right(p, row)))
		page_is_wrong(q, chunk);
	cs_cache_release(held);
}

void cs_verify_seq(struct cs_verify_seq *q, struct cs_pages pages)
{
	q->whole = true;
	if (pages.root)
		(q->sums ? look_at_pieces : look_at_page)(q, pages.root, pages.level, NULL);
}
