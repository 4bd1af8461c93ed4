/* SPDX-License-Identifier: MIT */
/* awake.h - keeping idle processors awake while questions come. See awake.c. */
#ifndef CS_AWAKE_H
#define CS_AWAKE_H

#include "store/chunkstore.h"

struct cs_awake;

enum cs_awake_when { /* in the order of -o wakeups= */
	CS_AWAKE_AUTO, /* where it pays: in a virtual machine */
	CS_AWAKE_FAST, /* everywhere */
	CS_AWAKE_NORMAL, /* never */
};

struct cs_awake_opts {
	enum cs_awake_when when;
	const char *device; /* whoever holds it open says what wake-ups may cost */
	const char *driver; /* tells how the processors idle */
};

#define CS_AWAKE_DEVICE "/dev/cpu_dma_latency"
#define CS_AWAKE_DRIVER "/sys/devices/system/cpu/cpuidle/current_driver"

/*
 * *out is NULL when it is not wanted or, with AUTO, not possible. With FAST that
 * it is not possible is an error.
 */
int cs_awake_new(const struct cs_awake_opts *opts, struct cs_awake **out,
		 struct cs_error *err) CS_MUST_CHECK;
/* All below accept NULL. */
int cs_awake_start(struct cs_awake *a, struct cs_error *err) CS_MUST_CHECK;
void cs_awake_stop(struct cs_awake *a); /* and let the processors sleep */
void cs_awake_free(struct cs_awake *a);

/* A question was answered, for which somebody slept. Any thread; never waits. */
void cs_awake_answered(struct cs_awake *a);

#endif
