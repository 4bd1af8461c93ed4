/* SPDX-License-Identifier: MIT */
/*
 * tree.c - an entry, packed:
 *   var   length of what follows
 *   u8    name length, name
 *   var   mode
 *   var   bits, see enum bits
 *   var   uid, var gid
 *   svar  inode - base
 *   svar  mtime seconds - base, var nanoseconds
 *   ctime unless SAME_CTIME: svar seconds - base, var nanoseconds
 *   atime unless SAME_ATIME: svar seconds - mtime's, var nanoseconds
 *   btime if HAVE_BTIME: svar seconds - ctime's, var nanoseconds
 *   if NLINK: var nlink (else 1; a directory: 2 + subdirs)
 *   if VOLUME: var; if FLAGS: var; if PROJID: var (else 0)
 *   if XATTRS: var length, packed xattrs; if XATTRS_CHUNK: chunk reference
 *   regular file: var size (INLINE: the bytes follow), then by content
 *     CHUNK: chunk reference
 *     EXTENTS: if SPARSE var data bytes; hash; var length, an extent page
 *     PAGES: if SPARSE var data bytes; hash; u8 level, chunk reference
 *   symlink: var length, target
 *   device: var major, var minor
 *   directory: var children, if any: u8 level, chunk reference, var subdirs,
 *     var entries, var bytes, var links, var xattrs below; digest
 */
#include "tree.h"

#include "alloc.h"
#include "hash.h"
#include "text.h"

#include <stdlib.h>
#include <string.h>

enum bits {
	CONTENT_MASK = 7,
	HAVE_SHIFT = 3, /* four bits: enum cs_have */
	NLINK = 1 << 7,
	VOLUME = 1 << 8,
	FLAGS = 1 << 9,
	PROJID = 1 << 10,
	XATTRS = 1 << 11,
	XATTRS_CHUNK = 1 << 12,
	SAME_CTIME = 1 << 13,
	SAME_ATIME = 1 << 14,
	SPARSE = 1 << 15,
	BITS_ALL = (1 << 16) - 1,
};

enum base { BASE_BUNDLE, BASE_MTIME, BASE_CTIME, BASE_INO };

bool cs_mode_valid(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFREG:
	case S_IFDIR:
	case S_IFLNK:
	case S_IFCHR:
	case S_IFBLK:
	case S_IFIFO:
	case S_IFSOCK:
		return mode <= 0177777;
	default:
		return false;
	}
}

static bool time_equal(struct cs_time a, struct cs_time b)
{
	return a.sec == b.sec && a.nsec == b.nsec;
}

/* ---- pack */

static cs_chunk first_chunk(const struct cs_entry *e)
{
	if (S_ISREG(e->mode) && e->content == CS_CONTENT_CHUNK)
		return e->chunk;
	if (S_ISREG(e->mode) && e->content == CS_CONTENT_PAGES)
		return e->extents.root;
	return S_ISDIR(e->mode) ? e->children.root : 0;
}

static uint32_t default_nlink(const struct cs_entry *e)
{
	return S_ISDIR(e->mode) ? 2 + e->subdirs : 1;
}

static uint32_t entry_bits(const struct cs_entry *e)
{
	uint32_t b = (e->have & 15) << HAVE_SHIFT;
	if (S_ISREG(e->mode))
		b |= e->content;
	b |= e->nlink != default_nlink(e) ? NLINK : 0;
	b |= e->volume ? VOLUME : 0;
	b |= e->flags ? FLAGS : 0;
	b |= e->projid ? PROJID : 0;
	b |= e->xattrs_chunk ? XATTRS_CHUNK : e->xattrs_len ? XATTRS : 0;
	b |= time_equal(e->ctime, e->mtime) ? SAME_CTIME : 0;
	b |= time_equal(e->atime, e->mtime) ? SAME_ATIME : 0;
	if (S_ISREG(e->mode) && e->content >= CS_CONTENT_EXTENTS && e->data_bytes != e->size)
		b |= SPARSE;
	return b;
}

static void pack_time(struct cs_buf *b, struct cs_time t, int64_t base)
{
	cs_buf_svar(b, (int64_t)((uint64_t)t.sec - (uint64_t)base));
	cs_buf_var(b, t.nsec);
}

static void pack_regular(struct cs_buf *b, const struct cs_entry *e, uint32_t bits, uint64_t base)
{
	cs_buf_var(b, e->size);
	switch (e->content) {
	case CS_CONTENT_INLINE:
		cs_buf_add(b, e->bytes, e->size);
		return;
	case CS_CONTENT_CHUNK:
		cs_ref_pack(b, e->chunk, base);
		return;
	case CS_CONTENT_EXTENTS:
	case CS_CONTENT_PAGES:
		if (bits & SPARSE)
			cs_buf_var(b, e->data_bytes);
		cs_buf_add(b, e->hash.b, CS_HASH_SIZE);
		if (e->content == CS_CONTENT_EXTENTS) {
			cs_buf_str(b, e->bytes, e->bytes_len);
		} else {
			cs_buf_u8(b, e->extents.level);
			cs_ref_pack(b, e->extents.root, base);
		}
		return;
	default:
		return;
	}
}

static void pack_dir(struct cs_buf *b, const struct cs_entry *e, uint64_t base)
{
	cs_buf_var(b, e->children_count);
	if (e->children_count) {
		cs_buf_u8(b, e->children.level);
		cs_ref_pack(b, e->children.root, base);
		cs_buf_var(b, e->subdirs);
		cs_buf_var(b, e->below.entries);
		cs_buf_var(b, e->below.bytes);
		cs_buf_var(b, e->below.links);
		cs_buf_var(b, e->below.xattrs);
	}
	cs_buf_add(b, e->hash.b, CS_HASH_SIZE);
}

static void pack_body(struct cs_buf *b, const struct cs_entry *e, const uint64_t *bases)
{
	uint32_t bits = entry_bits(e);
	cs_buf_u8(b, (uint8_t)e->name_len);
	cs_buf_add(b, e->name, e->name_len);
	cs_buf_var(b, e->mode);
	cs_buf_var(b, bits);
	cs_buf_var(b, e->uid);
	cs_buf_var(b, e->gid);
	cs_buf_svar(b, (int64_t)(e->ino - bases[BASE_INO]));
	pack_time(b, e->mtime, (int64_t)bases[BASE_MTIME]);
	if (!(bits & SAME_CTIME))
		pack_time(b, e->ctime, (int64_t)bases[BASE_CTIME]);
	if (!(bits & SAME_ATIME))
		pack_time(b, e->atime, e->mtime.sec);
	if (e->have & CS_HAVE_BTIME)
		pack_time(b, e->btime, e->ctime.sec);
	if (bits & NLINK)
		cs_buf_var(b, e->nlink);
	if (bits & VOLUME)
		cs_buf_var(b, e->volume);
	if (bits & FLAGS)
		cs_buf_var(b, e->flags);
	if (bits & PROJID)
		cs_buf_var(b, e->projid);
	if (bits & XATTRS)
		cs_buf_str(b, e->xattrs, e->xattrs_len);
	if (bits & XATTRS_CHUNK)
		cs_ref_pack(b, e->xattrs_chunk, bases[BASE_BUNDLE]);
	if (S_ISREG(e->mode)) {
		pack_regular(b, e, bits, bases[BASE_BUNDLE]);
	} else if (S_ISLNK(e->mode)) {
		cs_buf_str(b, e->bytes, e->bytes_len);
	} else if (S_ISCHR(e->mode) || S_ISBLK(e->mode)) {
		cs_buf_var(b, e->rdev_major);
		cs_buf_var(b, e->rdev_minor);
	} else if (S_ISDIR(e->mode)) {
		pack_dir(b, e, bases[BASE_BUNDLE]);
	}
}

int cs_tree_add(struct cs_pages_writer *w, const struct cs_entry *e, struct cs_error *err)
{
	uint64_t *bases = w->level[0].bases;
	if (cs_pages_fresh(w)) {
		cs_chunk c = first_chunk(e);
		bases[BASE_BUNDLE] = c >> CS_SLOT_BITS;
		bases[BASE_MTIME] = (uint64_t)e->mtime.sec;
		bases[BASE_CTIME] = (uint64_t)e->ctime.sec;
		bases[BASE_INO] = e->ino;
	}
	struct cs_buf body = { 0 };
	pack_body(&body, e, bases);
	cs_buf_str(&w->scratch, body.data, body.len);
	w->scratch.failed |= body.failed;
	cs_buf_release(&body);
	uint64_t below = S_ISDIR(e->mode) ? e->below.entries : 0;
	return cs_pages_append(w, e->name, e->name_len, below, cs_checksum(e->name, e->name_len),
			       err);
}

/* ---- unpack */

static struct cs_time unpack_time(struct cs_cur *c, int64_t base)
{
	struct cs_time t;
	t.sec = (int64_t)((uint64_t)base + (uint64_t)cs_cur_svar(c));
	t.nsec = (uint32_t)cs_cur_max(c, 999999999);
	return t;
}

static struct cs_hash unpack_hash(struct cs_cur *c)
{
	struct cs_hash h = { { 0 } };
	const uint8_t *p = cs_cur_bytes(c, CS_HASH_SIZE);
	if (p)
		memcpy(h.b, p, CS_HASH_SIZE);
	return h;
}

static uint8_t unpack_level(struct cs_cur *c)
{
	return (uint8_t)cs_cur_max(c, CS_LEVELS_MAX - 1);
}

static void unpack_regular(struct cs_cur *c, struct cs_entry *e, uint32_t bits, uint64_t base)
{
	e->size = cs_cur_max(c, INT64_MAX);
	e->data_bytes = e->size;
	e->content = bits & CONTENT_MASK;
	switch (e->content) {
	case CS_CONTENT_NONE:
		c->bad |= e->size != 0;
		return;
	case CS_CONTENT_INLINE:
		c->bad |= e->size == 0 || e->size > CS_PAGE_MAX;
		e->bytes_len = (uint32_t)(c->bad ? 0 : e->size);
		e->bytes = cs_cur_bytes(c, e->bytes_len);
		return;
	case CS_CONTENT_CHUNK:
		c->bad |= e->size == 0 || e->size > CS_CHUNK_MAX;
		e->chunk = cs_ref_unpack(c, base);
		return;
	case CS_CONTENT_EXTENTS:
	case CS_CONTENT_PAGES:
		if (bits & SPARSE)
			e->data_bytes = cs_cur_max(c, e->size);
		e->hash = unpack_hash(c);
		if (e->content == CS_CONTENT_EXTENTS) {
			size_t n;
			e->bytes = cs_cur_str(c, CS_PAGE_MAX, &n);
			e->bytes_len = (uint32_t)n;
		} else {
			e->extents.level = unpack_level(c);
			e->extents.root = cs_ref_unpack(c, base);
		}
		c->bad |= e->size == 0;
		return;
	default:
		c->bad = true;
	}
}

static void unpack_dir(struct cs_cur *c, struct cs_entry *e, uint64_t base)
{
	e->children_count = cs_cur_max(c, 1ull << 40);
	if (e->children_count) {
		e->children.level = unpack_level(c);
		e->children.root = cs_ref_unpack(c, base);
		e->subdirs = (uint32_t)cs_cur_max(c, UINT32_MAX - 2);
		e->below.entries = cs_cur_max(c, 1ull << 40);
		e->below.bytes = cs_cur_max(c, INT64_MAX);
		e->below.links = cs_cur_max(c, e->below.entries);
		e->below.xattrs = cs_cur_max(c, e->below.entries);
		c->bad |= e->below.entries < e->children_count || e->subdirs > e->children_count;
	}
	e->hash = unpack_hash(c);
}

static void unpack_by_type(struct cs_cur *c, struct cs_entry *e, uint32_t bits, uint64_t base)
{
	if (S_ISREG(e->mode)) {
		unpack_regular(c, e, bits, base);
	} else if (S_ISLNK(e->mode)) {
		size_t n;
		e->bytes = cs_cur_str(c, CS_SYMLINK_MAX, &n);
		e->bytes_len = (uint32_t)n;
		e->size = n;
		c->bad |= n == 0 || (n && memchr(e->bytes, 0, n));
	} else if (S_ISCHR(e->mode) || S_ISBLK(e->mode)) {
		e->rdev_major = (uint32_t)cs_cur_max(c, UINT32_MAX);
		e->rdev_minor = (uint32_t)cs_cur_max(c, UINT32_MAX);
	} else if (S_ISDIR(e->mode)) {
		unpack_dir(c, e, base);
	}
}

/* The one decoder: sets c->bad on anything that cannot be. */
static void unpack_body(struct cs_cur *c, const uint64_t *bases, struct cs_entry *e)
{
	memset(e, 0, sizeof(*e));
	e->name_len = cs_cur_u8(c);
	e->name = (const char *)cs_cur_bytes(c, e->name_len);
	e->mode = (uint32_t)cs_cur_max(c, 0177777);
	uint32_t bits = (uint32_t)cs_cur_max(c, BITS_ALL);
	e->have = bits >> HAVE_SHIFT & 15;
	e->uid = (uint32_t)cs_cur_max(c, UINT32_MAX);
	e->gid = (uint32_t)cs_cur_max(c, UINT32_MAX);
	e->ino = bases[BASE_INO] + (uint64_t)cs_cur_svar(c);
	e->mtime = unpack_time(c, (int64_t)bases[BASE_MTIME]);
	e->ctime = bits & SAME_CTIME ? e->mtime : unpack_time(c, (int64_t)bases[BASE_CTIME]);
	e->atime = bits & SAME_ATIME ? e->mtime : unpack_time(c, e->mtime.sec);
	if (e->have & CS_HAVE_BTIME)
		e->btime = unpack_time(c, e->ctime.sec);
	e->nlink = bits & NLINK ? (uint32_t)cs_cur_max(c, UINT32_MAX) : 1;
	e->volume = bits & VOLUME ? (uint32_t)cs_cur_max(c, UINT32_MAX) : 0;
	e->flags = bits & FLAGS ? (uint32_t)cs_cur_max(c, UINT32_MAX) : 0;
	e->projid = bits & PROJID ? (uint32_t)cs_cur_max(c, UINT32_MAX) : 0;
	if (bits & XATTRS) {
		size_t n;
		e->xattrs = cs_cur_str(c, CS_PAGE_MAX, &n);
		e->xattrs_len = (uint32_t)n;
	} else if (bits & XATTRS_CHUNK) {
		e->xattrs_chunk = cs_ref_unpack(c, bases[BASE_BUNDLE]);
	}
	if (!cs_mode_valid(e->mode))
		c->bad = true;
	else
		unpack_by_type(c, e, bits, bases[BASE_BUNDLE]);
	if (S_ISDIR(e->mode) && !(bits & NLINK))
		e->nlink = 2 + e->subdirs;
}

static int parse_entries(struct cs_cur *c, const uint8_t *start, bool root,
			 struct cs_tree_page *p)
{
	struct cs_entry e, prev = { 0 };
	uint64_t before = 0;
	for (size_t i = 0; i < p->count; i++) {
		size_t n;
		const uint8_t *body = cs_cur_str(c, CS_PAGE_RAW_MAX, &n);
		if (!body)
			return CS_E_CORRUPT;
		struct cs_cur b = cs_cur(body, n);
		unpack_body(&b, p->bases, &e);
		if (!cs_cur_done(&b))
			return CS_E_CORRUPT;
		if (root ? e.name_len != 0 : !cs_name_valid(e.name, e.name_len))
			return CS_E_CORRUPT;
		if (i && cs_key_compare(prev.name, prev.name_len, e.name, e.name_len) >= 0)
			return CS_E_CORRUPT;
		p->off[i] = (uint32_t)(body - start);
		p->before[i] = before;
		before += S_ISDIR(e.mode) ? e.below.entries : 0;
		prev = e;
	}
	p->off[p->count] = (uint32_t)(c->p - start);
	p->before[p->count] = before;
	return cs_cur_done(c) ? CS_OK : CS_E_CORRUPT;
}

int cs_tree_page_parse(const void *data, size_t len, bool root, struct cs_tree_page *out)
{
	struct cs_cur c = cs_cur(data, len);
	struct cs_page_head h;
	if (len > CS_PAGE_RAW_MAX || cs_page_head_unpack(&c, &h) != CS_OK ||
	    h.kind != CS_PAGE_DIR || (root && h.count != 1))
		return CS_E_CORRUPT;
	struct cs_tree_page p = { .data = data, .len = len, .count = h.count };
	memcpy(p.bases, h.bases, sizeof(p.bases));
	p.off = cs_alloc((p.count + 1) * sizeof(*p.off));
	p.before = cs_alloc((p.count + 1) * sizeof(*p.before));
	int rc = p.off && p.before ? parse_entries(&c, data, root, &p) : CS_E_NOMEM;
	if (rc != CS_OK) {
		cs_tree_page_release(&p);
		return rc;
	}
	*out = p;
	return CS_OK;
}

void cs_tree_page_release(struct cs_tree_page *p)
{
	free(p->off);
	free(p->before);
	p->off = NULL;
	p->before = NULL;
}

size_t cs_tree_page_memory(const struct cs_tree_page *p)
{
	return (p->count + 1) * (sizeof(*p->off) + sizeof(*p->before));
}

void cs_tree_page_entry(const struct cs_tree_page *p, size_t i, struct cs_entry *out)
{
	struct cs_cur c = cs_cur(p->data + p->off[i], p->off[i + 1] - p->off[i]);
	unpack_body(&c, p->bases, out);
}

bool cs_tree_page_find(const struct cs_tree_page *p, const char *name, size_t len, size_t *out)
{
	size_t lo = 0, hi = p->count;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;
		const uint8_t *e = p->data + p->off[mid];
		int d = cs_key_compare(e + 1, e[0], name, len);
		if (d == 0) {
			*out = mid;
			return true;
		}
		if (d < 0)
			lo = mid + 1;
		else
			hi = mid;
	}
	*out = lo;
	return false;
}
