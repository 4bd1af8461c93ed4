/* SPDX-License-Identifier: MIT */
/*
 * browse.c - positions, names and lists.
 *
 * Decision: the entries of a point are numbered in pre-order, so that a number
 * is found from a path, and a path from a number, with nothing stored but the
 * totals that each directory carries. The root is 0, and
 *   position of child i = position of the directory + 1 + i
 *                         + entries below the children before i
 * whose last sum is in the index pages and, within a page, in the prefix sums
 * made when it is parsed. No table of inodes exists, in memory or on disk, and
 * a backup knows an entry's position when it meets it.
 *
 * What is found in a directory lies within the positions that it promises, and a
 * list's names and positions go on from page to page where they left off. So in a
 * forged store no directory holds itself, no name comes twice, and no walk meets
 * more entries than the root says there are.
 *
 * These may be 2^40 in twenty pages, each directory being the same one a thousand times.
 * There is no limit to that: directories of files that are hard links of each other
 * (copies that `cp -al` made), or that are mounted in several places, are equal to the
 * last bit, and so one page in an honest store as well. What goes through a tree has to
 * bear it: to hold nothing for an entry, and little for a level, and to be interruptible.
 */
#include "browse.h"

#include "alloc.h"
#include "hints.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- opening */

static int open_tree(struct cs_tree *t, uint64_t seq, struct cs_error *err)
{
	struct cs_txn *txn;
	int rc = cs_txn_read(t->store->db, &txn, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_points_get(txn, seq, &t->record, err);
	if (rc == CS_OK)
		rc = cs_point_from_record(txn, &t->record, &t->point, err);
	cs_txn_end(txn);
	if (rc != CS_OK)
		return rc;
	rc = cs_tree_page_parse(t->record.root, t->record.root_len, true, &t->root);
	if (rc != CS_OK)
		cs_fail(err, rc, "the record of point %s/%s is damaged", t->point.series,
			t->point.name);
	return rc;
}

int cs_tree_open_kept(struct cs_store *s, uint64_t seq, bool listed, struct cs_tree **out,
		      struct cs_error *err)
{
	struct cs_tree *t = cs_zalloc(sizeof(*t));
	if (!t)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	int rc = cs_point_hold_kept(s, seq, listed, err);
	if (rc != CS_OK) {
		free(t);
		return rc;
	}
	t->store = s;
	t->seq = seq;
	rc = open_tree(t, seq, err);
	if (rc != CS_OK) {
		cs_tree_close(t);
		return rc;
	}
	*out = t;
	return CS_OK;
}

int cs_tree_open(struct cs_store *s, uint64_t seq, struct cs_tree **out, struct cs_error *err)
{
	return cs_tree_open_kept(s, seq, true, out, err);
}

void cs_tree_close(struct cs_tree *t)
{
	if (!t)
		return;
	cs_tree_page_release(&t->root);
	cs_point_record_release(&t->record);
	cs_point_drop(t->store, t->seq);
	free(t);
}

const struct cs_point *cs_tree_point(const struct cs_tree *t)
{
	return &t->point;
}

/* ---- nodes */

void cs_node_release(struct cs_node *n)
{
	cs_cache_release(n->held);
	n->held = NULL;
}

void cs_node_copy(const struct cs_node *n, struct cs_node *out)
{
	*out = *n;
	if (out->held)
		cs_cache_hold(out->held);
}

int cs_tree_root(struct cs_tree *t, struct cs_node *out, struct cs_error *err)
{
	(void)err;
	*out = (struct cs_node){ .pos = 0 };
	cs_tree_page_entry(&t->root, 0, &out->entry);
	return CS_OK;
}

/* What is added to i + before[i] to get the position of entry i of a leaf page. */
static uint64_t base_of(const struct cs_node *dir, const struct cs_leaf *leaf)
{
	return dir->pos + 1 + leaf->first + leaf->weight_before;
}

static void node_in_page(const struct cs_leaf *leaf, size_t i, uint64_t base, struct cs_node *out)
{
	cs_tree_page_entry(&leaf->page->tree, i, &out->entry);
	out->pos = base + i + leaf->page->tree.before[i];
	out->held = leaf->held;
}

static int damaged(struct cs_tree *t, const char *what, struct cs_error *err)
{
	return cs_fail(err, CS_E_CORRUPT, "point %s/%s: %s", t->point.series, t->point.name, what);
}

/* One row for each run of positions that entries of the page fall into. */
static void remember(struct cs_tree *t, const struct cs_node *dir, const struct cs_leaf *leaf)
{
	const struct cs_tree_page *p = &leaf->page->tree;
	struct cs_hint hint = { t->record.seq, base_of(dir, leaf), leaf->chunk };
	uint64_t last = UINT64_MAX;
	for (size_t i = 0; i < p->count; i++) {
		uint64_t pos = hint.base + i + p->before[i];
		if (pos / CS_HINT_RUN != last)
			cs_hints_add(t->store->hints, &hint, pos);
		last = pos / CS_HINT_RUN;
	}
}

/* All entries of the page, and what is below them, lie below the directory. */
static bool fits(const struct cs_node *dir, const struct cs_leaf *leaf)
{
	const struct cs_tree_page *p = &leaf->page->tree;
	uint64_t below = dir->entry.below.entries;
	if (leaf->first > below || leaf->weight_before > below - leaf->first)
		return false;
	return p->count + p->before[p->count] <= below - leaf->first - leaf->weight_before;
}

static int find_leaf(struct cs_tree *t, const struct cs_node *dir, enum cs_by by, uint64_t number,
		     const char *name, size_t name_len, struct cs_leaf *out, struct cs_error *err)
{
	int rc = cs_reader_leaf(t->store, dir->entry.children, CS_PAGE_DIR, by, number, name,
				name_len, out, err);
	/* totals that promise more than the pages hold are damage, not absence */
	if (rc == CS_E_NOTFOUND)
		return damaged(t, "a directory's totals are wrong", err);
	if (rc == CS_OK && !fits(dir, out)) {
		cs_cache_release(out->held);
		return damaged(t, "a directory's totals are wrong", err);
	}
	return rc;
}

/* The last entry of a page that stands at or before rel positions from the page's start. */
static size_t entry_at(const struct cs_tree_page *p, uint64_t rel)
{
	size_t lo = 0, hi = p->count;
	while (hi - lo > 1) {
		size_t mid = lo + (hi - lo) / 2;
		if (mid + p->before[mid] <= rel)
			lo = mid;
		else
			hi = mid;
	}
	return lo;
}

/* The child of dir at pos, or the subdirectory below which pos lies. */
static int child_towards(struct cs_tree *t, const struct cs_node *dir, uint64_t pos,
			 struct cs_node *out, struct cs_error *err)
{
	struct cs_leaf leaf;
	int rc = find_leaf(t, dir, CS_BY_POSITION, pos - dir->pos - 1, NULL, 0, &leaf, err);
	if (rc != CS_OK)
		return rc;
	const struct cs_tree_page *p = &leaf.page->tree;
	uint64_t base = base_of(dir, &leaf);
	size_t i = entry_at(p, pos - base);
	if (pos - base > i + p->before[i + 1]) {
		cs_cache_release(leaf.held);
		return damaged(t, "a directory's totals are wrong", err);
	}
	remember(t, dir, &leaf);
	node_in_page(&leaf, i, base, out);
	return CS_OK;
}

static bool by_hint(struct cs_tree *t, uint64_t pos, struct cs_node *out)
{
	struct cs_hint h;
	struct cs_leaf leaf = { 0 };
	if (!cs_hints_find(t->store->hints, t->record.seq, pos, &h) ||
	    cs_reader_page(t->store, h.page, CS_PAGE_DIR, &leaf.held, &leaf.page, NULL) != CS_OK)
		return false;
	size_t i = entry_at(&leaf.page->tree, pos - h.base);
	if (i + leaf.page->tree.before[i] != pos - h.base) {
		cs_cache_release(leaf.held);
		return false;
	}
	node_in_page(&leaf, i, h.base, out);
	return true;
}

int cs_tree_at_counted(struct cs_tree *t, uint64_t pos, struct cs_node *out, uint64_t *steps,
		       struct cs_error *err)
{
	struct cs_node at;
	int rc = cs_tree_root(t, &at, err);
	if (rc != CS_OK)
		return rc;
	if (pos && (!S_ISDIR(at.entry.mode) || pos > at.entry.below.entries))
		return cs_fail(err, CS_E_NOTFOUND, "point %s/%s has no entry number %llu",
			       t->point.series, t->point.name, (unsigned long long)pos);
	if (pos && by_hint(t, pos, out))
		return CS_OK;
	for (unsigned depth = 0; at.pos != pos; depth++, ++*steps) {
		struct cs_node next;
		rc = depth < CS_DEPTH_MAX ? child_towards(t, &at, pos, &next, err) :
					    damaged(t, "the tree is too deep", err);
		cs_node_release(&at);
		if (rc != CS_OK)
			return rc;
		at = next;
	}
	*out = at;
	return CS_OK;
}

int cs_tree_at(struct cs_tree *t, uint64_t pos, struct cs_node *out, struct cs_error *err)
{
	uint64_t steps = 0;
	return cs_tree_at_counted(t, pos, out, &steps, err);
}

int cs_tree_child(struct cs_tree *t, const struct cs_node *dir, const char *name, size_t name_len,
		  struct cs_node *out, struct cs_error *err)
{
	struct cs_leaf leaf;
	size_t i;
	if (!S_ISDIR(dir->entry.mode))
		return cs_fail(err, CS_E_NOTDIR, "%.*s: not a directory", (int)dir->entry.name_len,
			       dir->entry.name);
	if (dir->entry.children_count == 0)
		return cs_fail(err, CS_E_NOTFOUND, "%.*s: not found", (int)name_len, name);
	int rc = find_leaf(t, dir, CS_BY_KEY, 0, name, name_len, &leaf, err);
	if (rc != CS_OK)
		return rc;
	if (!cs_tree_page_find(&leaf.page->tree, name, name_len, &i)) {
		cs_cache_release(leaf.held);
		return cs_fail(err, CS_E_NOTFOUND, "%.*s: not found", (int)name_len, name);
	}
	remember(t, dir, &leaf);
	node_in_page(&leaf, i, base_of(dir, &leaf), out);
	return CS_OK;
}

int cs_tree_lookup(struct cs_tree *t, const char *path, struct cs_node *out, struct cs_error *err)
{
	struct cs_node at;
	const char *p = path;
	int rc = cs_tree_root(t, &at, err);
	while (rc == CS_OK) {
		struct cs_node next;
		while (*p == '/')
			p++;
		size_t n = strcspn(p, "/");
		if (n == 0)
			break;
		if (!(n == 1 && p[0] == '.')) {
			rc = cs_tree_child(t, &at, p, n, &next, err);
			cs_node_release(&at);
			if (rc == CS_OK)
				at = next;
		}
		p += n;
	}
	if (rc == CS_E_NOTFOUND || rc == CS_E_NOTDIR)
		return cs_fail(err, rc, "%s/%s:%s: %s", t->point.series, t->point.name, path,
			       rc == CS_E_NOTDIR ? "not a directory" : "no such file");
	if (rc == CS_OK)
		*out = at;
	return rc;
}

int cs_node_group(struct cs_tree *t, const struct cs_node *n, uint64_t *out, struct cs_error *err)
{
	uint8_t key[CS_LINK_KEY_SIZE];
	struct cs_leaf leaf;
	*out = n->pos;
	if (n->entry.nlink < 2 || S_ISDIR(n->entry.mode) || !t->record.links.root)
		return 0;
	struct cs_link want = cs_link_of(&n->entry);
	cs_link_key(&want, key);
	int rc = cs_reader_leaf(t->store, t->record.links, CS_PAGE_LINK, CS_BY_KEY, 0, key,
				sizeof(key), &leaf, err);
	if (rc != CS_OK)
		return rc;
	const struct cs_link *l = cs_links_find(leaf.page->links, leaf.page->n, &want);
	uint64_t first = l ? l->first : n->pos;
	cs_cache_release(leaf.held);
	if (first > n->pos)
		return damaged(t, "its hard links are wrong", err);
	*out = first;
	return l != NULL;
}

int cs_node_identity(struct cs_tree *t, const struct cs_node *n, uint64_t *out,
		     struct cs_error *err)
{
	int rc = cs_node_group(t, n, out, err);
	return rc < 0 ? rc : CS_OK;
}

/* ---- lists */

struct cs_dir {
	struct cs_tree *tree;
	struct cs_node dir; /* holds nothing: only what is in it by value is valid */
	struct cs_leaf leaf;
	uint64_t next;      /* index of the next child */
	struct cs_node node;
	uint64_t next_pos;  /* where the next child has to be; 0: the first one asked for */
	uint32_t last_len;  /* the name of the one before, when a page ends with it */
	char last[CS_NAME_MAX];
};

int cs_dir_open(struct cs_tree *t, const struct cs_node *dir, uint64_t first, struct cs_dir **out,
		struct cs_error *err)
{
	if (!S_ISDIR(dir->entry.mode))
		return cs_fail(err, CS_E_NOTDIR, "%.*s: not a directory", (int)dir->entry.name_len,
			       dir->entry.name);
	struct cs_dir *d = cs_zalloc(sizeof(*d));
	if (!d)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	d->tree = t;
	d->next = first;
	d->dir = *dir;
	d->dir.held = NULL;
	*out = d;
	return CS_OK;
}

void cs_dir_rest(struct cs_dir *d)
{
	const struct cs_entry *e = &d->node.entry;
	if (!d->leaf.held)
		return;
	d->last_len = e->name_len;
	memcpy(d->last, e->name, e->name_len);
	cs_cache_release(d->leaf.held);
	d->leaf.held = NULL;
}

/* The page with the next child, which has to go on where the last one ended. */
static int next_leaf(struct cs_dir *d, struct cs_error *err)
{
	const struct cs_entry *e = &d->node.entry;
	cs_dir_rest(d);
	int rc = find_leaf(d->tree, &d->dir, CS_BY_INDEX, d->next, NULL, 0, &d->leaf, err);
	if (rc != CS_OK)
		return rc;
	if (d->next - d->leaf.first >= d->leaf.page->tree.count)
		return damaged(d->tree, "a directory's totals are wrong", err);
	node_in_page(&d->leaf, d->next - d->leaf.first, base_of(&d->dir, &d->leaf), &d->node);
	if (d->next_pos && (d->node.pos != d->next_pos ||
			    cs_key_compare(d->last, d->last_len, e->name, e->name_len) >= 0))
		return damaged(d->tree, "a directory's pages are out of order", err);
	remember(d->tree, &d->dir, &d->leaf);
	return CS_OK;
}

int cs_dir_next(struct cs_dir *d, const struct cs_node **out, struct cs_error *err)
{
	const struct cs_entry *e = &d->node.entry;
	if (d->next >= d->dir.entry.children_count)
		return 0;
	if (!d->leaf.held || d->next - d->leaf.first >= d->leaf.page->tree.count) {
		int rc = next_leaf(d, err);
		if (rc != CS_OK)
			return rc;
	} else {
		node_in_page(&d->leaf, d->next - d->leaf.first, base_of(&d->dir, &d->leaf),
			     &d->node);
	}
	d->next_pos = d->node.pos + 1 + (S_ISDIR(e->mode) ? e->below.entries : 0);
	d->next++;
	*out = &d->node;
	return 1;
}

void cs_dir_close(struct cs_dir *d)
{
	if (d) {
		cs_cache_release(d->leaf.held);
		free(d);
	}
}

/* ---- walking */

struct walk {
	struct cs_tree *tree;
	struct cs_dir **stack;
	size_t *path_len; /* of the directory on this level */
	size_t depth, cap, cap2;
	struct cs_buf path; /* NUL-terminated for the callback */
	cs_walk_fn *fn;
	cs_walk_lost_fn *lost; /* may be NULL */
	void *arg;
};

/* The directory whose path is the first len bytes cannot be read on, for a reason. */
static int is_lost(struct walk *w, size_t len, int rc, const struct cs_error *why)
{
	if (!w->lost || (rc != CS_E_CORRUPT && rc != CS_E_IO))
		return rc;
	w->path.len = len;
	cs_buf_u8(&w->path, 0);
	return w->path.failed ? CS_E_NOMEM : w->lost(w->arg, (const char *)w->path.data, why);
}

static int push_dir(struct walk *w, const struct cs_node *n, size_t path_len, struct cs_error *err)
{
	if (w->depth >= CS_DEPTH_MAX)
		return damaged(w->tree, "the tree is too deep", err);
	if (cs_grow(&w->stack, &w->cap, w->depth + 1, sizeof(*w->stack)) != CS_OK ||
	    cs_grow(&w->path_len, &w->cap2, w->depth + 1, sizeof(*w->path_len)) != CS_OK)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	int rc = cs_dir_open(w->tree, n, 0, &w->stack[w->depth], err);
	if (rc != CS_OK)
		return rc;
	if (w->depth >= CS_DIRS_HELD)
		cs_dir_rest(w->stack[w->depth - 1]);
	w->path_len[w->depth++] = path_len;
	return CS_OK;
}

/* Tell of one node; go down into it if it is a directory and fn does not object. */
static int visit(struct walk *w, const struct cs_node *n, size_t path_len, struct cs_error *err)
{
	w->path.len = path_len;
	cs_buf_u8(&w->path, 0);
	if (w->path.failed)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	int rc = w->fn(w->arg, (const char *)w->path.data, n, err);
	if (rc == CS_WALK_SKIP)
		return CS_OK;
	if (rc != CS_OK || !S_ISDIR(n->entry.mode) || !n->entry.children_count)
		return rc;
	rc = push_dir(w, n, path_len, err);
	return rc == CS_OK ? rc : is_lost(w, path_len, rc, err);
}

static int walk_step(struct walk *w, struct cs_error *err)
{
	const struct cs_node *n;
	int rc = cs_dir_next(w->stack[w->depth - 1], &n, err);
	if (rc != 1) {
		cs_dir_close(w->stack[--w->depth]);
		return rc == 0 ? CS_OK : is_lost(w, w->path_len[w->depth], rc, err);
	}
	w->path.len = w->path_len[w->depth - 1];
	if (w->path.len)
		cs_buf_u8(&w->path, '/');
	cs_buf_add(&w->path, n->entry.name, n->entry.name_len);
	return visit(w, n, w->path.len, err);
}

int cs_tree_walk(struct cs_tree *t, const struct cs_node *start, cs_walk_fn *fn,
		 cs_walk_lost_fn *lost, void *arg, struct cs_error *err)
{
	struct walk w = { .tree = t, .fn = fn, .lost = lost, .arg = arg };
	struct cs_error why;
	if (!err)
		err = &why;
	int rc = visit(&w, start, 0, err);
	while (rc == CS_OK && w.depth)
		rc = walk_step(&w, err);
	while (w.depth)
		cs_dir_close(w.stack[--w.depth]);
	free(w.stack);
	free(w.path_len);
	cs_buf_release(&w.path);
	return rc;
}
