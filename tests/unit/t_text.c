/* SPDX-License-Identifier: MIT */
#include "store/text.h"
#include "util.h"

#include <time.h>

#define CHECK_ESCAPE(in, space, want)                                                     \
	do {                                                                              \
		char out_[256];                                                           \
		assert_int_equal(cs_text_escape(in, sizeof(in) - 1, space, out_, 256),    \
				 strlen(want));                                           \
		assert_string_equal(out_, want);                                          \
	} while (0)

static void what_breaks_a_line_is_escaped(void **state)
{
	(void)state;
	CHECK_ESCAPE("", false, "");
	CHECK_ESCAPE("etc/passwd", false, "etc/passwd");
	CHECK_ESCAPE("a b", false, "a b");
	CHECK_ESCAPE("a b", true, "a\\x20b");
	CHECK_ESCAPE("a\nb\tc\\d\x7f", false, "a\\x0ab\\x09c\\x5cd\\x7f");
	CHECK_ESCAPE("\0x", false, "\\x00x");
	CHECK_ESCAPE("\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", true,
		     "\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80");
	CHECK_ESCAPE("\xc2\x9b" "31m\xc2\xa0", false, "\\xc2\\x9b31m\xc2\xa0");
}

static void what_is_not_utf8_is_escaped(void **state)
{
	(void)state;
	CHECK_ESCAPE("\x80", false, "\\x80");
	CHECK_ESCAPE("\xff" "a", false, "\\xffa");
	CHECK_ESCAPE("\xc3", false, "\\xc3");
	CHECK_ESCAPE("\xc3(", false, "\\xc3(");
	CHECK_ESCAPE("\xe2\x82", false, "\\xe2\\x82");
	CHECK_ESCAPE("\xc0\xaf", false, "\\xc0\\xaf");
	CHECK_ESCAPE("\xe0\x80\xaf", false, "\\xe0\\x80\\xaf");
	CHECK_ESCAPE("\xed\xa0\x80", false, "\\xed\\xa0\\x80");
	CHECK_ESCAPE("\xf0\x80\x80\xaf", false, "\\xf0\\x80\\x80\\xaf");
	CHECK_ESCAPE("\xf4\x90\x80\x80", false, "\\xf4\\x90\\x80\\x80");
	CHECK_ESCAPE("\xed\x9f\xbf\xf4\x8f\xbf\xbf", false, "\xed\x9f\xbf\xf4\x8f\xbf\xbf");
}

static void a_short_buffer_gets_whole_pieces_and_the_full_length(void **state)
{
	(void)state;
	static const char in[] = "a\n\xc3\xa4z";
	static const char *const want[] = {
		NULL, "", "a", "a", "a", "a", "a\\x0a", "a\\x0a", "a\\x0a\xc3\xa4",
		"a\\x0a\xc3\xa4z",
	};
	for (size_t cap = 0; cap < sizeof(want) / sizeof(want[0]); cap++) {
		char *out = cap ? malloc(cap) : NULL;
		assert_int_equal(cs_text_escape(in, sizeof(in) - 1, false, out, cap), 8);
		if (cap)
			assert_string_equal(out, want[cap]);
		free(out);
	}
}

static void unescape_undoes_escape(void **state)
{
	(void)state;
	uint64_t x = 42;
	for (int round = 0; round < 2000; round++) {
		char in[40], text[4 * sizeof(in) + 1], back[sizeof(text)];
		size_t len = (size_t)round % sizeof(in), back_len;
		for (size_t i = 0; i < len; i++) {
			x = x * 6364136223846793005ull + 1442695040888963407ull;
			in[i] = (char)(x >> 56);
		}
		size_t n = cs_text_escape(in, len, round & 1, text, sizeof(text));
		assert_int_equal(n, strlen(text));
		assert_true(cs_text_unescape(text, n, back, &back_len));
		assert_int_equal(back_len, len);
		assert_memory_equal(back, in, len);
	}
	char same[] = "\\x41\\x4Ab";
	size_t len;
	assert_true(cs_text_unescape(same, strlen(same), same, &len));
	assert_int_equal(len, 3);
	assert_memory_equal(same, "AJb", 3);
}

static void unescape_refuses_half_escapes(void **state)
{
	(void)state;
	static const char *const bad[] = { "\\", "\\x", "\\x4", "a\\n", "\\xg0", "\\x0g", "\\\\" };
	char out[8];
	size_t len;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_false(cs_text_unescape(bad[i], strlen(bad[i]), out, &len));
}

static void a_hash_is_lower_case_hex(void **state)
{
	(void)state;
	struct cs_hash h;
	char out[2 * CS_HASH_SIZE + 1];
	for (int i = 0; i < CS_HASH_SIZE; i++)
		h.b[i] = (uint8_t)(i * 0x11);
	cs_hash_hex(&h, out);
	assert_string_equal(out, "00112233445566778899aabbccddeeff");
}

static void a_time_name_and_back(void **state)
{
	(void)state;
	static const struct {
		int64_t sec;
		const char *name;
	} rows[] = {
		{ 0, "1970-01-01T00-00-00Z" },
		{ 1795329545, "2026-11-22T06-39-05Z" },
		{ -1, "1969-12-31T23-59-59Z" },
		{ 951782400, "2000-02-29T00-00-00Z" },
		{ 253402300799, "9999-12-31T23-59-59Z" },
		{ -62167219200, "0000-01-01T00-00-00Z" },
	};
	char out[CS_POINT_NAME_MAX + 1];
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cs_time t = { rows[i].sec, 999999999 }, back;
		cs_time_name(t, out);
		assert_string_equal(out, rows[i].name);
		assert_int_equal(cs_time_parse_name(out, &back), CS_OK);
		assert_true(back.sec == t.sec);
		assert_int_equal(back.nsec, 0);
	}
	cs_time_name((struct cs_time){ INT64_MAX, 0 }, out);
	assert_string_equal(out, "9999-12-31T23-59-59Z");
	cs_time_name((struct cs_time){ INT64_MIN, 0 }, out);
	assert_string_equal(out, "0000-01-01T00-00-00Z");
}

static void other_names_are_no_times(void **state)
{
	(void)state;
	static const char *const bad[] = {
		"", "latest", "2026-11-22T06-39-05", "2026-11-22T06-39-05Z ",
		"2026-11-22 06-39-05Z",
		"2026-11-22T06:39:05Z", "2026-02-30T00-00-00Z", "2026-13-01T00-00-00Z",
		"2026-00-10T00-00-00Z", "2026-01-01T24-00-00Z", "2026-01-01T00-00-60Z",
		"2026-01-+1T00-00-00Z", "-026-01-01T00-00-00Z",
	};
	struct cs_time t = { 7, 8 };
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(cs_time_parse_name(bad[i], &t), CS_E_USAGE);
	assert_int_equal(t.sec, 7);
}

static void series_names_are_checked(void **state)
{
	(void)state;
	static const char *const good[] = {
		"a", "web01", "db-disk0", "Host.example_1@x+y", "by-idea",
	};
	static const char *const bad[] = {
		"", ".", "..", ".hidden", "-s", "a/b", "a b", "a\n", "\xc3\xa4", "a:b",
		"latest", "by-id", "by-tag", "by-consistency",
	};
	char name[CS_SERIES_MAX + 2];
	struct cs_error err;

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++)
		assert_int_equal(cs_series_check(good[i], NULL), CS_OK);
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		err.text[0] = '\0';
		assert_int_equal(cs_series_check(bad[i], &err), CS_E_USAGE);
		assert_true(err.text[0] != '\0');
		assert_null(strchr(err.text, '\n'));
	}
	memset(name, 'x', sizeof(name));
	name[CS_SERIES_MAX + 1] = '\0';
	assert_int_equal(cs_series_check(name, &err), CS_E_USAGE);
	name[CS_SERIES_MAX] = '\0';
	assert_int_equal(cs_series_check(name, &err), CS_OK);
}

static void names_in_directories_are_checked(void **state)
{
	(void)state;
	char name[256];
	memset(name, 'n', sizeof(name));
	assert_true(cs_name_valid(name, 255));
	assert_false(cs_name_valid(name, 256));
	assert_false(cs_name_valid("", 0));
	assert_false(cs_name_valid(".", 1));
	assert_false(cs_name_valid("..", 2));
	assert_true(cs_name_valid("...", 3));
	assert_true(cs_name_valid(".a", 2));
	assert_false(cs_name_valid("a/b", 3));
	assert_false(cs_name_valid("a\0b", 3));
	assert_true(cs_name_valid("a\n\xff", 3));
}

static void consistency_levels_have_names(void **state)
{
	(void)state;
	assert_string_equal(cs_consistency_name(CS_CONSISTENCY_UNKNOWN), "unknown");
	assert_string_equal(cs_consistency_name(CS_CONSISTENCY_CRASH), "crash");
	assert_string_equal(cs_consistency_name(CS_CONSISTENCY_FS), "fs");
	assert_string_equal(cs_consistency_name(CS_CONSISTENCY_APP), "app");
	assert_string_equal(cs_consistency_name(99), "unknown");
}

static void a_time_as_it_is_typed(void **state)
{
	(void)state;
	static const struct {
		const char *zone, *text;
		int64_t sec;
	} rows[] = {
		{ "UTC", "2026-11-22T06-39-05Z", 1795329545 },
		{ "Europe/Berlin", "2026-11-22T06-39-05Z", 1795329545 },
		{ "Europe/Berlin", "2026-11-22T06:39:05Z", 1795329545 },
		{ "Europe/Berlin", "2026-11-22 06:39:05Z", 1795329545 },
		{ "CET-1", "2026-11-22T07:39:05", 1795329545 },
		{ "CET-1", "2026-11-22T07-39-05", 1795329545 },
		{ "CET-1", "2026-11-22T07:39", 1795329545 + 54 },
		{ "CET-1", "2026-11-22T07", 1795329545 + 54 + 20 * 60 },
		{ "CET-1", "2026-11-22", 1795388399 },
		{ "CET-1", "2026-11-22Z", 1795388399 + 3600 },
		{ "CET-1CEST,M3.5.0,M10.5.0/3", "2026-07-01T02:00:00", 1782864000 },
		{ "UTC", "1969-12-31T23:59:59", -1 },
		{ "UTC", "2024-02-29", 1709251199 },
		{ "UTC", "9999-12-31Z", 253402300799 },
	};
	static const char *const bad[] = {
		"", "now", "2026", "2026-11", "2026-11-", "26-11-22", "2026-1-22", "2026-11-22T",
		"2026-11-22T6", "2026-11-22T06:39:05Z-002", "2026-11-22T06:39:05+01:00",
		"2026-13-01", "2026-02-30", "2025-02-29", "2026-00-01", "2026-01-00",
		"2026-11-22T24", "2026-11-22T06:60", "2026-11-22T06:39:60", "2026-11-22Z ",
		" 2026-11-22", "2026-11-22x", "2026-11-22T06:39:05ZZ", "-2026-11-22", "2026-11-2 ",
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct cs_time t = { 0, 7 };
		setenv("TZ", rows[i].zone, 1);
		tzset();
		assert_int_equal(cs_time_parse(rows[i].text, &t), CS_OK);
		if (t.sec != rows[i].sec)
			fail_msg("%s in %s: %lld", rows[i].text, rows[i].zone, (long long)t.sec);
		assert_int_equal(t.nsec, 0);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct cs_time t = { 7, 8 };
		if (cs_time_parse(bad[i], &t) != CS_E_USAGE)
			fail_msg("'%s' was taken for a time", bad[i]);
		assert_int_equal(t.sec, 7);
	}
	unsetenv("TZ");
}

/* What a record may say of itself: it goes to terminals as it is. */
static void text_of_a_record_is_plain(void **state)
{
	(void)state;
	assert_true(cs_text_is_escaped("/srv/www\n/etc\\x0a\xc3\xa4"));
	assert_false(cs_text_is_escaped("\x1b[2J"));
	assert_false(cs_text_is_escaped("\xc2\x9b"));
	assert_false(cs_text_is_escaped("\x9b"));
	assert_true(cs_point_name_valid("2026-11-22T06-39-05Z-002", 24));
	assert_false(cs_point_name_valid("latest", 6));
	assert_false(cs_point_name_valid("..", 2));
	assert_false(cs_point_name_valid("2026/", 5));
	assert_false(cs_point_name_valid("", 0));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(text_of_a_record_is_plain),
		cmocka_unit_test(what_breaks_a_line_is_escaped),
		cmocka_unit_test(what_is_not_utf8_is_escaped),
		cmocka_unit_test(a_short_buffer_gets_whole_pieces_and_the_full_length),
		cmocka_unit_test(unescape_undoes_escape),
		cmocka_unit_test(unescape_refuses_half_escapes),
		cmocka_unit_test(a_hash_is_lower_case_hex),
		cmocka_unit_test(a_time_name_and_back),
		cmocka_unit_test(other_names_are_no_times),
		cmocka_unit_test(a_time_as_it_is_typed),
		cmocka_unit_test(series_names_are_checked),
		cmocka_unit_test(names_in_directories_are_checked),
		cmocka_unit_test(consistency_levels_have_names),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
