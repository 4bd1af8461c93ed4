/* SPDX-License-Identifier: MIT */
/*
 * turn.h - who writes next: the queue before LMDB's writer lock.
 *
 * LMDB's lock alone keeps the store safe. But it does not say who has it, it
 * cannot be waited for in a way that a signal ends, and it is not fair: who
 * lets go of it and wants it again at once, as a backup does between its
 * batches, mostly gets it before anybody who waits. So two bytes of the lease
 * file come first:
 *   CS_LEASE_WRITER  locked for as long as a write transaction lasts
 *   CS_LEASE_QUEUE   locked by the one who gets that next
 * Who has just written has to queue behind the one who waits in front.
 *
 * A process that is stopped while it writes keeps everybody waiting; nothing
 * can be done about that but to say who it is, and to stay interruptible. One
 * that is stopped in the queue is passed after a second. Where a lock cannot
 * be had for another reason than that somebody has it, there is no queue.
 *
 * Any thread may call anything here.
 */
#ifndef CS_TURN_H
#define CS_TURN_H

#include "err.h"

#include <stdint.h>

struct cs_turn;

/* See cs_open_opts. */
typedef int cs_turn_wait_fn(void *arg, unsigned ms);

/* fd: the lease file, open for writing; borrowed until free. NULL: no memory. */
struct cs_turn *cs_turn_new(int fd, cs_turn_wait_fn *waiting, void *arg);
void cs_turn_free(struct cs_turn *t);

/* Wait for the turn. CS_E_INTERRUPTED: waiting() said so. CS_E_IO: the file is gone. */
int cs_turn_take(struct cs_turn *t, struct cs_error *err) CS_MUST_CHECK;
/* The same, with CS_E_BUSY when it takes longer than ms. Negative: as long as it takes. */
int cs_turn_take_within(struct cs_turn *t, int64_t ms, struct cs_error *err) CS_MUST_CHECK;
/* In the same thread, when the transaction is over. */
void cs_turn_leave(struct cs_turn *t);

#endif
