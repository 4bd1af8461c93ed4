/* SPDX-License-Identifier: MIT */
#include "store/xattr.h"
#include "util.h"

static int unpack(void *arg, const uint8_t *data, size_t len)
{
	struct cs_xattr_item *items;
	size_t n;
	int rc = cs_xattr_unpack(data, len, &items, &n);

	(void)arg;
	if (rc == CS_OK)
		free(items);
	return rc;
}

static const struct cs_xattr_item sample[] = {
	{ .name = "security.capability", .name_len = 19, .value = (const uint8_t *)"\1\0\0\2",
	  .value_len = 4 },
	{ .name = "user.a", .name_len = 6, .value = (const uint8_t *)"", .value_len = 0 },
	{ .name = "user.ab", .name_len = 7, .value_len = 5000, .chunk = 77 << CS_SLOT_BITS | 3,
	  .hash = { "0123456789abcde" } },
	{ .name = "user.b\xff", .name_len = 7, .value = (const uint8_t *)"x\0y", .value_len = 3 },
};
enum { SAMPLES = sizeof(sample) / sizeof(sample[0]) };

static void lists_come_back(void **state)
{
	struct cs_buf b = { 0 };
	struct cs_xattr_item *got;
	size_t n;

	(void)state;
	cs_xattr_pack(&b, sample, SAMPLES);
	assert_false(b.failed);
	assert_int_equal(cs_xattr_unpack(b.data, b.len, &got, &n), CS_OK);
	assert_int_equal(n, SAMPLES);
	for (size_t i = 0; i < n; i++) {
		assert_int_equal(got[i].name_len, sample[i].name_len);
		assert_memory_equal(got[i].name, sample[i].name, got[i].name_len);
		assert_int_equal(got[i].value_len, sample[i].value_len);
		assert_true(got[i].chunk == sample[i].chunk);
		if (got[i].chunk)
			assert_memory_equal(got[i].hash.b, sample[i].hash.b, CS_HASH_SIZE);
		else if (got[i].value_len)
			assert_memory_equal(got[i].value, sample[i].value, got[i].value_len);
	}
	free(got);
	cs_buf_release(&b);
}

static void a_damaged_list_is_refused(void **state)
{
	struct rng r = rng_start();
	struct cs_buf b = { 0 };

	(void)state;
	cs_xattr_pack(&b, sample, SAMPLES);
	check_truncations(unpack, NULL, b.data, b.len, CS_E_CORRUPT);
	check_trailing(unpack, NULL, b.data, b.len, CS_E_CORRUPT);
	check_mutations(unpack, NULL, b.data, b.len, &r, 20000);
	cs_buf_release(&b);
}

static void names_must_ascend_and_be_names(void **state)
{
	struct cs_xattr_item two[2] = { sample[1], sample[0] };
	struct cs_buf b = { 0 };

	(void)state;
	cs_xattr_pack(&b, two, 2);
	assert_int_equal(unpack(NULL, b.data, b.len), CS_E_CORRUPT);
	two[1] = sample[1];
	cs_buf_clear(&b);
	cs_xattr_pack(&b, two, 2);
	assert_int_equal(unpack(NULL, b.data, b.len), CS_E_CORRUPT);
	two[0].name_len = 0;
	cs_buf_clear(&b);
	cs_xattr_pack(&b, two, 1);
	assert_int_equal(unpack(NULL, b.data, b.len), CS_E_CORRUPT);
	two[0].name = "us\0er";
	two[0].name_len = 5;
	cs_buf_clear(&b);
	cs_xattr_pack(&b, two, 1);
	assert_int_equal(unpack(NULL, b.data, b.len), CS_E_CORRUPT);
	cs_buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_come_back),
		cmocka_unit_test(a_damaged_list_is_refused),
		cmocka_unit_test(names_must_ascend_and_be_names),
	};

	return cmocka_run_group_tests_name("xattr", tests, NULL, NULL);
}
