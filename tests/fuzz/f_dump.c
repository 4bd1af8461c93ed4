/* SPDX-License-Identifier: MIT */
/*
 * f_dump.c - text: a page's entries as lines of a dump, which can be taken apart
 * again whatever their names are, and the escapes of any bytes and back.
 */
#include "fuzz.h"

#include "store/dump.h"
#include "store/text.h"
#include "store/tree.h"

#include <string.h>

#define FIELDS 19

static void is_plain(const char *text, size_t len)
{
	for (size_t i = 0; i < len; i++)
		MUST((unsigned char)text[i] >= 0x20 && text[i] != 0x7f);
}

static void text(const char *bytes, size_t len)
{
	size_t n, cap = 4 * len + 1;
	char *there = malloc(cap), *back = malloc(cap), *raw = malloc(len + 1);

	MUST(there && back && raw);
	for (int spaces = 0; spaces < 2; spaces++) {
		size_t want = cs_text_escape(bytes, len, spaces, there, cap);
		MUST(want < cap && strlen(there) == want);
		is_plain(there, want);
		MUST(!spaces || !strchr(there, ' '));
		MUST(cs_text_unescape(there, want, back, &n) && n == len);
		MUST(memcmp(back, bytes, len) == 0);
		for (size_t small = 0; small < 9; small++)
			MUST(cs_text_escape(bytes, len, spaces, back, small) == want);
	}
	if (cs_text_unescape(bytes, len, raw, &n)) /* what somebody else wrote */
		MUST(n <= len);
	free(there);
	free(back);
	free(raw);
}

static void line(const struct cs_entry *e)
{
	struct cs_buf b = { 0 };
	struct cs_hash none = { { 0 } };
	struct cs_xattr_item *x = NULL;
	size_t n = 0, fields = 1;

	if (e->xattrs_len && cs_xattr_unpack(e->xattrs, e->xattrs_len, &x, &n) != CS_OK)
		x = NULL, n = 0;
	cs_dump_line(&b, e, &none, x, n, e->name, e->name_len);
	MUST(!b.failed);
	is_plain((const char *)b.data, b.len);
	for (size_t i = 0; i < b.len; i++)
		fields += b.data[i] == ' ';
	MUST(fields == FIELDS);
	free(x);
	cs_buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cs_tree_page p;

	text((const char *)data, size);
	for (int root = 0; root < 2; root++) {
		if (cs_tree_page_parse(data, size, root, &p) != CS_OK)
			continue;
		for (size_t i = 0; i < p.count; i++) {
			struct cs_entry e;
			cs_tree_page_entry(&p, i, &e);
			line(&e);
		}
		cs_tree_page_release(&p);
	}
	return 0;
}
