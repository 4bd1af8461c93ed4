/* SPDX-License-Identifier: MIT */
/* log.h - where the daemon's lines go: stderr first, syslog once it stands alone. */
#ifndef CS_LOG_H
#define CS_LOG_H

#include "keeper.h"

#include <pthread.h>
#include <stdbool.h>
#include <time.h>

struct cs_log {
	pthread_mutex_t lock;
	/* guarded by lock */
	bool to_syslog;
	struct cs_keeper *keeper; /* who writes to it for us; NULL: we do */
	unsigned tokens;  /* lines that may be written now */
	unsigned skipped; /* lines left out since the last one */
	time_t refilled;
};

void cs_log_init(struct cs_log *l);
/* keeper: may be NULL, or borrowed for good. */
void cs_log_to_syslog(struct cs_log *l, struct cs_keeper *keeper);
/* Write one line; when there are too many of them, leave it out and say so in a later one. */
void cs_log_line(struct cs_log *l, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
