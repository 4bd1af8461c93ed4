/* SPDX-License-Identifier: MIT */
/*
 * sorter.h - any number of byte strings brought into bytewise order (as
 * memcmp, the shorter first) in bounded memory.
 *
 * Decision: what fits the budget is sorted in memory, and no file is made for
 * it. What does not goes, a sorted run a budget, to a file without a name in
 * the store's own directory, and is merged from there: that is a disk where
 * there must be room for a backup anyway, while /tmp may be memory. The kernel
 * gives the file back when the process ends, however it ends.
 *
 * Used by one thread.
 */
#ifndef CS_SORTER_H
#define CS_SORTER_H

#include "buf.h"
#include "err.h"

#define CS_SORTER_RECORD_MAX 4096u

struct cs_spill;

struct cs_sorter {
	const char *dir; /* where runs go; borrowed */
	size_t budget;
	bool unique; /* equal records come out once */
	struct cs_buf text;  /* records in memory: u16 length, bytes */
	uint32_t *off;       /* of their bytes in text */
	size_t n, cap;
	size_t next;
	bool sorted;
	struct cs_spill *spill; /* NULL: everything is in memory */
	struct cs_buf last;     /* the record before, of a spill, for unique */
};

/* budget: bytes of records, with what it takes to sort them. Allocates nothing. */
void cs_sorter_init(struct cs_sorter *s, const char *dir, size_t budget);
/* Forgets every record. May be called twice, or on a zeroed object. */
void cs_sorter_release(struct cs_sorter *s);
/*
 * Add a copy of len bytes, at most CS_SORTER_RECORD_MAX; not after cs_sorter_sort.
 * CS_E_FULL when the disk has no room for what the memory has none for.
 */
int cs_sorter_add(struct cs_sorter *s, const void *data, size_t len,
		  struct cs_error *err) CS_MUST_CHECK;
/* Bring the records into order. Called again: begin with the first of them again. */
int cs_sorter_sort(struct cs_sorter *s, struct cs_error *err) CS_MUST_CHECK;
/* 1: the next record, borrowed until the next call on s; 0: there are no more. */
int cs_sorter_next(struct cs_sorter *s, const void **data, size_t *len,
		   struct cs_error *err) CS_MUST_CHECK;
/* The record that comes n records after the next, or one equal to it; NULL: none, or not in memory. */
const void *cs_sorter_peek(const struct cs_sorter *s, size_t n);
/* Bytes of memory held. */
size_t cs_sorter_memory(const struct cs_sorter *s);

#endif
