/* SPDX-License-Identifier: MIT */
/* Free pages go back to the file system, and not a byte that anybody can see changes. */
#include "store/db.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define KEYS 700
#define LEN_MAX 70000

/* ---- what the store should hold: value = f(key, version); version 0: nothing */

struct model {
	uint32_t version[KEYS];
};

static size_t value_of(unsigned key, uint32_t version, uint8_t *out)
{
	struct rng r = { key * 1000003ull + version };
	size_t len = 8 + rng_below(&r, LEN_MAX - 8);
	for (size_t i = 0; i + 8 <= len; i += 8) {
		uint64_t v = rng_next(&r);
		memcpy(out + i, &v, 8);
	}
	memset(out + len / 8 * 8, 7, len % 8);
	return len;
}

static bool holds(struct cs_txn *t, unsigned key, uint32_t version)
{
	static uint8_t want[LEN_MAX];
	uint64_t k = key + 1;
	struct cs_slice v;
	int rc = cs_db_get(t, CS_T_BUNDLES, cs_u64_key(&k), &v, NULL);
	if (version == 0 || rc != 1)
		return version == 0 && rc == 0;
	return v.len == value_of(key, version, want) && memcmp(v.data, want, v.len) == 0;
}

static int count_wrong(struct cs_txn *t, const struct model *m)
{
	int wrong = 0;
	for (unsigned key = 0; key < KEYS; key++)
		wrong += !holds(t, key, m->version[key]);
	return wrong;
}

/* ---- the store */

static char dir[64];
static struct rng rng;

static struct cs_db *open_db(int flags)
{
	struct cs_db *db;
	struct cs_error err;
	if (cs_db_open(dir, flags, &db, &err) != CS_OK)
		fail_msg("%s", err.text);
	return db;
}

static void remove_store(void)
{
	char path[128];
	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/lock.mdb", dir);
	unlink(path);
}

static uint64_t disk_bytes(void)
{
	char path[128];
	struct stat st;
	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_blocks * 512;
}

static uint64_t file_bytes(void)
{
	char path[128];
	struct stat st;
	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	assert_int_equal(stat(path, &st), 0);
	return (uint64_t)st.st_size;
}

static struct cs_txn *begin(struct cs_db *db)
{
	struct cs_txn *t;
	assert_int_equal(cs_txn_write(db, &t, NULL), CS_OK);
	return t;
}

static void put(struct cs_txn *t, struct model *m, unsigned key)
{
	static uint8_t value[LEN_MAX];
	uint64_t k = key + 1;
	size_t len = value_of(key, ++m->version[key], value);
	assert_int_equal(cs_db_put(t, CS_T_BUNDLES, cs_u64_key(&k), (struct cs_slice){ value, len },
				   NULL), CS_OK);
}

static void del(struct cs_txn *t, struct model *m, unsigned key)
{
	uint64_t k = key + 1;
	m->version[key] = 0;
	assert_int_equal(cs_db_del(t, CS_T_BUNDLES, cs_u64_key(&k), NULL, NULL), CS_OK);
}

static void commit(struct cs_txn *t)
{
	assert_int_equal(cs_txn_commit(t, NULL), CS_OK);
}

/* A transaction that changes next to nothing: what the one before has freed is free after it. */
static void follow(struct cs_db *db)
{
	struct cs_txn *t = begin(db);
	assert_int_equal(cs_db_counter_set(t, "n", rng_next(&rng), NULL), CS_OK);
	commit(t);
}

static void fill(struct cs_db *db, struct model *m)
{
	struct cs_txn *t = begin(db);
	memset(m, 0, sizeof(*m));
	for (unsigned key = 0; key < KEYS; key++)
		put(t, m, key);
	commit(t);
}

static void delete_some(struct cs_db *db, struct model *m, unsigned of_four)
{
	struct cs_txn *t = begin(db);
	for (unsigned key = 0; key < KEYS; key++)
		if (rng_below(&rng, 4) < of_four)
			del(t, m, key);
	commit(t);
}

static void check_all(struct cs_db *db, const struct model *m)
{
	struct cs_txn *t;
	assert_int_equal(cs_txn_read(db, &t, NULL), CS_OK);
	assert_int_equal(count_wrong(t, m), 0);
	cs_txn_end(t);
}

static struct cs_punch punch_all(struct cs_db *db, const struct cs_punch_opts *opts)
{
	struct cs_punch p = { 0 };
	struct cs_error err;
	while (!p.done)
		if (cs_db_punch(db, opts, &p, &err) != CS_OK)
			fail_msg("%s", err.text);
	return p;
}

static const struct cs_punch_opts keep_nothing = { .keep_nothing = true };

/* ---- system calls, counted, and made to fail or to be the last thing a process does */

static long calls, die_after = -1; /* fallocate */
static long changes, die_at_change = -1; /* whatever changes the files, or makes that last */
static int refuse;

static void count_change(void)
{
	if (die_at_change >= 0 && changes >= die_at_change)
		raise(SIGKILL);
	changes++;
}

#define SEEN __attribute__((visibility("default"))) /* by LMDB too */

SEEN int fallocate64(int fd, int mode, __off64_t offset, __off64_t len)
{
	if (!(mode & FALLOC_FL_PUNCH_HOLE)) /* not what this is about */
		return (int)syscall(SYS_fallocate, fd, mode, offset, len);
	if (die_after >= 0 && calls >= die_after)
		raise(SIGKILL);
	calls++;
	count_change();
	if (refuse) {
		errno = refuse;
		return -1;
	}
	return (int)syscall(SYS_fallocate, fd, mode, offset, len);
}

SEEN ssize_t pwrite64(int fd, const void *p, size_t n, __off64_t offset)
{
	count_change();
	return syscall(SYS_pwrite64, fd, p, n, offset);
}

SEEN ssize_t writev(int fd, const struct iovec *v, int n)
{
	count_change();
	return syscall(SYS_writev, fd, v, n);
}

SEEN int ftruncate64(int fd, __off64_t len)
{
	count_change();
	return (int)syscall(SYS_ftruncate, fd, len);
}

SEEN int fdatasync(int fd)
{
	count_change();
	return (int)syscall(SYS_fdatasync, fd);
}

/* ---- tests */

static int set_up(void **state)
{
	(void)state;
	remove_store();
	calls = 0;
	changes = 0;
	die_after = die_at_change = -1;
	refuse = 0;
	return 0;
}

static void gives_back_what_is_free_and_nothing_else(void **state)
{
	struct model m;
	struct cs_db *db = open_db(CS_DB_CREATE);
	struct cs_db_stats s;

	(void)state;
	fill(db, &m);
	delete_some(db, &m, 3);
	follow(db);
	uint64_t before = disk_bytes();
	assert_int_equal(cs_db_stats(db, &s, NULL), CS_OK);
	struct cs_punch p = punch_all(db, &keep_nothing);
	uint64_t after = disk_bytes();
	printf("# %llu KiB on disk, %llu of them free; %llu after %llu calls in %llu steps, %.1f ms\n",
	       (unsigned long long)before / 1024, (unsigned long long)s.free_bytes / 1024,
	       (unsigned long long)after / 1024, (unsigned long long)p.calls,
	       (unsigned long long)p.steps, (double)p.longest_ns / 1e6);
	check_all(db, &m);
	assert_false(p.unsupported);
	assert_int_equal(p.given_bytes, before - after);
	assert_int_equal(p.free_bytes, s.free_bytes);
	assert_int_equal(p.held_bytes, 0);
	/* all but what the last transactions have freed, pages that were never written, and the
	 * megabyte that is set aside behind the end */
	assert_true(after <= s.file_bytes - s.free_bytes + p.late_bytes + before / 64 + (1 << 20));
	assert_true(p.late_bytes < 65536);
	assert_int_equal(cs_db_stats(db, &s, NULL), CS_OK);
	assert_int_equal(s.disk_bytes, after);

	/* holes are not punched again */
	calls = 0;
	p = punch_all(db, &keep_nothing);
	assert_true(p.given_bytes <= 65536);
	assert_true(calls <= 4);
	cs_db_close(db);

	/* and they are used again */
	db = open_db(CS_DB_WRITE);
	check_all(db, &m);
	uint64_t size = file_bytes();
	struct cs_txn *t = begin(db);
	for (unsigned key = 0; key < KEYS; key += 2)
		if (m.version[key] == 0)
			put(t, &m, key);
	commit(t);
	assert_true(file_bytes() <= size + 1000000);
	check_all(db, &m);
	cs_db_close(db);
}

static void steps_are_bounded_and_go_on(void **state)
{
	struct model m;
	struct cs_db *db = open_db(CS_DB_CREATE);
	struct cs_punch p = { 0 };
	const struct cs_punch_opts three = { .max_calls = 3, .keep_nothing = true };

	(void)state;
	fill(db, &m);
	delete_some(db, &m, 2);
	follow(db);
	uint64_t before = disk_bytes(), last = 0;
	while (!p.done) {
		long was = calls;
		assert_int_equal(cs_db_punch(db, &three, &p, NULL), CS_OK);
		assert_true(calls - was <= 3 + (p.done ? 1 : 0));
		assert_true(p.next_page >= last);
		last = p.next_page;
		if (p.steps % 5 == 0) { /* others write between the steps */
			struct cs_txn *t = begin(db);
			put(t, &m, (unsigned)rng_below(&rng, KEYS));
			commit(t);
		}
	}
	assert_true(p.steps > 20);
	assert_true(p.given_bytes > before / 4);
	check_all(db, &m);
	cs_db_close(db);
}

static void something_is_kept_for_a_full_disk(void **state)
{
	struct model m;
	struct cs_db *db = open_db(CS_DB_CREATE);
	const struct cs_punch_opts usual = { 0 };

	(void)state;
	fill(db, &m);
	delete_some(db, &m, 3);
	follow(db);
	struct cs_punch p = punch_all(db, &keep_nothing);
	uint64_t bare = disk_bytes();
	p = punch_all(db, &usual);
	assert_true(p.kept_bytes >= 1 << 20);
	assert_true(disk_bytes() >= bare + (1 << 20) - 65536);
	uint64_t first = disk_bytes();
	calls = 0;
	p = punch_all(db, &usual);
	assert_int_equal(disk_bytes(), first);
	assert_int_equal(calls, 0);
	/* small transactions find it, and keep as much for the next */
	for (int i = 0; i < 20; i++)
		follow(db);
	assert_true(disk_bytes() <= first + (1 << 20));
	check_all(db, &m);
	cs_db_close(db);
}

static void a_file_system_that_cannot_is_no_error(void **state)
{
	struct model m;
	struct cs_db *db = open_db(CS_DB_CREATE);

	(void)state;
	fill(db, &m);
	delete_some(db, &m, 2);
	follow(db);
	refuse = EOPNOTSUPP;
	struct cs_punch p = punch_all(db, &keep_nothing);
	assert_true(p.unsupported);
	assert_int_equal(calls, 1);
	assert_int_equal(p.given_bytes, 0);
	refuse = EIO;
	memset(&p, 0, sizeof(p));
	struct cs_error err;
	assert_int_equal(cs_db_punch(db, &keep_nothing, &p, &err), CS_E_IO);
	refuse = 0;
	p = punch_all(db, &keep_nothing); /* the lock was given back */
	assert_true(p.given_bytes > 1000000);
	check_all(db, &m);
	cs_db_close(db);
	db = open_db(CS_DB_READ);
	memset(&p, 0, sizeof(p));
	assert_true(cs_db_punch(db, &keep_nothing, &p, &err) < 0);
	cs_db_close(db);
}

static void the_end_of_the_file_can_be_cut(void **state)
{
	struct model m;
	struct cs_db *db = open_db(CS_DB_CREATE);
	const struct cs_punch_opts cut = { .cut = true };

	(void)state;
	fill(db, &m);
	uint64_t full = file_bytes();
	struct cs_txn *t = begin(db);
	for (unsigned key = 0; key < 20; key++) /* room in front for what changes next */
		del(t, &m, key);
	commit(t);
	follow(db);
	t = begin(db);
	for (unsigned key = KEYS / 2; key < KEYS; key++)
		del(t, &m, key);
	put(t, &m, 0); /* and what changed there comes back from the end */
	commit(t);
	follow(db);
	follow(db);
	refuse = EOPNOTSUPP; /* this one needs no holes */
	struct cs_punch p = punch_all(db, &cut);
	assert_true(p.unsupported);
	assert_true(file_bytes() < full * 6 / 10);
	assert_true(disk_bytes() < full * 6 / 10);
	check_all(db, &m);
	cs_db_close(db);

	/* LMDB opens it, reads it and makes it longer again */
	db = open_db(CS_DB_WRITE);
	check_all(db, &m);
	t = begin(db);
	for (unsigned key = 0; key < KEYS; key++)
		put(t, &m, key);
	commit(t);
	check_all(db, &m);
	cs_db_close(db);
}

/* Make the newer of the two meta pages unusable, as if it had never been written. */
static void lose_last_transaction(void)
{
	enum { PAGE = 4096, ID = 144 }; /* where LMDB keeps a meta page's transaction id */
	uint64_t id[2], none = 0;
	char path[128];
	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_int_equal(pread(fd, &id[0], 8, ID), 8);
	assert_int_equal(pread(fd, &id[1], 8, PAGE + ID), 8);
	assert_true(id[0] == id[1] + 1 || id[1] == id[0] + 1);
	assert_int_equal(pwrite(fd, &none, 8, (id[1] > id[0] ? PAGE : 0) + ID), 8);
	close(fd);
}

static void the_state_before_the_last_transaction_stays_whole(void **state)
{
	struct model m, before;
	struct cs_db *db = open_db(CS_DB_CREATE);

	(void)state;
	fill(db, &m);
	delete_some(db, &m, 1);
	follow(db);
	before = m;
	delete_some(db, &m, 2);
	struct cs_punch p = punch_all(db, &keep_nothing);
	assert_true(p.late_bytes > 1000000);
	assert_true(p.given_bytes > 1000000);
	check_all(db, &m);
	cs_db_close(db);
	lose_last_transaction();
	db = open_db(CS_DB_WRITE);
	check_all(db, &before);
	cs_db_close(db);
}

/* What a transaction has written lies in LMDB's heap: to let go of that would zero it. */
static void unload_spares_what_was_just_written(void **state)
{
	struct model m = { { 0 } };
	struct cs_db *db = open_db(CS_DB_CREATE);
	struct cs_slice v;
	uint64_t k = 1, small = 7;

	(void)state;
	struct cs_txn *t = begin(db);
	put(t, &m, 5);
	assert_int_equal(cs_db_put(t, CS_T_BUNDLES, cs_u64_key(&k), cs_u64_key(&small), NULL),
			 CS_OK);
	for (int i = 0; i < 2; i++) {
		uint64_t number = i ? 6 : 1;
		assert_int_equal(cs_db_get(t, CS_T_BUNDLES, cs_u64_key(&number), &v, NULL), 1);
		cs_db_unload(t, v);
	}
	assert_int_equal(cs_db_get(t, CS_T_BUNDLES, cs_u64_key(&k), &v, NULL), 1);
	assert_int_equal(v.len, 8);
	assert_memory_equal(v.data, &small, 8);
	assert_true(holds(t, 5, m.version[5]));
	commit(t);
	cs_db_close(db);
}

/* ---- moving */

/* Rows of the other tables: many keys, several values a key, names. */
static void fill_rest(struct cs_db *db)
{
	struct cs_txn *t = begin(db);
	for (unsigned i = 0; i < 32000; i++) {
		uint64_t key = i < 20000 ? 7 : rng_next(&rng), chunk = rng_next(&rng);
		if (i % 10 == 0)
			key = i % 40; /* four keys with 300 values each: a tree of its own */
		if (i % 10 == 1)
			key = i % 1000; /* a few each: a page in a page */
		assert_int_equal(cs_db_put(t, CS_T_INDEX, cs_u64_key(&key), cs_u64_key(&chunk),
					   NULL), CS_OK);
	}
	for (unsigned i = 0; i < 3000; i++) {
		char name[64], value[300];
		size_t len = rng_below(&rng, sizeof(value));
		int n = snprintf(name, sizeof(name), "name %llx", (unsigned long long)rng_next(&rng));
		memset(value, 'a' + (int)(i % 26), sizeof(value));
		assert_int_equal(cs_db_put(t, i % 2 ? CS_T_SERIES : CS_T_CATALOG,
					   (struct cs_slice){ name, (size_t)n },
					   (struct cs_slice){ value, len }, NULL), CS_OK);
	}
	commit(t);
}

/* Of all rows in all tables but META, in order. */
static uint64_t digest(struct cs_db *db)
{
	struct cs_txn *t;
	struct cs_slice key = { 0 }, value = { 0 };
	uint64_t d = 14695981039346656037ull;
	assert_int_equal(cs_txn_read(db, &t, NULL), CS_OK);
	for (int table = CS_T_META + 1; table < CS_TABLES; table++) {
		struct cs_cursor *c;
		assert_int_equal(cs_cursor_open(t, (enum cs_table)table, &c, NULL), CS_OK);
		int rc = cs_cursor_move(c, CS_SEEK_FIRST, &key, &value, NULL);
		for (; rc == 1; rc = cs_cursor_move(c, CS_SEEK_NEXT, &key, &value, NULL)) {
			const struct cs_slice both[] = { key, value };
			d = (d ^ (uint64_t)table) * 1099511628211ull;
			for (int i = 0; i < 2; i++) {
				d = (d ^ both[i].len) * 1099511628211ull;
				for (size_t j = 0; j < both[i].len; j++)
					d = (d ^ ((const uint8_t *)both[i].data)[j]) *
					    1099511628211ull;
			}
		}
		assert_int_equal(rc, 0);
		cs_cursor_close(c);
	}
	cs_txn_end(t);
	return d;
}

static const struct cs_punch_opts cut_end = { .cut = true };

/* A round of compact. 0, or the exit status of a child that failed. */
static int move_round(struct cs_db *db, struct cs_punch *p, bool stir)
{
	const struct cs_move_opts move = { .floor = p->used_pages + p->used_pages / 32 + 64,
					   .limit = p->end_page, .stir = stir,
					   .step_bytes = stir ? 100000 : 0 };
	struct cs_move r = { 0 };
	struct cs_txn *t;
	while (!r.done)
		if (cs_db_move(db, &move, &r, NULL) != CS_OK)
			return 3;
	if (cs_db_gather(db, move.floor, NULL) != CS_OK)
		return 4;
	for (int i = 0; i < 2; i++)
		if (cs_txn_write(db, &t, NULL) != CS_OK ||
		    cs_db_counter_set(t, "n", (uint64_t)i, NULL) != CS_OK ||
		    cs_txn_commit(t, NULL) != CS_OK)
			return 5;
	memset(p, 0, sizeof(*p));
	while (!p->done)
		if (cs_db_punch(db, &cut_end, p, NULL) != CS_OK)
			return 6;
	return 0;
}

static void what_does_not_fit_in_front_stays(void **state)
{
	struct model m;
	struct cs_db *db = open_db(CS_DB_CREATE);
	const struct cs_move_opts nowhere = { .floor = 2, .limit = 2 };
	struct cs_move r = { 0 };

	(void)state;
	fill(db, &m);
	delete_some(db, &m, 2);
	follow(db);
	uint64_t size = file_bytes();
	while (!r.done)
		assert_int_equal(cs_db_move(db, &nowhere, &r, NULL), CS_OK);
	assert_true(r.refused > 10);
	assert_true(r.moved_bytes < 1000000);
	assert_int_equal(file_bytes(), size);
	check_all(db, &m);
	cs_db_close(db);
}

static void what_is_at_the_end_moves_to_the_front(void **state)
{
	struct model m;
	struct cs_db *db = open_db(CS_DB_CREATE);

	(void)state;
	fill(db, &m);
	fill_rest(db);
	for (unsigned first = 0; first < KEYS; first += 50) {
		/* in steps, as gc does: the first lists of free pages find no room but the end */
		struct cs_txn *t = begin(db);
		for (unsigned key = first; key < first + 50 && key < KEYS; key++)
			if (rng_below(&rng, 3))
				del(t, &m, key);
		commit(t);
	}
	follow(db);
	uint64_t before = file_bytes(), d = digest(db);
	refuse = EOPNOTSUPP; /* it needs no holes */
	struct cs_punch p = punch_all(db, &cut_end);
	for (int round = 0; round < 4; round++) {
		assert_int_equal(move_round(db, &p, round == 1), 0);
		assert_int_equal(digest(db), d);
	}
	check_all(db, &m);
	printf("# %llu KiB before; %llu after, of which %llu in use\n",
	       (unsigned long long)before / 1024, (unsigned long long)file_bytes() / 1024,
	       (unsigned long long)p.used_pages * 4);
	assert_true(file_bytes() < before * 7 / 10);
	assert_true(file_bytes() / 4096 < p.used_pages + p.used_pages / 10 + 256);
	/* nothing left to do is little to do */
	uint64_t size = file_bytes();
	assert_int_equal(move_round(db, &p, false), 0);
	assert_true(file_bytes() <= size + size / 32);
	cs_db_close(db);

	db = open_db(CS_DB_WRITE);
	assert_int_equal(digest(db), d);
	fill(db, &m);
	check_all(db, &m);
	cs_db_close(db);
}

/* The lists of what was freed last lie at the end, and the moved values do not use them up. */
static void the_list_of_free_pages_moves_too(void **state)
{
	struct model m;
	struct cs_db *db = open_db(CS_DB_CREATE);

	(void)state;
	fill(db, &m);
	for (unsigned first = 0; first < 600; first += 300) {
		struct cs_txn *t = begin(db);
		for (unsigned key = first; key < first + 300; key++)
			del(t, &m, key);
		commit(t);
	}
	follow(db);
	struct cs_punch p = punch_all(db, &cut_end);
	for (int round = 0; round < 2; round++)
		assert_int_equal(move_round(db, &p, false), 0);
	check_all(db, &m);
	assert_true(file_bytes() / 4096 < p.used_pages + p.used_pages / 10 + 256);
	cs_db_close(db);
}

static void moving_is_killed_at_any_write(void **state)
{
	struct model m;
	struct cs_db *db = open_db(CS_DB_CREATE);
	int rounds = 0;
	bool killed = true;

	(void)state;
	fill(db, &m);
	fill_rest(db);
	delete_some(db, &m, 2);
	follow(db);
	uint64_t d = digest(db), before = file_bytes();
	cs_db_close(db);
	for (long n = 0; killed; n += 1 + n / 8, rounds++) {
		int status;
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			struct cs_punch p = { 0 };
			int rc = 0;
			if (cs_db_open(dir, CS_DB_WRITE, &db, NULL) != CS_OK)
				_exit(2);
			die_at_change = n;
			while (!p.done)
				if (cs_db_punch(db, &cut_end, &p, NULL) != CS_OK)
					_exit(2);
			for (int i = 0; i < 3 && rc == 0; i++)
				rc = move_round(db, &p, i == 1);
			cs_db_close(db);
			_exit(rc);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		killed = WIFSIGNALED(status);
		if (!killed)
			assert_int_equal(WEXITSTATUS(status), 0);
		db = open_db(CS_DB_WRITE);
		assert_int_equal(digest(db), d);
		check_all(db, &m);
		if (rounds % 4 == 0)
			follow(db);
		cs_db_close(db);
	}
	printf("# killed %d times\n", rounds - 1);
	assert_true(rounds > 15);
	assert_true(file_bytes() < before * 7 / 10);
}

/* ---- other processes */

struct child {
	pid_t pid;
	int go; /* closing it makes the child check its snapshot and end */
};

/* A process with a reader that stays at the present state. */
static struct child reader(const struct model *m)
{
	int go[2], ready[2];
	char c;
	assert_int_equal(pipe2(go, O_CLOEXEC), 0);
	assert_int_equal(pipe2(ready, O_CLOEXEC), 0);
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		struct cs_db *db;
		struct cs_txn *t;
		close(go[1]);
		if (cs_db_open(dir, CS_DB_READ, &db, NULL) != CS_OK ||
		    cs_txn_read(db, &t, NULL) != CS_OK || write(ready[1], "", 1) != 1)
			_exit(2);
		while (read(go[0], &c, 1) < 0)
			;
		int wrong = count_wrong(t, m);
		cs_txn_end(t);
		cs_db_close(db);
		_exit(wrong ? 1 : 0);
	}
	close(go[0]);
	close(ready[1]);
	assert_int_equal(read(ready[0], &c, 1), 1);
	close(ready[0]);
	return (struct child){ pid, go[1] };
}

static int finish(struct child c)
{
	int status;
	close(c.go);
	assert_int_equal(waitpid(c.pid, &status, 0), c.pid);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 99;
}

#define READERS 6

/* The parent may not have the store open when it forks: opens it for each round. */
static void old_snapshots_stay_whole(void **state)
{
	struct model m, seen[READERS];
	struct child c[READERS];
	struct cs_db *db = open_db(CS_DB_CREATE);
	uint64_t held = 0;

	(void)state;
	fill(db, &m);
	cs_db_close(db);
	for (int i = 0; i < READERS; i++) {
		seen[i] = m;
		c[i] = reader(&seen[i]);
		db = open_db(CS_DB_WRITE);
		struct cs_txn *t = begin(db);
		for (unsigned key = 0; key < KEYS; key++)
			if (rng_below(&rng, 4) == 0)
				del(t, &m, key);
			else if (rng_below(&rng, 8) == 0)
				put(t, &m, key);
		commit(t);
		follow(db);
		struct cs_punch p = punch_all(db, &keep_nothing);
		assert_true(p.held_bytes > held);
		held = p.held_bytes;
		check_all(db, &m);
		p = punch_all(db, &cut_end);
		assert_int_equal(move_round(db, &p, false), 0);
		check_all(db, &m);
		cs_db_close(db);
	}
	/* they go, oldest last, and only then is all of it given back */
	uint64_t given = 0;
	for (int i = READERS - 1; i >= 0; i--) {
		assert_int_equal(finish(c[i]), 0);
		db = open_db(CS_DB_WRITE);
		struct cs_punch p = punch_all(db, &keep_nothing);
		if (i > 0)
			assert_true(p.held_bytes > 0);
		else
			assert_int_equal(p.held_bytes, 0);
		given = p.given_bytes;
		check_all(db, &m);
		cs_db_close(db);
	}
	assert_true(given > 1000000);
}

/* A killed reader holds nothing. */
static void the_dead_hold_nothing(void **state)
{
	struct model m;
	struct cs_db *db = open_db(CS_DB_CREATE);

	(void)state;
	fill(db, &m);
	cs_db_close(db);
	struct child a = reader(&m), b = reader(&m); /* b keeps the lock file in use */
	kill(a.pid, SIGKILL);
	assert_int_equal(finish(a), 99);
	db = open_db(CS_DB_WRITE);
	delete_some(db, &m, 3);
	follow(db);
	struct cs_punch p = punch_all(db, &keep_nothing);
	assert_true(p.held_bytes > 0);
	kill(b.pid, SIGKILL);
	assert_int_equal(finish(b), 99);
	p = punch_all(db, &keep_nothing);
	assert_int_equal(p.held_bytes, 0);
	assert_true(p.given_bytes > 1000000);
	check_all(db, &m);
	cs_db_close(db);
}

static void killed_between_any_two_calls(void **state)
{
	struct model m;
	struct cs_db *db = open_db(CS_DB_CREATE);
	int rounds = 0;
	bool killed = true;

	(void)state;
	fill(db, &m);
	delete_some(db, &m, 2);
	follow(db);
	cs_db_close(db);
	/* each goes on from where the one before was killed */
	for (long n = 0; killed; n++, rounds++) {
		int status;
		pid_t pid = fork();
		assert_true(pid >= 0);
		if (pid == 0) {
			struct cs_punch p = { 0 };
			die_after = n % 9;
			if (cs_db_open(dir, CS_DB_WRITE, &db, NULL) != CS_OK)
				_exit(2);
			while (!p.done)
				if (cs_db_punch(db, &keep_nothing, &p, NULL) != CS_OK)
					_exit(3);
			cs_db_close(db);
			_exit(0);
		}
		assert_int_equal(waitpid(pid, &status, 0), pid);
		killed = WIFSIGNALED(status);
		if (!killed)
			assert_int_equal(WEXITSTATUS(status), 0);
		db = open_db(CS_DB_WRITE);
		check_all(db, &m);
		if (n % 4 == 0) { /* and the store takes new values */
			struct cs_txn *t = begin(db);
			put(t, &m, (unsigned)rng_below(&rng, KEYS));
			commit(t);
			check_all(db, &m);
		}
		cs_db_close(db);
	}
	printf("# killed %d times\n", rounds - 1);
	assert_true(rounds > 20);
}

/* Many rounds of change in one process, others reading now and then: the size on disk levels off. */
static void size_on_disk_levels_off(void **state)
{
	struct model m;
	struct cs_db *db = open_db(CS_DB_CREATE);
	uint64_t early = 0, late = 0;

	(void)state;
	fill(db, &m);
	for (int round = 0; round < 60; round++) {
		struct cs_txn *t = begin(db);
		for (unsigned key = 0; key < KEYS; key++)
			if (rng_below(&rng, 16) == 0)
				put(t, &m, key);
		commit(t);
		struct cs_punch p = punch_all(db, &keep_nothing);
		assert_true(p.done);
		uint64_t now = disk_bytes();
		if (round >= 10 && round < 20 && now > early)
			early = now;
		if (round >= 50 && now > late)
			late = now;
	}
	check_all(db, &m);
	assert_true(late < early + early / 10);
	cs_db_close(db);
}

int main(void)
{
	const char *base = getenv("TMPDIR");
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(gives_back_what_is_free_and_nothing_else, set_up),
		cmocka_unit_test_setup(steps_are_bounded_and_go_on, set_up),
		cmocka_unit_test_setup(something_is_kept_for_a_full_disk, set_up),
		cmocka_unit_test_setup(a_file_system_that_cannot_is_no_error, set_up),
		cmocka_unit_test_setup(the_end_of_the_file_can_be_cut, set_up),
		cmocka_unit_test_setup(the_state_before_the_last_transaction_stays_whole, set_up),
		cmocka_unit_test_setup(unload_spares_what_was_just_written, set_up),
		cmocka_unit_test_setup(what_does_not_fit_in_front_stays, set_up),
		cmocka_unit_test_setup(what_is_at_the_end_moves_to_the_front, set_up),
		cmocka_unit_test_setup(the_list_of_free_pages_moves_too, set_up),
		cmocka_unit_test_setup(moving_is_killed_at_any_write, set_up),
		cmocka_unit_test_setup(old_snapshots_stay_whole, set_up),
		cmocka_unit_test_setup(the_dead_hold_nothing, set_up),
		cmocka_unit_test_setup(killed_between_any_two_calls, set_up),
		cmocka_unit_test_setup(size_on_disk_levels_off, set_up),
	};
	snprintf(dir, sizeof(dir), "%.40s/t_db_space.XXXXXX", base ? base : "/tmp");
	if (!mkdtemp(dir))
		return 1;
	rng = rng_start();
	int rc = cmocka_run_group_tests_name("db_space", tests, NULL, NULL);
	remove_store();
	rmdir(dir);
	return rc;
}
