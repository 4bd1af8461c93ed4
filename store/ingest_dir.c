/* SPDX-License-Identifier: MIT */
/*
 * ingest_dir.c - one directory of a backup: its entries become pages, unless they
 * are the parent point's.
 *
 * Decision: a directory is unchanged until proven otherwise. As long as every
 * entry met is the parent's entry, nothing is packed, hashed or stored; the
 * first difference packs the entries so far from the parent's pages and goes
 * on from there. A directory without a difference is its parent's pages.
 */
#include "ingest_dir.h"

#include "dump.h"
#include "hash.h"

#include <stdlib.h>
#include <string.h>

/* ---- the parent point's side */

int cs_ingest_old_failed(int rc)
{
	return rc == CS_E_CORRUPT || rc == CS_E_IO || rc == CS_E_NOTFOUND ? CS_OLD_DAMAGED : rc;
}

/* Step the parent's list. */
static int old_step(struct cs_ingest_dir *d)
{
	d->old_next = NULL;
	d->old_taken = false;
	int rc = cs_dir_next(d->old, &d->old_next, NULL);
	return rc < 0 ? cs_ingest_old_failed(rc) : CS_OK;
}

/* ---- its own attributes */

/* Keep a directory's packed list where it outlives the entries below it. */
static int keep_xattrs(struct cs_ingest_dir *d, const uint8_t *list, size_t len,
		       struct cs_error *err)
{
	cs_buf_clear(&d->xattrs);
	cs_buf_add(&d->xattrs, list, len);
	if (d->xattrs.failed)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	if (d->self.xattrs_len)
		d->self.xattrs = d->xattrs.data;
	return CS_OK;
}

/* The parent's attributes stand for the directory's. */
static int take_old_xattrs(struct cs_ingest *in, struct cs_ingest_dir *d, struct cs_error *err)
{
	const struct cs_entry *o = &d->old_self.entry;
	const uint8_t *list = o->xattrs;
	size_t len = o->xattrs_len;
	void *held = NULL;
	int rc = CS_OK;
	if (o->xattrs_chunk)
		rc = cs_reader_chunk(in->store, o->xattrs_chunk, &held, &list, &len, err);
	rc = cs_ingest_old_failed(rc);
	if (rc != CS_OK)
		return rc;
	d->self.have |= o->have & (CS_HAVE_XATTRS | CS_HAVE_FLAGS | CS_HAVE_PROJID);
	d->self.flags = o->flags;
	d->self.projid = o->projid;
	d->self.xattrs_len = o->xattrs_len;
	d->self.xattrs_chunk = o->xattrs_chunk;
	rc = keep_xattrs(d, list, len, err);
	cs_cache_release(held);
	return rc;
}

int cs_ingest_dir_stat(struct cs_ingest *in, struct cs_ingest_dir *d, int fd, struct cs_error *err)
{
	const char *name = d->self.name;
	uint32_t len = d->self.name_len, volume = d->self.volume;
	struct cs_source_stat st;
	if (fd < 0)
		return CS_OK;
	int e_no = cs_walk_stat(fd, "", &d->self, &st);
	if (e_no)
		cs_ingest_notice(in, CS_NOTICE_ERROR, "cannot stat: %s", strerror(e_no));
	d->self.name = name;
	d->self.name_len = len;
	d->self.volume = volume;
	d->self.data_bytes = 0;
	if (d->has_old && cs_ingest_unchanged(in, &d->old_self.entry, &d->self)) {
		int rc = take_old_xattrs(in, d, err);
		if (rc != CS_OLD_DAMAGED)
			return rc;
	}
	cs_walk_flags(fd, &d->self);
	int rc = cs_ingest_xattrs(in, fd, -1, NULL, &d->self, err);
	if (rc > 0)
		cs_ingest_notice(in, CS_NOTICE_ERROR, "cannot read its extended attributes: %s",
				 strerror(rc));
	if (rc < 0 || in->nxattrs == 0)
		return rc < 0 ? rc : CS_OK;
	return keep_xattrs(d, in->xattr_packed.data, in->xattr_packed.len, err);
}

int cs_ingest_dir_xattrs(struct cs_ingest *in, const struct cs_ingest_dir *d, struct cs_error *err)
{
	free(in->xattrs);
	in->xattrs = NULL;
	in->nxattrs = 0;
	if (d->xattrs.len == 0)
		return CS_OK;
	int rc = cs_xattr_unpack(d->xattrs.data, d->xattrs.len, &in->xattrs, &in->nxattrs);
	return rc == CS_OK ? rc : cs_fail(err, rc, "%s: its attributes cannot be kept",
					  (const char *)in->path.data);
}

/* ---- entries into the directory */

static int add_line(struct cs_ingest *in, struct cs_ingest_dir *d, struct cs_error *err)
{
	cs_buf_u8(&in->line, '\n');
	if (in->line.failed)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	cs_hasher_add(d->hasher, in->line.data, in->line.len);
	cs_buf_clear(&in->line);
	return CS_OK;
}

/*
 * A page is like the parent's page of the same directory where the same names
 * are. in->page_*: the directory in the parent point and the last name in the page.
 */
static cs_chunk like_page(const struct cs_ingest *in, uint8_t kind)
{
	const struct cs_pages *old = in->page_dir ? &in->page_dir->children : NULL;
	struct cs_leaf leaf;
	if (!old || !old->root)
		return 0;
	if (old->level == 0 || kind != CS_PAGE_DIR)
		return (kind == CS_PAGE_DIR) == (old->level == 0) ? old->root : 0;
	if (cs_reader_leaf(in->store, *old, CS_PAGE_DIR, CS_BY_KEY, 0, in->page_name,
			   in->page_name_len, &leaf, NULL) != CS_OK)
		return 0;
	cs_cache_release(leaf.held);
	return leaf.chunk;
}

static int put_page(void *arg, const void *page, size_t len, cs_chunk *out, struct cs_error *err)
{
	struct cs_ingest *in = arg;
	cs_chunk like = like_page(in, *(const uint8_t *)page);
	return cs_pipeline_chunk(in->pipeline, CS_BUNDLE_META, page, len, like, out, NULL, err);
}

static void set_page(struct cs_ingest *in, const struct cs_ingest_dir *d, const struct cs_entry *e)
{
	in->page_dir = d->has_old ? &d->old_self.entry : NULL;
	if (e) {
		in->page_name_len = e->name_len;
		memcpy(in->page_name, e->name, e->name_len);
	}
}

static int add_entry(struct cs_ingest *in, struct cs_ingest_dir *d, const struct cs_entry *e,
		     struct cs_error *err)
{
	set_page(in, d, e);
	return cs_tree_add(&d->writer, e, err);
}

static int pack_old(struct cs_ingest *in, struct cs_ingest_dir *d, const struct cs_node *n,
		    struct cs_error *err)
{
	int rc = cs_node_dump_line(in->parent, n, n->entry.name, n->entry.name_len, &in->line, err);
	rc = cs_ingest_old_failed(rc);
	if (rc == CS_OK)
		rc = add_line(in, d, err);
	return rc == CS_OK ? add_entry(in, d, &n->entry, err) : rc;
}

/* The first difference: from now on entries are packed, beginning with those so far. */
static int begin_packing(struct cs_ingest *in, struct cs_ingest_dir *d, struct cs_error *err)
{
	struct cs_dir *list = NULL;
	int rc = CS_OK;
	d->differs = true;
	if (!d->hasher && !(d->hasher = cs_hasher_new()))
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	cs_hasher_reset(d->hasher);
	cs_pages_writer_init(&d->writer, CS_PAGE_DIR, put_page, in);
	if (d->count)
		rc = cs_ingest_old_failed(cs_dir_open(in->parent, &d->old_self, 0, &list, err));
	for (uint64_t i = 0; i < d->count && rc == CS_OK; i++) {
		const struct cs_node *n;
		rc = cs_ingest_old_failed(cs_dir_next(list, &n, err));
		if (rc == 1)
			rc = pack_old(in, d, n, err);
		else if (rc == 0)
			rc = CS_OLD_DAMAGED; /* its totals promised more */
	}
	cs_dir_close(list);
	return rc;
}

static void count_entry(struct cs_ingest *in, struct cs_ingest_dir *d, const struct cs_entry *e)
{
	d->count++;
	d->below.entries++;
	in->result.point.totals.entries++;
	if (S_ISREG(e->mode)) {
		d->below.bytes = cs_bytes_add(d->below.bytes, e->size);
		in->result.point.totals.bytes += e->size;
	}
	d->below.links += e->nlink > 1 && !S_ISDIR(e->mode);
	d->below.xattrs += cs_entry_has_xattrs(e);
	if (S_ISDIR(e->mode)) {
		d->subdirs++;
		d->below.entries += e->below.entries;
		d->below.bytes = cs_bytes_add(d->below.bytes, e->below.bytes);
		d->below.links += e->below.links;
		d->below.xattrs += e->below.xattrs;
	}
}

int cs_ingest_dir_same(struct cs_ingest *in, struct cs_ingest_dir *d, const struct cs_node *n,
		       struct cs_error *err)
{
	int rc = d->differs ? pack_old(in, d, n, err) : CS_OK;
	if (rc == CS_OK) {
		count_entry(in, d, &n->entry);
		d->old_taken = true;
	}
	return rc;
}

int cs_ingest_dir_new(struct cs_ingest *in, struct cs_ingest_dir *d, const struct cs_entry *e,
		      const struct cs_hash *hash, struct cs_error *err)
{
	int rc = d->differs ? CS_OK : begin_packing(in, d, err);
	if (rc != CS_OK)
		return rc;
	cs_dump_line(&in->line, e, hash, in->xattrs, in->nxattrs, e->name, e->name_len);
	rc = add_line(in, d, err);
	if (rc == CS_OK)
		rc = add_entry(in, d, e, err);
	if (rc == CS_OK)
		count_entry(in, d, e);
	return rc;
}

/* ---- from its begin to its end */

int cs_ingest_dir_begin(struct cs_ingest *in, struct cs_ingest_dir *d, struct cs_error *err)
{
	int rc = cs_dir_open(in->parent, &d->old_self, 0, &d->old, err);
	return rc == CS_OK ? old_step(d) : cs_ingest_old_failed(rc);
}

int cs_ingest_dir_find(struct cs_ingest *in, struct cs_ingest_dir *d, const char *name,
		       const struct cs_node **found, struct cs_error *err)
{
	*found = NULL;
	while (d->old_next) {
		const struct cs_entry *o = &d->old_next->entry;
		int order = d->old_taken ? -1 :
					   cs_key_compare(o->name, o->name_len, name, strlen(name));
		if (order == 0)
			*found = d->old_next;
		if (order >= 0)
			return CS_OK;
		if (!d->old_taken && !d->differs) {
			int rc = begin_packing(in, d, err);
			if (rc != CS_OK)
				return rc;
		}
		int rc = old_step(d);
		if (rc != CS_OK)
			return rc;
	}
	return CS_OK;
}

int cs_ingest_dir_finish(struct cs_ingest *in, struct cs_ingest_dir *d, struct cs_entry *e,
			 bool *same, struct cs_error *err)
{
	int rc = CS_OK;
	*e = d->self;
	*same = false;
	if (d->old_taken)
		rc = old_step(d);
	if (rc == CS_OK && d->has_old && d->old_next && !d->differs)
		rc = begin_packing(in, d, err);
	if (rc == CS_OK && !d->has_old && !d->differs)
		rc = begin_packing(in, d, err);
	if (rc != CS_OK)
		return rc;
	e->children_count = d->count;
	e->subdirs = d->subdirs;
	e->below = d->below;
	if (d->differs) {
		e->hash = cs_hasher_end(d->hasher);
		set_page(in, d, NULL);
		return cs_pages_finish(&d->writer, &e->children, err);
	}
	e->hash = d->old_self.entry.hash;
	e->children = d->old_self.entry.children;
	*same = cs_ingest_unchanged(in, &d->old_self.entry, &d->self);
	return CS_OK;
}

static void drop_old(struct cs_ingest_dir *d)
{
	cs_dir_close(d->old);
	cs_node_release(&d->old_self);
	d->old = NULL;
	d->old_next = NULL;
	d->old_taken = false;
	d->has_old = false;
}

void cs_ingest_dir_anew(struct cs_ingest *in, struct cs_ingest_dir *d)
{
	in->result.point.totals.entries -= d->below.entries;
	in->result.point.totals.bytes -= d->below.bytes;
	d->count = 0;
	d->subdirs = 0;
	d->below = (struct cs_totals){ 0 };
	d->differs = false;
	drop_old(d);
	cs_pages_writer_release(&d->writer);
}

void cs_ingest_dir_release(struct cs_ingest_dir *d)
{
	drop_old(d);
	cs_pages_writer_release(&d->writer);
	cs_buf_release(&d->xattrs);
}
