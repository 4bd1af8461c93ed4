/* SPDX-License-Identifier: MIT */
/*
 * ingest_tree.c - a source directory becomes tree pages, bottom up, in one pass that
 * walks the source and the parent point's tree side by side, both in name
 * order.
 *
 * Decision: a directory is unchanged until proven otherwise. As long as every
 * entry met is the parent's entry, nothing is packed, hashed or stored; the
 * first difference packs the entries so far from the parent's pages and goes
 * on from there. A directory without a difference is its parent's pages, and a
 * subtree without one costs its stat calls and nothing else.
 *
 * No recursion: a frame a directory on the way down, with a descriptor each.
 * The parent point may turn out to be damaged while it is compared with; the
 * directory is then begun anew without it.
 *
 * The names of the directories on the way down share one budget of memory; a
 * directory whose names are more than is left of it has them sorted on disk.
 */
#include "ingest.h"

#include "alloc.h"
#include "dump.h"
#include "hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

/* Names of a directory that are sorted in memory whatever lies above it. */
#define NAMES_MIN ((size_t)64 << 10)
/* A parent point that is damaged in so many places is no help. */
#define DAMAGED_MAX 4096u

struct frame {
	int fd; /* -1: could not be opened, is stored without children */
	struct cs_entry self;
	struct cs_buf xattrs; /* self's packed list, also when it is a chunk */
	const struct cs_select *select; /* NULL: everything */
	struct cs_sorter names;
	size_t names_held;    /* bytes of memory */
	struct cs_ahead_dir *ahead;
	size_t told;          /* how many of the names to come are known to those ahead */
	size_t path_len;
	uint64_t pos;         /* position of the first child: to begin anew */
	uint64_t unreadable, changed;

	bool has_old;
	struct cs_node old_self; /* the parent point's directory, held */
	struct cs_dir *old;
	const struct cs_node *old_next; /* NULL: at the end */
	bool old_taken;                 /* old_next stands in the directory; else it is gone */

	bool differs;         /* entries are being packed */
	uint64_t count;
	uint32_t subdirs;
	struct cs_totals below;
	struct cs_pages_writer writer;
	struct cs_hasher *hasher; /* kept for the next frame of this depth */
};

struct frames {
	struct cs_ingest *in;
	struct frame *stack;
	size_t depth, cap;
	size_t names_held; /* by all of them */
	struct cs_error old_error;
};

/* ---- the parent point's side */

static void drop_old(struct frame *f)
{
	cs_dir_close(f->old);
	cs_node_release(&f->old_self);
	f->old = NULL;
	f->old_next = NULL;
	f->old_taken = false;
	f->has_old = false;
}

/* What fails because the parent point is damaged has a code of its own, which stays in this file. */
#define OLD_DAMAGED (-1000)

static int old_failed(int rc)
{
	return rc == CS_E_CORRUPT || rc == CS_E_IO || rc == CS_E_NOTFOUND ? OLD_DAMAGED : rc;
}

/* Step the parent's list. */
static int old_step(struct frame *f)
{
	f->old_next = NULL;
	f->old_taken = false;
	int rc = cs_dir_next(f->old, &f->old_next, NULL);
	return rc < 0 ? old_failed(rc) : CS_OK;
}

static int old_begin(struct cs_ingest *in, struct frame *f, struct cs_error *err)
{
	int rc = cs_dir_open(in->parent, &f->old_self, 0, &f->old, err);
	return rc == CS_OK ? old_step(f) : old_failed(rc);
}

/* ---- entries into the directory */

static int add_line(struct cs_ingest *in, struct frame *f, struct cs_error *err)
{
	cs_buf_u8(&in->line, '\n');
	if (in->line.failed)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	cs_hasher_add(f->hasher, in->line.data, in->line.len);
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

static void set_page(struct cs_ingest *in, const struct frame *f, const struct cs_entry *e)
{
	in->page_dir = f->has_old ? &f->old_self.entry : NULL;
	if (e) {
		in->page_name_len = e->name_len;
		memcpy(in->page_name, e->name, e->name_len);
	}
}

static int add_entry(struct cs_ingest *in, struct frame *f, const struct cs_entry *e,
		     struct cs_error *err)
{
	set_page(in, f, e);
	return cs_tree_add(&f->writer, e, err);
}

static int pack_old(struct cs_ingest *in, struct frame *f, const struct cs_node *n,
		    struct cs_error *err)
{
	int rc = old_failed(cs_node_dump_line(in->parent, n, n->entry.name, n->entry.name_len,
					      &in->line, err));
	if (rc == CS_OK)
		rc = add_line(in, f, err);
	return rc == CS_OK ? add_entry(in, f, &n->entry, err) : rc;
}

/* The first difference: from now on entries are packed, beginning with those so far. */
static int begin_packing(struct cs_ingest *in, struct frame *f, struct cs_error *err)
{
	struct cs_dir *d = NULL;
	int rc = CS_OK;
	f->differs = true;
	if (!f->hasher && !(f->hasher = cs_hasher_new()))
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	cs_hasher_reset(f->hasher);
	cs_pages_writer_init(&f->writer, CS_PAGE_DIR, put_page, in);
	if (f->count)
		rc = old_failed(cs_dir_open(in->parent, &f->old_self, 0, &d, err));
	for (uint64_t i = 0; i < f->count && rc == CS_OK; i++) {
		const struct cs_node *n;
		rc = old_failed(cs_dir_next(d, &n, err));
		if (rc == 1)
			rc = pack_old(in, f, n, err);
		else if (rc == 0)
			rc = OLD_DAMAGED; /* its totals promised more */
	}
	cs_dir_close(d);
	return rc;
}

static void count_entry(struct cs_ingest *in, struct frame *f, const struct cs_entry *e)
{
	f->count++;
	f->below.entries++;
	in->result.point.totals.entries++;
	if (S_ISREG(e->mode)) {
		f->below.bytes = cs_bytes_add(f->below.bytes, e->size);
		in->result.point.totals.bytes += e->size;
	}
	f->below.links += e->nlink > 1 && !S_ISDIR(e->mode);
	f->below.xattrs += cs_entry_has_xattrs(e);
	if (S_ISDIR(e->mode)) {
		f->subdirs++;
		f->below.entries += e->below.entries;
		f->below.bytes = cs_bytes_add(f->below.bytes, e->below.bytes);
		f->below.links += e->below.links;
		f->below.xattrs += e->below.xattrs;
	}
}

/* An entry that is the parent's. */
static int add_same(struct cs_ingest *in, struct frame *f, const struct cs_node *n,
		    struct cs_error *err)
{
	int rc = f->differs ? pack_old(in, f, n, err) : CS_OK;
	if (rc == CS_OK) {
		count_entry(in, f, &n->entry);
		f->old_taken = true;
	}
	return rc;
}

/* A new or changed entry; its xattrs are in->xattrs. */
static int add_new(struct cs_ingest *in, struct frame *f, const struct cs_entry *e,
		   const struct cs_hash *hash, struct cs_error *err)
{
	int rc = f->differs ? CS_OK : begin_packing(in, f, err);
	if (rc != CS_OK)
		return rc;
	cs_dump_line(&in->line, e, hash, in->xattrs, in->nxattrs, e->name, e->name_len);
	rc = add_line(in, f, err);
	if (rc == CS_OK)
		rc = add_entry(in, f, e, err);
	if (rc == CS_OK)
		count_entry(in, f, e);
	return rc;
}

static int note_position(struct cs_ingest *in, const struct cs_entry *e, struct cs_error *err)
{
	return cs_ingest_link(in, e, in->pos++, err);
}

/* ---- frames */

static void frame_close(struct frames *s, struct frame *f)
{
	cs_ahead_leave(s->in->ahead, f->ahead);
	f->ahead = NULL;
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	drop_old(f);
	cs_sorter_release(&f->names);
	s->names_held -= f->names_held;
	cs_pages_writer_release(&f->writer);
	cs_buf_release(&f->xattrs);
}

/* Keep a directory's packed list where it outlives the entries below it. */
static int keep_xattrs(struct frame *f, const uint8_t *list, size_t len, struct cs_error *err)
{
	cs_buf_clear(&f->xattrs);
	cs_buf_add(&f->xattrs, list, len);
	if (f->xattrs.failed)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	if (f->self.xattrs_len)
		f->self.xattrs = f->xattrs.data;
	return CS_OK;
}

/* The parent's attributes stand for the directory's. */
static int take_old_xattrs(struct cs_ingest *in, struct frame *f, struct cs_error *err)
{
	const struct cs_entry *o = &f->old_self.entry;
	const uint8_t *list = o->xattrs;
	size_t len = o->xattrs_len;
	void *held = NULL;
	int rc = CS_OK;
	if (o->xattrs_chunk)
		rc = old_failed(cs_reader_chunk(in->store, o->xattrs_chunk, &held, &list, &len, err));
	if (rc != CS_OK)
		return rc;
	f->self.have |= o->have & (CS_HAVE_XATTRS | CS_HAVE_FLAGS | CS_HAVE_PROJID);
	f->self.flags = o->flags;
	f->self.projid = o->projid;
	f->self.xattrs_len = o->xattrs_len;
	f->self.xattrs_chunk = o->xattrs_chunk;
	rc = keep_xattrs(f, list, len, err);
	cs_cache_release(held);
	return rc;
}

/* The directory's own attributes, from its descriptor where there is one. */
static int stat_self(struct cs_ingest *in, struct frame *f, struct cs_error *err)
{
	const char *name = f->self.name;
	uint32_t len = f->self.name_len, volume = f->self.volume;
	struct cs_source_stat st;
	if (f->fd < 0)
		return CS_OK;
	int e_no = cs_walk_stat(f->fd, "", &f->self, &st);
	if (e_no)
		cs_ingest_notice(in, CS_NOTICE_ERROR, "cannot stat: %s", strerror(e_no));
	f->self.name = name;
	f->self.name_len = len;
	f->self.volume = volume;
	f->self.data_bytes = 0;
	if (f->has_old && cs_ingest_unchanged(in, &f->old_self.entry, &f->self)) {
		int rc = take_old_xattrs(in, f, err);
		if (rc != OLD_DAMAGED)
			return rc;
	}
	cs_walk_flags(f->fd, &f->self);
	int rc = cs_ingest_xattrs(in, f->fd, -1, NULL, &f->self, err);
	if (rc > 0)
		cs_ingest_notice(in, CS_NOTICE_ERROR, "cannot read its extended attributes: %s",
				 strerror(rc));
	if (rc < 0 || in->nxattrs == 0)
		return rc < 0 ? rc : CS_OK;
	return keep_xattrs(f, in->xattr_packed.data, in->xattr_packed.len, err);
}

static int begin_anew(struct cs_ingest *in, struct frame *f, struct cs_error *err)
{
	drop_old(f);
	cs_pages_writer_release(&f->writer);
	in->result.point.totals.entries -= f->below.entries;
	in->result.point.totals.bytes -= f->below.bytes;
	in->pos = f->pos;
	in->result.point.unreadable = f->unreadable;
	in->result.point.changed = f->changed;
	f->count = 0;
	f->subdirs = 0;
	f->below = (struct cs_totals){ 0 };
	f->differs = false;
	f->told = 0;
	int rc = cs_sorter_sort(&f->names, err);
	return rc == CS_OK ? cs_ingest_links_anew(in, f->pos, err) : rc;
}

static int old_is_damaged(struct cs_ingest *in, struct frame *f, struct cs_error *err)
{
	cs_ingest_notice(in, CS_NOTICE_INFO,
			 "the parent point is damaged here: the directory is read anew");
	return begin_anew(in, f, err);
}

static int read_names(struct frames *s, struct frame *f, struct cs_error *err)
{
	struct cs_ingest *in = s->in;
	size_t left = in->sort_bytes - (s->names_held < in->sort_bytes ? s->names_held :
									 in->sort_bytes);
	int rc, e_no = 0;
	if (f->fd < 0)
		return CS_OK;
	cs_sorter_init(&f->names, in->store->path, left < NAMES_MIN ? NAMES_MIN : left);
	f->names.unique = true; /* some file systems list a name twice while it moves */
	if (f->select && !f->select->whole)
		rc = cs_select_names(f->select, &f->names, err);
	else
		rc = cs_walk_names(f->fd, &f->names, &e_no, err);
	if (rc == CS_OK)
		rc = cs_sorter_sort(&f->names, err);
	if (rc == CS_OK && e_no)
		cs_ingest_notice(in, CS_NOTICE_ERROR, "cannot list: %s", strerror(e_no));
	f->names_held = cs_sorter_memory(&f->names);
	s->names_held += f->names_held;
	return rc;
}

/*
 * Begin a directory. fd becomes the frame's. self: as first seen. old: the
 * parent's directory or NULL.
 */
static int frame_push(struct frames *s, int fd, const struct cs_entry *self,
		      const struct cs_select *select, const struct cs_node *old,
		      struct cs_error *err)
{
	if (s->depth >= s->cap) {
		size_t cap = s->cap ? 2 * s->cap : 32;
		struct frame *p = cs_realloc(s->stack, cap * sizeof(*p));
		if (!p) {
			if (fd >= 0)
				close(fd);
			return cs_fail(err, CS_E_NOMEM, "out of memory");
		}
		memset(p + s->cap, 0, (cap - s->cap) * sizeof(*p));
		s->stack = p;
		s->cap = cap;
	}
	struct frame *f = &s->stack[s->depth++];
	struct cs_hasher *hasher = f->hasher;
	*f = (struct frame){ .fd = fd, .self = *self, .select = select, .hasher = hasher };
	f->path_len = s->in->path.len;
	f->pos = s->in->pos;
	f->unreadable = s->in->result.point.unreadable;
	f->changed = s->in->result.point.changed;
	if (old && S_ISDIR(old->entry.mode) && s->in->nanew < DAMAGED_MAX) {
		cs_node_copy(old, &f->old_self);
		f->has_old = true;
	}
	int rc = stat_self(s->in, f, err);
	if (rc == CS_OK)
		rc = read_names(s, f, err);
	if (rc == CS_OK && f->has_old)
		rc = old_begin(s->in, f, err);
	return rc == OLD_DAMAGED ? old_is_damaged(s->in, f, err) : rc;
}

/* The directory's entry when all its children are in. *same: it is the parent's. */
static int frame_finish(struct cs_ingest *in, struct frame *f, struct cs_entry *e, bool *same,
			struct cs_error *err)
{
	int rc = CS_OK;
	*e = f->self;
	*same = false;
	if (f->old_taken)
		rc = old_step(f);
	if (rc == CS_OK && f->has_old && f->old_next && !f->differs)
		rc = begin_packing(in, f, err);
	if (rc == CS_OK && !f->has_old && !f->differs)
		rc = begin_packing(in, f, err);
	if (rc != CS_OK)
		return rc;
	e->children_count = f->count;
	e->subdirs = f->subdirs;
	e->below = f->below;
	if (f->differs) {
		e->hash = cs_hasher_end(f->hasher);
		set_page(in, f, NULL);
		return cs_pages_finish(&f->writer, &e->children, err);
	}
	e->hash = f->old_self.entry.hash;
	e->children = f->old_self.entry.children;
	*same = cs_ingest_unchanged(in, &f->old_self.entry, &f->self);
	return CS_OK;
}

/* ---- one name */

static int full_path(struct cs_ingest *in, const struct frame *f, const char *name,
		     struct cs_error *err)
{
	in->path.len = f->path_len;
	if (in->path.len)
		cs_buf_u8(&in->path, '/');
	cs_buf_add(&in->path, name, strlen(name) + 1);
	if (in->path.failed)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	in->path.len--; /* the NUL stays behind the path */
	return CS_OK;
}

/*
 * Bring the parent's list to name. *found: its entry of this name, or NULL.
 * What the list passes without its having been added is a difference: it is
 * gone, or could not be read this time.
 */
static int find_old(struct cs_ingest *in, struct frame *f, const char *name,
		    const struct cs_node **found, struct cs_error *err)
{
	*found = NULL;
	while (f->old_next) {
		const struct cs_entry *o = &f->old_next->entry;
		int d = f->old_taken ? -1 : cs_key_compare(o->name, o->name_len, name, strlen(name));
		if (d == 0)
			*found = f->old_next;
		if (d >= 0)
			return CS_OK;
		if (!f->old_taken && !f->differs) {
			int rc = begin_packing(in, f, err);
			if (rc != CS_OK)
				return rc;
		}
		int rc = old_step(f);
		if (rc != CS_OK)
			return rc;
	}
	return CS_OK;
}

static bool is_the_store(const struct cs_ingest *in, const struct cs_entry *e,
			 const struct cs_source_stat *st)
{
	return e->ino == in->store->ino && makedev(st->dev_major, st->dev_minor) == in->store->dev;
}

/*
 * Is this directory to be stored without what is in it? crossing: it lies on
 * another file system than the directory it is in, and was not asked for by
 * name.
 */
static bool left_empty(struct cs_ingest *in, int fd, const struct cs_entry *e,
		       const struct cs_source_stat *st, bool crossing)
{
	struct statfs fs;
	if (is_the_store(in, e, st)) {
		cs_ingest_notice(in, CS_NOTICE_INFO, "left out: it is the store itself");
		return true;
	}
	if (!crossing)
		return false;
	if (in->opts->one_file_system) {
		cs_ingest_notice(in, CS_NOTICE_INFO, "left out: another file system");
		return true;
	}
	if (fd >= 0 && fstatfs(fd, &fs) == 0 && cs_walk_pseudo_fs((uint32_t)fs.f_type)) {
		cs_ingest_notice(in, CS_NOTICE_INFO, "left out: a kernel file system");
		return true;
	}
	return false;
}

static int enter_dir(struct frames *s, const char *name, struct cs_entry *e,
		     const struct cs_source_stat *st, const struct cs_node *old,
		     struct cs_error *err)
{
	struct cs_ingest *in = s->in;
	struct frame *f = &s->stack[s->depth - 1];
	const struct cs_select *select = f->select ? cs_select_child(f->select, name) : NULL;
	int fd = -EMFILE;
	if (s->depth < CS_DEPTH_MAX)
		fd = cs_walk_open(f->fd, name, O_DIRECTORY);
	else
		fd = -ENAMETOOLONG;
	if (fd == -ENOENT || fd == -ESTALE) {
		cs_ingest_notice(in, CS_NOTICE_INFO, "vanished while it was being read");
		return CS_OK;
	}
	if (fd < 0) {
		cs_ingest_notice(in, CS_NOTICE_ERROR, "cannot open: %s", strerror(-fd));
		cs_ingest_lacks(in, -fd);
	}
	uint32_t parent_volume = f->self.volume;
	int rc = cs_ingest_volume(in, fd, st, false, &e->volume, err);
	if (rc != CS_OK) {
		if (fd >= 0)
			close(fd);
		return rc;
	}
	bool empty = left_empty(in, fd, e, st, e->volume != parent_volume && !select);
	rc = note_position(in, e, err);
	if (rc == CS_OK)
		rc = frame_push(s, fd < 0 ? -1 : fd, e, select, old, err);
	if (rc == CS_OK && empty) /* keep its attributes, look at nothing in it */
		cs_sorter_release(&s->stack[s->depth - 1].names);
	return rc;
}

static int take_name(struct frames *s, struct frame *f, const char *name, struct cs_error *err)
{
	struct cs_ingest *in = s->in;
	const struct cs_node *old;
	struct cs_entry e;
	struct cs_source_stat st;
	struct cs_hash hash = { { 0 } };
	size_t name_len = strlen(name);

	int rc = full_path(in, f, name, err);
	if (rc != CS_OK)
		return rc;
	if (name_len > CS_NAME_MAX) {
		cs_ingest_notice(in, CS_NOTICE_ERROR, "has a name that is too long");
		return CS_OK;
	}
	if (cs_excluded(in->opts->excludes, in->opts->nexcludes, (const char *)in->path.data, name))
		return CS_OK;
	rc = find_old(in, f, name, &old, err);
	if (rc != CS_OK)
		return rc;
	int e_no = cs_walk_stat(f->fd, name, &e, &st);
	if (e_no == ENOENT && !(f->select && !f->select->whole)) {
		cs_ingest_notice(in, CS_NOTICE_INFO, "vanished while it was being read");
		return CS_OK;
	}
	if (e_no) {
		cs_ingest_notice(in, CS_NOTICE_ERROR, "cannot stat: %s", strerror(e_no));
		return CS_OK;
	}
	if (!cs_mode_valid(e.mode)) {
		cs_ingest_notice(in, CS_NOTICE_ERROR, "has a type that is not known");
		return CS_OK;
	}
	e.name = name;
	e.name_len = (uint32_t)name_len;
	if (S_ISDIR(e.mode))
		return enter_dir(s, name, &e, &st, old, err);
	rc = cs_ingest_volume(in, -1, &st, false, &e.volume, err);
	if (rc != CS_OK)
		return rc;
	if (cs_ingest_is_lock(in, &e, &st)) {
		cs_ingest_notice(in, CS_NOTICE_INFO, "left out: it belongs to the store itself");
		return CS_OK;
	}
	if (old && cs_ingest_unchanged(in, &old->entry, &e)) {
		in->result.entries_reused++;
		rc = note_position(in, &old->entry, err);
		return rc == CS_OK ? add_same(in, f, old, err) : rc;
	}
	rc = cs_ingest_file(in, f->fd, name, old ? &old->entry : NULL, &e, &hash, err);
	if (rc != 1)
		return rc;
	rc = note_position(in, &e, err);
	return rc == CS_OK ? add_new(in, f, &e, &hash, err) : rc;
}

/* ---- the walk */

/* A directory's line needs its own attributes again, not those of the last file in it. */
static int own_xattrs(struct cs_ingest *in, const struct frame *f, struct cs_error *err)
{
	free(in->xattrs);
	in->xattrs = NULL;
	in->nxattrs = 0;
	if (f->xattrs.len == 0)
		return CS_OK;
	int rc = cs_xattr_unpack(f->xattrs.data, f->xattrs.len, &in->xattrs, &in->nxattrs);
	return rc == CS_OK ? rc : cs_fail(err, rc, "%s: its attributes cannot be kept",
					  (const char *)in->path.data);
}

/* A finished directory goes into the one above it. */
static int frame_pop(struct frames *s, struct cs_entry *e, struct cs_error *err)
{
	struct cs_ingest *in = s->in;
	struct frame *f = &s->stack[s->depth - 1];
	bool same;
	int rc = frame_finish(in, f, e, &same, err);
	if (rc != CS_OK || s->depth == 1)
		return rc;
	struct frame *up = f - 1;
	in->path.len = up->path_len;
	if (same && up->old_next) {
		in->result.entries_reused++;
		rc = add_same(in, up, up->old_next, err);
	} else {
		rc = own_xattrs(in, f, err);
		if (rc == CS_OK)
			rc = add_new(in, up, e, &e->hash, err);
	}
	frame_close(s, f);
	s->depth--;
	return rc;
}

/*
 * Tell those who go ahead of the names to come, but not of what is left out. Files of a directory
 * that the parent point has are seldom read, and the kernel itself reads many inodes at a time.
 */
static int tell_ahead(struct cs_ingest *in, struct frame *f, struct cs_error *err)
{
	const char *name;
	f->told -= f->told > 0; /* one of them is taken now */
	if (f->has_old || !cs_ahead_wanted(in->ahead))
		return CS_OK;
	while (f->told < CS_AHEAD_NAMES && (name = cs_sorter_peek(&f->names, f->told))) {
		int rc = full_path(in, f, name, err);
		if (rc != CS_OK)
			return rc;
		if (!cs_excluded(in->opts->excludes, in->opts->nexcludes,
				 (const char *)in->path.data, name) &&
		    !cs_ahead_add(in->ahead, f->fd, &f->ahead, name))
			break;
		f->told++;
	}
	return CS_OK;
}

static int step(struct frames *s, struct cs_entry *root, bool *done, struct cs_error *err)
{
	struct frame *f = &s->stack[s->depth - 1];
	const void *name;
	size_t size;
	int rc = cs_sorter_next(&f->names, &name, &size, err);
	if (rc == 1) {
		rc = cs_ingest_tick(s->in, err);
		if (rc == CS_OK)
			rc = tell_ahead(s->in, f, err);
		if (rc == CS_OK)
			rc = take_name(s, f, name, err);
	} else if (rc == 0) {
		*done = s->depth == 1;
		rc = frame_pop(s, root, err);
	}
	/* A damaged parent point must not stop the backup that would replace it. */
	if (rc == OLD_DAMAGED) {
		*done = false;
		rc = old_is_damaged(s->in, &s->stack[s->depth - 1], err);
	}
	return rc;
}

int cs_ingest_tree(struct cs_ingest *in, int fd, const struct cs_select *select,
		   struct cs_entry *root, struct cs_buf *root_xattrs, struct cs_hash *digest,
		   struct cs_error *err)
{
	struct frames s = { .in = in };
	struct cs_node old = { 0 };
	struct cs_entry self;
	struct cs_source_stat st;
	bool done = false;

	int e_no = cs_walk_stat(fd, "", &self, &st);
	if (e_no)
		return cs_fail_errno(err, e_no, "cannot stat the source");
	self.name = "";
	int rc = cs_ingest_volume(in, fd, &st, true, &self.volume, err);
	int own = rc == CS_OK ? fcntl(fd, F_DUPFD_CLOEXEC, 3) : -1;
	if (rc == CS_OK && own < 0)
		rc = cs_fail_errno(err, errno, "cannot open the source");
	if (rc == CS_OK)
		rc = note_position(in, &self, err);
	if (rc == CS_OK && in->parent)
		rc = cs_tree_root(in->parent, &old, err);
	if (rc == CS_OK)
		rc = frame_push(&s, own, &self, select, in->parent ? &old : NULL, err);
	while (rc == CS_OK && !done)
		rc = step(&s, root, &done, err);
	if (rc == CS_OK)
		rc = own_xattrs(in, &s.stack[0], err);
	if (rc == CS_OK) {
		cs_buf_clear(&in->line);
		cs_dump_line(&in->line, root, &root->hash, in->xattrs, in->nxattrs, "", 0);
		*digest = cs_hash_of(in->line.data, in->line.len);
		/* the names are the frame's: the entry's copy moves to the caller */
		cs_buf_clear(root_xattrs);
		cs_buf_add(root_xattrs, root->xattrs, root->xattrs_len);
		root->xattrs = root_xattrs->data;
	}
	while (s.depth)
		frame_close(&s, &s.stack[--s.depth]);
	for (size_t i = 0; i < s.cap; i++)
		cs_hasher_free(s.stack[i].hasher);
	free(s.stack);
	return rc;
}
