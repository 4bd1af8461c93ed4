/* SPDX-License-Identifier: MIT */
/*
 * leases.h - who uses what, told by locks that the kernel drops when a process
 * dies: no clock, no stale lock files, nothing to write for a reader.
 *
 * The file `leases` in the store is empty; open-file-description locks on its
 * bytes are what counts:
 *   0                  gc runs (write lock)
 *   1, 65538           who writes, and who writes next (write locks; turn.h)
 *   2 .. 65537         announcements: a process that shows the catalog to others
 *                      holds a read lock on the byte of the generation it has seen
 *   2^40 + seq         a point is read (read lock): gc removes the record of a
 *                      forgotten point, and so what only it refers to, only with
 *                      a write lock
 *   2^41 + number / 64 the bundles of this group are being written or were found
 *                      by a running backup (read lock); gc frees or rewrites a
 *                      bundle only with a write lock on its group
 *
 * Why a dedup hit is safe: a backup pins the group first and looks the chunk
 * up afterwards, in a transaction begun after that. gc holds the write lock
 * from before it deletes until after it committed. So the look-up sees the
 * chunk, and then gc could not get the lock before the backup has ended; or it
 * does not see it, and the backup stores the chunk again.
 * Groups of 64 keep the kernel's list of locks, which is searched from its
 * start, short. Their price is that gc leaves a few more bundles for next time.
 *
 * Any thread may call anything here.
 */
#ifndef CS_LEASES_H
#define CS_LEASES_H

#include "err.h"

#include <stdbool.h>
#include <stdint.h>

#define CS_LEASE_GC 0
#define CS_LEASE_WRITER 1
#define CS_LEASE_ANNOUNCE 2
#define CS_LEASE_ANNOUNCE_SPAN 65536u
#define CS_LEASE_QUEUE (CS_LEASE_ANNOUNCE + CS_LEASE_ANNOUNCE_SPAN)
#define CS_LEASE_POINTS (INT64_C(1) << 40)
#define CS_LEASE_BUNDLES (INT64_C(1) << 41)

struct cs_leases;
struct cs_user;

/*
 * Open a store's lease file. On read-only media without one there is nothing
 * to lease from: *out then does nothing. writable: locks for writing are wanted.
 */
int cs_leases_open(const char *store, int writable, struct cs_leases **out,
		   struct cs_error *err) CS_MUST_CHECK;
void cs_leases_close(struct cs_leases *l);

/* ---- points */

/*
 * Use a point; counted. 1: held and known to be there. 0: held, and the caller
 * has to look (in a new transaction) whether the point is still there, then to
 * confirm or drop it. CS_E_NOTFOUND: gc is removing it.
 */
int cs_leases_hold_point(struct cs_leases *l, uint64_t seq, struct cs_error *err) CS_MUST_CHECK;
void cs_leases_confirm_point(struct cs_leases *l, uint64_t seq);
void cs_leases_drop_point(struct cs_leases *l, uint64_t seq);

/* ---- bundles, by a backup */

/* Pins are kept until every user has ended. */
void cs_leases_pins_begin(struct cs_leases *l);
void cs_leases_pins_end(struct cs_leases *l);
/* Bundles that were just reserved, before the reservation is committed. */
int cs_leases_pin_range(struct cs_leases *l, uint64_t first, uint64_t n,
			struct cs_error *err) CS_MUST_CHECK;
/*
 * A bundle that was found. 1: it was pinned before; 0: now, and the caller has
 * to look again. CS_E_BUSY: gc does not let go of it within half a second.
 */
int cs_leases_pin(struct cs_leases *l, uint64_t number, struct cs_error *err) CS_MUST_CHECK;

/* ---- gc */

/* Be the one gc, until close or leave. CS_E_BUSY. One thread. */
int cs_leases_enter_gc(struct cs_leases *l, struct cs_error *err) CS_MUST_CHECK;
void cs_leases_leave_gc(struct cs_leases *l);
/* True: nobody uses the point, or the bundle, and nobody begins to before cs_leases_unclaim. */
bool cs_leases_claim_point(struct cs_leases *l, uint64_t seq);
bool cs_leases_claim_bundle(struct cs_leases *l, uint64_t number);
/* Let go of all that was claimed. */
void cs_leases_unclaim(struct cs_leases *l);
/* Without being gc, and only for this moment: does anybody use it? */
bool cs_leases_point_used(struct cs_leases *l, uint64_t seq);
bool cs_leases_bundle_used(struct cs_leases *l, uint64_t number);

/* ---- announcements */

/* Hold the announcement of this generation in place of the one before. */
int cs_leases_announce(struct cs_leases *l, uint64_t generation,
		       struct cs_error *err) CS_MUST_CHECK;
/* Wait, a second at the most, until nobody announces a generation before this one. */
void cs_leases_settle(struct cs_leases *l, uint64_t generation);

/* ---- looking on */

/*
 * Tell of every process that holds something, as far as /proc shows it;
 * *hidden: locks of processes that cannot be seen from here.
 */
int cs_leases_users(struct cs_leases *l, int (*fn)(void *arg, const struct cs_user *u),
		    void *arg, uint64_t *hidden, struct cs_error *err) CS_MUST_CHECK;
/* The lease file's descriptor, -1: none. Borrowed. */
int cs_leases_fd(const struct cs_leases *l);

#endif
