/* SPDX-License-Identifier: MIT */
/*
 * compare.c - entries of one store compared.
 *
 * Equal chunk numbers mean equal bytes. Different numbers with equal hashes do
 * not prove it, so those files are read and compared: the hash is trusted for
 * speed, never for identity. Unknown attributes differ from nothing.
 */
#include "compare.h"

#include <string.h>

#define SLICE (1u << 20)

const char *cs_compare_name(unsigned bit)
{
	static const char *const names[] = {
#define X(name, text) text,
		CS_DIFFERS_TABLE(X)
#undef X
	};

	return names[bit];
}

static bool same_pages(struct cs_pages a, struct cs_pages b)
{
	return a.root == b.root && a.level == b.level;
}

static bool same_bytes(const uint8_t *a, uint32_t a_len, const uint8_t *b, uint32_t b_len)
{
	return a_len == b_len && (a_len == 0 || memcmp(a, b, a_len) == 0);
}

bool cs_compare_same_below(const struct cs_entry *a, const struct cs_entry *b)
{
	return same_pages(a->children, b->children) ||
	       (memcmp(&a->hash, &b->hash, sizeof(a->hash)) == 0 &&
		a->below.entries == b->below.entries && a->below.bytes == b->below.bytes);
}

/* --- content */

/* Do both refer to the very same stored bytes? */
static bool same_references(const struct cs_entry *a, const struct cs_entry *b)
{
	if (a->content != b->content)
		return false;
	switch (a->content) {
	case CS_CONTENT_NONE:
		return true;
	case CS_CONTENT_CHUNK:
		return a->chunk == b->chunk;
	case CS_CONTENT_INLINE:
	case CS_CONTENT_EXTENTS:
		return same_bytes(a->bytes, a->bytes_len, b->bytes, b->bytes_len);
	case CS_CONTENT_PAGES:
		return same_pages(a->extents, b->extents);
	}
	return false;
}

/* The next piece of a read; pieces are used up byte by byte. */
struct piece {
	const struct cs_read *read;
	size_t i, used;
};

static size_t piece_left(const struct piece *p, const uint8_t **at)
{
	*at = (const uint8_t *)p->read->iov[p->i].iov_base + p->used;
	return p->read->iov[p->i].iov_len - p->used;
}

static void piece_take(struct piece *p, size_t n)
{
	p->used += n;
	if (p->used == p->read->iov[p->i].iov_len) {
		p->i++;
		p->used = 0;
	}
}

static bool same_reads(const struct cs_read *a, const struct cs_read *b)
{
	struct piece pa = { .read = a }, pb = { .read = b };

	if (a->len != b->len)
		return false;
	while (pa.i < a->niov && pb.i < b->niov) {
		const uint8_t *x, *y;
		size_t nx = piece_left(&pa, &x), ny = piece_left(&pb, &y);
		size_t n = nx < ny ? nx : ny;

		if (memcmp(x, y, n) != 0)
			return false;
		piece_take(&pa, n);
		piece_take(&pb, n);
	}
	return true;
}

static int read_both(struct cs_tree *ta, const struct cs_node *a, struct cs_tree *tb,
		     const struct cs_node *b, bool *same, struct cs_error *err)
{
	struct cs_read ra = { 0 }, rb = { 0 };
	int rc = 0;

	*same = true;
	for (uint64_t off = 0; *same && off < a->entry.size; off += SLICE) {
		rc = cs_file_read(ta, a, off, SLICE, &ra, err);
		if (rc == 0)
			rc = cs_file_read(tb, b, off, SLICE, &rb, err);
		if (rc != 0)
			break;
		*same = same_reads(&ra, &rb);
	}
	cs_read_release(&ra);
	cs_read_release(&rb);
	return rc;
}

static int same_content(struct cs_tree *ta, const struct cs_node *a, struct cs_tree *tb,
			const struct cs_node *b, bool *same, struct cs_error *err)
{
	struct cs_hash ha, hb;
	int rc;

	*same = a->entry.size == b->entry.size;
	if (!*same || same_references(&a->entry, &b->entry))
		return 0;
	rc = cs_file_hash(ta, a, &ha, err);
	if (rc == 0)
		rc = cs_file_hash(tb, b, &hb, err);
	if (rc != 0)
		return rc;
	*same = memcmp(&ha, &hb, sizeof(ha)) == 0;
	return *same ? read_both(ta, a, tb, b, same, err) : 0;
}

/* --- extended attributes */

static bool same_lists(const struct cs_xattrs *a, const struct cs_xattrs *b)
{
	if (a->count != b->count)
		return false;
	for (size_t i = 0; i < a->count; i++) {
		const struct cs_xattr *x = &a->list[i], *y = &b->list[i];

		if (strcmp(x->name, y->name) != 0 || x->value_len != y->value_len ||
		    (x->value_len > 0 && memcmp(x->value, y->value, x->value_len) != 0))
			return false;
	}
	return true;
}

static int same_xattrs(struct cs_tree *ta, const struct cs_node *a, struct cs_tree *tb,
		       const struct cs_node *b, bool *same, struct cs_error *err)
{
	struct cs_xattrs xa = { 0 }, xb = { 0 };
	int rc;

	*same = a->entry.xattrs_chunk == b->entry.xattrs_chunk &&
		same_bytes(a->entry.xattrs, a->entry.xattrs_len, b->entry.xattrs,
			   b->entry.xattrs_len);
	if (*same || !(a->entry.have & b->entry.have & CS_HAVE_XATTRS)) {
		*same = true;
		return 0;
	}
	rc = cs_xattrs_load(ta, a, &xa, err);
	if (rc == 0)
		rc = cs_xattrs_load(tb, b, &xb, err);
	if (rc == 0)
		*same = same_lists(&xa, &xb);
	cs_xattrs_release(&xa);
	cs_xattrs_release(&xb);
	return rc;
}

/* --- everything */

static unsigned differing_numbers(const struct cs_entry *a, const struct cs_entry *b)
{
	unsigned have = a->have & b->have, what = 0;

	if ((a->mode & 07777) != (b->mode & 07777))
		what |= 1u << CS_DIFFERS_MODE;
	if (a->uid != b->uid || a->gid != b->gid)
		what |= 1u << CS_DIFFERS_OWNER;
	if (a->mtime.sec != b->mtime.sec || a->mtime.nsec != b->mtime.nsec)
		what |= 1u << CS_DIFFERS_MTIME;
	if (have & CS_HAVE_FLAGS && a->flags != b->flags)
		what |= 1u << CS_DIFFERS_FLAGS;
	if (have & CS_HAVE_PROJID && a->projid != b->projid)
		what |= 1u << CS_DIFFERS_PROJECT;
	if ((a->mode & S_IFMT) != (b->mode & S_IFMT))
		return what | 1u << CS_DIFFERS_TYPE;
	/* A directory's count follows from its subdirectories, which are compared. */
	if (!S_ISDIR(a->mode) && a->nlink != b->nlink)
		what |= 1u << CS_DIFFERS_LINKS;
	if ((S_ISBLK(a->mode) || S_ISCHR(a->mode)) &&
	    (a->rdev_major != b->rdev_major || a->rdev_minor != b->rdev_minor))
		what |= 1u << CS_DIFFERS_DEVICE;
	if (S_ISLNK(a->mode) && !same_bytes(a->bytes, a->bytes_len, b->bytes, b->bytes_len))
		what |= 1u << CS_DIFFERS_TARGET;
	return what;
}

int cs_compare_nodes(struct cs_tree *ta, const struct cs_node *a, struct cs_tree *tb,
		     const struct cs_node *b, unsigned *what, struct cs_error *err)
{
	unsigned found = differing_numbers(&a->entry, &b->entry);
	bool same = true;
	int rc = 0;

	if (S_ISREG(a->entry.mode) && S_ISREG(b->entry.mode))
		rc = same_content(ta, a, tb, b, &same, err);
	if (!same)
		found |= 1u << CS_DIFFERS_CONTENT;
	if (rc == 0)
		rc = same_xattrs(ta, a, tb, b, &same, err);
	if (!same)
		found |= 1u << CS_DIFFERS_XATTRS;
	if (rc == 0)
		*what = found;
	return rc;
}
