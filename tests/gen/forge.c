/* SPDX-License-Identifier: MIT */
/*
 * forge - points that no backup wrote: forge STORE KIND...
 *
 * Each KIND becomes the newest point of the series KIND, in a store that is there. Its
 * pages, totals and digests are right one by one; what they add up to is not honest:
 *   wide    2^40 entries: 1023 names, all the same directory, four levels deep
 *   doubt   the same, and no digest is right
 *   links   the same, and each file says that it has two names
 *   many    the same, and all have one inode, that of a group in the list of hard links
 *   deep    a chain of 4000 directories with names of 255 bytes, a file in the last
 *   abyss   a chain of 100000 directories
 *   thick   a chain of 400 directories, each a page of 200 KB
 *   hedge   the same, of 700 directories each
 *   huge    files of up to 2^63 - 1 bytes in a few pages: see files()
 *   strays  files whose rows of hard links lead to directories, other types, and themselves
 *   maze    a list of hard links of 2^42 rows
 *   rows    a list of hard links of 300000 rows, each to a file 4000 directories down
 */
#include "store/bundles.h"
#include "store/dump.h"
#include "store/extent.h"
#include "store/points.h"
#include "store/store.h"
#include "store/tree.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FAN 1023u /* FAN + FAN^2 + FAN^3 + FAN^4 is just below 2^40 */
#define WIDE_LEVELS 4
#define DEEP 4000
#define ABYSS 100000
#define THICK 400
#define BESIDE 700
#define BUNDLE_RAW (4u << 20)
#define SLOTS 60000u
#define MTIME 1000000000
#define LINK_INO 7
#define ROWS 300000u

static struct cs_store *store;

static void must(int rc, const struct cs_error *e)
{
	if (rc < 0)
		errx(1, "%s", e->text);
}

/* ---- chunks: collected, since a reference is a number that is known before the bundle is stored */

struct shelf {
	int kind;
	uint64_t number;
	struct cs_bundle_item *items;
	uint32_t n;
	size_t raw;
};

static struct shelf data = { .kind = CS_BUNDLE_DATA }, meta = { .kind = CS_BUNDLE_META };

static void flush_shelf(struct shelf *s)
{
	struct cs_compressor *c = cs_compressor_new(3);
	struct cs_bundle_stored b = { .number = s->number };
	struct cs_error e;
	struct cs_txn *t;
	uint8_t *bytes;

	if (s->n) {
		must(cs_bundle_encode(c, CS_FEATURES_INCOMPAT, s->number, s->kind, s->items, s->n, &bytes, &b.len), &e);
		b.data = bytes;
		must(cs_txn_write(store->db, &t, &e), &e);
		must(cs_bundles_put(t, &b, 1, &e), &e);
		must(cs_txn_commit(t, &e), &e);
		free(bytes);
	}
	for (uint32_t i = 0; i < s->n; i++)
		free((void *)(uintptr_t)s->items[i].data);
	cs_compressor_free(c);
	s->n = 0;
	s->raw = 0;
}

static cs_chunk put(struct shelf *s, const void *bytes, size_t len)
{
	struct cs_error e;
	struct cs_txn *t;
	uint8_t *copy = malloc(len + 1);

	if (s->n == SLOTS || s->raw + len > BUNDLE_RAW + CS_CHUNK_MAX)
		flush_shelf(s);
	if (s->n == 0) {
		must(cs_txn_write(store->db, &t, &e), &e);
		must(cs_bundles_reserve(t, 1, &s->number, &e), &e);
		must(cs_txn_commit(t, &e), &e);
	}
	s->items = s->items ? s->items : calloc(SLOTS, sizeof(*s->items));
	if (!copy || !s->items)
		errx(1, "out of memory");
	memcpy(copy, bytes, len);
	s->items[s->n] = (struct cs_bundle_item){ .data = copy };
	s->items[s->n].slot.len = (uint32_t)len;
	s->items[s->n].slot.hash = cs_store_hash(store, bytes, len);
	s->raw += len;
	return cs_chunk_make(s->number, s->n++);
}

static int put_page(void *arg, const void *page, size_t len, cs_chunk *out, struct cs_error *e)
{
	(void)arg;
	(void)e;
	*out = put(&meta, page, len);
	return CS_OK;
}

/* ---- entries and directories */

static struct cs_entry entry(const char *name, uint32_t mode)
{
	return (struct cs_entry){ .name = name, .name_len = (uint32_t)strlen(name), .mode = mode,
				  .nlink = 1, .uid = geteuid(), .gid = getegid(),
				  .mtime = { MTIME, 0 }, .ctime = { MTIME, 0 },
				  .atime = { MTIME, 0 } };
}

static struct cs_entry text(const char *name, const char *bytes)
{
	struct cs_entry e = entry(name, S_IFREG | 0644);

	e.content = CS_CONTENT_INLINE;
	e.bytes = (const uint8_t *)bytes;
	e.size = e.data_bytes = e.bytes_len = (uint32_t)strlen(bytes);
	return e;
}

/* A directory, filled one entry after the other. */
struct dir {
	struct cs_pages_writer w;
	struct cs_buf lines;
	struct cs_entry e;
};

static void dir_begin(struct dir *d, const char *name)
{
	memset(d, 0, sizeof(*d));
	d->e = entry(name, S_IFDIR | 0755);
	cs_pages_writer_init(&d->w, CS_PAGE_DIR, put_page, NULL);
}

static void dir_add(struct dir *d, const struct cs_entry *e)
{
	struct cs_hash h = e->hash;
	struct cs_error err;
	struct cs_entry *sum = &d->e;

	if (S_ISREG(e->mode) && e->content < CS_CONTENT_CHUNK)
		h = cs_store_hash(store, e->bytes, e->bytes_len);
	cs_dump_line(&d->lines, e, &h, NULL, 0, e->name, e->name_len);
	cs_buf_u8(&d->lines, '\n');
	must(cs_tree_add(&d->w, e, &err), &err);
	sum->children_count++;
	sum->subdirs += S_ISDIR(e->mode);
	sum->below.entries += 1 + e->below.entries;
	sum->below.bytes = cs_bytes_add(sum->below.bytes, S_ISREG(e->mode) ? e->size : 0);
	sum->below.bytes = cs_bytes_add(sum->below.bytes, e->below.bytes);
	sum->below.links += e->below.links + (e->nlink > 1 && !S_ISDIR(e->mode));
}

static struct cs_entry dir_end(struct dir *d)
{
	struct cs_error e;

	must(cs_pages_finish(&d->w, &d->e.children, &e), &e);
	d->e.nlink = 2 + d->e.subdirs;
	d->e.hash = cs_store_hash(store, d->lines.data, d->lines.len);
	cs_pages_writer_release(&d->w);
	cs_buf_release(&d->lines);
	return d->e;
}

/* FAN names that are all the same entry. */
static struct cs_entry fan(const char *name, struct cs_entry same)
{
	struct dir d;
	char each[8];

	dir_begin(&d, name);
	for (unsigned i = 0; i < FAN; i++) {
		snprintf(each, sizeof(each), "%04u", i);
		same.name = each;
		same.name_len = 4;
		dir_add(&d, &same);
	}
	return dir_end(&d);
}

/* ---- points */

static void point(const char *series, const struct cs_entry *tree, struct cs_pages links)
{
	struct cs_point_record r = { .links = links };
	struct cs_entry root = *tree;
	struct cs_pages_writer w;
	struct cs_buf b = { 0 }, line = { 0 };
	struct cs_error e;
	struct cs_txn *t;

	flush_shelf(&data);
	flush_shelf(&meta);
	root.name = "";
	root.name_len = 0;
	cs_pages_writer_init(&w, CS_PAGE_DIR, NULL, NULL);
	must(cs_tree_add(&w, &root, &e), &e);
	if (!cs_pages_take_single(&w, CS_PAGE_RAW_MAX, &b))
		errx(1, "the root does not fit");
	cs_pages_writer_release(&w);
	cs_dump_line(&line, &root, &root.hash, NULL, 0, "", 0);
	r.digest = cs_store_hash(store, line.data, line.len);
	r.root = b.data;
	r.root_len = b.len;
	r.totals = root.below;
	r.totals.entries++;
	snprintf((char *)r.id, sizeof(r.id), "%s", series);
	r.started = r.received = cs_now();
	must(cs_txn_write(store->db, &t, &e), &e);
	must(cs_points_add(t, series, &r, &e), &e);
	must(cs_txn_commit(t, &e), &e);
	cs_buf_release(&b);
	cs_buf_release(&line);
}

static void wide(const char *series, struct cs_entry leaf, bool right, struct cs_pages links)
{
	for (int level = 0; level < WIDE_LEVELS; level++) {
		leaf = fan("", leaf);
		if (!right)
			leaf.hash = (struct cs_hash){ { 1 } };
	}
	point(series, &leaf, links);
}

static struct cs_entry chain(struct cs_entry e, unsigned depth, unsigned name_len)
{
	static char name[CS_NAME_MAX + 1];
	struct dir d;

	memset(name, 'd', name_len);
	name[name_len] = '\0';
	for (unsigned i = 0; i <= depth; i++) {
		dir_begin(&d, name);
		dir_add(&d, &e);
		e = dir_end(&d);
	}
	return e;
}

static void one_tree(const char *series, struct cs_entry root)
{
	point(series, &root, (struct cs_pages){ 0 });
}

/* Each directory of the chain has `beside` more entries, each the same, with long names. */
static struct cs_entry thick(unsigned depth, unsigned beside, struct cs_entry same)
{
	struct cs_entry e = text("end", "the end");
	char name[CS_NAME_MAX + 1];
	struct dir d;

	memset(name, 'z', CS_NAME_MAX);
	name[CS_NAME_MAX] = '\0';
	same.name = name;
	same.name_len = CS_NAME_MAX;
	for (unsigned i = 0; i <= depth; i++) {
		dir_begin(&d, "down");
		d.w.min = d.w.max = CS_PAGE_RAW_MAX;
		dir_add(&d, &e);
		for (unsigned k = 0; k < beside; k++) {
			snprintf(name, sizeof(name), "z%04u", k);
			name[5] = 'z';
			dir_add(&d, &same);
		}
		e = dir_end(&d);
	}
	return e;
}

/* ---- files */

/* A sequence of extents: `rows` at each level of what is below it, as one page each. */
static struct cs_pages repeat(const struct cs_extent *x, size_t n, unsigned rows, unsigned levels,
			      uint64_t *bytes)
{
	struct cs_pages out = { 0 };
	struct cs_pages_writer w;
	struct cs_error e;
	uint64_t items = n;

	*bytes = 0;
	cs_pages_writer_init(&w, CS_PAGE_EXTENT, put_page, NULL);
	w.min = w.max = CS_PAGE_RAW_MAX;
	for (size_t i = 0; i < n; i++) {
		must(cs_extent_add(&w, x[i].len, x[i].chunk, 1, &e), &e);
		*bytes += x[i].len;
	}
	must(cs_pages_finish(&w, &out, &e), &e);
	cs_pages_writer_release(&w);
	for (; levels > 0; levels--) {
		struct cs_buf b = { 0 };
		cs_buf_u8(&b, CS_PAGE_INDEX);
		cs_buf_var(&b, rows);
		cs_buf_svar(&b, 0);
		for (unsigned i = 0; i < rows; i++) {
			cs_buf_str(&b, "", 0);
			cs_ref_pack(&b, out.root, 0);
			cs_buf_var(&b, items);
			cs_buf_var(&b, *bytes);
		}
		out = (struct cs_pages){ put(&meta, b.data, b.len), (uint8_t)(out.level + 1) };
		items *= rows;
		*bytes *= rows;
		cs_buf_release(&b);
	}
	return out;
}

static struct cs_entry pages_file(const char *name, struct cs_extent *x, size_t n, unsigned rows,
				  unsigned levels)
{
	struct cs_entry e = entry(name, S_IFREG | 0644);
	uint64_t holes = 0, all = 0;

	for (size_t i = 0; i < n; i++) {
		all += x[i].len;
		holes += x[i].chunk ? 0 : x[i].len;
	}
	e.content = CS_CONTENT_PAGES;
	e.extents = repeat(x, n, rows, levels, &e.size);
	e.data_bytes = e.size - e.size / all * holes;
	return e;
}

static struct cs_entry hole_file(const char *name, uint64_t size, cs_chunk last, unsigned last_len)
{
	struct cs_entry e = entry(name, S_IFREG | 0644);
	static struct cs_buf b[4];
	static unsigned used;
	struct cs_pages_writer w;
	struct cs_error err;

	cs_pages_writer_init(&w, CS_PAGE_EXTENT, NULL, NULL);
	must(cs_extent_add(&w, size - last_len, 0, 1, &err), &err);
	if (last_len)
		must(cs_extent_add(&w, last_len, last, 1, &err), &err);
	if (!cs_pages_take_single(&w, CS_INLINE_EXTENTS_MAX, &b[used]))
		errx(1, "the extents do not fit");
	cs_pages_writer_release(&w);
	e.content = CS_CONTENT_EXTENTS;
	e.size = size;
	e.data_bytes = last_len;
	e.bytes = b[used].data;
	e.bytes_len = (uint32_t)b[used++].len;
	return e;
}

/*
 * crumbs 2^48 pieces of a byte; full 2^62 bytes of one chunk; hole 2^62 bytes of nothing;
 * lace 2^47 times a byte and a hole of one; limit 2^63 - 1 bytes with two bytes at the end;
 * void 2^62 bytes of 2^40 holes, of which it says that one byte is data
 */
static void files(void)
{
	static uint8_t zeros[CS_CHUNK_MAX];
	cs_chunk one = put(&data, "x", 1), two = put(&data, "yz", 2);
	cs_chunk big = put(&data, zeros, sizeof(zeros));
	static struct cs_extent x[4096];
	struct dir d;

	dir_begin(&d, "");
	for (unsigned i = 0; i < 4096; i++)
		x[i] = (struct cs_extent){ .len = 1, .chunk = one };
	struct cs_entry crumbs = pages_file("crumbs", x, 4096, 4096, 3);
	for (unsigned i = 0; i < 1024; i++)
		x[i] = (struct cs_extent){ .len = CS_CHUNK_MAX, .chunk = big };
	struct cs_entry full = pages_file("full", x, 1024, 1024, 3);
	for (unsigned i = 0; i < 4096; i++)
		x[i] = (struct cs_extent){ .len = 1, .chunk = i % 2 ? 0 : one };
	struct cs_entry lace = pages_file("lace", x, 4096, 4096, 3);
	for (unsigned i = 0; i < 1024; i++)
		x[i] = (struct cs_extent){ .len = CS_CHUNK_MAX };
	struct cs_entry nothing = pages_file("void", x, 1024, 1024, 3);
	nothing.data_bytes = 1;
	struct cs_entry hole = hole_file("hole", UINT64_C(1) << 62, 0, 0);
	struct cs_entry limit = hole_file("limit", INT64_MAX, two, 2);
	dir_add(&d, &crumbs);
	dir_add(&d, &full);
	dir_add(&d, &hole);
	dir_add(&d, &lace);
	dir_add(&d, &limit);
	dir_add(&d, &nothing);
	struct cs_entry root = dir_end(&d);
	point("huge", &root, (struct cs_pages){ 0 });
}

/* ---- hard links */

static struct cs_pages rows_of(const struct cs_link *l, size_t n)
{
	struct cs_pages out;
	struct cs_pages_writer w;
	struct cs_error e;

	cs_pages_writer_init(&w, CS_PAGE_LINK, put_page, NULL);
	w.min = w.max = CS_PAGE_RAW_MAX - 100;
	for (size_t i = 0; i < n; i++)
		must(cs_link_add(&w, &l[i], &e), &e);
	must(cs_pages_finish(&w, &out, &e), &e);
	cs_pages_writer_release(&w);
	return out;
}

static struct cs_entry linked(const char *name, uint64_t ino)
{
	struct cs_entry e = text(name, "linked");

	e.nlink = 2;
	e.ino = ino;
	return e;
}

/* Positions: 1 a, 2 a/file, 3 fifo, 4 link, 5 other, 6.. the strays. */
static void strays(void)
{
	static const uint64_t leads_to[] = { 0, 1, 2, 3, 4, 5, 13, 13 };
	static const char *const names[] = { "x0-root",	 "x1-dir",  "x2-file", "x3-fifo",
					     "x4-link",	 "x5-other", "x6-later", "x7-self" };
	struct cs_link rows[8];
	struct cs_entry inside = text("file", "of another content"), other = text("other", "other"),
			fifo = entry("fifo", S_IFIFO | 0600), link = entry("link", S_IFLNK | 0777);
	struct dir root, a;

	dir_begin(&a, "a");
	dir_add(&a, &inside);
	struct cs_entry sub = dir_end(&a);
	link.bytes = (const uint8_t *)"/etc/passwd";
	link.size = link.bytes_len = 11;
	dir_begin(&root, "");
	dir_add(&root, &sub);
	dir_add(&root, &fifo);
	dir_add(&root, &link);
	dir_add(&root, &other);
	for (unsigned i = 0; i < 8; i++) {
		struct cs_entry e = linked(names[i], 100 + i);
		rows[i] = cs_link_of(&e);
		rows[i].first = leads_to[i];
		dir_add(&root, &e);
	}
	struct cs_entry tree = dir_end(&root);
	point("strays", &tree, rows_of(rows, 8));
}

/* Seven levels of index pages in which every row is the same page. */
static void maze(void)
{
	struct cs_entry a = linked("a", LINK_INO), b = linked("b", LINK_INO);
	struct cs_link row = cs_link_of(&a);
	struct dir d;
	uint64_t items = 1;

	row.first = 1;
	struct cs_pages p = rows_of(&row, 1);
	for (; p.level < CS_LEVELS_MAX - 1; p.level++) {
		struct cs_buf page = { 0 };
		cs_buf_u8(&page, CS_PAGE_INDEX);
		cs_buf_var(&page, 64);
		cs_buf_svar(&page, 0);
		for (int i = 0; i < 64; i++) {
			cs_buf_str(&page, "", 0);
			cs_ref_pack(&page, p.root, 0);
			cs_buf_var(&page, items);
			cs_buf_var(&page, 0);
		}
		p.root = put(&meta, page.data, page.len);
		items *= 64;
		cs_buf_release(&page);
	}
	dir_begin(&d, "");
	dir_add(&d, &a);
	dir_add(&d, &b);
	struct cs_entry tree = dir_end(&d);
	point("maze", &tree, p);
}

/* Each row leads to the end of one of FAN chains, which are all the same. */
static void rows(void)
{
	struct cs_entry root = fan("", chain(linked("end", LINK_INO), DEEP, 1));
	uint64_t branch = root.below.entries / FAN;
	static struct cs_link l[ROWS];

	for (uint64_t i = 0; i < ROWS; i++) {
		struct cs_entry e = linked("", i);
		l[i] = cs_link_of(&e);
		l[i].first = (1 + i * 7 % FAN) * branch - i % 3;
	}
	point("rows", &root, rows_of(l, ROWS));
}

/* ---- */

static void forge(const char *kind)
{
	struct cs_entry same = linked("", LINK_INO);
	struct cs_link row = cs_link_of(&same);
	struct cs_pages none = { 0 };

	row.first = 4; /* the first file */
	if (strcmp(kind, "wide") == 0)
		wide(kind, text("", "same"), true, none);
	else if (strcmp(kind, "doubt") == 0)
		wide(kind, text("", "same"), false, none);
	else if (strcmp(kind, "links") == 0)
		wide(kind, same, true, none);
	else if (strcmp(kind, "many") == 0)
		wide(kind, same, true, rows_of(&row, 1));
	else if (strcmp(kind, "deep") == 0)
		one_tree(kind, chain(text("end", "the end"), DEEP, CS_NAME_MAX));
	else if (strcmp(kind, "thick") == 0)
		one_tree(kind, thick(THICK, BESIDE, text("", "same")));
	else if (strcmp(kind, "hedge") == 0)
		one_tree(kind, thick(THICK, BESIDE, chain(text("end", "the end"), 0, 1)));
	else if (strcmp(kind, "abyss") == 0)
		one_tree(kind, chain(text("end", "the end"), ABYSS, 1));
	else if (strcmp(kind, "huge") == 0)
		files();
	else if (strcmp(kind, "strays") == 0)
		strays();
	else if (strcmp(kind, "maze") == 0)
		maze();
	else if (strcmp(kind, "rows") == 0)
		rows();
	else
		errx(2, "%s: no such kind", kind);
}

int main(int argc, char **argv)
{
	const struct cs_open_opts opts = { .flags = CS_OPEN_WRITE };
	struct cs_error e = { .code = CS_OK };

	if (argc < 3)
		errx(2, "usage: forge STORE KIND...");
	must(cs_store_open(argv[1], &opts, &store, &e), &e);
	for (int i = 2; i < argc; i++)
		forge(argv[i]);
	cs_store_close(store);
	free(data.items);
	free(meta.items);
	return 0;
}
