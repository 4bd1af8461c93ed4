/* SPDX-License-Identifier: MIT */
/*
 * spill.h - sorted runs of byte strings in a file without a name, and their
 * merge: what a sorter (sorter.h) does with what its memory does not hold.
 *
 * A run is a sequence of records, each a little-endian u16 and that many bytes.
 * The file is nobody's but this process's and lives no longer.
 */
#ifndef CS_SPILL_H
#define CS_SPILL_H

#include "err.h"

#include <stddef.h>
#include <stdint.h>

struct cs_spill;

/* budget: bytes of memory that a merge may take, but 72 KiB at least. */
int cs_spill_new(const char *dir, size_t budget, struct cs_spill **out,
		 struct cs_error *err) CS_MUST_CHECK;
void cs_spill_free(struct cs_spill *p);

/* A new run: records in ascending order between begin and end. */
int cs_spill_begin(struct cs_spill *p, struct cs_error *err) CS_MUST_CHECK;
int cs_spill_put(struct cs_spill *p, const void *data, size_t len,
		 struct cs_error *err) CS_MUST_CHECK;
int cs_spill_end(struct cs_spill *p, struct cs_error *err) CS_MUST_CHECK;

/*
 * Read all runs, merged, from the first record on. While there are too many
 * for the memory, some are merged into longer ones first.
 */
int cs_spill_rewind(struct cs_spill *p, struct cs_error *err) CS_MUST_CHECK;
/* 1: the next record, borrowed until the next call on p; 0: there are no more. */
int cs_spill_next(struct cs_spill *p, const void **data, size_t *len,
		  struct cs_error *err) CS_MUST_CHECK;

/* Bytes of memory held, by a rewound spill that is being read. */
size_t cs_spill_memory(const struct cs_spill *p);

#endif
