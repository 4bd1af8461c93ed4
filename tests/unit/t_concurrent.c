/* SPDX-License-Identifier: MIT */
/*
 * gc against backups, in every order that could hurt. Two processes are driven
 * step by step: each stops at a named place (store/fault.h) and goes on when
 * the other has done its part.
 */
#include "store/fault.h"
#include "store/index.h"
#include "store/reader.h"
#include "world.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#define BIG (300u << 10)
#define DEADLINE_MS 60000

/* ---- the other process, and where it stops */

static struct {
	pid_t pid;
	int there[2], go[2]; /* it is there; it may go on */
} other;

static const char *stop_at; /* in whichever process */
static int stops_left;

static bool await(int fd)
{
	struct pollfd p = { .fd = fd, .events = POLLIN };
	char c;

	return poll(&p, 1, DEADLINE_MS) == 1 && read(fd, &c, 1) == 1;
}

static void tell(int fd)
{
	if (write(fd, "", 1) != 1)
		abort();
}

static void stop_here(const char *where)
{
	if (!stops_left || strcmp(where, stop_at) != 0)
		return;
	stops_left--;
	tell(other.there[1]);
	if (!await(other.go[0]))
		abort();
}

/* Run fn in another process, which stops at a place. It begins when told to. */
static void begin_other(void (*fn)(void), const char *where)
{
	assert_int_equal(pipe(other.there), 0);
	assert_int_equal(pipe(other.go), 0);
	other.pid = fork();
	assert_true(other.pid >= 0);
	if (other.pid)
		return;
	alarm(2 * DEADLINE_MS / 1000);
	stop_at = where;
	stops_left = 1;
	cs_fault_hook = stop_here;
	if (!await(other.go[0]))
		_exit(3);
	fn();
	_exit(0);
}

static void let_other_go(void)
{
	tell(other.go[1]);
}

static void await_other(void)
{
	assert_true(await(other.there[0]));
}

static void end_other(void)
{
	int status;

	while (waitpid(other.pid, &status, 0) < 0)
		assert_int_equal(errno, EINTR);
	other.pid = 0;
	assert_int_equal(status, 0);
	for (int i = 0; i < 2; i++) {
		close(other.there[i]);
		close(other.go[i]);
	}
}

static void gc_elsewhere(void)
{
	struct cs_store *s = world_open();
	world_gc(s);
	cs_store_close(s);
}

static void back_up_elsewhere(void)
{
	struct cs_store *s = world_open();
	world_back_up(s, "other");
	cs_store_close(s);
}

/* ---- a hook of this process that does something once */

static void (*then)(void);

static void do_once(const char *where)
{
	void (*fn)(void) = then;
	if (!fn || strcmp(where, stop_at) != 0)
		return;
	then = NULL;
	fn();
}

static void at(const char *where, void (*fn)(void))
{
	stop_at = where;
	then = fn;
	cs_fault_hook = do_once;
}

/* ---- the stage: a store whose only data no point needs, and the same data in the tree */

static uint64_t forgotten_data(void)
{
	struct cs_store *s = world_open();
	world_random("tree/big", 1, BIG);
	uint64_t seq = world_back_up(s, "t");
	world_purge(s, seq);
	cs_store_close(s);
	return seq;
}

static void all_is_there(struct cs_store *s, uint64_t seq)
{
	struct cs_tree *t;
	cs_fault_hook = NULL;
	world_verify(s);
	assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
	world_same(t, "big", "tree/big");
	cs_tree_close(t);
	world_gc(s); /* and nothing of it goes now */
	world_verify(s);
}

static void run_all_of_gc(void)
{
	let_other_go();
	end_other();
}

/* gc frees the chunk between the look into the index and the pin: it is stored again. */
static void a_hit_that_gc_frees_is_stored_again(void **state)
{
	(void)state;
	forgotten_data();
	begin_other(gc_elsewhere, "nowhere");
	struct cs_store *s = world_open();
	at("dedup: found, not pinned", run_all_of_gc);
	uint64_t seq = world_back_up(s, "t");
	assert_null(then); /* it happened */
	all_is_there(s, seq);
	cs_store_close(s);
}

/* The same, while the bundle that is gone can still be seen in memory. */
static void a_hit_in_a_cached_bundle_is_looked_up_again(void **state)
{
	struct cs_tree *t;
	(void)state;
	begin_other(gc_elsewhere, "nowhere");
	struct cs_store *s = world_open();
	world_random("tree/big", 1, BIG);
	uint64_t seq = world_back_up(s, "t");
	assert_int_equal(cs_tree_open(s, seq, &t, NULL), CS_OK);
	world_same(t, "big", "tree/big");
	cs_tree_close(t);
	world_purge(s, seq);
	at("dedup: found, not pinned", run_all_of_gc);
	seq = world_back_up(s, "t");
	assert_null(then);
	all_is_there(s, seq);
	cs_store_close(s);
}

/* The backup was first: gc leaves the bundle. */
static void a_hit_that_is_pinned_is_not_freed(void **state)
{
	struct cs_store_stats before, after;
	(void)state;
	forgotten_data();
	begin_other(gc_elsewhere, "nowhere");
	struct cs_store *s = world_open();
	assert_int_equal(cs_store_stats(s, &before, NULL), CS_OK);
	at("dedup: pinned", run_all_of_gc);
	uint64_t seq = world_back_up(s, "t");
	assert_null(then);
	assert_int_equal(cs_store_stats(s, &after, NULL), CS_OK);
	assert_true(after.stored_bytes < before.stored_bytes + BIG / 2); /* nothing stored twice */
	all_is_there(s, seq);
	cs_store_close(s);
}

static void gc_up_to_its_commit(void)
{
	let_other_go();
	await_other(); /* it holds the bundles and the writer's lock now */
}

/* gc is in the middle of freeing the chunk and does not come to an end: nobody waits for it. */
static void a_hit_that_gc_is_freeing_is_stored_again(void **state)
{
	(void)state;
	forgotten_data();
	begin_other(gc_elsewhere, "gc: before commit");
	struct cs_store *s = world_open();
	at("dedup: found, not pinned", gc_up_to_its_commit);
	/* the pin is refused; the backup goes on to where it needs the writer's lock */
	pid_t helper = fork();
	if (helper == 0) {
		/* this process stands for time that goes by: more than a pin waits for */
		usleep(1500000);
		let_other_go();
		_exit(0);
	}
	uint64_t seq = world_back_up(s, "t");
	assert_null(then);
	waitpid(helper, NULL, 0);
	end_other();
	all_is_there(s, seq);
	cs_store_close(s);
}

/* A whole backup that finds dead chunks comes and goes between marking and freeing. */
static void a_point_that_comes_after_the_marks_is_marked_too(void **state)
{
	(void)state;
	forgotten_data();
	begin_other(gc_elsewhere, "gc: marked");
	let_other_go();
	await_other();
	struct cs_store *s = world_open();
	uint64_t seq = world_back_up(s, "t");
	let_other_go();
	end_other();
	all_is_there(s, seq);
	cs_store_close(s);
}

/* ---- deltas: the same for what they are made of */

/* Dead data again: a delta in one group of bundles, its base in another. The tree has the delta's bytes. */
static void forgotten_delta(void)
{
	static uint8_t data[100u << 10];
	struct rng r = { 1 };
	struct cs_store *s = world_open();
	struct cs_txn *t;
	uint64_t number;
	rng_bytes(&r, data, sizeof(data));
	world_write("tree/big", data, sizeof(data));
	uint64_t first = world_back_up(s, "t");
	assert_int_equal(cs_txn_write(s->db, &t, NULL), CS_OK);
	assert_int_equal(cs_bundles_reserve(t, 200, &number, NULL), CS_OK);
	assert_int_equal(cs_txn_commit(t, NULL), CS_OK);
	data[5000] ^= 1;
	world_write("tree/big", data, sizeof(data));
	uint64_t second = world_back_up(s, "t");
	world_purge(s, first);
	world_purge(s, second);
	cs_store_close(s);
}

static void read_dead(struct cs_store *s)
{
	const uint8_t *data;
	size_t len;
	void *held;
	struct cs_hash h;
	struct cs_txn *t;
	cs_chunk chunk;
	uint8_t want[100u << 10];
	int fd = open(world_path("tree/big"), O_RDONLY);
	assert_true(read(fd, want, sizeof(want)) == (ssize_t)sizeof(want));
	close(fd);
	h = cs_store_hash(s, want, sizeof(want));
	assert_int_equal(cs_txn_read(s->db, &t, NULL), CS_OK);
	assert_int_equal(cs_index_next(t, &h, 0, &chunk, NULL), 1);
	cs_txn_end(t);
	assert_int_equal(cs_reader_chunk(s, chunk, &held, &data, &len, NULL), CS_OK);
	cs_cache_release(held);
}

static void a_found_delta_whose_base_gc_frees_is_stored_again(void **state)
{
	(void)state;
	for (int cached = 0; cached < 2; cached++) {
		forgotten_delta();
		begin_other(gc_elsewhere, "nowhere");
		struct cs_store *s = world_open();
		if (cached)
			read_dead(s);
		at("dedup: pinned", run_all_of_gc);
		uint64_t seq = world_back_up(s, "u");
		assert_null(then);
		all_is_there(s, seq);
		world_purge(s, seq);
		world_gc(s);
		cs_store_close(s);
	}
}

static void a_base_that_is_pinned_is_not_freed(void **state)
{
	struct cs_store_stats st;
	(void)state;
	forgotten_delta();
	begin_other(gc_elsewhere, "nowhere");
	struct cs_store *s = world_open();
	at("delta: base pinned", run_all_of_gc);
	uint64_t seq = world_back_up(s, "u");
	assert_null(then);
	assert_int_equal(cs_store_stats(s, &st, NULL), CS_OK);
	assert_int_equal(st.deltas, 1);
	all_is_there(s, seq);
	cs_store_close(s);
}

static void a_base_of_a_point_that_comes_after_the_marks_is_marked_too(void **state)
{
	struct cs_store_stats st;
	(void)state;
	forgotten_delta();
	begin_other(gc_elsewhere, "gc: marked");
	let_other_go();
	await_other();
	struct cs_store *s = world_open();
	uint64_t seq = world_back_up(s, "u");
	let_other_go();
	end_other();
	assert_int_equal(cs_store_stats(s, &st, NULL), CS_OK);
	assert_int_equal(st.deltas, 1);
	all_is_there(s, seq);
	cs_store_close(s);
}

/* What a running backup has written is not freed; what a dead one has, is. */
static void chunks_of_a_running_backup_stay_until_it_dies(void **state)
{
	struct cs_store_stats st;
	(void)state;
	struct cs_store *s = world_open();
	cs_store_close(s);
	for (uint64_t i = 0; i < 20; i++) {
		char name[32];
		snprintf(name, sizeof(name), "tree/%d", (int)i);
		world_random(name, 100 + i, 4 << 20);
	}
	begin_other(back_up_elsewhere, "backup: before the point");
	let_other_go();
	await_other(); /* 80 MB: more than a backup keeps in memory */
	s = world_open();
	struct cs_gc_result r = world_gc(s);
	assert_int_equal(r.bundles_freed, 0);
	assert_true(r.bundles_used > 0);
	kill(other.pid, SIGKILL);
	waitpid(other.pid, NULL, 0);
	other.pid = 0;
	uint64_t used = r.bundles_used; /* it may have committed more of them since */
	r = world_gc(s);
	assert_true(r.bundles_freed >= used);
	assert_int_equal(r.bundles_used, 0);
	assert_int_equal(cs_store_stats(s, &st, NULL), CS_OK);
	assert_int_equal(st.bundles, 0);
	world_verify(s);
	cs_store_close(s);
}

static void a_second_gc_leaves(void **state)
{
	struct cs_gc_opts o = { 0 };
	struct cs_gc_result r;
	struct cs_error err = { 0 };
	(void)state;
	forgotten_data();
	begin_other(gc_elsewhere, "gc: marked");
	let_other_go();
	await_other();
	struct cs_store *s = world_open();
	assert_int_equal(cs_gc(s, &o, &r, &err), CS_E_BUSY);
	assert_non_null(strstr(err.text, "another gc"));
	let_other_go();
	end_other();
	assert_int_equal(cs_gc(s, &o, &r, &err), CS_OK);
	cs_store_close(s);
}

/* A dry run tells exactly what the real one does. */
static void a_dry_run_is_exact(void **state)
{
	struct cs_gc_opts o = { .dry_run = true };
	struct cs_gc_result would, did;
	(void)state;
	struct cs_store *s = world_open();
	for (uint64_t i = 0; i < 300; i++) {
		char name[32];
		snprintf(name, sizeof(name), "tree/%d", (int)i);
		world_random(name, 100 + i, 5000);
	}
	uint64_t all = world_back_up(s, "t");
	for (int i = 0; i < 300; i++) {
		char name[32];
		snprintf(name, sizeof(name), "tree/%d", i);
		if (i % 3)
			unlink(world_path(name));
	}
	world_back_up(s, "t");
	world_purge(s, all);
	assert_int_equal(cs_gc(s, &o, &would, NULL), CS_OK);
	assert_int_equal(cs_gc(s, &o, &would, NULL), CS_OK); /* it changed nothing */
	did = world_gc(s);
	assert_true(did.bundles_rewritten > 0);
	memset(&did.space, 0, sizeof(did.space)); /* not a dry run's to tell */
	assert_memory_equal(&would, &did, sizeof(did));
	world_verify(s);
	cs_store_close(s);
}

/* After a failure the other process may still wait somewhere. */
static int end(void **state)
{
	cs_fault_hook = NULL;
	then = NULL;
	if (other.pid) {
		kill(other.pid, SIGKILL);
		waitpid(other.pid, NULL, 0);
		other.pid = 0;
	}
	return world_end(state);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, world_begin, end)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_hit_that_gc_frees_is_stored_again),
		TEST(a_hit_in_a_cached_bundle_is_looked_up_again),
		TEST(a_hit_that_is_pinned_is_not_freed),
		TEST(a_hit_that_gc_is_freeing_is_stored_again),
		TEST(a_point_that_comes_after_the_marks_is_marked_too),
		TEST(a_found_delta_whose_base_gc_frees_is_stored_again),
		TEST(a_base_that_is_pinned_is_not_freed),
		TEST(a_base_of_a_point_that_comes_after_the_marks_is_marked_too),
		TEST(chunks_of_a_running_backup_stay_until_it_dies),
		TEST(a_second_gc_leaves),
		TEST(a_dry_run_is_exact),
	};
	return cmocka_run_group_tests_name("concurrent", tests, NULL, NULL);
}
