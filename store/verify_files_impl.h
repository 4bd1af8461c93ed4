/* SPDX-License-Identifier: MIT */
/*
 * verify_files_impl.h - what verify_file.c, verify_files.c and verify_large.c share:
 * contents that are made of pieces, and how far each was hashed.
 */
#ifndef CS_VERIFY_FILES_IMPL_H
#define CS_VERIFY_FILES_IMPL_H

#include "verify_impl.h"

#include <stdatomic.h>

#define CS_VERIFY_LARGE (64u << 20) /* bytes: more than what is kept of the bundles that have passed */
#define CS_VERIFY_OPEN_MAX 16384 /* files that have begun and wait: each has a state of 600 bytes */

#define CS_VERIFY_PIECE_COST 4096 /* a piece counts as much more than its bytes */

enum cs_verify_file_state { CS_FILE_WAITS, CS_FILE_SOUND, CS_FILE_WRONG, CS_FILE_UNREAD, CS_FILE_LEFT };

/* A content, once. One thread at a time. */
struct cs_verify_file {
	struct cs_hash hash;
	uint64_t size, data_bytes;
	cs_chunk root; /* of extent pages; 0: */
	uint8_t *bytes; /* the packed extents */
	uint32_t bytes_len;
	uint32_t group; /* of large files: see verify_large.c */
	bool apart; /* read there */
	uint8_t level, state;
	uint64_t seq;    /* a point that has it */
	uint64_t off;    /* so far */
	uint64_t ahead;  /* what is before this was asked for */
	uint64_t bundle; /* met last */
	cs_chunk first;  /* piece */
	struct cs_hasher *hasher;
};

struct cs_verify_wait {
	uint64_t bundle, off;
	uint32_t file;
};

/* The lowest bundle first; of one bundle, the file that is behind. */
struct cs_verify_heap {
	struct cs_verify_wait *list;
	size_t n, cap;
};

/* There is room for one more. */
void cs_verify_heap_push(struct cs_verify_heap *h, struct cs_verify_wait w);
/* There is one. */
struct cs_verify_wait cs_verify_heap_pop(struct cs_verify_heap *h);

struct cs_verify_files {
	struct cs_verify_file *list;
	size_t n, cap;
	uint32_t *table; /* open hash table of index + 1 */
	size_t table_cap;
	struct cs_verify_heap gate; /* who is there */
	_Atomic bool waiting; /* any */
	_Atomic size_t open;
	_Atomic uint64_t hashed, hashed_max;
	/* afterwards */
	_Atomic uint64_t again;
	/* what the store had decoded when the bundles began to pass, or to be read again; and
	 * of what came since, that which needs not be decoded again */
	_Atomic uint64_t decoded;
	_Atomic uint64_t again_max;
	bool wrong; /* there is one */
};

/* As an entry that has its extents, for as long as f is there. */
struct cs_entry cs_verify_file_entry(const struct cs_verify_file *f);
/*
 * The piece at f->off, by way of *x, which begins zeroed: true. False: there is none any more
 * and f has its state, or none is looked for.
 */
bool cs_verify_file_piece(struct cs_verify_run *v, struct cs_verify_file *f,
			  struct cs_file_extents *x, const struct cs_extent **out);
/* Hash what is next. False: no memory. */
bool cs_verify_file_add(struct cs_verify_file *f, const void *data, size_t len) CS_MUST_CHECK;
/* Hash the piece that is next, a hole too, wherever it is. CS_E_INTERRUPTED: no more may be decoded. */
int cs_verify_file_fetch(struct cs_verify_run *v, struct cs_verify_file *f,
			 const struct cs_extent *x) CS_MUST_CHECK;
/* The piece was hashed. */
void cs_verify_file_went_on(struct cs_verify_run *v, struct cs_verify_file *f,
			    const struct cs_extent *x);
/* It is not hashed any further. */
void cs_verify_file_close(struct cs_verify_file *f);

/* More may be hashed, and decoded again, the more was decoded. Without the lock. */
void cs_verify_files_allow(struct cs_verify_run *v);
/* May a file be hashed further? */
bool cs_verify_files_may(const struct cs_verify_run *v);
/* Shall all end? Without the lock. */
bool cs_verify_must_stop(struct cs_verify_run *v);

#endif
