/* SPDX-License-Identifier: MIT */
/*
 * walk.h - looking at a source: names, attributes, extended attributes. All
 * calls are relative to an open directory and never follow a symlink, so that
 * paths of any length work and nobody can lead a backup astray.
 */
#ifndef CS_WALK_H
#define CS_WALK_H

#include "buf.h"
#include "chunkstore.h"
#include "sorter.h"
#include "xattr.h"

/*
 * All names of the directory fd into out, each with its NUL. *read_errno: 0, or
 * why there may be more. A negative code: they could not be kept.
 */
int cs_walk_names(int fd, struct cs_sorter *out, int *read_errno,
		  struct cs_error *err) CS_MUST_CHECK;

struct cs_source_stat {
	uint32_t dev_major, dev_minor;
};
/* Attributes of name in dirfd ("" is dirfd itself); not its name, content or xattrs. 0 or an errno. */
int cs_walk_stat(int dirfd, const char *name, struct cs_entry *out, struct cs_source_stat *st);
/* Open for reading, without touching atime where allowed. Descriptor, or -errno. */
int cs_walk_open(int dirfd, const char *name, int flags);
/* chattr flags and project id, where the file system has them. */
void cs_walk_flags(int fd, struct cs_entry *e);

/*
 * Extended attributes, sorted, every value in full: of fd, or (fd < 0) of name
 * in dirfd. Sets CS_HAVE_XATTRS in *have if the file system has any notion of
 * them. items borrow from b, and are *n in number; free(*items). 0 or an errno.
 */
int cs_walk_xattrs(int fd, int dirfd, const char *name, struct cs_buf *b,
		   struct cs_xattr_item **items, size_t *n, uint32_t *have);
/* Kernel interfaces that look like files (proc, sysfs, ...) are not worth a backup. */
bool cs_walk_pseudo_fs(uint32_t fs_type);

#endif
