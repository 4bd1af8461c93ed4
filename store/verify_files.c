/* SPDX-License-Identifier: MIT */
/*
 * verify_files.c - do the pieces of a large file make the content that it had?
 *
 * Each chunk has its hash, and the directory's digest has the file's; but only the
 * hash of the whole content tells whether the list of pieces is the right one. It is
 * made anew of each different content, from the bundles that are decoded anyway: a
 * file waits for the bundle of its next piece, and goes on when that one passes. So
 * what was stored in one go costs a hash and nothing else. A piece in an earlier
 * bundle, or a delta, or one that gc has moved, is read again afterwards.
 *
 * Versions of a disk image have most pieces in common, and others here and there. They
 * go along with the bundles that they share: what is larger than the cache fetches a
 * piece that lies aside at once, if it comes back to the bundles that pass. So what is
 * common is decoded once for all of them, and not once for each.
 *
 * A hundred versions of a disk image have a hundred times its size, and the store
 * has it once. So what may be hashed is bounded by what the store has, and what may
 * be decoded again as well; beyond that it is other files at each run, drawn by chance.
 * What an enemy wrote, a few pages that claim to be exabytes, ends there, too.
 */
#include "verify_impl.h"

#include "alloc.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

/* Hashing is ten times as fast as decoding. A piece counts as much more than its bytes. */
#define HASHED_FREE (UINT64_C(16) << 30)
#define HASHED_FACTOR 8
#define AGAIN_FREE (UINT64_C(1) << 30)
#define PIECE_COST 4096
#define LARGE (64u << 20) /* more than what is kept of the bundles that have passed */
#define NEAR 32 /* bundles: a file that waits for one that far ahead finds the others kept */
#define LOOK 1024 /* pieces that a large file looks ahead */
#define TURN 32 /* pieces that a file fetches before it is another's turn */
#define OPEN_MAX 16384 /* files that have begun and wait: each has a state of 600 bytes */

enum state { WAITS, SOUND, WRONG, UNREAD, LEFT };

/* A content, once. */
struct file {
	struct cs_hash hash;
	uint64_t size, data_bytes;
	cs_chunk root; /* of extent pages; 0: */
	uint8_t *bytes; /* the packed extents */
	uint32_t bytes_len;
	uint8_t level, state;
	uint64_t seq;  /* a point that has it */
	uint64_t off;  /* so far */
	uint64_t back; /* before here the pieces lie aside, and are fetched */
	cs_chunk first; /* piece */
	struct cs_hasher *hasher;
};

struct wait {
	uint64_t bundle, off;
	uint32_t file;
};

struct cs_verify_files {
	struct file *list;
	size_t n, cap;
	uint32_t *table; /* open hash table of index + 1 */
	size_t table_cap;
	/* who is at the gate */
	struct wait *heap; /* the lowest bundle first */
	size_t heap_cap, nheap;
	_Atomic bool waiting; /* any */
	size_t open;
	uint64_t hashed, hashed_max;
	/* afterwards */
	_Atomic uint64_t again;
	/* what the store had decoded when the bundles began to pass; or what is read again */
	uint64_t decoded;
	uint64_t again_max;
	bool wrong; /* there is one */
};

/* ---- the table */

static uint64_t key_of(const struct cs_entry *e)
{
	uint64_t v[4] = { e->size, e->data_bytes, 0, 0 };
	v[2] = e->content == CS_CONTENT_PAGES ? e->extents.root : cs_checksum(e->bytes, e->bytes_len);
	memcpy(&v[3], e->hash.b, 8);
	return cs_checksum(v, sizeof(v));
}

static struct cs_entry entry_of(const struct file *f)
{
	struct cs_entry e = { .name = "", .mode = S_IFREG, .size = f->size, .hash = f->hash,
			      .data_bytes = f->data_bytes, .bytes = f->bytes,
			      .bytes_len = f->bytes_len,
			      .content = f->root ? CS_CONTENT_PAGES : CS_CONTENT_EXTENTS };
	e.extents = (struct cs_pages){ f->root, f->level };
	return e;
}

static bool is_same(const struct file *f, const struct cs_entry *e)
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
		struct cs_entry e = entry_of(&fs->list[i]);
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
	free(fs->heap);
	free(fs);
	v->files = NULL;
}

static const struct file *find(const struct cs_verify_run *v, const struct cs_entry *e)
{
	const struct cs_verify_files *fs = v->files;
	uint32_t at = fs && fs->table ? *place_of(fs, e) : 0;
	return at ? &fs->list[at - 1] : NULL;
}

bool cs_verify_file_is_wrong(const struct cs_verify_run *v, const struct cs_entry *e, bool *unread)
{
	const struct file *f = find(v, e);
	*unread = f && f->state == UNREAD;
	return f && (f->state == WRONG || f->state == UNREAD);
}

bool cs_verify_files_of(const struct cs_verify_run *v, uint64_t seq)
{
	const struct cs_verify_files *fs = v->files;
	for (size_t i = 0; fs && fs->wrong && i < fs->n; i++)
		if (fs->list[i].state == WRONG && fs->list[i].seq == seq)
			return true;
	return false;
}

int cs_verify_files_add(struct cs_verify_run *v, const struct cs_entry *e, uint64_t seq,
			struct cs_error *err)
{
	struct cs_verify_files *fs = v->files;
	bool paged = e->content == CS_CONTENT_PAGES;
	struct file f = { .hash = e->hash, .size = e->size, .data_bytes = e->data_bytes, .seq = seq };
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

/* Of those that want one bundle, the one that is behind. */
static bool is_before(const struct wait *a, const struct wait *b)
{
	return a->bundle != b->bundle ? a->bundle < b->bundle : a->off < b->off;
}

static void heap_push(struct cs_verify_files *fs, uint64_t bundle, uint32_t file)
{
	const struct wait w = { bundle, fs->list[file].off, file };
	size_t i = fs->nheap++;
	for (; i && is_before(&w, &fs->heap[(i - 1) / 2]); i = (i - 1) / 2)
		fs->heap[i] = fs->heap[(i - 1) / 2];
	fs->heap[i] = w;
}

static struct wait heap_pop(struct cs_verify_files *fs)
{
	struct wait top = fs->heap[0], last = fs->heap[--fs->nheap];
	size_t i = 0, n = fs->nheap;
	for (size_t k; (k = 2 * i + 1) < n; i = k) {
		k += k + 1 < n && is_before(&fs->heap[k + 1], &fs->heap[k]);
		if (!is_before(&fs->heap[k], &last))
			break;
		fs->heap[i] = fs->heap[k];
	}
	fs->heap[i] = last;
	return top;
}

bool cs_verify_files_waiting(const struct cs_verify_run *v)
{
	return v->files && v->files->waiting;
}

/* ---- a file's pieces */

static bool add(struct file *f, const void *data, size_t len)
{
	if (!f->hasher)
		f->hasher = cs_hasher_new();
	if (f->hasher)
		cs_hasher_add(f->hasher, data, len);
	return f->hasher != NULL;
}

/* As backup does: a hole is its length. */
static bool add_hole(struct file *f, uint64_t len)
{
	uint8_t b[8];
	for (int i = 0; i < 8; i++)
		b[i] = (uint8_t)(len >> (8 * i));
	return add(f, b, sizeof(b));
}

/* A piece of a bundle. */
static bool add_piece(struct file *f, const struct cs_extent *x, const struct cs_bundle *b)
{
	uint32_t slot = cs_chunk_slot(x->chunk);
	return b->kind == CS_BUNDLE_DATA && slot < b->nslots && !b->slots[slot].frame_len &&
	       b->slots[slot].len == x->len && add(f, b->raw + b->slots[slot].off, x->len);
}

/* A piece of a bundle that passed a while ago: the one thread that is here decodes none. */
static bool add_cached(struct cs_verify_run *v, struct file *f, const struct cs_extent *x)
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

/* The piece at f->off: 1; 0: there is none any more, or none is looked for. */
static int piece_at(struct cs_verify_run *v, struct file *f, struct cs_file_extents *x,
		    const struct cs_extent **out)
{
	const struct cs_entry e = entry_of(f);
	if (f->state == WAITS && f->off == f->size) {
		const struct cs_hash none = cs_hash_of("", 0);
		struct cs_hash h = f->hasher ? cs_hasher_end(f->hasher) : none;
		f->state = cs_hash_equal(&h, &f->hash) ? SOUND : WRONG;
	}
	if (f->state != WAITS)
		return 0;
	if (cs_file_extent(v->store, &e, f->off, x, out, NULL) == CS_OK &&
	    x->base + (*out)->off == f->off && (*out)->len <= f->size - f->off)
		return 1;
	f->state = UNREAD;
	return 0;
}

static bool is_spent(const struct cs_verify_run *v)
{
	return v->store->decoded - v->files->decoded >= v->files->again_max;
}

static bool must_stop(struct cs_verify_run *v)
{
	pthread_mutex_lock(&v->lock);
	bool stop = v->stop || v->error.code;
	pthread_mutex_unlock(&v->lock);
	return stop;
}

/* A piece, wherever it is. CS_E_INTERRUPTED: no more may be decoded. */
static int fetch(struct cs_verify_run *v, struct file *f, const struct cs_extent *x)
{
	const uint8_t *data;
	size_t len;
	void *held;
	if (is_spent(v))
		return CS_E_INTERRUPTED;
	int rc = cs_reader_chunk(v->store, x->chunk, &held, &data, &len, NULL);
	if (rc != CS_OK)
		return rc;
	if (len != x->len)
		rc = CS_E_CORRUPT;
	else if (!add(f, data, len))
		rc = CS_E_NOMEM;
	cs_cache_release(held);
	return rc;
}

/* A bundle far ahead has the piece at f->off. Does one before it have one soon after? */
static bool lies_aside(struct cs_verify_run *v, struct file *f, uint64_t number, uint64_t ahead)
{
	const struct cs_entry e = entry_of(f);
	struct cs_file_extents x = { 0 };
	const struct cs_extent *at;
	uint64_t off = f->off;
	if (off < f->back)
		return true;
	if (f->data_bytes < LARGE || ahead - number < NEAR)
		return false;
	for (int i = 0; i < LOOK && off < f->size && off >= f->back && !is_spent(v); i++) {
		if (cs_file_extent(v->store, &e, off, &x, &at, NULL) != CS_OK)
			break;
		uint64_t bundle = cs_chunk_bundle(at->chunk);
		if (at->chunk && bundle >= number && bundle < ahead)
			f->back = off;
		else
			off += at->len;
	}
	cs_file_extents_release(&x);
	return f->off < f->back;
}

/*
 * Go on as far as this bundle has what is next; NULL: over holes. *wants: the bundle that
 * it needs then, which may be this one, when it has had its turn. False: none.
 */
static bool go_on(struct cs_verify_run *v, struct file *f, uint64_t number,
		  const struct cs_bundle *b, uint64_t *wants)
{
	struct cs_verify_files *fs = v->files;
	struct cs_file_extents x = { 0 };
	const struct cs_extent *at;
	unsigned fetched = 0;
	bool good = true;
	*wants = number;
	while (good && fs->hashed < fs->hashed_max && piece_at(v, f, &x, &at)) {
		uint64_t bundle = cs_chunk_bundle(at->chunk);
		if (!f->first)
			f->first = at->chunk;
		if (fetched >= TURN)
			break;
		if (bundle > number && !lies_aside(v, f, number, bundle)) {
			*wants = bundle;
			break;
		}
		if (!at->chunk)
			good = add_hole(f, at->len);
		else if (bundle == number && b && add_piece(f, at, b))
			;
		else if (f->data_bytes >= LARGE)
			good = !must_stop(v) && fetch(v, f, at) == CS_OK && ++fetched;
		else
			good = add_cached(v, f, at);
		fs->hashed += PIECE_COST + (at->chunk ? at->len : 0);
		if (good)
			f->off += at->len;
	}
	cs_file_extents_release(&x);
	return good && f->state == WAITS && fs->hashed < fs->hashed_max;
}

static void close_file(struct file *f)
{
	cs_hasher_free(f->hasher);
	f->hasher = NULL;
}

/* With what the bundle has of it; then it waits for the next, or for the rest to be read. */
static void meet(struct cs_verify_run *v, uint32_t i, uint64_t number, const struct cs_bundle *b)
{
	struct cs_verify_files *fs = v->files;
	struct file *f = &fs->list[i];
	bool was_open = f->hasher != NULL;
	uint64_t wants;
	bool more = go_on(v, f, number, b, &wants);
	if (f->state != WAITS) {
		close_file(f);
	} else if (more && !was_open && f->hasher && fs->open >= OPEN_MAX) {
		close_file(f);
		f->off = 0;
	} else if (more) {
		heap_push(fs, wants, i);
	}
	fs->open += (f->hasher != NULL) - was_open;
}

/* More may be hashed, the more was decoded. */
static void allow(struct cs_verify_run *v)
{
	pthread_mutex_lock(&v->lock);
	v->files->hashed_max = HASHED_FREE + HASHED_FACTOR * v->result.raw_bytes;
	v->files->again_max = AGAIN_FREE + v->result.raw_bytes;
	pthread_mutex_unlock(&v->lock);
}

/* The next one that waits for it. False: there is none. */
static bool meet_one(struct cs_verify_run *v, uint64_t number, const struct cs_bundle *b)
{
	struct cs_verify_files *fs = v->files;
	if (!fs->nheap || fs->heap[0].bundle > number)
		return false;
	struct wait w = heap_pop(fs);
	if (w.bundle == number) /* else it is gone, or not read this time */
		meet(v, w.file, number, b);
	return true;
}

void cs_verify_files_meet(struct cs_verify_run *v, uint64_t number, const struct cs_bundle *b)
{
	struct cs_verify_files *fs = v->files;
	if (!fs)
		return;
	allow(v);
	while (meet_one(v, number, b))
		;
	fs->waiting = fs->nheap;
}

int cs_verify_files_ready(struct cs_verify_run *v, struct cs_error *err)
{
	struct cs_verify_files *fs = v->files;
	int rc = fs->n ? cs_grow(&fs->heap, &fs->heap_cap, fs->n, sizeof(*fs->heap)) : CS_OK;
	if (rc != CS_OK)
		return cs_fail(err, rc, "out of memory");
	allow(v);
	fs->decoded = v->store->decoded;
	for (size_t i = 0; i < fs->n && rc == CS_OK; i++) {
		meet(v, (uint32_t)i, 0, NULL);
		if (i % 1024 == 0)
			rc = cs_verify_tick(v, NULL, err);
	}
	while (rc == CS_OK && meet_one(v, 0, NULL))
		rc = cs_verify_tick(v, NULL, err);
	fs->waiting = fs->nheap;
	return rc;
}

/* ---- the rest */

int cs_verify_file_read(struct cs_verify_run *v, uint32_t file, struct cs_error *err)
{
	struct cs_verify_files *fs = v->files;
	struct file *f = &fs->list[file];
	struct cs_file_extents x = { 0 };
	const struct cs_extent *at;
	int rc = CS_OK;
	while (rc == CS_OK && piece_at(v, f, &x, &at)) {
		uint64_t cost = PIECE_COST + (at->chunk ? at->len : 0);
		if (must_stop(v) || atomic_fetch_add(&fs->again, cost) >= fs->again_max)
			rc = CS_E_INTERRUPTED;
		else if (at->chunk)
			rc = fetch(v, f, at);
		else if (!add_hole(f, at->len))
			rc = CS_E_NOMEM;
		if (rc != CS_OK)
			f->state = rc == CS_E_INTERRUPTED ? LEFT : UNREAD;
		f->off += at->len;
	}
	cs_file_extents_release(&x);
	close_file(f);
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
static uint64_t cost_of(const struct file *f)
{
	uint64_t rest = f->data_bytes < f->off ? 0 : f->data_bytes - f->off;
	return cs_bytes_add(rest, rest / 4 + PIECE_COST);
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
		struct file *f = &fs->list[d[i].file];
		more = cs_bytes_add(cost, cost_of(f));
		if (more > fs->again_max) {
			f->state = LEFT;
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
	allow(v);
	fs->nheap = 0;
	fs->waiting = false;
	fs->decoded = v->store->decoded;
	for (size_t i = 0; d && i < fs->n; i++)
		if (fs->list[i].state == WAITS)
			d[n++].file = (uint32_t)i;
	bool noted = d && draw(v, d, n);
	free(d);
	return noted ? CS_OK : cs_fail(err, CS_E_NOMEM, "out of memory");
}

void cs_verify_files_judge(struct cs_verify_run *v)
{
	struct cs_verify_files *fs = v->files;
	for (size_t i = 0; i < fs->n; i++) {
		fs->wrong |= fs->list[i].state == WRONG;
		v->result.files_left += fs->list[i].state == LEFT;
	}
}
