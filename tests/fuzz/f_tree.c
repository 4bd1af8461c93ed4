/* SPDX-License-Identifier: MIT */
/*
 * f_tree.c - a point made by an enemy: everything above the pages is sound, and
 * the pages are the input's.
 *
 * The input: u8 number of the page with the hard links (0: none), u8 its level;
 * then pages, each u16 length (little-endian) and bytes. The first is the root's
 * entry, as it stands in the record; the others are the chunks 0, 1, ... of
 * bundle 1. Bundle 2 has contents: chunks of 1, 100, 4096 and 70 000 bytes.
 */
#include "place.h"

#include "fuzz.h"

#include "store/store.h"

#include <string.h>
#include <unistd.h>

#define PAGES_MAX 64
#define CONTENTS 4
#define SEQ 1

static const uint32_t content_len[CONTENTS] = { 1, 100, 4096, 70000 };
static uint8_t content[70000];

static void put_bundle(struct cs_txn *t, uint64_t number, int kind, struct cs_bundle_item *items,
		       uint32_t n)
{
	static struct cs_compressor *c;
	uint8_t *b;
	size_t len;

	if (!c)
		c = cs_compressor_new(CS_LEVEL_NONE);
	MUST(cs_bundle_encode(c, CS_FEATURES_INCOMPAT, number, kind, items, n, &b, &len) == CS_OK);
	MUST(cs_bundles_put(t, &(struct cs_bundle_stored){ number, b, len }, 1, NULL) == CS_OK);
	free(b);
}

static void put_record(struct cs_txn *t, struct cs_point_record *r, const uint8_t *root,
		       size_t root_len)
{
	struct cs_buf b = { 0 };
	uint64_t seq = SEQ;

	r->root = (uint8_t *)(uintptr_t)root;
	r->root_len = root_len;
	cs_point_record_pack(r, &b);
	MUST(!b.failed && cs_db_put(t, CS_T_POINTS, cs_u64_key(&seq),
				    (struct cs_slice){ b.data, b.len }, NULL) == CS_OK);
	cs_buf_release(&b);
}

static struct cs_point_record record;

static void begin(const char *path)
{
	struct cs_open_opts o = { .flags = CS_OPEN_WRITE };
	struct cs_bundle_item items[CONTENTS] = { 0 };
	struct cs_store *s;
	struct cs_txn *t;

	place_init(path);
	MUST(cs_store_open(path, &o, &s, NULL) == CS_OK);
	MUST(cs_txn_write(s->db, &t, NULL) == CS_OK);
	for (uint32_t i = 0; i < CONTENTS; i++) {
		items[i].slot.len = content_len[i];
		items[i].slot.hash = cs_store_hash(s, content, content_len[i]);
		items[i].data = content;
	}
	put_bundle(t, 2, CS_BUNDLE_DATA, items, CONTENTS);
	record.root = content;
	record.root_len = 1;
	MUST(cs_points_add(t, "s", &record, NULL) == CS_OK && record.seq == SEQ);
	MUST(cs_txn_commit(t, NULL) == CS_OK);
	cs_store_close(s);
}

static size_t next_page(const uint8_t **p, const uint8_t *end, const uint8_t **page)
{
	if (end - *p < 2)
		return 0;
	size_t n = (size_t)((*p)[0] | (*p)[1] << 8), left = (size_t)(end - *p) - 2;

	*page = *p + 2;
	n = n < left ? n : left;
	*p += 2 + n;
	return n;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[256];
	struct cs_open_opts o = { .flags = CS_OPEN_WRITE };
	struct cs_bundle_item items[PAGES_MAX] = { 0 };
	const uint8_t *p = data + 2, *end = data + size, *root, *page;
	struct cs_store *s;
	struct cs_txn *t;
	uint32_t n = 0;

	if (!*path) {
		snprintf(path, sizeof(path), "%s", place_path("store"));
		begin(path);
	}
	if (size < 4)
		return 0;
	size_t root_len = next_page(&p, end, &root);
	if (root_len == 0)
		return 0;
	MUST(cs_store_open(path, &o, &s, NULL) == CS_OK);
	for (size_t len; n < PAGES_MAX && (len = next_page(&p, end, &page)) > 0; n++) {
		items[n].slot.len = (uint32_t)len;
		items[n].slot.hash = cs_store_hash(s, page, len);
		items[n].data = page;
	}
	if (n == 0)
		items[n++] = (struct cs_bundle_item){ .slot.len = 1, .data = content };
	record.links.root = data[0] ? (uint64_t)1 << CS_SLOT_BITS | (data[0] - 1u) : 0;
	record.links.level = data[1] % CS_LEVELS_MAX;
	MUST(cs_txn_write(s->db, &t, NULL) == CS_OK);
	put_bundle(t, 1, CS_BUNDLE_META, items, n);
	put_record(t, &record, root, root_len);
	MUST(cs_txn_commit(t, NULL) == CS_OK);
	place_read(s);
	cs_store_close(s);
	return 0;
}
