/* SPDX-License-Identifier: MIT */
#include "checked.h"

#include <string.h>

int cs_checked_get(struct cs_txn *t, uint64_t key, struct cs_checked_row *out,
		   struct cs_error *err)
{
	struct cs_slice v;
	int rc = cs_db_get(t, CS_T_CHECKED, cs_u64_key(&key), &v, err);
	if (rc < 0)
		return rc;
	if (rc == 0 || cs_checked_row_unpack(v.data, v.len, key, out) != CS_OK)
		memset(out, 0, sizeof(*out));
	return CS_OK;
}

int cs_checked_put(struct cs_txn *t, uint64_t key, const struct cs_checked_row *row,
		   struct cs_error *err)
{
	uint8_t packed[CS_CHECKED_ROW_SIZE];
	cs_checked_row_pack(row, key, packed);
	return cs_db_put(t, CS_T_CHECKED, cs_u64_key(&key),
			 (struct cs_slice){ packed, sizeof(packed) }, err);
}

int cs_checked_del(struct cs_txn *t, uint64_t key, struct cs_error *err)
{
	return cs_db_del(t, CS_T_CHECKED, cs_u64_key(&key), NULL, err);
}
