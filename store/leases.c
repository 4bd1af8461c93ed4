/* SPDX-License-Identifier: MIT */
#include "leases.h"

#include "alloc.h"
#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define BYTE_GC 0
#define BYTE_USE 1
#define BYTE_ANNOUNCE 2
#define ANNOUNCE_SPAN 65536u

#define GC_WAIT_MS 10000
#define LEAVE_WAIT_MS 2000
#define SETTLE_MS 1000

struct cs_leases {
	int fd; /* -1: read-only media without a lease file */
	bool announced;
	uint64_t generation;
};

static int lock(int fd, short type, off_t start, off_t len)
{
	struct flock f = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
	int rc;
	do
		rc = fcntl(fd, F_OFD_SETLK, &f);
	while (rc != 0 && errno == EINTR);
	return rc;
}

static void nap(long microseconds)
{
	struct timespec ts = { 0, microseconds * 1000 };
	nanosleep(&ts, NULL);
}

int cs_leases_open(const char *store, int writable, struct cs_leases **out, struct cs_error *err)
{
	CS_CLOSE int dir = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return cs_fail_errno(err, errno, "store %s", store);
	struct cs_leases *l = cs_zalloc(sizeof(*l));
	if (!l)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	l->fd = openat(dir, "leases", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (l->fd < 0 && !writable)
		l->fd = openat(dir, "leases", O_RDONLY | O_CLOEXEC);
	if (l->fd < 0 && (writable || errno != ENOENT)) {
		int e = errno;
		free(l);
		return cs_fail_errno(err, e, "store %s: leases", store);
	}
	*out = l;
	return CS_OK;
}

void cs_leases_close(struct cs_leases *l)
{
	if (l) {
		if (l->fd >= 0)
			close(l->fd);
		free(l);
	}
}

int cs_leases_use(struct cs_leases *l, struct cs_error *err)
{
	if (l->fd < 0)
		return CS_OK;
	for (int waited = 0; lock(l->fd, F_RDLCK, BYTE_USE, 1) != 0; waited += 10) {
		if (errno != EAGAIN && errno != EACCES)
			return cs_fail_errno(err, errno, "cannot lock the lease file");
		if (waited >= GC_WAIT_MS)
			return cs_fail(err, CS_E_BUSY, "gc is running; try again when it is done");
		nap(10000);
	}
	return CS_OK;
}

int cs_leases_exclusive(struct cs_leases *l, struct cs_error *err)
{
	if (lock(l->fd, F_WRLCK, BYTE_GC, 1) != 0) {
		if (errno == EAGAIN || errno == EACCES)
			return cs_fail(err, CS_E_BUSY, "another gc is running");
		return cs_fail_errno(err, errno, "cannot lock the lease file");
	}
	/* a mount that was just unmounted needs a moment to be gone */
	int waited = 0;
	while (lock(l->fd, F_WRLCK, BYTE_USE, 1) != 0) {
		if ((errno == EAGAIN || errno == EACCES) && (waited += 10) <= LEAVE_WAIT_MS) {
			nap(10000);
			continue;
		}
		if (errno == EAGAIN || errno == EACCES)
			return cs_fail(err, CS_E_BUSY,
				       "the store is in use by a mount, a backup or another "
				       "command; nothing was freed");
		return cs_fail_errno(err, errno, "cannot lock the lease file");
	}
	return CS_OK;
}

static off_t byte_of(uint64_t generation)
{
	return BYTE_ANNOUNCE + (off_t)(generation % ANNOUNCE_SPAN);
}

int cs_leases_announce(struct cs_leases *l, uint64_t generation, struct cs_error *err)
{
	if (l->fd < 0 || (l->announced && l->generation == generation))
		return CS_OK;
	if (lock(l->fd, F_RDLCK, byte_of(generation), 1) != 0)
		return cs_fail_errno(err, errno, "cannot lock the lease file");
	if (l->announced && byte_of(l->generation) != byte_of(generation))
		lock(l->fd, F_UNLCK, byte_of(l->generation), 1);
	l->announced = true;
	l->generation = generation;
	return CS_OK;
}

static bool held(int fd, off_t start, off_t len)
{
	struct flock f = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
	return len > 0 && fcntl(fd, F_OFD_GETLK, &f) == 0 && f.l_type != F_UNLCK;
}

/* The half of the ring behind the generation is the past, the other half the future. */
static bool past_is_announced(int fd, uint64_t generation)
{
	off_t span = ANNOUNCE_SPAN, half = span / 2, at = byte_of(generation) - BYTE_ANNOUNCE;
	off_t from = (at + half) % span;
	if (from < at)
		return held(fd, BYTE_ANNOUNCE + from, at - from);
	return held(fd, BYTE_ANNOUNCE + from, span - from) || held(fd, BYTE_ANNOUNCE, at);
}

void cs_leases_settle(struct cs_leases *l, uint64_t generation)
{
	if (l->fd < 0)
		return;
	for (int i = 0; i < SETTLE_MS * 2 && past_is_announced(l->fd, generation); i++)
		nap(500);
}
