/* SPDX-License-Identifier: MIT */
/*
 * verify_tree.c - the directories of one point.
 *
 * Each directory is looked at in two goes: its pages, index pages included, with
 * all entries and what they refer to; then its subdirectories, one after the other,
 * with a stack of our own. A directory that was found sound is known by its root
 * page and by what is claimed of it, and is not looked at again, in this point or
 * another. One with damage below is walked again wherever it is met, so that every
 * path that suffers is counted, as long as that stays within reason.
 */
#include "verify_tree_impl.h"

#include "alloc.h"
#include "dump.h"

#include <stdlib.h>
#include <string.h>

#define AGAIN_MAX 20000000u /* entries of directories that are walked more than once */
/*
 * Where a link leads is found by going down to it. What may be gone down is this many
 * levels, and as many for each link; no source has them deeper than that on average, but
 * a few forged pages may have a million links that lie 4000 directories down.
 */
#define LINK_STEPS_FREE 16000000u
#define LINK_STEPS 64
#define LINKS_TICK 64
/*
 * Each directory that waits takes some bytes. So far down, no source has this many
 * beside its way; a forged one has as many as it likes at each of its 4096 levels.
 */
#define WAITING_DEPTH 64
#define WAITING_MAX 2000000u
#define STEPS_TICK 64
#define ANY_CLAIM 1         /* the directory of a page was looked at, whatever was said of it */

/* A subdirectory still to go into: entry i of a page. */
struct sub {
	cs_chunk page;
	size_t i;
	uint64_t pos;
};

struct frame {
	struct cs_node node; /* holds nothing: of 4096 levels, that might be a page of 1 MiB each */
	size_t path_len;
	uint64_t damage; /* before */
	struct sub *subs;
	size_t nsubs, cap, next;
};

struct walk {
	struct cs_verify_go go;
	struct frame *stack;
	size_t depth, cap;
	size_t waiting; /* subdirectories in all frames */
	unsigned steps;
	/* the directory being looked at */
	struct frame *dir;
	struct cs_entry sums; /* children_count, subdirs, below */
	char last_name[CS_NAME_MAX];
	size_t last_len;
	struct cs_link last_link;
};

/* ---- directories that are known */

/* What an entry says of the directory that begins at a page, as one number. */
static uint64_t claim_of(const struct cs_entry *e)
{
	uint8_t b[6 * 8 + CS_HASH_SIZE];
	uint64_t n[6] = { e->children_count, e->subdirs,     e->below.entries,
			  e->below.bytes,    e->below.links, e->below.xattrs };
	memcpy(b, n, sizeof(n));
	memcpy(b + sizeof(n), e->hash.b, CS_HASH_SIZE);
	return cs_checksum(b, sizeof(b));
}

static const struct cs_verify_known *known(struct cs_verify_run *v, const struct cs_entry *e)
{
	return e->children.root ? cs_verify_map_find(&v->known, e->children.root, claim_of(e)) : NULL;
}

/* Not to remember it costs time only. */
static void remember_as(struct cs_verify_run *v, cs_chunk root, uint64_t claim, struct cs_found *why)
{
	struct cs_verify_known *k = root ? cs_verify_map_add(&v->known, root, claim) : NULL;
	if (k)
		k->why = why;
}

static void remember(struct cs_verify_run *v, const struct cs_entry *e, struct cs_found *why)
{
	remember_as(v, e->children.root, claim_of(e), why);
}

/* It is looked at again: it was damaged, or something else was said of it. */
static bool is_again(struct cs_verify_run *v, const struct cs_entry *e)
{
	return e->children.root && cs_verify_map_find(&v->known, e->children.root, ANY_CLAIM);
}

/* ---- entries */

static void add_up(struct cs_entry *s, const struct cs_entry *e)
{
	s->children_count++;
	s->below.entries++;
	s->below.bytes = cs_bytes_add(s->below.bytes, S_ISREG(e->mode) ? e->size : 0);
	s->below.links += e->nlink > 1 && !S_ISDIR(e->mode);
	s->below.xattrs += cs_entry_has_xattrs(e);
	if (S_ISDIR(e->mode)) {
		s->subdirs++;
		s->below.entries += e->below.entries;
		s->below.bytes = cs_bytes_add(s->below.bytes, e->below.bytes);
		s->below.links += e->below.links;
		s->below.xattrs += e->below.xattrs;
	}
}

static bool same_sums(const struct cs_entry *s, const struct cs_entry *e)
{
	return s->children_count == e->children_count && s->subdirs == e->subdirs &&
	       s->below.entries == e->below.entries && s->below.bytes == e->below.bytes &&
	       s->below.links == e->below.links && s->below.xattrs == e->below.xattrs;
}

/* What the entry refers to, and its line. */
static void look_at_entry(struct walk *w, const struct cs_entry *e)
{
	struct cs_verify_run *v = w->go.v;
	struct cs_hash hash = { { 0 } };
	struct cs_xattr_list list = { .items = NULL };
	bool listed = false;
	v->entry++;
	v->result.entries++;
	if (S_ISREG(e->mode))
		cs_verify_content(&w->go, e, &hash);
	if (cs_entry_has_xattrs(e) && w->go.rc == CS_OK)
		listed = cs_verify_xattrs(&w->go, e, &list);
	if (v->level >= CS_VERIFY_DIGEST) {
		cs_buf_clear(&v->line);
		cs_dump_line(&v->line, e, &hash, list.items, list.count, e->name, e->name_len);
		if (v->line.failed)
			w->go.rc = cs_fail(w->go.err, CS_E_NOMEM, "out of memory");
	}
	if (listed)
		cs_xattr_list_release(&list);
}

static void dir_leaf(struct cs_verify_seq *q, cs_chunk page, const struct cs_page *p)
{
	struct walk *w = q->arg;
	struct frame *f = w->dir;
	for (size_t i = 0; i < p->tree.count && w->go.rc == CS_OK; i++) {
		struct cs_entry e;
		cs_tree_page_entry(&p->tree, i, &e);
		add_up(&w->sums, &e);
		if (i == 0 && w->last_len &&
		    cs_key_compare(w->last_name, w->last_len, e.name, e.name_len) >= 0) {
			cs_verify_affects(w->go.v, cs_verify_found(w->go.v, CS_FOUND_TREE_DAMAGED, page,
								"the names of two pages do not "
								"ascend"), NULL, 0);
			q->broken = true;
			return;
		}
		look_at_entry(w, &e);
		if (w->go.v->level >= CS_VERIFY_DIGEST) {
			cs_buf_u8(&w->go.v->line, '\n');
			cs_hasher_add(w->go.v->hasher, w->go.v->line.data, w->go.v->line.len);
		}
		if (S_ISDIR(e.mode) && e.children_count) {
			if (cs_grow(&f->subs, &f->cap, f->nsubs + 1, sizeof(*f->subs)) != CS_OK)
				w->go.rc = cs_fail(w->go.err, CS_E_NOMEM, "out of memory");
			else
				f->subs[f->nsubs++] = (struct sub){
					page, i, f->node.pos + 1 + q->items + i + q->weight +
							 p->tree.before[i]
				};
			w->waiting++;
		}
		memcpy(w->last_name, e.name, w->last_len = e.name_len);
	}
}

/* ---- directories */

/* All pages and entries of the directory on top of the stack. */
static void look_at_dir(struct walk *w)
{
	struct cs_verify_run *v = w->go.v;
	struct frame *f = w->dir = &w->stack[w->depth - 1];
	const struct cs_entry *e = &f->node.entry;
	struct cs_verify_seq q = { .go = &w->go, .kind = CS_PAGE_DIR, .leaf = dir_leaf, .arg = w };
	uint64_t before = v->damage, key = e->children.root ? e->children.root : v->tree->seq;
	memset(&w->sums, 0, sizeof(w->sums));
	w->last_len = 0;
	cs_hasher_reset(v->hasher);
	v->entry++;
	cs_verify_seq(&q, e->children);
	if (w->go.rc != CS_OK || !q.whole)
		return;
	v->entry++; /* the directory itself again: what its children said does not count */
	if (!same_sums(&w->sums, e))
		cs_verify_affects(v, cs_verify_found(v, CS_FOUND_TOTALS_WRONG, key,
						     "a directory's totals are not those of its "
						     "entries"), NULL, 0);
	struct cs_hash digest = cs_hasher_end(v->hasher);
	if (v->level >= CS_VERIFY_DIGEST && v->damage == before && !cs_hash_equal(&digest, &e->hash))
		cs_verify_affects(v, cs_verify_found(v, CS_FOUND_DIGEST_WRONG, key,
						     "a directory's digest does not follow from its "
						     "entries"), NULL, 0);
}

/* True when there is no need to go into it. v->path leads to it. */
static bool is_done(struct walk *w, const struct cs_entry *e)
{
	struct cs_verify_run *v = w->go.v;
	const struct cs_verify_known *k = known(v, e);
	if (k && k->why && v->again < AGAIN_MAX)
		return false;
	if (k && k->why) {
		v->entry++;
		cs_verify_affects(v, k->why, NULL, 0);
	}
	if (k)
		return true;
	struct cs_found *why = NULL;
	if (v->again >= AGAIN_MAX && is_again(v, e))
		why = cs_verify_found(v, CS_FOUND_TOTALS_WRONG, e->children.root,
				      "different things are said of one directory");
	if (w->depth >= CS_DEPTH_MAX || (w->depth > WAITING_DEPTH && w->waiting > WAITING_MAX))
		why = cs_verify_found(v, CS_FOUND_TREE_DAMAGED, e->children.root,
				      "the tree is too deep");
	for (size_t i = 0; i < w->depth && e->children.root && !why; i++)
		if (w->stack[i].node.entry.children.root == e->children.root)
			why = cs_verify_found(v, CS_FOUND_TREE_CYCLE, e->children.root,
					      "a directory contains itself");
	v->entry += why != NULL;
	cs_verify_affects(v, why, NULL, 0);
	return why != NULL;
}

static void enter(struct walk *w, const struct cs_node *n)
{
	struct cs_verify_run *v = w->go.v;
	if (is_done(w, &n->entry))
		return;
	if (cs_grow(&w->stack, &w->cap, w->depth + 1, sizeof(*w->stack)) != CS_OK) {
		w->go.rc = cs_fail(w->go.err, CS_E_NOMEM, "out of memory");
		return;
	}
	struct frame *f = &w->stack[w->depth++];
	*f = (struct frame){ .path_len = v->path.len, .damage = v->damage };
	f->node = *n;
	f->node.held = NULL;
	cs_buf_u8(&v->path, 0);
	if (v->path.failed)
		w->go.rc = cs_fail(w->go.err, CS_E_NOMEM, "out of memory");
	else
		w->go.rc = cs_verify_tick(v, (const char *)v->path.data, w->go.err);
	v->path.len = f->path_len;
	bool again = is_again(v, &n->entry);
	uint64_t before = v->result.entries;
	remember_as(v, n->entry.children.root, ANY_CLAIM, NULL);
	if (w->go.rc == CS_OK)
		look_at_dir(w);
	if (again)
		v->again += v->result.entries - before + 1;
}

static void leave(struct walk *w)
{
	struct cs_verify_run *v = w->go.v;
	struct frame *f = &w->stack[--w->depth];
	if (w->go.rc == CS_OK)
		remember(v, &f->node.entry, v->damage == f->damage ? NULL : v->last_why);
	w->waiting -= f->nsubs;
	free(f->subs);
}

/* Go into the next subdirectory of the one on top, or leave it. */
static void step(struct walk *w)
{
	struct cs_verify_run *v = w->go.v;
	struct frame *f = &w->stack[w->depth - 1];
	struct cs_page *p;
	struct cs_error why;
	struct cs_node n = { 0 };
	if (f->next == f->nsubs) {
		leave(w);
		return;
	}
	if (++w->steps % STEPS_TICK == 0 && (w->go.rc = cs_verify_tick(v, NULL, w->go.err)) != CS_OK)
		return;
	const struct sub *s = &f->subs[f->next++];
	w->go.rc = cs_reader_page(v->store, s->page, CS_PAGE_DIR, &n.held, &p, &why);
	if (w->go.rc == CS_E_CORRUPT || w->go.rc == CS_E_IO) { /* it was sound a moment ago */
		w->go.rc = CS_OK;
		v->entry++;
		v->path.len = f->path_len;
		cs_verify_affects(v, cs_verify_found(v, CS_FOUND_TREE_DAMAGED, s->page, "%.250s",
						     why.text), NULL, 0);
		return;
	}
	if (w->go.rc != CS_OK) {
		cs_fail(w->go.err, w->go.rc, "%s", why.text);
		return;
	}
	cs_tree_page_entry(&p->tree, s->i, &n.entry);
	n.pos = s->pos;
	v->path.len = f->path_len;
	if (v->path.len)
		cs_buf_u8(&v->path, '/');
	cs_buf_add(&v->path, n.entry.name, n.entry.name_len);
	enter(w, &n);
	cs_node_release(&n);
}

/* ---- the point */

/* Each row leads to an entry of that file. */
static void look_at_link(struct walk *w, cs_chunk page, const struct cs_link *l)
{
	struct cs_verify_run *v = w->go.v;
	struct cs_link is = { 0 };
	struct cs_node n;
	v->link_steps_max += LINK_STEPS;
	if (v->link_steps >= v->link_steps_max) {
		v->result.links_left++;
		return;
	}
	int rc = cs_tree_at_counted(v->tree, l->first, &n, &v->link_steps, NULL);
	if (rc == CS_E_CORRUPT || rc == CS_E_IO) /* said already */
		return;
	if (rc == CS_OK) {
		is = cs_link_of(&n.entry);
		if (S_ISDIR(n.entry.mode) || n.entry.nlink < 2)
			rc = CS_E_CORRUPT;
		cs_node_release(&n);
	}
	if (rc != CS_OK || cs_link_compare(&is, l) != 0)
		cs_verify_affects(v, cs_verify_found(v, CS_FOUND_TREE_DAMAGED, page,
						     "the table of hard links leads to entries "
						     "that are none"), NULL, 0);
}

static void link_leaf(struct cs_verify_seq *q, cs_chunk page, const struct cs_page *p)
{
	struct walk *w = q->arg;
	if (p->n && q->items && cs_link_compare(&w->last_link, &p->links[0]) >= 0) {
		cs_verify_affects(w->go.v, cs_verify_found(w->go.v, CS_FOUND_TREE_DAMAGED, page,
							"the hard links of two pages do not ascend"),
				  NULL, 0);
		q->broken = true;
		return;
	}
	if (p->n)
		w->last_link = p->links[p->n - 1];
	for (size_t i = 0; i < p->n && w->go.rc == CS_OK; i++) {
		look_at_link(w, page, &p->links[i]);
		if (i % LINKS_TICK == 0)
			w->go.rc = cs_verify_tick(w->go.v, NULL, w->go.err);
	}
}

static void look_at_links(struct walk *w)
{
	struct cs_pages links = w->go.v->tree->record.links;
	struct cs_verify_seq q = { .go = &w->go, .kind = CS_PAGE_LINK, .leaf = link_leaf, .arg = w };
	w->go.v->path.len = 0;
	w->go.v->entry++;
	if (!w->go.v->link_steps_max)
		w->go.v->link_steps_max = LINK_STEPS_FREE;
	cs_verify_seq(&q, links);
}

static bool totals_are_right(const struct cs_point_record *r, const struct cs_entry *root)
{
	return r->totals.entries == root->below.entries + 1 &&
	       r->totals.bytes == root->below.bytes && r->totals.links == root->below.links &&
	       r->totals.xattrs == root->below.xattrs + cs_entry_has_xattrs(root);
}

static void look_at_root(struct walk *w, const struct cs_node *root)
{
	struct cs_verify_run *v = w->go.v;
	const struct cs_point_record *r = &v->tree->record;
	v->path.len = 0;
	look_at_entry(w, &root->entry);
	if (w->go.rc != CS_OK)
		return;
	if (S_ISDIR(root->entry.mode) && !totals_are_right(r, &root->entry))
		cs_verify_affects(v, cs_verify_found(v, CS_FOUND_TOTALS_WRONG,
						     cs_checked_point(r->seq),
						     "the point's totals are not those of its root"),
				  NULL, 0);
	struct cs_hash digest = cs_hash_of(v->line.data, v->line.len);
	if (v->level >= CS_VERIFY_DIGEST && v->damage == 0 && !cs_hash_equal(&digest, &r->digest))
		cs_verify_affects(v, cs_verify_found(v, CS_FOUND_DIGEST_WRONG,
						     cs_checked_point(r->seq),
						     "the point's digest does not follow from it"),
				  NULL, 0);
}

int cs_verify_tree(struct cs_verify_run *v, struct cs_error *err)
{
	struct walk w = { .go = { .v = v, .err = err } };
	struct cs_node root;
	int rc = cs_tree_root(v->tree, &root, err);
	if (rc != CS_OK)
		return rc;
	cs_buf_clear(&v->path);
	if (S_ISDIR(root.entry.mode))
		enter(&w, &root);
	while (w.depth && w.go.rc == CS_OK)
		step(&w);
	while (w.depth)
		leave(&w);
	if (w.go.rc == CS_OK)
		look_at_links(&w);
	if (w.go.rc == CS_OK)
		look_at_root(&w, &root);
	free(w.stack);
	return w.go.rc;
}
