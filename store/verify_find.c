/* SPDX-License-Identifier: MIT */
/*
 * verify_find.c - which files are made of pieces, before the bundles are read.
 *
 * All pages of all points' directories are looked through, each once, whoever has
 * it. What cannot be read is passed over: the points are looked at afterwards, and
 * what is damaged is told then.
 *
 * A file belongs to the range of bundles that has its newest piece. When a part of
 * the store is verified, it is a file's turn with that range, whichever point it is
 * in: so the parts are everything, and a file whose pieces were verified lately, and
 * that is new itself, has its turn at once.
 */
#include "verify_impl.h"

#include "alloc.h"

#include <stdlib.h>
#include <string.h>

#define PIECES_MAX (1u << 24) /* that are looked at for the newest, in all */
#define PAGES_A_TICK 256

struct todo {
	cs_chunk page;
	uint8_t level;
};

struct search {
	struct cs_verify_run *v;
	uint64_t seq;
	struct todo *stack;
	size_t n, cap;
	struct cs_verify_map seen; /* pages, all with key 0 */
	unsigned pages, pieces;
};

static int push(struct search *s, cs_chunk page, uint8_t level)
{
	if (!page)
		return CS_OK;
	if (cs_verify_map_find(&s->seen, page, 0))
		return CS_OK;
	if (!cs_verify_map_add(&s->seen, page, 0) ||
	    cs_grow(&s->stack, &s->cap, s->n + 1, sizeof(*s->stack)) != CS_OK)
		return CS_E_NOMEM;
	s->stack[s->n++] = (struct todo){ page, level };
	return CS_OK;
}

/* Is it the file's turn? What cannot be read is told of elsewhere. */
static bool is_due(struct search *s, const struct cs_entry *e)
{
	struct cs_verify_run *v = s->v;
	struct cs_file_extents x = { 0 };
	const struct cs_extent *at;
	struct cs_txn *t;
	uint64_t off = 0, newest = 0;
	if (!v->opts->parts && !v->opts->older_than)
		return true;
	for (; s->pieces < PIECES_MAX && off < e->size; s->pieces++, off += at->len) {
		if (cs_file_extent(v->store, e, off, &x, &at, NULL) != CS_OK)
			break;
		if (cs_chunk_bundle(at->chunk) > newest)
			newest = cs_chunk_bundle(at->chunk);
	}
	cs_file_extents_release(&x);
	if (cs_txn_read(v->store->db, &t, NULL) != CS_OK)
		return true;
	bool due = cs_verify_due(v, t, cs_checked_range(newest));
	cs_txn_end(t);
	return due;
}

static int look_at(struct search *s, const struct cs_entry *e, struct cs_error *err)
{
	if (S_ISDIR(e->mode) && push(s, e->children.root, e->children.level) != CS_OK)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	if (S_ISREG(e->mode) &&
	    (e->content == CS_CONTENT_EXTENTS || e->content == CS_CONTENT_PAGES) && is_due(s, e))
		return cs_verify_files_add(s->v, e, s->seq, err);
	return CS_OK;
}

static int look_into(struct search *s, struct todo at, struct cs_error *err)
{
	struct cs_page *p;
	void *held;
	int rc = cs_reader_page(s->v->store, at.page, at.level ? CS_PAGE_INDEX : CS_PAGE_DIR, &held,
				&p, NULL);
	if (rc != CS_OK)
		return rc == CS_E_NOMEM ? cs_fail(err, rc, "out of memory") : CS_OK;
	if (at.level) {
		for (size_t i = p->n; i-- && rc == CS_OK;)
			rc = push(s, p->rows[i].page, at.level - 1);
		if (rc != CS_OK)
			cs_fail(err, rc, "out of memory");
	} else {
		for (size_t i = 0; i < p->tree.count && rc == CS_OK; i++) {
			struct cs_entry e;
			cs_tree_page_entry(&p->tree, i, &e);
			rc = look_at(s, &e, err);
		}
	}
	cs_cache_release(held);
	if (rc == CS_OK && ++s->pages % PAGES_A_TICK == 0)
		rc = cs_verify_tick(s->v, NULL, err);
	return rc;
}

static int look_into_point(struct search *s, struct cs_error *err)
{
	struct cs_tree *t;
	struct cs_node root;
	if (cs_verify_point_is_gone(s->v, s->seq))
		return CS_OK;
	int rc = cs_tree_open_kept(s->v->store, s->seq, false, &t, NULL);
	if (rc != CS_OK)
		return rc == CS_E_NOMEM ? cs_fail(err, rc, "out of memory") : CS_OK;
	rc = cs_tree_root(t, &root, NULL) == CS_OK ? look_at(s, &root.entry, err) : CS_OK;
	while (rc == CS_OK && s->n)
		rc = look_into(s, s->stack[--s->n], err);
	cs_tree_close(t);
	return rc;
}

int cs_verify_files_find(struct cs_verify_run *v, struct cs_error *err)
{
	struct search s = { .v = v, .seen.size = sizeof(struct cs_verify_key) };
	uint64_t from = 0;
	int rc = cs_verify_files_begin(v, err);
	while (rc == CS_OK && cs_verify_next_point(v, from, &s.seq, NULL) == 1) {
		rc = look_into_point(&s, err);
		from = s.seq + 1;
	}
	free(s.stack);
	cs_verify_map_release(&s.seen);
	return rc;
}
