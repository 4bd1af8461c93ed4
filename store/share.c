/* SPDX-License-Identifier: MIT */
/*
 * share.c - a store that a group of users may read.
 *
 * Decision: what says that a store is shared is the mode of data.mdb: its
 * group may read it. Nothing is recorded elsewhere, so chgrp(1) and chmod(1)
 * share a store, and unshare it, as well as init does.
 *
 * Who reads must be able to lock. LMDB keeps its table of readers in
 * lock.mdb, which every reader writes; without an entry there, a writer would
 * use pages again that he still reads. For the locks in `leases` it is enough
 * to read the file. Neither is ever worth keeping: they may be lost with a
 * copy, or removed when nobody uses the store, and are made anew by whoever
 * opens it next, with a mode of 0600. So each opening by the owner gives them the
 * modes that follow from data.mdb's.
 *
 * What the group gets with that is more than reading: see chunkstore(7),
 * SECURITY.
 */
#include "share.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <unistd.h>

#define LOCK "lock.mdb"
#define DATA "data.mdb"

static const struct {
	const char *name;
	mode_t mode; /* in a shared store */
} locks[] = {
	{ LOCK, 0660 },
	{ "leases", 0640 },
};

static void mend(int dir, const char *name, mode_t mode, gid_t group)
{
	struct stat st;
	if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
		CS_CLOSE int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		if (fd < 0 || fstat(fd, &st) != 0)
			return;
	}
	if (!S_ISREG(st.st_mode))
		return;
	/* by name: to close a descriptor of lock.mdb would drop locks that LMDB may hold on it */
	if (st.st_gid != group && fchownat(dir, name, (uid_t)-1, group, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	if ((st.st_mode & mode) != mode && fchmodat(dir, name, mode, 0) != 0)
		errno = 0; /* then a reader will be told */
}

void cs_share_mend(int dir)
{
	struct stat st;
	if (fstatat(dir, DATA, &st, 0) != 0 || !(st.st_mode & S_IRGRP) ||
	    (geteuid() != 0 && geteuid() != st.st_uid))
		return;
	for (size_t i = 0; i < sizeof(locks) / sizeof(locks[0]); i++)
		mend(dir, locks[i].name, locks[i].mode, st.st_gid);
}

int cs_share_with(const char *store, gid_t group, struct cs_error *err)
{
	CS_CLOSE int dir = open(store, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return cs_fail_errno(err, errno, "store %s", store);
	if (fchown(dir, (uid_t)-1, group) != 0 ||
	    fchownat(dir, DATA, (uid_t)-1, group, AT_SYMLINK_NOFOLLOW) != 0)
		return cs_fail_errno(err, errno, "cannot give %s to group %u", store, group);
	if (fchmodat(dir, DATA, 0640, 0) != 0)
		return cs_fail_errno(err, errno, "cannot set the mode of %s", store);
	cs_share_mend(dir);
	if (fchmod(dir, 02750) != 0) /* what is made in it later belongs to the group, too */
		return cs_fail_errno(err, errno, "cannot set the mode of %s", store);
	return CS_OK;
}

static bool refused(int dir, const char *name, int how)
{
	return faccessat(dir, name, how, AT_EACCESS) != 0 && errno == EACCES;
}

int cs_share_check(int dir, const char *store, int writing, struct cs_error *err)
{
	if (refused(dir, DATA, R_OK))
		return cs_fail_errno(err, EACCES, "store %s", store);
	if (writing && refused(dir, DATA, W_OK))
		return cs_fail(err, CS_E_ACCESS, "store %s: you may read it, but not change it",
			       store);
	if (refused(dir, LOCK, W_OK))
		return cs_fail(err, CS_E_ACCESS, "store %s: no permission to write to %s, which "
			       "who reads the store must have", store, LOCK);
	return CS_OK;
}
