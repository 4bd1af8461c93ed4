/* SPDX-License-Identifier: MIT */
#include "walk.h"

#include "alloc.h"
#include "format.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/xattr.h>
#include <unistd.h>

/* ---- names */

/* Through the system call itself: one large buffer, no DIR for every directory. */
int cs_walk_names(int fd, struct cs_sorter *out, int *read_errno, struct cs_error *err)
{
	static _Thread_local char buf[64 << 10] __attribute__((aligned(8)));
	*read_errno = 0;
	for (;;) {
		long n = syscall(SYS_getdents64, fd, buf, sizeof(buf));
		if (n <= 0) {
			*read_errno = n ? errno : 0;
			return CS_OK;
		}
		for (long at = 0; at < n;) {
			struct dirent64 *d = (struct dirent64 *)(void *)(buf + at);
			at += d->d_reclen;
			if (strcmp(d->d_name, ".") == 0 || strcmp(d->d_name, "..") == 0)
				continue;
			int rc = cs_sorter_add(out, d->d_name, strlen(d->d_name) + 1, err);
			if (rc != CS_OK)
				return rc;
		}
	}
}

/* ---- attributes */

static struct cs_time time_of(struct statx_timestamp t)
{
	return (struct cs_time){ t.tv_sec, t.tv_nsec };
}

int cs_walk_stat(int dirfd, const char *name, struct cs_entry *out, struct cs_source_stat *st)
{
	struct statx x;
	int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | (*name ? 0 : AT_EMPTY_PATH);
	if (statx(dirfd, name, flags, STATX_BASIC_STATS | STATX_BTIME, &x) != 0)
		return errno;
	memset(out, 0, sizeof(*out));
	out->mode = x.stx_mode;
	out->uid = x.stx_uid;
	out->gid = x.stx_gid;
	out->nlink = x.stx_nlink;
	out->ino = x.stx_ino;
	out->size = S_ISREG(x.stx_mode) || S_ISLNK(x.stx_mode) ? x.stx_size : 0;
	out->data_bytes = x.stx_blocks * 512;
	out->mtime = time_of(x.stx_mtime);
	out->ctime = time_of(x.stx_ctime);
	out->atime = time_of(x.stx_atime);
	if (x.stx_mask & STATX_BTIME) {
		out->have |= CS_HAVE_BTIME;
		out->btime = time_of(x.stx_btime);
	}
	if (S_ISCHR(x.stx_mode) || S_ISBLK(x.stx_mode)) {
		out->rdev_major = x.stx_rdev_major;
		out->rdev_minor = x.stx_rdev_minor;
	}
	if (st) {
		st->dev_major = x.stx_dev_major;
		st->dev_minor = x.stx_dev_minor;
	}
	return 0;
}

int cs_walk_open(int dirfd, const char *name, int flags)
{
	flags |= O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK | O_NOCTTY;
	int fd = openat(dirfd, name, flags | O_NOATIME);
	if (fd < 0 && errno == EPERM) /* only the owner and root may leave atime alone */
		fd = openat(dirfd, name, flags);
	return fd < 0 ? -errno : fd;
}

void cs_walk_flags(int fd, struct cs_entry *e)
{
	int flags = 0;
	struct fsxattr x;
	if (ioctl(fd, FS_IOC_GETFLAGS, &flags) == 0) {
		e->have |= CS_HAVE_FLAGS;
		e->flags = (uint32_t)flags;
	}
	if (ioctl(fd, FS_IOC_FSGETXATTR, &x) == 0) {
		e->have |= CS_HAVE_PROJID;
		e->projid = x.fsx_projid;
	}
}

bool cs_walk_pseudo_fs(uint32_t fs_type)
{
	switch (fs_type) {
	case PROC_SUPER_MAGIC:
	case SYSFS_MAGIC:
	case CGROUP_SUPER_MAGIC:
	case CGROUP2_SUPER_MAGIC:
	case DEVPTS_SUPER_MAGIC:
	case DEBUGFS_MAGIC:
	case TRACEFS_MAGIC:
	case SECURITYFS_MAGIC:
	case BPF_FS_MAGIC:
	case PSTOREFS_MAGIC:
	case EFIVARFS_MAGIC:
	case NSFS_MAGIC:
	case BINFMTFS_MAGIC:
	case 0x62656570: /* configfs */
	case 0x19800202: /* mqueue */
	case 0x65735543: /* fusectl */
	case 0x67596969: /* rpc_pipefs */
		return true;
	default:
		return false;
	}
}

/* ---- extended attributes */

/* What an attribute call is aimed at: a descriptor, or a path that ends in the name. */
struct target {
	int fd;
	char path[64 + 256];
};

static ssize_t list_names(const struct target *t, char *buf, size_t cap)
{
	return t->fd >= 0 ? flistxattr(t->fd, buf, cap) : llistxattr(t->path, buf, cap);
}

static ssize_t get_value(const struct target *t, const char *name, void *buf, size_t cap)
{
	return t->fd >= 0 ? fgetxattr(t->fd, name, buf, cap) : lgetxattr(t->path, name, buf, cap);
}

static bool no_such_thing(int e)
{
	return e == EOPNOTSUPP || e == ENOSYS;
}

static int compare_items(const void *a, const void *b)
{
	const struct cs_xattr_item *x = a, *y = b;
	return strcmp(x->name, y->name);
}

/*
 * b: the list of names, then the values. Items hold offsets until b has its
 * final place.
 */
static int read_values(const struct target *t, struct cs_buf *b, size_t list_len,
		       struct cs_xattr_item *items, size_t *n)
{
	for (size_t at = 0; at < list_len; at += strlen((char *)b->data + at) + 1) {
		if (b->len > CS_XATTR_TOTAL_MAX)
			return E2BIG;
		if (!cs_buf_reserve(b, CS_XATTR_VALUE_MAX))
			return ENOMEM;
		const char *name = (const char *)b->data + at;
		ssize_t len = get_value(t, name, b->data + b->len, CS_XATTR_VALUE_MAX);
		if (len < 0 && (errno == ENODATA || no_such_thing(errno)))
			continue; /* went away, or only listed */
		if (len < 0)
			return errno;
		items[(*n)++] = (struct cs_xattr_item){ .name = (const char *)at,
							.name_len = strlen(name),
							.value = (const uint8_t *)b->len,
							.value_len = (size_t)len };
		b->len += (size_t)len;
	}
	for (size_t i = 0; i < *n; i++) {
		items[i].name = (const char *)b->data + (size_t)items[i].name;
		items[i].value = b->data + (size_t)items[i].value;
	}
	qsort(items, *n, sizeof(*items), compare_items);
	return 0;
}

static bool there(int dirfd, const char *name)
{
	struct stat st;
	return fstatat(dirfd, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

int cs_walk_xattrs(int fd, int dirfd, const char *name, struct cs_buf *b,
		   struct cs_xattr_item **items, size_t *n, uint32_t *have)
{
	struct target t = { .fd = fd };
	*items = NULL;
	*n = 0;
	cs_buf_clear(b);
	if (fd < 0)
		snprintf(t.path, sizeof(t.path), "/proc/self/fd/%d/%s", dirfd, name);
	if (!cs_buf_reserve(b, 1024))
		return ENOMEM;
	ssize_t len = list_names(&t, (char *)b->data, b->cap);
	if (len < 0 && errno == ERANGE) {
		if (!cs_buf_reserve(b, XATTR_LIST_MAX))
			return ENOMEM;
		len = list_names(&t, (char *)b->data, b->cap);
	}
	if (len < 0 && fd < 0 && errno == ENOENT && there(dirfd, name))
		return 0; /* without /proc there is no way to ask */
	if (len < 0)
		return no_such_thing(errno) ? 0 : errno;
	*have |= CS_HAVE_XATTRS;
	if (len == 0)
		return 0;
	b->len = (size_t)len;
	size_t count = 0;
	for (ssize_t i = 0; i < len; i++)
		count += b->data[i] == 0;
	*items = cs_alloc(count * sizeof(**items));
	int e = *items ? read_values(&t, b, (size_t)len, *items, n) : ENOMEM;
	if (e) {
		free(*items);
		*items = NULL;
		*n = 0;
	}
	return e;
}
