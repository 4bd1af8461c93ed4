/* SPDX-License-Identifier: MIT */
/*
 * log.c - where the daemon's lines go.
 *
 * A damaged bundle can fail thousands of reads a second, and a full disk of
 * log lines is worse than the damage: lines are paid for from a bucket that
 * holds BURST of them and gets one a second.
 *
 * A line may hold a name out of the store: what could drive a terminal or
 * begin another line becomes '?'.
 */
#include "log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <syslog.h>

#define BURST 20

void cs_log_init(struct cs_log *l)
{
	pthread_mutex_init(&l->lock, NULL);
	l->to_syslog = false;
	l->keeper = NULL;
	l->tokens = BURST;
	l->skipped = 0;
	l->refilled = 0;
}

void cs_log_to_syslog(struct cs_log *l, struct cs_keeper *keeper)
{
	pthread_mutex_lock(&l->lock);
	l->keeper = keeper;
	if (!keeper)
		openlog("chunkfs", LOG_PID, LOG_DAEMON);
	l->to_syslog = true;
	pthread_mutex_unlock(&l->lock);
}

/* Take one line out of the bucket. Called with the lock held. */
static bool pay(struct cs_log *l)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	if (now.tv_sec > l->refilled) {
		time_t n = now.tv_sec - l->refilled;
		l->tokens = n >= BURST - (time_t)l->tokens ? BURST : l->tokens + (unsigned)n;
		l->refilled = now.tv_sec;
	}
	if (l->tokens == 0)
		return false;
	l->tokens--;
	return true;
}

void cs_log_line(struct cs_log *l, const char *fmt, ...)
{
	char line[4096], more[64] = "";
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	for (char *p = line; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';

	pthread_mutex_lock(&l->lock);
	if (!pay(l)) {
		l->skipped++;
		goto out;
	}
	if (l->skipped > 0)
		snprintf(more, sizeof(more), " (%u lines before this one were left out)",
			 l->skipped);
	l->skipped = 0;
	if (l->to_syslog && l->keeper) {
		strncat(line, more, sizeof(line) - strlen(line) - 1);
		cs_keeper_log(l->keeper, line);
	} else if (l->to_syslog)
		syslog(LOG_ERR, "%s%s", line, more);
	else
		fprintf(stderr, "chunkfs: %s%s\n", line, more);
out:
	pthread_mutex_unlock(&l->lock);
}
