/* SPDX-License-Identifier: MIT */
/* verify_content.c - what an entry refers to: a file's pieces, and its attributes. */
#include "verify_tree_impl.h"

#include <stdlib.h>

static void bad_content(struct cs_verify_go *g, const struct cs_entry *e, const char *what)
{
	/* known by what refers to the content: the same in every point that has the same file */
	uint64_t key = e->content == CS_CONTENT_PAGES ? e->extents.root :
							cs_checksum(e->bytes, e->bytes_len);
	struct cs_found *f = cs_verify_found(g->v, CS_FOUND_CONTENT_DAMAGED, key, "%s", what);
	cs_verify_affects_entry(g, f, e);
}

static void look_at_extents(struct cs_verify_go *g, const struct cs_entry *e,
			    struct cs_verify_sums *c, const struct cs_extent *x, size_t n)
{
	struct cs_found *why;
	for (size_t i = 0; i < n; i++) {
		c->bytes = cs_bytes_add(c->bytes, x[i].len);
		c->data = cs_bytes_add(c->data, x[i].chunk ? x[i].len : 0);
		if (x[i].chunk &&
		    !cs_verify_ref(g->v, x[i].chunk, CS_BUNDLE_DATA, x[i].len, NULL, &why))
			cs_verify_affects_entry(g, why, e);
	}
}

static void extent_leaf(struct cs_verify_seq *q, cs_chunk page, const struct cs_page *p)
{
	(void)page;
	look_at_extents(q->go, q->entry, q->sums, p->extents, p->n);
}

static void look_at_pages(struct cs_verify_go *g, const struct cs_entry *e)
{
	struct cs_verify_sums c = { 0, 0 };
	struct cs_verify_seq q = { .go = g, .kind = CS_PAGE_EXTENT, .leaf = extent_leaf,
				   .entry = e, .sums = &c };
	cs_verify_seq(&q, e->extents);
	if (q.whole && g->rc == CS_OK && (c.bytes != e->size || c.data != e->data_bytes))
		bad_content(g, e, "a file's extents are not as long as the file");
}

/* Nothing is known against its pieces: do they make its content? See verify_files.c. */
static void look_at_whole(struct cs_verify_go *g, const struct cs_entry *e)
{
	bool unread;
	if (cs_verify_file_is_wrong(g->v, e, &unread))
		bad_content(g, e, unread ? "a file's pieces cannot be read one after the other" :
					   "a file's pieces do not make the content of its hash");
}

void cs_verify_content(struct cs_verify_go *g, const struct cs_entry *e, struct cs_hash *hash)
{
	struct cs_found *why;
	struct cs_extent *x;
	struct cs_verify_sums c = { 0, 0 };
	uint64_t before = g->v->damage;
	size_t n;
	*hash = e->hash;
	switch (e->content) {
	case CS_CONTENT_CHUNK:
		if (!cs_verify_ref(g->v, e->chunk, CS_BUNDLE_DATA, e->size, hash, &why))
			cs_verify_affects_entry(g, why, e);
		break;
	case CS_CONTENT_PAGES:
		look_at_pages(g, e);
		break;
	case CS_CONTENT_EXTENTS:
		if (cs_extents_unpack(e->bytes, e->bytes_len, &x, &n) != CS_OK) {
			bad_content(g, e, "a file's extents cannot be read");
			break;
		}
		look_at_extents(g, e, &c, x, n);
		free(x);
		if (c.bytes != e->size || c.data != e->data_bytes)
			bad_content(g, e, "a file's extents are not as long as the file");
		break;
	default:
		*hash = cs_store_hash(g->v->store, e->bytes, e->size);
		return;
	}
	if (e->content != CS_CONTENT_CHUNK && g->v->damage == before)
		look_at_whole(g, e);
}

bool cs_verify_xattrs(struct cs_verify_go *g, const struct cs_entry *e, struct cs_xattr_list *out)
{
	struct cs_verify_run *v = g->v;
	struct cs_found *why;
	struct cs_error text;
	const struct cs_node node = { .entry = *e };
	if (e->xattrs_chunk &&
	    !cs_verify_ref(v, e->xattrs_chunk, CS_BUNDLE_META, CS_ANY_LENGTH, NULL, &why)) {
		cs_verify_affects_entry(g, why, e);
		return false;
	}
	int rc = cs_xattr_list_init(v->tree, &node, out, &text);
	if (rc == CS_E_NOMEM) {
		g->rc = cs_fail(g->err, rc, "out of memory");
	} else if (rc != CS_OK) {
		uint64_t key = e->xattrs_chunk ? e->xattrs_chunk : v->entry | CS_CHECKED_POINT;
		why = cs_verify_found(v, CS_FOUND_TREE_DAMAGED, key, "%.250s", text.text);
		cs_verify_affects_entry(g, why, e);
	}
	if (rc != CS_OK)
		return false;
	for (size_t i = 0; i < out->count; i++)
		if (out->items[i].chunk &&
		    !cs_verify_ref(v, out->items[i].chunk, CS_BUNDLE_DATA, out->items[i].value_len,
				   NULL, &why))
			cs_verify_affects_entry(g, why, e);
	return true;
}
