/* SPDX-License-Identifier: MIT */
#include "store/err.h"
#include "util.h"

#include <errno.h>

static const int codes[] = {
#define X(name, value, sys, status, text) name,
	CS_ERROR_TABLE(X)
#undef X
};

static void every_code_has_a_sentence_an_errno_and_a_status(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(codes) / sizeof(codes[0]); i++) {
		assert_true(codes[i] < 0);
		assert_true(strlen(cs_code_text(codes[i])) > 3);
		assert_true(cs_code_errno(codes[i]) > 0);
		assert_in_range(cs_code_status(codes[i]), 1, 3);
		for (size_t j = 0; j < i; j++)
			assert_int_not_equal(codes[i], codes[j]);
	}
	assert_int_equal(cs_code_errno(CS_OK), 0);
	assert_int_equal(cs_code_status(CS_OK), 0);
	assert_int_equal(cs_code_status(CS_E_USAGE), 2);
	assert_int_equal(cs_code_status(CS_E_PARTIAL), 3);
}

static void corrupt_is_never_not_found(void **state)
{
	(void)state;
	assert_int_equal(cs_code_errno(CS_E_CORRUPT), EIO);
	assert_int_equal(cs_code_errno(CS_E_NOTFOUND), ENOENT);
	assert_int_equal(cs_code_errno(-12345), EIO);
	assert_int_not_equal(cs_code_status(-12345), 0);
}

static void an_errno_comes_back_from_its_code(void **state)
{
	static const int list[] = { ENOENT, EEXIST, ENOSPC, ENOMEM,  EBUSY,
				    EINTR,  EIO,    EROFS,  ENOTDIR, EISDIR };

	(void)state;
	for (size_t i = 0; i < sizeof(list) / sizeof(list[0]); i++)
		assert_int_equal(cs_code_errno(cs_code_from_errno(list[i])), list[i]);
	assert_int_equal(cs_code_from_errno(0), CS_OK);
	assert_int_equal(cs_code_from_errno(EPROTONOSUPPORT), CS_E_IO);
}

static void a_failure_carries_its_text(void **state)
{
	struct cs_error err = { 0 };

	(void)state;
	assert_int_equal(cs_fail(&err, CS_E_EXISTS, "%s: %d", "/x", 5), CS_E_EXISTS);
	assert_int_equal(err.code, CS_E_EXISTS);
	assert_int_equal(err.sys_errno, 0);
	assert_string_equal(err.text, "/x: 5");
	assert_int_equal(cs_fail_errno(&err, ENOSPC, "write %s", "y"), CS_E_FULL);
	assert_int_equal(err.sys_errno, ENOSPC);
	assert_string_equal(err.text, "write y: No space left on device");
	assert_int_equal(cs_fail(NULL, CS_E_IO, "nobody listens"), CS_E_IO);
	assert_true(cs_fail_errno(&err, 0, "no errno") < 0);
}

/* It begins and ends as it should; what is wrong stands at the end. */
static void a_long_text_loses_its_middle(void **state)
{
	struct cs_error err;
	char text[3000];

	(void)state;
	memset(text, 'x', sizeof(text) - 1);
	text[sizeof(text) - 1] = 0;
	cs_fail(&err, CS_E_IO, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	cs_fail_errno(&err, EIO, "%s", text);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_non_null(strstr(err.text, "x: Input/output error"));
	cs_fail(&err, CS_E_IO, "/a/%s: it has no end", text);
	assert_int_equal(strncmp(err.text, "/a/xxx", 6), 0);
	assert_non_null(strstr(err.text, "x[...]x"));
	assert_string_equal(err.text + strlen(err.text) - 16, "x: it has no end");
	for (size_t len = sizeof(err.text) - 40; len < sizeof(err.text) + 2; len++) {
		text[len] = 0;
		cs_fail_errno(&err, EIO, "%s", text);
		assert_true(strlen(err.text) < sizeof(err.text));
		assert_non_null(strstr(err.text, "x: Input/output error"));
		text[len] = 'x';
	}
	static char longest[20000];
	memset(longest, 'y', sizeof(longest) - 1);
	cs_fail_errno(&err, EIO, "%s", longest);
	assert_int_equal(strlen(err.text), sizeof(err.text) - 1);
	assert_non_null(strstr(err.text, "y: Input/output error"));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_code_has_a_sentence_an_errno_and_a_status),
		cmocka_unit_test(corrupt_is_never_not_found),
		cmocka_unit_test(an_errno_comes_back_from_its_code),
		cmocka_unit_test(a_failure_carries_its_text),
		cmocka_unit_test(a_long_text_loses_its_middle),
	};

	return cmocka_run_group_tests_name("err", tests, NULL, NULL);
}
