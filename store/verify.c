/* SPDX-License-Identifier: MIT */
/*
 * verify.c - read and check everything.
 *
 * First all bundles, by all cores: checksum, frame, table, every chunk's hash,
 * and a row in the index for it. Then the points, each directory once: every
 * reference resolves to a chunk of the right length, totals are the sums of
 * what lies below, digests follow from the lines of the entries. What refers
 * to a bundle that failed is named by point and path.
 *
 * Findings, as told by notice: "ID: text". The ids:
 *   bundle-damaged     a bundle cannot be decoded
 *   chunk-damaged      a chunk's bytes do not have its hash
 *   index-missing      a chunk is not in the dedup index (no data is lost)
 *   record-damaged     a point's record cannot be read
 *   tree-damaged       a directory, or what describes a file, cannot be read
 *   content-damaged    some of a file's content is missing or damaged
 *   totals-wrong       a directory's totals are not those of its entries
 *   digest-wrong       a directory's or point's digest does not follow from it
 *   name-lost          neither the catalog nor the trash leads to a point
 *   trash-damaged      a row of the trash does not lead to its point
 *
 * Points in the trash are checked like all others: they are to come back whole.
 */
#include "alloc.h"
#include "browse.h"
#include "dump.h"
#include "extent.h"
#include "hash.h"
#include "index.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define THREADS_MAX 64u
#define STEP 16 /* bundles a thread takes at once */
#define DELTA_STEP 64

struct notes {
	char (*line)[640];
	size_t n, cap;
};

struct verify {
	struct cs_store *store;
	const struct cs_verify_opts *opts;
	struct cs_verify_result result; /* guarded by lock while threads run */

	pthread_mutex_t lock;
	pthread_cond_t told;
	/* guarded by lock */
	uint64_t next; /* bundle to look at */
	bool end, stop;
	unsigned running;
	struct notes notes; /* waiting for the calling thread */
	struct delta {
		cs_chunk base, chunk;
	} *deltas; /* to be checked when all bundles are; by base, so that each is decoded once */
	size_t ndeltas, deltas_cap, next_delta;
	uint64_t *bad;      /* bundles that failed, in the order found; sorted afterwards */
	size_t nbad, bad_cap;
	struct cs_error error;

	/* directories found right, by root page: calling thread only */
	struct known {
		cs_chunk root;
		uint64_t claim;
	} *known;
	size_t nknown, known_cap; /* cap: a power of two, an open hash table */
	/* the point being looked at */
	struct cs_tree *tree;
	uint64_t findings_before;
	struct cs_buf line;
	struct cs_hasher *hasher;
};

__attribute__((format(printf, 2, 3))) static void found(struct verify *v, const char *fmt, ...)
{
	va_list ap;
	pthread_mutex_lock(&v->lock);
	v->result.findings++;
	if (cs_grow(&v->notes.line, &v->notes.cap, v->notes.n + 1, sizeof(*v->notes.line)) == CS_OK) {
		va_start(ap, fmt);
		vsnprintf(v->notes.line[v->notes.n++], sizeof(*v->notes.line), fmt, ap);
		va_end(ap);
	}
	pthread_cond_signal(&v->told);
	pthread_mutex_unlock(&v->lock);
}

/* Hand over what was found. Calling thread, without the lock. */
static void tell(struct verify *v)
{
	pthread_mutex_lock(&v->lock);
	struct notes n = v->notes;
	v->notes = (struct notes){ 0 };
	pthread_mutex_unlock(&v->lock);
	for (size_t i = 0; i < n.n && v->opts->notice; i++)
		v->opts->notice(v->opts->arg, CS_NOTICE_ERROR, n.line[i]);
	free(n.line);
}

static int tick(struct verify *v, const char *path, struct cs_error *err)
{
	tell(v);
	if (!v->opts->progress)
		return CS_OK;
	pthread_mutex_lock(&v->lock);
	struct cs_progress p = { .what = "verify", .entries = v->result.entries,
				 .bytes = v->result.raw_bytes, .path = path };
	pthread_mutex_unlock(&v->lock);
	if (v->opts->progress(v->opts->arg, &p))
		return cs_fail(err, CS_E_INTERRUPTED, "interrupted");
	return CS_OK;
}

/* ---- bundles */

static void mark_bad(struct verify *v, uint64_t number)
{
	pthread_mutex_lock(&v->lock);
	if (cs_grow(&v->bad, &v->bad_cap, v->nbad + 1, sizeof(*v->bad)) == CS_OK)
		v->bad[v->nbad++] = number;
	else if (!v->error.code)
		cs_fail(&v->error, CS_E_NOMEM, "out of memory");
	pthread_mutex_unlock(&v->lock);
}

static bool in_index(struct cs_txn *t, const struct cs_hash *h, cs_chunk chunk)
{
	cs_chunk at;
	return cs_index_next(t, h, chunk - 1, &at, NULL) == 1 && at == chunk;
}

static bool is_stored(struct cs_txn *t, cs_chunk chunk)
{
	struct cs_slice s;
	cs_chunk at = chunk;
	return cs_bundles_get(t, cs_chunk_bundle(chunk), &s, NULL) == 1 ||
	       (cs_chunk_moved(t, chunk, &at, NULL) == 1 &&
		cs_bundles_get(t, cs_chunk_bundle(at), &s, NULL) == 1);
}

/*
 * A delta that no point needs may have outlived its base; one that is needed is
 * found with the file. One that cannot be made because its base is damaged is no
 * fault of its bundle's.
 */
static int check_delta(struct verify *v, const struct delta *d, struct cs_error *err)
{
	const uint8_t *data;
	size_t len;
	void *held;
	struct cs_error why = { 0 };
	struct cs_txn *t;
	int rc = cs_reader_chunk(v->store, d->chunk, &held, &data, &len, &why);
	if (rc == CS_OK) {
		cs_cache_release(held);
		pthread_mutex_lock(&v->lock);
		v->result.raw_bytes += len;
		pthread_mutex_unlock(&v->lock);
		return CS_OK;
	}
	if (rc == CS_E_NOMEM)
		return cs_fail(err, rc, "out of memory");
	rc = cs_txn_read(v->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	bool there = is_stored(t, d->chunk) && is_stored(t, d->base);
	cs_txn_end(t);
	if (!there)
		return CS_OK;
	found(v, "chunk-damaged: bundle %llu slot %u, a delta: %.200s",
	      (unsigned long long)cs_chunk_bundle(d->chunk), cs_chunk_slot(d->chunk), why.text);
	if (cs_reader_chunk(v->store, d->base, &held, &data, &len, &why) == CS_OK) {
		cs_cache_release(held);
		mark_bad(v, cs_chunk_bundle(d->chunk));
	}
	return CS_OK;
}

/* They wait until all bundles were looked at. */
static void note_delta(struct verify *v, cs_chunk chunk, cs_chunk base)
{
	pthread_mutex_lock(&v->lock);
	if (cs_grow(&v->deltas, &v->deltas_cap, v->ndeltas + 1, sizeof(*v->deltas)) == CS_OK)
		v->deltas[v->ndeltas++] = (struct delta){ base, chunk };
	else if (!v->error.code)
		cs_fail(&v->error, CS_E_NOMEM, "out of memory");
	pthread_mutex_unlock(&v->lock);
}

static int by_base(const void *a, const void *b)
{
	const struct delta *x = a, *y = b;
	if (x->base != y->base)
		return x->base < y->base ? -1 : 1;
	return (x->chunk > y->chunk) - (x->chunk < y->chunk);
}

static void check_chunks(struct verify *v, struct cs_txn *t, uint64_t number,
			 const struct cs_bundle *b)
{
	bool bad = false;
	for (uint32_t i = 0; i < b->nslots; i++) {
		const struct cs_slot *s = &b->slots[i];
		if (s->frame_len) {
			note_delta(v, cs_chunk_make(number, i), s->base);
		} else {
			struct cs_hash h = cs_store_hash(v->store, b->raw + s->off, s->len);
			bool good = cs_hash_equal(&h, &s->hash);
			if (!good)
				found(v, "chunk-damaged: bundle %llu slot %u has not the bytes of "
				      "its hash", (unsigned long long)number, i);
			bad |= !good;
		}
		if (!in_index(t, &s->hash, cs_chunk_make(number, i)))
			found(v, "index-missing: bundle %llu slot %u is not in the dedup index",
			      (unsigned long long)number, i);
	}
	if (bad)
		mark_bad(v, number);
	pthread_mutex_lock(&v->lock);
	v->result.bundles++;
	v->result.chunks += b->nslots;
	v->result.raw_bytes += b->raw_len;
	pthread_mutex_unlock(&v->lock);
}

/* The next bundle at or after *from: 1 and *from past it; 0 at the end. */
static int check_next(struct verify *v, struct cs_decompressor *d, uint64_t *from,
		      struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_slice s;
	struct cs_bundle *b;
	uint64_t number;
	int rc = cs_txn_read(v->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_bundles_next(t, *from, &number, &s, err);
	if (rc == 1) {
		*from = number + 1;
		int bad = cs_db_load(s, NULL);
		if (bad == CS_OK)
			bad = cs_bundle_decode(d, number, s.data, s.len, &b);
		cs_db_unload(t, s);
		if (bad == CS_OK) {
			check_chunks(v, t, number, b);
			cs_bundle_free(b);
		} else if (bad == CS_E_NOMEM) {
			rc = cs_fail(err, bad, "out of memory");
		} else {
			found(v, "bundle-damaged: bundle %llu cannot be decoded",
			      (unsigned long long)number);
			mark_bad(v, number);
		}
	}
	cs_txn_end(t);
	return rc;
}

/* Take a stretch of STEP existing bundles: *from .. *to. False at the end. */
static bool take_stretch(struct verify *v, uint64_t *from, uint64_t *to, struct cs_error *err)
{
	pthread_mutex_lock(&v->lock);
	struct cs_txn *t = NULL;
	struct cs_slice s;
	uint64_t at = v->next, number;
	int n = 0, rc = v->end || v->stop ? 0 : cs_txn_read(v->store->db, &t, err);
	while (t && n < STEP && (rc = cs_bundles_next(t, at, &number, &s, err)) == 1) {
		at = number + 1;
		n++;
	}
	cs_txn_end(t);
	if (rc < 0 && !v->error.code)
		v->error = *err;
	if (n < STEP)
		v->end = true;
	*from = v->next;
	*to = v->next = at;
	pthread_mutex_unlock(&v->lock);
	return n > 0;
}

/* What a thread returns, having told how it ended. */
static void *ended(struct verify *v, int rc, const struct cs_error *err)
{
	pthread_mutex_lock(&v->lock);
	if (rc < 0 && !v->error.code)
		v->error = *err;
	v->running--;
	pthread_cond_signal(&v->told);
	pthread_mutex_unlock(&v->lock);
	return NULL;
}

static void *check_bundles(void *arg)
{
	struct verify *v = arg;
	struct cs_error err = { 0 };
	struct cs_decompressor *d = cs_decompressor_new();
	uint64_t from, to;
	int rc = d ? 1 : cs_fail(&err, CS_E_NOMEM, "out of memory");
	while (rc == 1 && take_stretch(v, &from, &to, &err))
		while (rc == 1 && from < to)
			rc = check_next(v, d, &from, &err);
	cs_decompressor_free(d);
	return ended(v, rc, &err);
}

static void *check_deltas(void *arg)
{
	struct verify *v = arg;
	struct cs_error err = { 0 };
	int rc = CS_OK;
	while (rc == CS_OK) {
		pthread_mutex_lock(&v->lock);
		size_t at = v->next_delta, end = at + DELTA_STEP;
		end = v->stop ? at : end < v->ndeltas ? end : v->ndeltas;
		v->next_delta = end;
		pthread_mutex_unlock(&v->lock);
		if (at == end)
			break;
		for (; at < end && rc == CS_OK; at++)
			rc = check_delta(v, &v->deltas[at], &err);
	}
	return ended(v, rc, &err);
}

static int by_number(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

/* Wait for the threads, telling what they find. */
static int attend(struct verify *v, struct cs_error *err)
{
	int rc = CS_OK;
	pthread_mutex_lock(&v->lock);
	while (v->running) {
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 100000000;
		if (until.tv_nsec >= 1000000000) {
			until.tv_sec++;
			until.tv_nsec -= 1000000000;
		}
		pthread_cond_timedwait(&v->told, &v->lock, &until);
		pthread_mutex_unlock(&v->lock);
		if (rc == CS_OK)
			rc = tick(v, NULL, err);
		pthread_mutex_lock(&v->lock);
		if (rc != CS_OK)
			v->stop = true;
	}
	pthread_mutex_unlock(&v->lock);
	if (rc == CS_OK && v->error.code) {
		rc = v->error.code;
		if (err)
			*err = v->error;
	}
	return rc;
}

/* Run fn on all processors until all of them have ended. */
static int on_all_cores(struct verify *v, void *(*fn)(void *), struct cs_error *err)
{
	pthread_t threads[THREADS_MAX];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned want = v->opts->threads ? v->opts->threads : cpus > 0 ? (unsigned)cpus : 1, n = 0;
	if (want > THREADS_MAX)
		want = THREADS_MAX;
	int e = 0;
	while (n < want && e == 0) {
		pthread_mutex_lock(&v->lock);
		v->running++;
		pthread_mutex_unlock(&v->lock);
		e = pthread_create(&threads[n], NULL, fn, v);
		if (e == 0) {
			n++;
		} else {
			pthread_mutex_lock(&v->lock);
			v->running--;
			pthread_mutex_unlock(&v->lock);
		}
	}
	int rc = n ? attend(v, err) : cs_fail_errno(err, e, "cannot start a thread");
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return rc;
}

static int all_bundles(struct verify *v, struct cs_error *err)
{
	int rc = on_all_cores(v, check_bundles, err);
	if (rc == CS_OK && v->ndeltas) {
		qsort(v->deltas, v->ndeltas, sizeof(*v->deltas), by_base);
		rc = on_all_cores(v, check_deltas, err);
	}
	if (v->nbad)
		qsort(v->bad, v->nbad, sizeof(*v->bad), by_number);
	tell(v);
	return rc;
}

/* ---- what entries refer to */

static bool bundle_is_good(struct verify *v, struct cs_txn *t, cs_chunk chunk)
{
	struct cs_slice s;
	cs_chunk at = chunk;
	if (cs_bundles_get(t, cs_chunk_bundle(chunk), &s, NULL) != 1 &&
	    cs_chunk_moved(t, chunk, &at, NULL) != 1)
		return false;
	uint64_t number = cs_chunk_bundle(at);
	return !bsearch(&number, v->bad, v->nbad, sizeof(*v->bad), by_number);
}

/* Is the chunk there, of this length, and in a bundle that is right, as its base is? */
static bool chunk_is_good(struct verify *v, struct cs_txn *t, cs_chunk chunk, uint64_t len)
{
	struct cs_slot slot, base;
	if (cs_chunk_info(t, chunk, &slot, NULL) != CS_OK || slot.len != len)
		return false;
	if (slot.base && cs_chunk_info(t, slot.base, &base, NULL) != CS_OK)
		return false;
	if (v->nbad == 0)
		return true;
	return bundle_is_good(v, t, chunk) && (!slot.base || bundle_is_good(v, t, slot.base));
}

static bool extents_are_good(struct verify *v, struct cs_txn *t, const struct cs_extent *x,
			     size_t n, uint64_t *bytes, uint64_t *data)
{
	for (size_t i = 0; i < n; i++) {
		*bytes += x[i].len;
		*data += x[i].chunk ? x[i].len : 0;
		if (x[i].chunk && !chunk_is_good(v, t, x[i].chunk, x[i].len))
			return false;
	}
	return true;
}

/* The transaction is one a page: a very large file must not hold one for long. */
static bool pages_are_good(struct verify *v, const struct cs_entry *e, uint64_t *bytes,
			   uint64_t *data)
{
	while (*bytes < e->size) {
		struct cs_txn *t;
		struct cs_leaf leaf;
		uint64_t before = *bytes;
		if (cs_reader_leaf(v->store, e->extents, CS_PAGE_EXTENT, CS_BY_WEIGHT, *bytes, NULL,
				   0, &leaf, NULL) != CS_OK)
			return false;
		bool good = leaf.weight_before == before &&
			    cs_txn_read(v->store->db, &t, NULL) == CS_OK;
		if (good) {
			good = extents_are_good(v, t, leaf.page->extents, leaf.page->n, bytes, data);
			cs_txn_end(t);
		}
		cs_cache_release(leaf.held);
		if (!good || *bytes == before)
			return false;
	}
	return true;
}

static bool content_is_good(struct verify *v, const struct cs_entry *e)
{
	struct cs_txn *t;
	struct cs_extent *x;
	size_t n;
	uint64_t bytes = 0, data = 0;
	bool good = false;
	if (e->content == CS_CONTENT_NONE || e->content == CS_CONTENT_INLINE)
		return true;
	if (e->content == CS_CONTENT_PAGES)
		return pages_are_good(v, e, &bytes, &data) && bytes == e->size &&
		       data == e->data_bytes;
	if (cs_txn_read(v->store->db, &t, NULL) != CS_OK)
		return false;
	if (e->content == CS_CONTENT_CHUNK) {
		good = chunk_is_good(v, t, e->chunk, e->size);
	} else if (cs_extents_unpack(e->bytes, e->bytes_len, &x, &n) == CS_OK) {
		good = extents_are_good(v, t, x, n, &bytes, &data) && bytes == e->size &&
		       data == e->data_bytes;
		free(x);
	}
	cs_txn_end(t);
	return good;
}

/* ---- directories */

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

static int known_grow(struct verify *v)
{
	size_t cap = v->known_cap ? 2 * v->known_cap : 4096;
	struct known *t = cs_zalloc(cap * sizeof(*t));
	if (!t)
		return CS_E_NOMEM;
	for (size_t i = 0; i < v->known_cap; i++) {
		size_t at = v->known[i].root * 0x9e3779b97f4a7c15ull >> 20;
		if (!v->known[i].root)
			continue;
		while (t[at & (cap - 1)].root)
			at++;
		t[at & (cap - 1)] = v->known[i];
	}
	free(v->known);
	v->known = t;
	v->known_cap = cap;
	return CS_OK;
}

/* True when this directory was looked at, with the same claim; else it is entered. */
static bool seen(struct verify *v, const struct cs_entry *e)
{
	uint64_t claim = claim_of(e);
	if (!e->children.root)
		return false;
	if (2 * (v->nknown + 1) > v->known_cap && known_grow(v) != CS_OK)
		return false;
	size_t at = e->children.root * 0x9e3779b97f4a7c15ull >> 20;
	for (;; at++) {
		struct known *k = &v->known[at & (v->known_cap - 1)];
		if (k->root == e->children.root && k->claim == claim)
			return true;
		if (!k->root) {
			*k = (struct known){ e->children.root, claim };
			v->nknown++;
			return false;
		}
	}
}

static void where(struct verify *v, const char *path, char out[400])
{
	char text[200];
	cs_text_escape(path, strlen(path), false, text, sizeof(text));
	snprintf(out, 400, "%s/%s:%s", v->tree->point.series, v->tree->point.name, text);
}

struct sums {
	uint64_t count;
	uint32_t subdirs;
	struct cs_totals below;
};

static void add(struct sums *s, const struct cs_entry *e)
{
	s->count++;
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

static bool sums_equal(const struct sums *s, const struct cs_entry *e)
{
	return s->count == e->children_count && s->subdirs == e->subdirs &&
	       s->below.entries == e->below.entries && s->below.bytes == e->below.bytes &&
	       s->below.links == e->below.links && s->below.xattrs == e->below.xattrs;
}

/* One child: its line into the digest, its numbers into the sums. */
static int check_child(struct verify *v, const struct cs_node *n, const char *dir_path,
		       struct sums *s)
{
	struct cs_error why = { 0 };
	char at[400], path[4200];
	add(s, &n->entry);
	v->result.entries++;
	cs_buf_clear(&v->line);
	int rc = cs_node_dump_line(v->tree, n, n->entry.name, n->entry.name_len, &v->line, &why);
	cs_buf_u8(&v->line, '\n');
	cs_hasher_add(v->hasher, v->line.data, v->line.len);
	bool good = rc == CS_OK;
	if (S_ISREG(n->entry.mode))
		good = good && content_is_good(v, &n->entry);
	struct cs_xattrs x = { 0 };
	bool xattrs_good = cs_xattrs_load(v->tree, n, &x, &why) == CS_OK;
	cs_xattrs_release(&x);
	if (!good || !xattrs_good) {
		snprintf(path, sizeof(path), "%s%s%.*s", dir_path, *dir_path ? "/" : "",
			 (int)n->entry.name_len, n->entry.name);
		where(v, path, at);
		if (!good)
			found(v, "content-damaged: %s: some of its content is missing or damaged",
			      at);
		if (!xattrs_good)
			found(v, "tree-damaged: %s: its extended attributes: %.100s", at, why.text);
	}
	return v->line.failed ? CS_E_NOMEM : rc == CS_E_NOMEM ? rc : CS_OK;
}

static int check_dir(void *arg, const char *path, const struct cs_node *n, struct cs_error *err)
{
	struct verify *v = arg;
	struct cs_error why = { 0 };
	struct cs_dir *d = NULL;
	const struct cs_node *child;
	struct sums s = { 0 };
	char at[400];

	if (!S_ISDIR(n->entry.mode))
		return CS_OK;
	int rc = tick(v, path, err);
	if (rc != CS_OK)
		return rc;
	/* with damage about, every path it reaches is named: nothing is skipped */
	if (seen(v, &n->entry) && v->nbad == 0)
		return CS_WALK_SKIP;
	uint64_t before = v->result.findings;
	cs_hasher_reset(v->hasher);
	rc = cs_dir_open(v->tree, n, 0, &d, &why);
	while (rc == CS_OK && (rc = cs_dir_next(d, &child, &why)) == 1)
		rc = check_child(v, child, path, &s);
	cs_dir_close(d);
	if (rc == CS_E_NOMEM)
		return cs_fail(err, rc, "out of memory");
	where(v, path, at);
	if (rc < 0) {
		found(v, "tree-damaged: %s: %.150s", at, why.text);
		return CS_WALK_SKIP;
	}
	struct cs_hash digest = cs_hasher_end(v->hasher);
	if (!sums_equal(&s, &n->entry))
		found(v, "totals-wrong: %s: its totals are not those of its entries", at);
	if (v->result.findings == before && !cs_hash_equal(&digest, &n->entry.hash))
		found(v, "digest-wrong: %s: its digest does not follow from its entries", at);
	return CS_OK;
}

/* What the record refers to beside the tree: rows of hard links, the root's attributes. */
static void check_record(struct verify *v, const struct cs_node *root)
{
	struct cs_error why = { 0 };
	struct cs_xattrs x = { 0 };
	struct cs_pages links = v->tree->record.links;
	uint64_t next = 0;
	int rc = links.root ? CS_OK : CS_E_NOTFOUND;
	while (rc == CS_OK) {
		struct cs_leaf leaf;
		rc = cs_reader_leaf(v->store, links, CS_PAGE_LINK, CS_BY_INDEX, next, NULL, 0, &leaf,
				    &why);
		if (rc != CS_OK)
			break;
		next = leaf.first + leaf.page->n;
		cs_cache_release(leaf.held);
		if (links.level == 0)
			break;
	}
	if (rc != CS_OK && rc != CS_E_NOTFOUND)
		found(v, "tree-damaged: %s/%s: its table of hard links: %.150s",
		      v->tree->point.series, v->tree->point.name, why.text);
	if (cs_xattrs_load(v->tree, root, &x, &why) != CS_OK)
		found(v, "tree-damaged: %s/%s: its root's extended attributes: %.150s",
		      v->tree->point.series, v->tree->point.name, why.text);
	cs_xattrs_release(&x);
}

enum place {
	GONE, /* removed, or to be: its damage is nobody's loss */
	KNOWN,
	LOST, /* whoever looks for it by its name does not find it */
};

static enum place place_of(struct verify *v, uint64_t seq)
{
	struct cs_point_record r;
	struct cs_trash_row row;
	struct cs_txn *t;
	enum place place = KNOWN;
	if (cs_txn_read(v->store->db, &t, NULL) != CS_OK)
		return KNOWN;
	int rc = cs_points_get(t, seq, &r, NULL);
	if (rc == CS_E_NOTFOUND)
		place = GONE;
	if (rc == CS_OK) {
		if (cs_points_trashed(t, &r, &row, NULL) == 1)
			place = row.purge_after == CS_TRASH_PURGED ? GONE : KNOWN;
		else if (cs_points_listed(t, &r, NULL) != 1)
			place = LOST;
		cs_point_record_release(&r);
	}
	cs_txn_end(t);
	return place;
}

static int check_point(struct verify *v, uint64_t seq, struct cs_error *err)
{
	struct cs_error why = { 0 };
	struct cs_node root = { 0 };
	uint64_t before = v->result.findings;
	enum place place = place_of(v, seq);
	if (place == GONE)
		return CS_OK;
	int rc = cs_tree_open_kept(v->store, seq, false, &v->tree, &why);
	if (rc == CS_E_NOTFOUND) /* removed meanwhile */
		return CS_OK;
	if (rc == CS_E_CORRUPT) {
		found(v, "record-damaged: point number %llu: %.200s", (unsigned long long)seq,
		      why.text);
		v->result.damaged_points++;
		return CS_OK;
	}
	if (rc == CS_OK)
		rc = cs_tree_root(v->tree, &root, &why);
	if (rc != CS_OK)
		return cs_fail(err, rc, "%s", why.text);
	if (place == LOST)
		found(v, "name-lost: %s/%s: neither the catalog nor the trash leads to it",
		      v->tree->point.series, v->tree->point.name);
	rc = cs_tree_walk(v->tree, &root, check_dir, v, err);
	/* the walk itself meets what check_dir found already */
	if (rc == CS_E_CORRUPT)
		rc = CS_OK;
	v->result.entries++;
	cs_buf_clear(&v->line);
	if (rc == CS_OK) {
		check_record(v, &root);
		int bad = cs_node_dump_line(v->tree, &root, "", 0, &v->line, &why);
		struct cs_hash digest = cs_hash_of(v->line.data, v->line.len);
		if (bad != CS_OK || !cs_hash_equal(&digest, &v->tree->record.digest))
			found(v, "digest-wrong: %s/%s: the point's digest does not follow from it",
			      v->tree->point.series, v->tree->point.name);
	}
	v->result.points++;
	v->result.damaged_points += v->result.findings != before;
	cs_tree_close(v->tree);
	v->tree = NULL;
	tell(v);
	return rc;
}

/* The number of the first point record at or after from; damaged ones too. */
static int next_seq(struct verify *v, uint64_t from, uint64_t *seq, struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_cursor *c = NULL;
	struct cs_slice key = cs_u64_key(&from), value;
	int rc = cs_txn_read(v->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_open(t, CS_T_POINTS, &c, err);
	if (rc == CS_OK)
		rc = cs_cursor_move(c, CS_SEEK_GE, &key, &value, err);
	if (rc == 1 && (cs_u64_value(key, seq) != CS_OK || *seq < from))
		rc = cs_fail(err, CS_E_CORRUPT, "the table of points is damaged");
	cs_cursor_close(c);
	cs_txn_end(t);
	return rc;
}

static int all_points(struct verify *v, struct cs_error *err)
{
	uint64_t seq = 0;
	int rc = next_seq(v, 0, &seq, err);
	while (rc == 1) {
		rc = check_point(v, seq, err);
		if (rc == CS_OK)
			rc = next_seq(v, seq + 1, &seq, err);
	}
	return rc;
}

/* Does a row of the trash lead to a point of that name that is not listed? */
static bool row_is_good(struct cs_txn *t, uint32_t series_id, const char *name,
			const struct cs_trash_row *row)
{
	struct cs_point_record r;
	if (cs_points_get(t, row->seq, &r, NULL) != CS_OK)
		return false;
	bool good = r.series_id == series_id && strcmp(r.name, name) == 0 &&
		    cs_points_listed(t, &r, NULL) == 0;
	cs_point_record_release(&r);
	return good;
}

/* All rows, each in a transaction of its own. Behind one that cannot be read nothing is looked at. */
static int all_trash(struct verify *v, struct cs_error *err)
{
	char name[CS_POINT_NAME_MAX + 1] = "";
	uint32_t series_id = 0;
	for (;;) {
		struct cs_txn *t;
		struct cs_trash_row row;
		int rc = cs_txn_read(v->store->db, &t, err);
		if (rc != CS_OK)
			return rc;
		rc = cs_trash_walk(t, &series_id, name, &row, err);
		bool good = rc == 1 ? row_is_good(t, series_id, name, &row) : rc != CS_E_CORRUPT;
		cs_txn_end(t);
		if (!good)
			found(v, "trash-damaged: the row of point %s of series %u", name, series_id);
		if (rc != 1)
			return rc == CS_E_CORRUPT ? CS_OK : rc;
	}
}

int cs_verify(struct cs_store *s, const struct cs_verify_opts *opts, struct cs_verify_result *out,
	      struct cs_error *err)
{
	struct verify v = { .store = s, .opts = opts };
	pthread_mutex_init(&v.lock, NULL);
	pthread_cond_init(&v.told, NULL);
	v.hasher = cs_hasher_new();
	int rc = v.hasher ? all_bundles(&v, err) : cs_fail(err, CS_E_NOMEM, "out of memory");
	if (rc == CS_OK)
		rc = all_points(&v, err);
	if (rc == CS_OK)
		rc = all_trash(&v, err);
	tell(&v);
	if (rc == CS_OK) {
		*out = v.result;
		if (v.result.findings)
			rc = cs_fail(err, CS_E_CORRUPT,
				     "store %s: %llu things are wrong, %llu points are damaged",
				     s->path, (unsigned long long)v.result.findings,
				     (unsigned long long)v.result.damaged_points);
	}
	cs_tree_close(v.tree);
	cs_hasher_free(v.hasher);
	cs_buf_release(&v.line);
	free(v.known);
	free(v.bad);
	free(v.deltas);
	free(v.notes.line);
	pthread_mutex_destroy(&v.lock);
	pthread_cond_destroy(&v.told);
	return rc;
}
