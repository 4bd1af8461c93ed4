/* SPDX-License-Identifier: MIT */
/*
 * restore_delete.c - decision: deletion comes last, when all that was wanted
 * is there, and only in directories that were there before and whose recorded
 * list could be read to its end: a damaged store deletes nothing. How it is
 * removed, and what must stay, is restore_remove.c; so does lost+found of DEST.
 *
 * Two spellings may be one name (a file system that folds case): what is the
 * same object as a recorded name is not too much.
 */
#include "restore_there_impl.h"

#include "alloc.h"
#include "cleanup.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

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
		      struct cs_restore_names *names, struct objects *wanted, struct cs_error *err)
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
	struct cs_restore_names names = { 0 };
	struct objects wanted = { 0 };
	struct cs_error sub;
	int extra = -1;

	int r = cs_restore_names_read(d->fd, &names, &sub);
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
		if (cs_restore_lost_and_found(run, d, names.list[i]) ||
		    cs_restore_stage_in_use(d, names.list[i]) ||
		    is_respelled(d, names.list[i], &wanted))
			continue;
		r = cs_restore_remove_extra(run, d, names.list[i], err);
	}
	cs_restore_names_free(&names);
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
