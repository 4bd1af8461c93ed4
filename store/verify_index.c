/* SPDX-License-Identifier: MIT */
/*
 * verify_index.c - rows of the dedup index and of the moved table.
 *
 * Every chunk was found in the index; are there rows beside these? If there are
 * exactly as many rows as chunks that were found, there is none. Else each row is
 * followed, sorted by where it leads. A row that leads to a bundle that is gone
 * does no harm, and gc of a damaged bundle leaves some: it is no finding.
 *
 * And LMDB's own pages, which have no checksum: db_pages.c.
 */
#include "verify_impl.h"

#include "alloc.h"
#include "index.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_A_TXN 1000
#define ROWS_AT_ONCE (1u << 20)

/* Up to max rows behind *at, which moves on. */
static int next_rows(struct cs_verify_run *v, struct cs_index_entry *at, struct cs_index_entry *out,
		     size_t *n, struct cs_error *err)
{
	struct cs_txn *t;
	int rc = cs_txn_read(v->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_index_walk(t, at, out, ROWS_A_TXN, n, err);
	if (rc == CS_OK && *n)
		*at = out[*n - 1];
	cs_txn_end(t);
	return rc;
}

static int by_chunk(const void *a, const void *b)
{
	const struct cs_index_entry *x = a, *y = b;
	return (x->chunk > y->chunk) - (x->chunk < y->chunk);
}

static void follow(struct cs_verify_run *v, struct cs_index_entry *rows, size_t n)
{
	qsort(rows, n, sizeof(*rows), by_chunk);
	for (size_t i = 0; i < n; i++) {
		uint64_t number = cs_chunk_bundle(rows[i].chunk);
		uint32_t slot = cs_chunk_slot(rows[i].chunk);
		const struct cs_verify_table *t = cs_verify_table(v, number);
		if (t && t->sound &&
		    (slot >= t->nslots || !cs_index_fits(&rows[i], &t->slots[slot].hash)))
			cs_verify_found(v, CS_FOUND_INDEX_WRONG, number,
					"the dedup index leads to chunks that bundle %llu does not have",
					(unsigned long long)number);
	}
}

/* Each row is followed, or (rows NULL) only counted. */
static int all_rows(struct cs_verify_run *v, struct cs_index_entry *rows, uint64_t *count,
		    struct cs_error *err)
{
	struct cs_index_entry at = { 0, 0 }, some[ROWS_A_TXN];
	size_t have = 0, n = 1;
	int rc = CS_OK;
	for (*count = 0; n && rc == CS_OK; *count += n) {
		rc = next_rows(v, &at, some, &n, err);
		if (rc == CS_OK)
			rc = cs_verify_tick(v, NULL, err);
		if (rc != CS_OK || !rows)
			continue;
		memcpy(rows + have, some, n * sizeof(*some));
		have += n;
		if (have + ROWS_A_TXN > ROWS_AT_ONCE || n == 0) {
			follow(v, rows, have);
			have = 0;
		}
	}
	return rc;
}

static int check_moved(struct cs_verify_run *v, struct cs_error *err)
{
	uint64_t from = 0;
	int rc = 1;
	while (rc == 1) {
		struct cs_txn *t;
		struct cs_cursor *c = NULL;
		struct cs_slice key = cs_u64_key(&from), value;
		uint64_t at = from;
		cs_chunk a, b;
		rc = cs_txn_read(v->store->db, &t, err);
		if (rc != CS_OK)
			return rc;
		rc = cs_cursor_open(t, CS_T_MOVED, &c, err);
		if (rc == CS_OK)
			rc = cs_cursor_move(c, CS_SEEK_GE, &key, &value, err);
		for (int i = 0; i < ROWS_A_TXN && rc == 1; i++) {
			if (cs_u64_value(key, &at) != CS_OK || at < from)
				rc = cs_fail(err, CS_E_CORRUPT, "the table of moved chunks is damaged");
			else if (cs_moved_unpack(key, value, &a, &b) != CS_OK)
				cs_verify_found(v, CS_FOUND_MOVED_DAMAGED, at,
						"the row of bundle %llu slot %u in the moved table",
						(unsigned long long)cs_chunk_bundle(at),
						cs_chunk_slot(at));
			if (rc == 1)
				rc = cs_cursor_move(c, CS_SEEK_NEXT, &key, &value, err);
		}
		cs_cursor_close(c);
		cs_txn_end(t);
		from = at + 1;
		if (rc == 1)
			rc = cs_verify_tick(v, NULL, err) == CS_OK ? 1 : CS_E_INTERRUPTED;
	}
	return rc;
}

/* A table whose rows cannot be walked is a finding, and no reason to look no further. */
static int tolerate(struct cs_verify_run *v, int rc, enum cs_found_id id, const struct cs_error *why,
		    struct cs_error *err)
{
	if (rc == CS_E_CORRUPT || rc == CS_E_IO)
		cs_verify_found(v, id, UINT64_MAX, "%.250s", why->text);
	else if (rc != CS_OK && err)
		*err = *why;
	return rc == CS_E_CORRUPT || rc == CS_E_IO ? CS_OK : rc;
}

/* What can be read may still not be what can be written to. The whole of it is in the first part. */
static int check_pages(struct cs_verify_run *v, struct cs_error *err)
{
	bool good = true;
	int rc = v->opts->part > 1 ? CS_OK : cs_db_check_pages(v->store->db, &good, err);
	if (rc == CS_OK && !good)
		cs_verify_found(v, CS_FOUND_PAGES_DAMAGED, 0,
				"pages of LMDB are damaged: who writes to this store fails, or may hurt "
				"what can still be read");
	return rc;
}

int cs_verify_index(struct cs_verify_run *v, struct cs_error *err)
{
	struct cs_error why = { 0 };
	uint64_t count = 0;
	int rc = check_pages(v, err);
	if (rc != CS_OK)
		return rc;
	rc = tolerate(v, check_moved(v, &why), CS_FOUND_MOVED_DAMAGED, &why, err);
	if (rc == CS_OK)
		rc = all_rows(v, NULL, &count, &why);
	if (rc == CS_OK && count != v->indexed && !v->result.ranges_skipped) {
		struct cs_index_entry *rows = cs_alloc(ROWS_AT_ONCE * sizeof(*rows));
		rc = rows ? all_rows(v, rows, &count, &why) :
			    cs_fail(&why, CS_E_NOMEM, "out of memory");
		free(rows);
	}
	return tolerate(v, rc, CS_FOUND_INDEX_WRONG, &why, err);
}
