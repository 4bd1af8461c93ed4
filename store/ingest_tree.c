/* SPDX-License-Identifier: MIT */
/*
 * ingest_tree.c - a source directory becomes tree pages, bottom up, in one pass that
 * walks the source and the parent point's tree side by side, both in name
 * order (ingest_dir.c). A subtree without a difference costs its stat calls and
 * nothing else.
 *
 * No recursion: a frame a directory on the way down, with a descriptor each.
 * The parent point may turn out to be damaged while it is compared with; the
 * directory is then begun anew without it.
 *
 * The names of the directories on the way down share one budget of memory; a
 * directory whose names are more than is left of it has them sorted on disk.
 */
#include "ingest_dir.h"

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
	struct cs_ingest_dir dir;
	const struct cs_select *select; /* NULL: everything */
	struct cs_sorter names;
	size_t names_held;    /* bytes of memory */
	struct cs_ahead_dir *ahead;
	size_t told;          /* how many of the names to come are known to those ahead */
	size_t path_len;
	uint64_t pos;         /* position of the first child: to begin anew */
	uint64_t unreadable, changed;
};

struct frames {
	struct cs_ingest *in;
	struct frame *stack;
	size_t depth, cap;
	size_t names_held; /* by all of them */
};

/* ---- frames */

static void frame_close(struct frames *s, struct frame *f)
{
	cs_ahead_leave(s->in->ahead, f->ahead);
	f->ahead = NULL;
	if (f->fd >= 0)
		close(f->fd);
	f->fd = -1;
	cs_ingest_dir_release(&f->dir);
	cs_sorter_release(&f->names);
	s->names_held -= f->names_held;
}

static int begin_anew(struct cs_ingest *in, struct frame *f, struct cs_error *err)
{
	cs_ingest_dir_anew(in, &f->dir);
	in->pos = f->pos;
	in->result.point.unreadable = f->unreadable;
	in->result.point.changed = f->changed;
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
	*f = (struct frame){ .fd = fd, .select = select,
			     .dir = { .self = *self, .hasher = f->dir.hasher } };
	f->path_len = s->in->path.len;
	f->pos = s->in->pos;
	f->unreadable = s->in->result.point.unreadable;
	f->changed = s->in->result.point.changed;
	if (old && S_ISDIR(old->entry.mode) && s->in->nanew < DAMAGED_MAX) {
		cs_node_copy(old, &f->dir.old_self);
		f->dir.has_old = true;
	}
	int rc = cs_ingest_dir_stat(s->in, &f->dir, fd, err);
	if (rc == CS_OK)
		rc = read_names(s, f, err);
	if (rc == CS_OK && f->dir.has_old)
		rc = cs_ingest_dir_begin(s->in, &f->dir, err);
	return rc == CS_OLD_DAMAGED ? old_is_damaged(s->in, f, err) : rc;
}

/* ---- one name */

static int note_position(struct cs_ingest *in, const struct cs_entry *e, struct cs_error *err)
{
	return cs_ingest_link(in, e, in->pos++, err);
}

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
	uint32_t parent_volume = f->dir.self.volume;
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
	rc = cs_ingest_dir_find(in, &f->dir, name, &old, err);
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
		return rc == CS_OK ? cs_ingest_dir_same(in, &f->dir, old, err) : rc;
	}
	rc = cs_ingest_file(in, f->fd, name, old ? &old->entry : NULL, &e, &hash, err);
	if (rc != 1)
		return rc;
	rc = note_position(in, &e, err);
	return rc == CS_OK ? cs_ingest_dir_new(in, &f->dir, &e, &hash, err) : rc;
}

/* ---- the walk */

/* A finished directory goes into the one above it. */
static int frame_pop(struct frames *s, struct cs_entry *e, struct cs_error *err)
{
	struct cs_ingest *in = s->in;
	struct frame *f = &s->stack[s->depth - 1];
	bool same;
	int rc = cs_ingest_dir_finish(in, &f->dir, e, &same, err);
	if (rc != CS_OK || s->depth == 1)
		return rc;
	struct frame *up = f - 1;
	in->path.len = up->path_len;
	if (same && up->dir.old_next) {
		in->result.entries_reused++;
		rc = cs_ingest_dir_same(in, &up->dir, up->dir.old_next, err);
	} else {
		rc = cs_ingest_dir_xattrs(in, &f->dir, err);
		if (rc == CS_OK)
			rc = cs_ingest_dir_new(in, &up->dir, e, &e->hash, err);
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
	if (f->dir.has_old || !cs_ahead_wanted(in->ahead) || f->told > CS_AHEAD_NAMES / 2)
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
	cs_ahead_go(in->ahead);
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
	if (rc == CS_OLD_DAMAGED) {
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
		rc = cs_ingest_dir_xattrs(in, &s.stack[0].dir, err);
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
		cs_hasher_free(s.stack[i].dir.hasher);
	free(s.stack);
	return rc;
}
