/* SPDX-License-Identifier: MIT */
/*
 * db_room.c - room in data.mdb that a full disk cannot take away.
 *
 * To free space takes space: forget and gc write new pages before old ones are
 * free. When others have filled the disk there would be no way out. So after
 * each commit some blocks are set aside where the next one will write: behind
 * the last page of the file, where they do not count in its size, and under the
 * free pages that LMDB takes first, which may be holes (db_space.c). Blocks
 * are allocated and no byte is written, so a writer who has such a page in use
 * by then loses nothing.
 *
 * A backup may not take the last of them (cs_txn_leave_room): the disk that it
 * has filled could not be cleared any more.
 */
#include "db_impl.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define RESERVE_BYTES ((uint64_t)1 << 20)
#define RESERVE_PAGES 256
#define ROWS_BYTES ((uint64_t)256 << 10) /* of a small transaction, beside its bundles */

/* The file's descriptor, the bytes up to its last page, the size of a page. */
static int extent(struct cs_db *db, int *fd, uint64_t *end, uint64_t *page)
{
	MDB_envinfo info;
	MDB_stat st;
	int rc;
	GUARDED(rc, mdb_env_info(db->env, &info));
	if (rc == 0)
		GUARDED(rc, mdb_env_stat(db->env, &st));
	if (rc == 0)
		rc = mdb_env_get_fd(db->env, fd);
	if (rc == 0) {
		*page = st.ms_psize;
		*end = ((uint64_t)info.me_last_pgno + 1) * st.ms_psize;
	}
	return rc;
}

static void reserve_behind(struct cs_db *db, int fd, uint64_t end)
{
	uint64_t have = atomic_load(&db->reserved);
	if (have >= end && have - end >= RESERVE_BYTES / 2)
		return;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)end, (off_t)RESERVE_BYTES) == 0)
		atomic_store(&db->reserved, end + RESERVE_BYTES);
	else if (errno == EOPNOTSUPP || errno == ENOSYS)
		atomic_store(&db->reserved, UINT64_MAX);
}

static int ascending(const void *a, const void *b)
{
	const uint64_t *x = a, *y = b;
	return (*x > *y) - (*x < *y);
}

static void reserve_within(struct cs_db *db, int fd, uint64_t end, uint64_t page)
{
	struct cs_txn *t;
	uint64_t list[RESERVE_PAGES];
	size_t n;
	if (cs_txn_read(db, &t, NULL) != CS_OK)
		return;
	int rc = cs_db_first_free(t->txn, list, RESERVE_PAGES, &n);
	cs_txn_end(t);
	if (rc != 0 || n == 0)
		return;
	qsort(list, n, sizeof(*list), ascending);
	for (size_t i = 0, j; i < n; i = j) {
		for (j = i + 1; j < n && list[j] == list[j - 1] + 1;)
			j++;
		if (list[j - 1] >= end / page)
			break;
		off_t from = (off_t)(list[i] * page), to = (off_t)((list[j - 1] + 1) * page);
		off_t hole = lseek(fd, from, SEEK_HOLE);
		if (hole >= to)
			continue;
		if (fallocate(fd, FALLOC_FL_KEEP_SIZE, from, to - from) != 0)
			break;
	}
}

/* A file system that cannot, or is full, is no error. */
void cs_db_keep_reserve(struct cs_db *db)
{
	int fd = -1;
	uint64_t end = 0, page = 0;
	if (atomic_load(&db->reserved) == UINT64_MAX || extent(db, &fd, &end, &page) != 0)
		return;
	reserve_behind(db, fd, end);
	if (atomic_load(&db->reserved) != UINT64_MAX)
		reserve_within(db, fd, end, page);
}

/* Blocks that the file has and does not use: its reserve, free pages, what a killed writer left. */
static int unused_blocks(struct cs_db *db, uint64_t *out, struct cs_error *err)
{
	struct cs_txn *t;
	struct stat st;
	uint64_t end = 0, page = 0, free_pages = 0;
	int fd = -1, rc = cs_txn_read(db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = extent(db, &fd, &end, &page);
	if (rc == 0)
		rc = cs_db_free_pages(t->txn, end / page, &free_pages);
	cs_txn_end(t);
	if (rc)
		return cs_db_fail(db, rc, "free pages", err);
	if (fstat(fd, &st) != 0)
		return cs_fail_errno(err, errno, "store %s", db->dir);
	uint64_t used = end - free_pages * page, has = (uint64_t)st.st_blocks * 512;
	*out = has > used ? has - used : 0;
	return CS_OK;
}

int cs_txn_leave_room(struct cs_txn *t, uint64_t bytes, struct cs_error *err)
{
	struct cs_db *db = t->db;
	struct statvfs v;
	uint64_t unused = 0, need = bytes + bytes / 16 + 2 * RESERVE_BYTES + ROWS_BYTES;
	if (statvfs(db->dir, &v) != 0)
		return cs_fail_errno(err, errno, "store %s", db->dir);
	uint64_t there = (uint64_t)v.f_bavail * v.f_frsize;
	if (there >= need || v.f_blocks == 0) /* 0: a file system that does not tell */
		return CS_OK;
	int rc = unused_blocks(db, &unused, err);
	if (rc == CS_OK && there + unused < need)
		rc = cs_fail_errno(err, ENOSPC, "store %s: write", db->dir);
	return rc;
}
