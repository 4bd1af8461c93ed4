/* SPDX-License-Identifier: MIT */
/*
 * ingest_file.c - one entry that is new or changed.
 *
 * A file is described by what its open descriptor says, not by what its name
 * said earlier, so that attributes and content are of one file. If it changed
 * while it was read, a small one is read again; one that keeps changing is
 * stored as it was read, and told of.
 */
#include "ingest.h"

#include "alloc.h"
#include "hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define TRIES 3
#define RETRY_SIZE_MAX (1u << 20)

/* A clock tick during which two changes can carry one timestamp. */
#define TICK_NS 20000000
#define COARSE_NS 2000000000

static bool time_equal(struct cs_time a, struct cs_time b)
{
	return a.sec == b.sec && a.nsec == b.nsec;
}

/* Was the entry last changed so shortly before the parent began that it may have changed unseen? */
static bool too_young(struct cs_time ctime, struct cs_time mtime, struct cs_time started)
{
	int64_t margin = ctime.nsec == 0 && mtime.nsec == 0 ? COARSE_NS : TICK_NS;
	if (ctime.sec > started.sec + 3 || ctime.sec < started.sec - 3)
		return ctime.sec > started.sec;
	int64_t age = (started.sec - ctime.sec) * 1000000000 + (int64_t)started.nsec -
		      (int64_t)ctime.nsec;
	return age < margin;
}

bool cs_ingest_unchanged(const struct cs_ingest *in, const struct cs_entry *old,
			 const struct cs_entry *now)
{
	return !in->opts->force && !in->opts->heal && old->mode == now->mode && old->ino == now->ino &&
	       old->volume == now->volume && old->uid == now->uid && old->gid == now->gid &&
	       (S_ISDIR(now->mode) || old->nlink == now->nlink) &&
	       (!S_ISREG(now->mode) || old->size == now->size) &&
	       time_equal(old->mtime, now->mtime) && time_equal(old->ctime, now->ctime) &&
	       !too_young(now->ctime, now->mtime, in->trusted);
}

/* A row for a file system that has none: a new one, or one that nothing of this backup lies on. */
static int new_volume(struct cs_ingest *in, uint32_t *out, struct cs_error *err)
{
	if (in->nvolumes < CS_VOLUMES_MAX) {
		if (cs_grow(&in->volumes, &in->volumes_cap, in->nvolumes + 1,
			    sizeof(*in->volumes)) != CS_OK)
			return cs_fail(err, CS_E_NOMEM, "out of memory");
		*out = (uint32_t)in->nvolumes++;
		return CS_OK;
	}
	for (uint32_t i = 1; i < CS_VOLUMES_MAX; i++)
		if (!in->volume_used[i]) {
			*out = i;
			return CS_OK;
		}
	return cs_fail(err, CS_E_LIMIT, "the source spans more than %d file systems",
		       CS_VOLUMES_MAX);
}

int cs_ingest_volume(struct cs_ingest *in, int fd, const struct cs_source_stat *st, bool is_root,
		     uint32_t *out, struct cs_error *err)
{
	struct statfs fs;
	uint32_t at = 0;
	while (!is_root && at < in->nvolumes &&
	       !(in->volumes[at].major == st->dev_major && in->volumes[at].minor == st->dev_minor))
		at++;
	if (!is_root && at < in->nvolumes && in->volume_used[at]) {
		*out = at;
		return CS_OK;
	}
	if (is_root ? in->nvolumes == 0 : at == in->nvolumes) {
		int rc = new_volume(in, &at, err);
		if (rc != CS_OK)
			return rc;
	}
	/* the parent's row may tell of what had this device number before */
	in->volumes[at] = (struct cs_volume){ st->dev_major, st->dev_minor, 0 };
	if (fd >= 0 && fstatfs(fd, &fs) == 0)
		in->volumes[at].fs_type = (uint32_t)fs.f_type;
	in->volume_used[at] = true;
	*out = at;
	return CS_OK;
}

bool cs_ingest_is_lock(const struct cs_ingest *in, const struct cs_entry *e,
		       const struct cs_source_stat *st)
{
	return e->ino == in->store->lock_ino &&
	       makedev(st->dev_major, st->dev_minor) == in->store->dev;
}

/* ---- extended attributes */

static int store_long_values(struct cs_ingest *in, struct cs_error *err)
{
	for (size_t i = 0; i < in->nxattrs; i++) {
		struct cs_xattr_item *x = &in->xattrs[i];
		if (x->value_len <= CS_INLINE_XATTR_VALUE_MAX)
			continue;
		int rc = cs_pipeline_chunk(in->pipeline, CS_BUNDLE_DATA, x->value, x->value_len, 0,
					   &x->chunk, &x->hash, err);
		if (rc != CS_OK)
			return rc;
	}
	return CS_OK;
}

int cs_ingest_xattrs(struct cs_ingest *in, int fd, int dirfd, const char *name,
		     struct cs_entry *e, struct cs_error *err)
{
	free(in->xattrs);
	in->xattrs = NULL;
	in->nxattrs = 0;
	int e_no = cs_walk_xattrs(fd, dirfd, name, &in->xattr_text, &in->xattrs, &in->nxattrs,
				  &e->have);
	if (e_no)
		return e_no;
	if (in->nxattrs == 0)
		return 0;
	int rc = store_long_values(in, err);
	if (rc != CS_OK)
		return rc;
	cs_buf_clear(&in->xattr_packed);
	cs_xattr_pack(&in->xattr_packed, in->xattrs, in->nxattrs);
	if (in->xattr_packed.failed)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	if (in->xattr_packed.len > CS_INLINE_XATTRS_MAX)
		return cs_pipeline_chunk(in->pipeline, CS_BUNDLE_META, in->xattr_packed.data,
					 in->xattr_packed.len, 0, &e->xattrs_chunk, NULL,
					 err);
	e->xattrs = in->xattr_packed.data;
	e->xattrs_len = (uint32_t)in->xattr_packed.len;
	return 0;
}

/* ---- files with several links */

static struct cs_same_inode *same_row(struct cs_ingest *in, const struct cs_entry *e)
{
	uint64_t v = (e->ino + e->volume * 0x9e3779b97f4a7c15ull) * 0xff51afd7ed558ccdull;
	return &in->same[(v >> 32) % CS_SAME_INODE_ROWS];
}

/* A link to a file that was read a moment ago has its content. */
static bool same_find(struct cs_ingest *in, struct cs_entry *e, struct cs_hash *hash)
{
	struct cs_same_inode *s = same_row(in, e);
	if (e->nlink < 2 || s->volume != e->volume || s->ino != e->ino ||
	    !time_equal(s->entry.ctime, e->ctime) || !time_equal(s->entry.mtime, e->mtime) ||
	    s->entry.size != e->size)
		return false;
	e->content = s->entry.content;
	e->chunk = s->entry.chunk;
	e->bytes = s->bytes;
	e->bytes_len = s->entry.bytes_len;
	e->extents = s->entry.extents;
	e->hash = s->entry.hash;
	e->data_bytes = s->entry.data_bytes;
	*hash = s->hash;
	return true;
}

static void same_keep(struct cs_ingest *in, const struct cs_entry *e, const struct cs_hash *hash)
{
	struct cs_same_inode *s = same_row(in, e);
	uint8_t *copy = NULL;
	if (e->nlink < 2 || (s->bytes && e->bytes == s->bytes)) /* came from this row */
		return;
	if (e->bytes_len && !(copy = cs_alloc(e->bytes_len)))
		return;
	if (copy)
		memcpy(copy, e->bytes, e->bytes_len);
	free(s->bytes);
	*s = (struct cs_same_inode){ e->volume, e->ino, *e, copy, *hash };
}

/* ---- regular files */

/* e_no: an errno, or a negative code. 0: the entry is left out; negative: stop. */
static int leave_out(struct cs_ingest *in, int e_no, const char *what)
{
	if (e_no < 0)
		return e_no;
	if (e_no == ENOENT || e_no == ESTALE) {
		cs_ingest_notice(in, CS_NOTICE_INFO, "vanished while it was being read");
		return 0;
	}
	cs_ingest_notice(in, CS_NOTICE_ERROR, "%s: %s", what, strerror(e_no));
	cs_ingest_lacks(in, e_no);
	return 0;
}

/* Read fd once. 1: e is complete, *again: it changed meanwhile. */
static int read_once(struct cs_ingest *in, int fd, const struct cs_entry *old, struct cs_entry *e,
		     struct cs_hash *hash, bool *again, struct cs_error *err)
{
	int read_errno = 0;
	struct cs_entry after;
	struct cs_source_stat st;
	cs_walk_flags(fd, e);
	int rc = cs_ingest_xattrs(in, fd, -1, NULL, e, err);
	if (rc)
		return leave_out(in, rc, "cannot read its extended attributes");
	uint64_t size = e->size;
	struct cs_time mtime = e->mtime, ctime = e->ctime;
	*again = false;
	if (same_find(in, e, hash))
		return 1;
	rc = cs_intake_file(&in->intake, fd, old, e, hash, &read_errno, err);
	if (in->intake.waited)
		cs_ahead_wake(in->ahead);
	in->intake.waited = false;
	if (rc != CS_OK)
		return rc;
	if (read_errno)
		return leave_out(in, read_errno, "cannot read");
	in->result.bytes_read += e->size;
	int e_no = cs_walk_stat(fd, "", &after, &st);
	*again = e_no || !time_equal(after.mtime, mtime) || !time_equal(after.ctime, ctime) ||
		 after.size != size || e->size != size;
	return 1;
}

static int ingest_regular(struct cs_ingest *in, int dirfd, const char *name,
			  const struct cs_entry *old, struct cs_entry *e, struct cs_hash *hash,
			  struct cs_error *err)
{
	int fd = cs_walk_open(dirfd, name, 0);
	if (fd < 0)
		return leave_out(in, -fd, "cannot open");
	in->result.files_read++;
	bool again = true;
	int rc = 1;
	for (int i = 0; i < TRIES && rc == 1 && again; i++) {
		struct cs_source_stat st;
		uint32_t volume = e->volume;
		const char *n = e->name;
		uint32_t n_len = e->name_len;
		int e_no = cs_walk_stat(fd, "", e, &st);
		e->volume = volume;
		e->name = n;
		e->name_len = n_len;
		if (e_no || !S_ISREG(e->mode)) {
			rc = leave_out(in, e_no ? e_no : ENOENT, "cannot stat");
			break;
		}
		rc = read_once(in, fd, old, e, hash, &again, err);
		if (e->size > RETRY_SIZE_MAX)
			break;
	}
	close(fd);
	if (rc == 1 && again) {
		in->result.point.changed++;
		cs_ingest_notice(in, CS_NOTICE_CHANGED, "changed while it was being read");
	} else if (rc == 1) {
		same_keep(in, e, hash);
	}
	return rc;
}

/* ---- everything else */

static int ingest_symlink(struct cs_ingest *in, int dirfd, const char *name, struct cs_entry *e)
{
	cs_buf_clear(&in->target);
	if (!cs_buf_reserve(&in->target, CS_SYMLINK_MAX + 1))
		return leave_out(in, ENOMEM, "cannot read its target");
	ssize_t n = readlinkat(dirfd, name, (char *)in->target.data, CS_SYMLINK_MAX + 1);
	if (n < 0)
		return leave_out(in, errno, "cannot read its target");
	if (n == 0 || n > (ssize_t)CS_SYMLINK_MAX)
		return leave_out(in, ENAMETOOLONG, "cannot store its target");
	e->bytes = in->target.data;
	e->bytes_len = (uint32_t)n;
	e->size = (uint64_t)n;
	return 1;
}

int cs_ingest_file(struct cs_ingest *in, int dirfd, const char *name, const struct cs_entry *old,
		   struct cs_entry *e, struct cs_hash *hash, struct cs_error *err)
{
	if (S_ISREG(e->mode))
		return ingest_regular(in, dirfd, name, old && S_ISREG(old->mode) ? old : NULL, e,
				      hash, err);
	e->data_bytes = 0;
	if (S_ISLNK(e->mode)) {
		int rc = ingest_symlink(in, dirfd, name, e);
		if (rc != 1)
			return rc;
	}
	int rc = cs_ingest_xattrs(in, -1, dirfd, name, e, err);
	return rc ? leave_out(in, rc, "cannot read its extended attributes") : 1;
}
