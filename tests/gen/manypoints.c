/* SPDX-License-Identifier: MIT */
/*
 * manypoints - fill a catalog: manypoints STORE SERIES COUNT NSERIES
 *
 * Enters COUNT more points with the tree and the tags of the newest point of
 * SERIES: into SERIES itself and NSERIES - 1 others, SERIES-1 and so on, in turn.
 * Each also has a tag of its own hundred. Begun a minute apart, the newest now.
 */
#include "store/points.h"
#include "store/store.h"

#include <err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int enter(struct cs_txn *t, struct cs_point_record *r, const char *series, long count,
		 long nseries, struct cs_error *e)
{
	struct cs_time newest = r->started;
	uint32_t ntags = r->ntags;
	int rc = CS_OK;

	for (long i = 0; i < count && rc == CS_OK; i++) {
		char name[CS_SERIES_MAX + 1];
		uint64_t mixed = (uint64_t)(i + 1) * UINT64_C(0x9e3779b97f4a7c15);

		snprintf(name, sizeof(name), i % nseries ? "%.100s-%ld" : "%.100s", series,
			 i % nseries);
		r->started.sec = newest.sec - (count - i) * 60;
		r->parent = 0;
		memcpy(r->id, &mixed, sizeof(mixed));
		snprintf(r->tags[ntags], sizeof(r->tags[0]), "hundred-%ld", i / 100);
		r->ntags = ntags + 1;
		rc = cs_points_add(t, name, r, e);
	}
	return rc;
}

int main(int argc, char **argv)
{
	const struct cs_open_opts opts = { .flags = CS_OPEN_WRITE };
	struct cs_error e = { .code = CS_OK };
	struct cs_point p;
	struct cs_point_record r;
	struct cs_store *s;
	struct cs_txn *t;

	if (argc != 5)
		errx(2, "usage: manypoints STORE SERIES COUNT NSERIES");
	if (cs_store_open(argv[1], &opts, &s, &e) != CS_OK ||
	    cs_point_by_name(s, argv[2], "latest", &p, &e) != CS_OK ||
	    cs_txn_write(s->db, &t, &e) != CS_OK || cs_points_get(t, p.seq, &r, &e) != CS_OK)
		errx(1, "%s", e.text);
	if (enter(t, &r, argv[2], atol(argv[3]), atol(argv[4]), &e) != CS_OK ||
	    cs_txn_commit(t, &e) != CS_OK)
		errx(1, "%s", e.text);
	cs_point_record_release(&r);
	cs_store_close(s);
	return 0;
}
