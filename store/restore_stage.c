/* SPDX-License-Identifier: MIT */
/*
 * restore_stage.c - decision: in a DEST that is there, others may have the
 * right to write. So what we make has its first name in a directory that only
 * we can enter, is completed there, and moves to its place by one rename. What
 * a crash leaves is in that one directory, which the next restore removes.
 *
 * A stage is made when the first entry needs it, in DEST; and once more in a
 * directory to which names cannot be moved from there (another file system,
 * another project). It is flat, its names are numbers, and its lock tells that
 * it is in use: only what looks like that is removed.
 *
 * The rename is what a DEST that is there costs more than one that is not, also
 * when it is empty: on tmpfs 0.2 s of the system's time for 31 000 files, an eighth
 * of all. To fill an empty one by names from the start would be as fast, and a
 * restore that is killed would leave half a file under its name.
 */
#include "restore_there_impl.h"

#include "alloc.h"
#include "cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/xattr.h>

#define DIGITS "0123456789abcdef"

bool cs_restore_is_stage(const char *name)
{
	size_t n = strlen(CS_RESTORE_STAGE);
	return strncmp(name, CS_RESTORE_STAGE, n) == 0 && strlen(name) == n + 16 &&
	       strspn(name + n, DIGITS) == 16;
}

void cs_restore_temp_name(struct cs_restore_run *run, char out[CS_RESTORE_TEMP])
{
	snprintf(out, CS_RESTORE_TEMP, "%x", atomic_fetch_add(&run->temps, 1));
}

int cs_restore_rename_new(int from, const char *old, int to, const char *name)
{
	struct stat st;

	if (renameat2(from, old, to, name, RENAME_NOREPLACE) == 0)
		return 0;
	if (errno != EINVAL && errno != ENOSYS)
		return errno;
	if (fstatat(to, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
		return EEXIST;
	return renameat(from, old, to, name) == 0 ? 0 : errno;
}

bool cs_restore_stage_in_use(struct cs_restore_dir *d, const char *name)
{
	struct cs_error err;
	CS_CLOSE int fd = cs_restore_is_stage(name) ?
				  cs_restore_open_dir(d->fd, name, strlen(name), &err) : -1;
	return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK;
}

/* Remove a stage's entries. Directories are taken when they are empty. */
static void sweep(int fd)
{
	int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *e;

	if (!dir) {
		if (copy >= 0)
			close(copy);
		return;
	}
	while ((e = readdir(dir)))
		if (e->d_name[strspn(e->d_name, DIGITS)] == '\0' &&
		    unlinkat(fd, e->d_name, 0) != 0 && (errno == EISDIR || errno == EPERM))
			unlinkat(fd, e->d_name, AT_REMOVEDIR);
	closedir(dir);
}

/* A stage that nobody uses is removed with what is in it. */
static void sweep_left(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name)
{
	struct stat st;
	struct cs_error err;
	int fd = cs_restore_open_dir(d->fd, name, strlen(name), &err);

	if (fd < 0)
		return;
	if (fstat(fd, &st) == 0 && st.st_uid == run->uid && (st.st_mode & 07777) == 0700 &&
	    flock(fd, LOCK_EX | LOCK_NB) == 0) {
		sweep(fd);
		if (unlinkat(d->fd, name, AT_REMOVEDIR) != 0)
			cs_restore_tell(run, CS_NOTICE_INFO, d, name, strlen(name),
					"left by an interrupted restore, and not empty");
	}
	close(fd);
}

static void sweep_all_left(struct cs_restore_run *run, struct cs_restore_dir *d)
{
	int copy = openat(d->fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *e;

	if (!dir && copy >= 0)
		close(copy);
	while (dir && (e = readdir(dir)))
		if (cs_restore_is_stage(e->d_name))
			sweep_left(run, d, e->d_name);
	if (dir)
		closedir(dir);
}

/* A directory of our own, whatever that one hands down. */
static int make_private(struct cs_restore_run *run, struct cs_restore_dir *d,
			struct cs_restore_stage *s, struct cs_error *err)
{
	uint64_t number;
	struct stat st;

	if (getrandom(&number, sizeof(number), 0) != (ssize_t)sizeof(number))
		return cs_fail_errno(err, errno, "no random number");
	snprintf(s->name, sizeof(s->name), "%s%016llx", CS_RESTORE_STAGE,
		 (unsigned long long)number);
	if (mkdirat(d->fd, s->name, 0700) != 0)
		return cs_fail_errno(err, errno, "cannot create the temporary directory");
	s->fd = cs_restore_open_dir(d->fd, s->name, strlen(s->name), err);
	if (s->fd < 0)
		return s->fd;
	(void)flock(s->fd, LOCK_EX | LOCK_NB); /* without it, nobody removes it for us */
	fremovexattr(s->fd, "system.posix_acl_access");
	fremovexattr(s->fd, "system.posix_acl_default");
	if (fchown(s->fd, (uid_t)-1, run->gid) != 0 || fchmod(s->fd, 0700) != 0 ||
	    fstat(s->fd, &st) != 0 || st.st_uid != run->uid || (st.st_mode & 07777) != 0700 ||
	    fgetxattr(s->fd, "system.posix_acl_access", NULL, 0) > 0) {
		close(s->fd);
		unlinkat(d->fd, s->name, AT_REMOVEDIR);
		return cs_fail(err, CS_E_ACCESS, "the temporary directory is not ours alone");
	}
	return CS_OK;
}

/* With stage_lock; d is in use. */
static int make_stage(struct cs_restore_run *run, struct cs_restore_dir *d, struct cs_error *err)
{
	struct cs_restore_stage *s = cs_zalloc(sizeof(*s));

	if (!s)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	sweep_all_left(run, d);
	int r = make_private(run, d, s, err);
	if (r < 0) {
		free(s);
		return r;
	}
	pthread_mutex_lock(&run->lock);
	d->refs++;
	d->users++;
	pthread_mutex_unlock(&run->lock);
	s->dir = d;
	s->next = run->stages;
	run->stages = s;
	d->stage = s;
	return CS_OK;
}

int cs_restore_stage_of(struct cs_restore_run *run, struct cs_restore_dir *d,
			struct cs_restore_stage **out, struct cs_error *err)
{
	struct cs_restore_dir *at = d;
	struct cs_error sub;
	int r = CS_OK;

	pthread_mutex_lock(&run->stage_lock);
	while (!at->stage && at->parent)
		at = at->parent;
	if (!at->stage)
		r = make_stage(run, at, &sub);
	if (r < 0 && at != d && (sub.code == CS_E_ACCESS || sub.code == CS_E_READONLY)) {
		at = d; /* DEST is closed to us, this directory need not be */
		r = make_stage(run, at, &sub);
	}
	*out = at->stage;
	pthread_mutex_unlock(&run->stage_lock);
	if (r < 0)
		*err = sub;
	return r;
}

int cs_restore_stage_here(struct cs_restore_run *run, struct cs_restore_dir *d,
			  struct cs_error *err)
{
	pthread_mutex_lock(&run->stage_lock);
	int r = d->stage ? CS_OK : make_stage(run, d, err);
	pthread_mutex_unlock(&run->stage_lock);
	return r;
}

void cs_restore_stages_end(struct cs_restore_run *run)
{
	while (run->stages) {
		struct cs_restore_stage *s = run->stages;
		run->stages = s->next;
		sweep(s->fd);
		close(s->fd);
		if (unlinkat(s->dir->fd, s->name, AT_REMOVEDIR) != 0 && errno != ENOENT)
			cs_restore_tell(run, CS_NOTICE_INFO, s->dir, s->name, strlen(s->name),
					"could not be removed");
		s->dir->stage = NULL;
		cs_restore_dir_unuse(run, s->dir);
		cs_restore_dir_drop(run, s->dir);
		free(s);
	}
}
