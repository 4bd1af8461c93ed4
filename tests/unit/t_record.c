/* SPDX-License-Identifier: MIT */
#include "store/hash.h"
#include "store/record.h"
#include "util.h"

#define NUMBER 7 /* of the bundle that is built */

/* ------------------------------------------------------------ store header */

static int unpack_header(void *arg, const uint8_t *data, size_t len)
{
	return cs_store_header_unpack(data, len, arg, NULL);
}

static const struct cs_store_header sample_header = {
	.version = CS_FORMAT_VERSION,
	.compat = 0x80000001,
	.id = "0123456789abcde",
	.created = 1795330745,
	.hash_bits = 128,
};

static void store_header_comes_back(void **state)
{
	uint8_t bytes[CS_STORE_HEADER_SIZE];
	struct cs_store_header out;

	(void)state;
	cs_store_header_pack(&sample_header, bytes);
	assert_int_equal(unpack_header(&out, bytes, sizeof(bytes)), CS_OK);
	assert_memory_equal(out.id, sample_header.id, 16);
	assert_int_equal(out.compat, sample_header.compat);
	assert_true(out.created == sample_header.created);
	assert_int_equal(out.hash_bits, 128);
	check_truncations(unpack_header, &out, bytes, sizeof(bytes), 0);
	check_trailing(unpack_header, &out, bytes, sizeof(bytes), CS_E_CORRUPT);
}

static void an_unknown_format_is_refused_by_name(void **state)
{
	struct cs_store_header h = sample_header, out;
	uint8_t bytes[CS_STORE_HEADER_SIZE];
	struct cs_error err;

	(void)state;
	h.version = CS_FORMAT_VERSION + 1;
	cs_store_header_pack(&h, bytes);
	assert_int_equal(cs_store_header_unpack(bytes, sizeof(bytes), &out, &err), CS_E_VERSION);
	assert_non_null(strstr(err.text, "format 3"));
	h = sample_header;
	h.incompat = 1u << 30;
	cs_store_header_pack(&h, bytes);
	assert_int_equal(cs_store_header_unpack(bytes, sizeof(bytes), &out, &err), CS_E_VERSION);
	assert_non_null(strstr(err.text, "0x40000000"));
	h = sample_header;
	h.hash_bits = 0;
	cs_store_header_pack(&h, bytes);
	assert_int_equal(unpack_header(&out, bytes, sizeof(bytes)), CS_E_CORRUPT);
	bytes[0] ^= 1;
	assert_int_equal(unpack_header(&out, bytes, sizeof(bytes)), CS_E_CORRUPT);
}

/* ------------------------------------------------------------ bundles */

struct bundle {
	struct cs_bundle_header h;
	struct cs_slot slots[CS_SLOTS_MAX];
	uint32_t frames;
};

/* All that a reader does with a bundle before it decodes it. */
static int unpack_bundle(void *arg, const uint8_t *data, size_t len)
{
	struct bundle *b = arg;
	struct cs_slot s;
	int rc = cs_bundle_header_unpack(data, len, &b->h);

	if (rc == CS_OK)
		rc = cs_slots_unpack(data, len, &b->h, b->slots, &b->frames);
	for (uint32_t i = 0; rc == CS_OK && i < b->h.nslots; i += 1 + b->h.nslots / 4)
		rc = cs_slot_find(data, &b->h, i, &s);
	return rc;
}

static void build_bundle(struct cs_buf *out, uint32_t nslots, uint8_t flags, struct rng *r)
{
	struct cs_bundle_header h = { .kind = CS_BUNDLE_META, .codec = CS_CODEC_RAW, .flags = flags };
	struct cs_buf table = { 0 };
	uint32_t frames = 0;

	for (uint32_t i = 0; i < nslots; i++) {
		struct cs_slot s = { .len = (uint32_t)rng_below(r, 200) };

		s.hash = cs_hash_of(&i, sizeof(i));
		if (i % 7 == 3) { /* a delta */
			s.base = 1 + rng_below(r, CS_CHUNK_NUMBER_MAX);
			frames += s.frame_len = 1 + (uint32_t)rng_below(r, 50);
			h.flags |= CS_BUNDLE_DELTAS;
		} else {
			h.raw_len += s.len;
		}
		cs_slot_pack(&table, &s);
	}
	if (flags & CS_BUNDLE_HEAD)
		cs_buf_add(&table, "checksum", CS_BUNDLE_HEAD_SIZE);
	h.nslots = nslots;
	h.table_len = (uint32_t)table.len;
	cs_buf_clear(out);
	assert_true(cs_buf_reserve(out, CS_BUNDLE_HEADER_SIZE));
	cs_bundle_header_pack(&h, out->data);
	out->len = CS_BUNDLE_HEADER_SIZE;
	cs_buf_add(out, table.data, table.len);
	for (uint32_t i = 0; i < h.raw_len + frames; i++)
		cs_buf_u8(out, (uint8_t)i);
	cs_bundle_seal(out->data, out->len, NUMBER);
	cs_buf_release(&table);
}

static void bundles_come_back(void **state)
{
	static const uint32_t counts[] = { 0, 1, 2, 100, CS_SLOTS_MAX };
	struct bundle *b = calloc(1, sizeof(*b));
	struct rng r = rng_start();
	struct cs_buf bytes = { 0 };
	struct cs_slot s;

	(void)state;
	for (size_t k = 0; k < 2 * sizeof(counts) / sizeof(counts[0]); k++) {
		uint32_t n = counts[k / 2], off = 0, frames = 0;

		build_bundle(&bytes, n, k % 2 ? CS_BUNDLE_HEAD : 0, &r);
		assert_int_equal(cs_bundle_check(bytes.data, bytes.len, NUMBER), CS_OK);
		assert_int_equal(cs_bundle_check(bytes.data, bytes.len, NUMBER + 1), CS_E_CORRUPT);
		assert_int_equal(unpack_bundle(b, bytes.data, bytes.len), CS_OK);
		assert_int_equal(b->h.nslots, n);
		for (uint32_t i = 0; i < n; i++) {
			struct cs_hash hash = cs_hash_of(&i, sizeof(i));

			assert_memory_equal(b->slots[i].hash.b, hash.b, 16);
			assert_int_equal(!b->slots[i].frame_len, i % 7 != 3);
			assert_int_equal(!b->slots[i].base, i % 7 != 3);
			if (i % 7 == 3) {
				assert_int_equal(b->slots[i].off, b->h.raw_len + frames);
				frames += b->slots[i].frame_len;
				continue;
			}
			assert_int_equal(b->slots[i].off, off);
			off += b->slots[i].len;
		}
		assert_int_equal(off, b->h.raw_len);
		assert_int_equal(frames, b->frames);
		assert_int_equal(cs_slot_find(bytes.data, &b->h, n, &s), CS_E_CORRUPT);
		assert_int_equal(cs_slot_find(bytes.data, &b->h, UINT32_MAX, &s), CS_E_CORRUPT);
	}
	cs_buf_release(&bytes);
	free(b);
}

static void a_damaged_bundle_is_corrupt(void **state)
{
	struct bundle *b = calloc(1, sizeof(*b));
	struct rng r = rng_start();
	struct cs_buf bytes = { 0 };

	(void)state;
	build_bundle(&bytes, 20, 0, &r);
	check_truncations(unpack_bundle, b, bytes.data, bytes.len, CS_E_CORRUPT);
	check_trailing(unpack_bundle, b, bytes.data, bytes.len, CS_E_CORRUPT);
	check_mutations(unpack_bundle, b, bytes.data, bytes.len, &r, 20000);
	for (size_t i = 0; i < bytes.len; i++) {
		bytes.data[i] ^= 0x10;
		assert_int_equal(cs_bundle_check(bytes.data, bytes.len, NUMBER), CS_E_CORRUPT);
		bytes.data[i] ^= 0x10;
	}
	assert_int_equal(cs_bundle_check(bytes.data, 7, NUMBER), CS_E_CORRUPT);
	for (unsigned level = 0; level < 256; level++) {
		bytes.data[15] = (uint8_t)level;
		assert_int_equal(unpack_bundle(b, bytes.data, bytes.len),
				 level <= 19 || level == 255 ? CS_OK : CS_E_CORRUPT);
		assert_true((level > 19 && level < 255) || b->h.level == level);
	}
	cs_buf_release(&bytes);
	free(b);
}

/* Header and rows, and which bundle they are of; nothing that lies behind them. */
static void a_head_has_a_checksum_of_its_own(void **state)
{
	struct bundle *b = calloc(1, sizeof(*b));
	struct rng r = rng_start();
	struct cs_buf bytes = { 0 };
	struct cs_bundle_header h;

	(void)state;
	build_bundle(&bytes, 20, CS_BUNDLE_HEAD, &r);
	check_truncations(unpack_bundle, b, bytes.data, bytes.len, CS_E_CORRUPT);
	check_mutations(unpack_bundle, b, bytes.data, bytes.len, &r, 20000);
	assert_int_equal(unpack_bundle(b, bytes.data, bytes.len), CS_OK);
	assert_int_equal(cs_bundle_check_head(bytes.data, &b->h, NUMBER), CS_OK);
	assert_int_equal(cs_bundle_check_head(bytes.data, &b->h, NUMBER + 1), CS_E_CORRUPT);
	size_t head = CS_BUNDLE_HEADER_SIZE + b->h.table_len;
	for (size_t i = 0; i < bytes.len; i++) {
		bytes.data[i] ^= 0x10;
		assert_int_equal(cs_bundle_check(bytes.data, bytes.len, NUMBER), CS_E_CORRUPT);
		if (i >= 8 && cs_bundle_header_unpack(bytes.data, bytes.len, &h) == CS_OK &&
		    h.flags & CS_BUNDLE_HEAD)
			assert_int_equal(cs_bundle_check_head(bytes.data, &h, NUMBER),
					 i < head ? CS_E_CORRUPT : CS_OK);
		bytes.data[i] ^= 0x10;
	}
	/* it tells no other one than the bundle's */
	bytes.data[head - 1] ^= 1;
	uint64_t sum = cs_checksum_seeded(bytes.data + 8, bytes.len - 8, NUMBER);
	for (int i = 0; i < 8; i++)
		bytes.data[i] = (uint8_t)(sum >> (8 * i));
	assert_int_equal(cs_bundle_check(bytes.data, bytes.len, NUMBER), CS_E_CORRUPT);
	bytes.data[13] = CS_CODEC_ZSTD; /* there it would say nothing */
	assert_int_equal(cs_bundle_header_unpack(bytes.data, bytes.len, &h), CS_E_CORRUPT);
	cs_buf_release(&bytes);
	free(b);
}

/* A slot table that does not fit what it describes: no slot may reach past the raw bytes. */
static void slots_must_add_up(void **state)
{
	struct bundle *b = calloc(1, sizeof(*b));
	struct rng r = rng_start();
	struct cs_buf bytes = { 0 };
	struct cs_slot s;

	(void)state;
	build_bundle(&bytes, 20, 0, &r);
	assert_int_equal(unpack_bundle(b, bytes.data, bytes.len), CS_OK);
	struct cs_bundle_header h = b->h;

	h.raw_len = b->slots[12].off + b->slots[12].len - 1;
	assert_int_equal(cs_slot_find(bytes.data, &h, 11, &s), CS_OK);
	assert_int_equal(cs_slot_find(bytes.data, &h, 12, &s), CS_E_CORRUPT);
	assert_int_equal(cs_slots_unpack(bytes.data, bytes.len, &h, b->slots, &b->frames), CS_E_CORRUPT);
	h = b->h;
	h.raw_len++;
	assert_int_equal(cs_slots_unpack(bytes.data, bytes.len, &h, b->slots, &b->frames), CS_E_CORRUPT);
	h = b->h;
	h.nslots--;
	assert_int_equal(cs_slots_unpack(bytes.data, bytes.len, &h, b->slots, &b->frames), CS_E_CORRUPT);
	h = b->h;
	h.flags = 0; /* then no slot is a delta */
	assert_int_equal(cs_slots_unpack(bytes.data, bytes.len, &h, b->slots, &b->frames),
			 CS_E_CORRUPT);
	assert_int_equal(cs_slots_unpack(bytes.data, bytes.len - b->h.raw_len - 1, &b->h, b->slots,
					 &b->frames), CS_E_CORRUPT);
	h = b->h;
	h.table_len++;
	assert_int_equal(cs_slots_unpack(bytes.data, bytes.len, &h, b->slots, &b->frames), CS_E_CORRUPT);
	cs_buf_release(&bytes);
	free(b);
}

/* ------------------------------------------------------------ points */

static struct cs_point_record *random_point(struct rng *r)
{
	struct cs_point_record *p = calloc(1, sizeof(*p));

	assert_non_null(p);
	p->seq = rng_number(r, UINT64_MAX);
	p->parent = rng_number(r, UINT64_MAX);
	p->series_id = (uint32_t)rng_number(r, UINT32_MAX);
	strcpy(p->name, "2026-11-22T06-39-05Z");
	rng_bytes(r, p->id, sizeof(p->id));
	p->started = (struct cs_time){ (int64_t)rng_number(r, UINT64_MAX), 999999999 };
	p->received = (struct cs_time){ -1, (uint32_t)rng_number(r, 999999999) };
	p->consistency = CS_CONSISTENCY_FS;
	memset(p->host, 'h', rng_number(r, CS_HOST_MAX));
	memset(p->source, 's', rng_number(r, sizeof(p->source) - 1));
	p->ntags = (uint32_t)rng_number(r, CS_TAGS_MAX);
	for (uint32_t i = 0; i < p->ntags; i++)
		memset(p->tags[i], 't', rng_number(r, CS_TAG_MAX));
	rng_bytes(r, p->digest.b, sizeof(p->digest.b));
	p->totals.entries = rng_number(r, UINT64_MAX);
	p->totals.bytes = rng_number(r, UINT64_MAX);
	p->totals.links = rng_number(r, UINT64_MAX);
	p->totals.xattrs = rng_number(r, UINT64_MAX);
	p->added_raw = rng_number(r, UINT64_MAX);
	p->added_stored = rng_number(r, UINT64_MAX);
	p->changed = rng_number(r, UINT64_MAX);
	p->unreadable = rng_number(r, UINT64_MAX);
	p->links.root = rng_number(r, CS_CHUNK_NUMBER_MAX);
	p->links.level = (uint8_t)rng_below(r, CS_LEVELS_MAX);
	p->root_len = 1 + (size_t)rng_below(r, 500);
	p->root = malloc(p->root_len);
	rng_bytes(r, p->root, p->root_len);
	p->nvolumes = (uint32_t)rng_below(r, 20);
	p->volumes = calloc(p->nvolumes + 1, sizeof(*p->volumes));
	for (uint32_t i = 0; i < p->nvolumes; i++) {
		p->volumes[i].major = (uint32_t)rng_number(r, UINT32_MAX);
		p->volumes[i].minor = (uint32_t)rng_number(r, UINT32_MAX);
		p->volumes[i].fs_type = (uint32_t)rng_number(r, UINT32_MAX);
	}
	return p;
}

static int unpack_point(void *arg, const uint8_t *data, size_t len)
{
	struct cs_point_record *p = arg;
	int rc = cs_point_record_unpack(data, len, p);

	if (rc == CS_OK)
		cs_point_record_release(p);
	return rc;
}

static void assert_same_point(const struct cs_point_record *a, const struct cs_point_record *b)
{
	assert_true(a->seq == b->seq && a->parent == b->parent && a->series_id == b->series_id);
	assert_string_equal(a->name, b->name);
	assert_memory_equal(a->id, b->id, sizeof(a->id));
	assert_true(a->started.sec == b->started.sec && a->started.nsec == b->started.nsec);
	assert_true(a->received.sec == b->received.sec && a->received.nsec == b->received.nsec);
	assert_int_equal(a->consistency, b->consistency);
	assert_string_equal(a->host, b->host);
	assert_string_equal(a->source, b->source);
	assert_int_equal(a->ntags, b->ntags);
	for (uint32_t i = 0; i < a->ntags; i++)
		assert_string_equal(a->tags[i], b->tags[i]);
	assert_memory_equal(a->digest.b, b->digest.b, CS_HASH_SIZE);
	assert_memory_equal(&a->totals, &b->totals, sizeof(a->totals));
	assert_true(a->added_raw == b->added_raw && a->added_stored == b->added_stored);
	assert_true(a->unreadable == b->unreadable && a->changed == b->changed);
	assert_true(a->links.root == b->links.root && a->links.level == b->links.level);
	assert_int_equal(a->root_len, b->root_len);
	assert_memory_equal(a->root, b->root, a->root_len);
	assert_int_equal(a->nvolumes, b->nvolumes);
	for (uint32_t i = 0; i < a->nvolumes; i++)
		assert_memory_equal(&a->volumes[i], &b->volumes[i], sizeof(a->volumes[i]));
}

static void points_come_back(void **state)
{
	struct rng r = rng_start();
	struct cs_point_record *out = calloc(1, sizeof(*out));
	struct cs_buf a = { 0 };

	(void)state;
	for (int i = 0; i < 300; i++) {
		struct cs_point_record *p = random_point(&r);

		cs_buf_clear(&a);
		cs_point_record_pack(p, &a);
		assert_false(a.failed);
		assert_int_equal(cs_point_record_unpack(a.data, a.len, out), CS_OK);
		assert_same_point(out, p);
		cs_point_record_release(out);
		cs_point_record_release(p);
		free(p);
	}
	cs_buf_release(&a);
	free(out);
}

static void a_damaged_point_is_refused(void **state)
{
	struct rng r = rng_start();
	struct cs_point_record *out = calloc(1, sizeof(*out)), *p = random_point(&r);
	struct cs_buf a = { 0 };

	(void)state;
	cs_point_record_pack(p, &a);
	check_truncations(unpack_point, out, a.data, a.len, CS_E_CORRUPT);
	check_trailing(unpack_point, out, a.data, a.len, CS_E_CORRUPT);
	check_mutations(unpack_point, out, a.data, a.len, &r, 20000);
	strcpy(p->name, "../escape");
	cs_buf_clear(&a);
	cs_point_record_pack(p, &a);
	assert_int_equal(unpack_point(out, a.data, a.len), CS_E_CORRUPT);
	cs_buf_release(&a);
	cs_point_record_release(p);
	free(p);
	free(out);
}

/* ------------------------------------------------------------ series */

static int unpack_series(void *arg, const uint8_t *data, size_t len)
{
	return cs_series_record_unpack(data, len, arg);
}

static void series_come_back(void **state)
{
	struct rng r = rng_start();
	struct cs_series_record s, out;
	struct cs_buf b = { 0 };

	(void)state;
	for (int i = 0; i < 1000; i++) {
		s.id = (uint32_t)rng_number(&r, UINT32_MAX);
		s.changed.sec = (int64_t)rng_number(&r, UINT64_MAX);
		s.changed.nsec = (uint32_t)rng_number(&r, 999999999);
		s.points = rng_number(&r, UINT64_MAX);
		cs_buf_clear(&b);
		cs_series_record_pack(&s, &b);
		assert_int_equal(unpack_series(&out, b.data, b.len), CS_OK);
		assert_int_equal(out.id, s.id);
		assert_true(out.changed.sec == s.changed.sec && out.points == s.points);
		assert_int_equal(out.changed.nsec, s.changed.nsec);
		check_truncations(unpack_series, &out, b.data, b.len, CS_E_CORRUPT);
		check_trailing(unpack_series, &out, b.data, b.len, CS_E_CORRUPT);
	}
	s.changed.nsec = 1000000000;
	cs_buf_clear(&b);
	cs_series_record_pack(&s, &b);
	assert_int_equal(unpack_series(&out, b.data, b.len), CS_E_CORRUPT);
	cs_buf_release(&b);
}

/* ------------------------------------------------------------ trash */

static int unpack_trash(void *arg, const uint8_t *data, size_t len)
{
	return cs_trash_row_unpack(data, len, "key", 3, arg);
}

static void trash_rows_come_back_in_their_place_only(void **state)
{
	struct rng r = rng_start();
	struct cs_trash_row row, out;
	uint8_t bytes[CS_TRASH_ROW_SIZE];

	(void)state;
	for (int i = 0; i < 1000; i++) {
		row.seq = rng_number(&r, UINT64_MAX);
		row.purge_after = (int64_t)rng_number(&r, UINT64_MAX);
		cs_trash_row_pack(&row, "key", 3, bytes);
		assert_int_equal(unpack_trash(&out, bytes, sizeof(bytes)), CS_OK);
		assert_true(out.seq == row.seq && out.purge_after == row.purge_after);
		assert_int_equal(cs_trash_row_unpack(bytes, sizeof(bytes), "kez", 3, &out),
				 CS_E_CORRUPT);
	}
	check_truncations(unpack_trash, &out, bytes, sizeof(bytes), CS_E_CORRUPT);
	check_trailing(unpack_trash, &out, bytes, sizeof(bytes), CS_E_CORRUPT);
	for (size_t i = 0; i < sizeof(bytes); i++) {
		bytes[i] ^= 0x10;
		assert_int_equal(unpack_trash(&out, bytes, sizeof(bytes)), CS_E_CORRUPT);
		bytes[i] ^= 0x10;
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(store_header_comes_back),
		cmocka_unit_test(an_unknown_format_is_refused_by_name),
		cmocka_unit_test(bundles_come_back),
		cmocka_unit_test(a_damaged_bundle_is_corrupt),
		cmocka_unit_test(a_head_has_a_checksum_of_its_own),
		cmocka_unit_test(slots_must_add_up),
		cmocka_unit_test(points_come_back),
		cmocka_unit_test(a_damaged_point_is_refused),
		cmocka_unit_test(series_come_back),
		cmocka_unit_test(trash_rows_come_back_in_their_place_only),
	};

	return cmocka_run_group_tests_name("record", tests, NULL, NULL);
}
