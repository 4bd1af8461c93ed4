/* SPDX-License-Identifier: MIT */
/*
 * seeds.c - inputs to begin with: seeds DIR fills DIR/TARGET with sound ones, and with
 * trees that claim what cannot be. What the fuzzer made of them is kept beside.
 */
#include "fuzz.h"
#include "place.h"

#include "store/extent.h"
#include "store/hash.h"
#include "store/store.h"
#include "store/tree.h"
#include "store/xattr.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char *to;

static void seed(const char *target, const char *name, const void *data, size_t len)
{
	char path[600];

	snprintf(path, sizeof(path), "%s/%s", to, target);
	mkdir(path, 0755);
	snprintf(path, sizeof(path), "%s/%s/%s", to, target, name);
	FILE *f = fopen(path, "wbe");
	MUST(f && fwrite(data, 1, len, f) == len && fclose(f) == 0);
}

/* ---- of a store */

static void seed_values(const char *path)
{
	struct cs_store *s;
	struct cs_txn *t;
	struct cs_slice v;
	struct cs_buf b = { 0 };
	uint64_t number = 0, seq = 1;
	uint8_t header[CS_STORE_HEADER_SIZE];
	char name[64];

	MUST(cs_store_open(path, NULL, &s, NULL) == CS_OK);
	MUST(cs_txn_read(s->db, &t, NULL) == CS_OK);
	MUST(cs_db_get(t, CS_T_POINTS, cs_u64_key(&seq), &v, NULL) == 1);
	seed("point", "backup", v.data, v.len - 8);
	MUST(cs_db_get(t, CS_T_SERIES, (struct cs_slice){ "s", 1 }, &v, NULL) == 1);
	cs_buf_u8(&b, 1);
	cs_buf_add(&b, v.data, v.len - 8);
	seed("record", "series", b.data, b.len);
	cs_store_header_pack(&s->header, header);
	cs_buf_clear(&b);
	cs_buf_u8(&b, 0);
	cs_buf_add(&b, header, sizeof(header));
	seed("record", "header", b.data, b.len);
	cs_buf_clear(&b);
	cs_buf_u8(&b, 2);
	cs_buf_add(&b, "\0\0\0\1sometime\7\0\0\0\0\0\0\0\x12\x34\x56\0\0\0\0\0", 28);
	seed("record", "trash", b.data, b.len);
	for (int i = 0; i < 6 && cs_bundles_next(t, number + 1, &number, &v, NULL) == 1; i++) {
		snprintf(name, sizeof(name), "stored-%llu", (unsigned long long)number);
		if (v.len < 20000)
			seed("bundle", name, v.data, v.len);
	}
	cs_buf_release(&b);
	cs_txn_end(t);
	cs_store_close(s);
}

static void seed_bundles(void)
{
	static uint8_t text[3000], other[3000], frame[3000];
	struct cs_compressor *c = cs_compressor_new(3);
	struct cs_bundle_item items[4] = { 0 };
	uint8_t *b;
	size_t len;

	for (size_t i = 0; i < sizeof(text); i++)
		text[i] = other[i] = (uint8_t)("some words of text "[i % 19] + (i % 7 == 0) * (int)(i / 97));
	other[1500] = 'x';
	for (int i = 0; i < 3; i++) {
		items[i].slot.len = (uint32_t)(1000 * i + 1);
		items[i].data = text;
	}
	MUST(cs_bundle_encode(c, CS_FEATURES_INCOMPAT, 1, CS_BUNDLE_DATA, items, 3, &b, &len) == CS_OK);
	seed("bundle", "compressed", b, len);
	free(b);
	for (int i = 0; i < 3; i++)
		items[i].slot.hash = cs_hash_of(items[i].data, items[i].slot.len);
	cs_compressor_set(c, CS_LEVEL_NONE);
	MUST(cs_bundle_encode(c, CS_FEATURES_INCOMPAT, 1, CS_BUNDLE_DATA, items, 2, &b, &len) == CS_OK);
	seed("bundle", "raw", b, len);
	free(b);
	cs_compressor_set(c, 3);
	items[3].slot.len = sizeof(other);
	items[3].slot.base = 1 << CS_SLOT_BITS;
	items[3].slot.frame_len = (uint32_t)cs_compress_delta(c, text, sizeof(text), other,
							      sizeof(other), frame, sizeof(frame));
	items[3].data = frame;
	items[2].slot = (struct cs_slot){ .len = sizeof(text) };
	MUST(cs_bundle_encode(c, CS_FEATURES_INCOMPAT, 1, CS_BUNDLE_META, items + 2, 2, &b, &len) == CS_OK);
	seed("bundle", "delta", b, len);
	free(b);
	cs_compressor_free(c);
}

/* ---- trees */

struct pages {
	struct cs_buf all; /* as f_tree.c takes them */
	uint32_t n;
	bool keep; /* each is a seed of its own, too */
};

static int put(void *arg, const void *page, size_t len, cs_chunk *out, struct cs_error *err)
{
	struct pages *p = arg;
	char name[64];

	(void)err;
	cs_buf_u8(&p->all, (uint8_t)len);
	cs_buf_u8(&p->all, (uint8_t)(len >> 8));
	cs_buf_add(&p->all, page, len);
	*out = (cs_chunk)1 << CS_SLOT_BITS | p->n++;
	snprintf(name, sizeof(name), "page-%c-%u", *(const char *)page, p->n);
	if (p->keep) {
		seed("page", name, page, len);
		if (*(const char *)page == CS_PAGE_DIR)
			seed("dump", name, page, len);
	}
	return CS_OK;
}

static struct cs_entry entry(const char *name, uint32_t mode)
{
	static uint64_t ino = 100;

	return (struct cs_entry){ .name = name, .name_len = (uint32_t)strlen(name), .mode = mode,
				  .uid = 1000, .gid = 1000, .nlink = 1, .have = 15, .ino = ino++,
				  .mtime = { 1700000000, 5 }, .ctime = { 1700000001, 6 },
				  .atime = { 1700000000, 5 }, .btime = { 1600000000, 0 } };
}

static struct cs_entry file_of(const char *name, unsigned slot, uint64_t len)
{
	struct cs_entry e = entry(name, S_IFREG | 0644);

	e.content = CS_CONTENT_CHUNK;
	e.chunk = (cs_chunk)2 << CS_SLOT_BITS | slot;
	e.size = e.data_bytes = len;
	return e;
}

static struct cs_entry symlink_to(const char *name, const char *target)
{
	struct cs_entry e = entry(name, S_IFLNK | 0777);

	e.bytes = (const uint8_t *)target;
	e.bytes_len = (uint32_t)strlen(target);
	e.size = e.bytes_len;
	return e;
}

static struct cs_entry dir_of(const char *name, struct cs_pages children, uint64_t count,
			      uint32_t subdirs, uint64_t below)
{
	struct cs_entry e = entry(name, S_IFDIR | 0755);

	e.children = children;
	e.children_count = count;
	e.subdirs = subdirs;
	e.nlink = 2 + subdirs;
	e.below.entries = below;
	return e;
}

static struct cs_pages dir_pages(struct pages *p, const struct cs_entry *e, size_t n, uint32_t max)
{
	struct cs_pages_writer w;
	struct cs_pages out;

	cs_pages_writer_init(&w, CS_PAGE_DIR, put, p);
	w.max = max;
	for (size_t i = 0; i < n; i++)
		MUST(cs_tree_add(&w, &e[i], NULL) == CS_OK);
	MUST(cs_pages_finish(&w, &out, NULL) == CS_OK);
	cs_pages_writer_release(&w);
	return out;
}

/* The whole input: links, the root's entry, the pages. */
static void seed_tree(const char *name, struct pages *p, const struct cs_entry *root,
		      unsigned links, unsigned level)
{
	struct pages r = { 0 };
	struct cs_buf b = { 0 };

	dir_pages(&r, root, 1, CS_PAGE_MAX);
	cs_buf_u8(&b, (uint8_t)links);
	cs_buf_u8(&b, (uint8_t)level);
	cs_buf_add(&b, r.all.data, r.all.len);
	cs_buf_add(&b, p->all.data, p->all.len);
	seed("tree", name, b.data, b.len);
	cs_buf_release(&r.all);
	cs_buf_release(&p->all);
	cs_buf_release(&b);
	*p = (struct pages){ 0 };
}

static struct cs_pages extent_pages(struct pages *p, const uint64_t (*x)[2], size_t n, uint32_t max)
{
	struct cs_pages_writer w;
	struct cs_pages out;

	cs_pages_writer_init(&w, CS_PAGE_EXTENT, put, p);
	w.max = max;
	for (size_t i = 0; i < n; i++)
		MUST(cs_extent_add(&w, x[i][0], x[i][1], 1, NULL) == CS_OK);
	MUST(cs_pages_finish(&w, &out, NULL) == CS_OK);
	cs_pages_writer_release(&w);
	return out;
}

#define CHUNK(slot) ((uint64_t)2 << CS_SLOT_BITS | (slot))

static void sound_tree(void)
{
	static const uint64_t x[][2] = { { 70000, CHUNK(3) }, { 1 << 20, 0 }, { 4096, CHUNK(2) },
					 { 100, CHUNK(1) }, { 70000, CHUNK(3) } };
	static const struct cs_xattr_item attrs[] = {
		{ .name = "user.a", .name_len = 6, .value = (const uint8_t *)"value", .value_len = 5 },
		{ .name = "user.long", .name_len = 9, .value_len = 4096, .chunk = CHUNK(2) } };
	struct pages p = { .keep = true };
	struct cs_buf packed = { 0 }, inl = { 0 };
	struct cs_pages_writer w;
	cs_chunk ignored;

	cs_xattr_pack(&packed, attrs, 2);
	seed("page", "xattrs", packed.data, packed.len);
	struct cs_entry sub[3] = { file_of("linked", 1, 100), symlink_to("out", "../../outside/x"),
				   entry("socket", S_IFSOCK | 0700) };
	sub[0].nlink = 2;
	struct cs_pages below = dir_pages(&p, sub, 3, 200);
	struct cs_entry all[8] = { file_of("a", 0, 1), file_of("b\n\x1b[2J", 3, 70000),
				   dir_of("dir", below, 3, 0, 3), entry("dev", S_IFCHR | 0600),
				   file_of("linked", 1, 100), file_of("pages", 0, 0),
				   file_of("some", 0, 0), entry("z", S_IFREG | 04755) };
	all[3] = entry("dir2", S_IFCHR | 0600);
	all[3].rdev_major = 1;
	all[3].rdev_minor = 3;
	all[4].ino = sub[0].ino;
	all[4].nlink = 2;
	all[5].content = CS_CONTENT_PAGES;
	all[5].size = 70000 + (1 << 20) + 4096 + 100 + 70000;
	all[5].data_bytes = all[5].size - (1 << 20);
	all[5].extents = extent_pages(&p, x, 5, 12);
	all[5].xattrs = packed.data;
	all[5].xattrs_len = (uint32_t)packed.len;
	cs_pages_writer_init(&w, CS_PAGE_EXTENT, put, &p);
	for (size_t i = 0; i < 3; i++)
		MUST(cs_extent_add(&w, x[i][0], x[i][1], 1, NULL) == CS_OK);
	MUST(cs_pages_take_single(&w, CS_PAGE_MAX, &inl));
	cs_pages_writer_release(&w);
	all[6].content = CS_CONTENT_EXTENTS;
	all[6].bytes = inl.data;
	all[6].bytes_len = (uint32_t)inl.len;
	all[6].size = 70000 + (1 << 20) + 4096;
	all[6].data_bytes = 74096;
	MUST(put(&p, packed.data, packed.len, &ignored, NULL) == CS_OK);
	all[7].xattrs_chunk = ignored;
	struct cs_pages root = dir_pages(&p, all, 8, 300);
	cs_pages_writer_init(&w, CS_PAGE_LINK, put, &p);
	struct cs_link l = cs_link_of(&sub[0]);
	l.first = 4;
	MUST(cs_link_add(&w, &l, NULL) == CS_OK);
	struct cs_pages links;
	MUST(cs_pages_finish(&w, &links, NULL) == CS_OK);
	cs_pages_writer_release(&w);
	struct cs_entry top = dir_of("", root, 8, 1, 11);
	seed_tree("sound", &p, &top, (unsigned)(links.root & 0xffff) + 1, links.level);
	cs_buf_release(&packed);
	cs_buf_release(&inl);
}

/* A directory that holds itself twice. */
static void circle(void)
{
	struct pages p = { 0 };
	struct cs_pages self = { (cs_chunk)1 << CS_SLOT_BITS, 0 };
	struct cs_entry e[2] = { dir_of("a", self, 2, 2, 2), dir_of("b", self, 2, 2, 2) };

	dir_pages(&p, e, 2, CS_PAGE_MAX);
	struct cs_entry top = dir_of("", self, 2, 2, 40);
	seed_tree("directory-in-itself", &p, &top, 0, 0);
}

/* 2^30 entries from 30 pages: true, if one believes in each. */
static void doubled(void)
{
	struct pages p = { 0 };
	struct cs_entry leaf = file_of("x", 0, 1);
	struct cs_pages at = dir_pages(&p, &leaf, 1, CS_PAGE_MAX);
	uint64_t count = 1, below = 1;

	for (int i = 0; i < 30; i++) {
		struct cs_entry e[2] = { dir_of("a", at, count, count == 2 ? 2 : 0, below),
					 dir_of("b", at, count, count == 2 ? 2 : 0, below) };
		at = dir_pages(&p, e, 2, CS_PAGE_MAX);
		count = 2;
		below = 2 * (below + 1);
	}
	struct cs_entry top = dir_of("", at, 2, 2, below);
	seed_tree("doubled-30-times", &p, &top, 0, 0);
}

/* A file of 2^62 bytes, holes of one byte each, in an index that holds itself. */
static void holes(void)
{
	static const uint64_t x[][2] = { { 1, 0 }, { 1, 0 }, { 1, 0 } };
	struct pages p = { 0 };
	struct cs_buf b = { 0 };
	cs_chunk ignored;
	struct cs_entry e = file_of("holes", 0, 0);

	extent_pages(&p, x, 3, CS_PAGE_MAX); /* chunk 0 */
	for (uint64_t i = 0; i < 6; i++) {  /* chunk 1 to 6: 100 times the one below */
		cs_buf_clear(&b);
		cs_buf_u8(&b, CS_PAGE_INDEX);
		cs_buf_var(&b, 100);
		cs_buf_svar(&b, 1);
		uint64_t n = 3;
		for (uint64_t k = 0; k < i; k++)
			n *= 100;
		for (int k = 0; k < 100; k++) {
			cs_buf_str(&b, "", 0);
			cs_ref_pack(&b, (cs_chunk)1 << CS_SLOT_BITS | i, 1);
			cs_buf_var(&b, n);
			cs_buf_var(&b, n);
		}
		MUST(put(&p, b.data, b.len, &ignored, NULL) == CS_OK);
	}
	e.content = CS_CONTENT_PAGES;
	e.extents = (struct cs_pages){ (cs_chunk)1 << CS_SLOT_BITS | 6, 6 };
	e.size = 3000000000000ull;
	e.data_bytes = 0;
	struct cs_pages root = dir_pages(&p, &e, 1, CS_PAGE_MAX);
	struct cs_entry top = dir_of("", root, 1, 0, 1);
	seed_tree("endless-holes", &p, &top, 0, 0);
	cs_buf_release(&b);
}

/* A link that goes out, and a directory of the same name beside it, which goes through it. */
static void through_symlink(void)
{
	struct pages p = { 0 };
	struct cs_entry f = file_of("planted", 1, 100);
	struct cs_pages below = dir_pages(&p, &f, 1, CS_PAGE_MAX);
	struct cs_entry one = symlink_to("a", "../outside"), two = dir_of("a", below, 1, 0, 1);
	struct cs_pages left = dir_pages(&p, &one, 1, CS_PAGE_MAX);
	struct cs_pages right = dir_pages(&p, &two, 1, CS_PAGE_MAX);
	struct cs_buf b = { 0 };
	cs_chunk index;

	cs_buf_u8(&b, CS_PAGE_INDEX); /* its first keys ascend, as it says */
	cs_buf_var(&b, 2);
	cs_buf_svar(&b, 1);
	cs_buf_str(&b, "a", 1);
	cs_ref_pack(&b, left.root, 1);
	cs_buf_var(&b, 1);
	cs_buf_var(&b, 0);
	cs_buf_str(&b, "b", 1);
	cs_ref_pack(&b, right.root, 1);
	cs_buf_var(&b, 1);
	cs_buf_var(&b, 1);
	MUST(put(&p, b.data, b.len, &index, NULL) == CS_OK);
	struct cs_entry top = dir_of("", (struct cs_pages){ index, 1 }, 2, 1, 3);
	seed_tree("one-name-twice", &p, &top, 0, 0);
	cs_buf_release(&b);
}

/* ---- text */

static void seed_text(void)
{
	static const char *const paths[] = { "", "/", "dir/below/x", "dir/linked/", "./dir//two\nlines",
					     "../etc/passwd", "dir/..", "symlink/x", "chunk/x" };
	static const char *const names[] = { "web01", "web01/latest", "web01/2026-11-22T06-39-05Z", "cafe",
					     "0123abcd", "2026-11-22", "2026-02-31T25:00:00Z", "7d", "1000y",
					     "number:1", "by-id", "-x", "latest", "a/b/c",
					     "2026-11-22T06-39-05Z-002", "99999999999999999999s" };
	char name[32];

	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		snprintf(name, sizeof(name), "path-%zu", i);
		seed("path", name, paths[i], strlen(paths[i]));
	}
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(name, sizeof(name), "name-%zu", i);
		seed("selector", name, names[i], strlen(names[i]));
	}
	seed("dump", "escapes", "a\\x0a b\\\\\xc3\xa4\xff\x1b[2J\xc2\x9b", 22);
	seed("store", "one-bundle", "\0\1\0\x40\0\3abc", 9);
	seed("store", "one-point", "\0\4\0\x20\0\1z", 7);
	seed("store", "one-page", "\1\2\0\x10\0\2\xff\xff", 8);
	seed("store", "meta-page", "\1\0\0\x18\0\4\xff\xff\xff\xff", 10);
}

int main(int argc, char **argv)
{
	char path[256];

	if (argc != 2)
		return 2;
	to = argv[1];
	mkdir(to, 0755);
	snprintf(path, sizeof(path), "%s", place_path("store"));
	place_init(path);
	place_fill_tree();
	place_back_up(path, "s");
	seed_values(path);
	seed_bundles();
	sound_tree();
	circle();
	doubled();
	holes();
	through_symlink();
	seed_text();
	return 0;
}
