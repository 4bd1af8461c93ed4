/* SPDX-License-Identifier: MIT */
/*
 * check.h - is this store a good one? What "good" means is said here once, for
 * the replayer and for the scripts.
 */
#ifndef CS_TEST_CHECK_H
#define CS_TEST_CHECK_H

#include <stdbool.h>
#include <stddef.h>

#define CHECK_ID 33
#define CHECK_POINTS 64
#define CHECK_TEXT 1500

enum check_presence {
	CHECK_LACKS, /* must not be there: not begun, or forgotten */
	CHECK_MAY,   /* being stored or forgotten at this moment */
	CHECK_HAS,   /* acknowledged */
};

struct check_point {
	char id[CHECK_ID], digest[CHECK_ID];
	enum check_presence presence;
};

struct check_want {
	bool store; /* init was acknowledged: before that there may be no store */
	bool unknown; /* a point may be there whose name nobody learned: its commit failed */
	size_t npoints;
	struct check_point points[CHECK_POINTS];
	const char *source; /* a directory for the backup that the store must take */
};

/*
 * The store opens for reading and for writing; its list is exactly what is
 * wanted; verify finds nothing; a backup and a gc succeed; after them the list
 * is right and verify finds nothing. False: why says what is wrong.
 */
bool check_store(const char *dir, const struct check_want *want, char why[CHECK_TEXT]);

#endif
