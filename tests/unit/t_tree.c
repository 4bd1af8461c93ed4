/* SPDX-License-Identifier: MIT */
#include "store/extent.h"
#include "store/tree.h"
#include "pages.h"
#include "util.h"

#include <sys/stat.h>

static struct page_shelf shelf;

static struct cs_time random_time(struct rng *r)
{
	struct cs_time t = { (int64_t)rng_number(r, 1ull << 40), 0 };

	t.nsec = (uint32_t)rng_number(r, 999999999);
	if (rng_below(r, 4) == 0)
		t.sec = -t.sec;
	return t;
}

static cs_chunk random_chunk(struct rng *r)
{
	cs_chunk bundle = 1 + rng_number(r, CS_BUNDLE_NUMBER_MAX - 1);

	return bundle << CS_SLOT_BITS | rng_below(r, CS_SLOTS_MAX);
}

static const uint8_t *random_blob(struct rng *r, size_t len)
{
	static uint8_t blob[CS_SYMLINK_MAX];

	rng_bytes(r, blob, len);
	for (size_t i = 0; i < len; i++)
		blob[i] |= 1; /* symlink targets hold no NUL */
	return blob;
}

static void random_regular(struct rng *r, struct cs_entry *e)
{
	e->content = (uint8_t)rng_below(r, 5);
	e->size = 1 + rng_number(r, CS_CHUNK_MAX - 1);
	switch (e->content) {
	case CS_CONTENT_NONE:
		e->size = 0;
		break;
	case CS_CONTENT_INLINE:
		e->size = e->bytes_len = 1 + (uint32_t)rng_below(r, CS_INLINE_MAX);
		e->bytes = random_blob(r, e->bytes_len);
		break;
	case CS_CONTENT_CHUNK:
		e->chunk = random_chunk(r);
		break;
	case CS_CONTENT_EXTENTS:
		e->size = 1 + rng_number(r, INT64_MAX - 1);
		e->bytes_len = 1 + (uint32_t)rng_below(r, 200);
		e->bytes = random_blob(r, e->bytes_len);
		rng_bytes(r, e->hash.b, CS_HASH_SIZE);
		break;
	default:
		e->extents.root = random_chunk(r);
		e->extents.level = (uint8_t)rng_below(r, CS_LEVELS_MAX);
		rng_bytes(r, e->hash.b, CS_HASH_SIZE);
	}
	e->data_bytes = e->size;
	if (e->content >= CS_CONTENT_EXTENTS && rng_below(r, 2))
		e->data_bytes = rng_number(r, e->size);
}

static void random_dir(struct rng *r, struct cs_entry *e)
{
	rng_bytes(r, e->hash.b, CS_HASH_SIZE);
	if (rng_below(r, 4) == 0)
		return;
	e->children_count = 1 + rng_number(r, 1u << 20);
	e->subdirs = (uint32_t)rng_number(r, e->children_count);
	e->children.root = random_chunk(r);
	e->children.level = (uint8_t)rng_below(r, CS_LEVELS_MAX);
	e->below.entries = e->children_count + rng_number(r, 1u << 30);
	e->below.bytes = rng_number(r, 1ull << 62);
	e->below.links = rng_number(r, e->below.entries);
	e->below.xattrs = rng_number(r, e->below.entries);
}

/* name, blobs and xattrs are borrowed until the next call */
static void random_entry(struct rng *r, struct cs_entry *e, const char *name)
{
	static const uint32_t types[] = { S_IFREG, S_IFREG, S_IFREG,  S_IFDIR, S_IFDIR,
					  S_IFLNK, S_IFCHR, S_IFBLK, S_IFIFO, S_IFSOCK };
	static uint8_t xattrs[300];

	memset(e, 0, sizeof(*e));
	e->name = name;
	e->name_len = (uint32_t)strlen(name);
	e->mode = types[rng_below(r, 10)] | (uint32_t)rng_below(r, 010000);
	e->uid = (uint32_t)rng_number(r, UINT32_MAX);
	e->gid = (uint32_t)rng_number(r, UINT32_MAX);
	e->ino = rng_number(r, UINT64_MAX);
	e->mtime = random_time(r);
	e->ctime = rng_below(r, 2) ? e->mtime : random_time(r);
	e->atime = rng_below(r, 2) ? e->mtime : random_time(r);
	e->have = (uint32_t)rng_below(r, 16);
	if (e->have & CS_HAVE_BTIME)
		e->btime = random_time(r);
	e->flags = rng_below(r, 2) ? (uint32_t)rng_number(r, UINT32_MAX) : 0;
	e->projid = rng_below(r, 2) ? (uint32_t)rng_number(r, UINT32_MAX) : 0;
	e->volume = rng_below(r, 2) ? (uint32_t)rng_number(r, 1000) : 0;
	if (S_ISREG(e->mode)) {
		random_regular(r, e);
	} else if (S_ISDIR(e->mode)) {
		random_dir(r, e);
	} else if (S_ISLNK(e->mode)) {
		e->size = e->bytes_len = 1 + (uint32_t)rng_below(r, CS_SYMLINK_MAX);
		e->bytes = random_blob(r, e->bytes_len);
	} else if (S_ISCHR(e->mode) || S_ISBLK(e->mode)) {
		e->rdev_major = (uint32_t)rng_number(r, UINT32_MAX);
		e->rdev_minor = (uint32_t)rng_number(r, UINT32_MAX);
	}
	e->nlink = S_ISDIR(e->mode) ? 2 + e->subdirs : 1;
	if (rng_below(r, 4) == 0)
		e->nlink = (uint32_t)rng_number(r, UINT32_MAX);
	if (rng_below(r, 4) == 0) {
		e->xattrs_len = 1 + (uint32_t)rng_below(r, sizeof(xattrs));
		e->xattrs = xattrs;
	} else if (rng_below(r, 4) == 0) {
		e->xattrs_chunk = random_chunk(r);
	}
}

static void assert_time(struct cs_time a, struct cs_time b)
{
	assert_true(a.sec == b.sec);
	assert_int_equal(a.nsec, b.nsec);
}

static void assert_same(const struct cs_entry *a, const struct cs_entry *b)
{
	assert_int_equal(a->name_len, b->name_len);
	assert_memory_equal(a->name, b->name, a->name_len);
	assert_int_equal(a->mode, b->mode);
	assert_int_equal(a->uid, b->uid);
	assert_int_equal(a->gid, b->gid);
	assert_int_equal(a->nlink, b->nlink);
	assert_int_equal(a->volume, b->volume);
	assert_int_equal(a->have, b->have);
	assert_int_equal(a->flags, b->flags);
	assert_int_equal(a->projid, b->projid);
	assert_int_equal(a->rdev_major, b->rdev_major);
	assert_int_equal(a->rdev_minor, b->rdev_minor);
	assert_true(a->ino == b->ino && a->size == b->size && a->data_bytes == b->data_bytes);
	assert_time(a->mtime, b->mtime);
	assert_time(a->ctime, b->ctime);
	assert_time(a->atime, b->atime);
	assert_time(a->btime, b->btime);
	assert_int_equal(a->content, b->content);
	assert_true(a->chunk == b->chunk);
	assert_int_equal(a->bytes_len, b->bytes_len);
	if (a->bytes_len)
		assert_memory_equal(a->bytes, b->bytes, a->bytes_len);
	assert_true(a->extents.root == b->extents.root && a->extents.level == b->extents.level);
	assert_memory_equal(a->hash.b, b->hash.b, CS_HASH_SIZE);
	assert_int_equal(a->xattrs_len, b->xattrs_len);
	if (a->xattrs_len)
		assert_memory_equal(a->xattrs, b->xattrs, a->xattrs_len);
	assert_true(a->xattrs_chunk == b->xattrs_chunk);
	assert_true(a->children.root == b->children.root && a->children.level == b->children.level);
	assert_true(a->children_count == b->children_count && a->subdirs == b->subdirs);
	assert_memory_equal(&a->below, &b->below, sizeof(a->below));
}

static void single_page(struct cs_pages_writer *w, struct cs_buf *out)
{
	assert_true(cs_pages_take_single(w, CS_PAGE_RAW_MAX, out));
	cs_pages_writer_release(w);
	assert_false(out->failed);
}

static void every_kind_of_entry_comes_back(void **state)
{
	struct rng r = rng_start();
	struct cs_entry e, got;
	struct cs_buf b = { 0 };
	struct cs_tree_page p;

	(void)state;
	for (int i = 0; i < 20000; i++) {
		struct cs_pages_writer w;

		cs_pages_writer_init(&w, CS_PAGE_DIR, shelf_put, &shelf);
		random_entry(&r, &e, "name");
		assert_int_equal(cs_tree_add(&w, &e, NULL), CS_OK);
		cs_buf_clear(&b);
		single_page(&w, &b);
		assert_int_equal(cs_tree_page_parse(b.data, b.len, false, &p), CS_OK);
		cs_tree_page_entry(&p, 0, &got);
		assert_same(&e, &got);
		cs_tree_page_release(&p);
	}
	cs_buf_release(&b);
}

struct listing {
	uint64_t n, before;
};

static void name_of(uint64_t i, char out[32])
{
	snprintf(out, 32, "entry %08llu", (unsigned long long)i);
}

static void check_listing(void *arg, const uint8_t *page, size_t len)
{
	struct listing *l = arg;
	struct cs_tree_page p;
	struct cs_entry e;
	char name[32];
	size_t at;

	assert_int_equal(cs_tree_page_parse(page, len, false, &p), CS_OK);
	assert_true(cs_tree_page_memory(&p) > 0);
	for (size_t i = 0; i < p.count; i++, l->n++) {
		name_of(l->n, name);
		cs_tree_page_entry(&p, i, &e);
		assert_int_equal(e.name_len, strlen(name));
		assert_memory_equal(e.name, name, e.name_len);
		assert_true(cs_tree_page_find(&p, name, e.name_len, &at));
		assert_int_equal(at, i);
		/* between two neighbours */
		assert_false(cs_tree_page_find(&p, strcat(name, "x"), e.name_len + 1, &at));
		assert_int_equal(at, i + 1);
		assert_true(p.before[i] + e.below.entries == p.before[i + 1]);
	}
	assert_false(cs_tree_page_find(&p, "a", 1, &at));
	assert_int_equal(at, 0);
	assert_false(cs_tree_page_find(&p, "z", 1, &at));
	assert_int_equal(at, p.count);
	l->before += p.before[p.count];
	cs_tree_page_release(&p);
}

static void a_large_directory_comes_back_in_order(void **state)
{
	struct rng r = rng_start();
	struct cs_pages_writer w;
	struct cs_pages root;
	struct listing l = { 0 };
	uint64_t below = 0;

	(void)state;
	cs_pages_writer_init(&w, CS_PAGE_DIR, shelf_put, &shelf);
	for (uint64_t i = 0; i < 20000; i++) {
		struct cs_entry e;
		char name[32];

		name_of(i, name);
		random_entry(&r, &e, name);
		if (S_ISDIR(e.mode))
			below += e.below.entries;
		assert_int_equal(cs_tree_add(&w, &e, NULL), CS_OK);
	}
	assert_int_equal(cs_pages_finish(&w, &root, NULL), CS_OK);
	cs_pages_writer_release(&w);
	assert_true(root.level > 0);
	shelf_walk(&shelf, root, check_listing, &l);
	assert_true(l.n == 20000);
	assert_true(l.before == below);
	shelf_release(&shelf);
}

static int unpack_page(void *arg, const uint8_t *data, size_t len)
{
	struct cs_tree_page p;
	struct cs_entry e;
	size_t at;
	int rc = cs_tree_page_parse(data, len, false, &p);

	(void)arg;
	if (rc != CS_OK)
		return rc;
	for (size_t i = 0; i < p.count; i++) {
		cs_tree_page_entry(&p, i, &e);
		cs_tree_page_find(&p, e.name, e.name_len, &at);
	}
	cs_tree_page_release(&p);
	return CS_OK;
}

static void a_damaged_page_is_refused(void **state)
{
	struct rng r = rng_start();
	struct cs_pages_writer w;
	struct cs_buf b = { 0 };

	(void)state;
	cs_pages_writer_init(&w, CS_PAGE_DIR, shelf_put, &shelf);
	for (uint64_t i = 0; i < 30; i++) {
		struct cs_entry e;
		char name[32];

		name_of(i, name);
		do
			random_entry(&r, &e, name);
		while (S_ISLNK(e.mode) && e.bytes_len > 100);
		assert_int_equal(cs_tree_add(&w, &e, NULL), CS_OK);
	}
	single_page(&w, &b);
	assert_int_equal(unpack_page(NULL, b.data, b.len), CS_OK);
	check_truncations(unpack_page, NULL, b.data, b.len, CS_E_CORRUPT);
	check_trailing(unpack_page, NULL, b.data, b.len, CS_E_CORRUPT);
	check_mutations(unpack_page, NULL, b.data, b.len, &r, 50000);
	cs_buf_release(&b);
}

static int parse_names(const char *const *names, size_t n, bool root)
{
	struct rng r = { 1 };
	struct cs_pages_writer w;
	struct cs_buf b = { 0 };
	struct cs_tree_page p;

	cs_pages_writer_init(&w, CS_PAGE_DIR, shelf_put, &shelf);
	for (size_t i = 0; i < n; i++) {
		struct cs_entry e;

		random_entry(&r, &e, names[i]);
		assert_int_equal(cs_tree_add(&w, &e, NULL), CS_OK);
	}
	single_page(&w, &b);
	int rc = cs_tree_page_parse(b.data, b.len, root, &p);

	if (rc == CS_OK)
		cs_tree_page_release(&p);
	cs_buf_release(&b);
	return rc;
}

/* What a store made by an enemy could use to reach out of the restored tree. */
static void bad_names_are_refused(void **state)
{
	static const char *const bad[] = { "", ".", "..", "a/b", "/", "../x" };
	static const char *const fine[] = { "...", "a", "\xff", "\n", "-rf" };
	static const char *const unsorted[] = { "b", "a" };
	static const char *const twice[] = { "a", "a" };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(parse_names(&bad[i], 1, false), CS_E_CORRUPT);
	for (size_t i = 0; i < sizeof(fine) / sizeof(fine[0]); i++)
		assert_int_equal(parse_names(&fine[i], 1, false), CS_OK);
	assert_int_equal(parse_names(unsorted, 2, false), CS_E_CORRUPT);
	assert_int_equal(parse_names(twice, 2, false), CS_E_CORRUPT);
	assert_int_equal(parse_names(&bad[0], 1, true), CS_OK);
	assert_int_equal(parse_names(&fine[0], 1, true), CS_E_CORRUPT);
}

static void a_mode_has_one_of_seven_types(void **state)
{
	unsigned valid = 0;

	(void)state;
	for (uint32_t mode = 0; mode < 0x20000; mode++)
		valid += cs_mode_valid(mode);
	assert_int_equal(valid, 7 * 010000);
	assert_false(cs_mode_valid(0));
	assert_false(cs_mode_valid(0777));
	assert_false(cs_mode_valid(0x80000000 | S_IFREG));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_kind_of_entry_comes_back),
		cmocka_unit_test(a_large_directory_comes_back_in_order),
		cmocka_unit_test(a_damaged_page_is_refused),
		cmocka_unit_test(bad_names_are_refused),
		cmocka_unit_test(a_mode_has_one_of_seven_types),
	};

	return cmocka_run_group_tests_name("tree", tests, NULL, NULL);
}
