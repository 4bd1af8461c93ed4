/* SPDX-License-Identifier: MIT */
#include "leases.h"

#include "alloc.h"
#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>

#define GROUP_BITS 6

#define GC_WAIT_MS 500
#define SETTLE_MS 1000

/* Numbers and what is known of them. Rows are never taken out. */
struct table {
	struct row {
		uint64_t key; /* + 1; 0: free */
		uint32_t count;
		bool confirmed;
	} *rows;
	size_t n, cap; /* cap: 0 or a power of two, at least a quarter of it free */
};

struct cs_leases {
	char *path;
	int fd;    /* -1: read-only media without a lease file */
	int gc_fd; /* of gc in this process: its locks and a backup's here must conflict. -1: none */
	pthread_mutex_t lock;
	/* guarded by lock */
	struct table points; /* by seq: how often held */
	struct table groups; /* of bundles: pinned when there */
	unsigned pin_users;
	/* one thread only */
	bool announced;
	uint64_t generation;
};

/* ---- tables */

static struct row *slot_of(struct row *rows, size_t cap, uint64_t key)
{
	size_t i = (size_t)((key + 1) * UINT64_C(0x9e3779b97f4a7c15) >> 20) & (cap - 1);
	while (rows[i].key && rows[i].key != key + 1)
		i = (i + 1) & (cap - 1);
	return &rows[i];
}

static struct row *table_find(struct table *t, uint64_t key)
{
	struct row *r = t->cap ? slot_of(t->rows, t->cap, key) : NULL;
	return r && r->key ? r : NULL;
}

/* NULL: out of memory. */
static struct row *table_add(struct table *t, uint64_t key)
{
	struct row *r = table_find(t, key);
	if (r)
		return r;
	if (t->n + 1 > t->cap / 4 * 3) {
		size_t cap = t->cap ? t->cap * 2 : 64;
		struct row *rows = cs_zalloc(cap * sizeof(*rows));
		if (!rows)
			return NULL;
		for (size_t i = 0; i < t->cap; i++)
			if (t->rows[i].key)
				*slot_of(rows, cap, t->rows[i].key - 1) = t->rows[i];
		free(t->rows);
		t->rows = rows;
		t->cap = cap;
	}
	r = slot_of(t->rows, t->cap, key);
	r->key = key + 1;
	t->n++;
	return r;
}

static void table_clear(struct table *t)
{
	free(t->rows);
	*t = (struct table){ 0 };
}

/* ---- locks */

static int lock(int fd, short type, off_t start, off_t len)
{
	struct flock f = { .l_type = type, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
	int rc;
	do
		rc = fcntl(fd, F_OFD_SETLK, &f);
	while (rc != 0 && errno == EINTR);
	return rc;
}

static bool is_refused(void)
{
	return errno == EAGAIN || errno == EACCES;
}

/* Does anybody else hold a lock there? */
static bool held(int fd, off_t start, off_t len)
{
	struct flock f = { .l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = start, .l_len = len };
	return len > 0 && fcntl(fd, F_OFD_GETLK, &f) == 0 && f.l_type != F_UNLCK;
}

static void nap(long microseconds)
{
	struct timespec ts = { 0, microseconds * 1000 };
	nanosleep(&ts, NULL);
}

/* A read lock on bytes that gc may have for the length of one transaction. */
static int lock_soon(int fd, off_t at, off_t len)
{
	int rc;
	for (int waited = 0; (rc = lock(fd, F_RDLCK, at, len)) != 0; waited++) {
		if (!is_refused() || waited >= GC_WAIT_MS)
			break;
		nap(1000);
	}
	return rc;
}

static int cannot_lock(struct cs_error *err)
{
	return cs_fail_errno(err, errno, "cannot lock the lease file");
}

int cs_leases_open(const char *store, int writable, struct cs_leases **out, struct cs_error *err)
{
	CS_CLOSE int dir = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return cs_fail_errno(err, errno, "store %s", store);
	struct cs_leases *l = cs_zalloc(sizeof(*l));
	if (!l || asprintf(&l->path, "%s/leases", store) < 0) {
		free(l);
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	l->gc_fd = -1;
	const int how = O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
	struct stat st;
	l->fd = openat(dir, "leases", O_RDWR | O_CREAT | how, 0600);
	if (l->fd < 0 && !writable)
		l->fd = openat(dir, "leases", O_RDONLY | how);
	if (l->fd >= 0 && (fstat(l->fd, &st) != 0 || !S_ISREG(st.st_mode))) {
		close(l->fd);
		l->fd = -1;
		errno = EINVAL; /* locks on something else say nothing */
	}
	if (l->fd < 0 && (writable || errno != ENOENT)) {
		int e = errno;
		free(l->path);
		free(l);
		return cs_fail_errno(err, e, "store %s: leases", store);
	}
	pthread_mutex_init(&l->lock, NULL);
	*out = l;
	return CS_OK;
}

void cs_leases_close(struct cs_leases *l)
{
	if (l) {
		cs_leases_leave_gc(l);
		if (l->fd >= 0)
			close(l->fd);
		free(l->path);
		table_clear(&l->points);
		table_clear(&l->groups);
		pthread_mutex_destroy(&l->lock);
		free(l);
	}
}

/* ---- points */

int cs_leases_hold_point(struct cs_leases *l, uint64_t seq, struct cs_error *err)
{
	pthread_mutex_lock(&l->lock);
	struct row *r = table_add(&l->points, seq);
	int rc = r ? CS_OK : cs_fail(err, CS_E_NOMEM, "out of memory");
	if (rc == CS_OK && !r->count && l->fd >= 0 &&
	    lock_soon(l->fd, CS_LEASE_POINTS + (off_t)seq, 1) != 0)
		rc = is_refused() ? cs_fail(err, CS_E_NOTFOUND, "the point is being removed") :
				    cannot_lock(err);
	if (rc == CS_OK) {
		r->count++;
		rc = r->confirmed;
	}
	pthread_mutex_unlock(&l->lock);
	return rc;
}

void cs_leases_confirm_point(struct cs_leases *l, uint64_t seq)
{
	pthread_mutex_lock(&l->lock);
	struct row *r = table_find(&l->points, seq);
	if (r && r->count)
		r->confirmed = true;
	pthread_mutex_unlock(&l->lock);
}

void cs_leases_drop_point(struct cs_leases *l, uint64_t seq)
{
	pthread_mutex_lock(&l->lock);
	struct row *r = table_find(&l->points, seq);
	if (r && r->count && --r->count == 0) {
		r->confirmed = false;
		if (l->fd >= 0)
			lock(l->fd, F_UNLCK, CS_LEASE_POINTS + (off_t)seq, 1);
	}
	pthread_mutex_unlock(&l->lock);
}

/* ---- bundles */

static uint64_t group_of(uint64_t number)
{
	return number >> GROUP_BITS;
}

void cs_leases_pins_begin(struct cs_leases *l)
{
	pthread_mutex_lock(&l->lock);
	l->pin_users++;
	pthread_mutex_unlock(&l->lock);
}

void cs_leases_pins_end(struct cs_leases *l)
{
	pthread_mutex_lock(&l->lock);
	if (--l->pin_users == 0) {
		table_clear(&l->groups);
		if (l->fd >= 0)
			lock(l->fd, F_UNLCK, CS_LEASE_BUNDLES, 0);
	}
	pthread_mutex_unlock(&l->lock);
}

int cs_leases_pin_range(struct cs_leases *l, uint64_t first, uint64_t n, struct cs_error *err)
{
	uint64_t from = group_of(first), to = group_of(first + n - 1);
	/* gc lets go of what it claimed just after it has let go of the writer's lock */
	if (lock_soon(l->fd, CS_LEASE_BUNDLES + (off_t)from, (off_t)(to - from + 1)) == 0)
		return CS_OK;
	return is_refused() ? cs_fail(err, CS_E_BUSY, "the lease file is locked by a stranger") :
			      cannot_lock(err);
}

int cs_leases_pin(struct cs_leases *l, uint64_t number, struct cs_error *err)
{
	uint64_t group = group_of(number);
	pthread_mutex_lock(&l->lock);
	bool pinned = table_find(&l->groups, group) != NULL;
	pthread_mutex_unlock(&l->lock);
	if (pinned)
		return 1;
	if (lock_soon(l->fd, CS_LEASE_BUNDLES + (off_t)group, 1) != 0)
		return is_refused() ? cs_fail(err, CS_E_BUSY, "gc is busy with these bundles") :
				      cannot_lock(err);
	int rc = CS_OK;
	pthread_mutex_lock(&l->lock);
	if (!table_add(&l->groups, group))
		rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	pthread_mutex_unlock(&l->lock);
	return rc;
}

/* ---- gc */

int cs_leases_enter_gc(struct cs_leases *l, struct cs_error *err)
{
	int fd = open(l->path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return cs_fail_errno(err, errno, "%s", l->path);
	if (lock(fd, F_WRLCK, CS_LEASE_GC, 1) != 0) {
		int rc = is_refused() ? cs_fail(err, CS_E_BUSY, "another gc or compact is running") :
					cannot_lock(err);
		close(fd);
		return rc;
	}
	l->gc_fd = fd;
	return CS_OK;
}

void cs_leases_leave_gc(struct cs_leases *l)
{
	if (l->gc_fd >= 0)
		close(l->gc_fd);
	l->gc_fd = -1;
}

bool cs_leases_claim_point(struct cs_leases *l, uint64_t seq)
{
	return lock(l->gc_fd, F_WRLCK, CS_LEASE_POINTS + (off_t)seq, 1) == 0;
}

bool cs_leases_claim_bundle(struct cs_leases *l, uint64_t number)
{
	return lock(l->gc_fd, F_WRLCK, CS_LEASE_BUNDLES + (off_t)group_of(number), 1) == 0;
}

void cs_leases_unclaim(struct cs_leases *l)
{
	lock(l->gc_fd, F_UNLCK, CS_LEASE_POINTS, 0);
}

bool cs_leases_point_used(struct cs_leases *l, uint64_t seq)
{
	pthread_mutex_lock(&l->lock);
	struct row *r = table_find(&l->points, seq);
	bool yes = r && r->count;
	pthread_mutex_unlock(&l->lock);
	return yes || (l->fd >= 0 && held(l->fd, CS_LEASE_POINTS + (off_t)seq, 1));
}

bool cs_leases_bundle_used(struct cs_leases *l, uint64_t number)
{
	off_t group = (off_t)group_of(number);
	pthread_mutex_lock(&l->lock);
	bool yes = table_find(&l->groups, (uint64_t)group) != NULL;
	pthread_mutex_unlock(&l->lock);
	return yes || (l->fd >= 0 && held(l->fd, CS_LEASE_BUNDLES + group, 1));
}

/* ---- announcements */

static off_t byte_of(uint64_t generation)
{
	return CS_LEASE_ANNOUNCE + (off_t)(generation % CS_LEASE_ANNOUNCE_SPAN);
}

int cs_leases_announce(struct cs_leases *l, uint64_t generation, struct cs_error *err)
{
	if (l->fd < 0 || (l->announced && l->generation == generation))
		return CS_OK;
	if (lock(l->fd, F_RDLCK, byte_of(generation), 1) != 0)
		return cannot_lock(err);
	if (l->announced && byte_of(l->generation) != byte_of(generation))
		lock(l->fd, F_UNLCK, byte_of(l->generation), 1);
	l->announced = true;
	l->generation = generation;
	return CS_OK;
}

/* The half of the ring behind the generation is the past, the other half the future. */
static bool past_is_announced(int fd, uint64_t generation)
{
	off_t span = CS_LEASE_ANNOUNCE_SPAN, half = span / 2, at = byte_of(generation) - CS_LEASE_ANNOUNCE;
	off_t from = (at + half) % span;
	if (from < at)
		return held(fd, CS_LEASE_ANNOUNCE + from, at - from);
	return held(fd, CS_LEASE_ANNOUNCE + from, span - from) || held(fd, CS_LEASE_ANNOUNCE, at);
}

void cs_leases_settle(struct cs_leases *l, uint64_t generation)
{
	if (l->fd < 0)
		return;
	for (int i = 0; i < SETTLE_MS * 2 && past_is_announced(l->fd, generation); i++)
		nap(500);
}

int cs_leases_fd(const struct cs_leases *l)
{
	return l->fd;
}
