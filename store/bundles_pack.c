/* SPDX-License-Identifier: MIT */
/*
 * bundles_pack.c - how bundles lie in LMDB: several in one value, a pack.
 *
 * LMDB keeps a large value on pages of its own, and the last one is half empty:
 * 2 KiB for each bundle, which is more than 2 % where a bundle is 80 KiB. So
 * bundles that are committed together are laid one behind the other. The key
 * says which: first the number of the last bundle, so that the first key that
 * is not less than a bundle's number is its pack's, then how long each is. So
 * to find a bundle only pages above the values are read, and of the value
 * nothing but its own bytes.
 *
 * Numbers come in runs of CS_BUNDLE_RUN. A pack has bundles of one run, and two
 * packs of a run never overlap, whoever puts and deletes what in which order.
 * To delete a bundle is to write its pack again without it; LMDB's transaction
 * makes that one step.
 *
 * A damaged key leads to no bundle or to bytes that are not the bundle's: its
 * checksum is seeded by its number.
 */
#include "bundles.h"

#include "alloc.h"

#include <stdlib.h>
#include <string.h>

#define KEY_MAX (8 + CS_BUNDLE_RUN * 6)
#define WALK_STEP 200 /* bundles a read transaction */

struct pack {
	uint32_t n;
	struct cs_bundle_stored at[CS_BUNDLE_RUN + 1]; /* by number; room for one to be put in */
	struct cs_slice value;
	uint8_t key[KEY_MAX];
	size_t key_len;
};

static void put_number(uint8_t out[8], uint64_t number)
{
	for (int i = 0; i < 8; i++)
		out[i] = (uint8_t)(number >> (56 - 8 * i));
}

static uint64_t run_of(uint64_t number)
{
	return number / CS_BUNDLE_RUN;
}

static int pack_key(const struct cs_bundle_stored *list, uint32_t n, struct cs_buf *out)
{
	uint8_t last[8];
	put_number(last, list[n - 1].number);
	cs_buf_add(out, last, sizeof(last));
	for (uint32_t i = n; i-- > 0;) {
		cs_buf_var(out, list[i].len);
		if (i)
			cs_buf_var(out, list[i].number - list[i - 1].number);
	}
	return out->failed ? CS_E_NOMEM : CS_OK;
}

/* The rows of a key, from the last bundle to the first. Fills at[] from its end. */
static int parse_rows(struct cs_cur *c, uint64_t number, const uint8_t *start, const uint8_t *end,
		      struct pack *p)
{
	uint32_t i = CS_BUNDLE_RUN;
	const uint64_t run = run_of(number);
	for (;;) {
		size_t len = cs_cur_max(c, CS_BUNDLE_STORED_MAX);
		if (c->bad || i == 0 || !number || len > (size_t)(end - start) || run_of(number) != run)
			return CS_E_CORRUPT;
		end -= len;
		p->at[--i] = (struct cs_bundle_stored){ number, end, len };
		if (cs_cur_done(c))
			break;
		uint64_t step = cs_cur_max(c, CS_BUNDLE_RUN);
		if (c->bad || step == 0 || step > number)
			return CS_E_CORRUPT;
		number -= step;
	}
	p->n = CS_BUNDLE_RUN - i;
	memmove(p->at, p->at + i, p->n * sizeof(*p->at));
	return end == start ? CS_OK : CS_E_CORRUPT;
}

static int parse(struct cs_slice key, struct cs_slice value, struct pack *p)
{
	struct cs_cur c = cs_cur(key.data, key.len);
	uint64_t last = 0;
	if (key.len > KEY_MAX)
		return CS_E_CORRUPT;
	for (int i = 0; i < 8; i++)
		last = last << 8 | cs_cur_u8(&c);
	if (c.bad || last > CS_BUNDLE_NUMBER_MAX)
		return CS_E_CORRUPT;
	memcpy(p->key, key.data, key.len);
	p->key_len = key.len;
	p->value = value;
	const uint8_t *start = value.data;
	return parse_rows(&c, last, start, start + value.len, p);
}

/* The first pack that ends with this number or a later one: 1, 0 (none) or negative. */
static int find_pack(struct cs_txn *t, uint64_t number, struct pack *p, struct cs_error *err)
{
	uint8_t from[8];
	struct cs_slice key = { from, sizeof(from) }, value;
	put_number(from, number);
	int rc = cs_db_find(t, CS_T_BUNDLES, &key, &value, err);
	/* numbers that go back would send whoever walks the table round for ever */
	if (rc == 1 && (parse(key, value, p) != CS_OK || p->at[p->n - 1].number < number))
		return cs_fail(err, CS_E_CORRUPT, "the table of bundles is damaged");
	return rc;
}

/* Where a number is, or would be. */
static uint32_t place(const struct pack *p, uint64_t number)
{
	uint32_t i = 0;
	while (i < p->n && p->at[i].number < number)
		i++;
	return i;
}

static bool has(const struct pack *p, uint32_t i, uint64_t number)
{
	return i < p->n && p->at[i].number == number;
}

/* ---- writing */

static int write_pack(struct cs_txn *t, const struct cs_bundle_stored *list, uint32_t n,
		      struct cs_error *err)
{
	struct cs_buf key = { 0 };
	size_t len = 0;
	void *room;
	for (uint32_t i = 0; i < n; i++)
		len += list[i].len;
	int rc = pack_key(list, n, &key);
	if (rc != CS_OK)
		cs_fail(err, rc, "out of memory");
	else
		rc = cs_db_reserve(t, CS_T_BUNDLES, (struct cs_slice){ key.data, key.len }, len,
				   &room, err);
	uint8_t *at = rc == CS_OK ? room : NULL;
	for (uint32_t i = 0; i < n && at; i++) {
		memcpy(at, list[i].data, list[i].len);
		at += list[i].len;
	}
	cs_buf_release(&key);
	return rc;
}

/* A pack's value is copied: what it lies on may be given to the new value. */
static int own_value(struct pack *p, uint8_t **copy, struct cs_error *err)
{
	int rc = cs_db_load(p->value, err);
	if (rc != CS_OK)
		return rc;
	*copy = cs_alloc(p->value.len + 1);
	if (!*copy)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	memcpy(*copy, p->value.data, p->value.len);
	for (uint32_t i = 0; i < p->n; i++)
		p->at[i].data = *copy + ((const uint8_t *)p->at[i].data -
					 (const uint8_t *)p->value.data);
	return CS_OK;
}

/* In place of pack p: the same with b in it, or without the bundle at i. */
static int change_pack(struct cs_txn *t, struct pack *p, uint32_t i,
		       const struct cs_bundle_stored *b, struct cs_error *err)
{
	uint8_t *copy = NULL;
	int rc = p->n > 1 || b ? own_value(p, &copy, err) : CS_OK;
	if (rc == CS_OK)
		rc = cs_db_del(t, CS_T_BUNDLES, (struct cs_slice){ p->key, p->key_len }, NULL, err);
	if (b && !has(p, i, b->number)) {
		memmove(p->at + i + 1, p->at + i, (p->n - i) * sizeof(*p->at));
		p->n++;
	}
	if (b)
		p->at[i] = *b;
	else
		memmove(p->at + i, p->at + i + 1, (--p->n - i) * sizeof(*p->at));
	if (rc == CS_OK && p->n)
		rc = write_pack(t, p->at, p->n, err);
	free(copy);
	return rc;
}

/* Bundles of one run, and no more than a pack should have. */
static int put_run(struct cs_txn *t, const struct cs_bundle_stored *list, uint32_t n,
		   struct cs_error *err)
{
	struct pack p;
	int rc = find_pack(t, list[0].number, &p, err);
	if (rc < 0)
		return rc;
	if (rc == 0 || p.at[0].number > list[n - 1].number)
		return write_pack(t, list, n, err);
	rc = CS_OK;
	for (uint32_t i = 0; i < n && rc == CS_OK; i++) { /* among others: rare */
		rc = find_pack(t, list[i].number, &p, err);
		if (rc < 0)
			return rc;
		rc = rc == 1 && p.at[0].number <= list[i].number ?
			     change_pack(t, &p, place(&p, list[i].number), &list[i], err) :
			     write_pack(t, &list[i], 1, err);
	}
	return rc;
}

int cs_bundles_put(struct cs_txn *t, const struct cs_bundle_stored *list, size_t n,
		   struct cs_error *err)
{
	int rc = CS_OK;
	for (size_t from = 0, to; from < n && rc == CS_OK; from = to) {
		size_t len = list[from].len;
		for (to = from + 1; to < n && len + list[to].len <= CS_PACK_TARGET &&
				    run_of(list[to].number) == run_of(list[from].number); to++)
			len += list[to].len;
		rc = put_run(t, list + from, (uint32_t)(to - from), err);
	}
	return rc;
}

int cs_bundles_del(struct cs_txn *t, uint64_t number, struct cs_error *err)
{
	struct pack p;
	int rc = find_pack(t, number, &p, err);
	uint32_t i = rc == 1 ? place(&p, number) : 0;
	if (rc < 0)
		return rc;
	return rc == 1 && has(&p, i, number) ? change_pack(t, &p, i, NULL, err) : CS_OK;
}

int cs_bundles_reserve(struct cs_txn *t, uint64_t n, uint64_t *first, struct cs_error *err)
{
	uint64_t next;
	int rc = cs_db_counter_get(t, CS_META_NEXT_BUNDLE, &next, err);
	if (rc != CS_OK)
		return rc;
	if (next == 0 || next > CS_BUNDLE_NUMBER_MAX - n - 2 * CS_BUNDLE_RUN)
		return cs_fail(err, CS_E_LIMIT, "the store has no bundle numbers left");
	next = (next + CS_BUNDLE_RUN - 1) / CS_BUNDLE_RUN * CS_BUNDLE_RUN;
	n = (n + CS_BUNDLE_RUN - 1) / CS_BUNDLE_RUN * CS_BUNDLE_RUN;
	rc = cs_db_counter_set(t, CS_META_NEXT_BUNDLE, next + n, err);
	if (rc == CS_OK)
		*first = next;
	return rc;
}

/* ---- reading */

static int take(struct cs_txn *t, const struct cs_bundle_stored *b, struct cs_slice *out,
		struct cs_error *err)
{
	*out = (struct cs_slice){ b->data, b->len };
	int rc = cs_db_touch(t, *out, err);
	return rc == CS_OK ? 1 : rc;
}

int cs_bundles_get(struct cs_txn *t, uint64_t number, struct cs_slice *out, struct cs_error *err)
{
	struct pack p;
	int rc = find_pack(t, number, &p, err);
	if (rc != 1)
		return rc;
	uint32_t i = place(&p, number);
	return has(&p, i, number) ? take(t, &p.at[i], out, err) : 0;
}

int cs_bundles_next(struct cs_txn *t, uint64_t from, uint64_t *number, struct cs_slice *out,
		    struct cs_error *err)
{
	struct pack p;
	int rc = find_pack(t, from, &p, err);
	if (rc != 1)
		return rc;
	const struct cs_bundle_stored *b = &p.at[place(&p, from)];
	*number = b->number;
	return take(t, b, out, err);
}

int cs_bundles_walk(struct cs_db *db, cs_bundle_fn *fn, void *arg, struct cs_error *err)
{
	uint64_t from = 1, number;
	int rc = 1; /* there may be more */
	while (rc == 1) {
		struct cs_txn *t;
		struct cs_slice v;
		rc = cs_txn_read(db, &t, err);
		if (rc != CS_OK)
			return rc;
		for (int i = 0; i < WALK_STEP; i++) {
			rc = cs_bundles_next(t, from, &number, &v, err);
			if (rc != 1)
				break;
			from = number + 1;
			rc = fn(arg, t, number, v, err);
			cs_db_unload(t, v);
			if (rc != CS_OK)
				break;
			rc = 1;
		}
		cs_txn_end(t);
	}
	return rc;
}
