/* SPDX-License-Identifier: MIT */
#include "store/dump.h"
#include "util.h"

#include <sys/stat.h>

static void assert_line(const struct cs_entry *e, const struct cs_hash *content,
			const struct cs_xattr_item *x, size_t nx, const char *path,
			const char *want)
{
	struct cs_buf b = { 0 };

	cs_dump_line(&b, e, content, x, nx, path, strlen(path));
	assert_false(b.failed);
	cs_buf_u8(&b, 0);
	assert_string_equal((char *)b.data, want);
	cs_buf_release(&b);
}

static const struct cs_hash content = { { 0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77,
					  0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff } };

static void a_file_is_one_golden_line(void **state)
{
	struct cs_entry e = {
		.mode = S_IFREG | 04755,
		.uid = 1000,
		.gid = 4000000000u,
		.nlink = 2,
		.size = 5000000000,
		.data_bytes = 4096,
		.mtime = { 1795330745, 5 },
		.ctime = { 0, 0 },
		.atime = { -2, 500000000 },
		.btime = { 7, 999999999 },
		.have = CS_HAVE_BTIME | CS_HAVE_FLAGS | CS_HAVE_PROJID | CS_HAVE_XATTRS,
		.flags = 0x80000,
		.projid = 12,
		.ino = UINT64_MAX,
		.volume = 3,
	};
	static const uint8_t short_value[] = { 0x00, 0xff };
	struct cs_xattr_item x[] = {
		{ .name = "user.a b", .name_len = 8, .value = short_value, .value_len = 2 },
		{ .name = "user.c", .name_len = 6, .chunk = 1 << 16, .value_len = 5000,
		  .hash = content },
	};

	(void)state;
	assert_line(&e, &content, x, 2, "dir/a b\n\xff\\",
		    "f 4755 1000 4000000000 2 5000000000 4096 1795330745.000000005 0.000000000 "
		    "-2.500000000 7.999999999 18446744073709551615 3 - 80000 12 "
		    "00112233445566778899aabbccddeeff "
		    "user.a\\x20b=00ff,user.c=#00112233445566778899aabbccddeeff:5000 "
		    "dir/a\\x20b\\x0a\\xff\\x5c");
	assert_line(&e, &content, NULL, 0, "x",
		    "f 4755 1000 4000000000 2 5000000000 4096 1795330745.000000005 0.000000000 "
		    "-2.500000000 7.999999999 18446744073709551615 3 - 80000 12 "
		    "00112233445566778899aabbccddeeff 0 x");
}

static void what_is_unknown_is_a_dash(void **state)
{
	struct cs_entry e = { .mode = S_IFIFO, .nlink = 1 };

	(void)state;
	assert_line(&e, NULL, NULL, 0, "p",
		    "p 0 0 0 1 - - 0.000000000 0.000000000 0.000000000 - 0 0 - - - - - p");
	e.mode = S_IFBLK | 0660;
	e.rdev_major = 259;
	e.rdev_minor = 1048575;
	assert_line(&e, NULL, NULL, 0, "b",
		    "b 660 0 0 1 - - 0.000000000 0.000000000 0.000000000 - 0 0 "
		    "259:1048575 - - - - b");
	e.mode = S_IFLNK | 0777;
	e.bytes = (const uint8_t *)"to a";
	e.bytes_len = e.size = 4;
	assert_line(&e, NULL, NULL, 0, "l",
		    "l 777 0 0 1 4 - 0.000000000 0.000000000 0.000000000 - 0 0 - - - to\\x20a - l");
	e.mode = S_IFDIR | 0700;
	e.hash = content;
	assert_line(&e, NULL, NULL, 0, "",
		    "d 700 0 0 1 - - 0.000000000 0.000000000 0.000000000 - 0 0 - - - "
		    "00112233445566778899aabbccddeeff - ");
}

/* However strange the values: one line, and always the same number of fields. */
static void every_line_has_nineteen_fields(void **state)
{
	struct rng r = rng_start();
	struct cs_buf b = { 0 };

	(void)state;
	for (int i = 0; i < 2000; i++) {
		static const uint32_t types[] = { S_IFREG, S_IFDIR, S_IFLNK, S_IFCHR, S_IFSOCK };
		uint8_t name[40], target[50];
		struct cs_entry e = {
			.mode = types[rng_below(&r, 5)] | (uint32_t)rng_below(&r, 010000),
			.bytes = target,
			.bytes_len = sizeof(target),
			.mtime = { (int64_t)rng_number(&r, UINT64_MAX), 0 },
			.have = (uint32_t)rng_below(&r, 16),
		};
		struct cs_xattr_item x = { .name = (char *)name, .name_len = sizeof(name),
					   .value = target, .value_len = sizeof(target) };
		unsigned spaces = 0;

		rng_bytes(&r, name, sizeof(name));
		rng_bytes(&r, target, sizeof(target));
		cs_buf_clear(&b);
		cs_dump_line(&b, &e, &content, &x, 1, (char *)name, sizeof(name));
		assert_false(b.failed);
		for (size_t k = 0; k < b.len; k++) {
			assert_true(b.data[k] >= 0x20 && b.data[k] != 0x7f);
			spaces += b.data[k] == ' ';
		}
		assert_int_equal(spaces, 18);
	}
	cs_buf_release(&b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_file_is_one_golden_line),
		cmocka_unit_test(what_is_unknown_is_a_dash),
		cmocka_unit_test(every_line_has_nineteen_fields),
	};

	return cmocka_run_group_tests_name("dump", tests, NULL, NULL);
}
