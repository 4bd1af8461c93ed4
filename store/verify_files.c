/* SPDX-License-Identifier: MIT */
/*
 * verify_files.c - do the pieces of a file make the content that it had?
 *
 * Each chunk has its hash, and the directory's digest has the file's; but only the
 * hash of the whole content tells whether the list of pieces is the right one. It is
 * made anew of each different content, from the bundles that are decoded anyway: a
 * file waits for the bundle of its next piece, and goes on when that one passes. So
 * what was stored in one go costs a hash and nothing else. A piece in an earlier
 * bundle, or a delta, or one that gc has moved, is read again afterwards.
 *
 * Versions of a disk image, which have most pieces in common and lie in no such order,
 * have their own way before the bundles pass (verify_large.c).
 *
 * How much may be hashed and decoded again is bounded (verify_file.c); beyond that it is
 * other files at each run, drawn by chance.
 */
#include "verify_files_impl.h"

#include "alloc.h"

#include <stdlib.h>
#include <string.h>

/* ---- the table */

static uint64_t key_of(const struct cs_entry *e)
{
	uint64_t v[4] = { e->size, e->data_bytes, 0, 0 };
	v[2] = e->content == CS_CONTENT_PAGES ? e->extents.root : cs_checksum(e->bytes, e->bytes_len);
	memcpy(&v[3], e->hash.b, 8);
	return cs_checksum(v, sizeof(v));
}

static bool is_same(const struct cs_verify_file *f, const struct cs_entry *e)
{
	bool paged = e->content == CS_CONTENT_PAGES;
	return f->size == e->size && f->data_bytes == e->data_bytes &&
	       cs_hash_equal(&f->hash, &e->hash) && (f->root != 0) == paged &&
	       (paged ? f->root == e->extents.root && f->level == e->extents.level :
			f->bytes_len == e->bytes_len &&
				memcmp(f->bytes, e->bytes, f->bytes_len) == 0);
}

/* Where it is in the table, or should be. */
static uint32_t *place_of(const struct cs_verify_files *fs, const struct cs_entry *e)
{
	size_t at = key_of(e);
	uint32_t *p;
	while (*(p = &fs->table[at++ & (fs->table_cap - 1)]) && !is_same(&fs->list[*p - 1], e))
		;
	return p;
}

static int table_grow(struct cs_verify_files *fs, struct cs_error *err)
{
	size_t cap = fs->table_cap ? 2 * fs->table_cap : 1024;
	uint32_t *t = cs_zalloc(cap * sizeof(*t));
	if (!t)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	free(fs->table);
	fs->table = t;
	fs->table_cap = cap;
	for (size_t i = 0; i < fs->n; i++) {
		struct cs_entry e = cs_verify_file_entry(&fs->list[i]);
		*place_of(fs, &e) = (uint32_t)i + 1;
	}
	return CS_OK;
}

int cs_verify_files_begin(struct cs_verify_run *v, struct cs_error *err)
{
	v->files = cs_zalloc(sizeof(*v->files));
	return v->files ? CS_OK : cs_fail(err, CS_E_NOMEM, "out of memory");
}

void cs_verify_files_release(struct cs_verify_run *v)
{
	struct cs_verify_files *fs = v->files;
	if (!fs)
		return;
	for (size_t i = 0; i < fs->n; i++) {
		cs_hasher_free(fs->list[i].hasher);
		free(fs->list[i].bytes);
	}
	free(fs->list);
	free(fs->table);
	free(fs->gate.list);
	free(fs);
	v->files = NULL;
}

static const struct cs_verify_file *find(const struct cs_verify_run *v, const struct cs_entry *e)
{
	const struct cs_verify_files *fs = v->files;
	uint32_t at = fs && fs->table ? *place_of(fs, e) : 0;
	return at ? &fs->list[at - 1] : NULL;
}

bool cs_verify_file_is_wrong(const struct cs_verify_run *v, const struct cs_entry *e, bool *unread)
{
	const struct cs_verify_file *f = find(v, e);
	*unread = f && f->state == CS_FILE_UNREAD;
	return f && (f->state == CS_FILE_WRONG || f->state == CS_FILE_UNREAD);
}

bool cs_verify_files_of(const struct cs_verify_run *v, uint64_t seq)
{
	const struct cs_verify_files *fs = v->files;
	for (size_t i = 0; fs && fs->wrong && i < fs->n; i++)
		if (fs->list[i].state == CS_FILE_WRONG && fs->list[i].seq == seq)
			return true;
	return false;
}

int cs_verify_files_add(struct cs_verify_run *v, const struct cs_entry *e, uint64_t seq,
			struct cs_error *err)
{
	struct cs_verify_files *fs = v->files;
	bool paged = e->content == CS_CONTENT_PAGES;
	struct cs_verify_file f = { .hash = e->hash, .size = e->size, .data_bytes = e->data_bytes, .seq = seq };
	if (2 * (fs->n + 1) > fs->table_cap && table_grow(fs, err) != CS_OK)
		return CS_E_NOMEM;
	uint32_t *place = place_of(fs, e);
	if (*place || fs->n >= UINT32_MAX - 1)
		return CS_OK;
	if (paged) {
		f.root = e->extents.root;
		f.level = e->extents.level;
	} else if (!(f.bytes = cs_alloc(e->bytes_len + 1u))) {
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	} else {
		memcpy(f.bytes, e->bytes, f.bytes_len = e->bytes_len);
	}
	if (cs_grow(&fs->list, &fs->cap, fs->n + 1, sizeof(*fs->list)) != CS_OK) {
		free(f.bytes);
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	fs->list[fs->n++] = f;
	*place = (uint32_t)fs->n;
	return CS_OK;
}

/* ---- the bundles that files wait for */

static bool is_before(const struct cs_verify_wait *a, const struct cs_verify_wait *b)
{
	return a->bundle != b->bundle ? a->bundle < b->bundle : a->off < b->off;
}

void cs_verify_heap_push(struct cs_verify_heap *h, struct cs_verify_wait w)
{
	size_t i = h->n++;
	for (; i && is_before(&w, &h->list[(i - 1) / 2]); i = (i - 1) / 2)
		h->list[i] = h->list[(i - 1) / 2];
	h->list[i] = w;
}

struct cs_verify_wait cs_verify_heap_pop(struct cs_verify_heap *h)
{
	struct cs_verify_wait top = h->list[0], last = h->list[--h->n];
	size_t i = 0;
	for (size_t k; (k = 2 * i + 1) < h->n; i = k) {
		k += k + 1 < h->n && is_before(&h->list[k + 1], &h->list[k]);
		if (!is_before(&h->list[k], &last))
			break;
		h->list[i] = h->list[k];
	}
	h->list[i] = last;
	return top;
}

bool cs_verify_files_waiting(const struct cs_verify_run *v)
{
	return v->files && v->files->waiting;
}

/* A piece of a bundle. */
static bool add_piece(struct cs_verify_file *f, const struct cs_extent *x,
		      const struct cs_bundle *b)
{
	uint32_t slot = cs_chunk_slot(x->chunk);
	return b->kind == CS_BUNDLE_DATA && slot < b->nslots && !b->slots[slot].frame_len &&
	       b->slots[slot].len == x->len &&
	       cs_verify_file_add(f, b->raw + b->slots[slot].off, x->len);
}

/*
 * A piece of a bundle that passed a while ago: the one thread that is here decodes none, but
 * for a file that is so large that it would take longer to read it once more.
 */
static bool add_cached(struct cs_verify_run *v, struct cs_verify_file *f,
		       const struct cs_extent *x)
{
	uint64_t number = cs_chunk_bundle(x->chunk);
	struct cs_bundle *b;
	void *held;
	if (!cs_cache_has(v->store->bundles, number) ||
	    cs_reader_bundle(v->store, number, &held, &b, NULL) != CS_OK)
		return false;
	bool good = add_piece(f, x, b);
	cs_cache_release(held);
	return good;
}

/*
 * Go on as far as this bundle has what is next; NULL: over holes. *wants: the bundle that
 * it needs then. False: none.
 */
static bool go_on(struct cs_verify_run *v, struct cs_verify_file *f, uint64_t number,
		  const struct cs_bundle *b, uint64_t *wants)
{
	struct cs_file_extents x = { 0 };
	const struct cs_extent *at;
	bool good = true;
	while (good && cs_verify_files_may(v) && cs_verify_file_piece(v, f, &x, &at)) {
		*wants = cs_chunk_bundle(at->chunk);
		if (*wants > number)
			break;
		if (!at->chunk)
			good = cs_verify_file_fetch(v, f, at) == CS_OK;
		else if (*wants == number && b)
			good = add_piece(f, at, b);
		else if (f->data_bytes >= CS_VERIFY_LARGE)
			good = !cs_verify_must_stop(v) && cs_verify_file_fetch(v, f, at) == CS_OK;
		else
			good = add_cached(v, f, at);
		if (good)
			cs_verify_file_went_on(v, f, at);
	}
	cs_file_extents_release(&x);
	return good && f->state == CS_FILE_WAITS && cs_verify_files_may(v);
}

/* With what the bundle has of it; then it waits for the next, or for the rest to be read. */
static void meet(struct cs_verify_run *v, uint32_t i, uint64_t number, const struct cs_bundle *b)
{
	struct cs_verify_files *fs = v->files;
	struct cs_verify_file *f = &fs->list[i];
	bool was_open = f->hasher != NULL;
	uint64_t wants = number;
	bool more = go_on(v, f, number, b, &wants);
	if (f->state != CS_FILE_WAITS) {
		cs_verify_file_close(f);
	} else if (more && !was_open && f->hasher && fs->open >= CS_VERIFY_OPEN_MAX) {
		cs_verify_file_close(f);
		f->off = 0;
	} else if (more) {
		cs_verify_heap_push(&fs->gate, (struct cs_verify_wait){ wants, f->off, i });
	}
	fs->open += (f->hasher != NULL) - was_open;
}

void cs_verify_files_meet(struct cs_verify_run *v, uint64_t number, const struct cs_bundle *b)
{
	struct cs_verify_files *fs = v->files;
	struct cs_bundle *again;
	void *held = NULL;
	if (!fs)
		return;
	cs_verify_files_allow(v);
	while (fs->gate.n && fs->gate.list[0].bundle < number) /* gone, or not read this time */
		cs_verify_heap_pop(&fs->gate);
	if (!b && fs->gate.n && fs->gate.list[0].bundle == number &&
	    cs_reader_bundle(v->store, number, &held, &again, NULL) == CS_OK)
		b = again;
	while (fs->gate.n && fs->gate.list[0].bundle == number)
		meet(v, cs_verify_heap_pop(&fs->gate).file, number, b);
	cs_cache_release(held);
	fs->waiting = fs->gate.n;
}

int cs_verify_files_ready(struct cs_verify_run *v, struct cs_error *err)
{
	struct cs_verify_files *fs = v->files;
	int rc = fs->n ? cs_grow(&fs->gate.list, &fs->gate.cap, fs->n, sizeof(*fs->gate.list)) :
			 CS_OK;
	if (rc != CS_OK)
		return cs_fail(err, rc, "out of memory");
	cs_verify_files_allow(v);
	for (size_t i = 0; i < fs->n && rc == CS_OK; i++) {
		if (!fs->list[i].apart)
			meet(v, (uint32_t)i, 0, NULL);
		if (i % 1024 == 0)
			rc = cs_verify_tick(v, NULL, err);
	}
	fs->waiting = fs->gate.n;
	return rc;
}

/* ---- the rest */

int cs_verify_file_read(struct cs_verify_run *v, uint32_t file, struct cs_error *err)
{
	struct cs_verify_files *fs = v->files;
	struct cs_verify_file *f = &fs->list[file];
	struct cs_file_extents x = { 0 };
	const struct cs_extent *at;
	int rc = CS_OK;
	while (rc == CS_OK && cs_verify_file_piece(v, f, &x, &at)) {
		uint64_t cost = CS_VERIFY_PIECE_COST + (at->chunk ? at->len : 0);
		if (cs_verify_must_stop(v) || atomic_fetch_add(&fs->again, cost) >= fs->again_max)
			rc = CS_E_INTERRUPTED;
		else
			rc = cs_verify_file_fetch(v, f, at);
		if (rc != CS_OK)
			f->state = rc == CS_E_INTERRUPTED ? CS_FILE_LEFT : CS_FILE_UNREAD;
		f->off += at->len;
	}
	cs_file_extents_release(&x);
	cs_verify_file_close(f);
	return rc == CS_E_NOMEM ? cs_fail(err, rc, "out of memory") : CS_OK;
}

struct drawn {
	uint64_t by;
	uint32_t file;
};

static int by_draw(const void *a, const void *b)
{
	const struct drawn *x = a, *y = b;
	if (x->by != y->by)
		return x->by < y->by ? -1 : 1;
	return (x->file > y->file) - (x->file < y->file);
}

/* What is to be read of it, with a quarter more for pieces that are small. */
static uint64_t cost_of(const struct cs_verify_file *f)
{
	uint64_t rest = f->data_bytes < f->off ? 0 : f->data_bytes - f->off;
	return cs_bytes_add(rest, rest / 4 + CS_VERIFY_PIECE_COST);
}

/* As many as may be read, by chance. */
static bool draw(struct cs_verify_run *v, struct drawn *d, size_t n)
{
	struct cs_verify_files *fs = v->files;
	uint64_t cost = 0, more;
	bool noted = true;
	for (size_t i = 0; i < n; i++)
		d[i].by = cs_checksum_seeded(&d[i].file, sizeof(d[i].file), (uint64_t)v->now);
	qsort(d, n, sizeof(*d), by_draw);
	for (size_t i = 0; i < n && noted; i++) {
		struct cs_verify_file *f = &fs->list[d[i].file];
		more = cs_bytes_add(cost, cost_of(f));
		if (more > fs->again_max) {
			f->state = CS_FILE_LEFT;
			continue;
		}
		cost = more;
		noted = cs_verify_later(v, &(struct cs_verify_rest){ .near = f->first,
								      .file = d[i].file });
	}
	return noted;
}

int cs_verify_files_later(struct cs_verify_run *v, struct cs_error *err)
{
	struct cs_verify_files *fs = v->files;
	size_t n = 0;
	struct drawn *d = cs_alloc((fs->n + 1) * sizeof(*d));
	cs_verify_files_allow(v);
	fs->gate.n = 0;
	fs->waiting = false;
	fs->decoded = v->store->decoded;
	for (size_t i = 0; d && i < fs->n; i++)
		if (fs->list[i].state == CS_FILE_WAITS)
			d[n++].file = (uint32_t)i;
	bool noted = d && draw(v, d, n);
	free(d);
	return noted ? CS_OK : cs_fail(err, CS_E_NOMEM, "out of memory");
}

void cs_verify_files_judge(struct cs_verify_run *v)
{
	struct cs_verify_files *fs = v->files;
	for (size_t i = 0; i < fs->n; i++) {
		fs->wrong |= fs->list[i].state == CS_FILE_WRONG;
		v->result.files_left += fs->list[i].state == CS_FILE_LEFT;
	}
}
