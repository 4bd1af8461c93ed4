/* SPDX-License-Identifier: MIT */
#include "reach.h"

#include "alloc.h"
#include "xattr.h"

#include <stdlib.h>

/* A page still to be looked at. level > 0: an index page above pages of `kind`. */
struct item {
	cs_chunk chunk;
	uint8_t kind, level;
};

struct reach {
	struct cs_store *store;
	cs_reach_fn *fn;
	void *arg;
	struct item *stack;
	size_t n, cap;
};

/*
 * Told of before it is pushed, not when it is looked at: so no page is on the stack
 * twice, and a forged tree whose every page refers to thousands of others, again and
 * again, takes no more memory than the pages it has.
 */
static int push(struct reach *r, cs_chunk chunk, uint8_t kind, uint8_t level,
		struct cs_error *err)
{
	int rc = chunk ? r->fn(r->arg, chunk, CS_REACH_PAGE, err) : CS_OK;
	if (rc != 1)
		return rc;
	if (cs_grow(&r->stack, &r->cap, r->n + 1, sizeof(*r->stack)) != CS_OK)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	r->stack[r->n++] = (struct item){ chunk, kind, level };
	return CS_OK;
}

static int tell(struct reach *r, cs_chunk chunk, enum cs_reach_kind kind, struct cs_error *err)
{
	int rc = r->fn(r->arg, chunk, kind, err);
	return rc < 0 ? rc : CS_OK;
}

static int xattr_values(struct reach *r, const uint8_t *data, size_t len, struct cs_error *err)
{
	struct cs_xattr_item *items;
	size_t n;
	int rc = cs_xattr_unpack(data, len, &items, &n);
	if (rc != CS_OK)
		return cs_fail(err, rc, "extended attributes are damaged");
	for (size_t i = 0; i < n && rc == CS_OK; i++)
		if (items[i].chunk)
			rc = tell(r, items[i].chunk, CS_REACH_XATTR, err);
	free(items);
	return rc;
}

static int xattrs(struct reach *r, const struct cs_entry *e, struct cs_error *err)
{
	if (!e->xattrs_chunk)
		return e->xattrs_len ? xattr_values(r, e->xattrs, e->xattrs_len, err) : CS_OK;
	int rc = r->fn(r->arg, e->xattrs_chunk, CS_REACH_XATTR, err);
	if (rc != 1)
		return rc;
	const uint8_t *data;
	size_t len;
	void *held;
	rc = cs_reader_chunk(r->store, e->xattrs_chunk, &held, &data, &len, err);
	if (rc != CS_OK)
		return rc;
	rc = xattr_values(r, data, len, err);
	cs_cache_release(held);
	return rc;
}

static int extents(struct reach *r, const struct cs_extent *x, size_t n, struct cs_error *err)
{
	int rc = CS_OK;
	for (size_t i = 0; i < n && rc == CS_OK; i++)
		if (x[i].chunk)
			rc = tell(r, x[i].chunk, CS_REACH_DATA, err);
	return rc;
}

static int inline_extents(struct reach *r, const struct cs_entry *e, struct cs_error *err)
{
	struct cs_extent *x;
	size_t n;
	int rc = cs_extents_unpack(e->bytes, e->bytes_len, &x, &n);
	if (rc != CS_OK)
		return cs_fail(err, rc, "a file's extents are damaged");
	rc = extents(r, x, n, err);
	free(x);
	return rc;
}

static int entry(struct reach *r, const struct cs_entry *e, struct cs_error *err)
{
	int rc = xattrs(r, e, err);
	if (rc != CS_OK)
		return rc;
	if (S_ISDIR(e->mode))
		return push(r, e->children.root, CS_PAGE_DIR, e->children.level, err);
	if (!S_ISREG(e->mode))
		return CS_OK;
	switch (e->content) {
	case CS_CONTENT_CHUNK:
		return tell(r, e->chunk, CS_REACH_DATA, err);
	case CS_CONTENT_EXTENTS:
		return inline_extents(r, e, err);
	case CS_CONTENT_PAGES:
		return push(r, e->extents.root, CS_PAGE_EXTENT, e->extents.level, err);
	default:
		return CS_OK;
	}
}

/* What a page refers to. Rows go on the stack last first, so that they come off in order. */
static int page(struct reach *r, const struct item *it, const struct cs_page *p,
		struct cs_error *err)
{
	int rc = CS_OK;
	switch (p->kind) {
	case CS_PAGE_INDEX:
		for (size_t i = p->n; i > 0 && rc == CS_OK; i--)
			rc = push(r, p->rows[i - 1].page, it->kind, (uint8_t)(it->level - 1), err);
		return rc;
	case CS_PAGE_EXTENT:
		return extents(r, p->extents, p->n, err);
	case CS_PAGE_DIR:
		for (size_t i = p->tree.count; i > 0 && rc == CS_OK; i--) {
			struct cs_entry e;
			cs_tree_page_entry(&p->tree, i - 1, &e);
			rc = entry(r, &e, err);
		}
		return rc;
	default:
		return CS_OK;
	}
}

static int step(struct reach *r, struct cs_error *err)
{
	struct item it = r->stack[--r->n];
	struct cs_page *p;
	void *held;
	int rc = cs_reader_page(r->store, it.chunk, it.level ? CS_PAGE_INDEX : it.kind, &held, &p, err);
	if (rc != CS_OK)
		return rc;
	rc = page(r, &it, p, err);
	cs_cache_release(held);
	return rc;
}

int cs_reach_point(struct cs_store *s, const struct cs_point_record *record, cs_reach_fn *fn,
		   void *arg, struct cs_error *err)
{
	struct reach r = { .store = s, .fn = fn, .arg = arg };
	struct cs_tree_page root;
	struct cs_entry e;
	int rc = cs_tree_page_parse(record->root, record->root_len, true, &root);
	if (rc != CS_OK)
		return cs_fail(err, rc, "the record of point %s is damaged", record->name);
	cs_tree_page_entry(&root, 0, &e);
	rc = push(&r, record->links.root, CS_PAGE_LINK, record->links.level, err);
	if (rc == CS_OK)
		rc = entry(&r, &e, err);
	while (rc == CS_OK && r.n)
		rc = step(&r, err);
	free(r.stack);
	cs_tree_page_release(&root);
	return rc;
}
