/* SPDX-License-Identifier: MIT */
/*
 * db_free.c - LMDB's list of free pages, and how much space there is and is free.
 *
 * The list is table 0: a record for each transaction that freed pages, its id the key,
 * page numbers the value. It may be damaged like all else: a record is as long as it
 * says, and ids ascend, or nothing is made of it.
 */
#include "db_impl.h"

#include <errno.h>
#include <string.h>

struct walk {
	cs_freed_fn *each;
	void *arg;
};

static int walk_rows(void *arg, MDB_cursor *c)
{
	struct walk *w = arg;
	MDB_val k, v;
	uint64_t last = 0;
	int rc;
	while ((rc = mdb_cursor_get(c, &k, &v, MDB_NEXT)) == 0) {
		struct cs_freed f = { .list = v.mv_data };
		if (k.mv_size != sizeof(f.id) || v.mv_size < sizeof(f.n))
			return MDB_CORRUPTED;
		memcpy(&f.id, k.mv_data, sizeof(f.id));
		memcpy(&f.n, v.mv_data, sizeof(f.n));
		if (f.n > v.mv_size / 8 - 1 || f.id <= last) /* or it may go on for ever */
			return MDB_CORRUPTED;
		last = f.id;
		rc = w->each(w->arg, &f);
		if (rc) /* MDB_NOTFOUND: it has seen enough */
			break;
	}
	return rc == MDB_NOTFOUND ? 0 : rc;
}

int cs_freed_walk(MDB_txn *txn, cs_freed_fn *each, void *arg)
{
	return cs_db_with_cursor(txn, 0, walk_rows, &(struct walk){ each, arg });
}

uint64_t cs_freed_from(const struct cs_freed *f, uint64_t page)
{
	uint64_t lo = 0, hi = f->n;
	while (lo < hi) {
		uint64_t mid = lo + (hi - lo) / 2;
		if (cs_freed_page(f, mid) >= page)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

struct in_file {
	uint64_t end, pages;
};

static int add_pages(void *arg, const struct cs_freed *f)
{
	struct in_file *a = arg;
	a->pages += f->n - cs_freed_from(f, a->end);
	return 0;
}

int cs_db_free_pages(MDB_txn *txn, uint64_t end, uint64_t *pages)
{
	struct in_file in = { .end = end };
	int rc = cs_freed_walk(txn, add_pages, &in);
	*pages = in.pages;
	return rc;
}

struct first {
	uint64_t *list;
	size_t max, n;
};

static int add_first(void *arg, const struct cs_freed *f)
{
	struct first *t = arg;
	for (uint64_t i = 0; i < f->n && t->n < t->max; i++)
		t->list[t->n++] = cs_freed_page(f, f->n - 1 - i);
	return t->n < t->max ? 0 : MDB_NOTFOUND; /* enough */
}

int cs_db_first_free(MDB_txn *txn, uint64_t *list, size_t max, size_t *n)
{
	struct first t = { list, max, 0 };
	int rc = cs_freed_walk(txn, add_first, &t);
	*n = t.n;
	return rc;
}

/* ---- statistics */

static int count_rows(struct cs_txn *t, struct cs_db_stats *s, MDB_stat *m)
{
	int rc = 0;
	for (int i = 0; i < CS_TABLES && rc == 0; i++)
		if (t->db->dbi[i]) {
			GUARDED(rc, mdb_stat(t->txn, t->db->dbi[i], m));
			s->rows[i] = m->ms_entries;
		}
	return rc;
}

int cs_db_stats(struct cs_db *db, struct cs_db_stats *out, struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_db_stats s = { 0 };
	uint64_t pages = 0;
	MDB_stat m = { .ms_psize = 4096 };
	mdb_filehandle_t fd;
	struct stat st;

	int rc = mdb_env_get_fd(db->env, &fd);
	if (rc)
		return cs_db_fail(db, rc, "stat", err);
	rc = cs_txn_read(db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = count_rows(t, &s, &m);
	if (rc == 0 && fstat(fd, &st) != 0)
		rc = errno;
	if (rc == 0)
		rc = cs_db_free_pages(t->txn, (uint64_t)st.st_size / m.ms_psize, &pages);
	cs_txn_end(t);
	if (rc)
		return cs_db_fail(db, rc, "stat", err);
	s.free_bytes = pages * m.ms_psize;
	s.file_bytes = (uint64_t)st.st_size;
	s.disk_bytes = (uint64_t)st.st_blocks * 512;
	*out = s;
	return CS_OK;
}
