/* SPDX-License-Identifier: MIT */
/*
 * view.h - the file system as plain functions: what FUSE asks, answered
 * without FUSE. See view.c.
 *
 * Functions return 0 or a positive errno, as a file system speaks. All may be
 * called from any thread. Inode numbers are those of inode.c.
 */
#ifndef CS_VIEW_H
#define CS_VIEW_H

#include "store/chunkstore.h"

#include <sys/statvfs.h>

struct cs_view;

struct cs_view_opts {
	const char *point; /* SERIES/NAME: the mount's root is that point's; NULL: all points */
	const char *series; /* the mount's root is that series'; NULL: all series */
	/*
	 * Trees as of a time: a series' newest point begun then or before. With
	 * series it is chosen once, and the mount's root is that tree.
	 */
	bool has_at;
	struct cs_time at;
	bool map_owner;    /* everything belongs to uid and gid, and uid may read it */
	uid_t uid;
	gid_t gid;
	bool zeros; /* content that cannot be read is shown as zeros; else as EIO */
	/* One line about a damaged file, without newline. NULL: silence. */
	void (*log)(void *arg, const char *line);
	void *log_arg;
};

/* store is borrowed until close. Fails with a negative enum cs_code, unlike all others here. */
int cs_view_open(struct cs_store *store, const struct cs_view_opts *opts, struct cs_view **out,
		 struct cs_error *err) CS_MUST_CHECK;
void cs_view_close(struct cs_view *v);
/* True when one point is mounted and nothing in it has extended attributes. */
bool cs_view_without_xattrs(const struct cs_view *v);

/*
 * A request that gives away entries or attributes stands between begin and end,
 * its reply included; cs_view_refresh waits for those under way.
 */
void cs_view_begin(struct cs_view *v);
void cs_view_end(struct cs_view *v);

struct cs_view_entry {
	uint64_t ino;  /* 0 in listings: only the number (st.st_ino) and the type are known */
	bool forever;  /* stays so until cs_view_refresh says otherwise */
	struct stat st;
};

/*
 * Who was given an entry refers to it until it is given back: everything in a
 * point stays readable as long as anybody refers to anything in it. A lookup
 * takes the reference itself; n entries of a listing, all of one point, are
 * taken by cs_view_refer before they are given. Above the points, and for the
 * root, nothing is counted.
 */
int cs_view_refer(struct cs_view *v, uint64_t ino, uint64_t n) CS_MUST_CHECK;
void cs_view_forget(struct cs_view *v, uint64_t ino, uint64_t n);
/* One reference more to something that may have been given back. False: it was. */
bool cs_view_join(struct cs_view *v, uint64_t ino) CS_MUST_CHECK;

int cs_view_getattr(struct cs_view *v, uint64_t ino, struct stat *out) CS_MUST_CHECK;
/*
 * Knows "." and "..". 0: out->ino has been referred to once more. ENOENT:
 * out->forever says whether that can change.
 */
int cs_view_lookup(struct cs_view *v, uint64_t parent, const char *name,
		   struct cs_view_entry *out) CS_MUST_CHECK;

struct cs_view_dirent {
	const char *name;
	uint64_t next; /* offset to go on from behind this entry */
	struct cs_view_entry entry;
};
/* False: no more, this one was not taken. */
typedef bool cs_view_dirent_fn(void *arg, const struct cs_view_dirent *d);
/* From offset (0: the start) to the end or until fn refuses. May fail after some entries. */
int cs_view_readdir(struct cs_view *v, uint64_t ino, uint64_t offset, cs_view_dirent_fn *fn,
		    void *arg) CS_MUST_CHECK;

#define CS_VIEW_LINK_MAX 4096 /* with the NUL */
int cs_view_readlink(struct cs_view *v, uint64_t ino, char out[CS_VIEW_LINK_MAX]) CS_MUST_CHECK;

/* Content, held until cs_view_read_release. Zero-initialise. */
struct cs_view_read {
	struct cs_read data;
	struct cs_tree *tree;
};
int cs_view_read(struct cs_view *v, uint64_t ino, uint64_t off, size_t len,
		 struct cs_view_read *out) CS_MUST_CHECK;
void cs_view_read_release(struct cs_view *v, struct cs_view_read *r);
/* As lseek's SEEK_DATA and SEEK_HOLE. */
int cs_view_seek(struct cs_view *v, uint64_t ino, uint64_t off, bool want_data,
		 uint64_t *out) CS_MUST_CHECK;

/* As getxattr(2) and listxattr(2): size 0 asks for *out_len only. */
int cs_view_getxattr(struct cs_view *v, uint64_t ino, const char *name, char *buf, size_t size,
		     size_t *out_len) CS_MUST_CHECK;
int cs_view_listxattr(struct cs_view *v, uint64_t ino, char *buf, size_t size,
		      size_t *out_len) CS_MUST_CHECK;

/*
 * What the mount tells of itself, as getxattr(2) does, under a name that
 * listxattr does not tell. Is it that question? asker: the user who asks.
 */
#define CS_VIEW_STATUS "user.chunkfs.status"
bool cs_view_is_status(uint64_t ino, const char *name, uid_t asker);
int cs_view_status(struct cs_view *v, char *buf, size_t size, size_t *out_len) CS_MUST_CHECK;
/* A request was answered: count it. */
void cs_view_answered(struct cs_view *v);

/* Inode flags and project id as recorded. ENOTTY: above the points. */
struct cs_view_flags {
	bool has_flags, has_projid;
	uint32_t flags, projid;
};
int cs_view_flags(struct cs_view *v, uint64_t ino, struct cs_view_flags *out) CS_MUST_CHECK;

int cs_view_statfs(struct cs_view *v, struct statvfs *out) CS_MUST_CHECK;

/*
 * Go through what was given away above the points after the store changed, and
 * say what no longer holds. With less hurry, now and then, sweep what the kernel
 * keeps of points that went. Not from a thread that serves requests, and both
 * from the same one.
 */
struct cs_view_drop {
	/* False: it was not known. */
	bool (*name)(void *arg, uint64_t parent, const char *name);
	void (*dir)(void *arg, uint64_t ino); /* its attributes and its listing */
	void *arg;
};
void cs_view_refresh(struct cs_view *v, const struct cs_view_drop *drop);
void cs_view_sweep(struct cs_view *v, const struct cs_view_drop *drop);

#endif
