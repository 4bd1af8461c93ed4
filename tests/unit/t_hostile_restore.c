/* SPDX-License-Identifier: MIT */
/*
 * Points that no backup wrote are restored: names that lead out of a
 * directory, names that come twice with different types, hard links that are
 * none. Whatever comes of it, nothing is touched but DEST.
 *
 * A page is forged by packing entries that a backup would not make. Each goes
 * into a bundle of its own.
 */
#include "store/bundles.h"
#include "store/points.h"
#include "store/store.h"
#include "store/tree.h"
#include "world.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#define EVIL "evil"
#define MTIME 1000000000

static struct cs_store *store;
static uint64_t number = 1000; /* of the next bundle */

static int put_page(void *arg, const void *page, size_t len, cs_chunk *out, struct cs_error *err)
{
	struct cs_compressor *c = cs_compressor_new(3);
	struct cs_bundle_item item = { .data = page };
	struct cs_txn *t;
	uint8_t *bundle;
	size_t size;

	(void)arg;
	(void)err;
	item.slot.len = (uint32_t)len;
	item.slot.hash = cs_store_hash(store, page, len);
	assert_int_equal(cs_bundle_encode(c, CS_FEATURES_INCOMPAT, number, CS_BUNDLE_META, &item, 1,
					  &bundle, &size),
			 CS_OK);
	struct cs_bundle_stored b = { number, bundle, size };
	assert_int_equal(cs_txn_write(store->db, &t, NULL), CS_OK);
	assert_int_equal(cs_bundles_put(t, &b, 1, NULL), CS_OK);
	assert_int_equal(cs_txn_commit(t, NULL), CS_OK);
	cs_compressor_free(c);
	free(bundle);
	*out = cs_chunk_make(number++, 0);
	return CS_OK;
}

/* ---- entries */

static struct cs_entry entry(const char *name, size_t len, uint32_t mode)
{
	return (struct cs_entry){ .name = name, .name_len = (uint32_t)len, .mode = mode, .nlink = 1,
				  .uid = geteuid(), .gid = getegid(), .mtime = { MTIME, 0 },
				  .ctime = { MTIME, 0 }, .atime = { MTIME, 0 } };
}

static struct cs_entry file(const char *name)
{
	struct cs_entry e = entry(name, strlen(name), S_IFREG | 06755);
	e.content = CS_CONTENT_INLINE;
	e.bytes = (const uint8_t *)EVIL;
	e.bytes_len = sizeof(EVIL) - 1;
	e.size = e.data_bytes = e.bytes_len;
	return e;
}

static struct cs_entry symlink_to(const char *name, const char *target)
{
	struct cs_entry e = entry(name, strlen(name), S_IFLNK | 0777);
	e.bytes = (const uint8_t *)target;
	e.bytes_len = (uint32_t)strlen(target);
	e.size = e.bytes_len;
	return e;
}

/* A directory with these entries, all in one page, or each in one of its own. */
static struct cs_entry dir_of(const char *name, const struct cs_entry *list, size_t n, bool apart)
{
	struct cs_entry e = entry(name, strlen(name), S_IFDIR | 0755);
	struct cs_pages_writer w;
	struct cs_buf index = { 0 };

	e.nlink = 2;
	e.children_count = n;
	cs_buf_u8(&index, CS_PAGE_INDEX);
	cs_buf_var(&index, n);
	cs_buf_svar(&index, 0);
	cs_pages_writer_init(&w, CS_PAGE_DIR, put_page, NULL);
	w.min = w.max = CS_PAGE_RAW_MAX;
	for (size_t i = 0; i < n; i++) {
		char key[2] = { (char)('A' + i), 0 };
		e.below.entries += 1 + list[i].below.entries;
		e.below.bytes += list[i].size;
		e.below.links += list[i].nlink > 1 && !S_ISDIR(list[i].mode);
		e.below.links += list[i].below.links;
		e.subdirs += S_ISDIR(list[i].mode);
		assert_int_equal(cs_tree_add(&w, &list[i], NULL), CS_OK);
		if (!apart)
			continue;
		assert_int_equal(cs_pages_finish(&w, &e.children, NULL), CS_OK);
		cs_buf_str(&index, i ? key : "", i ? 1 : 0);
		cs_ref_pack(&index, e.children.root, 0);
		cs_buf_var(&index, 1);
		cs_buf_var(&index, list[i].below.entries);
	}
	if (apart) {
		e.children.level = 1;
		assert_int_equal(put_page(NULL, index.data, index.len, &e.children.root, NULL), CS_OK);
	} else {
		assert_int_equal(cs_pages_finish(&w, &e.children, NULL), CS_OK);
	}
	e.nlink = 2 + e.subdirs;
	cs_buf_release(&index);
	cs_pages_writer_release(&w);
	return e;
}

/* ---- points */

/* With one file that must come back, so that it is known that something was restored. */
static uint64_t point_of(const struct cs_entry *list, size_t n, bool apart)
{
	struct cs_point_record r = { .parent = 0 };
	struct cs_entry all[2], good = file("good");
	struct cs_pages_writer w;
	struct cs_buf b = { 0 };
	struct cs_txn *t;

	all[0] = dir_of("bad", list, n, apart);
	all[1] = dir_of("fine", &good, 1, false);
	struct cs_entry root = dir_of("", all, 2, false);
	cs_pages_writer_init(&w, CS_PAGE_DIR, NULL, NULL);
	w.min = w.max = CS_PAGE_RAW_MAX;
	assert_int_equal(cs_tree_add(&w, &root, NULL), CS_OK);
	assert_true(cs_pages_take_single(&w, CS_PAGE_RAW_MAX, &b));
	cs_pages_writer_release(&w);
	r.root = b.data;
	r.root_len = b.len;
	r.totals = root.below;
	r.totals.entries++;
	memcpy(r.id, &number, sizeof(number));
	r.started.sec = r.received.sec = MTIME + (int64_t)number;
	assert_int_equal(cs_txn_write(store->db, &t, NULL), CS_OK);
	assert_int_equal(cs_points_add(t, "forged", &r, NULL), CS_OK);
	assert_int_equal(cs_txn_commit(t, NULL), CS_OK);
	cs_buf_release(&b);
	return r.seq;
}

/* ---- what is around DEST */

/* Names, types, modes, sizes and times of all below a directory that is not DEST, and contents. */
static void describe(const char *path, char *out, size_t size)
{
	char below[512], text[64] = "";
	struct dirent **list;
	struct stat st;

	assert_int_equal(lstat(path, &st), 0);
	size_t at = strlen(out);
	if (S_ISREG(st.st_mode)) {
		int fd = open(path, O_RDONLY);
		assert_true(read(fd, text, sizeof(text) - 1) >= 0);
		close(fd);
	}
	snprintf(out + at, size - at, "%s %o %u %lld %lld %ld %s\n", path, st.st_mode, st.st_uid,
		 (long long)st.st_size, (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec, text);
	if (!S_ISDIR(st.st_mode))
		return;
	int n = scandir(path, &list, NULL, alphasort);
	assert_true(n >= 0);
	for (int i = 0; i < n; i++) {
		if (list[i]->d_name[0] != '.') {
			snprintf(below, sizeof(below), "%s/%s", path, list[i]->d_name);
			describe(below, out, size);
		}
		free(list[i]);
	}
	free(list);
}

static char before[8192], after[8192];

static void must_be(const char *name, bool dir)
{
	struct stat st;

	assert_int_equal(lstat(world_path(name), &st), 0);
	assert_true(dir ? S_ISDIR(st.st_mode) : S_ISREG(st.st_mode));
}

static void ignore_notice(void *arg, int kind, const char *text)
{
	(void)arg;
	if (getenv("CS_TEST_SHOW"))
		fprintf(stderr, "# notice %d: %s\n", kind, text);
}

/* Restore and look around. */
static void restore(struct cs_tree *t, struct cs_restore_opts o, const char *how)
{
	struct cs_restore_result r;
	struct cs_error err;

	o.dest = world_path("room/dest");
	o.notice = ignore_notice;
	o.threads = 4;
	int rc = cs_restore(t, "", &o, &r, &err);
	if (getenv("CS_TEST_SHOW"))
		fprintf(stderr, "# %s: %d %s\n", how, rc, rc ? err.text : "");
	after[0] = 0;
	describe(world_path("victim"), after, sizeof(after));
	if (strcmp(before, after) != 0)
		fail_msg("%s:\n%s\nbefore:\n%s", how, after, before);
	DIR *d = opendir(world_path("room"));
	for (struct dirent *e; (e = readdir(d));)
		if (e->d_name[0] != '.' && strcmp(e->d_name, "dest") != 0 &&
		    strcmp(e->d_name, "dest.partial") != 0)
			fail_msg("%s: made room/%s", how, e->d_name);
	closedir(d);
	if (rc == CS_OK || rc == CS_E_PARTIAL)
		must_be("room/dest/fine/good", false);
}

static void clear_room(void)
{
	char command[900];

	snprintf(command, sizeof(command), "chattr -fR -ia '%s'; chmod -R u+rwx '%s' 2>/dev/null; "
		 "rm -rf '%s'", world_path("room"), world_path("room"), world_path("room"));
	assert_int_equal(system(command), 0);
	assert_int_equal(mkdir(world_path("room"), 0755), 0);
}

/* In all ways: where nothing is, where the last restore was, where something else is. */
static void restore_all_ways(uint64_t seq, int rounds)
{
	const struct cs_restore_opts ways[] = {
		{ .overwrite = CS_OVERWRITE_ALWAYS },
		{ .overwrite = CS_OVERWRITE_ALWAYS, .delete_extra = true },
		{ .overwrite = CS_OVERWRITE_IF_CHANGED, .in_place = true },
		{ .overwrite = CS_OVERWRITE_IF_NEWER, .delete_extra = true },
		{ .overwrite = CS_OVERWRITE_NEVER },
		{ .overwrite = CS_OVERWRITE_ALWAYS, .delete_extra = true, .dry_run = true },
	};
	struct cs_tree *t;
	char how[64];

	assert_int_equal(cs_tree_open(store, seq, &t, NULL), CS_OK);
	for (int round = 0; round < rounds; round++) {
		clear_room();
		restore(t, (struct cs_restore_opts){ 0 }, "fresh");
		for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
			snprintf(how, sizeof(how), "over the last, way %zu", i);
			restore(t, ways[i], how);
		}
		for (size_t i = 0; i < sizeof(ways) / sizeof(ways[0]); i++) {
			clear_room();
			assert_int_equal(mkdir(world_path("room/dest"), 0755), 0);
			assert_int_equal(mkdir(world_path("room/dest/bad"), 0755), 0);
			if (round % 2)
				assert_int_equal(symlink("../../../victim",
							 world_path("room/dest/bad/dup")), 0);
			snprintf(how, sizeof(how), "into what is there, way %zu", i);
			if (!ways[i].dry_run)
				restore(t, ways[i], how);
		}
	}
	cs_tree_close(t);
}

/* ---- the tests */

static void names_that_lead_elsewhere(void **state)
{
	static const struct {
		const char *name;
		size_t len;
	} bad[] = {
		{ "../../../victim/new", 19 }, { "..", 2 }, { ".", 1 }, { "", 0 }, { "/tmp", 4 },
		{ "a/b", 3 }, { "a\0b", 3 }, { "../../victim/precious", 21 },
	};
	static const uint32_t modes[] = { S_IFREG | 0644, S_IFDIR | 0755, S_IFLNK | 0777, S_IFIFO | 0600 };
	struct cs_entry inside = file("new");

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		for (size_t k = 0; k < sizeof(modes) / sizeof(modes[0]); k++) {
			struct cs_entry e = S_ISREG(modes[k]) ? file("x") :
					    S_ISLNK(modes[k]) ? symlink_to("x", "/") :
					    S_ISDIR(modes[k]) ? dir_of("x", &inside, 1, false) :
								entry("x", 1, modes[k]);
			e.name = bad[i].name;
			e.name_len = (uint32_t)bad[i].len;
			restore_all_ways(point_of(&e, 1, false), 1);
		}
}

/* A link out of DEST, and something of its name that would be written through it. */
static void names_that_come_twice(void **state)
{
	struct cs_entry in_it[2] = { file("new"), file("precious") };
	const struct cs_entry list[][2] = {
		{ symlink_to("dup", "../../../victim"), dir_of("dup", in_it, 2, false) },
		{ dir_of("dup", in_it, 2, false), symlink_to("dup", "../../../victim") },
		{ symlink_to("dup", "../../../victim/precious"), file("dup") },
		{ file("dup"), symlink_to("dup", "../../../victim/precious") },
		{ symlink_to("dup", "../../../victim/new"), file("dup") },
		{ symlink_to("dup", "../../../victim/precious"), entry("dup", 3, S_IFIFO | 0666) },
		{ dir_of("dup", in_it, 1, false), dir_of("dup", in_it + 1, 1, false) },
	};

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++) {
		restore_all_ways(point_of(list[i], 2, true), 6);
		restore_all_ways(point_of(list[i], 2, false), 1);
	}
}

/* A group whose first member is a link out of DEST, a FIFO, a device, a file of another size. */
static void hard_links_that_are_none(void **state)
{
	struct cs_entry first[] = {
		symlink_to("a", "../../../victim/precious"), entry("a", 1, S_IFIFO | 0600),
		entry("a", 1, S_IFCHR | 0600), file("a"),
	};
	struct cs_entry others[] = { file("b"), file("c"), symlink_to("d", "../../../victim/new") };

	(void)state;
	first[2].rdev_major = 1;
	first[2].rdev_minor = 3;
	for (size_t i = 0; i < sizeof(first) / sizeof(first[0]); i++) {
		struct cs_entry list[4] = { first[i], others[0], others[1], others[2] };
		for (int k = 0; k < 4; k++) {
			list[k].nlink = 4;
			list[k].ino = 7;
			list[k].have = CS_HAVE_FLAGS;
			list[k].flags = 0x10 | 0x20; /* immutable, append-only */
		}
		list[1].bytes_len = list[1].size = list[1].data_bytes = 3;
		restore_all_ways(point_of(list, 4, false), 2);
	}
}

/* ---- */

static int setup(void **state)
{
	if (world_begin(state) != 0)
		return -1;
	assert_int_equal(mkdir(world_path("victim"), 0750), 0);
	world_write("victim/precious", "precious", 8);
	assert_int_equal(chmod(world_path("victim/precious"), 0640), 0);
	describe(world_path("victim"), before, sizeof(before));
	assert_int_equal(mkdir(world_path("room"), 0755), 0);
	store = world_open();
	return 0;
}

static int teardown(void **state)
{
	clear_room();
	cs_store_close(store);
	return world_end(state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(names_that_lead_elsewhere),
		cmocka_unit_test(names_that_come_twice),
		cmocka_unit_test(hard_links_that_are_none),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
