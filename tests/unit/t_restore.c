/* SPDX-License-Identifier: MIT */
/*
 * Restore through the public API: a tree is backed up and restored, and the
 * two are compared by descriptors, so that paths may be of any length.
 */
#include "store/chunkstore.h"
#include "util.h"

#include <dirent.h>
#include <fcntl.h>
#include <sys/xattr.h>
#include <unistd.h>

#define DEPTH 300 /* of 40 bytes each: three times PATH_MAX */

static char work[64]; /* has src and S, and takes what is restored */
static struct cs_store *store;
static struct cs_tree *tree;

static const char *at(const char *name)
{
	static char path[4][256];
	static int next;
	char *p = path[next++ % 4];
	snprintf(p, sizeof(path[0]), "%s/%s", work, name);
	return p;
}

static void put(int dirfd, const char *name, const void *data, size_t len, mode_t mode)
{
	int fd = openat(dirfd, name, O_CREAT | O_EXCL | O_WRONLY, 0600);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, data, len), len);
	assert_int_equal(fchmod(fd, mode), 0);
	close(fd);
}

static void put_sparse(int dirfd)
{
	int fd = openat(dirfd, "sparse", O_CREAT | O_EXCL | O_WRONLY, 0644);
	assert_true(fd >= 0);
	assert_int_equal(pwrite(fd, "middle", 6, 8 << 20), 6);
	assert_int_equal(ftruncate(fd, 20 << 20), 0);
	close(fd);
}

static void put_deep(int dirfd)
{
	int fd = dup(dirfd);
	for (int i = 0; i < DEPTH; i++) {
		char name[48];
		snprintf(name, sizeof(name), "%040d", i);
		assert_int_equal(mkdirat(fd, name, 0755), 0);
		int next = openat(fd, name, O_RDONLY | O_DIRECTORY);
		assert_true(next >= 0);
		put(next, "z", name, 40, 0600);
		close(fd);
		fd = next;
	}
	close(fd);
}

static void make_source(int fd)
{
	static uint8_t big[3 << 20];
	struct rng r = rng_start();
	const struct timespec old[2] = { { 1000000000, 123456789 }, { -5, 987654321 } };

	rng_bytes(&r, big, sizeof(big));
	put(fd, "big", big, sizeof(big), 0644);
	put(fd, "empty", "", 0, 0400);
	put(fd, "small", "content\n", 8, 01755);
	put(fd, "new\nline\xff", "x", 1, 0600);
	put_sparse(fd);
	assert_int_equal(mkdirat(fd, "d", 0700), 0);
	int d = openat(fd, "d", O_RDONLY | O_DIRECTORY);
	put(d, "a", big + 5, 70000, 0640);
	assert_int_equal(linkat(d, "a", fd, "link to a", 0), 0);
	assert_int_equal(linkat(d, "a", d, "b", 0), 0);
	assert_int_equal(symlinkat("../small", d, "symlink"), 0);
	assert_int_equal(linkat(d, "symlink", fd, "symlink too", 0), 0);
	assert_int_equal(mknodat(d, "fifo", S_IFIFO | 0620, 0), 0);
	int a = openat(d, "a", O_RDONLY);
	if (fsetxattr(a, "user.comment", "a\0b", 3, 0) != 0)
		print_message("# no extended attributes here: not tested\n");
	close(a);
	put_deep(d);
	assert_int_equal(utimensat(fd, "small", old, 0), 0);
	assert_int_equal(utimensat(d, "symlink", old, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(fchmod(d, 0500), 0);
	assert_int_equal(futimens(d, old), 0);
	close(d);
}

/* ---- comparison */

static void same_content(int a, int b, off_t size)
{
	static char x[1 << 16], y[1 << 16];
	for (off_t off = 0; off < size; off += (off_t)sizeof(x)) {
		ssize_t n = pread(a, x, sizeof(x), off);
		assert_int_equal(pread(b, y, sizeof(y), off), n);
		assert_memory_equal(x, y, (size_t)n);
	}
	assert_int_equal(lseek(a, 0, SEEK_DATA), lseek(b, 0, SEEK_DATA));
	char v[16], w[16];
	ssize_t n = fgetxattr(a, "user.comment", v, sizeof(v));
	assert_int_equal(fgetxattr(b, "user.comment", w, sizeof(w)), n);
	if (n > 0)
		assert_memory_equal(v, w, (size_t)n);
}

static void same_entry(int a, int b, const char *name)
{
	struct stat x, y;
	assert_int_equal(fstatat(a, name, &x, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(fstatat(b, name, &y, AT_SYMLINK_NOFOLLOW), 0);
	assert_int_equal(x.st_mode, y.st_mode);
	assert_int_equal(x.st_uid, y.st_uid);
	assert_int_equal(x.st_gid, y.st_gid);
	assert_int_equal(x.st_nlink, y.st_nlink);
	assert_memory_equal(&x.st_mtim, &y.st_mtim, sizeof(x.st_mtim));
	if (S_ISREG(x.st_mode)) {
		assert_int_equal(x.st_size, y.st_size);
		int f = openat(a, name, O_RDONLY | O_NOATIME), g = openat(b, name, O_RDONLY);
		assert_true(f >= 0 && g >= 0);
		same_content(f, g, x.st_size);
		close(f);
		close(g);
	} else if (S_ISLNK(x.st_mode)) {
		char s[256], t[256];
		ssize_t n = readlinkat(a, name, s, sizeof(s));
		assert_int_equal(readlinkat(b, name, t, sizeof(t)), n);
		assert_memory_equal(s, t, (size_t)n);
	}
}

/* Takes a and b over; returns how many entries there are. */
static size_t same_dir(int a, int b)
{
	DIR *x = fdopendir(a), *y = fdopendir(b);
	size_t count = 0, others = 0;
	struct dirent *e;

	assert_true(x && y);
	while ((e = readdir(y)))
		others++;
	while ((e = readdir(x))) {
		others--;
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		count++;
		same_entry(a, b, e->d_name);
		if (e->d_type == DT_DIR)
			count += same_dir(openat(a, e->d_name, O_RDONLY | O_DIRECTORY),
					  openat(b, e->d_name, O_RDONLY | O_DIRECTORY));
	}
	assert_int_equal(others, 0);
	closedir(x);
	closedir(y);
	return count;
}

static size_t same_tree(const char *a, const char *b)
{
	int x = open(a, O_RDONLY | O_DIRECTORY), y = open(b, O_RDONLY | O_DIRECTORY);
	assert_true(x >= 0 && y >= 0);
	same_entry(x, y, ".");
	return 1 + same_dir(x, y);
}

/* ---- set up */

/* By descriptors too: rm -r does not fear depth. */
static void remove_all(const char *path)
{
	char command[300];
	snprintf(command, sizeof(command), "chmod -R u+rwX '%s' && rm -rf '%s'", path, path);
	assert_int_equal(system(command), 0);
}

static int setup(void **state)
{
	(void)state;
	struct cs_error err = { 0 };
	struct cs_backup_result made;
	const char *tmp = getenv("TMPDIR");

	snprintf(work, sizeof(work), "%.40s/t_restore.XXXXXX", tmp ? tmp : "/tmp");
	assert_non_null(mkdtemp(work));
	assert_int_equal(mkdir(at("src"), 0750), 0);
	int fd = open(at("src"), O_RDONLY | O_DIRECTORY);
	make_source(fd);
	close(fd);
	struct cs_open_opts how = { .flags = CS_OPEN_WRITE };
	struct cs_backup_opts what = { .series = "s", .root = at("src") };
	int r = cs_store_init(at("S"), NULL, &err);
	if (r == CS_OK)
		r = cs_store_open(at("S"), &how, &store, &err);
	if (r == CS_OK)
		r = cs_backup(store, &what, &made, &err);
	if (r == CS_OK)
		r = cs_tree_open(store, made.point.seq, &tree, &err);
	if (r != CS_OK)
		print_message("# %s\n", err.text);
	return r;
}

static int teardown(void **state)
{
	(void)state;
	cs_tree_close(tree);
	cs_store_close(store);
	remove_all(work);
	return 0;
}

static int restore(const char *path, const char *dest, struct cs_error *err)
{
	struct cs_restore_opts opts = { .dest = dest };
	struct cs_restore_result result;
	return cs_restore(tree, path, &opts, &result, err);
}

static bool exists(const char *path)
{
	struct stat st;
	return lstat(path, &st) == 0;
}

/* ---- tests */

static void print_notice(void *arg, int kind, const char *text)
{
	(void)arg;
	print_message("# notice %d: %s\n", kind, text);
}

static void a_tree_comes_back_whole(void **state)
{
	(void)state;
	struct cs_error err = { 0 };
	struct cs_restore_result result;
	struct cs_restore_opts opts = { .dest = at("dest"), .notice = print_notice };

	int r = cs_restore(tree, "", &opts, &result, &err);
	if (r != CS_OK)
		print_message("# %s\n", err.text);
	assert_int_equal(r, CS_OK);
	assert_int_equal(result.entries, same_tree(at("src"), at("dest")));
	assert_int_equal(result.failed, 0);
	assert_false(exists(at("dest.partial")));
	struct stat a, b;
	assert_int_equal(stat(at("dest/d/a"), &a), 0);
	assert_int_equal(stat(at("dest/link to a"), &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	assert_int_equal(lstat(at("dest/d/symlink"), &a), 0);
	assert_int_equal(lstat(at("dest/symlink too"), &b), 0);
	assert_int_equal(a.st_ino, b.st_ino);
	remove_all(at("dest"));
}

static void an_empty_directory_is_filled_in_place(void **state)
{
	(void)state;
	struct stat before, after;
	assert_int_equal(mkdir(at("there"), 0777), 0);
	assert_int_equal(stat(at("there"), &before), 0);
	assert_int_equal(restore("/", at("there/"), NULL), CS_OK);
	assert_int_equal(stat(at("there"), &after), 0);
	assert_int_equal(before.st_ino, after.st_ino);
	same_tree(at("src"), at("there"));
	remove_all(at("there"));
}

static void one_file_is_restored_under_its_new_name(void **state)
{
	(void)state;
	static const char *const paths[] = { "big", "small", "empty", "sparse", "d/a", "d/symlink",
					     "d/fifo" };
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
		struct stat a, b;
		char src[64];
		snprintf(src, sizeof(src), "src/%s", paths[i]);
		assert_int_equal(restore(paths[i], at("one"), NULL), CS_OK);
		assert_int_equal(lstat(at(src), &a), 0);
		assert_int_equal(lstat(at("one"), &b), 0);
		assert_int_equal(a.st_mode, b.st_mode);
		assert_int_equal(a.st_size, b.st_size);
		assert_memory_equal(&a.st_mtim, &b.st_mtim, sizeof(a.st_mtim));
		assert_int_equal(unlink(at("one")), 0);
	}
}

static void what_exists_is_not_touched(void **state)
{
	(void)state;
	struct cs_error err;
	int fd = open(at("."), O_RDONLY | O_DIRECTORY);

	put(fd, "file", "mine", 4, 0600);
	assert_int_equal(symlinkat("nowhere", fd, "dangling"), 0);
	assert_int_equal(restore("", at("file"), &err), CS_E_EXISTS);
	assert_int_equal(restore("small", at("file"), &err), CS_E_EXISTS);
	assert_int_equal(restore("", at("dangling"), &err), CS_E_EXISTS);
	assert_int_equal(restore("small", at("dangling"), &err), CS_E_EXISTS);
	assert_int_equal(restore("", at("src"), &err), CS_E_EXISTS);
	assert_int_equal(restore("small", at("src"), &err), CS_E_EXISTS);
	assert_int_equal(mkdirat(fd, "left.partial", 0700), 0);
	assert_int_equal(restore("", at("left"), &err), CS_E_EXISTS);
	assert_false(exists(at("left")));
	assert_false(exists(at("nowhere")));
	assert_int_equal(unlinkat(fd, "left.partial", AT_REMOVEDIR), 0);
	assert_int_equal(unlinkat(fd, "file", 0), 0);
	assert_int_equal(unlinkat(fd, "dangling", 0), 0);
	close(fd);
}

static int stop(void *arg, const struct cs_progress *p)
{
	(void)arg;
	(void)p;
	return 1;
}

static void nothing_is_left_of_a_restore_that_did_not_begin(void **state)
{
	(void)state;
	struct cs_error err = { 0 };
	struct cs_restore_result result;
	struct cs_restore_opts opts = { .dest = at("dest"), .progress = stop };

	assert_int_equal(restore("no/such", at("dest"), &err), CS_E_NOTFOUND);
	assert_int_equal(restore("", at("no/dest"), &err), CS_E_NOTFOUND);
	assert_non_null(strstr(err.text, "/no"));
	assert_int_equal(restore("", "", &err), CS_E_USAGE);
	assert_int_equal(cs_restore(tree, "", &opts, &result, &err), CS_E_INTERRUPTED);
	assert_false(exists(at("dest")));
	assert_false(exists(at("dest.partial")));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_tree_comes_back_whole),
		cmocka_unit_test(an_empty_directory_is_filled_in_place),
		cmocka_unit_test(one_file_is_restored_under_its_new_name),
		cmocka_unit_test(what_exists_is_not_touched),
		cmocka_unit_test(nothing_is_left_of_a_restore_that_did_not_begin),
	};
	return cmocka_run_group_tests(tests, setup, teardown);
}
