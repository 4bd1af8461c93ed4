/* SPDX-License-Identifier: MIT */
#include "store/compress.h"
#include "util.h"

/* Bytes that compress somewhat: runs of words and noise. */
static void fill(struct rng *r, uint8_t *data, size_t len)
{
	for (size_t i = 0; i < len;) {
		size_t n = 1 + (size_t)rng_below(r, 300);
		bool noise = rng_below(r, 4) == 0;
		uint8_t c = (uint8_t)rng_next(r);

		for (; n && i < len; n--)
			data[i++] = noise ? (uint8_t)rng_next(r) : c;
	}
}

static void frames_come_back(void **state)
{
	struct rng r = rng_start();
	static const size_t sizes[] = { 1, 100, 4096, 131072, 524288, 1000003 };
	struct cs_decompressor *d = cs_decompressor_new();

	(void)state;
	assert_non_null(d);
	for (int level = 1; level <= CS_LEVEL_MAX; level += 6) {
		struct cs_compressor *c = cs_compressor_new(level);

		assert_non_null(c);
		for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
			size_t len = sizes[i], cap = cs_compress_bound(len);
			uint8_t *raw = malloc(len), *frame = malloc(cap), *back = malloc(len);

			assert_true(raw && frame && back);
			fill(&r, raw, len);
			size_t n = cs_compress(c, raw, len, frame, cap);

			if (i > 1) {
				assert_true(n > 0 && n < len);
				assert_int_equal(cs_decompress(d, frame, n, back, len), CS_OK);
				assert_memory_equal(raw, back, len);
			}
			free(raw);
			free(frame);
			free(back);
		}
		cs_compressor_free(c);
	}
	cs_decompressor_free(d);
	cs_compressor_free(NULL);
	cs_decompressor_free(NULL);
}

static void incompressible_bytes_stay_raw(void **state)
{
	struct rng r = rng_start();
	static uint8_t data[65536], out[70000];
	struct cs_compressor *c = cs_compressor_new(CS_LEVEL_DEFAULT);

	(void)state;
	rng_bytes(&r, data, sizeof(data));
	assert_int_equal(cs_compress(c, data, sizeof(data), out, sizeof(out)), 0);
	memset(data, 0, sizeof(data));
	assert_in_range(cs_compress(c, data, sizeof(data), out, sizeof(out)), 1, 1000);
	cs_compressor_free(c);
}

static void level_none_finds_nothing_worth_it(void **state)
{
	static uint8_t data[65536], out[70000];
	struct cs_compressor *c = cs_compressor_new(CS_LEVEL_NONE);

	(void)state;
	assert_non_null(c);
	assert_int_equal(cs_compress(c, data, sizeof(data), out, sizeof(out)), 0);
	cs_compressor_free(c);
}

static struct cs_decompressor *decompressor;
static size_t raw_len;

static int unpack(void *arg, const uint8_t *data, size_t len)
{
	return cs_decompress(decompressor, data, len, arg, raw_len);
}

static void a_damaged_frame_is_corrupt(void **state)
{
	struct rng r = rng_start();
	static uint8_t data[5000], frame[6000];
	struct cs_compressor *c = cs_compressor_new(CS_LEVEL_DEFAULT);
	uint8_t *back = malloc(sizeof(data));

	(void)state;
	decompressor = cs_decompressor_new();
	raw_len = sizeof(data);
	fill(&r, data, sizeof(data));
	size_t n = cs_compress(c, data, sizeof(data), frame, sizeof(frame));

	assert_true(n > 0);
	check_truncations(unpack, back, frame, n, CS_E_CORRUPT);
	check_trailing(unpack, back, frame, n, CS_E_CORRUPT);
	check_mutations(unpack, back, frame, n, &r, 5000);
	assert_int_equal(unpack(back, frame, n), CS_OK);
	raw_len = sizeof(data) - 1;
	assert_int_equal(unpack(back, frame, n), CS_E_CORRUPT);
	free(back);
	back = malloc(sizeof(data) + 1);
	raw_len = sizeof(data) + 1;
	assert_int_equal(unpack(back, frame, n), CS_E_CORRUPT);
	free(back);
	cs_decompressor_free(decompressor);
	cs_compressor_free(c);
}

/* Two frames in one place would decode to the right length, but are not what was stored. */
static void only_one_frame_is_accepted(void **state)
{
	static uint8_t data[2000], frames[6000], back[2000];
	struct cs_compressor *c = cs_compressor_new(CS_LEVEL_DEFAULT);
	struct cs_decompressor *d = cs_decompressor_new();

	(void)state;
	size_t n = cs_compress(c, data, 1000, frames, 3000);

	assert_true(n > 0);
	assert_int_equal(cs_decompress(d, frames, n, back, 1000), CS_OK);
	memcpy(frames + n, frames, n);
	assert_int_equal(cs_decompress(d, frames, 2 * n, back, 2000), CS_E_CORRUPT);
	cs_decompressor_free(d);
	cs_compressor_free(c);
}

static size_t part_len;

static int unpack_part(void *arg, const uint8_t *data, size_t len)
{
	return cs_decompress_part(decompressor, data, len, raw_len, arg, part_len);
}

/* The beginning of a frame's content, of any length, with no byte behind it touched. */
static void a_part_is_the_beginning(void **state)
{
	struct rng r = rng_start();
	static uint8_t data[600000], frame[700000];
	struct cs_compressor *c = cs_compressor_new(CS_LEVEL_DEFAULT);
	(void)state;
	decompressor = cs_decompressor_new();
	for (int i = 0; i < 40; i++) {
		raw_len = 1 + (size_t)rng_below(&r, i % 2 ? sizeof(data) : 4000);
		fill(&r, data, raw_len);
		size_t n = cs_compress(c, data, raw_len, frame, sizeof(frame));
		if (!n)
			continue;
		part_len = i % 8 == 0 ? raw_len : (size_t)rng_below(&r, raw_len);
		uint8_t *back = malloc(part_len + 1), *whole = malloc(raw_len);
		assert_int_equal(unpack_part(back, frame, n), CS_OK);
		assert_memory_equal(back, data, part_len);
		assert_int_equal(cs_decompress(decompressor, frame, n, whole, raw_len), CS_OK);
		assert_memory_equal(whole, data, raw_len);
		raw_len++;
		assert_int_equal(unpack_part(back, frame, n), CS_E_CORRUPT);
		raw_len--;
		if (raw_len < 4000) {
			part_len = raw_len;
			check_truncations(unpack_part, whole, frame, n, CS_E_CORRUPT);
			check_mutations(unpack_part, whole, frame, n, &r, 200);
		}
		free(back);
		free(whole);
	}
	cs_decompressor_free(decompressor);
	cs_compressor_free(c);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(frames_come_back),
		cmocka_unit_test(incompressible_bytes_stay_raw),
		cmocka_unit_test(level_none_finds_nothing_worth_it),
		cmocka_unit_test(a_damaged_frame_is_corrupt),
		cmocka_unit_test(only_one_frame_is_accepted),
		cmocka_unit_test(a_part_is_the_beginning),
	};

	return cmocka_run_group_tests_name("compress", tests, NULL, NULL);
}
