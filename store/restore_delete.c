/* SPDX-License-Identifier: MIT */
/*
 * restore_delete.c - decision: deletion comes last, when all that was wanted
 * is there, and only in directories that were there before and whose recorded
 * list could be read to its end: a damaged store deletes nothing. What must
 * stay, stays with the directories above it: the store, whatever is mounted,
 * what was excluded, and lost+found of DEST.
 *
 * Two spellings may be one name (a file system that folds case): what is the
 * same object as a recorded name is not too much.
 */
#include "restore.h"

#include "alloc.h"
#include "cleanup.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#define DEPTH 256u /* directories in what is removed; each is open */

/* ---- names of a directory */

struct names {
	char **list;
	size_t count, cap;
};

static void names_free(struct names *n)
{
	while (n->count > 0)
		free(n->list[--n->count]);
	free(n->list);
}

static int by_bytes(const void *a, const void *b)
{
	return strcmp(*(char *const *)a, *(char *const *)b);
}

/* In bytewise order. Negative: a code. */
static int names_read(int dirfd, struct names *out, struct cs_error *err)
{
	int copy = openat(dirfd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *dir = copy >= 0 ? fdopendir(copy) : NULL;
	struct dirent *e;
	int r = CS_OK;

	if (!dir) {
		r = cs_fail_errno(err, errno, "cannot read the directory");
		if (copy >= 0)
			close(copy);
		return r;
	}
	while (r == CS_OK && (errno = 0, e = readdir(dir))) {
		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		if (cs_grow(&out->list, &out->cap, out->count + 1, sizeof(*out->list)) < 0 ||
		    !(out->list[out->count] = cs_strdup(e->d_name)))
			r = cs_fail(err, CS_E_NOMEM, "out of memory");
		else
			out->count++;
	}
	if (r == CS_OK && errno != 0)
		r = cs_fail_errno(err, errno, "cannot read the directory");
	closedir(dir);
	if (out->count > 0)
		qsort(out->list, out->count, sizeof(*out->list), by_bytes);
	return r;
}

/* ---- what must stay */

/* Why it must, or NULL. A directory that something else is mounted on is not what it seems. */
static const char *guard(struct cs_restore_run *run, int dirfd, const char *name,
			 const struct stat *dir, struct stat *st)
{
	struct statx x;

	if (fstatat(dirfd, name, st, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT) != 0)
		return errno == ENOENT ? "" : "cannot be looked at";
	if (cs_restore_is_store(run, st))
		return "is the store";
	if (st->st_dev != dir->st_dev ||
	    (statx(dirfd, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, STATX_BASIC_STATS, &x) == 0 &&
	     x.stx_attributes & STATX_ATTR_MOUNT_ROOT))
		return "is another file system";
	return NULL;
}

struct removal {
	struct cs_restore_run *run;
	struct cs_restore_dir *d; /* for notices: name is shown, and what is below it */
	bool probe;  /* nothing is removed or counted */
	bool listed; /* count and tell */
	char path[PATH_MAX];
	unsigned depth;
};

/* 1: something stayed. Codes below 0: everything ends. Paths too long are told as a part. */
static int remove_one(struct removal *rm, int dirfd, const char *name, struct cs_error *err);

static void say(struct removal *rm, int kind, const char *why)
{
	if (!rm->probe || kind == CS_NOTICE_INFO)
		cs_restore_tell(rm->run, kind, rm->d, rm->path, strlen(rm->path), why);
}

static int remove_below(struct removal *rm, int dirfd, const char *name, struct cs_error *err)
{
	struct names names = { 0 };
	struct cs_error sub;
	size_t end = strlen(rm->path);
	int stayed = 0;

	if (rm->depth >= DEPTH) {
		say(rm, CS_NOTICE_ERROR, "too many directories inside each other; left alone");
		return 1;
	}
	CS_CLOSE int fd = cs_restore_open_dir(dirfd, name, strlen(name), &sub);
	int r = fd < 0 ? fd : names_read(fd, &names, &sub);
	if (r < 0) {
		names_free(&names);
		say(rm, CS_NOTICE_ERROR, sub.text);
		return 1;
	}
	rm->depth++;
	for (size_t i = 0; r >= 0 && i < names.count; i++) {
		if (end + 1 + strlen(names.list[i]) >= sizeof(rm->path)) {
			stayed = 1;
			continue;
		}
		rm->path[end] = '/';
		strcpy(rm->path + end + 1, names.list[i]);
		r = remove_one(rm, fd, names.list[i], err);
		stayed |= r > 0;
		rm->path[end] = '\0';
	}
	rm->depth--;
	names_free(&names);
	return r < 0 ? r : stayed;
}

static int remove_one(struct removal *rm, int dirfd, const char *name, struct cs_error *err)
{
	struct cs_restore_run *run = rm->run;
	struct stat dir, st;
	struct cs_error sub;

	int r = cs_restore_alive(run, err);
	if (r < 0)
		return r;
	if (cs_restore_excluded(run, rm->d, rm->path, strlen(rm->path)))
		return 1;
	const char *why = fstat(dirfd, &dir) == 0 ? guard(run, dirfd, name, &dir, &st) : "?";
	if (why) {
		if (*why)
			say(rm, CS_NOTICE_INFO, why);
		return *why != '\0';
	}
	r = S_ISDIR(st.st_mode) ? remove_below(rm, dirfd, name, err) : 0;
	if (r != 0 || rm->probe)
		return r;
	if (!run->opts->dry_run &&
	    unlinkat(dirfd, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) != 0 && errno != ENOENT) {
		if (cs_restore_errno_fatal(errno))
			return cs_fail_errno(err, errno, "%s: cannot delete", rm->path);
		cs_fail_errno(&sub, errno, "cannot delete");
		say(rm, CS_NOTICE_ERROR, sub.text);
		return 1;
	}
	if (rm->listed)
		cs_restore_note(run, CS_RESTORED_DELETED, rm->d, rm->path, strlen(rm->path));
	return 0;
}

bool cs_restore_is_guarded(struct cs_restore_run *run, struct cs_restore_dir *d, const char *name)
{
	struct removal rm = { .run = run, .d = d, .probe = true };
	struct cs_error err;

	snprintf(rm.path, sizeof(rm.path), "%s", name);
	return remove_one(&rm, d->fd, name, &err) != 0;
}

int cs_restore_remove(struct cs_restore_run *run, int dirfd, const char *name,
		      struct cs_restore_dir *d, const char *shown, struct cs_error *err)
{
	struct removal rm = { .run = run, .d = d };

	snprintf(rm.path, sizeof(rm.path), "%s", shown);
	int r = remove_one(&rm, dirfd, name, err);
	return r < 0 ? r : CS_OK;
}

/* ---- what is too much */

struct object {
	dev_t dev;
	ino_t ino;
};

struct objects {
	struct object *list;
	size_t count, cap;
};

static int by_number(const void *a, const void *b)
{
	const struct object *x = a, *y = b;
	if (x->ino != y->ino)
		return x->ino < y->ino ? -1 : 1;
	return x->dev < y->dev ? -1 : x->dev > y->dev;
}

/* The extra names of d move to the front; returns how many, or a code. */
static int find_extra(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		      struct names *names, struct objects *wanted, struct cs_error *err)
{
	struct cs_dir *list = NULL;
	const struct cs_node *child;
	size_t at = 0, extra = 0;
	struct stat st;
	int r = cs_dir_open(run->tree, n, 0, &list, err);

	while (r >= 0 && (r = cs_dir_next(list, &child, err)) > 0) {
		char name[256];
		if (!cs_name_valid(child->entry.name, child->entry.name_len)) {
			r = cs_fail(err, CS_E_CORRUPT, "the store is damaged: not a name");
			break;
		}
		memcpy(name, child->entry.name, child->entry.name_len);
		name[child->entry.name_len] = '\0';
		while (at < names->count && strcmp(names->list[at], name) < 0) {
			char *swap = names->list[extra];
			names->list[extra++] = names->list[at];
			names->list[at++] = swap;
		}
		at += at < names->count && strcmp(names->list[at], name) == 0;
		if (fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
			continue;
		if (cs_grow(&wanted->list, &wanted->cap, wanted->count + 1,
			    sizeof(*wanted->list)) < 0)
			r = cs_fail(err, CS_E_NOMEM, "out of memory");
		else
			wanted->list[wanted->count++] = (struct object){ st.st_dev, st.st_ino };
	}
	for (; r >= 0 && at < names->count; at++) {
		char *swap = names->list[extra];
		names->list[extra++] = names->list[at];
		names->list[at] = swap;
	}
	cs_dir_close(list);
	if (wanted->count > 0)
		qsort(wanted->list, wanted->count, sizeof(*wanted->list), by_number);
	return r < 0 ? r : (int)extra;
}

/* Another spelling of a recorded name? A further hard link to its file is none, unless the file
 * system takes it with all letters changed, too. */
static bool is_respelled(struct cs_restore_dir *d, const char *name, const struct objects *wanted)
{
	struct stat st, other;
	char changed[256];
	size_t i = 0;

	if (fstatat(d->fd, name, &st, AT_SYMLINK_NOFOLLOW) != 0 || wanted->count == 0)
		return false;
	struct object key = { st.st_dev, st.st_ino };
	if (!bsearch(&key, wanted->list, wanted->count, sizeof(key), by_number))
		return false;
	if (S_ISDIR(st.st_mode) || st.st_nlink == 1)
		return true;
	for (; name[i] && i < sizeof(changed) - 1; i++) {
		bool letter = (name[i] | 32) >= 'a' && (name[i] | 32) <= 'z';
		changed[i] = (char)(letter ? name[i] ^ 32 : name[i]);
	}
	changed[i] = '\0';
	return strcmp(changed, name) != 0 &&
	       fstatat(d->fd, changed, &other, AT_SYMLINK_NOFOLLOW) == 0 &&
	       other.st_ino == st.st_ino;
}

static int delete_in(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		     struct cs_error *err)
{
	struct names names = { 0 };
	struct objects wanted = { 0 };
	struct cs_error sub;
	int extra = -1;

	int r = names_read(d->fd, &names, &sub);
	if (r == CS_OK)
		extra = r = find_extra(run, d, n, &names, &wanted, &sub);
	if (r < 0 && r != CS_E_NOMEM) {
		CS_FREE char *text = cs_alloc(sizeof(sub.text) + 32);
		if (text)
			snprintf(text, sizeof(sub.text) + 32, "nothing is deleted here: %s",
				 sub.text);
		cs_restore_tell(run, CS_NOTICE_ERROR, d, "", 0, text ? text : sub.text);
		r = CS_OK;
	}
	for (int i = 0; r >= 0 && i < extra; i++) {
		struct removal rm = { .run = run, .d = d, .listed = true };
		if (cs_restore_lost_and_found(run, d, names.list[i]) ||
		    cs_restore_stage_in_use(d, names.list[i]) ||
		    is_respelled(d, names.list[i], &wanted))
			continue;
		snprintf(rm.path, sizeof(rm.path), "%s", names.list[i]);
		r = remove_one(&rm, d->fd, names.list[i], err);
	}
	names_free(&names);
	free(wanted.list);
	return r < 0 ? r : CS_OK;
}

static int enter(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		 struct cs_restore_dir **out, struct cs_error *err)
{
	int fate = cs_restore_fate(run, n->pos);
	return fate < 0 || fate == CS_RESTORED_KEPT ? 0 :
						      cs_restore_enter_again(run, d, n, out, err);
}

static int leave(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		 struct cs_error *err)
{
	return cs_restore_fate(run, n->pos) == CS_RESTORED_KEPT ? CS_OK :
								  delete_in(run, d, n, err);
}

int cs_restore_delete(struct cs_restore_run *run, const struct cs_node *start, struct cs_error *err)
{
	static const struct cs_restore_visitor deleter = { .enter = enter, .leave = leave };

	if (!run->opts->delete_extra || cs_restore_fate(run, start->pos) < 0)
		return CS_OK;
	return cs_restore_walk(run, start, &deleter, err);
}
