/* SPDX-License-Identifier: MIT */
/* inode.h - inode numbers: how one is made, and what it says. See inode.c. */
#ifndef CS_INODE_H
#define CS_INODE_H

#include <stdbool.h>
#include <stdint.h>

#define CS_INODE_POS_BITS 40 /* low bits: position in a point, or kind and id */
#define CS_INODE_SEQ_MAX ((UINT64_C(1) << 24) - 1)
#define CS_INODE_POS_MAX ((UINT64_C(1) << CS_INODE_POS_BITS) - 1)
#define CS_INODE_TAG_BITS 5   /* of an id: which of a point's tags */
#define CS_INODE_HASH_BITS 39 /* of a tag's number */

#define CS_INODE_ROOT UINT64_C(1) /* the root of the mount, as FUSE has it */

/* What a virtual inode is. The values are part of the number: never renumber. */
enum cs_inode_kind {
	CS_KIND_ROOT,	  /* directory; id 1 */
	CS_KIND_SERIES,	  /* directory; id: the series' id */
	CS_KIND_LATEST,	  /* symlink SERIES/latest; id: seq of the point it names */
	CS_KIND_BY_ID,	  /* directory; id 0 */
	CS_KIND_BY_TAG,	  /* directory; id 0 */
	CS_KIND_BY_LEVEL, /* directory by-consistency; id 0 */
	CS_KIND_TAG,   /* directory by-tag/TAG; id: the tag's number; see cs_inode_tag */
	CS_KIND_LEVEL, /* directory by-consistency/LEVEL; id: enum cs_consistency */
	CS_KIND_ID_LINK, /* symlink by-id/ID; id: seq */
	CS_KIND_TAG_LINK,   /* symlink by-tag/TAG/POINT; id: seq << 5 | index of the tag */
	CS_KIND_LEVEL_LINK, /* symlink by-consistency/LEVEL/POINT; id: seq */
};

/* An inode number taken apart. */
struct cs_inode {
	uint64_t seq; /* of the point; 0: a virtual inode */
	uint64_t pos; /* points: position in the tree */
	int kind;     /* virtual: enum cs_inode_kind */
	uint64_t id;  /* virtual */
};

/* The number of an entry of a point; 0 when it has none (seq or pos too large). */
uint64_t cs_inode_point(uint64_t seq, uint64_t pos);
/* The number of a virtual directory or symlink. */
uint64_t cs_inode_virtual(int kind, uint32_t id);
/* The number of the directory by-tag/TAG; n has CS_INODE_HASH_BITS. */
uint64_t cs_inode_tag(uint64_t n);
struct cs_inode cs_inode_decode(uint64_t ino);
/* In one point, or both above the points. */
static inline bool cs_inode_same_point(uint64_t a, uint64_t b)
{
	return a >> CS_INODE_POS_BITS == b >> CS_INODE_POS_BITS;
}

/* True for numbers above the points: what may change under a mount. */
static inline bool cs_inode_is_virtual(uint64_t ino)
{
	return ino >> CS_INODE_POS_BITS == 0;
}

#endif
