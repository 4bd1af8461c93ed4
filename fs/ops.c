/* SPDX-License-Identifier: MIT */
/*
 * ops.c - the FUSE callbacks.
 *
 * Each callback asks the view one question and ends in finish(), the one place
 * that replies: so every request is answered exactly once, and an error can
 * only leave as what the view said.
 *
 * The kernel is asked to do the work. Points never change, so their entries,
 * attributes, contents, listings, symlinks and missing names are all kept for
 * ever; open and opendir are answered by ENOSYS once, after which the kernel
 * opens without asking; there is no flush or release to be told about. What is
 * in use is known from the references that replies give and FORGET gives back.
 * What may change, above the points, is kept as long, and taken back by
 * watch.c when it does change.
 *
 * That listings are kept without end rests on AUTO_INVAL_DATA and on moving
 * mtimes of the directories above the points: without either, a kept listing
 * stays stale for ever.
 *
 * POSIX_ACL is on because the mode alone says too much: with an ACL, its group
 * bits are the mask, not what the group may do. The kernel checks the lists. With
 * owner= it is off: then the modes that the view shows say all there is to say.
 */
#define FUSE_USE_VERSION 314
#include "ops.h"

#include "inode.h"
#include "loop.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>

#define SMALL_ANSWER ((size_t)64 << 10) /* bytes: waiting takes longer than copying */

/* ------------------------------------------------------------- the one reply */

enum reply_kind {
	REPLY_ERRNO, /* only an error, or plain success */
	REPLY_ENTRY,
	REPLY_ATTR,
	REPLY_OPEN,
	REPLY_TEXT, /* a symlink's target */
	REPLY_DATA,
	REPLY_IOV,
	REPLY_COUNT, /* bytes an attribute or a list of them needs */
	REPLY_STATFS,
	REPLY_OFFSET,
	REPLY_IOCTL,
};

struct reply {
	enum reply_kind kind;
	union {
		struct cs_view_entry entry;
		struct stat attr;
		struct fuse_file_info *open;
		const char *text;
		struct {
			const void *p;
			size_t len;
		} data; /* DATA, IOCTL */
		struct {
			const struct iovec *v;
			size_t n, len;
		} iov;
		size_t count;
		struct statvfs statfs;
		uint64_t offset;
	};
};

static struct fuse_entry_param param_of(const struct cs_view_entry *e)
{
	struct fuse_entry_param p = { .ino = e->ino, .generation = 1, .attr = e->st };

	p.entry_timeout = p.attr_timeout = e->forever ? CS_OPS_FOREVER : 0;
	return p;
}

/* The pieces as they lie in the cache, unless they are more than writev takes. */
static int reply_iov(fuse_req_t req, const struct reply *r)
{
	if (r->iov.n < IOV_MAX)
		return fuse_reply_iov(req, r->iov.v, (int)r->iov.n);
	char *all = malloc(r->iov.len), *p = all;
	if (!all)
		return fuse_reply_err(req, ENOMEM);
	for (size_t i = 0; i < r->iov.n; i++)
		p = mempcpy(p, r->iov.v[i].iov_base, r->iov.v[i].iov_len);
	int sent = fuse_reply_buf(req, all, r->iov.len);
	free(all);
	return sent;
}

/* 0, or negative when the kernel did not take it: nobody waits for it any more. */
static int answer(fuse_req_t req, int error, const struct reply *r)
{
	struct fuse_entry_param p;

	if (error)
		return fuse_reply_err(req, error);
	switch (r->kind) {
	case REPLY_ERRNO:
		break;
	case REPLY_ENTRY:
		p = param_of(&r->entry);
		return fuse_reply_entry(req, &p);
	case REPLY_ATTR:
		return fuse_reply_attr(req, &r->attr, CS_OPS_FOREVER);
	case REPLY_OPEN:
		return fuse_reply_open(req, r->open);
	case REPLY_TEXT:
		return fuse_reply_readlink(req, r->text);
	case REPLY_DATA:
		return fuse_reply_buf(req, r->data.p, r->data.len);
	case REPLY_IOV:
		return reply_iov(req, r);
	case REPLY_COUNT:
		return fuse_reply_xattr(req, r->count);
	case REPLY_STATFS:
		return fuse_reply_statfs(req, &r->statfs);
	case REPLY_OFFSET:
		return fuse_reply_lseek(req, (off_t)r->offset);
	case REPLY_IOCTL:
		return fuse_reply_ioctl(req, 0, r->data.p, r->data.len);
	}
	return fuse_reply_err(req, 0);
}

static struct cs_ops *ops_of(fuse_req_t req)
{
	return fuse_req_userdata(req);
}

/* The one place where a request ends. False: the kernel did not take the answer. */
static bool finish(fuse_req_t req, int error, const struct reply *r)
{
	struct cs_ops *ops = ops_of(req);
	size_t bytes = !error && r && r->kind == REPLY_IOV ? r->iov.len : 0;
	bool taken = answer(req, error, r) == 0;

	cs_view_answered(ops->view);
	if (bytes <= SMALL_ANSWER)
		cs_awake_answered(ops->awake);
	return taken;
}

/* ------------------------------------------------------------------ session */

static void want(struct fuse_conn_info *conn, unsigned flags)
{
	conn->want |= conn->capable & flags;
}

static void op_init(void *userdata, struct fuse_conn_info *conn)
{
	struct cs_ops *o = userdata;

	o->no_open = conn->capable & FUSE_CAP_NO_OPEN_SUPPORT;
	o->no_opendir = conn->capable & FUSE_CAP_NO_OPENDIR_SUPPORT;
	want(conn, FUSE_CAP_ASYNC_READ | FUSE_CAP_AUTO_INVAL_DATA | FUSE_CAP_PARALLEL_DIROPS |
			   FUSE_CAP_READDIRPLUS | FUSE_CAP_CACHE_SYMLINKS |
			   FUSE_CAP_EXPORT_SUPPORT | FUSE_CAP_IOCTL_DIR);
	if (!o->no_acls)
		want(conn, FUSE_CAP_POSIX_ACL);
	/* Always with attributes; and no truncation on open that we would not see. */
	conn->want &= ~(unsigned)(FUSE_CAP_READDIRPLUS_AUTO | FUSE_CAP_ATOMIC_O_TRUNC |
				  FUSE_CAP_SPLICE_READ);
	conn->max_read = CS_OPS_IO_MAX;  /* as in the mount options */
	conn->max_write = CS_OPS_IO_MAX; /* this sets max_pages, for READ as well */
	conn->max_background = 64;
	conn->congestion_threshold = 48;
}

/* ----------------------------------------------------------- names, attributes */

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct cs_view *v = ops_of(req)->view;
	struct reply r = { .kind = REPLY_ENTRY };

	cs_view_begin(v);
	int e = cs_view_lookup(v, parent, name, &r.entry);
	bool found = e == 0;
	if (e == ENOENT && r.entry.forever) {
		r.entry.ino = 0; /* "there is none", to be kept */
		e = 0;
	}
	if (!finish(req, e, &r) && found)
		cs_view_forget(v, r.entry.ino, 1);
	cs_view_end(v);
}

static void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t nlookup)
{
	cs_view_forget(ops_of(req)->view, ino, nlookup);
	fuse_reply_none(req);
}

static void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
	struct cs_view *v = ops_of(req)->view;

	for (size_t i = 0; i < count;) {
		uint64_t ino = forgets[i].ino, n = forgets[i].nlookup;
		/* neighbours are mostly of one point */
		while (++i < count && cs_inode_same_point(forgets[i].ino, ino))
			n += forgets[i].nlookup;
		cs_view_forget(v, ino, n);
	}
	fuse_reply_none(req);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct cs_view *v = ops_of(req)->view;
	struct reply r = { .kind = REPLY_ATTR };

	(void)fi;
	cs_view_begin(v);
	finish(req, cs_view_getattr(v, ino, &r.attr), &r);
	cs_view_end(v);
}

static void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	char target[CS_VIEW_LINK_MAX];
	struct reply r = { .kind = REPLY_TEXT, .text = target };

	finish(req, cs_view_readlink(ops_of(req)->view, ino, target), &r);
}

static void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	struct reply r = { .kind = REPLY_STATFS };

	(void)ino;
	finish(req, cs_view_statfs(ops_of(req)->view, &r.statfs), &r);
}

/* ---------------------------------------------------------------- directories */

static void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct reply r = { .kind = REPLY_OPEN, .open = fi };

	(void)ino;
	fi->keep_cache = 1;
	fi->cache_readdir = 1;
	finish(req, ops_of(req)->no_opendir ? ENOSYS : 0, &r);
}

struct dirbuf {
	fuse_req_t req;
	char *p;
	size_t len, cap;
	uint64_t listed; /* children up to the end of this reply */
	uint64_t last;   /* inode of the last one that is not a hard link; 0: none */
	uint64_t given;  /* how many the kernel will refer to */
	uint64_t one;    /* of them */
	bool full;
};

static bool add_dirent(void *arg, const struct cs_view_dirent *d)
{
	struct dirbuf *b = arg;
	struct fuse_entry_param p = param_of(&d->entry);
	size_t n = fuse_add_direntry_plus(b->req, b->p + b->len, b->cap - b->len, d->name, &p,
					  (off_t)d->next);

	if (n > b->cap - b->len) {
		b->full = true;
		return false;
	}
	b->len += n;
	if (d->entry.ino && !cs_inode_is_virtual(d->entry.ino)) {
		b->given++;
		b->one = d->entry.ino;
	}
	if (d->next > 2) {
		b->listed = d->next - 2;
		if (d->entry.ino && (d->entry.st.st_nlink == 1 || S_ISDIR(d->entry.st.st_mode)))
			b->last = d->entry.ino;
	}
	return true;
}

static void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
			   struct fuse_file_info *fi)
{
	struct cs_ops *o = ops_of(req);
	struct dirbuf b = { .req = req, .cap = size, .p = malloc(size) };
	struct reply r = { .kind = REPLY_DATA };
	int e = ENOMEM;

	(void)fi;
	cs_view_begin(o->view);
	if (b.p)
		e = cs_view_readdir(o->view, ino, (uint64_t)off, add_dirent, &b);
	if (b.len > 0)
		e = 0; /* what was read before the damage; the next request meets it first */
	if (e == 0 && b.given > 0)
		e = cs_view_refer(o->view, b.one, b.given);
	r.data.p = b.p;
	r.data.len = b.len;
	if (!finish(req, e, &r) && e == 0)
		cs_view_forget(o->view, b.one, b.given);
	cs_view_end(o->view);
	if (e == 0 && b.last)
		cs_push_was_listed(o->push, ino, b.listed, b.last, !b.full);
	free(b.p);
}

/* -------------------------------------------------------------------- content */

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct reply r = { .kind = REPLY_OPEN, .open = fi };
	int e = 0;

	(void)ino;
	if ((fi->flags & O_ACCMODE) != O_RDONLY)
		e = EROFS;
	else if (ops_of(req)->no_open)
		e = ENOSYS;
	fi->keep_cache = 1;
	finish(req, e, &r);
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t off,
		    struct fuse_file_info *fi)
{
	struct cs_ops *o = ops_of(req);
	struct cs_view_read data = { .tree = NULL };
	struct reply r = { .kind = REPLY_IOV };

	(void)fi;
	if (size > SMALL_ANSWER)
		cs_loop_hand_over();
	int e = cs_view_read(o->view, ino, (uint64_t)off, size, &data);
	r.iov.v = data.data.iov;
	r.iov.n = data.data.niov;
	r.iov.len = data.data.len;
	finish(req, e, &r);
	cs_view_read_release(o->view, &data);
	if (e == 0)
		cs_push_was_read(o->push, ino, (uint64_t)off);
}

static void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t off, int whence,
		     struct fuse_file_info *fi)
{
	struct reply r = { .kind = REPLY_OFFSET };
	int e = EINVAL;

	(void)fi;
	if (off < 0)
		e = ENXIO;
	else if (whence == SEEK_DATA || whence == SEEK_HOLE)
		e = cs_view_seek(ops_of(req)->view, ino, (uint64_t)off, whence == SEEK_DATA,
				 &r.offset);
	finish(req, e, &r);
}

/* ---------------------------------------------------------- extended attributes */

typedef int xattr_fn(struct cs_view *v, uint64_t ino, const char *name, char *buf, size_t size,
		     size_t *out_len);

static int get_status(struct cs_view *v, uint64_t ino, const char *name, char *buf, size_t size,
		      size_t *out_len)
{
	(void)ino;
	(void)name;
	return cs_view_status(v, buf, size, out_len);
}

static int list_names(struct cs_view *v, uint64_t ino, const char *name, char *buf, size_t size,
		      size_t *out_len)
{
	(void)name;
	return cs_view_listxattr(v, ino, buf, size, out_len);
}

static void answer_xattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size,
			 xattr_fn *fn)
{
	struct cs_view *v = ops_of(req)->view;
	struct reply r = { .kind = size ? REPLY_DATA : REPLY_COUNT };
	char *buf = NULL;
	size_t len = 0;
	int e;

	if (cs_view_without_xattrs(v) && fn != get_status) {
		e = ENOSYS; /* and the kernel asks no more, for the whole mount */
	} else if (size > 0 && !(buf = malloc(size))) {
		e = ENOMEM;
	} else {
		e = fn(v, ino, name, buf, size, &len);
	}
	if (size > 0) {
		r.data.p = buf;
		r.data.len = len;
	} else {
		r.count = len;
	}
	finish(req, e, &r);
	free(buf);
}

static void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	bool status = cs_view_is_status(ino, name, fuse_req_ctx(req)->uid);

	answer_xattr(req, ino, name, size, status ? get_status : cs_view_getxattr);
}

static void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	answer_xattr(req, ino, NULL, size, list_names);
}

/* --------------------------------------------------------------- inode flags */

static uint32_t xflags_of(uint32_t flags)
{
	static const uint32_t map[][2] = {
		{ FS_SYNC_FL, FS_XFLAG_SYNC },     { FS_IMMUTABLE_FL, FS_XFLAG_IMMUTABLE },
		{ FS_APPEND_FL, FS_XFLAG_APPEND }, { FS_NODUMP_FL, FS_XFLAG_NODUMP },
		{ FS_NOATIME_FL, FS_XFLAG_NOATIME }, { FS_DAX_FL, FS_XFLAG_DAX },
		{ FS_PROJINHERIT_FL, FS_XFLAG_PROJINHERIT },
	};
	uint32_t x = 0;

	for (size_t i = 0; i < sizeof(map) / sizeof(map[0]); i++)
		if (flags & map[i][0])
			x |= map[i][1];
	return x;
}

static void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned int cmd, void *arg,
		     struct fuse_file_info *fi, unsigned flags, const void *in_buf, size_t in_bufsz,
		     size_t out_bufsz)
{
	struct reply r = { .kind = REPLY_IOCTL };
	struct cs_view_flags f = { .has_flags = false };
	struct fsxattr x = { .fsx_xflags = 0 };
	int e = ENOTTY;

	(void)arg;
	(void)fi;
	(void)flags;
	(void)in_buf;
	(void)in_bufsz;
	if (cmd == FS_IOC_GETFLAGS && out_bufsz >= sizeof(f.flags)) {
		e = cs_view_flags(ops_of(req)->view, ino, &f);
		if (e == 0 && !f.has_flags)
			e = ENOTTY;
		r.data.p = &f.flags;
		r.data.len = sizeof(f.flags);
	} else if (cmd == FS_IOC_FSGETXATTR && out_bufsz >= sizeof(x)) {
		e = cs_view_flags(ops_of(req)->view, ino, &f);
		if (e == 0 && !f.has_flags && !f.has_projid)
			e = ENOTTY;
		x.fsx_xflags = xflags_of(f.flags);
		x.fsx_projid = f.projid;
		r.data.p = &x;
		r.data.len = sizeof(x);
	} else if (cmd == FS_IOC_SETFLAGS || cmd == FS_IOC_FSSETXATTR) {
		e = EROFS;
	}
	finish(req, e, &r);
}

/* ---------------------------------------------------- what would change something */

/*
 * The mount is read-only, so the kernel refuses all this itself; these are for
 * when somebody remounts it writable. Their parameters after the request do
 * not matter, but their types do.
 */
static void refuse(fuse_req_t req)
{
	finish(req, EROFS, NULL);
}

static void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int to_set,
		       struct fuse_file_info *fi)
{
	(void)ino, (void)attr, (void)to_set, (void)fi;
	refuse(req);
}

static void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t rdev)
{
	(void)parent, (void)name, (void)mode, (void)rdev;
	refuse(req);
}

static void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	(void)parent, (void)name, (void)mode;
	refuse(req);
}

static void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	(void)parent, (void)name;
	refuse(req);
}

static void op_symlink(fuse_req_t req, const char *link, fuse_ino_t parent, const char *name)
{
	(void)link, (void)parent, (void)name;
	refuse(req);
}

static void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t newparent,
		      const char *newname, unsigned int flags)
{
	(void)parent, (void)name, (void)newparent, (void)newname, (void)flags;
	refuse(req);
}

static void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t newparent, const char *newname)
{
	(void)ino, (void)newparent, (void)newname;
	refuse(req);
}

static void op_write(fuse_req_t req, fuse_ino_t ino, const char *buf, size_t size, off_t off,
		     struct fuse_file_info *fi)
{
	(void)ino, (void)buf, (void)size, (void)off, (void)fi;
	refuse(req);
}

static void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
		      struct fuse_file_info *fi)
{
	(void)parent, (void)name, (void)mode, (void)fi;
	refuse(req);
}

static void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name, const char *value,
			size_t size, int flags)
{
	(void)ino, (void)name, (void)value, (void)size, (void)flags;
	refuse(req);
}

static void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	(void)ino, (void)name;
	refuse(req);
}

static void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset, off_t length,
			 struct fuse_file_info *fi)
{
	(void)ino, (void)mode, (void)offset, (void)length, (void)fi;
	refuse(req);
}

static void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t off_in,
			       struct fuse_file_info *fi_in, fuse_ino_t ino_out, off_t off_out,
			       struct fuse_file_info *fi_out, size_t len, int flags)
{
	(void)ino_in, (void)off_in, (void)fi_in, (void)ino_out, (void)off_out, (void)fi_out;
	(void)len, (void)flags;
	refuse(req);
}

/* No flush, release or access: libfuse's own answers to them are what we want. */
static const struct fuse_lowlevel_ops table = {
	.init = op_init,
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.readlink = op_readlink,
	.statfs = op_statfs,
	.opendir = op_opendir,
	.readdirplus = op_readdirplus,
	.open = op_open,
	.read = op_read,
	.lseek = op_lseek,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.ioctl = op_ioctl,
	.setattr = op_setattr,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_unlink,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.write = op_write,
	.create = op_create,
	.setxattr = op_setxattr,
	.removexattr = op_removexattr,
	.fallocate = op_fallocate,
	.copy_file_range = op_copy_file_range,
};

const struct fuse_lowlevel_ops *cs_ops_table(size_t *out_size)
{
	*out_size = sizeof(table);
	return &table;
}
