/* SPDX-License-Identifier: MIT */
/*
 * dedup.h - is a chunk stored already, and on which chunk may a delta build?
 *
 * A hash is a hint, the bytes decide. What is found is safe from gc: its
 * bundle's group is pinned first (leases.h), and then it is looked for again.
 * A delta that is found is only as safe as its base, and a base is safe by the
 * number under which its bundle is there: gc drops the rows of the moved table
 * that no point needs, and the point that will need this one is not there yet.
 *
 * Any thread; the caller has begun pins.
 */
#ifndef CS_DEDUP_H
#define CS_DEDUP_H

#include "store.h"

/* A stored chunk of this kind with these bytes; 0: there is none that is safe. */
int cs_dedup_find(struct cs_store *s, int kind, const struct cs_hash *h, const uint8_t *data,
		  size_t len, cs_chunk *out, struct cs_error *err) CS_MUST_CHECK;
/*
 * The base for a delta of something that is like a stored chunk: that chunk,
 * or its own base if it is a delta itself. 0: there is none that is safe.
 */
int cs_dedup_base(struct cs_store *s, cs_chunk like, cs_chunk *out,
		  struct cs_error *err) CS_MUST_CHECK;

#endif
