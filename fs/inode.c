/* SPDX-License-Identifier: MIT */
/*
 * inode.c - how things in the mount are numbered.
 *
 * Three numbers meet in a FUSE file system: the node id by which the kernel
 * talks to us, the generation that makes a reused node id a new one, and the
 * inode number that stat(2) shows. Here they are one number, computed from
 * what it names and never allocated:
 *
 *	 63            40 39                                   0
 *	+----------------+--------------------------------------+
 *	|  seq (24 bits) |  position in the point (40 bits)     |   seq > 0
 *	+----------------+---------------+----------------------+
 *	|  0             |  kind (8)     |  id (32)             |   seq = 0
 *	+----------------+---------------+----------------------+
 *	|  0             |  1 | hash of the tag (39)            |   by-tag/TAG
 *	+----------------+---------------+----------------------+
 *
 * In a point, seq is its sequence number in the store, and the position counts
 * the entries before this one in pre-order: 0 is the root. The store turns a
 * path into a position and a position into an entry (cs_tree_child,
 * cs_tree_at). Above the points, seq is 0; kind and id say which virtual
 * directory or symlink it is.
 *
 * A tag has no number in the store, only its bearers have, and they come and
 * go. So the number of its directory is a hash of its text. Should two tags have
 * one, the later in the order of their names takes the next number (listing.c).
 *
 * Why so:
 *
 * - No table. A table from number to entry would grow with every file that
 *   anybody ever looked at, or need exact book-keeping of the kernel's
 *   references. Computed, a number costs nothing, FORGET only counts down
 *   (holds.c), and an NFS file handle works after the daemon was restarted.
 * - The same after every remount, and on every machine that mounts the store:
 *   points are immutable and seqs are never reused, so the pair never means
 *   anything else. That is why the generation can be fixed.
 * - Unique across points. If two points gave a file the same number, a single
 *   cp -a over both would take every file with two names for one file, and
 *   link copies of different contents together.
 *
 * Hard links: all names of a group answer with the position of the group's
 * first member (cs_node_identity), so they share one number, one attribute
 * set and one page cache.
 *
 * The root: FUSE fixes its node id at 1, which is kind 0, id 1 in the scheme
 * above. When one point is mounted alone, node id 1 stands for that point's
 * root (view.c translates both ways); everything below keeps its number.
 *
 * Limits: 2^24 points in the life of a store and 2^40 entries in a point.
 * Beyond them cs_inode_point says 0, and the caller fails with EOVERFLOW.
 *
 * A symlink's number names its target (the point), not its place: when
 * SERIES/latest moves on, it becomes another inode. What the kernel cached of
 * the old one stays true for ever, and only the name has to be dropped.
 */
#include "inode.h"

uint64_t cs_inode_point(uint64_t seq, uint64_t pos)
{
	if (seq == 0 || seq > CS_INODE_SEQ_MAX || pos > CS_INODE_POS_MAX)
		return 0;
	return seq << CS_INODE_POS_BITS | pos;
}

uint64_t cs_inode_virtual(int kind, uint32_t id)
{
	return (uint64_t)(unsigned)kind << 32 | id;
}

#define TAG_BIT (UINT64_C(1) << CS_INODE_HASH_BITS)

uint64_t cs_inode_tag(uint64_t n)
{
	return TAG_BIT | (n & (TAG_BIT - 1));
}

struct cs_inode cs_inode_decode(uint64_t ino)
{
	struct cs_inode i = { .seq = ino >> CS_INODE_POS_BITS };

	if (i.seq > 0) {
		i.pos = ino & CS_INODE_POS_MAX;
	} else if (ino & TAG_BIT) {
		i.kind = CS_KIND_TAG;
		i.id = ino & (TAG_BIT - 1);
	} else {
		i.kind = (int)(ino >> 32);
		i.id = (uint32_t)ino;
	}
	return i;
}
