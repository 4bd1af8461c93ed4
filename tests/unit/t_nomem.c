/* SPDX-License-Identifier: MIT */
/*
 * No memory: each allocation of the library in turn is the first that fails, and all
 * after it. Whatever was asked for fails in words, and the store is as sound as
 * before; a sanitizer watches that nothing is lost.
 */
#include "store/alloc.h"
#include "world.h"

#include <sys/stat.h>
#include <unistd.h>

typedef int act_fn(struct cs_error *err);

static uint64_t seq; /* a point of the store */

static int set_up(void **state)
{
	static const struct cs_forget_opts purge = { .purge = true };
	char other[256];

	if (world_begin(state) != 0)
		return -1;
	world_write("tree/small", "text", 4);
	world_random("tree/chunk", 1, 9000);
	world_random("tree/large", 2, 700000);
	mkdir(world_path("tree/dir"), 0755);
	world_random("tree/dir/x", 3, 5000);
	snprintf(other, sizeof(other), "%s", world_path("tree/dir/linked"));
	assert_int_equal(link(world_path("tree/chunk"), other), 0);
	assert_int_equal(symlink("small", world_path("tree/symlink")), 0);
	struct cs_store *s = world_open();
	uint64_t gone = world_back_up(s, "gone");
	world_random("tree/dir/x", 4, 5000);
	seq = world_back_up(s, "s");
	assert_int_equal(cs_points_forget(s, &gone, 1, &purge, NULL), CS_OK);
	cs_store_close(s);
	return 0;
}

static int in_store(int flags, int (*what)(struct cs_store *, struct cs_error *), struct cs_error *err)
{
	struct cs_open_opts o = { .flags = flags };
	struct cs_store *s;
	int rc = cs_store_open(world_path("store"), &o, &s, err);

	if (rc != CS_OK)
		return rc;
	rc = what(s, err);
	cs_store_close(s);
	return rc;
}

/* ---- what is tried */

static int read_node(void *arg, const char *path, const struct cs_node *n, struct cs_error *err)
{
	struct cs_tree *t = arg;
	struct cs_read r = { 0 };
	struct cs_xattrs x;
	struct cs_node at;
	uint64_t pos, off;
	char *line;

	int rc = cs_node_dump(t, n, path, strlen(path), &line, err);
	if (rc != CS_OK)
		return rc;
	free(line);
	if ((rc = cs_node_identity(t, n, &pos, err)) != CS_OK ||
	    (rc = cs_tree_at(t, pos, &at, err)) != CS_OK)
		return rc;
	cs_node_release(&at);
	if ((rc = cs_xattrs_load(t, n, &x, err)) != CS_OK)
		return rc;
	cs_xattrs_release(&x);
	if (!S_ISREG(n->entry.mode))
		return CS_OK;
	rc = cs_file_read(t, n, 0, 1 << 20, &r, err);
	cs_read_release(&r);
	return rc == CS_OK ? cs_file_seek(t, n, 0, false, &off, err) : rc;
}

static int read_all(struct cs_store *s, struct cs_error *err)
{
	struct cs_tree *t;
	struct cs_node root;
	int rc = cs_tree_open(s, seq, &t, err);

	if (rc != CS_OK)
		return rc;
	rc = cs_tree_root(t, &root, err);
	if (rc == CS_OK)
		rc = cs_tree_walk(t, &root, read_node, NULL, t, err);
	cs_tree_close(t);
	return rc;
}

static int reading(struct cs_error *err)
{
	return in_store(CS_OPEN_READ, read_all, err);
}

static int back_up(struct cs_store *s, struct cs_error *err)
{
	struct cs_backup_opts o = { .series = "b", .root = world_path("tree"), .force = true };
	struct cs_backup_result r;

	return cs_backup(s, &o, &r, err);
}

static int backing_up(struct cs_error *err)
{
	return in_store(CS_OPEN_WRITE, back_up, err);
}

static int restore(struct cs_store *s, struct cs_error *err)
{
	struct cs_restore_opts o = { .dest = world_path("restored"), .overwrite = CS_OVERWRITE_ALWAYS,
				     .delete_extra = true };
	struct cs_restore_result r;
	struct cs_tree *t;
	int rc = cs_tree_open(s, seq, &t, err);

	if (rc != CS_OK)
		return rc;
	rc = cs_restore(t, "", &o, &r, err);
	cs_tree_close(t);
	return rc;
}

static int restoring(struct cs_error *err)
{
	return in_store(CS_OPEN_READ, restore, err);
}

static int collect(struct cs_store *s, struct cs_error *err)
{
	struct cs_gc_opts o = { 0 };
	struct cs_gc_result r;

	return cs_gc(s, &o, &r, err);
}

static int collecting(struct cs_error *err)
{
	return in_store(CS_OPEN_WRITE, collect, err);
}

static int verify(struct cs_store *s, struct cs_error *err)
{
	struct cs_verify_opts o = { 0 };
	struct cs_verify_result r;

	return cs_verify(s, &o, &r, err);
}

static int verifying(struct cs_error *err)
{
	return in_store(CS_OPEN_READ, verify, err);
}

/* ---- trying */

static void is_sound(void)
{
	struct cs_store *s = world_open();

	world_verify(s);
	cs_store_close(s);
}

static void try_all(const char *name, act_fn *act, bool writes)
{
	long n;

	for (n = 0;; n++) {
		struct cs_error err = { 0 };
		cs_alloc_fail_after(n);
		int rc = act(&err);
		cs_alloc_fail_after(-1);
		if (rc == CS_OK)
			break;
		if (!err.text[0] || rc == CS_E_CORRUPT)
			fail_msg("%s, allocation %ld: %d, %s", name, n, rc, err.text);
		if (writes)
			is_sound();
	}
	is_sound();
	print_message("# %s: %ld allocations, each refused once\n", name, n);
	assert_true(n > 10);
}

static void a_read_fails_in_words(void **state)
{
	(void)state;
	try_all("read", reading, false);
}

static void a_restore_fails_in_words(void **state)
{
	(void)state;
	try_all("restore", restoring, false);
}

static void a_verify_fails_and_finds_nothing_damaged(void **state)
{
	(void)state;
	try_all("verify", verifying, false);
}

static void a_backup_fails_and_leaves_no_harm(void **state)
{
	(void)state;
	try_all("backup", backing_up, true);
}

static void a_gc_fails_and_leaves_no_harm(void **state)
{
	(void)state;
	try_all("gc", collecting, true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(a_read_fails_in_words, set_up, world_end),
		cmocka_unit_test_setup_teardown(a_restore_fails_in_words, set_up, world_end),
		cmocka_unit_test_setup_teardown(a_verify_fails_and_finds_nothing_damaged, set_up,
						world_end),
		cmocka_unit_test_setup_teardown(a_backup_fails_and_leaves_no_harm, set_up, world_end),
		cmocka_unit_test_setup_teardown(a_gc_fails_and_leaves_no_harm, set_up, world_end),
	};
	return cmocka_run_group_tests_name("nomem", tests, NULL, NULL);
}
