/* SPDX-License-Identifier: MIT */
#include "store/browse.h"
#include "store/bundles.h"
#include "store/chunkstore.h"
#include "store/reader.h"
#include "util.h"

#include <ftw.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILES 3000 /* with two long names each in one directory: several bundles of pages */
#define NAME "%c%05d-%0*d"
#define PADDING 130, 0

static char scratch[64];

static const char *in_scratch(const char *name)
{
	static char path[160];

	snprintf(path, sizeof(path), "%s/%s", scratch, name);
	return path;
}

/* A file of the tree: its name beginning with a or b, its number. */
static const char *file(char first, int i)
{
	static char path[2][300];
	char *p = path[first == 'b'];

	snprintf(p, sizeof(path[0]), "%s/tree/" NAME, scratch, first, i, PADDING);
	return p;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	return remove(path);
}

static struct cs_store *open_store(void)
{
	struct cs_open_opts o = { .flags = CS_OPEN_WRITE };
	struct cs_store *s;

	assert_int_equal(cs_store_open(in_scratch("store"), &o, &s, NULL), CS_OK);
	return s;
}

static uint64_t bundle_of_page_with(struct cs_tree *t, const struct cs_node *dir, uint64_t number)
{
	struct cs_leaf leaf;

	assert_int_equal(cs_reader_leaf(t->store, dir->entry.children, CS_PAGE_DIR, CS_BY_INDEX,
					number, NULL, 0, &leaf, NULL), CS_OK);
	cs_cache_release(leaf.held);
	return cs_chunk_bundle(leaf.chunk);
}

/* Lose the middle of the list of the point's root directory. */
static void lose_a_page(uint64_t seq)
{
	struct cs_store *s = open_store();
	struct cs_tree *t;
	struct cs_node root;
	struct cs_txn *txn;

	assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
	assert_int_equal(cs_tree_root(t, &root, NULL), CS_OK);
	uint64_t victim = bundle_of_page_with(t, &root, FILES * 5 / 4);

	assert_true(victim != bundle_of_page_with(t, &root, 0));
	assert_true(victim != cs_chunk_bundle(root.entry.children.root));
	assert_int_equal(cs_txn_write(s->db, &txn, NULL), CS_OK);
	assert_int_equal(cs_bundles_del(txn, victim, NULL), CS_OK);
	assert_int_equal(cs_txn_commit(txn, NULL), CS_OK);
	cs_tree_close(t);
	cs_store_close(s);
}

/* The first name is away while the directory is compared, and back when it is begun anew. */
struct trick {
	bool hide, hidden, back;
};

static int hide_first(void *arg, const struct cs_progress *p)
{
	struct trick *t = (struct trick *)arg;

	(void)p;
	if (t->hide && !t->hidden) {
		t->hidden = true;
		assert_int_equal(rename(file('a', 0), in_scratch("hidden")), 0);
	}
	return 0;
}

static void bring_back(void *arg, int kind, const char *text)
{
	struct trick *t = (struct trick *)arg;

	(void)kind;
	if (t->hide && strstr(text, "read anew")) {
		t->back = true;
		assert_int_equal(rename(in_scratch("hidden"), file('a', 0)), 0);
	}
}

static uint64_t back_up(struct trick *t)
{
	char root[160];
	struct cs_backup_result r;
	struct cs_store *s = open_store();
	struct cs_backup_opts o = { .series = "t", .root = root, .progress = hide_first,
				    .notice = bring_back, .arg = t };

	snprintf(root, sizeof(root), "%s", in_scratch("tree"));
	assert_int_equal(cs_backup(s, &o, &r, NULL), CS_OK);
	assert_int_equal(r.point.totals.entries, 1 + 2 * FILES);
	cs_store_close(s);
	return r.point.seq;
}

/* Both names of each file answer with the position of the first, and different files do not. */
static void check_links(uint64_t seq)
{
	struct cs_store *s = open_store();
	struct cs_tree *t;

	assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
	for (int i = 0; i < 2 * FILES; i++) {
		char name[160];
		uint64_t id;
		struct cs_node n;

		snprintf(name, sizeof(name), NAME, i < FILES ? 'a' : 'b', i % FILES, PADDING);
		assert_int_equal(cs_tree_lookup(t, name, &n, NULL), CS_OK);
		assert_int_equal(n.pos, 1 + i);
		assert_int_equal(cs_node_identity(t, &n, &id, NULL), CS_OK);
		assert_int_equal(id, 1 + i % FILES);
		cs_node_release(&n);
	}
	cs_tree_close(t);
	cs_store_close(s);
}

static void make_tree(void)
{
	assert_int_equal(mkdir(in_scratch("tree"), 0755), 0);
	for (int i = 0; i < FILES; i++) {
		FILE *f = fopen(file('a', i), "w");

		assert_non_null(f);
		assert_int_equal(fclose(f), 0);
		assert_int_equal(link(file('a', i), file('b', i)), 0);
	}
}

static void check_both_ways(const char *sort_bytes)
{
	struct trick t = { 0 };

	if (sort_bytes)
		setenv("CS_SORT_BYTES", sort_bytes, 1);
	else
		unsetenv("CS_SORT_BYTES");
	assert_int_equal(mkdir(scratch, 0700), 0);
	make_tree();
	assert_int_equal(cs_store_init(in_scratch("store"), NULL, NULL), CS_OK);
	uint64_t seq = back_up(&t);

	check_links(seq);
	lose_a_page(seq);
	t.hide = true;
	seq = back_up(&t);
	assert_true(t.hidden && t.back);
	check_links(seq);
	nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static void links_are_right_in_a_directory_begun_anew(void **state)
{
	(void)state;
	check_both_ways(NULL);
}

static void also_when_they_and_its_names_are_sorted_on_disk(void **state)
{
	(void)state;
	check_both_ways("4096");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(links_are_right_in_a_directory_begun_anew),
		cmocka_unit_test(also_when_they_and_its_names_are_sorted_on_disk),
	};
	const char *tmp = getenv("TMPDIR");

	snprintf(scratch, sizeof(scratch), "%.30s/chunkstore-t_links.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(scratch))
		return 1;
	rmdir(scratch);
	int rc = cmocka_run_group_tests_name("links", tests, NULL, NULL);
	if (access(scratch, F_OK) == 0)
		nftw(scratch, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	return rc;
}
