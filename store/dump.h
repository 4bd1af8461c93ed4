/* SPDX-License-Identifier: MIT */
/*
 * dump.h - the canonical text of an entry, and the digest that is made of it.
 *
 * One line an entry, fields separated by one space, "-" for what is unknown or
 * does not apply:
 *   type (f d l c b p s), mode (octal, without type), uid, gid, nlink, size,
 *   data bytes, mtime, ctime, atime, btime (seconds.nanoseconds, the seconds
 *   rounded down), inode, volume, device (major:minor), flags (hex), project
 *   id, content, xattrs (name=hex,... or name=#hash:length for long values; 0:
 *   none; '=' and ',' of a name are escaped too), path (escaped)
 * content: a file's XXH3-128 (a hole counts as its length, 8 bytes
 * little-endian), a directory's digest, a symlink's target.
 *
 * A directory's digest is the XXH3-128 of its children's lines in name order,
 * each with its name for a path and a newline at its end; an empty directory's
 * is that of no bytes. The point's digest is that of its root's line, with an
 * empty path. So a digest follows from the dump alone, and a subtree that did
 * not change costs nothing.
 */
#ifndef CS_DUMP_H
#define CS_DUMP_H

#include "buf.h"
#include "entry.h"
#include "err.h"
#include "xattr.h"

/*
 * Append the line of e, without newline. content: hash of a regular file's
 * content (ignored for other types). xattrs: its unpacked list.
 */
void cs_dump_line(struct cs_buf *b, const struct cs_entry *e, const struct cs_hash *content,
		  const struct cs_xattr_item *xattrs, size_t nxattrs, const char *path,
		  size_t path_len);

#endif
