/* SPDX-License-Identifier: MIT */
#include "heal.h"

#include "alloc.h"
#include "hash.h"
#include "index.h"
#include "reader.h"

#include <stdlib.h>

/* Does the table of a bundle say that this was the chunk? It is read without its checksum. */
static bool was(struct cs_txn *t, cs_chunk at, int kind, const struct cs_hash *h, size_t len)
{
	struct cs_slice v;
	struct cs_bundle_header head;
	struct cs_slot slot;
	return cs_bundles_get(t, cs_chunk_bundle(at), &v, NULL) == 1 &&
	       cs_bundle_header_unpack(v.data, v.len, &head) == CS_OK && head.kind == kind &&
	       cs_bundle_load_table(v, &head, NULL) == CS_OK &&
	       cs_slot_find(v.data, &head, cs_chunk_slot(at), &slot) == CS_OK &&
	       slot.len == len && cs_hash_equal(&slot.hash, h);
}

static int is_damaged(struct cs_store *s, cs_chunk at, struct cs_error *err)
{
	struct cs_bundle *b;
	uint32_t slot;
	void *held;
	int rc = cs_reader_find(s, at, &held, &b, &slot, err);
	if (rc == CS_OK)
		cs_cache_release(held);
	return rc == CS_OK ? 0 : rc == CS_E_CORRUPT || rc == CS_E_IO ? 1 : rc;
}

int cs_heal_find(struct cs_store *s, int kind, const struct cs_hash *h, size_t len, cs_chunk *out,
		 size_t max, size_t *n, struct cs_error *err)
{
	cs_chunk at = 0;
	*n = 0;
	if (s->header.hash_bits < 128) /* a hash that was cut says nothing */
		return CS_OK;
	while (*n < max) {
		struct cs_txn *t;
		int rc = cs_txn_read(s->db, &t, err);
		if (rc != CS_OK)
			return rc;
		rc = cs_index_next(t, h, at, &at, err);
		cs_txn_end(t);
		if (rc != 1)
			return rc;
		rc = is_damaged(s, at, err);
		if (rc == 1)
			rc = cs_txn_read(s->db, &t, err);
		else if (rc == 0)
			continue;
		if (rc != CS_OK)
			return rc;
		if (was(t, at, kind, h, len))
			out[(*n)++] = at;
		cs_txn_end(t);
	}
	return CS_OK;
}

static int by_from(const void *a, const void *b)
{
	const struct cs_healed *x = a, *y = b;
	return (x->from > y->from) - (x->from < y->from);
}

/* Rows that led to a damaged chunk lead to the new one: a reference is at most one step from it. */
static int redirect(struct cs_txn *t, const struct cs_healed *sorted, size_t n, struct cs_error *err)
{
	struct cs_healed *rows = NULL;
	struct cs_cursor *c;
	struct cs_slice key = { 0 }, value;
	size_t nrows = 0, cap = 0;
	int rc = cs_cursor_open(t, CS_T_MOVED, &c, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_move(c, CS_SEEK_FIRST, &key, &value, err);
	while (rc == 1) {
		cs_chunk from, to;
		struct cs_healed want = { 0 }, *found = NULL;
		if (cs_moved_unpack(key, value, &from, &to) == CS_OK) {
			want.from = to;
			found = bsearch(&want, sorted, n, sizeof(*sorted), by_from);
		}
		if (found && cs_grow(&rows, &cap, nrows + 1, sizeof(*rows)) != CS_OK) {
			rc = cs_fail(err, CS_E_NOMEM, "out of memory");
			break;
		}
		if (found)
			rows[nrows++] = (struct cs_healed){ .from = from, .to = found->to };
		rc = cs_cursor_move(c, CS_SEEK_NEXT, &key, &value, err);
	}
	cs_cursor_close(c);
	for (size_t i = 0; i < nrows && rc == CS_OK; i++)
		rc = cs_moved_put(t, rows[i].from, rows[i].to, err);
	free(rows);
	return rc;
}

int cs_heal_put(struct cs_txn *t, const struct cs_healed *list, size_t n, struct cs_error *err)
{
	if (n == 0)
		return CS_OK;
	struct cs_healed *sorted = cs_alloc(n * sizeof(*sorted));
	size_t left = 0;
	int rc = sorted ? CS_OK : cs_fail(err, CS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < n && rc == CS_OK; i++) {
		cs_chunk at;
		rc = cs_chunk_moved(t, list[i].from, &at, err);
		if (rc == 0)
			sorted[left++] = list[i];
		rc = rc < 0 ? rc : CS_OK;
	}
	if (rc == CS_OK && left) {
		qsort(sorted, left, sizeof(*sorted), by_from);
		rc = redirect(t, sorted, left, err);
	}
	for (size_t i = 0; i < left && rc == CS_OK; i++) {
		rc = cs_moved_put(t, sorted[i].from, sorted[i].to, err);
		/* who looks for it shall find it where gc counts it */
		if (rc == CS_OK)
			rc = cs_index_del(t, &sorted[i].hash, sorted[i].from, err);
	}
	free(sorted);
	return rc;
}
