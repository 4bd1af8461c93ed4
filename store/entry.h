/* SPDX-License-Identifier: MIT */
/*
 * entry.h - what is known about one file, directory or device of a point.
 *
 * Plain values shared by every layer and by the programs. An entry that comes
 * out of the store borrows its name, bytes and xattrs from the tree page it
 * was unpacked from; struct cs_node (chunkstore.h) holds that page.
 */
#ifndef CS_ENTRY_H
#define CS_ENTRY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#define CS_HASH_SIZE 16

/* XXH3-128, canonical (big-endian) bytes. Trusted for speed, never for identity. */
struct cs_hash {
	uint8_t b[CS_HASH_SIZE];
};

/* Seconds since 1970 (negative before) and 0..999999999 nanoseconds after them. */
struct cs_time {
	int64_t sec;
	uint32_t nsec;
};

/*
 * A chunk's number: bundle number << 16 | slot. Bundles count from 1, so 0
 * means "none".
 */
typedef uint64_t cs_chunk;

/* A sequence of items kept in pages: the root page and how many index levels
 * lie above the leaf pages (0: the root is the only leaf). */
struct cs_pages {
	cs_chunk root; /* 0: the sequence is empty */
	uint8_t level;
};

/* What lies below a directory, itself not counted. */
struct cs_totals {
	uint64_t entries; /* all entries at any depth */
	uint64_t bytes;   /* sum of the sizes of regular files */
	uint64_t links;   /* entries that are hard links (nlink > 1, not directories) */
	uint64_t xattrs;  /* entries that have extended attributes */
};

/* What the source could tell; an attribute without its bit is unknown, not zero. */
enum cs_have {
	CS_HAVE_BTIME = 1 << 0,
	CS_HAVE_FLAGS = 1 << 1,
	CS_HAVE_PROJID = 1 << 2,
	CS_HAVE_XATTRS = 1 << 3,
};

/* How the content of a regular file is kept. */
enum cs_content {
	CS_CONTENT_NONE,    /* empty file, or not a regular file */
	CS_CONTENT_INLINE,  /* in the entry: bytes */
	CS_CONTENT_CHUNK,   /* one chunk, the whole file: chunk */
	CS_CONTENT_EXTENTS, /* packed extents in the entry: bytes */
	CS_CONTENT_PAGES,   /* extents in pages of their own: extents */
};

struct cs_entry {
	const char *name; /* not NUL-terminated; 1..255 bytes, no '/', no NUL; root: empty */
	uint32_t name_len;
	uint32_t mode; /* type and permission bits, as st_mode */
	uint32_t uid, gid;
	uint32_t nlink;  /* as the source said */
	uint32_t volume; /* which source file system; index into the point's volumes */
	uint32_t have;   /* enum cs_have */
	uint32_t flags;  /* FS_IOC_GETFLAGS */
	uint32_t projid;
	uint32_t rdev_major, rdev_minor;
	uint64_t ino;  /* inode number in the source */
	uint64_t size; /* bytes; a symlink's is its target's length */
	uint64_t data_bytes; /* regular files: bytes that are not in holes */
	struct cs_time mtime, ctime, atime, btime;

	uint8_t content;       /* enum cs_content, regular files only */
	cs_chunk chunk;        /* CS_CONTENT_CHUNK */
	const uint8_t *bytes;  /* inline content, packed extents, or symlink target */
	uint32_t bytes_len;
	struct cs_pages extents; /* CS_CONTENT_PAGES */
	struct cs_hash hash; /* of the whole content (EXTENTS, PAGES); a directory's digest */

	const uint8_t *xattrs; /* packed, see chunkstore-format(5); NULL: see xattrs_chunk */
	uint32_t xattrs_len;
	cs_chunk xattrs_chunk; /* the packed list is this chunk; 0: it is inline or absent */

	/* directories */
	struct cs_pages children;
	uint64_t children_count; /* direct children */
	uint32_t subdirs;        /* direct children that are directories */
	struct cs_totals below;
};

/* Sums of sizes stay below 2^63 whatever sparse files claim: they stop there. */
static inline uint64_t cs_bytes_add(uint64_t a, uint64_t b)
{
	return a > INT64_MAX - (b > INT64_MAX ? INT64_MAX : b) ? INT64_MAX : a + b;
}

static inline bool cs_entry_has_xattrs(const struct cs_entry *e)
{
	return e->xattrs_len > 0 || e->xattrs_chunk != 0;
}

#endif
