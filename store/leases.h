/* SPDX-License-Identifier: MIT */
/*
 * leases.h - who uses the store, told by locks that the kernel drops when a
 * process dies: no clock, no stale lock files, nothing to write for a reader.
 *
 * The file `leases` in the store is empty; open-file-description locks on its
 * bytes are what counts:
 *   0            gc runs (write lock)
 *   1            somebody uses trees and chunks (read locks); gc takes it for
 *                writing, so that it never frees what is being read or reused
 *   2 .. 65537   announcements: a process that shows the catalog to others
 *                holds a read lock on the byte of the generation it has seen
 */
#ifndef CS_LEASES_H
#define CS_LEASES_H

#include "err.h"

#include <stdint.h>

struct cs_leases;

/*
 * Open a store's lease file. On read-only media without one there is nothing
 * to lease from: *out then does nothing. writable: locks for writing are wanted.
 */
int cs_leases_open(const char *store, int writable, struct cs_leases **out,
		   struct cs_error *err) CS_MUST_CHECK;
void cs_leases_close(struct cs_leases *l);
/* Shared use of trees and chunks, until close. Waits for a gc; CS_E_BUSY if it takes too long. */
int cs_leases_use(struct cs_leases *l, struct cs_error *err) CS_MUST_CHECK;
/* Exclusive use, until close. CS_E_BUSY when anybody still uses the store two seconds later. */
int cs_leases_exclusive(struct cs_leases *l, struct cs_error *err) CS_MUST_CHECK;
/* Hold the announcement of this generation in place of the one before. */
int cs_leases_announce(struct cs_leases *l, uint64_t generation,
		       struct cs_error *err) CS_MUST_CHECK;
/* Wait, a second at the most, until nobody announces a generation before this one. */
void cs_leases_settle(struct cs_leases *l, uint64_t generation);

#endif
