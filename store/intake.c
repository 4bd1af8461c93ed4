/* SPDX-License-Identifier: MIT */
#include "intake.h"

#include "alloc.h"
#include "extent.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#define BUF_SIZE ((size_t)1 << 20)

static int put_extent_page(void *arg, const void *page, size_t len, cs_chunk *out,
			   struct cs_error *err);

int cs_intake_init(struct cs_intake *in, struct cs_store *s, struct cs_pipeline *p,
		   struct cs_error *err)
{
	memset(in, 0, sizeof(*in));
	in->store = s;
	in->pipeline = p;
	in->buf = cs_alloc(BUF_SIZE);
	in->hasher = cs_hasher_new();
	if (!in->buf || !in->hasher) {
		cs_intake_release(in);
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	cs_pages_writer_init(&in->extents, CS_PAGE_EXTENT, put_extent_page, in);
	return CS_OK;
}

void cs_intake_release(struct cs_intake *in)
{
	free(in->buf);
	cs_hasher_free(in->hasher);
	cs_pages_writer_release(&in->extents);
	cs_buf_release(&in->inline_bytes);
	memset(in, 0, sizeof(*in));
}

/* Up to len bytes at off; fewer only at the end of the file. -errno on failure. */
static ssize_t read_at(int fd, uint8_t *buf, size_t len, uint64_t off)
{
	size_t got = 0;
	while (got < len) {
		ssize_t n = pread(fd, buf + got, len - got, (off_t)(off + got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		if (n == 0)
			break;
		got += (size_t)n;
	}
	return (ssize_t)got;
}

/*
 * The same, for a whole file. What the page cache has comes with one call; a
 * file that it does not have is told of, and costs one more.
 */
static ssize_t read_file(struct cs_intake *in, int fd, uint8_t *buf, size_t len)
{
	struct iovec v = { buf, len };
	ssize_t n = in->cannot_ask ? -1 : preadv2(fd, &v, 1, 0, RWF_NOWAIT);
	if (n == (ssize_t)len)
		return n;
	in->waited = !in->cannot_ask && n < 0 && errno == EAGAIN;
	in->cannot_ask |= n < 0 && errno == EOPNOTSUPP;
	return read_at(fd, buf, len, 0);
}

static int tick(struct cs_intake *in, uint64_t bytes, struct cs_error *err)
{
	if (in->tick && in->tick(in->arg, bytes))
		return cs_fail(err, CS_E_INTERRUPTED, "interrupted");
	return CS_OK;
}

/* What stood at this place of the file in the parent point: what is there now may be like it. */
static cs_chunk like_at(struct cs_intake *in, uint64_t off)
{
	const struct cs_entry *old = in->old;
	const struct cs_extent *x;
	if (!old || off >= old->size)
		return 0;
	if (old->content == CS_CONTENT_CHUNK)
		return old->chunk;
	if (old->content != CS_CONTENT_EXTENTS && old->content != CS_CONTENT_PAGES)
		return 0;
	if (cs_file_extent(in->store, old, off, &in->old_extents, &x, NULL) != CS_OK) {
		in->old = NULL; /* the parent is damaged there */
		return 0;
	}
	return x->chunk;
}

static int put_extent_page(void *arg, const void *page, size_t len, cs_chunk *out,
			   struct cs_error *err)
{
	struct cs_intake *in = arg;
	/* extents up to in->at, or a little less, are in the page */
	bool leaf = *(const uint8_t *)page == CS_PAGE_EXTENT;
	cs_chunk like = leaf && in->at && like_at(in, in->at - 1) ? in->old_extents.page : 0;
	return cs_pipeline_chunk(in->pipeline, CS_BUNDLE_META, page, len, like, out, NULL, err);
}

/* ---- small files: straight into the open bundle */

static int take_small(struct cs_intake *in, int fd, struct cs_entry *e, struct cs_hash *hash,
		      int *read_errno, struct cs_error *err)
{
	uint8_t *room;
	cs_chunk like = like_at(in, 0);
	int rc = cs_pipeline_room(in->pipeline, CS_BUNDLE_DATA, like, e->size, &room, err);
	if (rc != CS_OK)
		return rc;
	ssize_t n = read_file(in, fd, room, e->size);
	if (n < 0) {
		*read_errno = (int)-n;
		return CS_OK;
	}
	e->size = e->data_bytes = (uint64_t)n;
	e->content = CS_CONTENT_NONE;
	rc = tick(in, e->size, err);
	if (rc != CS_OK)
		return rc;
	if (n <= (ssize_t)CS_INLINE_MAX) {
		cs_buf_clear(&in->inline_bytes);
		cs_buf_add(&in->inline_bytes, room, (size_t)n);
		if (in->inline_bytes.failed)
			return cs_fail(err, CS_E_NOMEM, "out of memory");
		*hash = cs_store_hash(in->store, room, (size_t)n);
		if (n > 0) {
			e->content = CS_CONTENT_INLINE;
			e->bytes = in->inline_bytes.data;
			e->bytes_len = (uint32_t)n;
		}
		return CS_OK;
	}
	e->content = CS_CONTENT_CHUNK;
	return cs_pipeline_chunk(in->pipeline, CS_BUNDLE_DATA, room, (size_t)n, like, &e->chunk,
				 hash, err);
}

/* ---- large and sparse files: extents */

static int add_hole(struct cs_intake *in, uint64_t len, struct cs_error *err)
{
	struct cs_buf b = { 0 };
	if (len == 0)
		return CS_OK;
	cs_buf_u64(&b, len); /* the hash takes a hole as its length */
	if (b.failed)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	cs_hasher_add(in->hasher, b.data, b.len);
	cs_buf_release(&b);
	in->extent_count++;
	in->at += len;
	return cs_extent_add(&in->extents, len, 0, 1, err);
}

static int add_data(struct cs_intake *in, const uint8_t *data, size_t len, struct cs_error *err)
{
	struct cs_hash h;
	cs_chunk chunk;
	cs_hasher_add(in->hasher, data, len);
	cs_chunk like = like_at(in, in->at + len / 2); /* where it begins may have moved */
	int rc = cs_pipeline_chunk(in->pipeline, CS_BUNDLE_DATA, data, len, like, &chunk, &h, err);
	if (rc != CS_OK)
		return rc;
	in->at += len;
	in->extent_count++;
	rc = cs_extent_add(&in->extents, len, chunk, cs_hash_key(&h), err);
	return rc == CS_OK ? tick(in, len, err) : rc;
}

/* Cut the data at off .. end into chunks. *out_end: where it really ended. */
static int take_segment(struct cs_intake *in, int fd, uint64_t off, uint64_t end,
			uint64_t *out_end, int *read_errno, struct cs_error *err)
{
	size_t have = 0;
	bool last = false;
	cs_chunker_init(&in->chunker, NULL);
	while (!last || have) {
		if (!last && have < CS_CHUNKER_MAX) {
			size_t want = BUF_SIZE - have;
			if (want > end - off)
				want = (size_t)(end - off);
			ssize_t n = read_at(fd, in->buf + have, want, off);
			if (n < 0) {
				*read_errno = (int)-n;
				return CS_OK;
			}
			off += (uint64_t)n;
			have += (size_t)n;
			last = (size_t)n < want || off == end;
		}
		size_t at = 0, cut;
		int rc = CS_OK;
		while (rc == CS_OK && at < have &&
		       (last || have - at >= CS_CHUNKER_MAX) &&
		       (cut = cs_chunker_next(&in->chunker, in->buf + at, have - at, last))) {
			rc = add_data(in, in->buf + at, cut, err);
			at += cut;
		}
		if (rc != CS_OK)
			return rc;
		memmove(in->buf, in->buf + at, have - at);
		have -= at;
	}
	*out_end = off;
	return CS_OK;
}

/* The next stretch of data from off: its bounds, or the end of the file twice. */
static void next_data(int fd, uint64_t off, uint64_t size, bool sparse, uint64_t *from,
		      uint64_t *to)
{
	*from = off;
	*to = size;
	if (!sparse)
		return;
	off_t d = lseek(fd, (off_t)off, SEEK_DATA);
	if (d < 0) {
		if (errno == ENXIO)
			*from = size; /* nothing but a hole */
		return;
	}
	*from = (uint64_t)d < size ? (uint64_t)d : size;
	off_t h = lseek(fd, d, SEEK_HOLE);
	if (h > d && (uint64_t)h < size)
		*to = (uint64_t)h;
}

static int finish_extents(struct cs_intake *in, struct cs_entry *e, struct cs_error *err)
{
	if (in->extent_count == 0) {
		e->content = CS_CONTENT_NONE;
		return CS_OK;
	}
	cs_buf_clear(&in->inline_bytes);
	if (cs_pages_take_single(&in->extents, CS_INLINE_EXTENTS_MAX, &in->inline_bytes)) {
		if (in->inline_bytes.failed)
			return cs_fail(err, CS_E_NOMEM, "out of memory");
		e->content = CS_CONTENT_EXTENTS;
		e->bytes = in->inline_bytes.data;
		e->bytes_len = (uint32_t)in->inline_bytes.len;
		return CS_OK;
	}
	e->content = CS_CONTENT_PAGES;
	return cs_pages_finish(&in->extents, &e->extents, err);
}

static int take_large(struct cs_intake *in, int fd, struct cs_entry *e, struct cs_hash *hash,
		      int *read_errno, struct cs_error *err)
{
	bool sparse = e->data_bytes < e->size;
	uint64_t off = 0, size = e->size, data = 0;
	int rc = CS_OK;

	cs_hasher_reset(in->hasher);
	in->extent_count = 0;
	in->at = 0;
	while (off < size && rc == CS_OK) {
		uint64_t from, to, end = off;
		next_data(fd, off, size, sparse, &from, &to);
		rc = add_hole(in, from - off, err);
		off = from;
		if (rc != CS_OK || off >= size)
			break;
		rc = take_segment(in, fd, from, to, &end, read_errno, err);
		if (rc != CS_OK || *read_errno)
			break;
		data += end - from;
		off = end;
		if (end < to) /* the file is shorter now */
			size = end;
	}
	if (rc == CS_OK && !*read_errno) {
		e->size = size;
		e->data_bytes = data;
		*hash = e->hash = cs_hasher_end(in->hasher);
		rc = finish_extents(in, e, err);
	}
	if (rc != CS_OK || *read_errno) { /* leave nothing for the next file */
		cs_pages_writer_release(&in->extents);
		cs_pages_writer_init(&in->extents, CS_PAGE_EXTENT, put_extent_page, in);
	}
	return rc;
}

int cs_intake_file(struct cs_intake *in, int fd, const struct cs_entry *old, struct cs_entry *e,
		   struct cs_hash *hash, int *read_errno, struct cs_error *err)
{
	bool sparse = e->size > 4096 && e->data_bytes < e->size;
	bool large = e->size > CS_WHOLE_FILE_MAX || sparse;
	*read_errno = 0;
	in->old = old;
	int rc = large ? take_large(in, fd, e, hash, read_errno, err) :
			 take_small(in, fd, e, hash, read_errno, err);
	cs_file_extents_release(&in->old_extents);
	in->old = NULL;
	return rc;
}
