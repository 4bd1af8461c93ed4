/* SPDX-License-Identifier: MIT */
#include "xattr.h"

#include "alloc.h"
#include "page.h"

#include <stdlib.h>
#include <string.h>

void cs_xattr_pack(struct cs_buf *b, const struct cs_xattr_item *items, size_t n)
{
	cs_buf_u8(b, CS_XATTR_LIST);
	cs_buf_var(b, n);
	for (size_t i = 0; i < n; i++) {
		const struct cs_xattr_item *x = &items[i];
		cs_buf_str(b, x->name, x->name_len);
		cs_buf_var(b, (uint64_t)x->value_len << 1 | (x->chunk != 0));
		if (x->chunk) {
			cs_buf_var(b, x->chunk);
			cs_buf_add(b, x->hash.b, CS_HASH_SIZE);
		} else {
			cs_buf_add(b, x->value, x->value_len);
		}
	}
}

static void unpack_item(struct cs_cur *c, struct cs_xattr_item *x)
{
	memset(x, 0, sizeof(*x));
	x->name = (const char *)cs_cur_str(c, CS_NAME_MAX, &x->name_len);
	uint64_t v = cs_cur_max(c, (uint64_t)CS_XATTR_VALUE_MAX << 1 | 1);
	x->value_len = (size_t)(v >> 1);
	if (v & 1) {
		x->chunk = cs_cur_var(c);
		const uint8_t *h = cs_cur_bytes(c, CS_HASH_SIZE);
		if (h)
			memcpy(x->hash.b, h, CS_HASH_SIZE);
		c->bad |= x->chunk >> CS_SLOT_BITS == 0 ||
			  x->chunk >> CS_SLOT_BITS > CS_BUNDLE_NUMBER_MAX;
	} else {
		x->value = cs_cur_bytes(c, x->value_len);
	}
	if (!x->name || x->name_len == 0 || memchr(x->name, 0, x->name_len))
		c->bad = true;
}

int cs_xattr_unpack(const void *data, size_t len, struct cs_xattr_item **out, size_t *n)
{
	struct cs_cur c = cs_cur(data, len);
	uint8_t kind = cs_cur_u8(&c);
	uint64_t count = cs_cur_max(&c, CS_XATTR_NAMES_MAX / 2);
	size_t names = 0;
	if (c.bad || kind != CS_XATTR_LIST || count == 0 || count > cs_cur_left(&c) / 3)
		return CS_E_CORRUPT;
	struct cs_xattr_item *items = cs_alloc(count * sizeof(*items));
	if (!items)
		return CS_E_NOMEM;
	for (size_t i = 0; i < count && !c.bad; i++) {
		unpack_item(&c, &items[i]);
		names += items[i].name_len + 1;
		c.bad |= names > CS_XATTR_NAMES_MAX;
		if (!c.bad && i &&
		    cs_key_compare(items[i - 1].name, items[i - 1].name_len, items[i].name,
				   items[i].name_len) >= 0)
			c.bad = true;
	}
	if (!cs_cur_done(&c)) {
		free(items);
		return CS_E_CORRUPT;
	}
	*out = items;
	*n = count;
	return CS_OK;
}
