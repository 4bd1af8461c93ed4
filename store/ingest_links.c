/* SPDX-License-Identifier: MIT */
/*
 * ingest_links.c - which entries of a backup are links of one file.
 *
 * Every entry with several links leaves a record: what tells its file apart,
 * its position, and how often a directory had been begun anew by then. All
 * records are sorted when the walk is over (on disk, if there are many), so
 * that a group's members are neighbours and its first position is the first.
 *
 * A directory is begun anew when the parent point turns out to be damaged
 * there. Records cannot be taken back out of a sorter: those of positions that
 * were given a second time are passed over at the end.
 */
#include "ingest.h"

#include "alloc.h"

#include <string.h>

#define RECORD_SIZE (CS_LINK_KEY_SIZE + 8 + 4)
#define TICK 4096 /* records between two looks at what the caller wants */

/* Big-endian, so that bytewise order is numeric order. */
static void put_number(uint8_t *out, uint64_t v, int bytes)
{
	for (int i = bytes - 1; i >= 0; i--, v >>= 8)
		out[i] = (uint8_t)v;
}

static uint64_t get_number(const uint8_t *p, int bytes)
{
	uint64_t v = 0;
	for (int i = 0; i < bytes; i++)
		v = v << 8 | p[i];
	return v;
}

int cs_ingest_link(struct cs_ingest *in, const struct cs_entry *e, uint64_t pos,
		   struct cs_error *err)
{
	uint8_t rec[RECORD_SIZE];
	if (e->nlink < 2 || S_ISDIR(e->mode))
		return CS_OK;
	struct cs_link l = cs_link_of(e);
	cs_link_key(&l, rec);
	put_number(rec + CS_LINK_KEY_SIZE, pos, 8);
	put_number(rec + CS_LINK_KEY_SIZE + 8, in->nanew, 4);
	return cs_sorter_add(&in->links, rec, sizeof(rec), err);
}

int cs_ingest_links_anew(struct cs_ingest *in, uint64_t pos, struct cs_error *err)
{
	if (cs_grow(&in->anew, &in->anew_cap, in->nanew + 1, sizeof(*in->anew)) != CS_OK)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	in->anew[in->nanew++] = pos;
	return CS_OK;
}

/* Was the position given again after the record was made? anew[i]: the least from i on. */
static bool given_again(const struct cs_ingest *in, uint64_t pos, uint64_t made)
{
	return made < in->nanew && pos >= in->anew[made];
}

static int store_groups(struct cs_ingest *in, struct cs_pages_writer *w, struct cs_error *err)
{
	struct cs_link first = { 0 };
	uint8_t group[CS_LINK_KEY_SIZE];
	uint64_t members = 0;
	const void *data;
	size_t len, n = 0;
	int rc;
	while ((rc = cs_sorter_next(&in->links, &data, &len, err)) == 1) {
		const uint8_t *rec = data;
		if (++n % TICK == 0 && (rc = cs_ingest_tick(in, err)) != CS_OK)
			return rc;
		uint64_t pos = get_number(rec + CS_LINK_KEY_SIZE, 8);
		if (given_again(in, pos, get_number(rec + CS_LINK_KEY_SIZE + 8, 4)))
			continue;
		if (members && memcmp(group, rec, sizeof(group)) == 0) {
			if (members++ == 1 && (rc = cs_link_add(w, &first, err)) != CS_OK)
				return rc;
			continue;
		}
		memcpy(group, rec, sizeof(group));
		first = cs_link_from_key(rec);
		first.first = pos;
		members = 1;
	}
	return rc;
}

static int put_page(void *arg, const void *page, size_t len, cs_chunk *out, struct cs_error *err)
{
	return cs_pipeline_chunk(arg, CS_BUNDLE_META, page, len, 0, out, NULL, err);
}

int cs_ingest_links_store(struct cs_ingest *in, struct cs_pages *out, struct cs_error *err)
{
	struct cs_pages_writer w;
	for (size_t i = in->nanew; i-- > 1;)
		if (in->anew[i - 1] > in->anew[i])
			in->anew[i - 1] = in->anew[i];
	int rc = cs_sorter_sort(&in->links, err);
	if (rc != CS_OK)
		return rc;
	cs_pages_writer_init(&w, CS_PAGE_LINK, put_page, in->pipeline);
	rc = store_groups(in, &w, err);
	if (rc == CS_OK)
		rc = cs_pages_finish(&w, out, err);
	cs_pages_writer_release(&w);
	return rc;
}
