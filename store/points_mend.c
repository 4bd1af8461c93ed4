/* SPDX-License-Identifier: MIT */
/*
 * points_mend.c - rows about a point that follow from its record, made anew.
 *
 * A record has the point's series, name and id, and the root's entry, from which its
 * totals follow. So of all other rows that lead to a point or count it none is
 * the only one that knows.
 */
#include "points.h"

#include "points_impl.h"
#include "tree.h"

#include <string.h>

static int mend_totals(struct cs_txn *t, struct cs_point_record *r, bool *changed,
		       struct cs_error *err)
{
	struct cs_tree_page page;
	struct cs_entry root;
	int rc = cs_tree_page_parse(r->root, r->root_len, true, &page);
	if (rc != CS_OK)
		return rc == CS_E_CORRUPT ? CS_OK : cs_fail(err, rc, "out of memory");
	cs_tree_page_entry(&page, 0, &root);
	struct cs_totals now = root.below;
	now.entries++;
	now.xattrs += cs_entry_has_xattrs(&root);
	cs_tree_page_release(&page);
	if (!S_ISDIR(root.mode) || (now.entries == r->totals.entries && now.bytes == r->totals.bytes &&
				    now.links == r->totals.links && now.xattrs == r->totals.xattrs))
		return CS_OK;
	r->totals = now;
	*changed = true;
	return cs_point_record_put(t, r, err);
}

/* A point that neither list has is listed again, if its name is free. */
static int mend_name(struct cs_txn *t, const struct cs_point_record *r, bool *changed,
		     struct cs_error *err)
{
	uint8_t key[CS_CATALOG_KEY_MAX];
	struct cs_trash_row row;
	uint64_t other;
	if (cs_catalog_get(t, r->series_id, r->name, &other, NULL) != 0 ||
	    cs_trash_get(t, r->series_id, r->name, &row, NULL) != 0)
		return CS_OK;
	*changed = true;
	return cs_db_put(t, CS_T_CATALOG, cs_catalog_key(r->series_id, r->name, key),
			 cs_u64_key(&r->seq), err);
}

int cs_points_mend(struct cs_txn *t, uint64_t seq, bool *changed, struct cs_error *err)
{
	struct cs_point_record r;
	struct cs_slice v;
	*changed = false;
	int rc = cs_points_get(t, seq, &r, err);
	if (rc != CS_OK)
		return rc == CS_E_NOTFOUND || rc == CS_E_CORRUPT ? CS_OK : rc;
	rc = mend_totals(t, &r, changed, err);
	if (rc == CS_OK)
		rc = mend_name(t, &r, changed, err);
	if (rc == CS_OK) {
		rc = cs_db_get(t, CS_T_IDS, (struct cs_slice){ r.id, 16 }, &v, err);
		if (rc == 0) {
			*changed = true;
			rc = cs_db_put(t, CS_T_IDS, (struct cs_slice){ r.id, 16 },
				       cs_u64_key(&seq), err);
		}
		rc = rc > 0 ? CS_OK : rc;
	}
	cs_point_record_release(&r);
	return rc;
}

int cs_series_mend(struct cs_txn *t, const char *series, struct cs_time now, bool *changed,
		   struct cs_error *err)
{
	char after[CS_POINT_NAME_MAX + 1] = "", name[CS_POINT_NAME_MAX + 1];
	struct cs_series_record s;
	uint64_t seq, points = 0, latest = 0;
	*changed = false;
	int rc = cs_series_find(t, series, &s, err);
	if (rc != 1)
		return rc;
	while ((rc = cs_catalog_next(t, s.id, after, name, &seq, err)) == 1) {
		memcpy(after, name, sizeof(after));
		points++;
		latest = seq > latest ? seq : latest;
	}
	if (rc != 0 || (s.points == points && s.latest == latest))
		return rc;
	s.points = points;
	s.latest = latest;
	*changed = true;
	return cs_series_changed(t, series, &s, now, err);
}
