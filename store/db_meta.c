/* SPDX-License-Identifier: MIT */
/*
 * db_meta.c - a look at data.mdb before LMDB gets to see it.
 *
 * LMDB trusts its file: what its two meta pages say of the size of pages, of the
 * depth and the roots of its trees goes into arithmetic and into a map, unchecked.
 * So they are checked here, as far as they can be from outside, and a file that
 * cannot be opened is refused in words. What lies in the pages behind them is
 * not looked at: see db_guard.c, and chunkstore(7) for what is left.
 *
 * A file that is shorter than its pages is not refused: what is left of it can be
 * read. The layout is that of LMDB 0.9 on a machine with 64 bits, which is what
 * the library on this machine accepts as well; see lmdb.h's MDB_VERSION_MISMATCH.
 */
#include "db.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define META_AT 16 /* behind the header of a page */
#define META_LEN 136
#define PAGE_META 0x08
#define LMDB_MAGIC 0xbeefc0deu
#define LMDB_VERSION 1u
#define PAGE_SIZE_MIN 512u
#define PAGE_SIZE_MAX 65536u
#define DEPTH_MAX 32 /* as deep as one of its cursors goes */
#define MAP_MAX ((uint64_t)1 << 46)
#define FLAGS_KNOWN 0xffu /* of a tree: keys reversed, integers, duplicates, ... */
#define NO_ROOT UINT64_MAX
#define TRIES 5 /* a commit may write the page while it is read */

struct tree {
	uint16_t flags, depth;
	uint64_t root;
};

struct meta {
	uint32_t magic, version, page_size;
	uint16_t page_flags;
	struct tree tree[2]; /* free pages, and the tables */
	uint64_t last_page, txn;
};

static void take(void *out, const uint8_t *page, size_t at, size_t n)
{
	memcpy(out, page + at, n);
}

static struct meta meta_of(const uint8_t *page)
{
	struct meta m;
	const uint8_t *p = page + META_AT;

	take(&m.page_flags, page, 10, 2);
	take(&m.magic, p, 0, 4);
	take(&m.version, p, 4, 4);
	take(&m.page_size, p, 24, 4);
	for (size_t i = 0; i < 2; i++) {
		take(&m.tree[i].flags, p, 24 + 48 * i + 4, 2);
		take(&m.tree[i].depth, p, 24 + 48 * i + 6, 2);
		take(&m.tree[i].root, p, 24 + 48 * i + 40, 8);
	}
	take(&m.last_page, p, 120, 8);
	take(&m.txn, p, 128, 8);
	return m;
}

/* What is wrong with it, or NULL. */
static const char *unusable(const struct meta *m)
{
	if (m->magic != LMDB_MAGIC)
		return m->magic == __builtin_bswap32(LMDB_MAGIC) ?
			       "it was made on a machine of the other byte order" :
			       "it does not begin as one";
	if (m->version != LMDB_VERSION)
		return "it is of another version of LMDB";
	if (!(m->page_flags & PAGE_META))
		return "its first pages are damaged";
	if (m->page_size < PAGE_SIZE_MIN || m->page_size > PAGE_SIZE_MAX ||
	    (m->page_size & (m->page_size - 1)))
		return "its size of pages cannot be";
	return NULL;
}

/* The same of what only the newer one of two is asked for. */
static const char *impossible(const struct meta *m)
{
	if (m->last_page < 1 || m->last_page >= MAP_MAX / m->page_size)
		return "its number of pages cannot be";
	for (int i = 0; i < 2; i++) {
		const struct tree *t = &m->tree[i];
		if (t->depth > DEPTH_MAX || (t->flags & ~FLAGS_KNOWN) ||
		    (t->root == NO_ROOT ? t->depth != 0 :
					  t->depth == 0 || t->root < 2 || t->root > m->last_page))
			return "the root of its pages cannot be";
	}
	return NULL;
}

/* 1 and *m, 0 when the file is too short. */
static int read_meta(int fd, uint64_t at, struct meta *m)
{
	uint8_t page[META_AT + META_LEN];
	ssize_t n = pread(fd, page, sizeof(page), (off_t)at);

	if (n < 0)
		return -errno;
	if ((size_t)n < sizeof(page))
		return 0;
	*m = meta_of(page);
	return 1;
}

static int look(int fd, const char **wrong)
{
	struct meta m[2];
	int r = read_meta(fd, 0, &m[0]);

	*wrong = r == 0 ? "it is too short" : r == 1 ? unusable(&m[0]) : NULL;
	if (r != 1 || *wrong)
		return r;
	r = read_meta(fd, m[0].page_size, &m[1]);
	*wrong = r == 0 ? "it is too short" : r == 1 ? unusable(&m[1]) : NULL;
	if (r != 1 || *wrong)
		return r;
	if (m[0].page_size != m[1].page_size)
		*wrong = "its size of pages cannot be";
	else
		*wrong = impossible(&m[m[1].txn > m[0].txn]);
	return r;
}

int cs_db_check_file(int dir, const char *name, struct cs_error *err)
{
	const char *wrong = NULL;
	int r = 0;
	CS_CLOSE int fd = openat(dir, "data.mdb", O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);

	if (fd < 0)
		return cs_fail_errno(err, errno, "store %s: data.mdb", name);
	for (int i = 0; i < TRIES; i++) {
		r = look(fd, &wrong);
		if (r < 0 || !wrong)
			break;
	}
	if (r < 0)
		return cs_fail_errno(err, -r, "store %s: data.mdb", name);
	if (wrong)
		return cs_fail(err, CS_E_CORRUPT,
			       "%s: not a chunkstore store, or damaged: data.mdb is no LMDB file that "
			       "can be opened: %s", name, wrong);
	return CS_OK;
}
