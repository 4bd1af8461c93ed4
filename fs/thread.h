/* SPDX-License-Identifier: MIT */
/* thread.h - starting a thread of the daemon's own. */
#ifndef CS_THREAD_H
#define CS_THREAD_H

#include <pthread.h>

/*
 * Signals are for the thread that waits for them: a new one has all blocked,
 * but for those by which a page of the store that cannot be read shows itself.
 * An errno.
 */
int cs_thread_start(pthread_t *out, void *(*run)(void *arg), void *arg);

#endif
