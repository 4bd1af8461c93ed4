/* SPDX-License-Identifier: MIT */
/*
 * db_pages.c - LMDB's pages, looked at before they are changed.
 *
 * LMDB copies a page into memory, moves bytes about in it by what the page says of
 * itself, and writes it back: of a damaged one that makes a ruined heap, or a page in
 * which new rows lie over old ones that could still be read. So before a row is put
 * or deleted, the pages on the way to it, as they were when the transaction began,
 * are found right or the change fails: the number and kind of the page, the bounds
 * of its free space, rows that lie side by side and fill it, keys that ascend (where
 * one does not, a search goes wrong or right by how many rows there are), children
 * that are pages of the file. Each is looked at once in a transaction. To delete also concerns the
 * pages beside, with which LMDB evens out.
 *
 * Who reads what is far from anything else (cs_txn_alone) goes the same way first, to have
 * each page read without those around it.
 *
 * Of the list of free pages the order is looked at, where the next pages come from.
 * That a page in it is not in use cannot be told without going through all of them:
 * verify does, with one bit a page, and finds one that belongs to two.
 *
 * The layout is that of LMDB 0.9: see db_meta.c.
 */
#include "db_impl.h"

#include "alloc.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD 16
#define NODE 8
#define META_AT 16
#define BRANCH 1u
#define LEAF 2u
#define OVERFLOW 4u
#define LEAF2 0x20u
#define BIGDATA 1u
#define SUBDATA 2u
#define DUPDATA 4u
#define TREE_SIZE 48
#define DEPTH_MAX 32
#define NO_ROOT UINT64_MAX
#define FREE_LOOKED_AT 65536u /* numbers of free pages, at each transaction */

struct look {
	struct cs_txn *t;
	const uint8_t *map;
	size_t size; /* of a page */
	uint64_t end; /* number behind the last page */
	uint8_t *taken; /* going through all: a bit a page; else NULL */
	uint64_t *sound; /* who writes: pages that were found right; else NULL */
	bool ask; /* have them read without those around them */
};

struct node {
	const uint8_t *key, *data;
	size_t key_len, data_len;
	unsigned flags;
	uint64_t page; /* in a branch */
};

static uint16_t u16(const uint8_t *p)
{
	uint16_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t u64(const uint8_t *p)
{
	uint64_t v;
	memcpy(&v, p, sizeof(v));
	return v;
}

/* NULL: there is no such page. */
static const uint8_t *page_at(const struct look *l, uint64_t number)
{
	return number < l->end ? l->map + number * l->size : NULL;
}

static bool is_branch(const uint8_t *p)
{
	return u16(p + 10) & BRANCH;
}

static unsigned rows_of(const uint8_t *p)
{
	return (u16(p + 12) - HEAD) / 2u;
}

static struct node node_at(const uint8_t *p, unsigned i)
{
	const uint8_t *n = p + u16(p + HEAD + 2 * i);
	struct node out = { .key = n + NODE, .key_len = u16(n + 6), .flags = u16(n + 4) };
	uint64_t low = u16(n) | (uint64_t)u16(n + 2) << 16;
	out.page = low | (uint64_t)out.flags << 32;
	out.data = out.key + out.key_len;
	out.data_len = (size_t)low;
	return out;
}

/* The bytes that a row takes in its page. 0: it cannot be. */
static size_t row_size(const struct look *l, const uint8_t *p, size_t at)
{
	const uint8_t *n = p + at;
	size_t size = NODE + u16(n + 6);
	if (!is_branch(p)) {
		size_t len = u16(n) | (size_t)u16(n + 2) << 16;
		size += u16(n + 4) & BIGDATA ? 8 : len;
		if (u16(n + 4) & ~(BIGDATA | SUBDATA | DUPDATA))
			return 0;
	}
	size += size & 1;
	if (size > l->size - at)
		return 0;
	uint64_t page = u16(n) | (uint64_t)u16(n + 2) << 16 | (uint64_t)u16(n + 4) << 32;
	if (!is_branch(p) && (u16(n + 4) & BIGDATA))
		page = u64(n + NODE + u16(n + 6));
	else if (!is_branch(p))
		page = 2;
	return page < 2 || page >= l->end ? 0 : size;
}

/* Its rows lie side by side, in any order, from upper to the end. */
static bool rows_fill(const struct look *l, const uint8_t *p, unsigned upper)
{
	uint64_t taken[65536 / 2 / 64] = { 0 };
	size_t sum = 0;
	for (unsigned i = 0; i < rows_of(p); i++) {
		size_t at = u16(p + HEAD + 2 * i);
		if (at < upper || at > l->size - NODE || at & 1)
			return false;
		size_t size = row_size(l, p, at);
		if (!size)
			return false;
		for (size_t k = at / 2; k < (at + size) / 2; k++) {
			if (taken[k / 64] >> (k % 64) & 1)
				return false;
			taken[k / 64] |= UINT64_C(1) << (k % 64);
		}
		sum += size;
	}
	return sum == l->size - upper;
}

static bool page_is_right(const struct look *l, uint64_t number, unsigned kind)
{
	if (number < 2 || number >= l->end)
		return false;
	const uint8_t *p = page_at(l, number);
	unsigned lower = u16(p + 12), upper = u16(p + 14), flags = u16(p + 10);
	if (u64(p) != number || lower < HEAD || lower > upper || upper > l->size || lower & 1)
		return false;
	if (flags == (LEAF | LEAF2))
		return kind != BRANCH && u16(p + 8) >= 2 &&
		       l->size - upper == rows_of(p) * (size_t)(u16(p + 8) - 2);
	return (flags == BRANCH || flags == LEAF) && (kind == 0 || flags == kind) &&
	       !(flags == BRANCH && rows_of(p) == 0) && rows_fill(l, p, upper);
}

/* ---- the order of rows */

static MDB_val key_at(const uint8_t *p, unsigned i)
{
	size_t len = u16(p + 8); /* in a page of nothing but keys */
	struct node n;
	if (u16(p + 10) & LEAF2)
		return (MDB_val){ len, (void *)(uintptr_t)(p + HEAD + i * len) };
	n = node_at(p, i);
	return (MDB_val){ n.key_len, (void *)(uintptr_t)n.key };
}

/* Each row's key is above the one before. The first of a branch has none. */
static bool ascend(const struct look *l, uint64_t number, cs_db_order *cmp)
{
	const uint8_t *p = page_at(l, number);
	for (unsigned i = is_branch(p) ? 2 : 1; i < rows_of(p); i++) {
		MDB_val before = key_at(p, i - 1), k = key_at(p, i);
		if (cmp(&before, &k) >= 0)
			return false;
	}
	return true;
}

/* ---- on the way to a row */

/* The same, once in a transaction. */
static int check(const struct look *l, uint64_t number, cs_db_order *cmp)
{
	uint64_t *known = l->sound ? &l->sound[number % CS_SOUND] : NULL;
	if (known && *known == number)
		return 0;
	if (l->ask && number < l->end)
		cs_db_ask((struct cs_slice){ l->map + number * l->size, l->size });
	if (!page_is_right(l, number, 0) || !ascend(l, number, cmp))
		return MDB_CORRUPTED;
	if (known)
		*known = number;
	return 0;
}

/* How many rows from `from` on have a key that is not above. */
static unsigned rows_to(const uint8_t *p, unsigned from, cs_db_order *cmp, const MDB_val *key)
{
	unsigned lo = from, hi = rows_of(p);
	while (lo < hi) {
		unsigned mid = lo + (hi - lo) / 2;
		struct node n = node_at(p, mid);
		MDB_val k = { n.key_len, (void *)(uintptr_t)n.key };
		if (cmp(&k, key) <= 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return lo;
}

/* Check the pages from a root to the leaf of a key; beside: and those beside them. */
static int descend(const struct look *l, uint64_t root, cs_db_order *cmp, const MDB_val *key,
		   bool beside, const uint8_t **leaf)
{
	uint64_t number = root;
	for (int depth = 0; depth < DEPTH_MAX; depth++) {
		const uint8_t *p = page_at(l, number);
		int rc = check(l, number, cmp);
		if (rc)
			return rc;
		*leaf = p;
		if (!is_branch(p))
			return 0;
		unsigned i = rows_to(p, 1, cmp, key) - 1;
		if (beside && i > 0)
			rc = check(l, node_at(p, i - 1).page, cmp);
		if (beside && rc == 0 && i + 1 < rows_of(p))
			rc = check(l, node_at(p, i + 1).page, cmp);
		if (rc)
			return rc;
		number = node_at(p, i).page;
	}
	return MDB_CORRUPTED;
}

/* The row of a key in a leaf: 1. */
static int row_in(const uint8_t *leaf, cs_db_order *cmp, const MDB_val *key, struct node *out)
{
	if (u16(leaf + 10) & LEAF2)
		return 0;
	unsigned i = rows_to(leaf, 0, cmp, key);
	if (i == 0)
		return 0;
	*out = node_at(leaf, i - 1);
	MDB_val k = { out->key_len, (void *)(uintptr_t)out->key };
	return cmp(&k, key) == 0;
}

static bool begin(struct look *l, struct cs_txn *t)
{
	*l = (struct look){ .t = t, .map = t->db->map, .size = (size_t)sysconf(_SC_PAGESIZE),
			    .sound = t->write ? t->db->sound : NULL };
	if (!l->map || l->size > 65536)
		return false;
	l->end = t->end;
	return true;
}

int cs_db_check_way(struct cs_txn *t, enum cs_table table, const MDB_val *key, const MDB_val *value,
		    bool beside)
{
	struct look l;
	struct node n;
	const uint8_t *leaf;
	if (!begin(&l, t) || t->roots[table] == NO_ROOT)
		return 0;
	cs_db_order *by_key = cs_db_key_order(table);
	int rc = descend(&l, t->roots[table], by_key, key, beside, &leaf);
	if (rc || !value || row_in(leaf, by_key, key, &n) != 1)
		return rc;
	if ((n.flags & (SUBDATA | DUPDATA)) != (SUBDATA | DUPDATA))
		return 0;
	if (n.data_len != TREE_SIZE)
		return MDB_CORRUPTED;
	return descend(&l, u64(n.data + 40), cs_db_by_bytes, value, beside, &leaf);
}

/* ---- the list of free pages */

/* A value of it: how many, and the numbers, descending. */
static int check_list(const struct look *l, const struct node *n, uint64_t *left)
{
	const uint8_t *p = n->data;
	if (n->flags & BIGDATA) {
		uint64_t page = u64(n->data), pages = (n->data_len + HEAD + l->size - 1) / l->size;
		p = page_at(l, page);
		if (!p || pages > l->end - page || u64(p) != page || u16(p + 10) != OVERFLOW)
			return MDB_CORRUPTED;
		p += HEAD;
	}
	uint64_t count = n->data_len >= 8 ? u64(p) : 0, above = l->end;
	if (n->data_len < 8 || count > n->data_len / 8 - 1)
		return MDB_CORRUPTED;
	for (uint64_t i = 1; i <= count && *left; i++, --*left) {
		uint64_t number = u64(p + 8 * i);
		if (number < 2 || number >= above)
			return MDB_CORRUPTED;
		above = number;
	}
	return 0;
}

/* The oldest lists, from which LMDB takes pages; of the tree all that leads there. */
static int check_free(const struct look *l, uint64_t number, int depth, uint64_t *left)
{
	int rc = depth < DEPTH_MAX ? check(l, number, cs_db_by_number) : MDB_CORRUPTED;
	const uint8_t *p = page_at(l, number);
	if (rc == 0 && u16(p + 10) & LEAF2)
		rc = MDB_CORRUPTED;
	for (unsigned i = 0; rc == 0 && i < rows_of(p) && *left; i++) {
		struct node n = node_at(p, i);
		rc = is_branch(p) ? check_free(l, n.page, depth + 1, left) : check_list(l, &n, left);
	}
	return rc;
}

/* ---- all pages */

/* n pages from a number on are somebody's, and nobody else's. */
static bool take(struct look *l, uint64_t number, uint64_t n)
{
	if (number < 2 || number >= l->end || n > l->end - number)
		return false;
	for (uint64_t i = number; i < number + n; i++) {
		if (l->taken[i / 8] >> (i % 8) & 1)
			return false;
		l->taken[i / 8] |= (uint8_t)(1u << (i % 8));
	}
	return true;
}

enum tree { FREE_TREE, MAIN_TREE, TABLE, NUMBERED /* table */, VALUES };

static bool go_through(struct look *l, uint64_t root, enum tree tree, int depth);

/* What hangs on a row of a leaf. */
static bool row_leads_well(struct look *l, const struct node *n, enum tree tree)
{
	uint64_t left = UINT64_MAX;
	if (n->flags & BIGDATA) {
		uint64_t page = u64(n->data), pages = (n->data_len + HEAD + l->size - 1) / l->size;
		const uint8_t *p = page_at(l, page);
		uint32_t told;
		if (!take(l, page, pages))
			return false;
		memcpy(&told, p + 12, sizeof(told));
		if (u64(p) != page || u16(p + 10) != OVERFLOW || told != pages)
			return false;
		cs_db_resident_check(l->t->db); /* the kernel has mapped pages around it */
	}
	if (tree == FREE_TREE) {
		const uint8_t *list = n->flags & BIGDATA ? page_at(l, u64(n->data)) + HEAD :
							   n->data;
		if (check_list(l, n, &left) != 0)
			return false;
		for (uint64_t i = u64(list); i > 0; i--)
			if (!take(l, u64(list + 8 * i), 1))
				return false;
	}
	if (!(n->flags & SUBDATA))
		return true;
	if (n->data_len != TREE_SIZE || tree == FREE_TREE || tree == VALUES)
		return false;
	enum tree below = tree != MAIN_TREE ? VALUES :
			  u16(n->data + 4) & MDB_INTEGERKEY ? NUMBERED : TABLE;
	return go_through(l, u64(n->data + 40), below, 0);
}

static bool go_through(struct look *l, uint64_t root, enum tree tree, int depth)
{
	if (root == NO_ROOT && depth == 0)
		return true;
	cs_db_order *cmp = tree == FREE_TREE || tree == NUMBERED ? cs_db_by_number : cs_db_by_bytes;
	if (depth >= DEPTH_MAX || !take(l, root, 1) || !page_is_right(l, root, 0) ||
	    !ascend(l, root, cmp))
		return false;
	const uint8_t *p = page_at(l, root);
	bool good = true;
	for (unsigned i = 0; good && !(u16(p + 10) & LEAF2) && i < rows_of(p); i++) {
		struct node n = node_at(p, i);
		good = is_branch(p) ? go_through(l, n.page, tree, depth + 1) :
				      row_leads_well(l, &n, tree);
	}
	return good;
}

/* How many pages the snapshot has. EAGAIN: its meta page is gone. */
static int read_end(struct look *l, uint64_t id)
{
	const uint8_t *m = l->map + (id & 1) * l->size + META_AT;
	uint64_t last = u64(m + 120);
	if (u64(m + 128) != id)
		return EAGAIN;
	l->end = last < l->end ? last + 1 : 0;
	return 0;
}

static int check_all(struct look *l, uint64_t id, bool *good)
{
	uint8_t m[META_AT + 136];
	memcpy(m, l->map + (id & 1) * l->size, sizeof(m));
	const uint8_t *p = m + META_AT;
	if (u64(p + 128) != id)
		return EAGAIN;
	*good = go_through(l, u64(p + 24 + 40), FREE_TREE, 0) &&
		go_through(l, u64(p + 24 + TREE_SIZE + 40), MAIN_TREE, 0);
	return 0;
}

static int check_snapshot(struct cs_txn *t, bool *good)
{
	struct look l;
	int rc;
	*good = true;
	if (!begin(&l, t))
		return 0;
	*good = false;
	l.end = t->db->map_len / l.size; /* free pages may lie behind the end of the file */
	GUARDED(rc, read_end(&l, cs_txn_number(t)));
	if (rc != 0 || !l.end)
		return rc;
	l.taken = cs_zalloc((size_t)(l.end / 8 + 1));
	if (!l.taken)
		return ENOMEM;
	GUARDED(rc, check_all(&l, cs_txn_number(t), good));
	free(l.taken);
	return rc;
}

int cs_db_check_pages(struct cs_db *db, bool *good, struct cs_error *err)
{
	int rc = EAGAIN;
	for (int tries = 0; tries < 10 && rc == EAGAIN; tries++) {
		struct cs_txn *t;
		rc = cs_txn_read(db, &t, err);
		if (rc != CS_OK)
			return rc;
		rc = check_snapshot(t, good);
		cs_txn_end(t);
	}
	if (rc == EAGAIN) /* others have committed twice meanwhile, each time */
		*good = true;
	return rc == ENOMEM ? cs_fail(err, CS_E_NOMEM, "out of memory") : CS_OK;
}

/* ---- the beginning of a transaction */

static int root_of(const struct look *l, uint64_t root, enum cs_table table, uint64_t *out)
{
	const char *name = cs_db_table_name(table);
	MDB_val key = { strlen(name), (void *)(uintptr_t)name };
	const uint8_t *leaf;
	struct node n;
	*out = NO_ROOT;
	int rc = descend(l, root, cs_db_by_bytes, &key, false, &leaf);
	if (rc == 0 && row_in(leaf, cs_db_by_bytes, &key, &n) == 1) {
		if (n.data_len != TREE_SIZE || !(n.flags & SUBDATA))
			return MDB_CORRUPTED;
		*out = u64(n.data + 40);
	}
	return rc;
}

static int ask_way(struct look *l, uint64_t id, enum cs_table table, const MDB_val *key)
{
	uint64_t root;
	const uint8_t *leaf, *m = l->map + (id & 1) * l->size + META_AT;
	int rc = read_end(l, id);
	if (rc == 0 && l->end)
		rc = root_of(l, u64(m + 24 + TREE_SIZE + 40), table, &root);
	if (rc == 0 && l->end && root != NO_ROOT)
		rc = descend(l, root, cs_db_key_order(table), key, false, &leaf);
	return rc;
}

void cs_db_ask_way(struct cs_txn *t, enum cs_table table, const MDB_val *key)
{
	struct look l;
	int rc;
	if (!begin(&l, t))
		return;
	l.end = t->db->map_len / l.size;
	l.ask = true;
	GUARDED(rc, ask_way(&l, cs_txn_number(t), table, key));
	(void)rc; /* LMDB will tell */
}

int cs_db_check_begin(struct cs_txn *t)
{
	struct look l;
	uint64_t left = FREE_LOOKED_AT;
	if (!begin(&l, t))
		return 0;
	memset(t->db->sound, 0, sizeof(t->db->sound));
	for (int i = 0; i < CS_TABLES; i++)
		t->roots[i] = NO_ROOT;
	uint64_t before = mdb_txn_id(t->txn) - 1;
	const uint8_t *m = l.map + (before & 1) * l.size + META_AT;
	if (u64(m + 128) != before)
		return MDB_CORRUPTED;
	t->end = l.end = u64(m + 120) + 1;
	uint64_t free_root = u64(m + 24 + 40), root = u64(m + 24 + TREE_SIZE + 40);
	int rc = free_root == NO_ROOT ? 0 : check_free(&l, free_root, 0, &left);
	for (int i = 0; i < CS_TABLES && rc == 0 && root != NO_ROOT; i++)
		rc = root_of(&l, root, (enum cs_table)i, &t->roots[i]);
	return rc;
}
