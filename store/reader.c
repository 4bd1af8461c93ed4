/* SPDX-License-Identifier: MIT */
#include "reader.h"

#include "alloc.h"
#include "hash.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#define ALL UINT32_MAX
#define HEAD 4096 /* bytes, before the chunks of a bundle; it has less where they are large */
#define MOVES_MAX 8 /* times that gc moves a chunk while one reader looks for it */

/* ---- bundles and chunks */

static struct cs_decompressor *decompressor_take(struct cs_store *s)
{
	struct cs_decompressor *d = NULL;
	pthread_mutex_lock(&s->lock);
	if (s->nspare)
		d = s->spare[--s->nspare];
	pthread_mutex_unlock(&s->lock);
	return d ? d : cs_decompressor_new();
}

static void decompressor_give(struct cs_store *s, struct cs_decompressor *d)
{
	pthread_mutex_lock(&s->lock);
	if (s->nspare < sizeof(s->spare) / sizeof(s->spare[0])) {
		s->spare[s->nspare++] = d;
		d = NULL;
	}
	pthread_mutex_unlock(&s->lock);
	cs_decompressor_free(d);
}

/* slot: only this; ALL: all of it. */
static int decode_value(struct cs_txn *t, struct cs_decompressor *d, uint64_t number, uint32_t slot,
			struct cs_slice v, struct cs_bundle **out, struct cs_error *err)
{
	if (slot != ALL && cs_bundle_read_one(v, number, slot, out, NULL) == CS_OK) {
		cs_db_unload(t, v);
		return CS_OK;
	}
	if (slot != ALL)
		cs_db_ask(v);
	int rc = cs_db_load(v, err);
	if (rc != CS_OK)
		return rc;
	rc = slot == ALL ? cs_bundle_decode(d, number, v.data, v.len, out) :
			   cs_bundle_decode_one(d, number, v.data, v.len, slot, out);
	if (rc == CS_OK && (rc = cs_db_intact(err)) != CS_OK) {
		cs_bundle_free(*out);
		return rc;
	}
	cs_db_unload(t, v);
	if (rc != CS_OK)
		cs_fail(err, rc, "bundle %llu: %s", (unsigned long long)number, cs_code_text(rc));
	return rc;
}

static int load_bundle(struct cs_store *s, uint64_t number, uint32_t slot, struct cs_range at,
		       void **out, size_t *size, struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_slice v;
	struct cs_bundle *b = NULL;
	struct cs_decompressor *d = decompressor_take(s);
	if (!d)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	int rc = cs_txn_read(s->db, &t, err);
	if (rc == CS_OK) {
		if (slot != ALL)
			cs_txn_alone(t, (struct cs_range){ at.off, at.len ? at.len + HEAD : 0 });
		rc = cs_bundles_get(t, number, &v, err);
		if (rc == 0) {
			rc = cs_fail(err, CS_E_NOTFOUND, "bundle %llu is missing",
				     (unsigned long long)number);
		} else if (rc == 1) {
			rc = decode_value(t, d, number, slot, v, &b, err);
		}
		cs_txn_end(t);
	}
	decompressor_give(s, d);
	if (rc == CS_OK) {
		*out = b;
		*size = cs_bundle_memory(b);
	}
	return rc;
}

static int fill_delta(struct cs_store *s, cs_chunk chunk, void **out, size_t *size,
		      struct cs_error *err);

/*
 * The cache of bundles has deltas, too, and pieces that were all that was wanted of their
 * bundle, as bundles of one chunk: one of these bits and the chunk.
 */
#define DELTA (UINT64_C(1) << 63)
#define PIECE (UINT64_C(1) << 62)

/* What is to be put into the cache. */
struct fill {
	struct cs_store *store;
	struct cs_range at; /* of a piece: see cs_reader_piece */
};

static int fill_bundle(void *arg, uint64_t key, void **out, size_t *size, struct cs_error *err)
{
	const struct fill *f = arg;
	struct cs_store *s = f->store;
	cs_chunk piece = key & ~PIECE;
	int rc;
	if (key & DELTA)
		rc = fill_delta(s, key & ~DELTA, out, size, err);
	else if (key & PIECE)
		rc = load_bundle(s, cs_chunk_bundle(piece), cs_chunk_slot(piece), f->at, out, size,
				 err);
	else
		rc = load_bundle(s, key, ALL, f->at, out, size, err);
	if (rc == CS_OK)
		atomic_fetch_add_explicit(&s->decoded, *size, memory_order_relaxed);
	return rc;
}

static int get(struct cs_store *s, uint64_t key, struct cs_range at, void **out_held,
	       struct cs_bundle **out, struct cs_error *err)
{
	struct fill f = { s, at };
	void *v;
	int rc = cs_cache_get(s->bundles, key, fill_bundle, &f, out_held, &v, err);
	if (rc == CS_OK)
		*out = v;
	return rc;
}

int cs_reader_bundle(struct cs_store *s, uint64_t number, void **out_held, struct cs_bundle **out,
		     struct cs_error *err)
{
	return get(s, number, (struct cs_range){ 0 }, out_held, out, err);
}

/* Have a bundle's bytes read, and nothing around them. */
static void ask_for(struct cs_store *s, uint64_t number)
{
	struct cs_txn *t;
	struct cs_slice v;
	if (cs_cache_has(s->bundles, number) || cs_txn_read(s->db, &t, NULL) != CS_OK)
		return;
	cs_txn_alone(t, (struct cs_range){ 0 });
	if (cs_bundles_get(t, number, &v, NULL) == 1)
		cs_db_ask(v);
	cs_txn_end(t);
}

/* Where gc put the chunk. Another gc may move it on before we get there: ask again. */
static int moved_bundle(struct cs_store *s, cs_chunk *chunk, void **out_held,
			struct cs_bundle **out, struct cs_error *err)
{
	cs_chunk old = *chunk;
	for (int i = 0; i < MOVES_MAX; i++) {
		struct cs_txn *t;
		int rc = cs_txn_read(s->db, &t, err);
		if (rc != CS_OK)
			return rc;
		rc = cs_chunk_moved(t, old, chunk, err);
		cs_txn_end(t);
		if (rc < 0)
			return rc;
		if (rc == 0)
			break;
		rc = cs_reader_bundle(s, cs_chunk_bundle(*chunk), out_held, out, err);
		if (rc != CS_E_NOTFOUND)
			return rc;
	}
	return cs_fail(err, CS_E_CORRUPT, "chunk %llx is missing", (unsigned long long)old);
}

/* A chunk of a damaged bundle that was stored again is where the moved table says. */
static bool is_healed(struct cs_store *s, cs_chunk *chunk, void **out_held, struct cs_bundle **out)
{
	cs_chunk at = *chunk;
	if (moved_bundle(s, &at, out_held, out, NULL) != CS_OK)
		return false;
	*chunk = at;
	return true;
}

/* The bundle where a chunk lies, be it a delta or not. *chunk: its number today. */
static int stored_at(struct cs_store *s, cs_chunk *chunk, void **out_held, struct cs_bundle **out,
		     struct cs_error *err)
{
	struct cs_bundle *b = NULL;
	void *held;
	int rc = cs_reader_bundle(s, cs_chunk_bundle(*chunk), &held, &b, err);
	if (rc == CS_E_NOTFOUND)
		rc = moved_bundle(s, chunk, &held, &b, err);
	else if ((rc == CS_E_CORRUPT || rc == CS_E_IO) && is_healed(s, chunk, &held, &b))
		rc = CS_OK;
	if (rc != CS_OK)
		return rc;
	if (cs_chunk_slot(*chunk) >= b->nslots) {
		cs_cache_release(held);
		return cs_fail(err, CS_E_CORRUPT, "bundle %llu has no slot %u",
			       (unsigned long long)cs_chunk_bundle(*chunk), cs_chunk_slot(*chunk));
	}
	*out_held = held;
	*out = b;
	return CS_OK;
}

/* A chunk whose bundle cannot be decoded, and that can be read without the others. */
static bool is_sound_alone(struct cs_store *s, int rc, cs_chunk chunk, void **out_held,
			   struct cs_bundle **out)
{
	return (rc == CS_E_CORRUPT || rc == CS_E_IO) && chunk < PIECE &&
	       cs_reader_bundle(s, PIECE | chunk, out_held, out, NULL) == CS_OK;
}

/* A delta's base is never a delta: so this does not go deeper, whatever the store holds. */
static int base_at(struct cs_store *s, cs_chunk base, int kind, void **out_held,
		   const struct cs_slot **slot, const uint8_t **data, struct cs_error *err)
{
	struct cs_bundle *b;
	int rc = stored_at(s, &base, out_held, &b, err);
	bool alone = is_sound_alone(s, rc, base, out_held, &b);
	if (rc != CS_OK && !alone)
		return rc;
	*slot = &b->slots[alone ? 0 : cs_chunk_slot(base)];
	*data = b->raw + (*slot)->off;
	if (!(*slot)->frame_len && b->kind == kind)
		return CS_OK;
	cs_cache_release(*out_held);
	return cs_fail(err, CS_E_CORRUPT, "chunk %llx is no base of a delta",
		       (unsigned long long)base);
}

/* The base may be another chunk than it was, for all a sound bundle tells: the hash decides. */
static int check_delta(struct cs_store *s, cs_chunk chunk, const struct cs_bundle *b,
		       struct cs_error *err)
{
	struct cs_hash h = cs_store_hash(s, b->raw, b->raw_len);
	if (cs_hash_equal(&h, &b->slots[0].hash))
		return CS_OK;
	return cs_fail(err, CS_E_CORRUPT, "chunk %llx: its base does not make it",
		       (unsigned long long)chunk);
}

static int fill_delta(struct cs_store *s, cs_chunk chunk, void **out, size_t *size,
		      struct cs_error *err)
{
	struct cs_bundle *b, *one = NULL;
	const struct cs_slot *base;
	const uint8_t *data;
	void *held, *base_held;
	int rc = stored_at(s, &chunk, &held, &b, err);
	if (rc != CS_OK)
		return rc;
	uint32_t slot = cs_chunk_slot(chunk);
	rc = base_at(s, b->slots[slot].base, b->kind, &base_held, &base, &data, err);
	if (rc == CS_OK) {
		struct cs_decompressor *d = decompressor_take(s);
		rc = d ? cs_bundle_of_delta(d, b, slot, data, base->len, &one) : CS_E_NOMEM;
		if (d)
			decompressor_give(s, d);
		cs_cache_release(base_held);
		if (rc != CS_OK)
			cs_fail(err, rc, "chunk %llx: %s", (unsigned long long)chunk,
				cs_code_text(rc));
		else if ((rc = check_delta(s, chunk, one, err)) != CS_OK)
			cs_bundle_free(one);
	}
	cs_cache_release(held);
	if (rc == CS_OK) {
		*out = one;
		*size = cs_bundle_memory(one);
	}
	return rc == CS_E_NOTFOUND ? CS_E_CORRUPT : rc;
}

int cs_reader_find(struct cs_store *s, cs_chunk chunk, void **out_held, struct cs_bundle **out,
		   uint32_t *out_slot, struct cs_error *err)
{
	int rc = stored_at(s, &chunk, out_held, out, err);
	if (rc != CS_OK)
		return rc;
	*out_slot = cs_chunk_slot(chunk);
	if ((*out)->kind == CS_BUNDLE_DATA)
		cs_prefetch_used(s->prefetch, cs_chunk_bundle(chunk));
	if (!(*out)->slots[*out_slot].frame_len)
		return CS_OK;
	cs_cache_release(*out_held);
	*out_slot = 0;
	rc = cs_reader_bundle(s, DELTA | chunk, out_held, out, err);
	if ((rc == CS_E_CORRUPT || rc == CS_E_IO) && is_healed(s, &chunk, out_held, out)) {
		*out_slot = cs_chunk_slot(chunk);
		if (*out_slot < (*out)->nslots && !(*out)->slots[*out_slot].frame_len)
			return CS_OK;
		cs_cache_release(*out_held);
	}
	return rc;
}

int cs_reader_base(struct cs_store *s, cs_chunk chunk, cs_chunk *out, struct cs_error *err)
{
	struct cs_bundle *b;
	void *held;
	int rc = stored_at(s, &chunk, &held, &b, err);
	if (rc != CS_OK)
		return rc;
	*out = b->slots[cs_chunk_slot(chunk)].base;
	cs_cache_release(held);
	return CS_OK;
}

int cs_reader_chunk(struct cs_store *s, cs_chunk chunk, void **out_held, const uint8_t **out_data,
		    size_t *out_len, struct cs_error *err)
{
	struct cs_bundle *b;
	uint32_t slot;
	int rc = cs_reader_find(s, chunk, out_held, &b, &slot, err);
	if (is_sound_alone(s, rc, chunk, out_held, &b)) {
		slot = 0;
		rc = CS_OK;
	}
	if (rc == CS_OK) {
		*out_data = b->raw + b->slots[slot].off;
		*out_len = b->slots[slot].len;
	}
	return rc;
}

/* ---- a piece of a file */

/* Nobody has asked for another one of its bundle for a while. */
static bool is_alone(struct cs_store *s, cs_chunk chunk, bool same)
{
	uint64_t number = cs_chunk_bundle(chunk);
	_Atomic uint64_t *last = &s->touched[number % (sizeof(s->touched) / sizeof(s->touched[0]))];
	if (chunk >= PIECE || cs_cache_has(s->bundles, number))
		return false;
	return same || cs_cache_has(s->bundles, PIECE | chunk) ||
	       atomic_exchange_explicit(last, number, memory_order_relaxed) != number;
}

int cs_reader_piece(struct cs_store *s, cs_chunk chunk, bool same, struct cs_range at,
		    void **out_held, const uint8_t **out_data, size_t *out_len,
		    struct cs_error *err)
{
	struct cs_bundle *b;
	if (is_alone(s, chunk, same) && get(s, PIECE | chunk, at, out_held, &b, NULL) == CS_OK) {
		cs_prefetch_used(s->prefetch, cs_chunk_bundle(chunk));
		*out_data = b->raw;
		*out_len = b->raw_len;
		return CS_OK;
	}
	ask_for(s, cs_chunk_bundle(chunk));
	return cs_reader_chunk(s, chunk, out_held, out_data, out_len, err);
}

/* ---- pages */

void cs_page_free(struct cs_page *p)
{
	if (p) {
		cs_tree_page_release(&p->tree);
		free(p->rows);
		free(p->extents);
		free(p->links);
		free(p->data);
		free(p);
	}
}

static int parse_page(struct cs_page *p, size_t len, size_t *size)
{
	int rc;
	switch (p->kind) {
	case CS_PAGE_DIR:
		rc = cs_tree_page_parse(p->data, len, false, &p->tree);
		*size += len + (rc == CS_OK ? cs_tree_page_memory(&p->tree) : 0);
		return rc;
	case CS_PAGE_INDEX:
		rc = cs_index_rows_unpack(p->data, len, &p->rows, &p->n);
		*size += len + p->n * sizeof(*p->rows);
		return rc;
	case CS_PAGE_EXTENT:
		rc = cs_extents_unpack(p->data, len, &p->extents, &p->n);
		*size += p->n * sizeof(*p->extents);
		break;
	case CS_PAGE_LINK:
		rc = cs_links_unpack(p->data, len, &p->links, &p->n);
		*size += p->n * sizeof(*p->links);
		break;
	default:
		return CS_E_CORRUPT;
	}
	free(p->data); /* these two are unpacked whole */
	p->data = NULL;
	return rc;
}

static int fill_page(void *arg, uint64_t chunk, void **out, size_t *size, struct cs_error *err)
{
	struct cs_store *s = arg;
	const uint8_t *data;
	size_t len;
	void *held;
	ask_for(s, cs_chunk_bundle(chunk)); /* around it are files' contents */
	int rc = cs_reader_chunk(s, chunk, &held, &data, &len, err);
	if (rc != CS_OK)
		return rc;
	if (len > CS_PAGE_RAW_MAX) {
		cs_cache_release(held);
		return cs_fail(err, CS_E_CORRUPT, "page %llx is too long",
			       (unsigned long long)chunk);
	}
	struct cs_page *p = cs_zalloc(sizeof(*p));
	*size = sizeof(*p);
	if (!p || !(p->data = cs_alloc(len))) {
		rc = CS_E_NOMEM;
	} else {
		memcpy(p->data, data, len);
		p->kind = len ? data[0] : 0;
		rc = parse_page(p, len, size);
	}
	cs_cache_release(held);
	if (rc != CS_OK) {
		cs_page_free(p);
		return cs_fail(err, rc, "page %llx: %s", (unsigned long long)chunk,
			       cs_code_text(rc));
	}
	*out = p;
	return CS_OK;
}

int cs_reader_page(struct cs_store *s, cs_chunk chunk, uint8_t kind, void **out_held,
		   struct cs_page **out, struct cs_error *err)
{
	void *v, *held;
	int rc = cs_cache_get(s->pages, chunk, fill_page, s, &held, &v, err);
	if (rc != CS_OK)
		return rc;
	struct cs_page *p = v;
	if (p->kind != kind) {
		cs_cache_release(held);
		return cs_fail(err, CS_E_CORRUPT, "page %llx is of the wrong kind",
			       (unsigned long long)chunk);
	}
	*out_held = held;
	*out = p;
	return CS_OK;
}

/* Where a row begins, and how much it covers, in the measure that is sought by. */
static uint64_t row_start(const struct cs_index_row *r, enum cs_by by)
{
	return (by != CS_BY_WEIGHT ? r->before : 0) + (by != CS_BY_INDEX ? r->weight_before : 0);
}

static uint64_t row_size(const struct cs_index_row *r, enum cs_by by)
{
	return (by != CS_BY_WEIGHT ? r->below : 0) + (by != CS_BY_INDEX ? r->weight : 0);
}

/* The row to go down by; NULL past the end. */
static const struct cs_index_row *choose(const struct cs_page *p, enum cs_by by, uint64_t number,
					 const void *key, size_t key_len)
{
	size_t lo = 0, hi = p->n; /* after the last row that begins at or before what is sought */
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct cs_index_row *r = &p->rows[mid];
		if (by == CS_BY_KEY ? cs_key_compare(r->key, r->key_len, key, key_len) <= 0 :
				      row_start(r, by) <= number)
			lo = mid + 1;
		else
			hi = mid;
	}
	if (by == CS_BY_KEY)
		return &p->rows[lo ? lo - 1 : 0];
	const struct cs_index_row *r = lo ? &p->rows[lo - 1] : NULL;
	return r && number - row_start(r, by) < row_size(r, by) ? r : NULL;
}

int cs_reader_leaf(struct cs_store *s, struct cs_pages pages, uint8_t kind, enum cs_by by,
		   uint64_t number, const void *key, size_t key_len, struct cs_leaf *out,
		   struct cs_error *err)
{
	struct cs_leaf leaf = { .chunk = pages.root };
	for (unsigned level = pages.level; level > 0; level--) {
		struct cs_page *p;
		void *held;
		int rc = cs_reader_page(s, leaf.chunk, CS_PAGE_INDEX, &held, &p, err);
		if (rc != CS_OK)
			return rc;
		const struct cs_index_row *r = choose(p, by, number, key, key_len);
		if (r) {
			leaf.chunk = r->page;
			leaf.first += r->before;
			leaf.weight_before += r->weight_before;
			number -= by == CS_BY_KEY ? 0 : row_start(r, by);
		}
		cs_cache_release(held);
		if (!r)
			return cs_fail(err, CS_E_NOTFOUND, "past the end");
		if (leaf.weight_before > INT64_MAX) /* each term is below that: no sum has wrapped */
			return cs_fail(err, CS_E_CORRUPT, "page %llx: its sums are too large",
				       (unsigned long long)leaf.chunk);
	}
	int rc = cs_reader_page(s, leaf.chunk, kind, &leaf.held, &leaf.page, err);
	if (rc == CS_OK)
		*out = leaf;
	return rc;
}
