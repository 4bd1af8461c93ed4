/* SPDX-License-Identifier: MIT */
/*
 * content_xattrs.c - the extended attributes of an entry, all at once or one by one.
 *
 * A file may have thousands, some of them long ones that are chunks of their
 * own. Who wants all of them gets one block of memory; who asks for one after
 * the other, as a mount is asked, keeps the list, and no value is read before
 * it is asked for.
 */
#include "alloc.h"
#include "browse.h"
#include "page.h"

#include <stdlib.h>
#include <string.h>

/* ---- the list */

static int unpack(struct cs_xattr_list *l, const uint8_t *data, size_t len, struct cs_error *err)
{
	const struct cs_entry *e = &l->node.entry;
	int rc = cs_xattr_unpack(data, len, &l->items, &l->count);
	if (rc == CS_E_NOMEM)
		return cs_fail(err, rc, "out of memory");
	if (rc != CS_OK)
		return cs_fail(err, rc, "%.*s: its extended attributes are damaged",
			       (int)e->name_len, e->name);
	return CS_OK;
}

int cs_xattr_list_init(struct cs_tree *t, const struct cs_node *n, struct cs_xattr_list *out,
		       struct cs_error *err)
{
	const uint8_t *data = n->entry.xattrs;
	size_t len = n->entry.xattrs_len;
	int rc = CS_OK;

	memset(out, 0, sizeof(*out));
	if (!cs_entry_has_xattrs(&n->entry))
		return CS_OK;
	out->tree = t;
	cs_node_copy(n, &out->node);
	if (n->entry.xattrs_chunk)
		rc = cs_reader_chunk(t->store, n->entry.xattrs_chunk, &out->chunk, &data, &len,
				     err);
	if (rc == CS_OK)
		rc = unpack(out, data, len, err);
	if (rc != CS_OK)
		cs_xattr_list_release(out);
	return rc;
}

void cs_xattr_list_release(struct cs_xattr_list *l)
{
	free(l->items);
	cs_cache_release(l->chunk);
	cs_node_release(&l->node);
	memset(l, 0, sizeof(*l));
}

int cs_xattr_list_open(struct cs_tree *t, const struct cs_node *n, struct cs_xattr_list **out,
		       struct cs_error *err)
{
	struct cs_xattr_list *l = cs_zalloc(sizeof(*l));
	if (!l)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	int rc = cs_xattr_list_init(t, n, l, err);
	if (rc == CS_OK)
		*out = l;
	else
		free(l);
	return rc;
}

void cs_xattr_list_close(struct cs_xattr_list *l)
{
	if (l) {
		cs_xattr_list_release(l);
		free(l);
	}
}

const char *cs_xattr_list_name(const struct cs_xattr_list *l, size_t i, size_t *out_len)
{
	if (i >= l->count)
		return NULL;
	*out_len = l->items[i].name_len;
	return l->items[i].name;
}

/* ---- values */

/* A value's bytes; *held, if any, is the caller's. */
static int value_of(const struct cs_xattr_list *l, const struct cs_xattr_item *x, void **held,
		    const uint8_t **data, struct cs_error *err)
{
	size_t len;

	*held = NULL;
	*data = x->value;
	if (!x->chunk)
		return CS_OK;
	int rc = cs_reader_chunk(l->tree->store, x->chunk, held, data, &len, err);
	if (rc == CS_OK && len != x->value_len) {
		cs_cache_release(*held);
		*held = NULL;
		rc = cs_fail(err, CS_E_CORRUPT, "an extended attribute has a wrong length");
	}
	return rc;
}

static const struct cs_xattr_item *find(const struct cs_xattr_list *l, const char *name)
{
	size_t len = strlen(name), lo = 0, hi = l->count;

	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const struct cs_xattr_item *x = &l->items[mid];
		int c = cs_key_compare(x->name, x->name_len, name, len);
		if (c == 0)
			return x;
		if (c < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	return NULL;
}

int cs_xattr_list_get(const struct cs_xattr_list *l, const char *name, void *buf, size_t cap,
		      size_t *out_len, struct cs_error *err)
{
	const struct cs_xattr_item *x = find(l, name);
	const uint8_t *data;
	void *held;

	if (!x)
		return cs_fail(err, CS_E_NOTFOUND, "no attribute named %s", name);
	if (x->value_len <= cap && x->value_len > 0) {
		int rc = value_of(l, x, &held, &data, err);
		if (rc != CS_OK)
			return rc;
		memcpy(buf, data, x->value_len);
		cs_cache_release(held);
	}
	*out_len = x->value_len;
	return CS_OK;
}

/* ---- all at once */

/* Append one attribute to the block: name, NUL, value. */
static int copy_item(const struct cs_xattr_list *l, const struct cs_xattr_item *x,
		     struct cs_buf *block, struct cs_error *err)
{
	const uint8_t *data;
	void *held;

	if (block->len > CS_XATTR_TOTAL_MAX + CS_XATTR_VALUE_MAX)
		return cs_fail(err, CS_E_CORRUPT, "there are too many extended attributes");
	int rc = value_of(l, x, &held, &data, err);
	if (rc != CS_OK)
		return rc;
	cs_buf_add(block, x->name, x->name_len);
	cs_buf_u8(block, 0);
	cs_buf_add(block, data, x->value_len);
	cs_cache_release(held);
	return CS_OK;
}

int cs_xattrs_load(struct cs_tree *t, const struct cs_node *n, struct cs_xattrs *out,
		   struct cs_error *err)
{
	struct cs_xattr_list l;
	struct cs_buf block = { 0 };
	struct cs_xattr *list = NULL;

	memset(out, 0, sizeof(*out));
	int rc = cs_xattr_list_init(t, n, &l, err);
	if (rc != CS_OK || l.count == 0)
		return rc;
	for (size_t i = 0; i < l.count && rc == CS_OK; i++)
		rc = copy_item(&l, &l.items[i], &block, err);
	if (rc == CS_OK && (block.failed || !(list = cs_alloc(l.count * sizeof(*list)))))
		rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	if (rc == CS_OK) {
		const uint8_t *p = block.data;
		for (size_t i = 0; i < l.count; i++) {
			list[i] = (struct cs_xattr){ (const char *)p, p + l.items[i].name_len + 1,
						     l.items[i].value_len };
			p = list[i].value + list[i].value_len;
		}
		*out = (struct cs_xattrs){ list, l.count, block.data };
	} else {
		cs_buf_release(&block);
	}
	cs_xattr_list_release(&l);
	return rc;
}

void cs_xattrs_release(struct cs_xattrs *x)
{
	free(x->list);
	free(x->priv);
	memset(x, 0, sizeof(*x));
}
