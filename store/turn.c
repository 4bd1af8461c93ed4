/* SPDX-License-Identifier: MIT */
#include "turn.h"

#include "alloc.h"
#include "leases.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>

#define LOOK_MS 1    /* how often a waiter looks */
#define POLITE_MS 3  /* who has just written lets a waiter see that before it queues again */
#define QUEUE_MS 1000 /* a second is more than any transaction takes: its holder is stopped */
#define TELL_MS 100

struct cs_turn {
	int fd;
	cs_turn_wait_fn *waiting;
	void *arg;
	pthread_mutex_t mine; /* between threads, which have one lock in common; held with the turn */
	/* guarded by mine */
	struct timespec left; /* when the last turn was over */
};

struct cs_turn *cs_turn_new(int fd, cs_turn_wait_fn *waiting, void *arg)
{
	struct cs_turn *t = cs_zalloc(sizeof(*t));
	if (t) {
		t->fd = fd;
		t->waiting = waiting;
		t->arg = arg;
		pthread_mutex_init(&t->mine, NULL);
	}
	return t;
}

void cs_turn_free(struct cs_turn *t)
{
	if (t) {
		pthread_mutex_destroy(&t->mine);
		free(t);
	}
}

static int64_t ms_since(const struct timespec *t)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)(now.tv_sec - t->tv_sec) * 1000 + (now.tv_nsec - t->tv_nsec) / 1000000;
}

static void nap(long ms)
{
	nanosleep(&(struct timespec){ 0, ms * 1000000 }, NULL);
}

enum got { NO, YES, CANNOT };

static enum got lock(struct cs_turn *t, short type, off_t at)
{
	struct flock f = { .l_type = type, .l_whence = SEEK_SET, .l_start = at, .l_len = 1 };
	int rc;
	do
		rc = fcntl(t->fd, F_OFD_SETLK, &f);
	while (rc != 0 && errno == EINTR);
	return rc == 0 ? YES : errno == EAGAIN || errno == EACCES ? NO : CANNOT;
}

/* Wait until the writer's byte is ours; first in the queue for a time, then anyhow. */
static int wait_for_it(struct cs_turn *t, int64_t limit, struct cs_error *err)
{
	struct timespec start;
	enum got queued = NO, got = NO;
	int64_t told = 0, ms;
	int rc = CS_OK;
	clock_gettime(CLOCK_MONOTONIC, &start);
	for (;; nap(LOOK_MS)) {
		ms = ms_since(&start);
		if (queued == NO)
			queued = lock(t, F_WRLCK, CS_LEASE_QUEUE);
		if (queued != NO || ms >= QUEUE_MS)
			got = lock(t, F_WRLCK, CS_LEASE_WRITER);
		if (got != NO)
			break;
		if (limit >= 0 && ms >= limit) {
			rc = cs_fail(err, CS_E_BUSY, "another process writes to the store");
			break;
		}
		if (ms < told + TELL_MS || !t->waiting)
			continue;
		told = ms;
		if (t->waiting(t->arg, (unsigned)ms)) {
			rc = cs_fail(err, CS_E_INTERRUPTED,
				     "interrupted while another process writes to the store");
			break;
		}
	}
	if (queued == YES)
		lock(t, F_UNLCK, CS_LEASE_QUEUE);
	return rc;
}

int cs_turn_take_within(struct cs_turn *t, int64_t ms, struct cs_error *err)
{
	struct stat st;
	if (fstat(t->fd, &st) == 0 && st.st_nlink == 0)
		return cs_fail(err, CS_E_IO, "the file leases was removed while the store was in use; "
			       "nothing more is written");
	pthread_mutex_lock(&t->mine);
	if (ms_since(&t->left) < POLITE_MS) {
		struct flock f = { .l_type = F_WRLCK, .l_whence = SEEK_SET,
				   .l_start = CS_LEASE_QUEUE, .l_len = 1 };
		if (fcntl(t->fd, F_OFD_GETLK, &f) == 0 && f.l_type != F_UNLCK)
			nap(POLITE_MS);
	}
	int rc = wait_for_it(t, ms, err);
	if (rc != CS_OK)
		pthread_mutex_unlock(&t->mine);
	return rc;
}

int cs_turn_take(struct cs_turn *t, struct cs_error *err)
{
	return cs_turn_take_within(t, -1, err);
}

void cs_turn_leave(struct cs_turn *t)
{
	lock(t, F_UNLCK, CS_LEASE_WRITER);
	clock_gettime(CLOCK_MONOTONIC, &t->left);
	pthread_mutex_unlock(&t->mine);
}
