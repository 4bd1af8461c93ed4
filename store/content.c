/* SPDX-License-Identifier: MIT */
/*
 * content.c - what is in a file: its bytes, holes and hash; and its one line of text.
 *
 * Reads hand out pieces of decoded bundles and entries as they lie in the
 * cache; nothing is copied. Only what is cut into very many pieces is, from
 * the HELD_MAX-th on: no backup makes such files, and a forged store must not
 * make one read hold a bundle for each byte.
 */
#include "alloc.h"
#include "browse.h"
#include "dump.h"
#include "hash.h"

#include <stdlib.h>
#include <string.h>

#define HELD_MAX 64
#define LITTLE 65536 /* of a large file: the kernel's read-ahead asks for more */
#define PIECES_MAX (4 * HELD_MAX) /* with holes */
#define PIECE_MIN 512 /* on average, of what is cut into many: file systems have no smaller holes */

static const uint8_t zeroes[64 << 10];

/* ---- pieces */

void cs_read_release(struct cs_read *r)
{
	for (size_t i = 0; i < r->nheld; i++)
		cs_cache_release(r->held[i]);
	free(r->iov);
	free(r->held);
	free(r->copy);
	memset(r, 0, sizeof(*r));
}

/* Add a piece; held (may be NULL) becomes the read's. */
static int add_piece(struct cs_read *r, const void *data, size_t len, void *held,
		     struct cs_error *err)
{
	if (r->niov == r->cap) {
		size_t cap = r->cap ? 2 * r->cap : 8;
		struct iovec *iov = cs_realloc(r->iov, cap * sizeof(*iov));
		if (iov)
			r->iov = iov;
		void **h = iov ? cs_realloc(r->held, cap * sizeof(*h)) : NULL;
		if (!h) {
			cs_cache_release(held);
			return cs_fail(err, CS_E_NOMEM, "out of memory");
		}
		r->held = h;
		r->cap = cap;
	}
	r->iov[r->niov++] = (struct iovec){ (void *)(uintptr_t)data, len };
	if (held)
		r->held[r->nheld++] = held;
	r->len += len;
	return CS_OK;
}

static int add_hole(struct cs_read *r, uint64_t len, struct cs_error *err)
{
	int rc = CS_OK;
	while (len && rc == CS_OK) {
		size_t n = len < sizeof(zeroes) ? (size_t)len : sizeof(zeroes);
		rc = add_piece(r, zeroes, n, NULL, err);
		len -= n;
	}
	return rc;
}

/* What is read as zeros because it cannot be read. */
struct lost {
	uint64_t bytes;
	struct cs_error why; /* of the first of them */
};

static bool is_damage(int rc)
{
	return rc == CS_E_CORRUPT || rc == CS_E_IO;
}

static void note_lost(struct lost *l, uint64_t bytes, const struct cs_error *why)
{
	if (!l->bytes)
		l->why = *why;
	l->bytes += bytes;
}

/* One call of cs_file_read. */
struct call {
	struct cs_store *store;
	struct lost *lost; /* NULL: what cannot be read is an error */
	bool small;        /* the file: perhaps nothing else of its bundle is ever asked for */
	bool little;       /* likewise, is asked for of a large one */
	uint64_t bundle;   /* of the piece before; 0: none */
	struct cs_range at; /* of what is asked for of a large file: see cs_reader_piece */
};

/* Bytes off..off+len of a chunk that must be chunk_len long. */
static int add_chunk(struct call *c, struct cs_read *r, cs_chunk chunk, uint64_t chunk_len,
		     uint64_t off, uint64_t len, struct cs_error *err)
{
	const uint8_t *data;
	size_t have;
	void *held;
	/* who begins with a bundle's first file goes on with the others */
	bool alone = c->small ? cs_chunk_slot(chunk) != 0 : c->little;
	bool same = c->bundle == cs_chunk_bundle(chunk);
	c->bundle = cs_chunk_bundle(chunk);
	int rc = alone ? cs_reader_piece(c->store, chunk, same, c->at, &held, &data, &have, err) :
			 cs_reader_chunk(c->store, chunk, &held, &data, &have, err);
	if (rc != CS_OK)
		return rc;
	if (have != chunk_len) {
		cs_cache_release(held);
		return cs_fail(err, CS_E_CORRUPT, "chunk %llx has a wrong length",
			       (unsigned long long)chunk);
	}
	return add_piece(r, data + off, len, held, err);
}

/* The same, or zeros when it cannot be read and that is wanted. */
static int add_or_lose(struct call *c, struct cs_read *r, cs_chunk chunk, uint64_t chunk_len,
		       uint64_t off, uint64_t len, struct cs_error *err)
{
	struct cs_error why;
	int rc = add_chunk(c, r, chunk, chunk_len, off, len, c->lost ? &why : err);
	if (!c->lost || rc == CS_OK)
		return rc;
	if (is_damage(rc)) {
		note_lost(c->lost, len, &why);
		return add_hole(r, len, err);
	}
	if (err)
		*err = why;
	return rc;
}

/* ---- extents */

void cs_file_extents_release(struct cs_file_extents *e)
{
	free(e->own);
	cs_cache_release(e->held);
	memset(e, 0, sizeof(*e));
}

static int extents_load(struct cs_store *s, const struct cs_entry *e, uint64_t off,
			struct cs_file_extents *out, struct cs_error *err)
{
	int rc;
	memset(out, 0, sizeof(*out));
	if (e->content == CS_CONTENT_EXTENTS) {
		rc = cs_extents_unpack(e->bytes, e->bytes_len, &out->own, &out->n);
		if (rc != CS_OK)
			return cs_fail(err, rc, "%.*s: its extents are damaged", (int)e->name_len,
				       e->name);
		out->x = out->own;
		return CS_OK;
	}
	struct cs_leaf leaf;
	rc = cs_reader_leaf(s, e->extents, CS_PAGE_EXTENT, CS_BY_WEIGHT, off, NULL, 0, &leaf, err);
	if (rc == CS_E_NOTFOUND)
		return cs_fail(err, CS_E_CORRUPT, "%.*s: its extents end early", (int)e->name_len,
			       e->name);
	if (rc != CS_OK)
		return rc;
	out->held = leaf.held;
	out->page = leaf.chunk;
	out->x = leaf.page->extents;
	out->n = leaf.page->n;
	out->base = leaf.weight_before;
	return CS_OK;
}

int cs_file_extent(struct cs_store *s, const struct cs_entry *e, uint64_t off,
		   struct cs_file_extents *x, const struct cs_extent **out, struct cs_error *err)
{
	for (int tries = 0; tries < 2; tries++) {
		if (x->n && off >= x->base) {
			size_t i = cs_extents_find(x->x, x->n, off - x->base);
			if (i < x->n) {
				*out = &x->x[i];
				return CS_OK;
			}
		}
		cs_file_extents_release(x);
		int rc = extents_load(s, e, off, x, err);
		if (rc != CS_OK)
			return rc;
	}
	return cs_fail(err, CS_E_CORRUPT, "%.*s: its extents end early", (int)e->name_len, e->name);
}

/*
 * What a file's pieces tell of the bundle of one: where it begins there, and how much of the
 * next `len` bytes of the file is in it. What was stored in one go lies there in that order.
 */
static struct cs_range in_bundle(const struct cs_file_extents *x, const struct cs_extent *at,
				 uint64_t len)
{
	const struct cs_extent *first = at, *last = at, *end = x->x + x->n;
	while (cs_chunk_slot(first->chunk) && first > x->x && first[-1].chunk == first->chunk - 1)
		first--;
	if (cs_chunk_slot(first->chunk))
		return (struct cs_range){ 0 };
	while (last + 1 < end && last[1].chunk == last->chunk + 1 && last[1].off - at->off < len)
		last++;
	return (struct cs_range){ at->off - first->off, last->off + last->len - at->off };
}

/* Bytes off..off+len of a chunk, copied. */
static int copy_chunk(struct call *c, uint8_t *to, cs_chunk chunk, uint64_t chunk_len,
		      uint64_t off, uint64_t len, struct cs_error *err)
{
	struct cs_read piece = { 0 };
	int rc = add_or_lose(c, &piece, chunk, chunk_len, off, len, err);
	for (size_t i = 0; rc == CS_OK && i < piece.niov; i++) {
		memcpy(to, piece.iov[i].iov_base, piece.iov[i].iov_len);
		to += piece.iov[i].iov_len;
	}
	cs_read_release(&piece);
	return rc;
}

static int read_extents(struct call *c, const struct cs_entry *e, uint64_t off, uint64_t end,
			struct cs_read *r, struct cs_error *err)
{
	struct cs_file_extents x = { 0 };
	size_t copied = 0, pieces = 0, most = PIECES_MAX + (end - off) / PIECE_MIN;
	int rc = CS_OK;
	while (off < end && rc == CS_OK) {
		const struct cs_extent *at;
		rc = cs_file_extent(c->store, e, off, &x, &at, err);
		if (rc == CS_OK && ++pieces > most)
			rc = cs_fail(err, CS_E_CORRUPT, "%.*s: cut into too many pieces",
				     (int)e->name_len, e->name);
		if (rc != CS_OK)
			break;
		uint64_t skip = off - x.base - at->off;
		uint64_t n = at->len - skip < end - off ? at->len - skip : end - off;
		if (c->little && at->chunk)
			c->at = in_bundle(&x, at, skip + end - off);
		bool many = r->nheld >= HELD_MAX || r->niov >= PIECES_MAX;
		if (many && !r->copy && !(r->copy = cs_zalloc(end - off)))
			rc = cs_fail(err, CS_E_NOMEM, "out of memory");
		else if (r->copy && at->chunk)
			rc = copy_chunk(c, r->copy + copied, at->chunk, at->len, skip, n, err);
		else if (at->chunk)
			rc = add_or_lose(c, r, at->chunk, at->len, skip, n, err);
		else if (!r->copy)
			rc = add_hole(r, n, err);
		copied += r->copy ? n : 0;
		off += n;
	}
	if (rc == CS_OK && copied)
		rc = add_piece(r, r->copy, copied, NULL, err);
	cs_file_extents_release(&x);
	return rc;
}

/* ---- public */

static int not_a_file(const struct cs_entry *e, struct cs_error *err)
{
	return cs_fail(err, S_ISDIR(e->mode) ? CS_E_ISDIR : CS_E_USAGE, "%.*s: %s",
		       (int)e->name_len, e->name,
		       S_ISDIR(e->mode) ? "is a directory" : "not a regular file");
}

static int read_file(struct cs_tree *t, const struct cs_node *n, uint64_t off, size_t len,
		     struct cs_read *out, struct lost *lost, struct cs_error *err)
{
	const struct cs_entry *e = &n->entry;
	int rc;
	cs_read_release(out);
	if (!S_ISREG(e->mode))
		return not_a_file(e, err);
	if (off >= e->size)
		return CS_OK;
	uint64_t end = len < e->size - off ? off + len : e->size;
	struct call c = { .store = t->store, .lost = lost, .small = e->content == CS_CONTENT_CHUNK,
			  .little = end - off <= LITTLE };
	switch (e->content) {
	case CS_CONTENT_INLINE:
		if (n->held)
			cs_cache_hold(n->held);
		rc = add_piece(out, e->bytes + off, end - off, n->held, err);
		break;
	case CS_CONTENT_CHUNK:
		rc = add_or_lose(&c, out, e->chunk, e->size, off, end - off, err);
		break;
	default:
		rc = read_extents(&c, e, off, end, out, err);
	}
	if (rc != CS_OK)
		cs_read_release(out);
	return rc;
}

int cs_file_read(struct cs_tree *t, const struct cs_node *n, uint64_t off, size_t len,
		 struct cs_read *out, struct cs_error *err)
{
	return read_file(t, n, off, len, out, NULL, err);
}

int cs_file_read_zeros(struct cs_tree *t, const struct cs_node *n, uint64_t off, size_t len,
		       struct cs_read *out, uint64_t *out_lost, struct cs_error *err)
{
	struct lost lost = { 0 };
	int rc = read_file(t, n, off, len, out, &lost, err);
	if (rc != CS_OK)
		return rc;
	*out_lost = lost.bytes;
	if (lost.bytes && err)
		*err = lost.why;
	return CS_OK;
}

/*
 * How many extents are looked at for an answer; a page counts as many. What
 * follows is then said to be data, which is never wrong: a hole reads as zeroes.
 * A sound file of less than 256 GiB in one piece does not get that far; a forged
 * one would keep us for ever.
 */
#define SEEK_EFFORT (4u << 20)
#define SEEK_PAGE 64

int cs_file_seek(struct cs_tree *t, const struct cs_node *n, uint64_t off, bool want_data,
		 uint64_t *out, struct cs_error *err)
{
	const struct cs_entry *e = &n->entry;
	if (!S_ISREG(e->mode))
		return not_a_file(e, err);
	if (off >= e->size)
		return cs_fail(err, CS_E_NOTFOUND, "past the end");
	if ((e->content != CS_CONTENT_EXTENTS && e->content != CS_CONTENT_PAGES) ||
	    e->data_bytes == e->size) {
		*out = want_data ? off : e->size;
		return CS_OK;
	}
	struct cs_file_extents x = { 0 };
	int rc = CS_OK;
	unsigned effort = 0;
	for (; off < e->size && effort < SEEK_EFFORT; effort++) {
		const struct cs_extent *at;
		uint64_t base = x.base;
		rc = cs_file_extent(t->store, e, off, &x, &at, err);
		if (rc != CS_OK || (at->chunk != 0) == want_data)
			break;
		off = x.base + at->off + at->len;
		effort += x.base != base ? SEEK_PAGE : 0;
	}
	cs_file_extents_release(&x);
	if (rc != CS_OK)
		return rc;
	if (effort >= SEEK_EFFORT && !want_data)
		off = e->size;
	if (off >= e->size && want_data)
		return cs_fail(err, CS_E_NOTFOUND, "no data follows");
	*out = off < e->size ? off : e->size;
	return CS_OK;
}

int cs_file_hash(struct cs_tree *t, const struct cs_node *n, struct cs_hash *out,
		 struct cs_error *err)
{
	const struct cs_entry *e = &n->entry;
	struct cs_txn *txn;
	struct cs_slot slot;
	if (!S_ISREG(e->mode))
		return not_a_file(e, err);
	if (e->content == CS_CONTENT_NONE || e->content == CS_CONTENT_INLINE) {
		*out = cs_store_hash(t->store, e->bytes, e->size);
		return CS_OK;
	}
	if (e->content != CS_CONTENT_CHUNK) {
		*out = e->hash;
		return CS_OK;
	}
	int rc = cs_txn_read(t->store->db, &txn, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_chunk_info(txn, e->chunk, &slot, err);
	cs_txn_end(txn);
	if (rc == CS_OK)
		*out = slot.hash;
	return rc;
}

void cs_file_prefetch(struct cs_tree *t, const struct cs_node *n)
{
	if (S_ISREG(n->entry.mode) && n->entry.content == CS_CONTENT_CHUNK &&
	    !cs_cache_has(t->store->bundles, cs_chunk_bundle(n->entry.chunk)))
		cs_prefetch_wanted(t->store->prefetch, cs_chunk_bundle(n->entry.chunk));
}

/* ---- dump */

int cs_node_dump_line(struct cs_tree *t, const struct cs_node *n, const char *path,
		      size_t path_len, struct cs_buf *b, struct cs_error *err)
{
	struct cs_hash content = { { 0 } };
	struct cs_xattr_list list = { .items = NULL };
	int rc = CS_OK;

	if (S_ISREG(n->entry.mode))
		rc = cs_file_hash(t, n, &content, err);
	if (rc == CS_OK)
		rc = cs_xattr_list_init(t, n, &list, err);
	if (rc == CS_OK) {
		cs_dump_line(b, &n->entry, &content, list.items, list.count, path, path_len);
		if (b->failed)
			rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	cs_xattr_list_release(&list);
	return rc;
}

int cs_node_dump(struct cs_tree *t, const struct cs_node *n, const char *path, size_t path_len,
		 char **out, struct cs_error *err)
{
	struct cs_buf b = { 0 };
	int rc = cs_node_dump_line(t, n, path, path_len, &b, err);
	if (rc == CS_OK) {
		cs_buf_u8(&b, 0);
		if (b.failed)
			rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	if (rc != CS_OK)
		cs_buf_release(&b);
	else
		*out = (char *)b.data;
	return rc;
}
