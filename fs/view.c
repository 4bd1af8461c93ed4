/* SPDX-License-Identifier: MIT */
/*
 * view.c - the file system as plain functions.
 *
 * Two worlds meet here. Inside a point nothing ever changes: each question is
 * answered from the point's tree, and every answer, "no such file" included,
 * may be kept for ever. Above the points (virtual.c) everything may change
 * with the next commit: the answers may be kept as well, but each name is
 * noted first (handed.c), so that cs_view_refresh can take it back.
 *
 * This is also where codes become errnos, once, in cs_view_failed(): a damaged
 * store is EIO and never ENOENT. A point that is gone answers ESTALE to what
 * is still known of it by number, and ENOENT to its name.
 *
 * Taking back is view_sweep.c.
 */
#include "view_impl.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define TREES_OPEN 128 /* some 12 KiB each */
/* What stdio and readdir(3) take as the size of their buffers: fewer, larger requests. */
#define BLKSIZE 131072
#define OFFSET_FIRST 2 /* offsets 1 and 2 stand behind "." and ".." */

/* ---------------------------------------------------------------- errors */

/* "web01/2026-11-22T06-39-05Z:etc/passwd: what was wrong", in printable characters. */
static void log_failure(struct cs_view *v, uint64_t ino, const struct cs_error *err)
{
	struct cs_inode i = cs_inode_decode(ino);
	char path[4096] = "", shown[2048] = "", line[4096];
	struct cs_tree *tree = NULL;
	uint64_t parent;

	if (!v->opts.log)
		return;
	if (i.seq == 0 || cs_trees_get(v->trees, i.seq, &tree, NULL) < 0) {
		snprintf(line, sizeof(line), "%s", err->text);
	} else {
		const struct cs_point *p = cs_tree_point(tree);
		if (cs_locate(tree, i.pos, &parent, path, sizeof(path), NULL) < 0)
			snprintf(path, sizeof(path), "(entry %llu)", (unsigned long long)i.pos);
		cs_text_escape(path, strlen(path), false, shown, sizeof(shown));
		snprintf(line, sizeof(line), "%s/%s:%s: %s", p->series, p->name, shown, err->text);
	}
	cs_trees_put(v->trees, tree);
	v->opts.log(v->opts.log_arg, line);
}

int cs_view_failed(struct cs_view *v, uint64_t ino, int code, const struct cs_error *err)
{
	switch (code) {
	case CS_E_NOTFOUND:
	case CS_E_NOTDIR:
	case CS_E_ISDIR:
	case CS_E_USAGE:
	case CS_E_LIMIT:
		break;
	default:
		log_failure(v, ino, err);
	}
	return cs_code_errno(code);
}

int cs_view_result(struct cs_view *v, uint64_t ino, int code, const struct cs_error *err)
{
	if (code == CS_E_NOTFOUND)
		return ESTALE;
	return code < 0 ? cs_view_failed(v, ino, code, err) : 0;
}

int cs_view_at(struct cs_view *v, uint64_t ino, struct cs_at *out)
{
	struct cs_inode i = cs_inode_decode(ino);
	struct cs_error err;

	out->seq = i.seq;
	if (i.seq == 0 || (v->single && i.seq != v->single))
		return ESTALE;
	int r = cs_trees_get(v->trees, i.seq, &out->tree, &err);
	if (r == 0 && v->series && cs_tree_point(out->tree)->series_id != v->series)
		return ESTALE;
	if (r == 0)
		r = cs_tree_at(out->tree, i.pos, &out->node, &err);
	return cs_view_result(v, ino, r, &err);
}

void cs_view_at_release(struct cs_view *v, struct cs_at *a)
{
	cs_node_release(&a->node);
	cs_trees_put(v->trees, a->tree);
	a->tree = NULL;
}

/* ------------------------------------------------------------ attributes */

static struct timespec timespec(struct cs_time t)
{
	return (struct timespec){ .tv_sec = (time_t)t.sec, .tv_nsec = (long)t.nsec };
}

/*
 * What the operator of owner= is shown: he may read everything. The set-ID bits
 * spoke of other owners, and go as they go when chown(2) gives a file away.
 */
static mode_t readable(mode_t mode)
{
	if (S_ISREG(mode))
		mode &= ~(mode_t)(S_ISUID | (mode & S_IXGRP ? S_ISGID : 0));
	mode |= S_IRUSR;
	if (S_ISDIR(mode) || mode & (S_IXUSR | S_IXGRP | S_IXOTH))
		mode |= S_IXUSR;
	return mode;
}

static void fill(const struct cs_view *v, uint64_t seq, const struct cs_node *n, struct stat *st)
{
	const struct cs_entry *e = &n->entry;
	bool dir = S_ISDIR(e->mode);

	memset(st, 0, sizeof(*st));
	st->st_ino = cs_inode_point(seq, n->pos);
	st->st_mode = v->opts.map_owner ? readable(e->mode) : e->mode;
	st->st_uid = v->opts.map_owner ? v->opts.uid : e->uid;
	st->st_gid = v->opts.map_owner ? v->opts.gid : e->gid;
	st->st_nlink = dir ? 2 + (nlink_t)e->subdirs : e->nlink > 0 ? e->nlink : 1;
	st->st_rdev = makedev(e->rdev_major, e->rdev_minor);
	/* A directory's size is the number of its entries: it has no bytes of its own. */
	st->st_size = (off_t)(dir ? e->children_count : e->size);
	st->st_blksize = BLKSIZE;
	if (S_ISREG(e->mode))
		st->st_blocks = (blkcnt_t)((e->data_bytes + CS_VIEW_BLOCK - 1) / CS_VIEW_BLOCK *
					   (CS_VIEW_BLOCK / 512));
	st->st_mtim = timespec(e->mtime);
	st->st_ctim = timespec(e->ctime);
	st->st_atim = timespec(e->atime);
}

/* All links of a file agree in this. A forged list may lead to anything, to a directory even. */
static bool same_file(const struct cs_entry *a, const struct cs_entry *b)
{
	return (a->mode & S_IFMT) == (b->mode & S_IFMT) && a->volume == b->volume &&
	       a->ino == b->ino && a->size == b->size && a->ctime.sec == b->ctime.sec &&
	       a->ctime.nsec == b->ctime.nsec;
}

/*
 * Attributes and number of a listed child. Another name of a hard link answers
 * as the first member of its group does.
 */
static int child_entry(struct cs_view *v, struct cs_tree *tree, uint64_t seq,
		       const struct cs_node *n, struct cs_view_entry *out, struct cs_error *err)
{
	struct cs_node first = { .held = NULL };
	uint64_t pos = n->pos;

	if (n->entry.nlink > 1 && !S_ISDIR(n->entry.mode)) {
		int r = cs_node_identity(tree, n, &pos, err);
		if (r == 0 && pos != n->pos)
			r = cs_tree_at(tree, pos, &first, err);
		if (r == CS_E_NOTFOUND)
			return cs_fail(err, CS_E_CORRUPT, "a hard link leads nowhere");
		if (r < 0)
			return r;
		if (pos != n->pos && !same_file(&first.entry, &n->entry)) {
			cs_node_release(&first);
			return cs_fail(err, CS_E_CORRUPT, "a hard link leads to another file");
		}
	}
	uint64_t ino = cs_inode_point(seq, pos);
	if (ino == 0) {
		cs_node_release(&first);
		return cs_fail(err, CS_E_LIMIT, "too many entries for inode numbers");
	}
	fill(v, seq, pos != n->pos ? &first : n, &out->st);
	out->ino = ino;
	out->forever = true;
	cs_node_release(&first);
	return 0;
}

int cs_view_getattr(struct cs_view *v, uint64_t ino, struct stat *out)
{
	struct cs_at a = { .tree = NULL };
	struct cs_error err;

	ino = cs_view_from_fuse(v, ino);
	if (cs_view_is_virtual(v, ino)) {
		int r = cs_virtual_attr(v->virt, ino, out, &err);
		return cs_view_result(v, ino, r, &err);
	}
	int e = cs_view_at(v, ino, &a);
	if (e == 0)
		fill(v, a.seq, &a.node, out);
	cs_view_at_release(v, &a);
	return e;
}

/* ---------------------------------------------------------------- parents */

/* The directory that a directory is listed in. */
static int parent_of(struct cs_view *v, uint64_t ino, struct cs_tree *tree, uint64_t *out,
		     struct cs_error *err)
{
	struct cs_inode i = cs_inode_decode(ino);
	uint64_t pos;
	int r;

	if (ino == v->root) {
		*out = ino;
		return 0;
	}
	if (i.seq == 0 || i.pos == 0)
		return cs_virtual_parent(v->virt, ino, out, err);
	*out = cs_parents_of(v->parents, ino);
	if (*out)
		return 0;
	r = cs_locate(tree, i.pos, &pos, NULL, 0, err);
	if (r < 0)
		return r;
	*out = cs_inode_point(i.seq, pos);
	cs_parents_note(v->parents, ino, *out);
	return 0;
}

/* ------------------------------------------------------------- references */

static int hold_point(void *arg, uint64_t seq, struct cs_error *err)
{
	struct cs_view *v = arg;

	return cs_point_hold(v->store, seq, err);
}

/* What is kept of the point for later holds it as well. */
static void drop_point(void *arg, uint64_t seq)
{
	struct cs_view *v = arg;

	cs_attrs_drop(v->attrs, seq);
	cs_trees_drop(v->trees, seq);
	cs_point_drop(v->store, seq);
}

int cs_view_refer(struct cs_view *v, uint64_t ino, uint64_t n)
{
	uint64_t seq = cs_inode_decode(ino).seq;
	struct cs_error err;
	int r = seq > 0 ? cs_holds_take(v->holds, seq, n, &err) : 0;

	return r < 0 ? cs_view_failed(v, 0, r, &err) : 0;
}

void cs_view_forget(struct cs_view *v, uint64_t ino, uint64_t n)
{
	uint64_t seq = cs_inode_decode(ino).seq;

	if (seq > 0)
		cs_holds_give(v->holds, seq, n);
}

bool cs_view_join(struct cs_view *v, uint64_t ino)
{
	uint64_t seq = cs_inode_decode(ino).seq;

	return seq == 0 || cs_holds_join(v->holds, seq);
}

/* ----------------------------------------------------------------- lookup */

static int lookup_dots(struct cs_view *v, uint64_t ino, bool up, struct cs_view_entry *out)
{
	struct cs_at a = { .tree = NULL };
	struct cs_error err;
	int e = 0;

	if (up) {
		if (!cs_view_is_virtual(v, ino))
			e = cs_view_at(v, ino, &a);
		if (e == 0) {
			uint64_t parent;
			int r = parent_of(v, ino, a.tree, &parent, &err);
			e = cs_view_result(v, ino, r, &err);
			if (e == 0)
				ino = parent;
		}
		cs_view_at_release(v, &a);
	}
	if (e == 0)
		e = cs_view_getattr(v, ino, &out->st);
	out->ino = cs_view_to_fuse(v, ino);
	out->forever = !cs_view_is_virtual(v, ino);
	return e;
}

static int lookup_virtual(struct cs_view *v, uint64_t parent, const char *name,
			  struct cs_view_entry *out)
{
	struct cs_error err;
	int r = cs_virtual_lookup(v->virt, parent, name, &out->ino, &err);

	if (r < 0)
		return cs_view_failed(v, parent, r, &err);
	int e = cs_view_refer(v, out->ino, 1);
	if (e)
		return e; /* it may have been forgotten since */
	cs_holds_set_left(v->holds, cs_inode_decode(out->ino).seq, false);
	e = cs_view_getattr(v, out->ino, &out->st);
	if (e)
		cs_view_forget(v, out->ino, 1);
	if (e == ESTALE)
		return ENOENT;
	out->forever = e == 0 && cs_handed_add(v->handed, parent, name, out->ino);
	return e;
}

static int lookup_point(struct cs_view *v, uint64_t parent, const char *name,
			struct cs_view_entry *out)
{
	struct cs_at dir = { .tree = NULL };
	struct cs_node child = { .held = NULL };
	struct cs_error err;
	int e = cs_view_at(v, parent, &dir);

	if (e)
		goto out;
	int r = cs_tree_child(dir.tree, &dir.node, name, strlen(name), &child, &err);
	if (r == 0)
		r = child_entry(v, dir.tree, dir.seq, &child, out, &err);
	if (r == CS_E_NOTFOUND)
		out->forever = true;
	if (cs_holds_is_left(v->holds, dir.seq))
		cs_handed_add(v->loose, parent, name, out->ino);
	if (r < 0)
		e = cs_view_failed(v, parent, r, &err);
	else if (S_ISDIR(out->st.st_mode))
		cs_parents_note(v->parents, out->ino, parent);
out:
	cs_node_release(&child);
	cs_view_at_release(v, &dir);
	return e;
}

int cs_view_lookup(struct cs_view *v, uint64_t parent, const char *name, struct cs_view_entry *out)
{
	bool dots = strcmp(name, ".") == 0 || strcmp(name, "..") == 0;

	memset(out, 0, sizeof(*out));
	parent = cs_view_from_fuse(v, parent);
	if (strlen(name) > CS_VIEW_NAME_MAX)
		return ENAMETOOLONG;
	if (!dots && cs_view_is_virtual(v, parent))
		return lookup_virtual(v, parent, name, out);
	/* first the reference: "." of a file handle may be the first that is known of the point */
	int e = cs_view_refer(v, parent, 1);
	if (e)
		return e;
	e = dots ? lookup_dots(v, parent, name[1] == '.', out) :
		   lookup_point(v, parent, name, out);
	if (e || !cs_inode_same_point(out->ino, parent))
		cs_view_forget(v, parent, 1);
	return e;
}

/* ---------------------------------------------------------------- readdir */

struct listing {
	struct cs_view *v;
	uint64_t dir;
	cs_view_dirent_fn *fn;
	void *arg;
};

/* Give one name with nothing but its number and type. */
static bool give_bare(const struct listing *l, const char *name, uint64_t ino, uint32_t type,
		      uint64_t next)
{
	struct cs_view_dirent d = { .name = name, .next = next };

	d.entry.st.st_ino = ino;
	d.entry.st.st_mode = type;
	return l->fn(l->arg, &d);
}

/* Entries of the directory above the points. A point's own attributes are left for its lookup. */
static bool give_virtual(void *arg, const char *name, uint64_t ino, uint32_t type, uint64_t cookie)
{
	const struct listing *l = arg;
	struct cs_view_dirent d = { .name = name, .next = OFFSET_FIRST + cookie };

	if (!cs_view_is_virtual(l->v, ino) ||
	    cs_virtual_attr(l->v->virt, ino, &d.entry.st, NULL) < 0)
		return give_bare(l, name, ino, type, d.next);
	d.entry.ino = ino;
	d.entry.forever = cs_handed_add(l->v->handed, l->dir, name, ino);
	return l->fn(l->arg, &d);
}

static int list_children(const struct listing *l, const struct cs_at *a, uint64_t first,
			 struct cs_error *err)
{
	char name[CS_VIEW_NAME_MAX + 1];
	struct cs_dir *d = NULL;
	const struct cs_node *n;
	int r = cs_dir_open(a->tree, &a->node, first, &d, err);
	bool left = cs_holds_is_left(l->v->holds, a->seq);

	while (r >= 0 && (r = cs_dir_next(d, &n, err)) > 0) {
		struct cs_view_dirent e = { .name = name, .next = OFFSET_FIRST + ++first };
		if (n->entry.name_len > CS_VIEW_NAME_MAX) {
			r = cs_fail(err, CS_E_CORRUPT, "a name is too long");
			break;
		}
		memcpy(name, n->entry.name, n->entry.name_len);
		name[n->entry.name_len] = '\0';
		if (child_entry(l->v, a->tree, a->seq, n, &e.entry, NULL) < 0) {
			/* Its lookup will say what is wrong; the others are well. */
			memset(&e.entry, 0, sizeof(e.entry));
			e.entry.st.st_ino = a->seq << CS_INODE_POS_BITS | n->pos;
			e.entry.st.st_mode = n->entry.mode & S_IFMT;
		}
		if (S_ISDIR(n->entry.mode))
			cs_parents_note(l->v->parents, e.entry.ino, l->dir);
		if (left)
			cs_handed_add(l->v->loose, l->dir, name, e.entry.ino);
		if (!l->fn(l->arg, &e))
			break;
	}
	cs_dir_close(d);
	return r < 0 ? r : 0;
}

/* "." and ".."; false when fn took no more. */
static bool list_dots(const struct listing *l, struct cs_tree *tree, uint64_t offset)
{
	uint64_t parent = l->dir;

	if (offset < 1 && !give_bare(l, ".", l->dir, S_IFDIR, 1))
		return false;
	if (offset >= 2)
		return true;
	if (parent_of(l->v, l->dir, tree, &parent, NULL) < 0)
		parent = l->dir;
	return give_bare(l, "..", parent, S_IFDIR, 2);
}

int cs_view_readdir(struct cs_view *v, uint64_t ino, uint64_t offset, cs_view_dirent_fn *fn,
		    void *arg)
{
	struct listing l = { v, cs_view_from_fuse(v, ino), fn, arg };
	uint64_t after = offset > OFFSET_FIRST ? offset - OFFSET_FIRST : 0;
	struct cs_at a = { .tree = NULL };
	struct cs_error err;
	int e = 0, r = 0;

	if (cs_view_is_virtual(v, l.dir)) {
		if (list_dots(&l, NULL, offset))
			r = cs_virtual_list(v->virt, l.dir, after, give_virtual, &l, &err);
	} else {
		e = cs_view_at(v, l.dir, &a);
		if (e == 0 && !S_ISDIR(a.node.entry.mode))
			e = ENOTDIR;
		if (e == 0 && list_dots(&l, a.tree, offset))
			r = list_children(&l, &a, after, &err);
	}
	if (e == 0)
		e = cs_view_result(v, l.dir, r, &err);
	cs_view_at_release(v, &a);
	return e;
}

/* ----------------------------------------------------------- open and close */

static void shown_init(pthread_rwlock_t *lock)
{
	pthread_rwlockattr_t attr;

	pthread_rwlockattr_init(&attr);
	pthread_rwlockattr_setkind_np(&attr, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
	pthread_rwlock_init(lock, &attr);
	pthread_rwlockattr_destroy(&attr);
}

/* One point is the whole mount, and stays it when it is forgotten. */
static int open_single(struct cs_view *v, const struct cs_point *p, struct cs_error *err)
{
	struct cs_tree *tree = NULL;
	struct cs_node root = { .held = NULL };

	if (p->seq > CS_INODE_SEQ_MAX)
		return cs_fail(err, CS_E_LIMIT, "%s/%s: too many points for inode numbers",
			       p->series, p->name);
	int r = cs_holds_take(v->holds, p->seq, 1, err); /* for as long as the mount stands */
	if (r == 0)
		r = cs_trees_get(v->trees, p->seq, &tree, err);
	if (r == 0)
		r = cs_tree_root(tree, &root, err);
	if (r == 0) {
		v->single = p->seq;
		v->root = cs_inode_point(p->seq, 0);
		v->without_xattrs =
			root.entry.below.xattrs == 0 && !cs_entry_has_xattrs(&root.entry);
	}
	cs_node_release(&root);
	cs_trees_put(v->trees, tree);
	return r;
}

/* Is there anything from that time? Nobody shall take an empty directory for an empty backup. */
static int check_time(struct cs_view *v, struct cs_error *err)
{
	char name[CS_POINT_NAME_MAX + 1];
	struct stat st;
	int r = cs_virtual_attr(v->virt, CS_INODE_ROOT, &st, err);

	if (r < 0 || st.st_nlink > 2)
		return r;
	cs_time_name(v->opts.at, name);
	return cs_fail(err, CS_E_NOTFOUND, "no point is as old as %s", name);
}

/* What the options choose becomes the root. */
static int open_root(struct cs_view *v, struct cs_error *err)
{
	const struct cs_view_opts *o = &v->opts;
	struct cs_point p;
	struct cs_series s;
	int r = 0;

	v->root = CS_INODE_ROOT;
	if (o->point) {
		r = cs_point_find(v->store, o->point, &p, err);
		return r < 0 ? r : open_single(v, &p, err);
	}
	if (o->series && o->has_at) {
		r = cs_point_at(v->store, o->series, o->at, &p, err);
		return r < 0 ? r : open_single(v, &p, err);
	}
	if (o->series) {
		r = cs_series_get(v->store, o->series, 0, &s, err);
		if (r < 0)
			return r;
		v->series = s.id;
		v->root = cs_inode_virtual(CS_KIND_SERIES, s.id);
	}
	const struct cs_virtual_opts virt = {
		.uid = o->map_owner ? o->uid : geteuid(),
		.gid = o->map_owner ? o->gid : getegid(),
		.series = v->series,
		.at = o->has_at ? &o->at : NULL,
	};
	v->virt = cs_virtual_new(v->store, &virt);
	if (!v->virt)
		return cs_fail(err, CS_E_NOMEM, "opening the view");
	return o->has_at ? check_time(v, err) : 0;
}

int cs_view_open(struct cs_store *store, const struct cs_view_opts *opts, struct cs_view **out,
		 struct cs_error *err)
{
	struct cs_view *v = calloc(1, sizeof(*v));
	int r = CS_E_NOMEM;

	if (!v)
		return cs_fail(err, CS_E_NOMEM, "opening the view");
	v->store = store;
	v->opts = *opts;
	struct timespec now;
	clock_gettime(CLOCK_REALTIME, &now);
	v->since = (struct cs_time){ .sec = now.tv_sec, .nsec = (uint32_t)now.tv_nsec };
	shown_init(&v->shown);
	v->trees = cs_trees_new(store, TREES_OPEN);
	v->handed = cs_handed_new();
	v->loose = cs_handed_new();
	v->parents = cs_parents_new();
	v->attrs = v->trees ? cs_attrs_new(v->trees) : NULL;
	v->holds = cs_holds_new(&(struct cs_holds_calls){ hold_point, drop_point, v });
	v->sweep = cs_sweep_new();
	if (!v->sweep || !v->holds || !v->trees || !v->handed || !v->loose || !v->parents || !v->attrs ||
	    asprintf(&v->data_path, "%s/data.mdb", cs_store_path(store)) < 0) {
		v->data_path = NULL;
		cs_fail(err, CS_E_NOMEM, "opening the view");
		goto out;
	}
	r = open_root(v, err);
	if (r == 0)
		*out = v;
out:
	if (r < 0)
		cs_view_close(v);
	return r;
}

void cs_view_close(struct cs_view *v)
{
	if (!v)
		return;
	cs_sweep_free(v->sweep);
	cs_holds_free(v->holds);
	cs_attrs_free(v->attrs);
	cs_parents_free(v->parents);
	cs_handed_free(v->handed);
	cs_handed_free(v->loose);
	cs_trees_free(v->trees);
	cs_virtual_free(v->virt);
	free(v->data_path);
	pthread_rwlock_destroy(&v->shown);
	free(v);
}

bool cs_view_without_xattrs(const struct cs_view *v)
{
	return v->without_xattrs;
}
