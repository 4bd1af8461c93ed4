/* SPDX-License-Identifier: MIT */
/* thread.h - starting a thread of the daemon's own, and waiting for one with an end. */
#ifndef CS_THREAD_H
#define CS_THREAD_H

#include <pthread.h>
#include <time.h>

/*
 * Signals are for the thread that waits for them: a new one has all blocked,
 * but for those by which a page of the store that cannot be read shows itself.
 * An errno.
 */
int cs_thread_start(pthread_t *out, void *(*run)(void *arg), void *arg);

/* For timed waits that no change of the clock lengthens; the moment so many ms from now. */
void cs_thread_cond_init(pthread_cond_t *c);
struct timespec cs_thread_after(unsigned ms);

#endif
