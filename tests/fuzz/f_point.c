/* SPDX-License-Identifier: MIT */
/* f_point.c - a point's record: the bytes behind a right checksum, and as they are. */
#include "fuzz.h"

#include "store/hash.h"
#include "store/record.h"
#include "store/tree.h"

#include <string.h>

static void is_sound(const struct cs_point_record *p)
{
	struct cs_tree_page root;

	MUST(cs_point_name_valid(p->name, strlen(p->name)) && cs_text_is_escaped(p->source));
	MUST(strlen(p->host) <= CS_HOST_MAX && strlen(p->source) < sizeof(p->source));
	MUST(p->ntags <= CS_TAGS_MAX && p->nvolumes <= CS_VOLUMES_MAX);
	for (uint32_t i = 0; i < p->ntags; i++)
		MUST(strlen(p->tags[i]) <= CS_TAG_MAX);
	MUST(p->root_len > 0 && p->root_len <= CS_PAGE_RAW_MAX);
	MUST(p->links.level < CS_LEVELS_MAX);
	if (cs_tree_page_parse(p->root, p->root_len, true, &root) == CS_OK)
		cs_tree_page_release(&root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cs_point_record p, again;
	struct cs_buf sealed = { 0 }, b = { 0 }, b2 = { 0 };

	if (cs_point_record_unpack(data, size, &p) == CS_OK)
		cs_point_record_release(&p);
	cs_buf_add(&sealed, data, size);
	cs_buf_u64(&sealed, cs_checksum(data, size));
	if (cs_point_record_unpack(sealed.data, sealed.len, &p) == CS_OK) {
		is_sound(&p);
		cs_point_record_pack(&p, &b);
		MUST(cs_point_record_unpack(b.data, b.len, &again) == CS_OK);
		cs_point_record_pack(&again, &b2);
		MUST(b.len == b2.len && memcmp(b.data, b2.data, b.len) == 0);
		cs_point_record_release(&again);
		cs_point_record_release(&p);
	}
	cs_buf_release(&sealed);
	cs_buf_release(&b);
	cs_buf_release(&b2);
	return 0;
}
