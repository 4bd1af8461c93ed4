/* SPDX-License-Identifier: MIT */
#include "index.h"

#include "hash.h"

int cs_index_add(struct cs_txn *t, const struct cs_hash *hash, cs_chunk chunk, struct cs_error *err)
{
	uint64_t key = cs_hash_key(hash);
	return cs_db_put(t, CS_T_INDEX, cs_u64_key(&key), cs_u64_key(&chunk), err);
}

int cs_index_del(struct cs_txn *t, const struct cs_hash *hash, cs_chunk chunk, struct cs_error *err)
{
	uint64_t key = cs_hash_key(hash);
	struct cs_slice v = cs_u64_key(&chunk);
	return cs_db_del(t, CS_T_INDEX, cs_u64_key(&key), &v, err);
}

static int damaged(struct cs_error *err)
{
	return cs_fail(err, CS_E_CORRUPT, "the dedup index is damaged");
}

/* Step through the values of one key to the first past `after`: rare, two chunks share a hash. */
static int next_dup(struct cs_txn *t, uint64_t key, cs_chunk after, cs_chunk *out,
		    struct cs_error *err)
{
	struct cs_cursor *c;
	struct cs_slice k = cs_u64_key(&key), v;
	int rc = cs_cursor_open(t, CS_T_INDEX, &c, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_cursor_move(c, CS_SEEK_EXACT, &k, &v, err);
	while (rc == 1) {
		if (cs_u64_value(v, out) != CS_OK)
			rc = damaged(err);
		else if (*out > after)
			break;
		else
			rc = cs_cursor_move(c, CS_SEEK_NEXT_DUP, &k, &v, err);
	}
	cs_cursor_close(c);
	return rc;
}

int cs_index_next(struct cs_txn *t, const struct cs_hash *hash, cs_chunk after, cs_chunk *out,
		  struct cs_error *err)
{
	uint64_t key = cs_hash_key(hash);
	struct cs_slice v;
	if (after)
		return next_dup(t, key, after, out, err);
	int rc = cs_db_get(t, CS_T_INDEX, cs_u64_key(&key), &v, err);
	if (rc == 1 && cs_u64_value(v, out) != CS_OK)
		rc = damaged(err);
	return rc;
}
