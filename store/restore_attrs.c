/* SPDX-License-Identifier: MIT */
/*
 * restore_attrs.c - decision: the order. Owner first, since a change of owner
 * takes away setuid bits and capabilities. Then extended attributes, while the
 * mode still lets the owner write them; an access list says the same about the
 * group bits as the mode that follows. Then the mode, the times last. What
 * makes a file immutable or append-only comes when nothing else will touch it.
 *
 * A file that could not be given its owner gets no setuid bit either: the
 * program would run as whoever restored it.
 */
#include "restore_there_impl.h"

#include "alloc.h"
#include "cleanup.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/xattr.h>

/* Flags that belong to the user, not to the file system. */
#define FLAGS_LOCK (FS_IMMUTABLE_FL | FS_APPEND_FL)
#define FLAGS_OTHER (FS_SECRM_FL | FS_UNRM_FL | FS_COMPR_FL | FS_SYNC_FL | FS_NODUMP_FL |         \
		     FS_NOATIME_FL | FS_JOURNAL_DATA_FL | FS_NOTAIL_FL | FS_DIRSYNC_FL |          \
		     FS_TOPDIR_FL | FS_NOCOW_FL | FS_PROJINHERIT_FL | FS_CASEFOLD_FL | FS_DAX_FL)

static uint32_t wanted_flags(const struct cs_node *n, uint32_t mask)
{
	return n->entry.have & CS_HAVE_FLAGS ? n->entry.flags & mask : 0;
}

/* Add flags to those that the object has. */
static void add_flags(struct cs_restore_run *run, const struct cs_restore_target *t, uint32_t flags)
{
	int now = 0;

	if (ioctl(t->fd, FS_IOC_GETFLAGS, &now) == 0) {
		int then = (int)((uint32_t)now | flags);
		if (then == now || ioctl(t->fd, FS_IOC_SETFLAGS, &then) == 0)
			return;
	}
	cs_restore_lapse(run, CS_RESTORE_FLAGS, t, NULL, errno);
}

static void set_projid(struct cs_restore_run *run, const struct cs_restore_target *t,
		       uint32_t projid)
{
	struct fsxattr x;

	if (ioctl(t->fd, FS_IOC_FSGETXATTR, &x) == 0) {
		if (x.fsx_projid == projid)
			return;
		x.fsx_projid = projid;
		if (ioctl(t->fd, FS_IOC_FSSETXATTR, &x) == 0)
			return;
	}
	cs_restore_lapse(run, CS_RESTORE_PROJID, t, NULL, errno);
}

void cs_restore_early(struct cs_restore_run *run, const struct cs_restore_target *t,
		      const struct cs_node *n)
{
	uint32_t flags = wanted_flags(n, FLAGS_OTHER);
	if (run->inherits && !t->clean) {
		fremovexattr(t->fd, "system.posix_acl_access");
		fremovexattr(t->fd, "system.posix_acl_default");
	}
	if (flags)
		add_flags(run, t, flags);
	if (n->entry.have & CS_HAVE_PROJID && n->entry.projid)
		set_projid(run, t, n->entry.projid);
}

static int change_owner(const struct cs_restore_target *t, uid_t uid, gid_t gid)
{
	return t->fd >= 0 ? fchown(t->fd, uid, gid) :
			    fchownat(t->dirfd, t->name, uid, gid, AT_SYMLINK_NOFOLLOW);
}

/* Returns the mode bits that the object may not have with the owner that it has now. */
static mode_t set_owner(struct cs_restore_run *run, const struct cs_restore_target *t,
			const struct cs_entry *e)
{
	mode_t drop = 0;

	if (run->owned && e->uid == run->uid && e->gid == run->gid)
		return 0;
	if (change_owner(t, e->uid, e->gid) == 0)
		return 0;
	int sys = errno;
	if (e->uid != run->uid)
		drop |= S_ISUID;
	if (change_owner(t, (uid_t)-1, e->gid) != 0)
		drop |= S_ISGID;
	cs_restore_lapse(run, CS_RESTORE_OWNER, t, NULL, sys);
	return drop;
}

static int set_xattr(const struct cs_restore_target *t, const struct cs_xattr *x)
{
	char path[64 + 256];

	if (t->fd >= 0)
		return fsetxattr(t->fd, x->name, x->value, x->value_len, 0);
	/* a symbolic link cannot be opened; the last name of a path is not followed */
	snprintf(path, sizeof(path), "/proc/self/fd/%d/%s", t->dirfd, t->name);
	return lsetxattr(path, x->name, x->value, x->value_len, 0);
}

static int set_xattrs(struct cs_restore_run *run, const struct cs_restore_target *t,
		      const struct cs_node *n, struct cs_error *err)
{
	struct cs_xattrs list = { 0 };
	struct cs_error sub;

	if (!cs_entry_has_xattrs(&n->entry))
		return CS_OK;
	int r = cs_xattrs_load(run->tree, n, &list, &sub);
	if (r == CS_E_NOMEM)
		return cs_fail(err, r, "%s", sub.text);
	if (r < 0) {
		const char *name = t->shown ? t->shown : t->name;
		cs_restore_tell(run, CS_NOTICE_ERROR, t->dir, name, strlen(name), sub.text);
		return CS_OK;
	}
	for (size_t i = 0; i < list.count; i++) {
		if (set_xattr(t, &list.list[i]) == 0)
			continue;
		int sys = errno;
		if (cs_restore_errno_fatal(sys)) {
			r = cs_fail_errno(err, sys, "cannot set extended attribute %s",
					  list.list[i].name);
			break;
		}
		cs_restore_lapse(run, CS_RESTORE_XATTR, t, list.list[i].name, sys);
	}
	cs_xattrs_release(&list);
	return r;
}

int cs_restore_attrs(struct cs_restore_run *run, const struct cs_restore_target *t,
		     const struct cs_node *n, struct cs_error *err)
{
	const struct cs_entry *e = &n->entry;
	const struct timespec times[2] = {
		{ e->atime.sec, e->atime.nsec }, { e->mtime.sec, e->mtime.nsec },
	};
	mode_t drop = set_owner(run, t, e);

	int r = set_xattrs(run, t, n, err);
	if (r < 0)
		return r;
	if (!S_ISLNK(e->mode)) {
		mode_t mode = e->mode & 07777 & ~drop;
		if ((t->fd >= 0 ? fchmod(t->fd, mode) : fchmodat(t->dirfd, t->name, mode,
							     AT_SYMLINK_NOFOLLOW)) != 0)
			cs_restore_lapse(run, CS_RESTORE_MODE, t, NULL, errno);
	}
	if ((t->fd >= 0 ? futimens(t->fd, times) :
			  utimensat(t->dirfd, t->name, times, AT_SYMLINK_NOFOLLOW)) != 0)
		cs_restore_lapse(run, CS_RESTORE_TIMES, t, NULL, errno);
	return CS_OK;
}

/* ---- immutable and append-only */

struct cs_restore_flagged {
	struct cs_restore_flagged *next;
	struct cs_restore_dir *dir;
	uint32_t flags;
	size_t name_len;
	char name[];
};

bool cs_restore_is_locked(const struct cs_node *n)
{
	return wanted_flags(n, FLAGS_LOCK) != 0;
}

void cs_restore_lock(struct cs_restore_run *run, const struct cs_restore_target *t, uint32_t flags)
{
	add_flags(run, t, flags & FLAGS_LOCK);
}

int cs_restore_lock_later(struct cs_restore_run *run, struct cs_restore_dir *d,
			  const struct cs_node *n, struct cs_error *err)
{
	size_t len = n->entry.name_len;
	struct cs_restore_flagged *f = cs_alloc(sizeof(*f) + len + 1);
	if (!f)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	cs_restore_dir_hold(run, d);
	f->dir = d;
	f->flags = n->entry.flags;
	f->name_len = len;
	memcpy(f->name, n->entry.name, len);
	f->name[len] = '\0';
	pthread_mutex_lock(&run->lock);
	f->next = run->flagged;
	run->flagged = f;
	pthread_mutex_unlock(&run->lock);
	return CS_OK;
}

void cs_restore_lock_files(struct cs_restore_run *run)
{
	for (struct cs_restore_flagged *f = run->flagged; f; f = f->next) {
		struct cs_error err;
		int r = cs_restore_dir_use(run, f->dir, &err);
		if (r == CS_OK) {
			struct cs_restore_target t = { .fd = -1, .dirfd = f->dir->fd,
						       .name = f->name, .dir = f->dir };
			struct cs_restore_found there;
			r = cs_restore_look(f->dir, f->name, &there, &err);
			if (r == CS_OK && there.there && S_ISREG(there.st.st_mode))
				t.fd = cs_restore_open_found(&there, O_RDONLY);
			if (t.fd >= 0) {
				cs_restore_lock(run, &t, f->flags);
				close(t.fd);
			} else if (r == CS_OK) {
				r = cs_fail(&err, CS_E_ACCESS, "cannot set its flags");
			}
			cs_restore_found_close(&there);
			cs_restore_dir_unuse(run, f->dir);
		}
		if (r < 0)
			cs_restore_tell(run, CS_NOTICE_INFO, f->dir, f->name, f->name_len,
					err.text);
	}
}

void cs_restore_lock_forget(struct cs_restore_run *run)
{
	while (run->flagged) {
		struct cs_restore_flagged *f = run->flagged;
		run->flagged = f->next;
		cs_restore_dir_drop(run, f->dir);
		free(f);
	}
}
