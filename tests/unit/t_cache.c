/* SPDX-License-Identifier: MIT */
#include "store/cache.h"
#include "util.h"

#include <pthread.h>
#include <stdatomic.h>

enum { VALUE_SIZE = 1000, SHARDS = 4 };

struct value {
	uint64_t key;
	atomic_int alive;
};

static atomic_long fills, live;

static int fill(void *arg, uint64_t key, void **out_value, size_t *out_size, struct cs_error *err)
{
	struct value *v = calloc(1, sizeof(*v));

	(void)arg;
	(void)err;
	v->key = key;
	v->alive = 1;
	atomic_fetch_add(&fills, 1);
	atomic_fetch_add(&live, 1);
	*out_value = v;
	*out_size = VALUE_SIZE;
	return CS_OK;
}

static void destroy(void *value)
{
	struct value *v = value;

	v->alive = 0;
	atomic_fetch_sub(&live, 1);
	free(v);
}

static int fill_fails(void *arg, uint64_t key, void **out_value, size_t *out_size,
		      struct cs_error *err)
{
	(void)arg;
	(void)out_value;
	(void)out_size;
	return cs_fail(err, CS_E_CORRUPT, "key %d", (int)key);
}

static int setup(void **state)
{
	(void)state;
	atomic_store(&fills, 0);
	atomic_store(&live, 0);
	return 0;
}

static int no_leak(void **state)
{
	(void)state;
	return (int)atomic_load(&live);
}

static void a_value_is_made_once_while_there_is_room(void **state)
{
	struct cs_cache *c = cs_cache_new(100 * VALUE_SIZE * 4, destroy, NULL);
	void *held, *value;

	(void)state;
	for (int round = 0; round < 3; round++)
		for (uint64_t key = 0; key < 50; key++) {
			assert_int_equal(cs_cache_get(c, key, fill, NULL, &held, &value, NULL),
					 CS_OK);
			assert_true(((struct value *)value)->key == key);
			cs_cache_release(held);
		}
	assert_int_equal(atomic_load(&fills), 50);
	assert_true(cs_cache_has(c, 7));
	assert_false(cs_cache_has(c, 77));
	struct cs_cache_stats s;

	cs_cache_stats(c, &s);
	assert_true(s.misses == 50 && s.hits == 100 && s.evictions == 0);
	cs_cache_release(NULL);
	cs_cache_free(c);
	cs_cache_free(NULL);
}

static void the_bound_holds(void **state)
{
	const size_t bound = 40 * VALUE_SIZE;
	struct cs_cache *c = cs_cache_new(bound, destroy, NULL);
	struct cs_cache_stats s;
	void *held, *value;

	(void)state;
	for (uint64_t key = 0; key < 5000; key++) {
		assert_int_equal(cs_cache_get(c, key, fill, NULL, &held, &value, NULL), CS_OK);
		cs_cache_release(held);
		cs_cache_stats(c, &s);
		assert_true(s.bytes <= bound);
		assert_true(atomic_load(&live) <= 40);
	}
	assert_true(s.evictions > 4900);
	assert_true(cs_cache_has(c, 4999));
	assert_false(cs_cache_has(c, 0));
	cs_cache_free(c);
}

/* As a bundle of 8 MiB in a cache of 16: its pages are asked for one after the other. */
static void what_is_larger_than_its_share_stays_until_the_next(void **state)
{
	struct cs_cache *c = cs_cache_new(SHARDS * VALUE_SIZE / 2, destroy, NULL);
	void *held, *value;

	(void)state;
	for (int i = 0; i < 100; i++) {
		assert_int_equal(cs_cache_get(c, 7, fill, NULL, &held, &value, NULL), CS_OK);
		cs_cache_release(held);
	}
	assert_int_equal(atomic_load(&fills), 1);
	for (uint64_t key = 0; key < 100; key++) {
		assert_int_equal(cs_cache_get(c, key, fill, NULL, &held, &value, NULL), CS_OK);
		cs_cache_release(held);
	}
	assert_int_equal(atomic_load(&live), SHARDS);
	cs_cache_free(c);
}

static void what_is_held_is_never_evicted(void **state)
{
	struct cs_cache *c = cs_cache_new(0, destroy, NULL);
	void *held[100], *value[100];

	(void)state;
	for (uint64_t key = 0; key < 100; key++)
		assert_int_equal(cs_cache_get(c, key, fill, NULL, &held[key], &value[key], NULL),
				 CS_OK);
	for (uint64_t key = 0; key < 100; key++) {
		struct value *v = value[key];

		assert_int_equal(v->alive, 1);
		assert_true(v->key == key);
		cs_cache_hold(held[key]);
		cs_cache_release(held[key]);
		assert_int_equal(v->alive, 1);
	}
	for (int i = 0; i < 100; i++)
		cs_cache_release(held[i]);
	assert_int_equal(atomic_load(&live), SHARDS);
	cs_cache_free(c);
}

static void a_failed_fill_leaves_no_entry(void **state)
{
	struct cs_cache *c = cs_cache_new(1000000, destroy, NULL);
	struct cs_error err = { 0 };
	void *held = NULL, *value = NULL;

	(void)state;
	for (int i = 0; i < 3; i++) {
		assert_int_equal(cs_cache_get(c, 5, fill_fails, NULL, &held, &value, &err),
				 CS_E_CORRUPT);
		assert_string_equal(err.text, "key 5");
		assert_null(held);
		assert_false(cs_cache_has(c, 5));
	}
	assert_int_equal(cs_cache_get(c, 5, fill, NULL, &held, &value, NULL), CS_OK);
	cs_cache_release(held);
	cs_cache_free(c);
}

/* ------------------------------------------------------------ threads */

enum { THREADS = 8 };

struct flight {
	struct cs_cache *c;
	pthread_barrier_t start;
	atomic_int wanting; /* threads that are about to ask */
	uint64_t key;
};

/* Holds the key's filling open until all others have had the chance to begin their own. */
static int fill_slowly(void *arg, uint64_t key, void **out_value, size_t *out_size,
		       struct cs_error *err)
{
	struct flight *f = arg;

	while (atomic_load(&f->wanting) < THREADS)
		sched_yield();
	for (int i = 0; i < 1000; i++)
		sched_yield();
	return fill(NULL, key, out_value, out_size, err);
}

static void *one_reader(void *arg)
{
	struct flight *f = arg;
	void *held, *value;

	pthread_barrier_wait(&f->start);
	atomic_fetch_add(&f->wanting, 1);
	int rc = cs_cache_get(f->c, f->key, fill_slowly, f, &held, &value, NULL);

	if (rc != CS_OK || ((struct value *)value)->key != f->key)
		return arg;
	cs_cache_release(held);
	return NULL;
}

static void two_readers_of_one_thing_make_it_once(void **state)
{
	struct flight f = { .c = cs_cache_new(1000000, destroy, NULL) };
	pthread_t t[THREADS];

	(void)state;
	pthread_barrier_init(&f.start, NULL, THREADS);
	for (uint64_t key = 1; key <= 20; key++) {
		f.key = key;
		atomic_store(&f.wanting, 0);
		for (int i = 0; i < THREADS; i++)
			assert_int_equal(pthread_create(&t[i], NULL, one_reader, &f), 0);
		for (int i = 0; i < THREADS; i++) {
			void *bad;

			pthread_join(t[i], &bad);
			assert_null(bad);
		}
		assert_int_equal(atomic_load(&fills), key);
	}
	pthread_barrier_destroy(&f.start);
	cs_cache_free(f.c);
}

/* Every third fill fails; the cache holds next to nothing; all readers ask for the same keys. */
static int fill_sometimes(void *arg, uint64_t key, void **out_value, size_t *out_size,
			  struct cs_error *err)
{
	atomic_int *turn = arg;

	if (atomic_fetch_add(turn, 1) % 3 == 0)
		return fill_fails(NULL, key, out_value, out_size, err);
	return fill(NULL, key, out_value, out_size, err);
}

struct crowd {
	struct cs_cache *c;
	atomic_int turn, seeds;
};

static void *busy_reader(void *arg)
{
	struct crowd *crowd = arg;
	struct rng r = { (uint64_t)atomic_fetch_add(&crowd->seeds, 1) };

	for (int i = 0; i < 5000; i++) {
		uint64_t key = rng_below(&r, 12);
		void *held, *value;
		int rc = cs_cache_get(crowd->c, key, fill_sometimes, &crowd->turn, &held, &value,
				      NULL);

		if (rc == CS_E_CORRUPT)
			continue;
		struct value *v = value;

		if (rc != CS_OK || v->key != key || !v->alive)
			return arg;
		if (rng_below(&r, 4) == 0)
			sched_yield();
		if (!v->alive)
			return arg;
		cs_cache_release(held);
	}
	return NULL;
}

static void a_crowd_gets_the_right_values(void **state)
{
	struct crowd crowd = { .c = cs_cache_new(3 * VALUE_SIZE, destroy, NULL) };
	pthread_t t[THREADS];

	(void)state;
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&t[i], NULL, busy_reader, &crowd), 0);
	for (int i = 0; i < THREADS; i++) {
		void *bad;

		pthread_join(t[i], &bad);
		assert_null(bad);
	}
	struct cs_cache_stats s;

	cs_cache_stats(crowd.c, &s);
	assert_true(s.bytes < (SHARDS + 1) * VALUE_SIZE); /* one each, as none has room for one */
	cs_cache_free(crowd.c);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, no_leak)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(a_value_is_made_once_while_there_is_room),
		TEST(the_bound_holds),
		TEST(what_is_larger_than_its_share_stays_until_the_next),
		TEST(what_is_held_is_never_evicted),
		TEST(a_failed_fill_leaves_no_entry),
		TEST(two_readers_of_one_thing_make_it_once),
		TEST(a_crowd_gets_the_right_values),
	};

	return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
