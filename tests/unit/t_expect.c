/* SPDX-License-Identifier: MIT */
#include "fs/expect.h"
#include "util.h"

#define LISTXATTR 23
#define LOOKUP 1

#define AT_ONCE 5000
#define LATE 1000000

/* A question about a file that comes `after` the last answer, and its answer a microsecond later. */
static void ask(struct cs_expect *x, uint64_t *clock, uint32_t opcode, uint64_t nodeid, uint64_t after)
{
	*clock += after;
	cs_expect_asked(x, opcode, nodeid, *clock);
	*clock += 1000;
	cs_expect_answered(x, *clock);
}

static void nothing_is_expected_before_anything_was_learned(void **state)
{
	(void)state;
	struct cs_expect x = { 0 };
	uint64_t clock = 1;

	assert_int_equal(cs_expect_until(&x), 0);
	ask(&x, &clock, LOOKUP, 1, LATE);
	assert_int_equal(cs_expect_until(&x), 0);
}

static void questions_that_came_at_once_are_expected_for_a_moment(void **state)
{
	(void)state;
	struct cs_expect x = { 0 };
	uint64_t clock = 1;

	for (unsigned i = 0; i < 4; i++)
		ask(&x, &clock, LOOKUP, i, AT_ONCE);
	assert_int_equal(cs_expect_until(&x), clock + CS_EXPECT_SOON_NS);
}

static void what_is_waited_for_in_vain_twice_is_no_longer_expected(void **state)
{
	(void)state;
	struct cs_expect x = { 0 };
	uint64_t clock = 1;
	unsigned in_vain = 0;

	for (unsigned i = 0; i < 20; i++)
		ask(&x, &clock, LOOKUP, i, AT_ONCE);
	for (unsigned i = 0; i < 20; i++) {
		in_vain += cs_expect_until(&x) != 0;
		ask(&x, &clock, LOOKUP, i, LATE);
	}
	assert_int_equal(in_vain, 2);
}

static void of_four_questions_about_a_file_three_are_expected(void **state)
{
	(void)state;
	struct cs_expect x = { 0 };
	uint64_t clock = 1;

	for (unsigned file = 0; file < 10; file++)
		for (unsigned i = 0; i < 4; i++) {
			ask(&x, &clock, LISTXATTR, file, i ? AT_ONCE : LATE);
			if (file >= 3)
				assert_int_equal(cs_expect_until(&x) != 0, i < 3);
		}
}

static void what_came_while_others_listened_says_nothing(void **state)
{
	(void)state;
	struct cs_expect x = { 0 };
	uint64_t clock = 1;

	for (unsigned i = 0; i < 20; i++)
		ask(&x, &clock, LOOKUP, i, AT_ONCE);
	cs_expect_answered(&x, 0);
	assert_int_equal(cs_expect_until(&x), 0);
	ask(&x, &clock, LOOKUP, 20, LATE);
	assert_int_not_equal(cs_expect_until(&x), 0);
}

static void kinds_that_are_unknown_are_not_expected(void **state)
{
	(void)state;
	struct cs_expect x = { 0 };
	uint64_t clock = 1;

	for (unsigned i = 0; i < 20; i++) {
		ask(&x, &clock, UINT32_MAX, 1, AT_ONCE);
		ask(&x, &clock, CS_EXPECT_OPCODES, 1, AT_ONCE);
	}
	assert_int_equal(cs_expect_until(&x), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_expected_before_anything_was_learned),
		cmocka_unit_test(questions_that_came_at_once_are_expected_for_a_moment),
		cmocka_unit_test(what_is_waited_for_in_vain_twice_is_no_longer_expected),
		cmocka_unit_test(of_four_questions_about_a_file_three_are_expected),
		cmocka_unit_test(what_came_while_others_listened_says_nothing),
		cmocka_unit_test(kinds_that_are_unknown_are_not_expected),
	};
	return cmocka_run_group_tests_name("expect", tests, NULL, NULL);
}
