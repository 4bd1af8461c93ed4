/* SPDX-License-Identifier: MIT */
/*
 * f_store.c - a store's file with changed bytes, and everything that reads it.
 *
 * The input is a list of changes: u8 how, u16 where, u16 at, u8 n, n bytes. Even
 * how: the bytes are put at `at` of value number `where` of the bundles, points
 * and rows, which is sealed again with a right checksum; odd: at `at` of page number
 * `where` of the file, be it LMDB's own.
 */
#include "place.h"

#include "fuzz.h"

#include "store/hash.h"
#include "store/store.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define VALUES_MAX 256
#define PAGE 4096u

/* A value in the file. */
struct value {
	size_t off, len;
	uint64_t number; /* a bundle's; 0: a record, sealed at its end */
};

static uint8_t *file; /* as it was */
static size_t file_len;
static struct value values[VALUES_MAX];
static size_t nvalues;

static void note_value(const void *data, size_t len, uint64_t number)
{
	const uint8_t *at = memmem(file, file_len, data, len);

	if (at && nvalues < VALUES_MAX)
		values[nvalues++] = (struct value){ (size_t)(at - file), len, number };
}

static void note_bundles(struct cs_txn *t)
{
	struct cs_slice v;
	uint64_t number = 0;

	while (cs_bundles_next(t, number + 1, &number, &v, NULL) == 1)
		note_value(v.data, v.len, number);
}

static void note_table(struct cs_txn *t, enum cs_table table)
{
	struct cs_cursor *c;
	struct cs_slice key = { 0 }, v;

	MUST(cs_cursor_open(t, table, &c, NULL) == CS_OK);
	for (int rc = cs_cursor_move(c, CS_SEEK_FIRST, &key, &v, NULL); rc == 1;
	     rc = cs_cursor_move(c, CS_SEEK_NEXT, &key, &v, NULL))
		note_value(v.data, v.len, 0);
	cs_cursor_close(c);
}

static void begin(const char *path)
{
	struct cs_store *s;
	struct cs_txn *t;
	struct stat st;
	char data[300];

	place_init(path);
	place_fill_tree();
	place_back_up(path, "s");
	place_back_up(path, "t");
	snprintf(data, sizeof(data), "%s/data.mdb", path);
	int fd = open(data, O_RDONLY | O_CLOEXEC);
	MUST(fd >= 0 && fstat(fd, &st) == 0);
	file_len = (size_t)st.st_size;
	file = malloc(file_len);
	MUST(file && pread(fd, file, file_len, 0) == (ssize_t)file_len);
	close(fd);
	MUST(cs_store_open(path, NULL, &s, NULL) == CS_OK);
	MUST(cs_txn_read(s->db, &t, NULL) == CS_OK);
	note_bundles(t);
	note_table(t, CS_T_POINTS);
	note_table(t, CS_T_SERIES);
	cs_txn_end(t);
	cs_store_close(s);
}

static void seal(uint8_t *now, const struct value *v)
{
	uint8_t *p = now + v->off;

	if (v->number && v->len > CS_BUNDLE_HEADER_SIZE) {
		cs_bundle_seal(p, v->len, v->number);
	} else if (!v->number && v->len > 8) {
		uint64_t c = cs_checksum(p, v->len - 8);
		for (int i = 0; i < 8; i++)
			p[v->len - 8 + (size_t)i] = (uint8_t)(c >> (8 * i));
	}
}

static void change(uint8_t *now, const uint8_t *p, const uint8_t *end)
{
	while (end - p >= 6) {
		size_t where = (size_t)(p[1] | p[2] << 8), at = (size_t)(p[3] | p[4] << 8), n = p[5];
		bool page = p[0] & 1;
		const struct value *v = &values[where % nvalues];
		size_t off = page ? where % (file_len / PAGE) * PAGE : v->off;
		size_t len = page ? PAGE : v->len;

		p += 6;
		n = n < (size_t)(end - p) ? n : (size_t)(end - p);
		at %= len;
		n = n < len - at ? n : len - at;
		memcpy(now + off + at, p, n);
		p += n;
		if (!page)
			seal(now, v);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char path[256];
	char mdb[300];
	struct cs_store *s;

	if (!*path) {
		snprintf(path, sizeof(path), "%s", place_path("store"));
		begin(path);
	}
	uint8_t *now = malloc(file_len);
	MUST(now);
	memcpy(now, file, file_len);
	change(now, data, data + size);
	snprintf(mdb, sizeof(mdb), "%s/data.mdb", path);
	int fd = open(mdb, O_WRONLY | O_CLOEXEC);
	MUST(fd >= 0 && ftruncate(fd, (off_t)file_len) == 0);
	MUST(pwrite(fd, now, file_len, 0) == (ssize_t)file_len);
	close(fd);
	free(now);
	if (cs_store_open(path, NULL, &s, NULL) == CS_OK) {
		place_read(s);
		cs_store_close(s);
	}
	return 0;
}
