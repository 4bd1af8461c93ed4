/* SPDX-License-Identifier: MIT */
#include "store/browse.h"
#include "store/bundles.h"
#include "store/reader.h"
#include "world.h"

#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The stored bytes of the page that lists a directory of the point. */
static size_t page_of(struct cs_store *s, uint64_t seq, const char *dir, uint8_t *out, size_t cap)
{
	struct cs_tree *t;
	struct cs_node n;
	const uint8_t *data;
	size_t len;
	void *held;
	assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
	assert_int_equal(cs_tree_lookup(t, dir, &n, NULL), CS_OK);
	assert_int_equal(cs_reader_chunk(s, n.entry.children.root, &held, &data, &len, NULL), CS_OK);
	assert_true(len <= cap);
	memcpy(out, data, len);
	cs_cache_release(held);
	cs_node_release(&n);
	cs_tree_close(t);
	return len;
}

/* What a user writes is never taken for a page, and never hides what a page refers to. */
static void a_file_with_the_bytes_of_a_page_loses_nothing(void **state)
{
	uint8_t text[3000], page[65536];

	(void)state;
	assert_int_equal(mkdir(world_path("tree/zz"), 0755), 0);
	memset(text, 'x', sizeof(text));
	for (int i = 0; i < 20; i++) {
		char name[32];
		snprintf(name, sizeof(name), "tree/zz/%d", i);
		text[0] = (uint8_t)i;
		world_write(name, text, sizeof(text));
	}
	struct cs_store *s = world_open();
	uint64_t first = world_back_up(s, "t");
	size_t len = page_of(s, first, "zz", page, sizeof(page));
	world_write("tree/aa", page, len);
	uint64_t second = world_back_up(s, "t");
	world_purge(s, first);
	cs_store_close(s);

	s = world_open();
	world_gc(s);
	world_verify(s);
	assert_true(page_of(s, second, "zz", page, sizeof(page)) == len);
	cs_store_close(s);
}

/* Every bundle of a kind that was not there before is stored anew, as spoil makes it. */
typedef void spoil_fn(uint8_t *p, size_t len);

static void spoil_bundles(struct cs_store *s, uint64_t from, int kind, spoil_fn *spoil)
{
	struct cs_txn *t;
	struct cs_slice v;
	uint64_t number;

	assert_int_equal(cs_txn_write(s->db, &t, NULL), CS_OK);
	for (; cs_bundles_next(t, from, &number, &v, NULL) == 1; from = number + 1) {
		struct cs_bundle_header h;
		uint8_t copy[1 << 20];
		assert_true(v.len <= sizeof(copy));
		assert_int_equal(cs_bundle_header_unpack(v.data, v.len, &h), CS_OK);
		if (h.kind != kind)
			continue;
		size_t len = v.len;
		memcpy(copy, v.data, len);
		spoil(copy, len);
		assert_int_equal(cs_bundles_del(t, number, NULL), CS_OK);
		if (copy[0] != 0xff)
			assert_int_equal(cs_bundles_put(t, &(struct cs_bundle_stored){ number, copy, len }, 1,
							NULL), CS_OK);
	}
	assert_int_equal(cs_txn_commit(t, NULL), CS_OK);
}

static void spoil_header(uint8_t *p, size_t len)
{
	(void)len;
	memset(p, 'Q', 32);
}

static void spoil_end(uint8_t *p, size_t len)
{
	p[len - 1] ^= 0x55;
	p[len / 2] ^= 0x55;
}

static void spoil_all_of_it(uint8_t *p, size_t len)
{
	(void)len;
	p[0] = 0xff; /* not stored at all */
}

static uint64_t next_bundle(struct cs_store *s)
{
	struct cs_txn *t;
	uint64_t next;

	assert_int_equal(cs_txn_read(s->db, &t, NULL), CS_OK);
	assert_int_equal(cs_db_counter_get(t, CS_META_NEXT_BUNDLE, &next, NULL), CS_OK);
	cs_txn_end(t);
	return next;
}

/*
 * gc stops at a point whose pages cannot be read, and says with which command it
 * is given up; when that is done gc frees what it had, damaged bundles too.
 */
static void damaged_pages(spoil_fn *spoil)
{
	struct cs_gc_result r;
	struct cs_error err = { 0 };
	char want[64];

	world_random("tree/one", 1, 100000);
	struct cs_store *s = world_open();
	world_back_up(s, "good");
	uint64_t from = next_bundle(s);
	world_random("tree/one", 2, 100000);
	world_random("tree/two", 3, 100000);
	uint64_t bad = world_back_up(s, "bad");
	spoil_bundles(s, from, CS_BUNDLE_META, spoil);
	cs_store_close(s);

	s = world_open();
	assert_int_equal(cs_gc(s, &(struct cs_gc_opts){ 0 }, &r, &err), CS_E_CORRUPT);
	snprintf(want, sizeof(want), "'chunkstore forget --purge number:%d'", (int)bad);
	assert_non_null(strstr(err.text, want));
	assert_int_equal(cs_point_give_up(s, bad, NULL), CS_OK);
	r = world_gc(s);
	assert_true(r.bundles_freed > 0);
	assert_true(r.stored_freed > 150000);
	world_verify(s);
	cs_store_close(s);
}

static void a_point_with_damaged_pages_can_be_given_up(void **state)
{
	(void)state;
	damaged_pages(spoil_end);
}

static void a_point_with_a_damaged_bundle_of_pages_can_be_given_up(void **state)
{
	(void)state;
	damaged_pages(spoil_header);
}

static void a_point_with_missing_pages_can_be_given_up(void **state)
{
	(void)state;
	damaged_pages(spoil_all_of_it);
}

/* Damaged content is verify's to name: gc goes on, and leaves it as long as a point needs it. */
static void damaged_content(spoil_fn *spoil, bool stays)
{
	world_random("tree/one", 1, 100000);
	struct cs_store *s = world_open();
	world_back_up(s, "good");
	uint64_t from = next_bundle(s);
	world_random("tree/two", 3, 100000);
	uint64_t bad = world_back_up(s, "bad");
	spoil_bundles(s, from, CS_BUNDLE_DATA, spoil);
	cs_store_close(s);
	s = world_open();
	struct cs_gc_result r = world_gc(s);
	assert_int_equal(r.bundles_freed, 0);
	assert_int_equal(cs_point_give_up(s, bad, NULL), CS_OK);
	r = world_gc(s);
	assert_true(r.bundles_freed >= (stays ? 2 : 1));
	world_verify(s);
	cs_store_close(s);
}

static void damaged_content_stops_nothing(void **state)
{
	(void)state;
	damaged_content(spoil_end, true);
}

static void content_with_a_damaged_header_stops_nothing(void **state)
{
	(void)state;
	damaged_content(spoil_header, true);
}

static void missing_content_stops_nothing(void **state)
{
	(void)state;
	damaged_content(spoil_all_of_it, false);
}

/* Files of locks that are removed, or are none, while somebody has the store open. */
static void nobody_writes_with_locks_that_others_do_not_see(void **state)
{
	static const char *const names[] = { "store/lock.mdb", "store/leases" };
	struct cs_error err;

	(void)state;
	for (int i = 0; i < 2; i++) {
		struct cs_store *s = world_open();
		assert_int_equal(cs_store_set_trash_keep(s, 1000, NULL), CS_OK);
		assert_int_equal(unlink(world_path(names[i])), 0);
		assert_int_equal(cs_store_set_trash_keep(s, 2000, &err), CS_E_IO);
		assert_non_null(strstr(err.text, "removed"));
		cs_store_close(s);
		s = world_open();
		assert_int_equal(cs_store_set_trash_keep(s, 3000, NULL), CS_OK);
		cs_store_close(s);
	}
}

/* Takes all places of readers and dies. */
static void die_reading(void)
{
	struct cs_store *s;
	struct cs_txn *t;
	int n = 0;

	if (cs_store_open(world_path("store"), NULL, &s, NULL) != CS_OK)
		_exit(1);
	while (cs_txn_read(s->db, &t, NULL) == CS_OK)
		n++;
	_exit(n > 500 ? 0 : 1);
}

static void places_of_dead_readers_are_taken_back(void **state)
{
	struct cs_store *s = world_open();
	struct cs_txn *a, *b;
	int status;

	(void)state;
	assert_int_equal(cs_txn_read(s->db, &a, NULL), CS_OK);
	for (int i = 0; i < 2; i++) { /* the second one finds the places of the first */
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0)
			die_reading();
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	assert_int_equal(cs_txn_read(s->db, &b, NULL), CS_OK);
	cs_txn_end(a);
	cs_txn_end(b);
	cs_store_close(s);
}

static void leases_must_be_a_file(void **state)
{
	struct cs_store *s = world_open();
	struct cs_error err;

	(void)state;
	cs_store_close(s);
	assert_int_equal(unlink(world_path("store/leases")), 0);
	assert_int_equal(symlink("/dev/null", world_path("store/leases")), 0);
	assert_true(cs_store_open(world_path("store"), NULL, &s, &err) < 0);
	assert_int_equal(unlink(world_path("store/leases")), 0);
	assert_int_equal(mkfifo(world_path("store/leases"), 0600), 0);
	assert_true(cs_store_open(world_path("store"), NULL, &s, &err) < 0);
	assert_int_equal(unlink(world_path("store/leases")), 0);
	cs_store_close(world_open());
}

/* ---- levels */

static uint64_t back_up_at(struct cs_store *s, const char *series, int level)
{
	struct cs_backup_opts o = { .series = series, .root = world_path("tree"), .force = true,
				    .level = level };
	struct cs_backup_result r;
	assert_int_equal(cs_backup(s, &o, &r, NULL), CS_OK);
	return r.point.seq;
}

/* How many bundles tell each level. */
static void count_levels(struct cs_store *s, unsigned count[256])
{
	struct cs_bundle_header h;
	struct cs_slice v;
	struct cs_txn *t;
	uint64_t number = 0;
	int rc;
	memset(count, 0, 256 * sizeof(*count));
	assert_int_equal(cs_txn_read(s->db, &t, NULL), CS_OK);
	while ((rc = cs_bundles_next(t, number, &number, &v, NULL)) == 1) {
		assert_int_equal(cs_bundle_header_unpack(v.data, v.len, &h), CS_OK);
		count[h.level]++;
		number++;
	}
	assert_int_equal(rc, 0);
	cs_txn_end(t);
}

/* Two thirds of a point are needed by nothing. Returns how many bundles gc wrote again. */
static uint64_t thin_out(struct cs_store *s, int level)
{
	char name[32];
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "tree/%02d", i);
		world_random(name, (uint64_t)(100 * level + i + 500), 30000);
	}
	uint64_t whole = back_up_at(s, "whole", level);
	for (int i = 0; i < 40; i++) {
		snprintf(name, sizeof(name), "tree/%02d", i);
		if (i % 3)
			assert_int_equal(unlink(world_path(name)), 0);
	}
	snprintf(name, sizeof(name), "level%d", level);
	back_up_at(s, name, level);
	world_purge(s, whole);
	return world_gc(s).bundles_rewritten;
}

static void gc_compresses_as_the_backup_did(void **state)
{
	unsigned count[256], all = 0;
	(void)state;
	struct cs_store *s = world_open();
	assert_true(s->header.incompat & CS_FEATURE_LEVELS);
	assert_true(thin_out(s, 5) > 0);
	assert_true(thin_out(s, -1) > 0);
	assert_true(thin_out(s, 1) > 0);
	count_levels(s, count);
	assert_true(count[5] && count[CS_BUNDLE_LEVEL_NONE] && count[1]);
	for (unsigned i = 0; i < 256; i++)
		all += count[i];
	assert_int_equal(all, count[5] + count[CS_BUNDLE_LEVEL_NONE] + count[1]);
	world_verify(s);
	cs_store_close(s);
}

static void bundles_of_older_stores_tell_no_level(void **state)
{
	unsigned count[256], all = 0;
	(void)state;
	struct cs_store *s = world_open();
	s->header.incompat &= ~CS_FEATURE_LEVELS;
	assert_true(thin_out(s, 5) > 0);
	count_levels(s, count);
	for (unsigned i = 0; i < 256; i++)
		all += count[i];
	assert_true(all > 0);
	assert_int_equal(all, count[0]);
	world_verify(s);
	cs_store_close(s);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_file_with_the_bytes_of_a_page_loses_nothing,
						world_begin, world_end),
#define T(name) cmocka_unit_test_setup_teardown(name, world_begin, world_end)
		T(a_point_with_damaged_pages_can_be_given_up),
		T(a_point_with_a_damaged_bundle_of_pages_can_be_given_up),
		T(a_point_with_missing_pages_can_be_given_up),
		T(damaged_content_stops_nothing),
		T(content_with_a_damaged_header_stops_nothing),
		T(missing_content_stops_nothing),
		T(nobody_writes_with_locks_that_others_do_not_see),
		T(places_of_dead_readers_are_taken_back),
		T(leases_must_be_a_file),
		T(gc_compresses_as_the_backup_did),
		T(bundles_of_older_stores_tell_no_level),
#undef T
	};
	return cmocka_run_group_tests_name("gc", tests, NULL, NULL);
}
