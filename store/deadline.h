/* SPDX-License-Identifier: MIT */
/* deadline.h - waiting for a condition until a moment, which no change of the clock moves. */
#ifndef CS_DEADLINE_H
#define CS_DEADLINE_H

#include <pthread.h>
#include <time.h>

/* In place of pthread_cond_init, for pthread_cond_timedwait with what cs_deadline_in says. */
void cs_deadline_cond(pthread_cond_t *c);
struct timespec cs_deadline_in(unsigned ms);

#endif
