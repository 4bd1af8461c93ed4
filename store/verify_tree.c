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
 *
 * A few forged pages can claim to be a sequence that nobody ever came to the end of,
 * by naming one page again and again. Names and links ascend, so the first page that
 * does not go on where the last one ended is the end. Pieces of a file may repeat, in
 * a sound one as well: a page of them is looked at once, and known by its sums.
 */
#include "verify_impl.h"

#include "alloc.h"
#include "dump.h"

#include <stdlib.h>
#include <string.h>

#define AGAIN_MAX 20000000u /* entries of directories that are walked more than once */
#define MISSING_MAX 1000u   /* pages of one sequence that are missing, before it is given up */
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
	struct cs_verify_run *v;
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
	int rc; /* what stops all of it */
	struct cs_error *err;
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

/* ---- sequences of pages */

/* What the extents of a file add up to. */
struct pieces {
	const struct cs_entry *entry;
	uint64_t bytes, data;
};

struct seq {
	struct walk *w;
	uint8_t kind;
	void (*leaf)(struct seq *q, cs_chunk page, const struct cs_page *p);
	const struct cs_entry *entry; /* whose they are; NULL: the directory's */
	struct pieces *pieces; /* of a file */
	uint64_t items, weight; /* so far */
	unsigned missing;
	bool whole;  /* nothing was left out */
	bool broken; /* it does not go on */
};

static void affects_entry(struct walk *w, struct cs_found *f, const struct cs_entry *e)
{
	cs_verify_affects(w->v, f, e && e->name_len ? e->name : NULL, e ? e->name_len : 0);
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
static struct cs_page *get_page(struct seq *q, cs_chunk chunk, unsigned level, void **held)
{
	struct cs_verify_run *v = q->w->v;
	struct cs_found *why;
	struct cs_page *p;
	struct cs_error text;
	if (!cs_verify_ref(v, chunk, CS_BUNDLE_META, CS_ANY_LENGTH, NULL, &why)) {
		affects_entry(q->w, why, q->entry);
		return NULL;
	}
	int rc = cs_reader_page(v->store, chunk, level ? CS_PAGE_INDEX : q->kind, held, &p, &text);
	if (rc == CS_OK)
		return p;
	if (rc == CS_E_NOMEM)
		q->w->rc = cs_fail(q->w->err, rc, "out of memory");
	else
		affects_entry(q->w, cs_verify_found(v, CS_FOUND_TREE_DAMAGED, chunk, "%.250s",
						    text.text), q->entry);
	return NULL;
}

/*
 * A page of pieces, or an index page above some, that was looked at: in any file. True:
 * that is all that there is to it.
 */
static bool is_known_page(struct seq *q, cs_chunk chunk, unsigned level)
{
	struct cs_verify_run *v = q->w->v;
	const struct cs_verify_pieces *k =
		q->pieces ? cs_verify_map_find(&v->pieces, chunk, level) : NULL;
	if (!k)
		return false;
	q->items += k->items;
	q->weight += k->bytes;
	q->pieces->bytes = cs_bytes_add(q->pieces->bytes, k->bytes);
	q->pieces->data = cs_bytes_add(q->pieces->data, k->data);
	q->whole &= !k->why;
	affects_entry(q->w, k->why, q->entry);
	return true;
}

static void look_at_page(struct seq *q, cs_chunk chunk, unsigned level,
			 const struct cs_index_row *row);

/* The same for the first time, and remember it. */
static void look_at_pieces(struct seq *q, cs_chunk chunk, unsigned level,
			   const struct cs_index_row *row)
{
	struct cs_verify_run *v = q->w->v;
	uint64_t damage = v->damage, items = q->items;
	struct pieces *sum = q->pieces, own = { sum->entry, 0, 0 };
	if (is_known_page(q, chunk, level))
		return;
	q->pieces = &own;
	look_at_page(q, chunk, level, row);
	q->pieces = sum;
	sum->bytes = cs_bytes_add(sum->bytes, own.bytes);
	sum->data = cs_bytes_add(sum->data, own.data);
	struct cs_verify_pieces *k =
		q->w->rc == CS_OK ? cs_verify_map_add(&v->pieces, chunk, level) : NULL;
	if (k) /* not to remember it costs time only */
		*k = (struct cs_verify_pieces){ k->at, q->items - items, own.bytes, own.data,
						v->damage == damage ? NULL : v->last_why };
}

/* A page and all below it. The depth is that of a sequence's levels: eight at the most. */
static void look_at_page(struct seq *q, cs_chunk chunk, unsigned level,
			 const struct cs_index_row *row)
{
	struct walk *w = q->w;
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
		for (size_t i = 0; i < p->n && w->rc == CS_OK && !q->broken; i++)
			(q->pieces ? look_at_pieces : look_at_page)(q, p->rows[i].page, level - 1,
								    &p->rows[i]);
		if (w->rc == CS_OK)
			w->rc = cs_verify_tick(w->v, NULL, w->err);
	} else {
		q->leaf(q, chunk, p);
		q->items += items_of(p);
		q->weight += weight_of(p);
	}
	q->whole &= !q->broken;
	if (row && w->rc == CS_OK && !q->broken &&
	    (q->items - items != row->below || q->weight - weight != row->weight ||
	     !key_is_right(p, row)))
		affects_entry(w, cs_verify_found(w->v, CS_FOUND_TOTALS_WRONG, chunk,
						 "bundle %llu slot %u is a page that is not what the "
						 "index page above it says",
						 (unsigned long long)cs_chunk_bundle(chunk),
						 cs_chunk_slot(chunk)), q->entry);
	cs_cache_release(held);
}

/* ---- content */

static void bad_content(struct walk *w, const struct cs_entry *e, const char *what)
{
	/* known by what refers to the content: the same in every point that has the same file */
	uint64_t key = e->content == CS_CONTENT_PAGES ? e->extents.root :
							cs_checksum(e->bytes, e->bytes_len);
	affects_entry(w, cs_verify_found(w->v, CS_FOUND_CONTENT_DAMAGED, key, "%s", what), e);
}

static void look_at_extents(struct walk *w, struct pieces *c, const struct cs_extent *x, size_t n)
{
	struct cs_found *why;
	for (size_t i = 0; i < n; i++) {
		c->bytes = cs_bytes_add(c->bytes, x[i].len);
		c->data = cs_bytes_add(c->data, x[i].chunk ? x[i].len : 0);
		if (x[i].chunk &&
		    !cs_verify_ref(w->v, x[i].chunk, CS_BUNDLE_DATA, x[i].len, NULL, &why))
			affects_entry(w, why, c->entry);
	}
}

static void extent_leaf(struct seq *q, cs_chunk page, const struct cs_page *p)
{
	(void)page;
	look_at_extents(q->w, q->pieces, p->extents, p->n);
}

static void look_at_pages(struct walk *w, const struct cs_entry *e)
{
	struct pieces c = { e, 0, 0 };
	struct seq q = { .w = w, .kind = CS_PAGE_EXTENT, .leaf = extent_leaf, .entry = e,
			 .pieces = &c, .whole = true };
	look_at_pieces(&q, e->extents.root, e->extents.level, NULL);
	if (q.whole && w->rc == CS_OK && (c.bytes != e->size || c.data != e->data_bytes))
		bad_content(w, e, "a file's extents are not as long as the file");
}

/* Nothing is known against its pieces: do they make its content? See verify_files.c. */
static void look_at_whole(struct walk *w, const struct cs_entry *e)
{
	bool unread;
	if (cs_verify_file_is_wrong(w->v, e, &unread))
		bad_content(w, e, unread ? "a file's pieces cannot be read one after the other" :
					   "a file's pieces do not make the content of its hash");
}

/* The hash that stands for a file's content in its line. */
static void look_at_content(struct walk *w, const struct cs_entry *e, struct cs_hash *hash)
{
	struct cs_found *why;
	struct cs_extent *x;
	struct pieces c = { e, 0, 0 };
	uint64_t before = w->v->damage;
	size_t n;
	*hash = e->hash;
	switch (e->content) {
	case CS_CONTENT_CHUNK:
		if (!cs_verify_ref(w->v, e->chunk, CS_BUNDLE_DATA, e->size, hash, &why))
			affects_entry(w, why, e);
		break;
	case CS_CONTENT_PAGES:
		look_at_pages(w, e);
		break;
	case CS_CONTENT_EXTENTS:
		if (cs_extents_unpack(e->bytes, e->bytes_len, &x, &n) != CS_OK) {
			bad_content(w, e, "a file's extents cannot be read");
			break;
		}
		look_at_extents(w, &c, x, n);
		free(x);
		if (c.bytes != e->size || c.data != e->data_bytes)
			bad_content(w, e, "a file's extents are not as long as the file");
		break;
	default:
		*hash = cs_store_hash(w->v->store, e->bytes, e->size);
		return;
	}
	if (e->content != CS_CONTENT_CHUNK && w->v->damage == before)
		look_at_whole(w, e);
}

/* The unpacked list, to be released if true. */
static bool look_at_xattrs(struct walk *w, const struct cs_entry *e, struct cs_xattr_list *out)
{
	struct cs_verify_run *v = w->v;
	struct cs_found *why;
	struct cs_error text;
	const struct cs_node node = { .entry = *e };
	if (e->xattrs_chunk &&
	    !cs_verify_ref(v, e->xattrs_chunk, CS_BUNDLE_META, CS_ANY_LENGTH, NULL, &why)) {
		affects_entry(w, why, e);
		return false;
	}
	int rc = cs_xattr_list_init(v->tree, &node, out, &text);
	if (rc == CS_E_NOMEM)
		w->rc = cs_fail(w->err, rc, "out of memory");
	else if (rc != CS_OK)
		affects_entry(w, cs_verify_found(v, CS_FOUND_TREE_DAMAGED,
						 e->xattrs_chunk ? e->xattrs_chunk :
								   v->entry | CS_CHECKED_POINT,
						 "%.250s", text.text), e);
	if (rc != CS_OK)
		return false;
	for (size_t i = 0; i < out->count; i++)
		if (out->items[i].chunk &&
		    !cs_verify_ref(v, out->items[i].chunk, CS_BUNDLE_DATA, out->items[i].value_len,
				   NULL, &why))
			affects_entry(w, why, e);
	return true;
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
	struct cs_verify_run *v = w->v;
	struct cs_hash hash = { { 0 } };
	struct cs_xattr_list list = { .items = NULL };
	bool listed = false;
	v->entry++;
	v->result.entries++;
	if (S_ISREG(e->mode))
		look_at_content(w, e, &hash);
	if (cs_entry_has_xattrs(e) && w->rc == CS_OK)
		listed = look_at_xattrs(w, e, &list);
	if (v->level >= CS_VERIFY_DIGEST) {
		cs_buf_clear(&v->line);
		cs_dump_line(&v->line, e, &hash, list.items, list.count, e->name, e->name_len);
		if (v->line.failed)
			w->rc = cs_fail(w->err, CS_E_NOMEM, "out of memory");
	}
	if (listed)
		cs_xattr_list_release(&list);
}

static void dir_leaf(struct seq *q, cs_chunk page, const struct cs_page *p)
{
	struct walk *w = q->w;
	struct frame *f = w->dir;
	for (size_t i = 0; i < p->tree.count && w->rc == CS_OK; i++) {
		struct cs_entry e;
		cs_tree_page_entry(&p->tree, i, &e);
		add_up(&w->sums, &e);
		if (i == 0 && w->last_len &&
		    cs_key_compare(w->last_name, w->last_len, e.name, e.name_len) >= 0) {
			cs_verify_affects(w->v, cs_verify_found(w->v, CS_FOUND_TREE_DAMAGED, page,
								"the names of two pages do not "
								"ascend"), NULL, 0);
			q->broken = true;
			return;
		}
		look_at_entry(w, &e);
		if (w->v->level >= CS_VERIFY_DIGEST) {
			cs_buf_u8(&w->v->line, '\n');
			cs_hasher_add(w->v->hasher, w->v->line.data, w->v->line.len);
		}
		if (S_ISDIR(e.mode) && e.children_count) {
			if (cs_grow(&f->subs, &f->cap, f->nsubs + 1, sizeof(*f->subs)) != CS_OK)
				w->rc = cs_fail(w->err, CS_E_NOMEM, "out of memory");
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
	struct cs_verify_run *v = w->v;
	struct frame *f = w->dir = &w->stack[w->depth - 1];
	const struct cs_entry *e = &f->node.entry;
	struct seq q = { .w = w, .kind = CS_PAGE_DIR, .leaf = dir_leaf, .whole = true };
	uint64_t before = v->damage, key = e->children.root ? e->children.root : v->tree->seq;
	memset(&w->sums, 0, sizeof(w->sums));
	w->last_len = 0;
	cs_hasher_reset(v->hasher);
	v->entry++;
	if (e->children.root)
		look_at_page(&q, e->children.root, e->children.level, NULL);
	if (w->rc != CS_OK || !q.whole)
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
	struct cs_verify_run *v = w->v;
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
	struct cs_verify_run *v = w->v;
	if (is_done(w, &n->entry))
		return;
	if (cs_grow(&w->stack, &w->cap, w->depth + 1, sizeof(*w->stack)) != CS_OK) {
		w->rc = cs_fail(w->err, CS_E_NOMEM, "out of memory");
		return;
	}
	struct frame *f = &w->stack[w->depth++];
	*f = (struct frame){ .path_len = v->path.len, .damage = v->damage };
	f->node = *n;
	f->node.held = NULL;
	cs_buf_u8(&v->path, 0);
	if (v->path.failed)
		w->rc = cs_fail(w->err, CS_E_NOMEM, "out of memory");
	else
		w->rc = cs_verify_tick(v, (const char *)v->path.data, w->err);
	v->path.len = f->path_len;
	bool again = is_again(v, &n->entry);
	uint64_t before = v->result.entries;
	remember_as(v, n->entry.children.root, ANY_CLAIM, NULL);
	if (w->rc == CS_OK)
		look_at_dir(w);
	if (again)
		v->again += v->result.entries - before + 1;
}

static void leave(struct walk *w)
{
	struct cs_verify_run *v = w->v;
	struct frame *f = &w->stack[--w->depth];
	if (w->rc == CS_OK)
		remember(v, &f->node.entry, v->damage == f->damage ? NULL : v->last_why);
	w->waiting -= f->nsubs;
	free(f->subs);
}

/* Go into the next subdirectory of the one on top, or leave it. */
static void step(struct walk *w)
{
	struct cs_verify_run *v = w->v;
	struct frame *f = &w->stack[w->depth - 1];
	struct cs_page *p;
	struct cs_error why;
	struct cs_node n = { 0 };
	if (f->next == f->nsubs) {
		leave(w);
		return;
	}
	if (++w->steps % STEPS_TICK == 0 && (w->rc = cs_verify_tick(v, NULL, w->err)) != CS_OK)
		return;
	const struct sub *s = &f->subs[f->next++];
	w->rc = cs_reader_page(v->store, s->page, CS_PAGE_DIR, &n.held, &p, &why);
	if (w->rc == CS_E_CORRUPT || w->rc == CS_E_IO) { /* it was sound a moment ago */
		w->rc = CS_OK;
		v->entry++;
		v->path.len = f->path_len;
		cs_verify_affects(v, cs_verify_found(v, CS_FOUND_TREE_DAMAGED, s->page, "%.250s",
						     why.text), NULL, 0);
		return;
	}
	if (w->rc != CS_OK) {
		cs_fail(w->err, w->rc, "%s", why.text);
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
	struct cs_verify_run *v = w->v;
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

static void link_leaf(struct seq *q, cs_chunk page, const struct cs_page *p)
{
	struct walk *w = q->w;
	if (p->n && q->items && cs_link_compare(&w->last_link, &p->links[0]) >= 0) {
		cs_verify_affects(w->v, cs_verify_found(w->v, CS_FOUND_TREE_DAMAGED, page,
							"the hard links of two pages do not ascend"),
				  NULL, 0);
		q->broken = true;
		return;
	}
	if (p->n)
		w->last_link = p->links[p->n - 1];
	for (size_t i = 0; i < p->n && w->rc == CS_OK; i++) {
		look_at_link(w, page, &p->links[i]);
		if (i % LINKS_TICK == 0)
			w->rc = cs_verify_tick(w->v, NULL, w->err);
	}
}

static void look_at_links(struct walk *w)
{
	struct cs_pages links = w->v->tree->record.links;
	struct seq q = { .w = w, .kind = CS_PAGE_LINK, .leaf = link_leaf, .whole = true };
	w->v->path.len = 0;
	w->v->entry++;
	if (!w->v->link_steps_max)
		w->v->link_steps_max = LINK_STEPS_FREE;
	if (links.root)
		look_at_page(&q, links.root, links.level, NULL);
}

static bool totals_are_right(const struct cs_point_record *r, const struct cs_entry *root)
{
	return r->totals.entries == root->below.entries + 1 &&
	       r->totals.bytes == root->below.bytes && r->totals.links == root->below.links &&
	       r->totals.xattrs == root->below.xattrs + cs_entry_has_xattrs(root);
}

static void look_at_root(struct walk *w, const struct cs_node *root)
{
	struct cs_verify_run *v = w->v;
	const struct cs_point_record *r = &v->tree->record;
	v->path.len = 0;
	look_at_entry(w, &root->entry);
	if (w->rc != CS_OK)
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
	struct walk w = { .v = v, .err = err };
	struct cs_node root;
	int rc = cs_tree_root(v->tree, &root, err);
	if (rc != CS_OK)
		return rc;
	cs_buf_clear(&v->path);
	if (S_ISDIR(root.entry.mode))
		enter(&w, &root);
	while (w.depth && w.rc == CS_OK)
		step(&w);
	while (w.depth)
		leave(&w);
	if (w.rc == CS_OK)
		look_at_links(&w);
	if (w.rc == CS_OK)
		look_at_root(&w, &root);
	free(w.stack);
	return w.rc;
}
