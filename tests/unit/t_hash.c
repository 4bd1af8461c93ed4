/* SPDX-License-Identifier: MIT */
#include "store/hash.h"
#include "util.h"

static void is_plain_xxh3(void **state)
{
	/* what `xxhsum -H2` and `xxhsum -H3` print for these bytes */
	static const uint8_t empty[] = { 0x99, 0xaa, 0x06, 0xd3, 0x01, 0x47, 0x98, 0xd8,
					 0x60, 0x01, 0xc3, 0x24, 0x46, 0x8d, 0x49, 0x7f };
	static const uint8_t abc[] = { 0x06, 0xb0, 0x5a, 0xb6, 0x73, 0x3a, 0x61, 0x85,
				       0x78, 0xaf, 0x5f, 0x94, 0x89, 0x2f, 0x39, 0x50 };
	struct cs_hash h = cs_hash_of("", 0);

	(void)state;
	assert_memory_equal(h.b, empty, 16);
	h = cs_hash_of("abc", 3);
	assert_memory_equal(h.b, abc, 16);
	assert_true(cs_checksum("abc", 3) == 0x78af5f94892f3950u);
	assert_true(cs_hash_key(&h) == 0x06b05ab6733a6185u);
}

static void a_stream_equals_the_whole(void **state)
{
	struct rng r = rng_start();
	static uint8_t data[300000];
	struct cs_hasher *h = cs_hasher_new();

	(void)state;
	assert_non_null(h);
	rng_bytes(&r, data, sizeof(data));
	for (int round = 0; round < 20; round++) {
		size_t len = (size_t)rng_below(&r, sizeof(data)), at = 0;

		cs_hasher_reset(h);
		while (at < len) {
			size_t n = 1 + (size_t)rng_below(&r, 5000);

			n = n < len - at ? n : len - at;
			cs_hasher_add(h, data + at, n);
			at += n;
		}
		struct cs_hash a = cs_hasher_end(h), b = cs_hash_of(data, len);

		assert_true(cs_hash_equal(&a, &b));
	}
	cs_hasher_free(h);
	cs_hasher_free(NULL);
}

static void a_cut_keeps_the_first_bits(void **state)
{
	struct cs_hash all;

	(void)state;
	memset(all.b, 0xff, sizeof(all.b));
	for (unsigned bits = 1; bits <= 128; bits++) {
		struct cs_hash h = cs_hash_cut(all, bits);
		unsigned ones = 0;

		for (unsigned i = 0; i < 128; i++) {
			bool one = h.b[i / 8] >> (7 - i % 8) & 1;

			assert_int_equal(one, i < bits);
			ones += one;
		}
		assert_int_equal(ones, bits);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(is_plain_xxh3),
		cmocka_unit_test(a_stream_equals_the_whole),
		cmocka_unit_test(a_cut_keeps_the_first_bits),
	};

	return cmocka_run_group_tests_name("hash", tests, NULL, NULL);
}
