/* SPDX-License-Identifier: MIT */
/*
 * format.h - every fact about bytes on disk. chunkstore-format(5) tells the
 * same in prose. Numbers are little-endian; "var" is LEB128, "svar" zigzag
 * coded LEB128; nothing stored is ever cast to a struct (LMDB promises 2-byte
 * alignment only). record.c, page.c, tree.c, extent.c and xattr.c pack and unpack;
 * nobody else touches stored bytes.
 *
 * Format history: 1 the first, never released; 2 several bundles are one value,
 * and the index has rows of 12 bytes. Feature levels came after that: stores without
 * it are read and written as before.
 */
#ifndef CS_FORMAT_H
#define CS_FORMAT_H

#include <stdint.h>

#define CS_FORMAT_VERSION 2

/*
 * Feature words of the store header. An unknown incompatible bit: the store is
 * not opened. An unknown read-only-compatible bit: it is opened for reading
 * only. Compatible bits may be ignored.
 */
#define CS_FEATURE_DELTAS 1u /* incompatible: slots may be deltas. Without it none are written */
#define CS_FEATURE_LEVELS 2u /* incompatible: bundles tell their level. Without it none do */
#define CS_FEATURE_HEADS 4u  /* incompatible: raw bundles may have a checksum of their head */
#define CS_FEATURES_INCOMPAT (CS_FEATURE_DELTAS | CS_FEATURE_LEVELS | CS_FEATURE_HEADS)
#define CS_FEATURES_RO 0u

/* Names of LMDB's databases. */
#define CS_DB_META "meta"             /* text key -> store header or u64 counter */
#define CS_DB_BUNDLES "bundles"       /* pack key -> bundles, one behind the other */
#define CS_DB_INDEX "index"           /* one key -> index rows (dup, fixed) */
#define CS_DB_MOVED "moved"           /* chunk number (integer key) -> chunk number, XXH3-64 of both */
#define CS_DB_POINTS "points"         /* point seq (integer key) -> point record */
#define CS_DB_SERIES "series"         /* series name -> series record */
#define CS_DB_SERIES_IDS "series_ids" /* series id (integer key) -> series name */
#define CS_DB_CATALOG "catalog"       /* series id as 4 bytes big-endian, point name -> point seq */
#define CS_DB_IDS "ids"               /* point id, 16 bytes -> point seq */
#define CS_DB_TRASH "trash"           /* keyed like the catalog -> trash row. Younger than the others: a
					 store without it has nothing in the trash */
#define CS_DB_CHECKED "checked"       /* what was verified when: see below. Younger, too: empty without it */

/* Keys of the meta database. */
#define CS_META_STORE "store"
#define CS_META_NEXT_BUNDLE "next_bundle"
#define CS_META_NEXT_POINT "next_point"
#define CS_META_NEXT_SERIES "next_series"
#define CS_META_GENERATION "generation"
#define CS_META_TRASH_SECONDS "trash_seconds" /* not there: the default */
#define CS_TRASH_SECONDS_DEFAULT (7ull * 86400)
#define CS_TRASH_SECONDS_MAX (1000ull * 365 * 86400)

/*
 * Store header
 *   0  8  magic "chunkstr"
 *   8  4  format version
 *  12  4  compatible features
 *  16  4  read-only-compatible features
 *  20  4  incompatible features
 *  24 16  store id
 *  40  8  seconds when it was made
 *  48  4  encryption key id, 0: none
 *  52  1  hash bits kept, 128 but for tests
 *  53  3  zero
 */
#define CS_STORE_MAGIC "chunkstr"
#define CS_STORE_HEADER_SIZE 56

/*
 * Trash row: a point that is forgotten and not yet purged
 *   0  8  point seq
 *   8  8  seconds, signed: gc removes it when that time has come. 0: at once; the least
 *         number: at once, and it cannot be brought back
 *  16  8  XXH3-64 of the 16 bytes before, the seed being the XXH3-64 of the row's key
 */
#define CS_TRASH_ROW_SIZE 24
#define CS_TRASH_PURGED INT64_MIN

/*
 * Checked row: what verify found last. The key is a point's seq with the highest
 * bit set, or the number of a range of CS_CHECKED_RANGE bundle numbers
 *   0  8  seconds, signed, when its structure was looked at; 0: never
 *   8  8  the same for its data
 *  16  8  and for its digest (of a range: as for its data)
 *  24  1  0: sound; else damaged, as seen by a check of this level (1 structure, 2 data, 3 digest)
 *  25  7  zero
 *  32  8  XXH3-64 of the 32 bytes before, the seed being the key
 */
#define CS_CHECKED_ROW_SIZE 40
#define CS_CHECKED_RANGE 64u
#define CS_CHECKED_POINT (UINT64_C(1) << 63)

/*
 * Pack key: what lies in a value of the bundles table
 *   0  8  number of its last bundle, big-endian
 *   then from the last bundle to the first
 *      var   its length
 *      var   (not after the first) how much less the number of the one before it is
 * All numbers / CS_BUNDLE_RUN are the same; the lengths add up to the value's.
 */
#define CS_BUNDLE_RUN 16u
#ifndef CS_PACK_TARGET
#define CS_PACK_TARGET (384u << 10) /* a pack has no more bundles than fit in here, or one */
#endif

/*
 * Index row, all of it big-endian
 *   0  5  the first bytes of a chunk's hash
 *   5  7  chunk number
 */
#define CS_INDEX_KEY "h"
#define CS_INDEX_ROW_SIZE 12

/*
 * Bundle: header, slot table, payload
 *   0  8  XXH3-64 of everything that follows, the seed being the number of the bundle:
 *         a damaged tree may lead to another bundle, whose bytes are as sound
 *   8  4  magic "CSBN"
 *  12  1  kind: 1 data (files' bytes, long xattr values), 2 metadata (pages,
 *         lists of xattrs). Equal bytes of different kind are different
 *         chunks, so that what a user writes is never taken for a page
 *  13  1  codec of the common frame: 0 raw, 1 zstd
 *  14  1  flags: 1 some slots are deltas, 2 the table has a checksum (only with codec 0)
 *  15  1  level at which the backup compressed: 1 to 19, 255 not at all, 0 not told
 *  16  4  encryption key id, 0: none
 *  20  4  number of slots
 *  24  4  raw length of the common frame
 *  28  4  length of the slot table, with its checksum
 *  32     slot table, one row a slot:
 *           var   chunk length << 2 | how
 *           16    XXH3-128 of the chunk
 *           how 0 (in the common frame, in slot order): nothing more
 *           how 1 (a delta): var frame length, var number of its base: a chunk of the same
 *                 kind that is no delta and is the zstd frame's prefix
 *           how 2, 3: not used
 *         with flag 2, behind the rows:
 *           8     XXH3-64 from offset 8 to here, seeded likewise: who trusts the table can
 *                 read one chunk of a raw frame by its hash, without all others
 *         payload: the common frame, then the frames of the deltas, in slot order
 */
#define CS_BUNDLE_MAGIC 0x4e425343u
#define CS_BUNDLE_HEADER_SIZE 32
#define CS_BUNDLE_DATA 1
#define CS_BUNDLE_META 2
#define CS_CODEC_RAW 0
#define CS_CODEC_ZSTD 1
#define CS_BUNDLE_DELTAS 1u
#define CS_BUNDLE_HEAD 2u
#define CS_BUNDLE_HEAD_SIZE 8
#define CS_BUNDLE_LEVEL_MAX 19
#define CS_BUNDLE_LEVEL_NONE 255
#define CS_SLOT_COMMON 0
#define CS_SLOT_DELTA 1

/* A chunk number is bundle << 16 | slot. */
#define CS_SLOT_BITS 16
#define CS_SLOTS_MAX 65535u
#define CS_BUNDLE_NUMBER_MAX ((1ull << 40) - 1)
#define CS_CHUNK_NUMBER_MAX (CS_BUNDLE_NUMBER_MAX << CS_SLOT_BITS | CS_SLOTS_MAX)

/* Sizes, chosen by measurement: see chunkstore(7). */
#define CS_CHUNK_MAX (4u << 20)        /* no chunk is longer, stored or read */
#define CS_BUNDLE_RAW_MAX (8u << 20)   /* no bundle holds more, stored or read */
#define CS_BUNDLE_FRAMES_MAX (8u << 20) /* of deltas, likewise */
#define CS_BUNDLE_STORED_MAX (32u << 20) /* with its table: so long is none */
#ifndef CS_BUNDLE_DATA_TARGET /* tests/perf/density tries others */
#define CS_BUNDLE_DATA_TARGET (512u << 10) /* a data bundle is closed when it holds this much */
#endif
#ifndef CS_BUNDLE_META_TARGET
#define CS_BUNDLE_META_TARGET (128u << 10)
#endif
#define CS_BUNDLE_DELTA_TARGET (1u << 20) /* one of chunks that may become deltas, and so small */
#define CS_WHOLE_FILE_MAX (128u << 10) /* files up to this size are one chunk */
#define CS_INLINE_MAX 64u              /* files up to this size are in their entry */
#define CS_INLINE_EXTENTS_MAX 256u     /* packed extents up to this size are in the entry */
#define CS_INLINE_XATTRS_MAX 512u      /* packed xattrs up to this size are in the entry */
#define CS_INLINE_XATTR_VALUE_MAX 128u /* longer values are chunks of their own */
#define CS_XATTR_VALUE_MAX (64u << 10)
#define CS_XATTR_NAMES_MAX (64u << 10) /* names of one entry with a NUL each: what listxattr(2) can give */
#define CS_XATTR_TOTAL_MAX (64u << 20)  /* names and values of one entry */
#define CS_SYMLINK_MAX 4095u
#define CS_NAME_MAX 255u
#define CS_DEPTH_MAX 4096u             /* directories inside each other in one point */

/*
 * Pages. A page is a chunk of a metadata bundle:
 *   u8 kind, var item count, bases (by kind), items
 * Leaf pages end where the item's key says so (about one in CS_PAGE_CUT items
 * past CS_PAGE_MIN bytes) or at CS_PAGE_MAX, so that an insertion changes few
 * pages. A page with one item may be longer than CS_PAGE_MAX.
 *
 * Directory page 'D': bases svar bundle, svar mtime, svar ctime, svar inode;
 *   items: entries, see tree.c
 * Extent page 'E': base svar bundle;
 *   items: var length << 1 | hole, then for data a chunk reference
 * Link page 'L': no bases;
 *   items: var volume, var inode, var stamp (see extent.h), var position of the
 *   group's first member
 * Index page 'I': base svar bundle;
 *   items: var key length, key (first item's key of the page below), chunk
 *   reference of that page, var items below, var weight below
 * A chunk reference is svar (bundle - base bundle), var slot.
 */
#define CS_PAGE_DIR 'D'
#define CS_PAGE_EXTENT 'E'
#define CS_PAGE_LINK 'L'
#define CS_PAGE_INDEX 'I'
#define CS_XATTR_LIST 'X' /* begins a packed list of attributes: see xattr.h */
#define CS_PAGE_MIN (16u << 10)
#define CS_PAGE_MAX (64u << 10)
#define CS_PAGE_CUT 64u
#define CS_EXTENT_PAGE_MIN 1024u /* extent pages are smaller: one is decoded for a random read */
#define CS_EXTENT_PAGE_MAX (16u << 10)
#define CS_PAGE_RAW_MAX (1u << 20) /* no page is longer, stored or read */
#define CS_LEVELS_MAX 8u

#endif
