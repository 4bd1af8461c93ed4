/* SPDX-License-Identifier: MIT */
/*
 * record.h - stored records and their packed forms (format.h has the layouts).
 *
 * Each pack has its unpack; an unpack checks every field against its limit and
 * that exactly all bytes were used, and fails with CS_E_CORRUPT otherwise.
 * Pure: memory in, memory out.
 */
#ifndef CS_RECORD_H
#define CS_RECORD_H

#include "buf.h"
#include "entry.h"
#include "err.h"
#include "format.h"
#include "text.h"

struct cs_store_header {
	uint32_t version, compat, ro_compat, incompat;
	uint8_t id[16];
	int64_t created;
	uint32_t key_id;
	uint8_t hash_bits;
};
void cs_store_header_pack(const struct cs_store_header *h, uint8_t out[CS_STORE_HEADER_SIZE]);
int cs_store_header_unpack(const void *data, size_t len, struct cs_store_header *out,
			   struct cs_error *err) CS_MUST_CHECK;

struct cs_bundle_header {
	uint64_t checksum;
	uint8_t kind, codec, flags, level;
	uint32_t key_id, nslots, raw_len, table_len;
};
/*
 * What one row of a slot table says. off is where the chunk begins in the raw
 * common frame, or where a delta's frame begins, counted from the start of the
 * raw common frame as if the frames followed it.
 */
struct cs_slot {
	uint32_t off, len;
	struct cs_hash hash;
	uint32_t frame_len; /* of a delta; 0: the chunk is in the common frame */
	cs_chunk base;      /* of a delta */
};
/* What a slot takes of its bundle, before the common frame is compressed. */
static inline uint32_t cs_slot_weight(const struct cs_slot *s)
{
	return s->frame_len ? s->frame_len : s->len;
}
/* The first CS_BUNDLE_HEADER_SIZE bytes; the checksums are filled in by cs_bundle_seal. */
void cs_bundle_header_pack(const struct cs_bundle_header *h, uint8_t out[CS_BUNDLE_HEADER_SIZE]);
void cs_bundle_seal(uint8_t *bundle, size_t len, uint64_t number);
/* Checks magic, kinds and limits against len, not the checksum. */
int cs_bundle_header_unpack(const void *data, size_t len,
			    struct cs_bundle_header *out) CS_MUST_CHECK;
/* The checksums: these are the bytes of the bundle of that number, and of no other. */
int cs_bundle_check(const void *data, size_t len, uint64_t number) CS_MUST_CHECK;
/* The same of header and table alone, where the flags say that there is one. */
int cs_bundle_check_head(const void *data, const struct cs_bundle_header *h,
			 uint64_t number) CS_MUST_CHECK;
void cs_slot_pack(struct cs_buf *b, const struct cs_slot *s);
/*
 * All rows into slots[h->nslots]; the lengths must add up to h->raw_len, and
 * with those of the deltas' frames to what is there. *frames: the sum of these.
 */
int cs_slots_unpack(const void *data, size_t len, const struct cs_bundle_header *h,
		    struct cs_slot *slots, uint32_t *frames) CS_MUST_CHECK;
/* One row without unpacking the others into memory. CS_E_CORRUPT when there is no such slot. */
int cs_slot_find(const void *data, const struct cs_bundle_header *h, uint32_t slot,
		 struct cs_slot *out) CS_MUST_CHECK;

#define CS_VOLUMES_MAX 1024

/*
 * A source file system. Row 0 is the root's, whatever device number it has
 * today; the others are found again by their device numbers.
 */
struct cs_volume {
	uint32_t major, minor;
	uint32_t fs_type; /* statfs f_type */
};

/* Everything about a point but its tree. */
struct cs_point_record {
	uint64_t seq, parent;
	uint32_t series_id;
	char name[CS_POINT_NAME_MAX + 1];
	uint8_t id[16];
	struct cs_time started, received;
	uint8_t consistency;
	uint32_t key_id;
	char host[CS_HOST_MAX + 1];
	char source[4096];
	uint32_t ntags;
	char tags[CS_TAGS_MAX][CS_TAG_MAX + 1];
	struct cs_hash digest;
	struct cs_totals totals;
	uint64_t added_raw, added_stored, unreadable, changed;
	struct cs_pages links;   /* link rows (extent.h) of groups with two or more members */
	uint8_t *root;           /* the root's entry, packed as a directory page of one item */
	size_t root_len;
	struct cs_volume *volumes;
	uint32_t nvolumes;
};
void cs_point_record_release(struct cs_point_record *p);
/* Appends to b; check b->failed. */
void cs_point_record_pack(const struct cs_point_record *p, struct cs_buf *b);
/* *out owns root and volumes: cs_point_record_release. */
int cs_point_record_unpack(const void *data, size_t len, struct cs_point_record *out) CS_MUST_CHECK;

struct cs_series_record {
	uint32_t id;
	struct cs_time changed;
	uint64_t points;
	uint64_t latest; /* seq of the point received last, 0: none */
};
void cs_series_record_pack(const struct cs_series_record *s, struct cs_buf *b);
int cs_series_record_unpack(const void *data, size_t len,
			    struct cs_series_record *out) CS_MUST_CHECK;

/* What the trash says of a point. The row is bound to its key: elsewhere it is damaged. */
struct cs_trash_row {
	uint64_t seq;
	int64_t purge_after; /* seconds; 0: at once; CS_TRASH_PURGED */
};
void cs_trash_row_pack(const struct cs_trash_row *r, const void *key, size_t key_len,
		       uint8_t out[CS_TRASH_ROW_SIZE]);
int cs_trash_row_unpack(const void *data, size_t len, const void *key, size_t key_len,
			struct cs_trash_row *out) CS_MUST_CHECK;

/* What verify found last of a point or a range of bundles; bound to its key, too. */
enum { CS_CHECKED_LEVELS = 3 };
struct cs_checked_row {
	int64_t at[CS_CHECKED_LEVELS]; /* seconds, by level; 0: never */
	uint8_t damaged; /* 0, or 1 + the level that found it */
};
void cs_checked_row_pack(const struct cs_checked_row *r, uint64_t key,
			 uint8_t out[CS_CHECKED_ROW_SIZE]);
int cs_checked_row_unpack(const void *data, size_t len, uint64_t key,
			  struct cs_checked_row *out) CS_MUST_CHECK;

#endif
