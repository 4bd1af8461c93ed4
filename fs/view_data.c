/* SPDX-License-Identifier: MIT */
/*
 * view_data.c - the view's answers about what is in a file: content, symlinks,
 * extended attributes and flags.
 *
 * Content is not copied here. It is lent as pieces of the store's cache, with
 * the tree they belong to, until the reply is written.
 */
#include "view_impl.h"

#include <errno.h>
#include <string.h>

/* ---------------------------------------------------------------- content */

int cs_view_readlink(struct cs_view *v, uint64_t ino, char out[CS_VIEW_LINK_MAX])
{
	struct cs_at a = { .tree = NULL };
	struct cs_error err;

	ino = cs_view_from_fuse(v, ino);
	if (cs_view_is_virtual(v, ino)) {
		int r = cs_virtual_readlink(v->virt, ino, out, &err);
		return cs_view_result(v, ino, r, &err);
	}
	int e = cs_view_at(v, ino, &a);
	if (e == 0) {
		const struct cs_entry *n = &a.node.entry;
		if (!S_ISLNK(n->mode)) {
			e = EINVAL;
		} else if (n->bytes_len >= CS_VIEW_LINK_MAX) {
			e = ENAMETOOLONG;
		} else {
			memcpy(out, n->bytes, n->bytes_len);
			out[n->bytes_len] = '\0';
		}
	}
	cs_view_at_release(v, &a);
	return e;
}

/* A regular file of a point. */
static int file_at(struct cs_view *v, uint64_t ino, struct cs_at *a)
{
	if (cs_view_is_virtual(v, ino))
		return EISDIR;
	int e = cs_view_at(v, ino, a);
	if (e == 0 && !S_ISREG(a->node.entry.mode))
		e = S_ISDIR(a->node.entry.mode) ? EISDIR : EINVAL;
	return e;
}

/* As the options say: with zeros for what is damaged, and a line about it. */
static int read_file(struct cs_view *v, uint64_t ino, const struct cs_at *a, uint64_t off,
		     size_t len, struct cs_read *out, struct cs_error *err)
{
	uint64_t lost;

	if (!v->opts.zeros)
		return cs_file_read(a->tree, &a->node, off, len, out, err);
	int r = cs_file_read_zeros(a->tree, &a->node, off, len, out, &lost, err);
	if (r == 0 && lost > 0) {
		struct cs_error why = *err;
		cs_fail(err, why.code, "%.900s; %llu bytes from %llu on have zeros for it",
			why.text, (unsigned long long)out->len, (unsigned long long)off);
		cs_view_failed(v, ino, why.code, err);
	}
	return r;
}

int cs_view_read(struct cs_view *v, uint64_t ino, uint64_t off, size_t len,
		 struct cs_view_read *out)
{
	struct cs_at a = { .tree = NULL };
	struct cs_error err;

	ino = cs_view_from_fuse(v, ino);
	int e = file_at(v, ino, &a);
	if (e == 0) {
		int r = read_file(v, ino, &a, off, len, &out->data, &err);
		if (r < 0)
			e = cs_view_failed(v, ino, r, &err);
	}
	if (e == 0) {
		out->tree = a.tree;
		a.tree = NULL;
	}
	cs_view_at_release(v, &a);
	return e;
}

void cs_view_read_release(struct cs_view *v, struct cs_view_read *r)
{
	cs_read_release(&r->data);
	cs_trees_put(v->trees, r->tree);
	r->tree = NULL;
}

int cs_view_seek(struct cs_view *v, uint64_t ino, uint64_t off, bool want_data, uint64_t *out)
{
	struct cs_at a = { .tree = NULL };
	struct cs_error err;

	ino = cs_view_from_fuse(v, ino);
	int e = file_at(v, ino, &a);
	if (e == 0) {
		int r = cs_file_seek(a.tree, &a.node, off, want_data, out, &err);
		if (r == CS_E_NOTFOUND)
			e = ENXIO;
		else if (r < 0)
			e = cs_view_failed(v, ino, r, &err);
	}
	cs_view_at_release(v, &a);
	return e;
}

/* ----------------------------------------------------- extended attributes */

/* The list of an entry, from where it lies: held is ours, or the cache's. */
struct attrs {
	struct cs_xattr_list *list; /* NULL: there are none */
	bool kept;
	struct cs_at at;
};

static void release_attrs(struct cs_view *v, struct attrs *a)
{
	if (a->kept)
		cs_attrs_put(v->attrs, a->list);
	else
		cs_xattr_list_close(a->list);
	cs_view_at_release(v, &a->at);
}

/* Nothing above the points has any. Released by the caller either way. */
static int get_attrs(struct cs_view *v, uint64_t ino, struct attrs *a)
{
	struct cs_error err;

	if (cs_view_is_virtual(v, ino))
		return 0;
	a->list = cs_attrs_get(v->attrs, ino);
	a->kept = a->list != NULL;
	if (a->kept)
		return 0;
	int e = cs_view_at(v, ino, &a->at);
	if (e || !cs_entry_has_xattrs(&a->at.node.entry))
		return e;
	int r = cs_xattr_list_open(a->at.tree, &a->at.node, &a->list, &err);
	if (r < 0)
		return cs_view_failed(v, ino, r, &err);
	a->kept = cs_attrs_add(v->attrs, ino, a->list, a->at.tree);
	if (a->kept)
		a->at.tree = NULL; /* it went along */
	return 0;
}

/* An access list names who may what; with owner= that is not so, and it is not shown. */
static bool is_hidden(const struct cs_view *v, const char *name, size_t len)
{
	static const char prefix[] = "system.posix_acl_";

	return v->opts.map_owner && len >= sizeof(prefix) - 1 &&
	       memcmp(name, prefix, sizeof(prefix) - 1) == 0;
}

int cs_view_getxattr(struct cs_view *v, uint64_t ino, const char *name, char *buf, size_t size,
		     size_t *out_len)
{
	struct attrs a = { .list = NULL };
	struct cs_error err;

	if (is_hidden(v, name, strlen(name)))
		return ENODATA;
	ino = cs_view_from_fuse(v, ino);
	int e = get_attrs(v, ino, &a);
	if (e == 0 && !a.list)
		e = ENODATA;
	if (e == 0) {
		int r = cs_xattr_list_get(a.list, name, buf, size, out_len, &err);
		if (r == CS_E_NOTFOUND)
			e = ENODATA;
		else if (r < 0)
			e = cs_view_failed(v, ino, r, &err);
		else if (size > 0 && *out_len > size)
			e = ERANGE;
	}
	release_attrs(v, &a);
	return e;
}

int cs_view_listxattr(struct cs_view *v, uint64_t ino, char *buf, size_t size, size_t *out_len)
{
	struct attrs a = { .list = NULL };
	size_t need = 0, len;
	const char *name;

	ino = cs_view_from_fuse(v, ino);
	int e = get_attrs(v, ino, &a);
	for (size_t i = 0; e == 0 && a.list && (name = cs_xattr_list_name(a.list, i, &len)); i++) {
		if (is_hidden(v, name, len))
			continue;
		if (size > 0 && len + 1 > size - need) {
			e = ERANGE;
		} else if (size > 0) {
			memcpy(buf + need, name, len);
			buf[need + len] = '\0';
		}
		need += len + 1;
	}
	if (e == 0)
		*out_len = need;
	release_attrs(v, &a);
	return e;
}

int cs_view_flags(struct cs_view *v, uint64_t ino, struct cs_view_flags *out)
{
	struct cs_at a = { .tree = NULL };

	ino = cs_view_from_fuse(v, ino);
	if (cs_view_is_virtual(v, ino))
		return ENOTTY;
	int e = cs_view_at(v, ino, &a);
	if (e == 0) {
		const struct cs_entry *n = &a.node.entry;
		out->has_flags = n->have & CS_HAVE_FLAGS;
		out->has_projid = n->have & CS_HAVE_PROJID;
		out->flags = out->has_flags ? n->flags : 0;
		out->projid = out->has_projid ? n->projid : 0;
	}
	cs_view_at_release(v, &a);
	return e;
}

int cs_view_statfs(struct cs_view *v, struct statvfs *out)
{
	struct stat st;

	memset(out, 0, sizeof(*out));
	out->f_bsize = out->f_frsize = CS_VIEW_BLOCK;
	out->f_namemax = CS_VIEW_NAME_MAX;
	out->f_flag = ST_RDONLY;
	/* As full as a read-only medium: what the store occupies, and nothing free. */
	if (stat(v->data_path, &st) == 0)
		out->f_blocks = (fsblkcnt_t)(st.st_blocks * 512 / CS_VIEW_BLOCK);
	return 0;
}
