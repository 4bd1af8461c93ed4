/* SPDX-License-Identifier: MIT */
/* Damage of every kind, as a broken disk or an enemy leaves it, and what verify says of it. */
#include "store/browse.h"
#include "store/checked.h"
#include "store/index.h"
#include "world.h"

#include <sys/wait.h>
#include <unistd.h>

/* ---- what was found */

static struct found {
	char id[32], text[400], first[400];
	uint64_t points, paths;
	size_t nsample;
} found[64];
static size_t nfound;

static void on_finding(void *arg, const struct cs_finding *f)
{
	(void)arg;
	assert_true(nfound < 64);
	struct found *x = &found[nfound++];
	memset(x, 0, sizeof(*x));
	snprintf(x->id, sizeof(x->id), "%s", f->id);
	snprintf(x->text, sizeof(x->text), "%s", f->text);
	snprintf(x->first, sizeof(x->first), "%s", f->nsample ? f->sample[0] : "");
	x->points = f->points;
	x->paths = f->paths;
	x->nsample = f->nsample;
	print_message("%s: %s (%llu paths, %llu points) %s\n", x->id, x->text,
		      (unsigned long long)x->paths, (unsigned long long)x->points, x->first);
}

static const struct found *find(const char *id)
{
	for (size_t i = 0; i < nfound; i++)
		if (strcmp(found[i].id, id) == 0)
			return &found[i];
	return NULL;
}

static int verify_with(struct cs_store *s, struct cs_verify_opts o, struct cs_verify_result *r)
{
	struct cs_error err;
	memset(r, 0, sizeof(*r));
	nfound = 0;
	o.finding = on_finding;
	int rc = cs_verify(s, &o, r, &err);
	assert_true((rc == CS_E_CORRUPT) == (nfound > 0) || rc == CS_E_INTERRUPTED);
	assert_int_equal(nfound, r->findings);
	return rc;
}

static struct cs_verify_result verify(struct cs_store *s, int level)
{
	struct cs_verify_result r;
	verify_with(s, (struct cs_verify_opts){ .level = level, .threads = 2 }, &r);
	return r;
}

/* Nothing but this is found, on this level and above; what it affects is counted. */
static const struct found *only(struct cs_store **s, const char *id, int level)
{
	cs_store_close(*s); /* what it has in its caches is sound */
	*s = world_open();
	for (int l = CS_VERIFY_STRUCTURE; l < level; l++)
		assert_int_equal(verify(*s, l).findings, 0);
	for (int l = level; l <= CS_VERIFY_DIGEST; l++) {
		struct cs_verify_result r = verify(*s, l);
		assert_true(r.findings == 1);
		assert_string_equal(found[0].id, id);
		assert_int_equal(r.damaged_points, found[0].points);
	}
	return &found[0];
}

/* ---- a store */

/* Files of one bundle, in two points that share them; a directory; a large file. */
static struct cs_store *filled(uint64_t seqs[2])
{
	char name[32];
	assert_int_equal(mkdir(world_path("tree/dir"), 0755), 0);
	for (uint64_t i = 0; i < 15; i++) {
		snprintf(name, sizeof(name), "tree/dir/f%02d", (int)i);
		world_random(name, 100 + i, 1000);
	}
	struct cs_store *s = world_open();
	seqs[0] = world_back_up(s, "t");
	world_random("tree/other", 7, 1000);
	seqs[1] = world_back_up(s, "t");
	assert_int_equal(verify(s, 0).findings, 0);
	return s;
}

static struct cs_txn *begin(struct cs_store *s)
{
	struct cs_txn *t;
	assert_int_equal(cs_txn_write(s->db, &t, NULL), CS_OK);
	return t;
}

static void commit(struct cs_txn *t)
{
	assert_int_equal(cs_txn_commit(t, NULL), CS_OK);
}

static cs_chunk chunk_of(struct cs_store *s, uint64_t seq, const char *path, bool children)
{
	struct cs_tree *t;
	struct cs_node n;
	assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
	assert_int_equal(cs_tree_lookup(t, path, &n, NULL), CS_OK);
	cs_chunk c = children ? n.entry.children.root : n.entry.chunk;
	cs_node_release(&n);
	cs_tree_close(t);
	assert_true(c != 0);
	return c;
}

/* The stored bytes of a bundle, to change them and put them back. */
struct bytes {
	uint64_t number;
	uint8_t *data;
	size_t len;
};

static struct bytes take(struct cs_store *s, uint64_t number)
{
	struct cs_txn *t;
	struct cs_slice v;
	assert_int_equal(cs_txn_read(s->db, &t, NULL), CS_OK);
	assert_int_equal(cs_bundles_get(t, number, &v, NULL), 1);
	struct bytes b = { number, malloc(v.len), v.len };
	memcpy(b.data, v.data, v.len);
	cs_txn_end(t);
	return b;
}

static void put(struct cs_store *s, const struct bytes *b)
{
	struct cs_txn *t = begin(s);
	assert_int_equal(cs_bundles_del(t, b->number, NULL), CS_OK);
	if (b->data)
		assert_int_equal(cs_bundles_put(t, &(struct cs_bundle_stored){ b->number, b->data,
									       b->len }, 1, NULL),
				 CS_OK);
	commit(t);
}

/* A bundle made again with its chunks changed by fn, the checksum right. */
typedef void change_fn(struct cs_store *s, struct cs_bundle_item *items, uint32_t *n, void *arg);

static void change_bundle(struct cs_store *s, uint64_t number, change_fn *fn, void *arg)
{
	struct cs_compressor *c = cs_compressor_new(3);
	struct cs_bundle *b;
	void *held;
	struct cs_bundle_item items[64];
	struct bytes made = { .number = number };
	assert_int_equal(cs_reader_bundle(s, number, &held, &b, NULL), CS_OK);
	uint32_t n = b->nslots;
	assert_true(n <= 64);
	for (uint32_t i = 0; i < n; i++)
		items[i] = (struct cs_bundle_item){ b->slots[i], b->raw + b->slots[i].off };
	fn(s, items, &n, arg);
	assert_int_equal(cs_bundle_encode(c, CS_FEATURES_INCOMPAT, number, b->kind, items, n,
					  &made.data, &made.len),
			 CS_OK);
	put(s, &made);
	free(made.data);
	cs_cache_release(held);
	cs_compressor_free(c);
}

/* ---- bundles and chunks */

/* Numbers begin with 1. It is told, keeps nobody waiting, and hides no other bundle. */
static void a_bundle_of_number_zero(void **state)
{
	uint64_t seqs[2];
	(void)state;
	struct cs_store *s = filled(seqs);
	struct bytes zero = take(s, cs_chunk_bundle(chunk_of(s, seqs[0], "dir/f00", false)));
	zero.number = 0;
	put(s, &zero);
	free(zero.data);
	alarm(60);
	verify(s, CS_VERIFY_DATA);
	alarm(0);
	assert_int_equal(nfound, 1);
	assert_non_null(find("bundle-damaged"));
	assert_int_equal(find("bundle-damaged")->points, 0);
	world_gc(s);
	cs_store_close(s);
}

/* It names what cannot be had: of a bundle that is stored raw, what a mount does not give. */
static void a_bundle_that_cannot_be_decoded(void **state)
{
	uint64_t seqs[2];
	struct cs_bundle_header h;
	struct cs_verify_result r;
	(void)state;
	struct cs_store *s = filled(seqs);
	struct bytes whole = take(s, cs_chunk_bundle(chunk_of(s, seqs[0], "dir/f00", false)));
	assert_int_equal(cs_bundle_header_unpack(whole.data, whole.len, &h), CS_OK);
	assert_true(h.flags & CS_BUNDLE_HEAD);

	whole.data[whole.len - 1] ^= 0x40; /* in the last chunk */
	put(s, &whole);
	const struct found *f = only(&s, "bundle-damaged", CS_VERIFY_DATA);
	assert_int_equal(f->points, 2);
	assert_int_equal(f->paths, 2);
	assert_non_null(strstr(f->first, ":dir/f14"));
	world_unchanged(s, seqs[1], "dir/f13");

	whole.data[CS_BUNDLE_HEADER_SIZE + h.table_len - 1] ^= 0x40; /* of the head */
	put(s, &whole);
	f = only(&s, "bundle-damaged", CS_VERIFY_DATA);
	assert_int_equal(f->points, 2);
	assert_int_equal(f->paths, 30);
	assert_int_equal(f->nsample, 10);
	assert_non_null(strstr(f->first, ":dir/f00"));
	verify_with(s, (struct cs_verify_opts){ .sample = 3 }, &r);
	assert_int_equal(found[0].nsample, 3);

	whole.data[CS_BUNDLE_HEADER_SIZE + h.table_len - 1] ^= 0x40;
	whole.data[whole.len - 1] ^= 0x40;
	whole.data[0] ^= 1; /* its checksum */
	put(s, &whole);
	assert_int_equal(only(&s, "bundle-damaged", CS_VERIFY_DATA)->paths, 0);
	world_unchanged(s, seqs[0], "dir/f00");
	free(whole.data);
	cs_store_close(s);
}

static void a_bundle_whose_header_is_damaged(void **state)
{
	uint64_t seqs[2];
	(void)state;
	struct cs_store *s = filled(seqs);
	struct bytes whole = take(s, cs_chunk_bundle(chunk_of(s, seqs[1], "other", false)));
	memset(whole.data, 'Q', 32);
	put(s, &whole);
	const struct found *f = only(&s, "bundle-damaged", CS_VERIFY_STRUCTURE);
	assert_int_equal(f->points, 1);
	assert_int_equal(f->paths, 1);
	free(whole.data);
	cs_store_close(s);
}

static void a_bundle_that_is_missing(void **state)
{
	uint64_t seqs[2];
	(void)state;
	struct cs_store *s = filled(seqs);
	struct bytes none = { cs_chunk_bundle(chunk_of(s, seqs[0], "dir/f00", false)), NULL, 0 };
	put(s, &none);
	const struct found *f = only(&s, "chunk-missing", CS_VERIFY_STRUCTURE);
	assert_int_equal(f->points, 2);
	assert_int_equal(f->paths, 30);
	cs_store_close(s);
}

static void other_bytes(struct cs_store *s, struct cs_bundle_item *items, uint32_t *n, void *arg)
{
	static uint8_t bytes[CS_CHUNK_MAX];
	(void)s;
	(void)n;
	(void)arg;
	memset(bytes, 'x', sizeof(bytes));
	items[3].data = bytes;
}

static void a_chunk_that_has_not_its_hash(void **state)
{
	uint64_t seqs[2];
	(void)state;
	struct cs_store *s = filled(seqs);
	change_bundle(s, cs_chunk_bundle(chunk_of(s, seqs[0], "dir/f00", false)), other_bytes, NULL);
	const struct found *f = only(&s, "chunk-damaged", CS_VERIFY_DATA);
	assert_int_equal(f->paths, 2); /* not what else is in the bundle */
	cs_store_close(s);
}

static void one_less(struct cs_store *s, struct cs_bundle_item *items, uint32_t *n, void *arg)
{
	(void)s;
	(void)items;
	(void)arg;
	--*n;
}

static void a_slot_that_is_not_there(void **state)
{
	uint64_t seqs[2];
	(void)state;
	struct cs_store *s = filled(seqs);
	change_bundle(s, cs_chunk_bundle(chunk_of(s, seqs[0], "dir/f00", false)), one_less, NULL);
	verify(s, CS_VERIFY_STRUCTURE);
	assert_non_null(find("reference-wrong"));
	assert_int_equal(find("reference-wrong")->paths, 2);
	assert_non_null(find("index-wrong")); /* the row of what was there */
	cs_store_close(s);
}

/* ---- the index, and the moved table */

static void rows_of_the_index(void **state)
{
	uint64_t seqs[2];
	struct cs_hash h = { { 1, 2, 3 } };
	(void)state;
	struct cs_store *s = filled(seqs);
	cs_chunk c = chunk_of(s, seqs[0], "dir/f00", false);
	struct cs_txn *t = begin(s);
	assert_int_equal(cs_index_add(t, &h, c, NULL), CS_OK);
	commit(t);
	assert_int_equal(only(&s, "index-wrong", CS_VERIFY_STRUCTURE)->points, 0);
	t = begin(s);
	assert_int_equal(cs_index_del(t, &h, c, NULL), CS_OK);
	/* one that leads nowhere is left by gc, and does no harm */
	assert_int_equal(cs_index_add(t, &h, cs_chunk_make(999999, 1), NULL), CS_OK);
	commit(t);
	assert_int_equal(verify(s, 0).findings, 0);
	struct cs_slot slot;
	t = begin(s);
	assert_int_equal(cs_chunk_info(t, c, &slot, NULL), CS_OK);
	assert_int_equal(cs_index_del(t, &slot.hash, c, NULL), CS_OK);
	commit(t);
	assert_int_equal(only(&s, "index-missing", CS_VERIFY_STRUCTURE)->points, 0);
	cs_store_close(s);
}

static void a_row_of_the_moved_table(void **state)
{
	uint64_t seqs[2], key = 77;
	(void)state;
	struct cs_store *s = filled(seqs);
	struct cs_txn *t = begin(s);
	assert_int_equal(cs_db_put(t, CS_T_MOVED, cs_u64_key(&key),
				   (struct cs_slice){ "0123456789abcdef", 16 }, NULL), CS_OK);
	commit(t);
	only(&s, "moved-damaged", CS_VERIFY_STRUCTURE);
	cs_store_close(s);
}

/* ---- trees */

/* A point's record, its root's entry changed by fn. */
typedef void entry_fn(struct cs_entry *e, struct cs_point_record *r, void *arg);

static size_t pack_entries(const struct cs_entry *e, size_t n, uint8_t *out, size_t cap)
{
	struct cs_pages_writer w;
	struct cs_buf b = { 0 };
	cs_pages_writer_init(&w, CS_PAGE_DIR, NULL, NULL);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(cs_tree_add(&w, &e[i], NULL), CS_OK);
	assert_true(cs_pages_take_single(&w, (uint32_t)cap, &b));
	assert_true(b.len <= cap);
	memcpy(out, b.data, b.len);
	size_t len = b.len;
	cs_buf_release(&b);
	cs_pages_writer_release(&w);
	return len;
}

static size_t pack_entry(const struct cs_entry *e, uint8_t *out, size_t cap)
{
	return pack_entries(e, 1, out, cap);
}

static void change_root(struct cs_store *s, uint64_t seq, entry_fn *fn, void *arg)
{
	struct cs_point_record r;
	struct cs_tree_page page;
	struct cs_entry e;
	struct cs_buf b = { 0 };
	uint8_t packed[4096];
	struct cs_txn *t = begin(s);
	assert_int_equal(cs_points_get(t, seq, &r, NULL), CS_OK);
	uint8_t *root = r.root;
	assert_int_equal(cs_tree_page_parse(r.root, r.root_len, true, &page), CS_OK);
	cs_tree_page_entry(&page, 0, &e);
	fn(&e, &r, arg);
	r.root_len = pack_entry(&e, packed, sizeof(packed));
	r.root = packed;
	cs_point_record_pack(&r, &b);
	assert_int_equal(cs_db_put(t, CS_T_POINTS, cs_u64_key(&seq),
				   (struct cs_slice){ b.data, b.len }, NULL), CS_OK);
	commit(t);
	r.root = root;
	cs_tree_page_release(&page);
	cs_point_record_release(&r);
	cs_buf_release(&b);
}

static void one_entry_more(struct cs_entry *e, struct cs_point_record *r, void *arg)
{
	(void)arg;
	e->below.entries++;
	r->totals.entries++;
}

static void a_directory_with_wrong_totals(void **state)
{
	uint64_t seqs[2];
	(void)state;
	struct cs_store *s = filled(seqs);
	change_root(s, seqs[1], one_entry_more, NULL);
	assert_int_equal(only(&s, "totals-wrong", CS_VERIFY_STRUCTURE)->points, 1);
	cs_store_close(s);
}

static void one_byte_more(struct cs_entry *e, struct cs_point_record *r, void *arg)
{
	(void)e;
	(void)arg;
	r->totals.bytes++;
}

static void a_point_with_wrong_totals(void **state)
{
	uint64_t seqs[2];
	(void)state;
	struct cs_store *s = filled(seqs);
	change_root(s, seqs[1], one_byte_more, NULL);
	assert_int_equal(only(&s, "totals-wrong", CS_VERIFY_STRUCTURE)->points, 1);
	cs_store_close(s);
}

static void another_owner(struct cs_entry *e, struct cs_point_record *r, void *arg)
{
	(void)r;
	(void)arg;
	e->uid ^= 1;
}

static void a_digest_that_does_not_follow(void **state)
{
	uint64_t seqs[2];
	(void)state;
	struct cs_store *s = filled(seqs);
	change_root(s, seqs[0], another_owner, NULL);
	assert_int_equal(only(&s, "digest-wrong", CS_VERIFY_DIGEST)->points, 1);
	cs_store_close(s);
}

static void set_children(struct cs_entry *e, struct cs_point_record *r, void *arg)
{
	(void)r;
	e->children.root = *(cs_chunk *)arg;
}

/* A chunk of its own, in a bundle that the index knows. */
static cs_chunk add_chunk(struct cs_store *s, int kind, uint64_t number, const void *data,
			  size_t len)
{
	struct cs_compressor *c = cs_compressor_new(3);
	struct cs_bundle_item it = { .data = data };
	uint8_t *out;
	size_t out_len;
	it.slot.len = (uint32_t)len;
	it.slot.hash = cs_store_hash(s, data, len);
	assert_int_equal(cs_bundle_encode(c, CS_FEATURES_INCOMPAT, number, kind, &it, 1, &out,
					  &out_len),
			 CS_OK);
	struct cs_txn *t = begin(s);
	assert_int_equal(cs_bundles_put(t, &(struct cs_bundle_stored){ number, out, out_len }, 1, NULL), CS_OK);
	assert_int_equal(cs_index_add(t, &it.slot.hash, cs_chunk_make(number, 0), NULL), CS_OK);
	commit(t);
	free(out);
	cs_compressor_free(c);
	return cs_chunk_make(number, 0);
}

static void a_directory_that_is_something_else(void **state)
{
	uint64_t seqs[2];
	(void)state;
	struct cs_store *s = filled(seqs);
	cs_chunk c = chunk_of(s, seqs[0], "dir/f00", false);
	change_root(s, seqs[1], set_children, &c);
	assert_int_equal(only(&s, "reference-wrong", CS_VERIFY_STRUCTURE)->points, 1);
	c = add_chunk(s, CS_BUNDLE_META, 5000, "no page", 7);
	change_root(s, seqs[1], set_children, &c);
	assert_int_equal(only(&s, "tree-damaged", CS_VERIFY_STRUCTURE)->points, 1);
	cs_store_close(s);
}

static void a_directory_in_itself(void **state)
{
	uint64_t seqs[2];
	uint8_t page[4096];
	struct cs_entry e = { .name = "again", .name_len = 5, .mode = S_IFDIR | 0755, .nlink = 2,
			      .children = { cs_chunk_make(6000, 0), 0 }, .children_count = 1,
			      .subdirs = 1, .below = { .entries = 1 } };
	(void)state;
	struct cs_store *s = filled(seqs);
	size_t len = pack_entry(&e, page, sizeof(page));
	cs_chunk c = add_chunk(s, CS_BUNDLE_META, 6000, page, len);
	change_root(s, seqs[1], set_children, &c);
	verify(s, CS_VERIFY_STRUCTURE);
	assert_non_null(find("tree-cycle"));
	assert_int_equal(find("tree-cycle")->points, 1);
	assert_non_null(find("totals-wrong")); /* which no cycle can be without */
	cs_store_close(s);
}

static void pieces_that_are_too_short(void **state)
{
	uint64_t seqs[2];
	uint8_t page[4096];
	(void)state;
	struct cs_store *s = filled(seqs);
	struct cs_entry e = { .name = "f", .name_len = 1, .mode = S_IFREG | 0644, .nlink = 1,
			      .size = 1000, .data_bytes = 1000, .content = CS_CONTENT_EXTENTS };
	struct cs_pages_writer w;
	struct cs_buf b = { 0 };
	cs_pages_writer_init(&w, CS_PAGE_EXTENT, NULL, NULL);
	assert_int_equal(cs_extent_add(&w, 999, 0, 1, NULL), CS_OK);
	assert_true(cs_pages_take_single(&w, 256, &b));
	e.bytes = b.data;
	e.bytes_len = (uint32_t)b.len;
	cs_chunk c = add_chunk(s, CS_BUNDLE_META, 7000, page, pack_entry(&e, page, sizeof(page)));
	change_root(s, seqs[1], set_children, &c);
	verify(s, CS_VERIFY_STRUCTURE);
	assert_non_null(find("content-damaged"));
	assert_non_null(strstr(find("content-damaged")->first, ":f"));
	cs_buf_release(&b);
	cs_pages_writer_release(&w);
	cs_store_close(s);
}

/* ---- whole contents */

/* The extents of a file, in order or the other way round, as one page. */
static struct cs_buf extents_of(struct cs_store *s, const struct cs_entry *e, bool reversed)
{
	struct cs_file_extents x = { 0 };
	const struct cs_extent *at;
	struct cs_extent all[512];
	struct cs_pages_writer w;
	struct cs_buf b = { 0 };
	size_t n = 0;
	for (uint64_t off = 0; off < e->size; off += at->len) {
		assert_int_equal(cs_file_extent(s, e, off, &x, &at, NULL), CS_OK);
		assert_true(n < 512);
		all[n++] = *at;
	}
	cs_file_extents_release(&x);
	cs_pages_writer_init(&w, CS_PAGE_EXTENT, NULL, NULL);
	for (size_t i = 0; i < n; i++) {
		at = &all[reversed ? n - 1 - i : i];
		assert_int_equal(cs_extent_add(&w, at->len, at->chunk, 1, NULL), CS_OK);
	}
	assert_true(cs_pages_take_single(&w, 1 << 20, &b));
	cs_pages_writer_release(&w);
	return b;
}

/* A point whose root has this file alone: what is said of its content. */
static const struct found *content_of(struct cs_store *s, uint64_t seq, struct cs_entry *e)
{
	static uint64_t number = 7000;
	uint8_t page[4096];
	e->name = "f";
	e->name_len = 1;
	cs_chunk c = add_chunk(s, CS_BUNDLE_META, number++, page, pack_entry(e, page, sizeof(page)));
	change_root(s, seq, set_children, &c);
	assert_int_equal(verify(s, CS_VERIFY_DATA).files_left, 0);
	assert_null(find("content-damaged"));
	assert_int_equal(verify(s, CS_VERIFY_DIGEST).files_left, 0);
	const struct found *f = find("content-damaged");
	assert_true(!f || strstr(f->first, ":f"));
	return f;
}

static void pieces_that_do_not_make_the_content(void **state)
{
	static const struct {
		const char *name;
		size_t len, hole;
	} files[] = { { "tree/large", 400000, 0 }, { "tree/paged", 9000000, 0 },
		      { "tree/sparse", 400000, 3000000 } };
	uint64_t seqs[2];
	(void)state;
	struct cs_store *s = filled(seqs);
	for (size_t i = 0; i < 3; i++) {
		struct cs_tree *t;
		struct cs_node n;
		world_random(files[i].name, 50 + i, files[i].len);
		if (files[i].hole)
			assert_int_equal(truncate(world_path(files[i].name),
						  (off_t)(files[i].len + files[i].hole)), 0);
		uint64_t seq = world_back_up(s, "t");
		assert_int_equal(verify(s, 0).findings, 0);
		assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
		assert_int_equal(cs_tree_lookup(t, files[i].name + 5, &n, NULL), CS_OK);
		struct cs_entry e = n.entry;
		assert_int_equal(e.content, i == 1 ? CS_CONTENT_PAGES : CS_CONTENT_EXTENTS);
		assert_null(content_of(s, seq, &e));
		e.hash.b[7] ^= 1;
		assert_non_null(content_of(s, seq, &e));
		e.hash.b[7] ^= 1;
		struct cs_buf b = extents_of(s, &e, true);
		if (i == 1) {
			e.extents = (struct cs_pages){ add_chunk(s, CS_BUNDLE_META, 8000, b.data, b.len), 0 };
		} else {
			e.bytes = b.data;
			e.bytes_len = (uint32_t)b.len;
		}
		assert_non_null(content_of(s, seq, &e));
		assert_non_null(strstr(find("content-damaged")->text, "do not make the content"));
		cs_buf_release(&b);
		cs_node_release(&n);
		cs_tree_close(t);
		world_purge(s, seq);
	}
	cs_store_close(s);
}

/* Pieces in bundles that lie before those of other pieces; moved ones; deltas: all are right. */
static void pieces_that_lie_anywhere(void **state)
{
	static uint8_t data[6 << 20];
	struct rng g = { 9 };
	struct cs_verify_result r;
	(void)state;
	struct cs_store *s = world_open();
	rng_bytes(&g, data, sizeof(data));
	world_write("tree/f", data, sizeof(data));
	world_random("tree/goes", 3, 2 << 20);
	uint64_t first = world_back_up(s, "t");
	assert_int_equal(unlink(world_path("tree/goes")), 0);
	for (int i = 0; i < 5; i++) {
		for (size_t at = (size_t)i << 18; at < sizeof(data); at += 1 << 20)
			rng_bytes(&g, data + at, i % 2 ? 10 : 200000);
		world_write("tree/f", data, sizeof(data));
		world_back_up(s, "t");
	}
	memmove(data, data + (3 << 20), 3 << 20);
	world_write("tree/g", data, sizeof(data));
	world_back_up(s, "t");
	assert_int_equal(verify(s, 0).files_left + nfound, 0);
	world_purge(s, first);
	world_gc(s);
	cs_store_close(s);
	s = world_open();
	assert_int_equal(verify(s, 0).files_left + nfound, 0);
	for (unsigned k = 1; k <= 3; k++) {
		assert_int_equal(verify_with(s, (struct cs_verify_opts){ .part = k, .parts = 3 }, &r),
				 CS_OK);
		assert_int_equal(r.files_left, 0);
	}
	cs_store_close(s);
}

/* Four of them, of which three have changes here and there, large and small. */
static struct cs_store *disk_image(uint64_t *last)
{
	static uint8_t data[80 << 20];
	enum { VERSIONS = 4 };
	struct rng g = { 11 };
	struct cs_store *s = world_open();
	rng_bytes(&g, data, sizeof(data));
	for (size_t i = 0; i < VERSIONS; i++) {
		for (size_t at = i << 19; i && at + (1 << 18) < sizeof(data); at += 3 << 20)
			rng_bytes(&g, data + at, (at >> 20) % 2 ? 10 : 200000);
		world_write("tree/disk", data, sizeof(data));
		*last = world_back_up(s, "t");
	}
	world_reopen(&s);
	return s;
}

static struct cs_entry disk_of(struct cs_store *s, uint64_t seq, struct cs_tree **t,
			       struct cs_node *n)
{
	assert_int_equal(cs_tree_open(s, seq, t, NULL), CS_OK);
	assert_int_equal(cs_tree_lookup(*t, "disk", n, NULL), CS_OK);
	return n->entry;
}

/* What versions of a large file have in common is decoded once for all of them. */
static void versions_of_a_disk_image(void **state)
{
	struct cs_tree *t;
	struct cs_node n;
	uint64_t seq;
	(void)state;
	struct cs_store *s = disk_image(&seq);
	struct cs_verify_result r = verify(s, 0), data;
	print_message("%llu bytes, %llu decoded\n", (unsigned long long)r.raw_bytes,
		      (unsigned long long)s->decoded);
	assert_int_equal(r.findings + r.files_left, 0);
	assert_true(s->decoded >= r.raw_bytes && 3 * s->decoded < 4 * r.raw_bytes);
	data = verify(s, CS_VERIFY_DATA);
	assert_int_equal(data.bundles, r.bundles);
	assert_int_equal(data.chunks, r.chunks);
	assert_int_equal(data.raw_bytes, r.raw_bytes);
	struct cs_entry e = disk_of(s, seq, &t, &n);
	assert_null(content_of(s, seq, &e));
	e.hash.b[7] ^= 1;
	assert_non_null(content_of(s, seq, &e));
	cs_node_release(&n);
	cs_tree_close(t);
	cs_store_close(s);
}

/* It is told of once, be it met with the file or in its turn. */
static void damage_in_versions_of_a_disk_image(void **state)
{
	struct cs_file_extents x = { 0 };
	const struct cs_extent *at;
	struct cs_tree *t;
	struct cs_node n;
	uint64_t seq, parts = 0;
	(void)state;
	struct cs_store *s = disk_image(&seq);
	struct cs_entry e = disk_of(s, seq, &t, &n);
	assert_int_equal(cs_file_extent(s, &e, 40 << 20, &x, &at, NULL), CS_OK);
	cs_chunk chunk = at->chunk;
	cs_file_extents_release(&x);
	cs_node_release(&n);
	cs_tree_close(t);
	struct bytes whole = take(s, cs_chunk_bundle(chunk));

	change_bundle(s, whole.number, other_bytes, NULL);
	assert_int_equal(only(&s, "chunk-damaged", CS_VERIFY_DATA)->paths, 2);
	whole.data[whole.len - 1] ^= 1;
	put(s, &whole);
	assert_int_equal(only(&s, "bundle-damaged", CS_VERIFY_DATA)->paths, 2);
	for (unsigned k = 1; k <= 3; k++) {
		struct cs_verify_result r;
		verify_with(s, (struct cs_verify_opts){ .part = k, .parts = 3, .no_record = true },
			    &r);
		parts += find("bundle-damaged") != NULL;
		assert_true(r.findings == (find("bundle-damaged") != NULL));
	}
	assert_true(parts >= 1);
	whole.data[whole.len - 1] ^= 1;
	put(s, &whole);
	struct cs_slot slot;
	struct cs_txn *w = begin(s);
	assert_int_equal(cs_chunk_info(w, chunk, &slot, NULL), CS_OK);
	assert_int_equal(cs_index_del(w, &slot.hash, chunk, NULL), CS_OK);
	commit(w);
	only(&s, "index-missing", CS_VERIFY_STRUCTURE);
	free(whole.data);
	cs_store_close(s);
}

/* In one of the parts, whichever point is in it. */
static void a_wrong_content_is_found_in_one_part(void **state)
{
	uint64_t seqs[2];
	unsigned seen = 0;
	struct cs_tree *t;
	struct cs_node n;
	struct cs_verify_result r;
	(void)state;
	struct cs_store *s = filled(seqs);
	world_random("tree/large", 5, 400000);
	uint64_t seq = world_back_up(s, "t");
	assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
	assert_int_equal(cs_tree_lookup(t, "large", &n, NULL), CS_OK);
	struct cs_entry e = n.entry;
	e.hash.b[0] ^= 1;
	assert_non_null(content_of(s, seq, &e));
	cs_node_release(&n);
	cs_tree_close(t);
	for (unsigned k = 1; k <= 16; k++) {
		verify_with(s, (struct cs_verify_opts){ .part = k, .parts = 16, .no_record = true }, &r);
		seen += find("content-damaged") != NULL;
	}
	assert_true(seen >= 1);
	cs_store_close(s);
}

/* ---- without end */

static void index_row(struct cs_buf *b, const char *key, cs_chunk page, uint64_t base,
		      uint64_t below, uint64_t weight)
{
	cs_buf_str(b, key, strlen(key));
	cs_ref_pack(b, page, base);
	cs_buf_var(b, below);
	cs_buf_var(b, weight);
}

/* An index page with the same page n times over. */
static cs_chunk same_again(struct cs_store *s, uint64_t number, cs_chunk page, unsigned n,
			   uint64_t below, uint64_t weight)
{
	struct cs_buf b = { 0 };
	uint64_t base = cs_chunk_bundle(page);
	cs_buf_u8(&b, CS_PAGE_INDEX);
	cs_buf_var(&b, n);
	cs_buf_svar(&b, (int64_t)base);
	for (unsigned i = 0; i < n; i++)
		index_row(&b, "", page, base, below, weight);
	assert_false(b.failed);
	cs_chunk c = add_chunk(s, CS_BUNDLE_META, number, b.data, b.len);
	cs_buf_release(&b);
	return c;
}

#define WIDE 200
#define TALL 7

/* As many levels of it; *below and *weight become the sums, as far as they may grow. */
static cs_chunk tower(struct cs_store *s, uint64_t number, cs_chunk page, uint64_t below,
		      uint64_t weight)
{
	for (unsigned i = 0; i < TALL; i++) {
		page = same_again(s, number + i, page, WIDE, below, weight);
		below = below < UINT64_C(1) << 32 ? below * WIDE : below;
		weight = weight < UINT64_C(1) << 46 ? weight * WIDE : weight;
	}
	return page;
}

/* One, and versions of one. */
static void a_file_that_has_no_end(void **state)
{
	static const char *const names[] = { "f", "g", "h" };
	uint64_t seqs[2];
	uint8_t page[4096];
	(void)state;
	struct cs_store *s = filled(seqs);
	cs_chunk data = chunk_of(s, seqs[0], "dir/f00", false);
	for (unsigned i = 0; i < 3; i++) {
		bool hole = i == 1;
		size_t versions = i == 2 ? 3 : 1;
		struct cs_entry list[3], e = { .name = "f", .name_len = 1, .mode = S_IFREG | 0644, .nlink = 1,
				      .size = INT64_MAX / 2, .data_bytes = hole ? 0 : INT64_MAX / 2,
				      .content = CS_CONTENT_PAGES };
		struct cs_pages_writer w;
		struct cs_buf b = { 0 };
		uint64_t at = 20000 + 100 * (uint64_t)i;
		cs_pages_writer_init(&w, CS_PAGE_EXTENT, NULL, NULL);
		assert_int_equal(cs_extent_add(&w, 1000, hole ? 0 : data, 1, NULL), CS_OK);
		assert_true(cs_pages_take_single(&w, 256, &b));
		cs_chunk leaf = add_chunk(s, CS_BUNDLE_META, at, b.data, b.len);
		e.extents = (struct cs_pages){ tower(s, at + 1, leaf, 1, 1000), TALL };
		for (size_t k = 0; k < versions; k++) {
			e.name = names[k];
			e.hash.b[0] = (uint8_t)k;
			list[k] = e;
		}
		cs_chunk c = add_chunk(s, CS_BUNDLE_META, at + 50, page,
				       pack_entries(list, versions, page, sizeof(page)));
		change_root(s, seqs[1], set_children, &c);
		struct cs_verify_result r = verify(s, CS_VERIFY_DIGEST);
		assert_non_null(find("totals-wrong")); /* of pages: sums that cannot be */
		assert_true(r.entries < 1000 && r.files_left == versions);
		if (i == 0)
			verify_with(s, (struct cs_verify_opts){ .older_than = 1, .no_record = true },
				    &r);
		/* reading asks for a bounded range, and gets it or an error */
		struct cs_tree *t;
		struct cs_node n;
		struct cs_read got = { 0 };
		assert_int_equal(cs_tree_open(s, seqs[1], &t, NULL), CS_OK);
		assert_int_equal(cs_tree_lookup(t, "f", &n, NULL), CS_OK);
		(void)!cs_file_read(t, &n, 1 << 20, 1 << 20, &got, NULL);
		cs_read_release(&got);
		cs_node_release(&n);
		cs_tree_close(t);
		cs_buf_release(&b);
		cs_pages_writer_release(&w);
	}
	cs_store_close(s);
}

static cs_chunk endless;
static void set_endless(struct cs_entry *e, struct cs_point_record *r, void *arg)
{
	(void)r;
	(void)arg;
	e->children = (struct cs_pages){ endless, TALL };
	e->children_count = e->below.entries = UINT64_C(1) << 40;
}

static void set_links(struct cs_entry *e, struct cs_point_record *r, void *arg)
{
	(void)e;
	(void)arg;
	r->links = (struct cs_pages){ endless, TALL };
}

static void a_directory_that_has_no_end(void **state)
{
	uint64_t seqs[2];
	(void)state;
	struct cs_store *s = filled(seqs);
	cs_chunk leaf = chunk_of(s, seqs[0], "dir", true);
	endless = tower(s, 30000, leaf, 15, 0);
	change_root(s, seqs[0], set_endless, NULL);
	struct cs_verify_result r = verify(s, CS_VERIFY_DIGEST);
	assert_non_null(find("tree-damaged"));
	assert_true(r.entries < 10000);
	/* who lists it is told, too */
	struct cs_tree *t;
	struct cs_node root;
	struct cs_dir *d;
	const struct cs_node *n;
	int rc, names = 0;
	assert_int_equal(cs_tree_open(s, seqs[0], &t, NULL), CS_OK);
	assert_int_equal(cs_tree_root(t, &root, NULL), CS_OK);
	assert_int_equal(cs_dir_open(t, &root, 0, &d, NULL), CS_OK);
	while ((rc = cs_dir_next(d, &n, NULL)) == 1)
		assert_true(names++ < 1000);
	assert_int_equal(rc, CS_E_CORRUPT);
	cs_dir_close(d);
	cs_tree_close(t);
	/* pages that are not there, again and again */
	endless = tower(s, 31000, cs_chunk_make(39999, 0), 1, 0);
	change_root(s, seqs[0], set_endless, NULL);
	assert_true(verify(s, CS_VERIFY_DIGEST).entries < 10000);
	assert_non_null(find("chunk-missing"));
	/* a table of hard links */
	struct cs_pages_writer w;
	struct cs_buf b = { 0 };
	cs_pages_writer_init(&w, CS_PAGE_LINK, NULL, NULL);
	assert_int_equal(cs_link_add(&w, &(struct cs_link){ 0, 7, 7, 1 }, NULL), CS_OK);
	assert_true(cs_pages_take_single(&w, 256, &b));
	leaf = add_chunk(s, CS_BUNDLE_META, 32000, b.data, b.len);
	endless = tower(s, 32001, leaf, 1, 0);
	change_root(s, seqs[1], set_links, NULL);
	verify(s, CS_VERIFY_DIGEST);
	assert_non_null(find("tree-damaged"));
	cs_buf_release(&b);
	cs_pages_writer_release(&w);
	cs_store_close(s);
}

/* Subdirectories that say something else of one directory, each. */
static void a_directory_of_which_much_is_said(void **state)
{
	uint64_t seqs[2];
	static uint8_t page[60000];
	struct cs_pages_writer w;
	struct cs_buf b = { 0 };
	char name[16];
	(void)state;
	struct cs_store *s = filled(seqs);
	cs_chunk leaf = chunk_of(s, seqs[0], "dir", true);
	cs_pages_writer_init(&w, CS_PAGE_DIR, NULL, NULL);
	for (unsigned i = 0; i < 150; i++) {
		struct cs_entry e = { .name = name, .mode = S_IFDIR | 0755, .nlink = 2,
				      .children = { leaf, 0 }, .children_count = 15,
				      .below = { .entries = 15, .bytes = i } };
		e.name_len = (uint32_t)snprintf(name, sizeof(name), "%04u", i);
		assert_int_equal(cs_tree_add(&w, &e, NULL), CS_OK);
	}
	assert_true(cs_pages_take_single(&w, sizeof(page), &b));
	cs_chunk c = add_chunk(s, CS_BUNDLE_META, 33000, b.data, b.len);
	change_root(s, seqs[1], set_children, &c);
	struct cs_verify_result r = verify(s, CS_VERIFY_DIGEST);
	assert_non_null(find("totals-wrong"));
	assert_true(r.entries < 20000);
	cs_buf_release(&b);
	cs_pages_writer_release(&w);
	cs_store_close(s);
}

/* arg: where to put the page that was made, which the caller frees. */
static void other_sums(struct cs_store *s, struct cs_bundle_item *items, uint32_t *n, void *arg)
{
	uint8_t **made = arg;

	for (uint32_t i = 0; i < *n; i++) {
		struct cs_index_row *rows;
		size_t count;
		if (items[i].data[0] != CS_PAGE_INDEX ||
		    cs_index_rows_unpack(items[i].data, items[i].slot.len, &rows, &count) != CS_OK)
			continue;
		/* the last byte is the weight of the last row: entries below its page */
		uint8_t *copy = malloc(items[i].slot.len);
		memcpy(copy, items[i].data, items[i].slot.len);
		assert_int_equal(copy[items[i].slot.len - 1], 0);
		copy[items[i].slot.len - 1] = 1;
		assert_null(*made);
		items[i].data = *made = copy;
		items[i].slot.hash = cs_store_hash(s, copy, items[i].slot.len);
		free(rows);
	}
}

static void sums_of_an_index_page(void **state)
{
	uint8_t *page = NULL;
	char name[200];
	(void)state;
	for (int i = 0; i < 3000; i++) {
		snprintf(name, sizeof(name), "tree/a-file-with-a-name-that-is-long-enough-%05d", i);
		world_write(name, name, 30);
	}
	struct cs_store *s = world_open();
	uint64_t seq = world_back_up(s, "t");
	cs_chunk root = chunk_of(s, seq, "", true);
	change_bundle(s, cs_chunk_bundle(root), other_sums, &page);
	free(page);
	cs_store_close(s);
	s = world_open();
	verify(s, CS_VERIFY_STRUCTURE);
	assert_non_null(find("totals-wrong"));
	assert_int_equal(find("totals-wrong")->points, 1);
	cs_store_close(s);
}

/* ---- names */

static void names_that_lead_nowhere(void **state)
{
	uint64_t seqs[2];
	struct cs_series_record r;
	struct cs_point_record p;
	struct cs_buf b = { 0 };
	(void)state;
	struct cs_store *s = filled(seqs);
	struct cs_txn *t = begin(s);
	assert_int_equal(cs_series_find(t, "t", &r, NULL), 1);
	r.points = 5;
	cs_series_record_pack(&r, &b);
	assert_int_equal(cs_db_put(t, CS_T_SERIES, (struct cs_slice){ "t", 1 },
				   (struct cs_slice){ b.data, b.len }, NULL), CS_OK);
	commit(t);
	assert_int_equal(only(&s, "catalog-damaged", CS_VERIFY_STRUCTURE)->points, 0);
	t = begin(s);
	assert_int_equal(cs_points_get(t, seqs[0], &p, NULL), CS_OK);
	uint8_t key[64] = { 0, 0, 0, (uint8_t)p.series_id };
	memcpy(key + 4, p.name, strlen(p.name));
	assert_int_equal(cs_db_del(t, CS_T_CATALOG, (struct cs_slice){ key, 4 + strlen(p.name) },
				   NULL, NULL), CS_OK);
	commit(t);
	verify(s, CS_VERIFY_STRUCTURE);
	assert_int_equal(find("name-lost")->points, 1);
	cs_point_record_release(&p);
	cs_buf_release(&b);
	cs_store_close(s);
}

/* ---- what is written down */

static struct cs_point point(struct cs_store *s, uint64_t seq)
{
	struct cs_point p;
	assert_int_equal(cs_point_by_seq(s, seq, &p, NULL), CS_OK);
	assert_int_equal(cs_point_verified(s, &p, NULL), CS_OK);
	return p;
}

static void a_mark_goes_when_the_damage_does(void **state)
{
	uint64_t seqs[2];
	struct cs_verify_result r;
	(void)state;
	struct cs_store *s = filled(seqs);
	assert_true(point(s, seqs[0]).verified[CS_VERIFY_DIGEST - 1] > 0);
	struct bytes whole = take(s, cs_chunk_bundle(chunk_of(s, seqs[1], "other", false)));
	whole.data[whole.len - 1] ^= 0x40;
	put(s, &whole);
	cs_store_close(s);
	s = world_open();
	assert_int_equal(verify(s, CS_VERIFY_DATA).damaged_points, 1);
	assert_false(point(s, seqs[0]).damaged);
	assert_true(point(s, seqs[1]).damaged);
	/* what sees less says nothing against it */
	assert_int_equal(verify(s, CS_VERIFY_STRUCTURE).findings, 0);
	assert_true(point(s, seqs[1]).damaged);
	/* nor is it passed over because it was verified lately, or is in another part */
	for (unsigned part = 1; part <= 3; part++) {
		verify_with(s, (struct cs_verify_opts){ .older_than = 3600, .part = part,
							.parts = 3 }, &r);
		assert_int_equal(r.damaged_points, 1);
	}
	whole.data[whole.len - 1] ^= 0x40;
	put(s, &whole);
	cs_store_close(s);
	s = world_open();
	assert_int_equal(verify_with(s, (struct cs_verify_opts){ .older_than = 3600 }, &r), CS_OK);
	assert_int_equal(r.points, 1);
	assert_false(point(s, seqs[1]).damaged);
	verify_with(s, (struct cs_verify_opts){ .older_than = 3600 }, &r);
	assert_int_equal(r.points + r.bundles, 0);
	free(whole.data);
	cs_store_close(s);
}

static void what_is_old_is_due(void **state)
{
	uint64_t seqs[2];
	struct cs_verify_result r;
	struct cs_checked_row row;
	(void)state;
	struct cs_store *s = filled(seqs);
	struct cs_txn *t = begin(s);
	uint64_t keys[2] = { cs_checked_point(seqs[0]),
			     cs_checked_range(cs_chunk_bundle(chunk_of(s, seqs[0], "dir/f00", false))) };
	for (int i = 0; i < 2; i++) {
		assert_int_equal(cs_checked_get(t, keys[i], &row, NULL), CS_OK);
		assert_true(row.at[2] > 0);
		row.at[1] -= 40 * 86400;
		row.at[2] -= 40 * 86400;
		assert_int_equal(cs_checked_put(t, keys[i], &row, NULL), CS_OK);
	}
	commit(t);
	struct cs_verify_opts o = { .older_than = 30 * 86400, .level = CS_VERIFY_STRUCTURE };
	verify_with(s, o, &r);
	assert_int_equal(r.points + r.bundles, 0);
	o.level = CS_VERIFY_DIGEST;
	verify_with(s, o, &r);
	assert_int_equal(r.points, 1);
	assert_true(r.bundles > 0);
	cs_store_close(s);
}

static void parts_are_everything_once(void **state)
{
	uint64_t points = 0, bundles = 0;
	struct cs_verify_result r;
	(void)state;
	struct cs_store *s = world_open();
	for (uint64_t i = 0; i < 12; i++) {
		world_random("tree/f", i, 3000);
		world_back_up(s, "t");
	}
	struct cs_verify_result all = verify(s, 0);
	for (unsigned part = 1; part <= 4; part++) {
		verify_with(s, (struct cs_verify_opts){ .part = part, .parts = 4 }, &r);
		assert_true(r.points < all.points);
		points += r.points;
		bundles += r.bundles;
	}
	assert_int_equal(points, all.points);
	assert_int_equal(bundles, all.bundles);
	assert_int_equal(cs_verify(s, &(struct cs_verify_opts){ .part = 5, .parts = 4 }, &r, NULL),
			 CS_E_USAGE);
	cs_store_close(s);
}

static int stop_at_the_points(void *arg, const struct cs_progress *p)
{
	(void)arg;
	return p->path != NULL;
}

static void who_is_interrupted_keeps_what_is_written_down(void **state)
{
	struct cs_store_stats st;
	struct cs_verify_result r;
	(void)state;
	world_random("tree/f", 1, 3000);
	struct cs_store *s = world_open();
	uint64_t seq = world_back_up(s, "t");
	assert_int_equal(cs_store_stats(s, &st, NULL), CS_OK);
	assert_true(st.ranges == 1 && st.ranges_never == 1 && st.verified == 0);
	assert_int_equal(verify_with(s, (struct cs_verify_opts){ .progress = stop_at_the_points },
				     &r), CS_E_INTERRUPTED);
	assert_true(r.recorded && point(s, seq).verified[0] == 0);
	assert_int_equal(cs_store_stats(s, &st, NULL), CS_OK);
	assert_true(st.ranges == 1 && st.ranges_never == 0 && st.verified > 0);
	verify_with(s, (struct cs_verify_opts){ .older_than = 3600 }, &r);
	assert_true(r.bundles == 0 && r.points == 1);
	cs_store_close(s);
}

struct half {
	uint64_t bundles;
};

static int stop_behind_half(void *arg, const struct cs_progress *p)
{
	const struct half *h = arg;
	return p->entries > h->bundles * 6 / 10;
}

/* Of two disk images the first is done, and not looked at once more. */
static void who_is_interrupted_in_large_files_keeps_those_that_were_done(void **state)
{
	static uint8_t data[70 << 20];
	struct cs_store_stats st;
	struct cs_verify_result r;
	struct rng g = { 5 };
	(void)state;
	struct cs_store *s = world_open();
	for (int i = 0; i < 4; i++) {
		if (i % 2 == 0)
			rng_bytes(&g, data, sizeof(data));
		rng_bytes(&g, data + (30 << 20), 1 << 20);
		world_write(i < 2 ? "tree/disk" : "tree/other", data, sizeof(data));
		world_back_up(s, "t");
	}
	world_reopen(&s);
	assert_int_equal(cs_store_stats(s, &st, NULL), CS_OK);
	struct half h = { st.bundles };
	uint64_t all = st.ranges;
	assert_int_equal(verify_with(s, (struct cs_verify_opts){ .progress = stop_behind_half,
								 .arg = &h, .threads = 1 }, &r),
			 CS_E_INTERRUPTED);
	assert_int_equal(cs_store_stats(s, &st, NULL), CS_OK);
	print_message("%llu of %llu ranges are left\n", (unsigned long long)st.ranges_never,
		      (unsigned long long)all);
	assert_true(st.ranges_never < all);
	verify_with(s, (struct cs_verify_opts){ .older_than = 3600 }, &r);
	assert_int_equal(r.findings + r.files_left, 0);
	assert_true(r.bundles < h.bundles);
	assert_int_equal(cs_store_stats(s, &st, NULL), CS_OK);
	assert_int_equal(st.ranges_never, 0);
	cs_store_close(s);
}

static void who_cannot_write_verifies(void **state)
{
	uint64_t seqs[2];
	int ready[2], status;
	char c;
	struct cs_verify_result r;
	(void)state;
	cs_store_close(filled(seqs));
	struct cs_store *s;
	assert_int_equal(cs_store_open(world_path("store"), NULL, &s, NULL), CS_OK);
	assert_int_equal(verify_with(s, (struct cs_verify_opts){ 0 }, &r), CS_OK);
	assert_true(!r.recorded && r.points == 2);
	cs_store_close(s);

	assert_int_equal(pipe(ready), 0);
	pid_t pid = fork(); /* writes all the time */
	if (pid == 0) {
		s = world_open();
		begin(s);
		_exit(write(ready[1], "x", 1) == 1 && pause());
	}
	assert_int_equal(read(ready[0], &c, 1), 1);
	s = world_open();
	assert_int_equal(verify_with(s, (struct cs_verify_opts){ 0 }, &r), CS_OK);
	assert_true(!r.recorded && r.points == 2);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(verify_with(s, (struct cs_verify_opts){ .no_record = true }, &r), CS_OK);
	assert_false(r.recorded);
	assert_int_equal(verify_with(s, (struct cs_verify_opts){ 0 }, &r), CS_OK);
	assert_true(r.recorded);
	cs_store_close(s);
}

static void a_point_that_is_gone_leaves_no_row(void **state)
{
	uint64_t seqs[2];
	struct cs_checked_row row;
	(void)state;
	struct cs_store *s = filled(seqs);
	world_purge(s, seqs[0]);
	world_gc(s);
	struct cs_txn *t = begin(s);
	assert_int_equal(cs_checked_get(t, cs_checked_point(seqs[0]), &row, NULL), CS_OK);
	assert_true(row.at[0] == 0);
	assert_int_equal(cs_checked_get(t, cs_checked_point(seqs[1]), &row, NULL), CS_OK);
	assert_true(row.at[0] > 0);
	cs_txn_end(t);
	cs_store_close(s);
}

/* ---- healing */

/* Every bundle of a kind below `end`, its last byte changed. */
static void spoil_all(struct cs_store *s, int kind, uint64_t end)
{
	struct cs_txn *t;
	struct cs_slice v;
	uint64_t number, from = 0;
	for (;;) {
		struct cs_bundle_header h;
		assert_int_equal(cs_txn_read(s->db, &t, NULL), CS_OK);
		int rc = cs_bundles_next(t, from, &number, &v, NULL);
		bool is = rc == 1 && number < end &&
			  cs_bundle_header_unpack(v.data, v.len, &h) == CS_OK && h.kind == kind;
		cs_txn_end(t);
		if (rc != 1)
			return;
		from = number + 1;
		if (!is)
			continue;
		struct bytes b = take(s, number);
		b.data[b.len - 1] ^= 0x20;
		put(s, &b);
		free(b.data);
	}
}

static uint64_t back_up(struct cs_store *s, bool heal, struct cs_backup_result *r)
{
	struct cs_backup_opts o = { .series = "t", .root = world_path("tree"), .heal = heal };
	assert_int_equal(cs_backup(s, &o, r, NULL), CS_OK);
	return r->point.seq;
}

static void a_backup_heals(int kind)
{
	uint64_t seqs[2];
	struct cs_backup_result r;
	struct cs_store *s = filled(seqs);
	spoil_all(s, kind, UINT64_MAX);
	world_reopen(&s);
	assert_int_equal(verify(s, 0).damaged_points, 2);
	world_reopen(&s);
	back_up(s, true, &r);
	assert_true(r.chunks_healed > 0);
	world_reopen(&s);
	/* the damaged bundles are still there, and nothing suffers from them */
	assert_int_equal(verify(s, 0).damaged_points, 0);
	for (size_t i = 0; i < nfound; i++)
		assert_string_equal(found[i].id, "bundle-damaged");
	assert_false(point(s, seqs[0]).damaged);
	world_unchanged(s, seqs[0], "dir/f03");
	world_unchanged(s, seqs[1], "other");
	world_gc(s);
	world_reopen(&s);
	assert_int_equal(verify(s, 0).findings, 0);
	world_unchanged(s, seqs[0], "dir/f03");
	world_unchanged(s, seqs[1], "other");
	world_gc(s);
	assert_int_equal(verify(s, 0).findings, 0);
	cs_store_close(s);
}

static void a_backup_heals_data(void **state)
{
	(void)state;
	a_backup_heals(CS_BUNDLE_DATA);
}

/*
 * The first point's root is another page than the tree has now, which heals the second
 * one's: a page is met again if what it refers to goes by its old number.
 */
static void a_backup_heals_pages(void **state)
{
	uint64_t seqs[2];
	struct cs_backup_result r;
	(void)state;
	struct cs_store *s = filled(seqs);
	spoil_all(s, CS_BUNDLE_META, UINT64_MAX);
	world_reopen(&s);
	assert_int_equal(verify(s, 0).damaged_points, 2);
	world_reopen(&s);
	back_up(s, true, &r);
	assert_true(r.chunks_healed > 0);
	world_reopen(&s);
	verify(s, 0);
	assert_false(point(s, seqs[1]).damaged);
	world_unchanged(s, seqs[1], "dir/f03");
	cs_store_close(s);
}

static void what_is_met_elsewhere_heals_without_being_stored_again(void **state)
{
	uint64_t seqs[2];
	struct cs_backup_result r;
	(void)state;
	struct cs_store *s = filled(seqs);
	spoil_all(s, CS_BUNDLE_DATA, UINT64_MAX);
	world_reopen(&s);
	uint64_t third = world_back_up(s, "t"); /* all files read: stored again, and for itself only */
	world_reopen(&s);
	assert_int_equal(verify(s, 0).damaged_points, 2);
	back_up(s, true, &r);
	assert_true(r.chunks_healed > 0 && r.point.added_raw < 3000);
	world_reopen(&s);
	assert_int_equal(verify(s, 0).damaged_points, 0);
	world_unchanged(s, seqs[0], "dir/f00");
	/* what it was healed with is needed by those that refer to the old number */
	world_purge(s, third);
	world_purge(s, r.point.seq);
	world_gc(s);
	world_reopen(&s);
	assert_int_equal(verify(s, 0).findings, 0);
	world_unchanged(s, seqs[0], "dir/f00");
	world_unchanged(s, seqs[1], "other");
	cs_store_close(s);
}

/* A chunk that can be had makes its deltas, whatever else is damaged of its bundle. */
static void a_delta_on_what_is_sound_of_a_damaged_bundle(void **state)
{
	static uint8_t data[100000];
	struct rng g = { 5 };
	(void)state;
	rng_bytes(&g, data, sizeof(data));
	world_write("tree/f", data, sizeof(data));
	world_random("tree/z", 6, 2000);
	struct cs_store *s = world_open();
	world_back_up(s, "t");
	data[500] ^= 1;
	world_write("tree/f", data, sizeof(data));
	uint64_t second = world_back_up(s, "t");
	cs_chunk f = chunk_of(s, second, "f", false), base = 0;
	assert_int_equal(cs_reader_base(s, f, &base, NULL), CS_OK);
	assert_true(base && cs_chunk_bundle(base) < cs_chunk_bundle(f));
	spoil_all(s, CS_BUNDLE_DATA, cs_chunk_bundle(f));
	world_reopen(&s);
	assert_int_equal(verify(s, 0).damaged_points, 2);
	assert_true(nfound == 1 && found[0].paths == 2);
	assert_non_null(strstr(found[0].first, ":z"));
	world_reopen(&s);
	world_unchanged(s, second, "f");
	cs_store_close(s);
}

static void deltas_on_what_is_damaged_are_healed(void **state)
{
	static uint8_t data[100000];
	struct rng g = { 5 };
	struct cs_backup_result r;
	(void)state;
	rng_bytes(&g, data, sizeof(data));
	world_write("tree/f", data, sizeof(data));
	struct cs_store *s = world_open();
	world_back_up(s, "t");
	data[500] ^= 1;
	world_write("tree/f", data, sizeof(data));
	uint64_t second = world_back_up(s, "t");
	uint64_t base = cs_chunk_bundle(chunk_of(s, second, "f", false));
	spoil_all(s, CS_BUNDLE_DATA, base); /* the delta's bundle is sound, its base is not */
	world_reopen(&s);
	assert_int_equal(verify(s, 0).damaged_points, 2);
	world_reopen(&s);
	uint64_t third = back_up(s, true, &r);
	assert_int_equal(r.chunks_healed, 1);
	world_reopen(&s);
	verify(s, 0);
	assert_false(point(s, second).damaged);
	world_unchanged(s, second, "f");
	world_purge(s, third);
	world_gc(s);
	world_reopen(&s);
	world_unchanged(s, second, "f");
	assert_false(point(s, second).damaged);
	cs_store_close(s);
}

static struct cs_repair_result repair(struct cs_store *s, struct cs_store *from)
{
	const struct cs_repair_opts o = { .from = from };
	struct cs_repair_result r = { 0 };
	struct cs_error err = { .text = "" };
	if (cs_repair(s, &o, &r, &err) != CS_OK)
		fail_msg("repair: %s", err.text);
	return r;
}

/* A store that has the same, made by its own backup of it. */
static struct cs_store *other_store(void)
{
	const struct cs_open_opts o = { .flags = CS_OPEN_WRITE };
	struct cs_store *s;
	assert_int_equal(cs_store_init(world_path("store2"), NULL, NULL), CS_OK);
	assert_int_equal(cs_store_open(world_path("store2"), &o, &s, NULL), CS_OK);
	world_back_up(s, "elsewhere");
	return s;
}

static void another_store_has_it(void **state)
{
	uint64_t seqs[2];
	struct cs_verify_result r;
	(void)state;
	struct cs_store *s = filled(seqs), *from = other_store();
	spoil_all(s, CS_BUNDLE_DATA, UINT64_MAX);
	world_reopen(&s);
	assert_int_equal(repair(s, from).bundles_damaged, 0); /* nobody wrote that down yet */
	assert_int_equal(verify(s, 0).damaged_points, 2);
	struct cs_repair_result done = repair(s, from);
	assert_int_equal(done.chunks_healed, 16);
	assert_int_equal(done.chunks_lost, 0);
	assert_int_equal(done.bundles_removed, done.bundles_damaged);
	world_reopen(&s);
	assert_int_equal(verify_with(s, (struct cs_verify_opts){ .older_than = 3600 }, &r), CS_OK);
	assert_true(r.points == 2 && !point(s, seqs[0]).damaged && !point(s, seqs[1]).damaged);
	assert_int_equal(verify(s, 0).findings, 0);
	world_unchanged(s, seqs[0], "dir/f03");
	world_gc(s);
	world_reopen(&s);
	assert_int_equal(verify(s, 0).findings, 0);
	world_unchanged(s, seqs[0], "dir/f03");
	world_unchanged(s, seqs[1], "other");
	assert_int_equal(cs_repair(s, &(struct cs_repair_opts){ .from = s }, &done, NULL),
			 CS_E_USAGE);
	cs_store_close(from);
	cs_store_close(s);
}

/* Files that do not compress lie in a bundle as they are: one byte costs one of them. */
static void what_is_left_of_a_bundle_is_used(void **state)
{
	uint64_t seqs[2];
	(void)state;
	struct cs_store *s = filled(seqs);
	spoil_all(s, CS_BUNDLE_DATA, cs_chunk_bundle(chunk_of(s, seqs[0], "dir/f00", false)) + 1);
	world_reopen(&s);
	assert_int_equal(verify(s, 0).damaged_points, 2);
	assert_int_equal(find("bundle-damaged")->paths, 2);
	struct cs_repair_result done = repair(s, NULL);
	assert_int_equal(done.chunks_healed, 14);
	assert_int_equal(done.chunks_lost, 1);
	assert_int_equal(done.bundles_removed, 0);
	world_reopen(&s);
	assert_int_equal(verify(s, 0).damaged_points, 2);
	assert_int_equal(find("bundle-damaged")->paths, 2);
	assert_true(point(s, seqs[0]).damaged);
	world_unchanged(s, seqs[0], "dir/f03");
	done = repair(s, NULL);
	assert_int_equal(done.chunks_healed, 0);
	/* the last one is in the source */
	struct cs_backup_result r;
	back_up(s, true, &r);
	assert_int_equal(r.chunks_healed, 1);
	done = repair(s, NULL);
	assert_int_equal(done.bundles_removed, 1);
	world_reopen(&s);
	assert_int_equal(verify(s, 0).findings, 0);
	assert_false(point(s, seqs[0]).damaged);
	world_gc(s);
	world_reopen(&s);
	assert_int_equal(verify(s, 0).findings, 0);
	world_unchanged(s, seqs[0], "dir/f14");
	cs_store_close(s);
}

static struct cs_rebuild_result rebuild(struct cs_store *s)
{
	const struct cs_rebuild_opts o = { 0 };
	struct cs_rebuild_result r = { 0 };
	assert_int_equal(cs_rebuild(s, &o, &r, NULL), CS_OK);
	return r;
}

static void what_follows_is_made_anew(void **state)
{
	uint64_t seqs[2], moved = 77;
	struct cs_hash h = { { 1, 2, 3 } };
	struct cs_point_record p;
	struct cs_series_record sr;
	struct cs_backup_result b;
	struct cs_buf buf = { 0 };
	(void)state;
	struct cs_store *s = filled(seqs);
	struct cs_rebuild_result r = rebuild(s);
	assert_true(r.bundles > 0 && !r.index_added && !r.index_removed && !r.points_changed &&
		    !r.series_changed && !r.moved_removed);
	struct cs_txn *t = begin(s);
	struct cs_index_entry rows[64], none = { 0 };
	size_t n;
	assert_int_equal(cs_index_walk(t, &none, rows, 64, &n, NULL), CS_OK);
	assert_true(n > 16 && n < 64);
	for (size_t i = 0; i < n; i++)
		assert_int_equal(cs_index_drop(t, &rows[i], NULL), CS_OK);
	assert_int_equal(cs_index_add(t, &h, rows[0].chunk, NULL), CS_OK);
	assert_int_equal(cs_index_add(t, &h, cs_chunk_make(999999, 1), NULL), CS_OK);
	assert_int_equal(cs_db_put(t, CS_T_MOVED, cs_u64_key(&moved),
				   (struct cs_slice){ "0123456789abcdef", 16 }, NULL), CS_OK);
	assert_int_equal(cs_points_get(t, seqs[0], &p, NULL), CS_OK);
	uint8_t key[64] = { 0, 0, 0, (uint8_t)p.series_id };
	memcpy(key + 4, p.name, strlen(p.name));
	assert_int_equal(cs_db_del(t, CS_T_CATALOG, (struct cs_slice){ key, 4 + strlen(p.name) },
				   NULL, NULL), CS_OK);
	assert_int_equal(cs_db_del(t, CS_T_IDS, (struct cs_slice){ p.id, 16 }, NULL, NULL), CS_OK);
	assert_int_equal(cs_series_find(t, "t", &sr, NULL), 1);
	sr.points = 9;
	sr.latest = 4711;
	cs_series_record_pack(&sr, &buf);
	assert_int_equal(cs_db_put(t, CS_T_SERIES, (struct cs_slice){ "t", 1 },
				   (struct cs_slice){ buf.data, buf.len }, NULL), CS_OK);
	commit(t);
	change_root(s, seqs[1], one_byte_more, NULL);
	world_reopen(&s);
	assert_true(verify(s, 0).findings > 4);
	r = rebuild(s);
	assert_int_equal(r.index_added, n);
	assert_int_equal(r.index_removed, 2);
	assert_int_equal(r.moved_removed, 1);
	assert_int_equal(r.points_changed, 2);
	assert_int_equal(r.series_changed, 1);
	world_reopen(&s);
	assert_int_equal(verify(s, 0).findings, 0);
	assert_string_equal(point(s, seqs[0]).name, p.name);
	back_up(s, true, &b);
	assert_int_equal(b.point.added_raw < 3000, true); /* what is there is found again */
	cs_point_record_release(&p);
	cs_buf_release(&buf);
	cs_store_close(s);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, world_begin, world_end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_bundle_of_number_zero),
		TEST(a_bundle_that_cannot_be_decoded),
		TEST(a_bundle_whose_header_is_damaged),
		TEST(a_bundle_that_is_missing),
		TEST(a_chunk_that_has_not_its_hash),
		TEST(a_slot_that_is_not_there),
		TEST(rows_of_the_index),
		TEST(a_row_of_the_moved_table),
		TEST(a_directory_with_wrong_totals),
		TEST(a_point_with_wrong_totals),
		TEST(a_digest_that_does_not_follow),
		TEST(a_directory_that_is_something_else),
		TEST(a_directory_in_itself),
		TEST(pieces_that_are_too_short),
		TEST(pieces_that_do_not_make_the_content),
		TEST(pieces_that_lie_anywhere),
		TEST(versions_of_a_disk_image),
		TEST(damage_in_versions_of_a_disk_image),
		TEST(a_wrong_content_is_found_in_one_part),
		TEST(a_file_that_has_no_end),
		TEST(a_directory_that_has_no_end),
		TEST(a_directory_of_which_much_is_said),
		TEST(sums_of_an_index_page),
		TEST(names_that_lead_nowhere),
		TEST(a_mark_goes_when_the_damage_does),
		TEST(what_is_old_is_due),
		TEST(parts_are_everything_once),
		TEST(who_is_interrupted_keeps_what_is_written_down),
		TEST(who_is_interrupted_in_large_files_keeps_those_that_were_done),
		TEST(who_cannot_write_verifies),
		TEST(a_point_that_is_gone_leaves_no_row),
		TEST(a_backup_heals_data),
		TEST(a_backup_heals_pages),
		TEST(what_is_met_elsewhere_heals_without_being_stored_again),
		TEST(a_delta_on_what_is_sound_of_a_damaged_bundle),
		TEST(deltas_on_what_is_damaged_are_healed),
		TEST(another_store_has_it),
		TEST(what_is_left_of_a_bundle_is_used),
		TEST(what_follows_is_made_anew),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
