/* SPDX-License-Identifier: MIT */
/*
 * spill.c - one file, runs one behind the other, read back through a buffer
 * each. A merge's result goes to the end of the file, and the room of what was
 * merged is given back to the file system at once, so that the file takes the
 * disk space of its records once, and a merge's more.
 */
#include "spill.h"

#include "alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEAD sizeof(uint16_t)
#define RECORD_MAX 4096u
#define BUFFER_MIN ((size_t)8 << 10)
#define BUFFER_MAX ((size_t)64 << 10)
#define FAN_MIN 8u
#define FAN_MAX 256u
_Static_assert(BUFFER_MIN >= HEAD + RECORD_MAX, "a buffer holds any record");

struct run {
	uint64_t at, end;
};

struct reader {
	struct run left; /* not yet in the buffer */
	uint8_t *buf;
	size_t have, at; /* bytes in the buffer; where the record begins */
	const uint8_t *rec;
	size_t len;
};

struct cs_spill {
	const char *dir; /* borrowed */
	int fd;
	uint64_t size;
	size_t buf_size;
	unsigned fan;
	struct run *runs;
	size_t nruns, cap;

	uint8_t *out; /* of the run being written */
	size_t used;
	uint64_t begin;

	struct reader *readers; /* fan of them, while a merge is read */
	struct reader **heap;   /* least record first; nheap of them */
	size_t nheap;
	uint8_t *buffers;
	size_t nbuffers;
	bool started; /* the first record of the heap was given out */
};

/* ---- the file */

/*
 * Not every file system has files without a name. One with a name loses it at
 * once; the name is always the same, so that one whose maker was killed in
 * between does not stay for ever.
 */
static int open_named(const char *dir)
{
	char path[4200];
	int n = snprintf(path, sizeof(path), "%s/sorting", dir);
	if (n < 0 || (size_t)n >= sizeof(path))
		return -ENAMETOOLONG;
	for (int i = 0; i < 100; i++) {
		int fd = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (fd < 0 && errno != EEXIST)
			return -errno;
		if (unlink(path) != 0 && errno != ENOENT) {
			int e = errno;
			if (fd >= 0)
				close(fd);
			return -e;
		}
		if (fd >= 0)
			return fd;
	}
	return -EEXIST;
}

static int open_file(const char *dir)
{
	int fd = open(dir, O_TMPFILE | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd >= 0)
		return fd;
	/* what file systems and kernels say that do not know it */
	if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)
		return -errno;
	return open_named(dir);
}

static int write_failed(struct cs_spill *p, int e_no, struct cs_error *err)
{
	return cs_fail_errno(err, e_no, "store %s: cannot write a temporary file for sorting",
			     p->dir);
}

static int read_failed(struct cs_spill *p, int e_no, struct cs_error *err)
{
	return cs_fail_errno(err, e_no, "store %s: cannot read the temporary file for sorting",
			     p->dir);
}

static int write_out(struct cs_spill *p, struct cs_error *err)
{
	for (size_t done = 0; done < p->used;) {
		ssize_t n = pwrite(p->fd, p->out + done, p->used - done, (off_t)(p->size));
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return write_failed(p, n < 0 ? errno : ENOSPC, err);
		done += (size_t)n;
		p->size += (uint64_t)n;
	}
	p->used = 0;
	return CS_OK;
}

/* ---- public: making */

int cs_spill_new(const char *dir, size_t budget, struct cs_spill **out, struct cs_error *err)
{
	struct cs_spill *p = cs_zalloc(sizeof(*p));
	if (!p)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	p->dir = dir;
	p->fan = FAN_MAX;
	if (budget / BUFFER_MIN < p->fan + 1)
		p->fan = budget / BUFFER_MIN < FAN_MIN + 1 ? FAN_MIN :
							     (unsigned)(budget / BUFFER_MIN - 1);
	p->buf_size = budget / (p->fan + 1);
	if (p->buf_size > BUFFER_MAX)
		p->buf_size = BUFFER_MAX;
	if (p->buf_size < BUFFER_MIN)
		p->buf_size = BUFFER_MIN;
	p->fd = open_file(dir);
	if (p->fd < 0) {
		int rc = write_failed(p, -p->fd, err);
		free(p);
		return rc;
	}
	*out = p;
	return CS_OK;
}

static void stop_reading(struct cs_spill *p)
{
	free(p->readers);
	free(p->heap);
	free(p->buffers);
	p->readers = NULL;
	p->heap = NULL;
	p->buffers = NULL;
	p->nheap = p->nbuffers = 0;
	p->started = false;
}

void cs_spill_free(struct cs_spill *p)
{
	if (!p)
		return;
	stop_reading(p);
	close(p->fd);
	free(p->runs);
	free(p->out);
	free(p);
}

int cs_spill_begin(struct cs_spill *p, struct cs_error *err)
{
	if (!p->out && !(p->out = cs_alloc(p->buf_size)))
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	p->used = 0;
	p->begin = p->size;
	return CS_OK;
}

int cs_spill_put(struct cs_spill *p, const void *data, size_t len, struct cs_error *err)
{
	uint16_t head = (uint16_t)len;
	if (len > RECORD_MAX)
		return cs_fail(err, CS_E_LIMIT, "a record of %zu bytes is too long to sort", len);
	if (p->buf_size - p->used < HEAD + len) {
		int rc = write_out(p, err);
		if (rc != CS_OK)
			return rc;
	}
	memcpy(p->out + p->used, &head, HEAD);
	if (len)
		memcpy(p->out + p->used + HEAD, data, len);
	p->used += HEAD + len;
	return CS_OK;
}

int cs_spill_end(struct cs_spill *p, struct cs_error *err)
{
	int rc = write_out(p, err);
	free(p->out);
	p->out = NULL;
	if (rc != CS_OK)
		return rc;
	if (cs_grow(&p->runs, &p->cap, p->nruns + 1, sizeof(*p->runs)) != CS_OK)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	p->runs[p->nruns++] = (struct run){ p->begin, p->size };
	return CS_OK;
}

/* ---- reading runs */

static int refill(struct cs_spill *p, struct reader *r, struct cs_error *err)
{
	memmove(r->buf, r->buf + r->at, r->have - r->at);
	r->have -= r->at;
	r->at = 0;
	while (r->left.at < r->left.end && r->have < p->buf_size) {
		size_t want = p->buf_size - r->have;
		if (want > r->left.end - r->left.at)
			want = (size_t)(r->left.end - r->left.at);
		ssize_t n = pread(p->fd, r->buf + r->have, want, (off_t)r->left.at);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return read_failed(p, n < 0 ? errno : EIO, err);
		r->have += (size_t)n;
		r->left.at += (uint64_t)n;
	}
	return CS_OK;
}

static size_t whole_record(const struct reader *r)
{
	uint16_t n;
	if (r->have - r->at < HEAD)
		return 0;
	memcpy(&n, r->buf + r->at, HEAD);
	return r->have - r->at >= HEAD + n ? HEAD + n : 0;
}

/* Make the record at r->at the reader's. 1: it is; 0: the run has no more. */
static int take_record(struct cs_spill *p, struct reader *r, struct cs_error *err)
{
	size_t n = whole_record(r);
	if (!n && r->left.at < r->left.end) {
		int rc = refill(p, r, err);
		if (rc != CS_OK)
			return rc;
		n = whole_record(r);
	}
	if (!n)
		return r->at == r->have ? 0 : read_failed(p, EIO, err);
	r->rec = r->buf + r->at + HEAD;
	r->len = n - HEAD;
	r->at += n;
	return 1;
}

static bool less(const struct reader *a, const struct reader *b)
{
	int d = memcmp(a->rec, b->rec, a->len < b->len ? a->len : b->len);
	return d ? d < 0 : a->len < b->len;
}

static void sift_down(struct cs_spill *p, size_t i)
{
	struct reader *r = p->heap[i];
	for (;;) {
		size_t c = 2 * i + 1;
		if (c + 1 < p->nheap && less(p->heap[c + 1], p->heap[c]))
			c++;
		if (c >= p->nheap || !less(p->heap[c], r))
			break;
		p->heap[i] = p->heap[c];
		i = c;
	}
	p->heap[i] = r;
}

/* Read the first n runs, merged. */
static int start_reading(struct cs_spill *p, size_t n, struct cs_error *err)
{
	stop_reading(p);
	p->readers = cs_zalloc(n * sizeof(*p->readers));
	p->heap = cs_zalloc(n * sizeof(*p->heap));
	p->buffers = cs_alloc(n * p->buf_size);
	if (!p->readers || !p->heap || !p->buffers)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	p->nbuffers = n;
	for (size_t i = 0; i < n; i++) {
		struct reader *r = &p->readers[i];
		r->left = p->runs[i];
		r->buf = p->buffers + i * p->buf_size;
		int rc = take_record(p, r, err);
		if (rc < 0)
			return rc;
		if (rc == 1)
			p->heap[p->nheap++] = r;
	}
	for (size_t i = p->nheap / 2; i-- > 0;)
		sift_down(p, i);
	return CS_OK;
}

int cs_spill_next(struct cs_spill *p, const void **data, size_t *len, struct cs_error *err)
{
	if (p->started && p->nheap) {
		/* only now may the record that was given out go */
		int rc = take_record(p, p->heap[0], err);
		if (rc < 0)
			return rc;
		if (rc == 0)
			p->heap[0] = p->heap[--p->nheap];
		if (p->nheap)
			sift_down(p, 0);
	}
	p->started = true;
	if (!p->nheap)
		return 0;
	*data = p->heap[0]->rec;
	*len = p->heap[0]->len;
	return 1;
}

/* The first n runs become the last. */
static int merge_runs(struct cs_spill *p, size_t n, struct cs_error *err)
{
	const void *data;
	size_t len;
	int rc = start_reading(p, n, err);
	if (rc == CS_OK)
		rc = cs_spill_begin(p, err);
	if (rc != CS_OK)
		return rc;
	while ((rc = cs_spill_next(p, &data, &len, err)) == 1) {
		rc = cs_spill_put(p, data, len, err);
		if (rc != CS_OK)
			return rc;
	}
	if (rc == 0)
		rc = cs_spill_end(p, err);
	if (rc != CS_OK)
		return rc;
	for (size_t i = 0; i < n; i++) /* a file system without holes keeps the room */
		fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)p->runs[i].at,
			  (off_t)(p->runs[i].end - p->runs[i].at));
	p->nruns -= n;
	memmove(p->runs, p->runs + n, p->nruns * sizeof(*p->runs));
	return CS_OK;
}

int cs_spill_rewind(struct cs_spill *p, struct cs_error *err)
{
	while (p->nruns > p->fan) {
		/* as few as will do, so that most records are written once */
		size_t over = p->nruns - p->fan + 1;
		int rc = merge_runs(p, over < p->fan ? over : p->fan, err);
		if (rc != CS_OK)
			return rc;
	}
	return start_reading(p, p->nruns, err);
}

size_t cs_spill_memory(const struct cs_spill *p)
{
	return p ? sizeof(*p) + p->nbuffers * (p->buf_size + sizeof(*p->readers)) : 0;
}
