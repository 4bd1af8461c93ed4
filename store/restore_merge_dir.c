/* SPDX-License-Identifier: MIT */
/*
 * restore_merge_dir.c - a directory where something may be. One that is there
 * is entered, whatever it holds; nobody is let in who is not to be let in when
 * all is done.
 */
#include "restore_there_impl.h"

#include "cleanup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

/* Left out, with all below it. */
static int leave_out(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name,
		     int sys, const char *why)
{
	struct cs_error err;

	if (sys)
		cs_fail_errno(&err, sys, "%s", why);
	else
		cs_fail(&err, CS_E_EXISTS, "%s", why);
	cs_restore_tell(run, CS_NOTICE_ERROR, d, name, strlen(name), err.text);
	return 0;
}

/* Open it; its owner may have to let himself in. What the others will not be allowed, they are
 * not allowed from now on. */
static int enter_found(struct cs_restore_run *run, const struct cs_node *n,
		       const struct cs_restore_found *f, int fate)
{
	char path[32];
	mode_t now = f->st.st_mode & 07777, mode = now;

	if (fate != CS_RESTORED_KEPT && !run->opts->dry_run) {
		mode &= (n->entry.mode & 07777) | 0700;
		if (f->st.st_uid == run->uid)
			mode |= 0700;
		snprintf(path, sizeof(path), "/proc/self/fd/%d", f->path_fd);
		if (mode != now)
			(void)!chmod(path, mode); /* what it forbids, the next step tells */
	}
	return cs_restore_open_found(f, O_RDONLY | O_DIRECTORY);
}

static int merge_into(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name,
		      const struct cs_node *n, const struct cs_restore_found *f, int *fd,
		      struct cs_error *err)
{
	int fate;

	if (run->overwrite == CS_OVERWRITE_REFUSE && !cs_restore_lost_and_found(run, d, name))
		return leave_out(run, d, name, EEXIST, "cannot create the directory");
	if (cs_restore_is_store(run, &f->st))
		return leave_out(run, d, name, 0, "is the store itself; left alone");
	int r = cs_restore_judge_dir(run, n, f->path_fd, &fate, err);
	if (r < 0)
		return r;
	*fd = enter_found(run, n, f, fate);
	if (*fd < 0)
		return leave_out(run, d, name, -*fd, "cannot open the directory");
	if (cs_restore_set_fate(run, n->pos, fate) < 0) {
		close(*fd);
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	cs_restore_note(run, fate, d, name, strlen(name));
	return 1;
}

/* Something else is where the directory should be. */
static int replace_by_dir(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name,
			  const struct cs_node *n, const struct cs_restore_found *f, int *fd,
			  struct cs_error *err)
{
	struct cs_restore_stage *s;
	char temp[CS_RESTORE_TEMP];

	if (cs_restore_keeps(run, n, &f->st) || !run->opts->delete_extra)
		return leave_out(run, d, name, 0, "something else is in the place of this "
				 "directory; left out with all below it (see --delete)");
	if (!run->opts->dry_run) {
		struct cs_error sub;
		int r = cs_restore_stage_of(run, d, &s, &sub);
		if (r < 0)
			return leave_out(run, d, name, 0, sub.text);
		cs_restore_temp_name(run, temp);
		if (mkdirat(s->fd, temp, 0700) != 0)
			return cs_fail_errno(err, errno, "cannot create a directory");
		if (renameat2(s->fd, temp, d->fd, name, RENAME_EXCHANGE) == 0) {
			unlinkat(s->fd, temp, 0);
		} else {
			unlinkat(s->fd, temp, AT_REMOVEDIR);
			if (unlinkat(d->fd, name, 0) != 0 || mkdirat(d->fd, name, 0700) != 0)
				return leave_out(run, d, name, errno,
						 "cannot replace it by the directory");
		}
		*fd = cs_restore_open_dir(d->fd, name, strlen(name), err);
		if (*fd < 0)
			return leave_out(run, d, name, errno, "cannot open the directory");
	}
	cs_restore_note(run, CS_RESTORED_REPLACED, d, name, strlen(name));
	return 1;
}

static int make_new(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name, int *fd,
		    struct cs_error *err)
{
	if (!run->opts->dry_run) {
		if (mkdirat(d->fd, name, 0700) != 0) {
			int sys = errno;
			CS_FREE char *path = cs_restore_path(d, name, strlen(name));
			if (!cs_restore_errno_fatal(sys))
				return leave_out(run, d, name, sys, "cannot create the directory");
			return cs_fail_errno(err, sys, "%s: cannot create the directory",
					     path ? path : name);
		}
		*fd = cs_restore_open_dir(d->fd, name, strlen(name), err);
		if (*fd < 0)
			return leave_out(run, d, name, errno, "cannot open the directory");
	}
	cs_restore_note(run, CS_RESTORED_CREATED, d, name, strlen(name));
	return 1;
}

int cs_restore_merge_dir(struct cs_restore_run *run, struct cs_restore_dir *d,
			 const struct cs_node *n, int *fd, struct cs_error *err)
{
	struct cs_restore_found f;
	struct cs_error sub;
	char name[256];

	*fd = -1;
	cs_restore_name_of(n, name);
	int r = cs_restore_look(d, name, &f, &sub);
	if (r < 0)
		r = leave_out(run, d, name, 0, sub.text);
	else if (!f.there)
		r = make_new(run, d, name, fd, err);
	else if (S_ISDIR(f.st.st_mode))
		r = merge_into(run, d, name, n, &f, fd, err);
	else
		r = replace_by_dir(run, d, name, n, &f, fd, err);
	cs_restore_found_close(&f);
	return r;
}
