/* SPDX-License-Identifier: MIT */
#include "fs/holds.h"
#include "util.h"

#include <pthread.h>

#define POINTS 1000

/* A store that knows what is held, and has no points above `listed`. */
struct store {
	uint64_t listed;
	int held[POINTS + 1];
	unsigned taken, dropped;
};

static int hold_point(void *arg, uint64_t seq, struct cs_error *err)
{
	struct store *s = arg;

	if (seq > s->listed)
		return cs_fail(err, CS_E_NOTFOUND, "no point %d", (int)seq);
	s->held[seq]++;
	s->taken++;
	return 0;
}

static void drop_point(void *arg, uint64_t seq)
{
	struct store *s = arg;

	s->held[seq]--;
	s->dropped++;
}

static struct cs_holds *start(struct store *s, uint64_t listed)
{
	memset(s, 0, sizeof(*s));
	s->listed = listed;
	struct cs_holds *h = cs_holds_new(&(struct cs_holds_calls){ hold_point, drop_point, s });
	assert_non_null(h);
	return h;
}

static void the_first_reference_holds_and_the_last_drops(void **state)
{
	(void)state;
	struct store s;
	struct cs_holds *h = start(&s, 10);

	assert_int_equal(cs_holds_take(h, 3, 1, NULL), 0);
	assert_int_equal(s.held[3], 1);
	assert_int_equal(cs_holds_take(h, 3, 99, NULL), 0);
	assert_true(cs_holds_join(h, 3));
	assert_int_equal(s.taken, 1);
	cs_holds_give(h, 3, 50);
	cs_holds_give(h, 3, 50);
	assert_int_equal(s.held[3], 1);
	cs_holds_give(h, 3, 1);
	assert_int_equal(s.held[3], 0);
	assert_false(cs_holds_join(h, 3));
	assert_int_equal(cs_holds_take(h, 3, 1, NULL), 0);
	assert_int_equal(s.held[3], 1);
	cs_holds_free(h);
	assert_int_equal(s.held[3], 0);
}

static void what_cannot_be_held_is_not_counted(void **state)
{
	(void)state;
	struct store s;
	struct cs_holds *h = start(&s, 10);
	struct cs_error err;

	assert_int_equal(cs_holds_take(h, 11, 5, &err), CS_E_NOTFOUND);
	assert_false(cs_holds_join(h, 11));
	s.listed = 11;
	assert_int_equal(cs_holds_take(h, 11, 1, NULL), 0);
	s.listed = 0; /* forgotten: those who are in it may go on */
	assert_int_equal(cs_holds_take(h, 11, 1, NULL), 0);
	cs_holds_give(h, 11, 2);
	assert_int_equal(s.held[11], 0);
	assert_int_equal(cs_holds_take(h, 11, 1, NULL), CS_E_NOTFOUND);
	cs_holds_free(h);
	assert_int_equal(s.taken, s.dropped);
}

static void more_given_back_than_taken_does_no_harm(void **state)
{
	(void)state;
	struct store s;
	struct cs_holds *h = start(&s, 10);

	cs_holds_give(h, 1, 1);
	assert_int_equal(cs_holds_take(h, 1, 2, NULL), 0);
	cs_holds_give(h, 1, 3);
	assert_int_equal(s.held[1], 0);
	cs_holds_give(h, 1, 1);
	assert_int_equal(cs_holds_take(h, 2, 0, NULL), 0);
	assert_int_equal(s.held[2], 0);
	cs_holds_free(h);
	assert_int_equal(s.dropped, 1);
}

static void many_points_are_counted_each_for_itself(void **state)
{
	(void)state;
	struct store s;
	struct cs_holds *h = start(&s, POINTS);
	static uint64_t count[POINTS + 1];
	struct rng r = rng_start();

	memset(count, 0, sizeof(count));
	for (unsigned i = 0; i < 200000; i++) {
		uint64_t seq = 1 + rng_below(&r, POINTS), n = 1 + rng_below(&r, 4);
		if (rng_below(&r, 2)) {
			assert_int_equal(cs_holds_take(h, seq, n, NULL), 0);
			count[seq] += n;
		} else {
			cs_holds_give(h, seq, n);
			count[seq] -= n < count[seq] ? n : count[seq];
		}
		assert_int_equal(s.held[seq], count[seq] > 0);
	}
	cs_holds_free(h);
	assert_int_equal(s.taken, s.dropped);
}

static void what_was_left_is_so_until_the_last_reference(void **state)
{
	(void)state;
	struct store s;
	struct cs_holds *h = start(&s, 10);

	cs_holds_set_left(h, 1, true); /* nobody is in it */
	assert_false(cs_holds_is_left(h, 1));
	assert_int_equal(cs_holds_take(h, 1, 2, NULL), 0);
	assert_int_equal(cs_holds_take(h, 2, 1, NULL), 0);
	assert_false(cs_holds_is_left(h, 1));
	cs_holds_set_left(h, 1, true);
	cs_holds_set_left(h, 1, true);
	assert_true(cs_holds_is_left(h, 1));
	assert_false(cs_holds_is_left(h, 2));
	cs_holds_set_left(h, 2, true);
	cs_holds_set_left(h, 2, false);
	assert_false(cs_holds_is_left(h, 2));
	cs_holds_give(h, 1, 1);
	assert_true(cs_holds_is_left(h, 1));
	cs_holds_give(h, 1, 1);
	assert_false(cs_holds_is_left(h, 1));
	assert_int_equal(cs_holds_take(h, 1, 1, NULL), 0);
	assert_false(cs_holds_is_left(h, 1));
	cs_holds_free(h);
}

static void *take_and_give(void *arg)
{
	for (unsigned i = 0; i < 20000; i++) {
		uint64_t seq = 1 + i % 7;
		if (cs_holds_take(arg, seq, 3, NULL) < 0)
			return arg;
		if (cs_holds_join(arg, seq))
			cs_holds_give(arg, seq, 1);
		cs_holds_give(arg, seq, 3);
	}
	return NULL;
}

static void threads_do_not_lose_references(void **state)
{
	(void)state;
	struct store s;
	struct cs_holds *h = start(&s, POINTS);
	pthread_t threads[4];

	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_and_give, h), 0);
	for (int i = 0; i < 4; i++) {
		void *failed;
		assert_int_equal(pthread_join(threads[i], &failed), 0);
		assert_null(failed);
	}
	for (int i = 1; i <= 7; i++)
		assert_int_equal(s.held[i], 0);
	cs_holds_free(h);
	assert_int_equal(s.taken, s.dropped);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_first_reference_holds_and_the_last_drops),
		cmocka_unit_test(what_cannot_be_held_is_not_counted),
		cmocka_unit_test(more_given_back_than_taken_does_no_harm),
		cmocka_unit_test(many_points_are_counted_each_for_itself),
		cmocka_unit_test(what_was_left_is_so_until_the_last_reference),
		cmocka_unit_test(threads_do_not_lose_references),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
