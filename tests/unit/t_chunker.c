/* SPDX-License-Identifier: MIT */
#include "store/chunker.h"
#include "store/gear.h"
#include "util.h"

#define SIZE (8u << 20)

static uint64_t splitmix64(uint64_t *x)
{
	uint64_t z = *x += 0x9e3779b97f4a7c15ull;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ z >> 27) * 0x94d049bb133111ebull;
	return z ^ z >> 31;
}

static uint8_t *seeded(uint64_t seed, size_t len)
{
	uint8_t *p = malloc(len);
	assert_non_null(p);
	for (size_t i = 0; i < len; i++)
		p[i] = (uint8_t)(splitmix64(&seed) >> 56);
	return p;
}

/* Cut all of data, showing the chunker at most feed more bytes at a time; returns the count. */
static size_t cut_all(const struct cs_chunker_params *p, const uint8_t *data, size_t len,
		      size_t feed, size_t *cuts, size_t cap)
{
	struct cs_chunker c;
	size_t start = 0, shown = 0, n = 0;

	cs_chunker_init(&c, p);
	while (start < len) {
		size_t got = cs_chunker_next(&c, data + start, shown - start, shown == len);
		if (got == 0) {
			assert_true(shown < len);
			assert_true(shown - start < c.max);
			shown += feed < len - shown ? feed : len - shown;
			continue;
		}
		assert_true(got <= shown - start);
		start += got;
		assert_true(n < cap);
		cuts[n++] = start;
	}
	return n;
}

static void the_gear_table_comes_from_its_seed(void **state)
{
	(void)state;
	uint64_t x = CS_GEAR_SEED;
	for (int i = 0; i < 256; i++)
		assert_true(cs_gear[i] == splitmix64(&x));
}

static void cuts_do_not_depend_on_feed_size(void **state)
{
	(void)state;
	static const size_t feeds[] = { 1, 7, 4096, 65536, 100003, 262144, 1u << 20 };
	static const struct cs_chunker_params small = { 64, 256, 1024 };
	static size_t want[SIZE / 64], got[SIZE / 64];
	const size_t len = 1u << 20;
	uint8_t *data = seeded(1, len);

	for (int which = 0; which < 2; which++) {
		const struct cs_chunker_params *p = which ? &small : NULL;
		size_t n = cut_all(p, data, len, len, want, SIZE / 64);
		for (size_t f = 0; f < sizeof(feeds) / sizeof(feeds[0]); f++) {
			size_t m = cut_all(p, data, len, feeds[f], got, SIZE / 64);
			assert_int_equal(n, m);
			assert_memory_equal(want, got, n * sizeof(want[0]));
		}
	}
	free(data);
}

static void lengths_stay_in_bounds_and_near_the_mean(void **state)
{
	(void)state;
	static size_t cuts[SIZE / CS_CHUNKER_MIN + 2];
	uint8_t *data = seeded(2, SIZE);
	size_t n = cut_all(NULL, data, SIZE, SIZE, cuts, sizeof(cuts) / sizeof(cuts[0]));

	for (size_t i = 0, from = 0; i < n; from = cuts[i++]) {
		assert_true(cuts[i] - from <= CS_CHUNKER_MAX);
		assert_true(i == n - 1 || cuts[i] - from >= CS_CHUNKER_MIN);
	}
	assert_int_equal(cuts[n - 1], SIZE);
	assert_in_range(SIZE / n, CS_CHUNKER_AVG, CS_CHUNKER_AVG * 3 / 2);
	free(data);
}

static void monotonous_data_is_cut_at_the_maximum(void **state)
{
	(void)state;
	static size_t cuts[64];
	const size_t len = 4 * CS_CHUNKER_MAX + 5;
	uint8_t *data = calloc(1, len);
	assert_non_null(data);
	assert_int_equal(cut_all(NULL, data, len, 5000, cuts, 64), 5);
	for (size_t i = 0; i < 4; i++)
		assert_int_equal(cuts[i], (i + 1) * CS_CHUNKER_MAX);
	free(data);
}

static void short_streams_are_one_chunk(void **state)
{
	(void)state;
	static const size_t lens[] = { 1, 2, 63, 64, 65, 32703, 32704, 32705, 32767, 32768 };
	struct cs_chunker c;

	cs_chunker_init(&c, NULL);
	assert_int_equal(cs_chunker_next(&c, (const uint8_t *)"", 0, true), 0);
	assert_int_equal(cs_chunker_next(&c, (const uint8_t *)"", 0, false), 0);
	for (size_t i = 0; i < sizeof(lens) / sizeof(lens[0]); i++) {
		uint8_t *data = seeded(3, lens[i]);
		assert_int_equal(cs_chunker_next(&c, data, lens[i], false), 0);
		assert_int_equal(cs_chunker_next(&c, data, lens[i], true), lens[i]);
		free(data);
	}
}

/* How many cuts of a are none of b, when b's stream has shift bytes more in front. */
static size_t missing(const size_t *a, size_t na, const size_t *b, size_t nb, size_t shift)
{
	size_t count = 0;
	for (size_t i = 0, j = 0; i < na; i++) {
		while (j < nb && b[j] < a[i] + shift)
			j++;
		count += j == nb || b[j] != a[i] + shift;
	}
	return count;
}

static void an_insertion_at_the_front_moves_few_cuts(void **state)
{
	(void)state;
	static const size_t shifts[] = { 1, 2, 100, 4096, 50001 };
	static size_t before[SIZE / CS_CHUNKER_MIN + 2], after[SIZE / CS_CHUNKER_MIN + 4];
	uint8_t *data = seeded(4, SIZE + 50001);
	size_t n = cut_all(NULL, data + 50001, SIZE, SIZE, before, SIZE / CS_CHUNKER_MIN + 2);

	for (size_t i = 0; i < sizeof(shifts) / sizeof(shifts[0]); i++) {
		size_t m = cut_all(NULL, data + 50001 - shifts[i], SIZE + shifts[i], SIZE, after,
				   SIZE / CS_CHUNKER_MIN + 4);
		assert_true(n > 80);
		assert_true(missing(before, n, after, m, shifts[i]) <= 8);
	}
	free(data);
}

/* The definition, a byte at a time: the hash of the 64 bytes before each place. */
static size_t plain_cut(const uint8_t *data, size_t len)
{
	for (size_t n = CS_CHUNKER_MIN; n < len && n < CS_CHUNKER_MAX; n++) {
		uint64_t hash = 0;
		for (size_t i = n - CS_CHUNKER_WINDOW; i < n; i++)
			hash = (hash << 1) + cs_gear[data[i]];
		if (hash >> (n <= CS_CHUNKER_AVG ? 46 : 50) == 0)
			return n;
	}
	return len < CS_CHUNKER_MAX ? len : CS_CHUNKER_MAX;
}

static void cuts_are_those_of_the_plain_definition(void **state)
{
	(void)state;
	static size_t cuts[256];
	const size_t len = 2u << 20;
	uint8_t *data = seeded(6, len);
	size_t n = cut_all(NULL, data, len, 70001, cuts, 256), at = 0;

	for (size_t i = 0; i < n; i++)
		assert_int_equal(cuts[i], at += plain_cut(data + at, len - at));
	free(data);
}

static void golden_cuts(void **state)
{
	(void)state;
	static const size_t golden[] = {
		103711, 179655, 271113, 348124, 420968, 496990, 529988, 597800,
		665957, 732555, 809353, 914650, 952706, 1018981, 1048576,
	};
	static size_t cuts[128];
	const size_t len = 1u << 20;
	uint8_t *data = seeded(5, len);
	size_t n = cut_all(NULL, data, len, len, cuts, 128);

	assert_int_equal(n, sizeof(golden) / sizeof(golden[0]));
	assert_memory_equal(cuts, golden, sizeof(golden));
	free(data);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_gear_table_comes_from_its_seed),
		cmocka_unit_test(cuts_do_not_depend_on_feed_size),
		cmocka_unit_test(lengths_stay_in_bounds_and_near_the_mean),
		cmocka_unit_test(monotonous_data_is_cut_at_the_maximum),
		cmocka_unit_test(short_streams_are_one_chunk),
		cmocka_unit_test(an_insertion_at_the_front_moves_few_cuts),
		cmocka_unit_test(cuts_are_those_of_the_plain_definition),
		cmocka_unit_test(golden_cuts),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
