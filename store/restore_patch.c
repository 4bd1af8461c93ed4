/* SPDX-License-Identifier: MIT */
/*
 * restore_patch.c - decision: compare what is there with what should be, block
 * by block, and write the blocks that differ; so a disk image of which little
 * changed costs a read, and no room. The price is that a crash leaves a
 * mixture: nobody gets this without asking. Before the first block is written,
 * the file loses what would let the mixture run with another one's rights, or
 * be read by those who are not to read it when it is complete; its time of
 * modification is today's until then.
 *
 * Holes are punched where the recorded file has holes; where that cannot be
 * done, and on a device, zeroes are written over what is not zero.
 */
#include "restore_there_impl.h"

#include "alloc.h"
#include "cleanup.h"

#include <fcntl.h>
#include <linux/falloc.h>
#include <string.h>
#include <sys/xattr.h>

#define BLOCK 4096u

struct patch {
	struct cs_restore_worker *w;
	int fd;
	bool device, no_punch;
	uint64_t limit;  /* what is there ends here */
	uint8_t *have, *want; /* CS_RESTORE_PIECE each */
};

static int put(struct patch *p, const uint8_t *data, size_t len, uint64_t off, struct cs_error *err)
{
	while (len > 0) {
		ssize_t n = pwrite(p->fd, data, len, (off_t)off);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cs_restore_failed(p->w, errno, err, "cannot write");
		p->w->run->written += (uint64_t)n;
		data += n;
		len -= (size_t)n;
		off += (uint64_t)n;
	}
	return CS_OK;
}

/* What is there; behind its end nothing is. *got: how much. */
static int get(struct patch *p, uint64_t off, size_t len, size_t *got, struct cs_error *err)
{
	*got = 0;
	while (*got < len && off + *got < p->limit) {
		ssize_t n = pread(p->fd, p->have + *got, len - *got, (off_t)(off + *got));
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return cs_restore_failed(p->w, errno, err, "cannot read what is there");
		if (n == 0)
			break;
		*got += (size_t)n;
	}
	return CS_OK;
}

/* Write the blocks of want that are not there. */
static int put_differing(struct patch *p, uint64_t off, size_t len, struct cs_error *err)
{
	size_t got, from = 0;

	int r = get(p, off, len, &got, err);
	for (size_t at = 0; r == CS_OK && at < len; at += BLOCK) {
		size_t n = len - at < BLOCK ? len - at : BLOCK;
		bool same = at + n <= got && memcmp(p->have + at, p->want + at, n) == 0;
		if (same && at > from)
			r = put(p, p->want + from, at - from, off + from, err);
		if (same)
			from = at + n;
	}
	return r == CS_OK && from < len ? put(p, p->want + from, len - from, off + from, err) : r;
}

static int patch_data(struct patch *p, const struct cs_node *n, uint64_t off, uint64_t end,
		      struct cs_error *err)
{
	while (off < end) {
		size_t len = end - off < CS_RESTORE_PIECE ? (size_t)(end - off) : CS_RESTORE_PIECE;
		size_t at = 0;
		int r = cs_restore_alive(p->w->run, err);
		if (r == CS_OK)
			r = cs_restore_read(p->w, n, off, len, err);
		if (r < 0)
			return r;
		for (size_t i = 0; i < p->w->rd.niov; at += p->w->rd.iov[i++].iov_len)
			memcpy(p->want + at, p->w->rd.iov[i].iov_base, p->w->rd.iov[i].iov_len);
		r = put_differing(p, off, len, err);
		if (r < 0)
			return r;
		off += len;
	}
	return CS_OK;
}

static int patch_hole(struct patch *p, uint64_t off, uint64_t end, struct cs_error *err)
{
	if (!p->device && end > p->limit)
		end = p->limit; /* the rest comes with the size */
	if (off < end && !p->device && !p->no_punch) {
		if (fallocate(p->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)off,
			      (off_t)(end - off)) == 0)
			return CS_OK;
		if (errno != EOPNOTSUPP)
			return cs_restore_failed(p->w, errno, err, "cannot make a hole");
		p->no_punch = true;
	}
	memset(p->want, 0, CS_RESTORE_PIECE);
	while (off < end) {
		size_t len = end - off < CS_RESTORE_PIECE ? (size_t)(end - off) : CS_RESTORE_PIECE;
		int r = cs_restore_alive(p->w->run, err);
		if (r == CS_OK)
			r = put_differing(p, off, len, err);
		if (r < 0)
			return r;
		off += len;
	}
	return CS_OK;
}

static int patch_all(struct patch *p, const struct cs_node *n, struct cs_error *err)
{
	uint64_t off = 0, size = n->entry.size;

	while (off < size) {
		uint64_t data, hole = size;
		int r = cs_file_seek(p->w->run->tree, n, off, true, &data, err);
		if (r == CS_E_NOTFOUND) {
			data = size;
			r = CS_OK;
		} else if (r == CS_OK) {
			r = cs_file_seek(p->w->run->tree, n, data, false, &hole, err);
		}
		if (r == CS_OK && (data < off || hole < data || hole > size || hole <= off))
			r = cs_fail(err, CS_E_CORRUPT, "the extents are damaged");
		if (r == CS_OK)
			r = patch_hole(p, off, data, err);
		if (r == CS_OK)
			r = patch_data(p, n, data, hole, err);
		if (r < 0)
			return r;
		off = hole;
	}
	return CS_OK;
}

static int with_room(struct patch *p, const struct cs_node *n, struct cs_error *err)
{
	CS_FREE uint8_t *have = cs_alloc(CS_RESTORE_PIECE), *want = cs_alloc(CS_RESTORE_PIECE);

	if (!have || !want)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	p->have = have;
	p->want = want;
	return patch_all(p, n, err);
}

int cs_restore_patch(struct cs_restore_worker *w, const struct cs_restore_target *t,
		     const struct cs_node *n, const struct cs_restore_found *f,
		     struct cs_error *err)
{
	struct cs_restore_target own = *t;
	CS_CLOSE int fd = cs_restore_open_found(f, O_RDWR);
	struct patch p = { .w = w, .fd = fd };
	struct stat st;

	if (n->entry.size > INT64_MAX)
		return cs_fail(err, CS_E_CORRUPT, "the size is damaged");
	if (fd < 0 || fstat(fd, &st) != 0)
		return cs_restore_failed(w, fd < 0 ? -fd : errno, err, "cannot open for writing");
	if (!S_ISREG(st.st_mode) || st.st_nlink != 1)
		return cs_fail(err, CS_E_BUSY, "changed meanwhile, left alone");
	mode_t narrow = st.st_mode & 01777 & (n->entry.mode | 0600);
	if (narrow != (st.st_mode & 07777) && fchmod(fd, narrow) != 0)
		return cs_restore_failed(w, errno, err, "cannot change the mode");
	fremovexattr(fd, "security.capability");
	if ((uint64_t)st.st_size > n->entry.size && ftruncate(fd, (off_t)n->entry.size) != 0)
		return cs_restore_failed(w, errno, err, "cannot set the size");
	p.limit = (uint64_t)st.st_size < n->entry.size ? (uint64_t)st.st_size : n->entry.size;
	int r = with_room(&p, n, err);
	if (r == CS_OK && p.limit < n->entry.size && ftruncate(fd, (off_t)n->entry.size) != 0)
		r = cs_restore_failed(w, errno, err, "cannot set the size");
	own.fd = fd;
	if (r == CS_OK)
		r = cs_restore_drop_xattrs(w->run, n, fd, err);
	return r == CS_OK ? cs_restore_attrs(w->run, &own, n, err) : r;
}

int cs_restore_device(struct cs_restore_run *run, const char *path, const struct cs_node *n,
		      struct cs_error *err)
{
	struct cs_restore_worker w = { .run = run };
	/* O_EXCL: nobody has it mounted or otherwise in use */
	int flags = run->opts->dry_run ? O_RDONLY : O_RDWR | O_EXCL;
	CS_CLOSE int fd = open(path, flags | O_CLOEXEC);
	struct patch p = { .w = &w, .fd = fd, .device = true };
	struct stat st;

	if (fd < 0)
		return cs_fail_errno(err, errno, "%s", path);
	off_t size = lseek(fd, 0, SEEK_END);
	if (fstat(fd, &st) != 0 || !S_ISBLK(st.st_mode) || size < 0)
		return cs_fail(err, CS_E_BUSY, "%s: changed meanwhile", path);
	if ((uint64_t)size < n->entry.size)
		return cs_fail(err, CS_E_FULL, "%s is smaller than what is to be restored: "
			       "%llu instead of %llu bytes", path, (unsigned long long)size,
			       (unsigned long long)n->entry.size);
	p.limit = n->entry.size;
	int r = run->opts->dry_run ? CS_OK : with_room(&p, n, err);
	if (r == CS_OK && !run->opts->dry_run && fsync(fd) != 0)
		r = cs_fail_errno(err, errno, "cannot write");
	cs_read_release(&w.rd);
	if (r < 0) {
		struct cs_error sub = *err;
		return cs_fail(err, r, "%s: %s", path, sub.text);
	}
	run->single = true;
	run->counts[CS_RESTORED_PATCHED]++;
	if (run->opts->told)
		cs_restore_tell_fate(run, CS_RESTORED_PATCHED, "", 0);
	run->entries = 1;
	run->bytes = n->entry.size;
	return CS_OK;
}
