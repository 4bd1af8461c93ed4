/* SPDX-License-Identifier: MIT */
/* f_page.c - pages of every kind, and lists of attributes: told apart by their first byte. */
#include "fuzz.h"

#include "store/extent.h"
#include "store/text.h"
#include "store/tree.h"
#include "store/xattr.h"

#include <string.h>

static void extents(const uint8_t *data, size_t len)
{
	struct cs_extent *x;
	size_t n;
	uint64_t end = 0;

	if (cs_extents_unpack(data, len, &x, &n) != CS_OK)
		return;
	for (size_t i = 0; i < n; i++) {
		MUST(x[i].off == end && x[i].len > 0);
		MUST(cs_extents_find(x, n, x[i].off) == i);
		end += x[i].len;
		MUST(cs_extents_find(x, n, end - 1) == i);
	}
	MUST(end <= INT64_MAX && cs_extents_find(x, n, end) == n);
	free(x);
}

static void xattrs(const uint8_t *data, size_t len)
{
	struct cs_xattr_item *x, *again;
	struct cs_buf b = { 0 };
	size_t n, m, sum = 0;

	if (cs_xattr_unpack(data, len, &x, &n) != CS_OK)
		return;
	for (size_t i = 0; i < n; i++) {
		MUST(x[i].name_len > 0 && x[i].name_len <= CS_NAME_MAX);
		MUST(!memchr(x[i].name, 0, x[i].name_len));
		MUST(x[i].value_len <= CS_XATTR_VALUE_MAX);
		for (size_t k = 0; !x[i].chunk && k < x[i].value_len; k++)
			sum += x[i].value[k];
	}
	cs_xattr_pack(&b, x, n);
	MUST(cs_xattr_unpack(b.data, b.len, &again, &m) == CS_OK && m == n);
	free(again);
	free(x);
	cs_buf_release(&b);
	(void)sum;
}

static void is_sound(const struct cs_entry *e, bool root)
{
	MUST(root ? e->name_len == 0 : cs_name_valid(e->name, e->name_len));
	MUST(cs_mode_valid(e->mode));
	MUST(e->mtime.nsec < 1000000000 && e->ctime.nsec < 1000000000);
	MUST(e->size <= INT64_MAX && e->data_bytes <= e->size);
	MUST(e->children.level < CS_LEVELS_MAX && e->extents.level < CS_LEVELS_MAX);
	if (S_ISLNK(e->mode))
		MUST(e->bytes_len > 0 && e->bytes_len <= CS_SYMLINK_MAX);
	if (S_ISREG(e->mode) && e->content == CS_CONTENT_EXTENTS)
		extents(e->bytes, e->bytes_len);
	if (e->xattrs_len)
		xattrs(e->xattrs, e->xattrs_len);
}

static void dir(const uint8_t *data, size_t len, bool root)
{
	struct cs_tree_page p;
	size_t at;

	if (cs_tree_page_parse(data, len, root, &p) != CS_OK)
		return;
	for (size_t i = 0; i < p.count; i++) {
		struct cs_entry e;
		cs_tree_page_entry(&p, i, &e);
		is_sound(&e, root);
		MUST(cs_tree_page_find(&p, e.name, e.name_len, &at) && at == i);
		MUST(p.before[i + 1] - p.before[i] == (S_ISDIR(e.mode) ? e.below.entries : 0));
	}
	MUST(!cs_tree_page_find(&p, "no such name", 12, &at) || at < p.count);
	cs_tree_page_release(&p);
}

static void rows(const uint8_t *data, size_t len)
{
	struct cs_index_row *r;
	size_t n;

	if (cs_index_rows_unpack(data, len, &r, &n) != CS_OK)
		return;
	for (size_t i = 1; i < n; i++) {
		MUST(r[i].before == r[i - 1].before + r[i - 1].below && r[i].below > 0);
		MUST(r[i].weight_before == r[i - 1].weight_before + r[i - 1].weight);
	}
	free(r);
}

static void links(const uint8_t *data, size_t len)
{
	struct cs_link *l;
	size_t n;

	if (cs_links_unpack(data, len, &l, &n) != CS_OK)
		return;
	for (size_t i = 0; i < n; i++) {
		uint8_t key[CS_LINK_KEY_SIZE];
		cs_link_key(&l[i], key);
		struct cs_link back = cs_link_from_key(key);
		MUST(cs_link_compare(&back, &l[i]) == 0);
		MUST(cs_links_find(l, n, &l[i]) == &l[i]);
	}
	free(l);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	dir(data, size, false);
	dir(data, size, true);
	rows(data, size);
	extents(data, size);
	links(data, size);
	xattrs(data, size);
	return 0;
}
