/* SPDX-License-Identifier: MIT */
#include "record.h"

#include "alloc.h"
#include "hash.h"

#include <stdlib.h>
#include <string.h>

static void put32(uint8_t *p, uint32_t v)
{
	for (int i = 0; i < 4; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

static void put64(uint8_t *p, uint64_t v)
{
	for (int i = 0; i < 8; i++)
		p[i] = (uint8_t)(v >> (8 * i));
}

/* ---- store header */

void cs_store_header_pack(const struct cs_store_header *h, uint8_t out[CS_STORE_HEADER_SIZE])
{
	memset(out, 0, CS_STORE_HEADER_SIZE);
	memcpy(out, CS_STORE_MAGIC, 8);
	put32(out + 8, h->version);
	put32(out + 12, h->compat);
	put32(out + 16, h->ro_compat);
	put32(out + 20, h->incompat);
	memcpy(out + 24, h->id, 16);
	put64(out + 40, (uint64_t)h->created);
	put32(out + 48, h->key_id);
	out[52] = h->hash_bits;
}

int cs_store_header_unpack(const void *data, size_t len, struct cs_store_header *out,
			   struct cs_error *err)
{
	struct cs_cur c = cs_cur(data, len);
	const uint8_t *magic = cs_cur_bytes(&c, 8);
	if (!magic || memcmp(magic, CS_STORE_MAGIC, 8) != 0)
		return cs_fail(err, CS_E_CORRUPT, "not a chunkstore store: wrong magic");
	struct cs_store_header h = { 0 };
	h.version = cs_cur_u32(&c);
	h.compat = cs_cur_u32(&c);
	h.ro_compat = cs_cur_u32(&c);
	h.incompat = cs_cur_u32(&c);
	if (c.bad)
		return cs_fail(err, CS_E_CORRUPT, "the store's header is damaged");
	if (h.version != CS_FORMAT_VERSION)
		return cs_fail(err, CS_E_VERSION,
			       "store format %u is not known to this version (it knows %u)",
			       h.version, CS_FORMAT_VERSION);
	if (h.incompat & ~CS_FEATURES_INCOMPAT)
		return cs_fail(err, CS_E_VERSION,
			       "the store uses features this version does not know (0x%x)",
			       h.incompat & ~CS_FEATURES_INCOMPAT);
	const uint8_t *id = cs_cur_bytes(&c, 16);
	h.created = (int64_t)cs_cur_u64(&c);
	h.key_id = cs_cur_u32(&c);
	h.hash_bits = cs_cur_u8(&c);
	cs_cur_bytes(&c, 3);
	if (!id || !cs_cur_done(&c) || h.hash_bits < 1 || h.hash_bits > 128)
		return cs_fail(err, CS_E_CORRUPT, "the store's header is damaged");
	memcpy(h.id, id, 16);
	*out = h;
	return CS_OK;
}

/* ---- bundles */

void cs_bundle_header_pack(const struct cs_bundle_header *h, uint8_t out[CS_BUNDLE_HEADER_SIZE])
{
	memset(out, 0, CS_BUNDLE_HEADER_SIZE);
	put32(out + 8, CS_BUNDLE_MAGIC);
	out[12] = h->kind;
	out[13] = h->codec;
	out[14] = h->flags;
	out[15] = h->level;
	put32(out + 16, h->key_id);
	put32(out + 20, h->nslots);
	put32(out + 24, h->raw_len);
	put32(out + 28, h->table_len);
}

static size_t rows_len(const struct cs_bundle_header *h)
{
	return h->table_len - (h->flags & CS_BUNDLE_HEAD ? CS_BUNDLE_HEAD_SIZE : 0);
}

/* Where the checksum of the head is, and what it has to be. */
static size_t head_sum(const uint8_t *bundle, const struct cs_bundle_header *h, uint64_t number,
		       uint64_t *sum)
{
	size_t end = CS_BUNDLE_HEADER_SIZE + rows_len(h);
	*sum = cs_checksum_seeded(bundle + 8, end - 8, number);
	return end;
}

void cs_bundle_seal(uint8_t *bundle, size_t len, uint64_t number)
{
	struct cs_bundle_header h;
	uint64_t sum;
	if (cs_bundle_header_unpack(bundle, len, &h) == CS_OK && h.flags & CS_BUNDLE_HEAD) {
		size_t at = head_sum(bundle, &h, number, &sum);
		put64(bundle + at, sum);
	}
	put64(bundle, cs_checksum_seeded(bundle + 8, len - 8, number));
}

int cs_bundle_check_head(const void *data, const struct cs_bundle_header *h, uint64_t number)
{
	uint64_t sum;
	if (!(h->flags & CS_BUNDLE_HEAD))
		return CS_OK;
	const uint8_t *told = (const uint8_t *)data + head_sum(data, h, number, &sum);
	struct cs_cur c = cs_cur(told, CS_BUNDLE_HEAD_SIZE);
	return cs_cur_u64(&c) == sum ? CS_OK : CS_E_CORRUPT;
}

int cs_bundle_check(const void *data, size_t len, uint64_t number)
{
	struct cs_cur c = cs_cur(data, len);
	struct cs_bundle_header h;
	uint64_t sum = cs_cur_u64(&c);
	if (c.bad || sum != cs_checksum_seeded(c.p, cs_cur_left(&c), number) ||
	    cs_bundle_header_unpack(data, len, &h) != CS_OK ||
	    cs_bundle_check_head(data, &h, number) != CS_OK)
		return CS_E_CORRUPT;
	return CS_OK;
}

int cs_bundle_header_unpack(const void *data, size_t len, struct cs_bundle_header *out)
{
	struct cs_cur c = cs_cur(data, len);
	struct cs_bundle_header h;
	h.checksum = cs_cur_u64(&c);
	uint32_t magic = cs_cur_u32(&c);
	h.kind = cs_cur_u8(&c);
	h.codec = cs_cur_u8(&c);
	h.flags = cs_cur_u8(&c);
	h.level = cs_cur_u8(&c);
	h.key_id = cs_cur_u32(&c);
	h.nslots = cs_cur_u32(&c);
	h.raw_len = cs_cur_u32(&c);
	h.table_len = cs_cur_u32(&c);
	size_t payload = cs_cur_left(&c) - (h.table_len <= cs_cur_left(&c) ? h.table_len : 0);
	if (c.bad || magic != CS_BUNDLE_MAGIC || h.kind < CS_BUNDLE_DATA ||
	    h.kind > CS_BUNDLE_META || h.codec > CS_CODEC_ZSTD || h.key_id != 0 ||
	    (h.flags & ~(CS_BUNDLE_DELTAS | CS_BUNDLE_HEAD)) ||
	    (h.flags & CS_BUNDLE_HEAD &&
	     (h.codec != CS_CODEC_RAW || h.table_len < CS_BUNDLE_HEAD_SIZE)) ||
	    (h.level > CS_BUNDLE_LEVEL_MAX && h.level != CS_BUNDLE_LEVEL_NONE) ||
	    h.nslots > CS_SLOTS_MAX ||
	    h.raw_len > CS_BUNDLE_RAW_MAX || h.table_len > cs_cur_left(&c) ||
	    h.nslots > h.table_len / (1 + CS_HASH_SIZE) ||
	    (h.codec == CS_CODEC_RAW && payload < h.raw_len))
		return CS_E_CORRUPT;
	*out = h;
	return CS_OK;
}

void cs_slot_pack(struct cs_buf *b, const struct cs_slot *s)
{
	cs_buf_var(b, (uint64_t)s->len << 2 | (s->frame_len ? CS_SLOT_DELTA : CS_SLOT_COMMON));
	cs_buf_add(b, s->hash.b, CS_HASH_SIZE);
	if (s->frame_len) {
		cs_buf_var(b, s->frame_len);
		cs_buf_var(b, s->base);
	}
}

/* A table on its way through its rows. */
struct slots {
	struct cs_cur c;
	const struct cs_bundle_header *h;
	uint64_t raw, frames; /* of the rows so far */
};

static struct slots slots_begin(const void *data, const struct cs_bundle_header *h)
{
	return (struct slots){ cs_cur((const uint8_t *)data + CS_BUNDLE_HEADER_SIZE, rows_len(h)), h,
			       0, 0 };
}

static int slots_next(struct slots *t, struct cs_slot *s)
{
	uint64_t v = cs_cur_max(&t->c, ((uint64_t)CS_CHUNK_MAX << 2) | 3);
	const uint8_t *hash = cs_cur_bytes(&t->c, CS_HASH_SIZE);
	unsigned how = v & 3;
	if (!hash || how > CS_SLOT_DELTA || (how && !(t->h->flags & CS_BUNDLE_DELTAS)))
		return CS_E_CORRUPT;
	*s = (struct cs_slot){ .len = (uint32_t)(v >> 2) };
	memcpy(s->hash.b, hash, CS_HASH_SIZE);
	if (how == CS_SLOT_COMMON) {
		s->off = (uint32_t)t->raw;
		t->raw += s->len;
		return t->raw > t->h->raw_len ? CS_E_CORRUPT : CS_OK;
	}
	s->off = (uint32_t)(t->h->raw_len + t->frames);
	s->frame_len = (uint32_t)cs_cur_max(&t->c, CS_CHUNK_MAX);
	s->base = cs_cur_max(&t->c, CS_CHUNK_NUMBER_MAX);
	t->frames += s->frame_len;
	return t->c.bad || !s->frame_len || !s->base || t->frames > CS_BUNDLE_FRAMES_MAX ?
		       CS_E_CORRUPT : CS_OK;
}

int cs_slots_unpack(const void *data, size_t len, const struct cs_bundle_header *h,
		    struct cs_slot *slots, uint32_t *frames)
{
	struct slots t = slots_begin(data, h);
	for (uint32_t i = 0; i < h->nslots; i++)
		if (slots_next(&t, &slots[i]) != CS_OK)
			return CS_E_CORRUPT;
	uint64_t payload = len - CS_BUNDLE_HEADER_SIZE - h->table_len;
	if (!cs_cur_done(&t.c) || t.raw != h->raw_len || t.frames > payload ||
	    (h->codec == CS_CODEC_RAW && t.raw + t.frames != payload))
		return CS_E_CORRUPT;
	*frames = (uint32_t)t.frames;
	return CS_OK;
}

int cs_slot_find(const void *data, const struct cs_bundle_header *h, uint32_t slot,
		 struct cs_slot *out)
{
	struct slots t = slots_begin(data, h);
	if (slot >= h->nslots)
		return CS_E_CORRUPT;
	for (uint32_t i = 0; i <= slot; i++)
		if (slots_next(&t, out) != CS_OK)
			return CS_E_CORRUPT;
	if (slot + 1 == h->nslots && (!cs_cur_done(&t.c) || t.raw != h->raw_len))
		return CS_E_CORRUPT;
	return CS_OK;
}

/* ---- points */

static void time_pack(struct cs_buf *b, struct cs_time t)
{
	cs_buf_svar(b, t.sec);
	cs_buf_var(b, t.nsec);
}

static struct cs_time time_unpack(struct cs_cur *c)
{
	struct cs_time t;
	t.sec = cs_cur_svar(c);
	t.nsec = (uint32_t)cs_cur_max(c, 999999999);
	return t;
}

void cs_point_record_release(struct cs_point_record *p)
{
	free(p->root);
	free(p->volumes);
	p->root = NULL;
	p->volumes = NULL;
}

/*
 * Records lie in pages of LMDB's trees, which have no checksum, so they end
 * with their own.
 */
static void record_seal(struct cs_buf *b, size_t start)
{
	if (!b->failed)
		cs_buf_u64(b, cs_checksum(b->data + start, b->len - start));
}

/* A cursor over a record without its checksum; bad when that is wrong. */
static struct cs_cur record_open(const void *data, size_t len)
{
	size_t n = len < 8 ? 0 : len - 8;
	struct cs_cur c = cs_cur(data, n), sum = cs_cur((const uint8_t *)data + n, len - n);
	uint64_t want = cs_cur_u64(&sum);
	c.bad = sum.bad || want != cs_checksum(data, n);
	return c;
}

void cs_point_record_pack(const struct cs_point_record *p, struct cs_buf *b)
{
	size_t start = b->len;
	cs_buf_u8(b, 1); /* version of the record */
	cs_buf_var(b, p->seq);
	cs_buf_var(b, p->parent);
	cs_buf_var(b, p->series_id);
	cs_buf_str(b, p->name, strlen(p->name));
	cs_buf_add(b, p->id, sizeof(p->id));
	time_pack(b, p->started);
	time_pack(b, p->received);
	cs_buf_u8(b, p->consistency);
	cs_buf_var(b, p->key_id);
	cs_buf_str(b, p->host, strlen(p->host));
	cs_buf_str(b, p->source, strlen(p->source));
	cs_buf_var(b, p->ntags);
	for (uint32_t i = 0; i < p->ntags; i++)
		cs_buf_str(b, p->tags[i], strlen(p->tags[i]));
	cs_buf_add(b, p->digest.b, CS_HASH_SIZE);
	cs_buf_var(b, p->totals.entries);
	cs_buf_var(b, p->totals.bytes);
	cs_buf_var(b, p->totals.links);
	cs_buf_var(b, p->totals.xattrs);
	cs_buf_var(b, p->added_raw);
	cs_buf_var(b, p->added_stored);
	cs_buf_var(b, p->unreadable);
	cs_buf_var(b, p->changed);
	cs_buf_u8(b, p->links.level);
	cs_buf_var(b, p->links.root);
	cs_buf_str(b, p->root, p->root_len);
	cs_buf_var(b, p->nvolumes);
	for (uint32_t i = 0; i < p->nvolumes; i++) {
		cs_buf_var(b, p->volumes[i].major);
		cs_buf_var(b, p->volumes[i].minor);
		cs_buf_var(b, p->volumes[i].fs_type);
	}
	record_seal(b, start);
}

static int unpack_tail(struct cs_cur *c, struct cs_point_record *p)
{
	size_t n;
	p->links.level = cs_cur_u8(c);
	p->links.root = cs_cur_var(c);
	if (p->links.level >= CS_LEVELS_MAX || p->links.root > CS_CHUNK_NUMBER_MAX)
		c->bad = true;
	const uint8_t *root = cs_cur_str(c, CS_PAGE_RAW_MAX, &n);
	p->nvolumes = (uint32_t)cs_cur_max(c, CS_VOLUMES_MAX);
	if (c->bad || n == 0)
		return CS_E_CORRUPT;
	p->root = cs_alloc(n);
	p->volumes = cs_zalloc((p->nvolumes + 1u) * sizeof(*p->volumes));
	if (!p->root || !p->volumes)
		return CS_E_NOMEM;
	memcpy(p->root, root, n);
	p->root_len = n;
	for (uint32_t i = 0; i < p->nvolumes; i++) {
		p->volumes[i].major = (uint32_t)cs_cur_max(c, UINT32_MAX);
		p->volumes[i].minor = (uint32_t)cs_cur_max(c, UINT32_MAX);
		p->volumes[i].fs_type = (uint32_t)cs_cur_max(c, UINT32_MAX);
	}
	return cs_cur_done(c) ? CS_OK : CS_E_CORRUPT;
}

int cs_point_record_unpack(const void *data, size_t len, struct cs_point_record *out)
{
	struct cs_cur c = record_open(data, len);
	struct cs_point_record *p = out;
	memset(p, 0, sizeof(*p));
	if (cs_cur_u8(&c) != 1)
		return CS_E_CORRUPT;
	p->seq = cs_cur_var(&c);
	p->parent = cs_cur_var(&c);
	p->series_id = (uint32_t)cs_cur_max(&c, UINT32_MAX);
	cs_cur_cstr(&c, p->name, CS_POINT_NAME_MAX);
	const uint8_t *id = cs_cur_bytes(&c, sizeof(p->id));
	if (id)
		memcpy(p->id, id, sizeof(p->id));
	p->started = time_unpack(&c);
	p->received = time_unpack(&c);
	p->consistency = cs_cur_u8(&c);
	p->key_id = (uint32_t)cs_cur_max(&c, UINT32_MAX);
	cs_cur_cstr(&c, p->host, CS_HOST_MAX);
	cs_cur_cstr(&c, p->source, sizeof(p->source) - 1);
	p->ntags = (uint32_t)cs_cur_max(&c, CS_TAGS_MAX);
	for (uint32_t i = 0; i < p->ntags; i++)
		cs_cur_cstr(&c, p->tags[i], CS_TAG_MAX);
	const uint8_t *digest = cs_cur_bytes(&c, CS_HASH_SIZE);
	if (digest)
		memcpy(p->digest.b, digest, CS_HASH_SIZE);
	p->totals.entries = cs_cur_var(&c);
	p->totals.bytes = cs_cur_var(&c);
	p->totals.links = cs_cur_var(&c);
	p->totals.xattrs = cs_cur_var(&c);
	p->added_raw = cs_cur_var(&c);
	p->added_stored = cs_cur_var(&c);
	p->unreadable = cs_cur_var(&c);
	p->changed = cs_cur_var(&c);
	int rc = unpack_tail(&c, p);
	if (rc == CS_OK && (!cs_point_name_valid(p->name, strlen(p->name)) ||
			    !cs_text_is_escaped(p->source)))
		rc = CS_E_CORRUPT;
	if (rc != CS_OK)
		cs_point_record_release(p);
	return rc;
}

/* ---- series */

void cs_series_record_pack(const struct cs_series_record *s, struct cs_buf *b)
{
	size_t start = b->len;
	cs_buf_u8(b, 1);
	cs_buf_var(b, s->id);
	time_pack(b, s->changed);
	cs_buf_var(b, s->points);
	cs_buf_var(b, s->latest);
	record_seal(b, start);
}

int cs_series_record_unpack(const void *data, size_t len, struct cs_series_record *out)
{
	struct cs_cur c = record_open(data, len);
	struct cs_series_record s;
	uint8_t version = cs_cur_u8(&c);
	s.id = (uint32_t)cs_cur_max(&c, UINT32_MAX);
	s.changed = time_unpack(&c);
	s.points = cs_cur_var(&c);
	s.latest = cs_cur_var(&c);
	if (version != 1 || !cs_cur_done(&c))
		return CS_E_CORRUPT;
	*out = s;
	return CS_OK;
}

/* ---- trash */

void cs_trash_row_pack(const struct cs_trash_row *r, const void *key, size_t key_len,
		       uint8_t out[CS_TRASH_ROW_SIZE])
{
	put64(out, r->seq);
	put64(out + 8, (uint64_t)r->purge_after);
	put64(out + 16, cs_checksum_seeded(out, 16, cs_checksum(key, key_len)));
}

int cs_trash_row_unpack(const void *data, size_t len, const void *key, size_t key_len,
			struct cs_trash_row *out)
{
	struct cs_cur c = cs_cur(data, len);
	struct cs_trash_row r;
	r.seq = cs_cur_u64(&c);
	r.purge_after = (int64_t)cs_cur_u64(&c);
	uint64_t sum = cs_cur_u64(&c);
	if (!cs_cur_done(&c) || sum != cs_checksum_seeded(data, 16, cs_checksum(key, key_len)))
		return CS_E_CORRUPT;
	*out = r;
	return CS_OK;
}

void cs_checked_row_pack(const struct cs_checked_row *r, uint64_t key,
			 uint8_t out[CS_CHECKED_ROW_SIZE])
{
	memset(out, 0, CS_CHECKED_ROW_SIZE);
	for (int i = 0; i < CS_CHECKED_LEVELS; i++)
		put64(out + 8 * i, (uint64_t)r->at[i]);
	out[24] = r->damaged;
	put64(out + 32, cs_checksum_seeded(out, 32, key));
}

int cs_checked_row_unpack(const void *data, size_t len, uint64_t key, struct cs_checked_row *out)
{
	struct cs_cur c = cs_cur(data, len);
	struct cs_checked_row r;
	for (int i = 0; i < CS_CHECKED_LEVELS; i++)
		r.at[i] = (int64_t)cs_cur_u64(&c);
	uint64_t state = cs_cur_u64(&c);
	uint64_t sum = cs_cur_u64(&c);
	if (!cs_cur_done(&c) || state > CS_CHECKED_LEVELS ||
	    sum != cs_checksum_seeded(data, 32, key))
		return CS_E_CORRUPT;
	r.damaged = (uint8_t)state;
	*out = r;
	return CS_OK;
}
