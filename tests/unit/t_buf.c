/* SPDX-License-Identifier: MIT */
#include "store/alloc.h"
#include "store/buf.h"
#include "util.h"

static void numbers_come_back(void **state)
{
	struct rng r = rng_start();
	struct cs_buf b = { 0 };
	uint64_t v[500];

	(void)state;
	for (size_t i = 0; i < 500; i++) {
		v[i] = rng_number(&r, UINT64_MAX);
		cs_buf_var(&b, v[i]);
		cs_buf_svar(&b, (int64_t)v[i]);
		cs_buf_u64(&b, v[i]);
		cs_buf_u32(&b, (uint32_t)v[i]);
		cs_buf_u8(&b, (uint8_t)v[i]);
	}
	assert_false(b.failed);
	struct cs_cur c = cs_cur(b.data, b.len);

	for (size_t i = 0; i < 500; i++) {
		assert_true(cs_cur_var(&c) == v[i]);
		assert_true(cs_cur_svar(&c) == (int64_t)v[i]);
		assert_true(cs_cur_u64(&c) == v[i]);
		assert_int_equal(cs_cur_u32(&c), (uint32_t)v[i]);
		assert_int_equal(cs_cur_u8(&c), (uint8_t)v[i]);
	}
	assert_true(cs_cur_done(&c));
	cs_buf_release(&b);
}

static void varints_have_the_documented_bytes(void **state)
{
	struct cs_buf b = { 0 };
	static const uint8_t want[] = { 0x00, 0x7f, 0x80, 0x01, 0xac, 0x02, 0x01, 0x02, 0x03 };

	(void)state;
	cs_buf_var(&b, 0);
	cs_buf_var(&b, 127);
	cs_buf_var(&b, 128);
	cs_buf_var(&b, 300);
	cs_buf_svar(&b, -1);
	cs_buf_svar(&b, 1);
	cs_buf_svar(&b, -2);
	assert_int_equal(b.len, sizeof(want));
	assert_memory_equal(b.data, want, sizeof(want));
	cs_buf_clear(&b);
	cs_buf_u32(&b, 0x01020304);
	assert_memory_equal(b.data, "\x04\x03\x02\x01", 4);
	cs_buf_release(&b);
}

static void a_varint_beyond_64_bits_is_bad(void **state)
{
	uint8_t bytes[11];

	(void)state;
	memset(bytes, 0xff, sizeof(bytes));
	bytes[9] = 0x01; /* exactly 2^64 - 1 */
	struct cs_cur c = cs_cur(bytes, 10);

	assert_true(cs_cur_var(&c) == UINT64_MAX);
	assert_true(cs_cur_done(&c));
	bytes[9] = 0x02;
	c = cs_cur(bytes, 10);
	assert_true(cs_cur_var(&c) == 0);
	assert_true(c.bad);
	memset(bytes, 0x80, sizeof(bytes));
	c = cs_cur(bytes, sizeof(bytes));
	assert_true(cs_cur_var(&c) == 0);
	assert_true(c.bad);
}

static void reading_past_the_end_stays_bad(void **state)
{
	uint8_t *three = exact_copy("\x01\x02\x03", 3);
	struct cs_cur c = cs_cur(three, 3);

	(void)state;
	assert_int_equal(cs_cur_u32(&c), 0);
	assert_true(c.bad);
	assert_int_equal(cs_cur_u8(&c), 0);
	assert_true(cs_cur_var(&c) == 0);
	assert_null(cs_cur_bytes(&c, 1));
	assert_false(cs_cur_done(&c));
	free(three);
}

static void limits_are_limits(void **state)
{
	struct cs_buf b = { 0 };
	char text[5];
	size_t n;

	(void)state;
	cs_buf_str(&b, "abcd", 4);
	struct cs_cur c = cs_cur(b.data, b.len);

	cs_cur_cstr(&c, text, 4);
	assert_true(cs_cur_done(&c));
	assert_string_equal(text, "abcd");
	c = cs_cur(b.data, b.len);
	cs_cur_cstr(&c, text, 3);
	assert_true(c.bad);
	assert_string_equal(text, "");
	c = cs_cur(b.data, b.len - 1);
	assert_null(cs_cur_str(&c, 4, &n));
	assert_int_equal(n, 0);
	cs_buf_clear(&b);
	cs_buf_str(&b, "a\0b", 3);
	c = cs_cur(b.data, b.len);
	cs_cur_cstr(&c, text, 4);
	assert_true(c.bad);
	c = cs_cur(b.data, b.len);
	assert_true(cs_cur_max(&c, 3) == 3 && !c.bad);
	c = cs_cur(b.data, b.len);
	assert_true(cs_cur_max(&c, 2) == 0 && c.bad);
	cs_buf_release(&b);
}

static void a_failed_allocation_is_remembered(void **state)
{
	struct cs_buf b = { 0 };

	(void)state;
	cs_buf_u8(&b, 7);
	cs_alloc_fail_after(0);
	for (int i = 0; i < 100; i++)
		cs_buf_u64(&b, 1);
	cs_alloc_fail_after(-1);
	assert_true(b.failed);
	assert_true(b.len < 100 * 8);
	size_t len = b.len;

	cs_buf_u8(&b, 1);
	assert_int_equal(b.len, len);
	cs_buf_clear(&b);
	cs_buf_u64(&b, 1);
	assert_false(b.failed);
	assert_int_equal(b.len, 8);
	cs_buf_release(&b);
}

static void grow_refuses_what_does_not_fit_memory(void **state)
{
	void *p = NULL;
	size_t cap = 0;

	(void)state;
	assert_int_not_equal(cs_grow(&p, &cap, SIZE_MAX / 2, 16), 0);
	assert_null(p);
	assert_int_equal(cap, 0);
	assert_int_equal(cs_grow(&p, &cap, 100, 16), 0);
	assert_true(cap >= 100);
	memset(p, 1, cap * 16);
	free(p);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(numbers_come_back),
		cmocka_unit_test(varints_have_the_documented_bytes),
		cmocka_unit_test(a_varint_beyond_64_bits_is_bad),
		cmocka_unit_test(reading_past_the_end_stays_bad),
		cmocka_unit_test(limits_are_limits),
		cmocka_unit_test(a_failed_allocation_is_remembered),
		cmocka_unit_test(grow_refuses_what_does_not_fit_memory),
	};

	return cmocka_run_group_tests_name("buf", tests, NULL, NULL);
}
