/* SPDX-License-Identifier: MIT */
/*
 * restore_links.c - decision: hard links are made when all files are there.
 * The first member that the walk meets is restored as a file and remembered
 * under the group's identity; the others wait for a pass of their own, which
 * enters only directories with links below them. No thread ever waits for
 * another one's file.
 *
 * Where a link cannot be made (the first member was damaged, the file system
 * has no links, or no more for this file), the member is restored as a file.
 */
#include "restore_there_impl.h"

#include "alloc.h"
#include "browse.h"
#include "cleanup.h"

#include <fcntl.h>
#include <string.h>

struct cs_restore_slot {
	uint64_t key;
	void *value;
	bool used;
};

struct link {
	uint64_t pos; /* of the member that was restored as a file */
	struct cs_restore_dir *dir;
	char name[];
};

static struct cs_restore_slot *slot_of(const struct cs_restore_map *m, uint64_t key)
{
	size_t i = (size_t)((key + 1) * 0x9e3779b97f4a7c15ull >> 20) & (m->cap - 1);
	while (m->slots[i].used && m->slots[i].key != key)
		i = (i + 1) & (m->cap - 1);
	return &m->slots[i];
}

void **cs_restore_map_find(const struct cs_restore_map *m, uint64_t key)
{
	if (m->cap == 0)
		return NULL;
	struct cs_restore_slot *s = slot_of(m, key);
	return s->used ? &s->value : NULL;
}

int cs_restore_map_add(struct cs_restore_map *m, uint64_t key, void *value)
{
	if (m->used >= m->cap / 2) {
		struct cs_restore_map bigger = { .cap = m->cap ? m->cap * 2 : 64, .used = m->used };
		if (bigger.cap > SIZE_MAX / sizeof(*m->slots) ||
		    !(bigger.slots = cs_zalloc(bigger.cap * sizeof(*m->slots))))
			return CS_E_NOMEM;
		for (size_t i = 0; i < m->cap; i++)
			if (m->slots[i].used)
				*slot_of(&bigger, m->slots[i].key) = m->slots[i];
		free(m->slots);
		*m = bigger;
	}
	*slot_of(m, key) = (struct cs_restore_slot){ key, value, true };
	m->used++;
	return CS_OK;
}

void cs_restore_links_release(struct cs_restore_run *run)
{
	for (size_t i = 0; i < run->links.cap; i++) {
		struct link *l = run->links.slots[i].value;
		if (!run->links.slots[i].used)
			continue;
		cs_restore_dir_drop(run, l->dir);
		free(l);
	}
	free(run->links.slots);
	free(run->missing.slots);
	if (run->link_dir) {
		cs_restore_dir_unuse(run, run->link_dir);
		cs_restore_dir_drop(run, run->link_dir);
	}
	run->links = run->missing = (struct cs_restore_map){ 0 };
	run->link_dir = NULL;
}

static struct link *new_link(struct cs_restore_run *run, struct cs_restore_dir *d,
			     const struct cs_node *n)
{
	struct link *l = cs_alloc(sizeof(*l) + n->entry.name_len + 1);
	if (!l)
		return NULL;
	l->pos = n->pos;
	l->dir = d;
	cs_restore_dir_hold(run, d);
	memcpy(l->name, n->entry.name, n->entry.name_len);
	l->name[n->entry.name_len] = '\0';
	return l;
}

int cs_restore_link_first(struct cs_restore_run *run, struct cs_restore_dir *d,
			  const struct cs_node *n, bool *out, struct cs_error *err)
{
	struct cs_error sub;
	uint64_t id;

	*out = true;
	if (n->entry.nlink <= 1)
		return CS_OK;
	int r = cs_node_group(run->tree, n, &id, &sub);
	if (r == 0) /* what says that it has links elsewhere is not remembered: that may be all */
		return CS_OK;
	if (r < 0) {
		cs_restore_tell(run, CS_NOTICE_ERROR, d, n->entry.name, n->entry.name_len,
				sub.text);
		return CS_OK; /* its links are lost, its content need not be */
	}
	if (cs_restore_map_find(&run->links, id)) {
		run->links_to_make++;
		*out = false;
		return CS_OK;
	}
	struct link *l = new_link(run, d, n);
	if (!l || cs_restore_map_add(&run->links, id, l) < 0) {
		if (l)
			cs_restore_dir_drop(run, d);
		free(l);
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	return CS_OK;
}

/* The directory of the first member stays in use: the next link often points there too. */
static int use_link_dir(struct cs_restore_run *run, struct cs_restore_dir *d, struct cs_error *err)
{
	if (run->link_dir == d)
		return CS_OK;
	int r = cs_restore_dir_use(run, d, err);
	if (r < 0)
		return r;
	cs_restore_dir_hold(run, d);
	if (run->link_dir) {
		cs_restore_dir_unuse(run, run->link_dir);
		cs_restore_dir_drop(run, run->link_dir);
	}
	run->link_dir = d;
	return CS_OK;
}

/* In place of a link; the members that follow are linked to it. */
static int make_file(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		     struct link **first, struct cs_error *err)
{
	struct cs_restore_worker w = { .run = run };
	cs_restore_make_or_tell(&w, d, n);
	cs_read_release(&w.rd);
	int fate = cs_restore_fate(run, n->pos);
	if (fate < 0 || fate == CS_RESTORED_KEPT)
		return CS_OK;
	struct link *l = new_link(run, d, n);
	if (!l)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	cs_restore_dir_drop(run, (*first)->dir);
	free(*first);
	*first = l;
	return CS_OK;
}

/* Is what we linked the file that we made, or found to be the same? */
static bool is_member(const struct stat *st, const struct cs_node *n)
{
	return (st->st_mode & S_IFMT) == (n->entry.mode & S_IFMT) &&
	       (!S_ISREG(n->entry.mode) || (uint64_t)st->st_size == n->entry.size);
}

/* Returns 0 or an errno; EEXIST when what is there is to be kept. */
static int link_staged(struct cs_restore_run *run, struct cs_restore_dir *d,
		       const struct cs_node *n, const struct link *l,
		       const struct cs_restore_found *f)
{
	struct cs_restore_worker w = { .run = run };
	struct cs_restore_stage *s;
	struct cs_error err;
	char temp[CS_RESTORE_TEMP];
	struct stat st;

	if (cs_restore_stage_of(run, d, &s, &err) < 0)
		return err.sys_errno ? err.sys_errno : EACCES;
	cs_restore_temp_name(run, temp);
	if (linkat(run->link_dir->fd, l->name, s->fd, temp, 0) != 0)
		return errno;
	int r = fstatat(s->fd, temp, &st, AT_SYMLINK_NOFOLLOW) != 0 || !is_member(&st, n) ?
			cs_fail_errno(&err, ENOENT, "not the same file any more") :
			cs_restore_settle(&w, s, temp, d, n, f, &err);
	unlinkat(s->fd, temp, 0); /* after a failure, or when it was a link to the file already */
	return r == CS_OK ? 0 : err.sys_errno ? err.sys_errno : EACCES;
}

/* What is to happen to a later member where something may be; 1 in *done: told already. */
static int judge_member(struct cs_restore_run *run, struct cs_restore_dir *d,
			const struct cs_node *n, const struct link *l, struct cs_restore_found *f,
			bool *done, struct cs_error *err)
{
	struct stat st;
	char name[256];
	int of_first = cs_restore_fate(run, l->pos);

	memcpy(name, n->entry.name, n->entry.name_len);
	name[n->entry.name_len] = '\0';
	int r = cs_restore_judge_link(run, d, name, n, f, err);
	if (r < 0) {
		cs_restore_tell(run, CS_NOTICE_ERROR, d, name, n->entry.name_len, err->text);
		*done = true;
		return CS_OK;
	}
	bool renewed = run->opts->dry_run && (of_first == CS_RESTORED_CREATED ||
					      of_first == CS_RESTORED_REPLACED);
	if (f->fate == CS_RESTORED_REPLACED && !renewed &&
	    fstatat(run->link_dir->fd, l->name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
	    st.st_ino == f->st.st_ino && st.st_dev == f->st.st_dev)
		f->fate = CS_RESTORED_UNCHANGED;
	*done = f->fate == CS_RESTORED_KEPT || f->fate == CS_RESTORED_UNCHANGED ||
		run->opts->dry_run;
	if (*done) {
		cs_restore_note(run, f->fate, d, name, n->entry.name_len);
		run->entries += f->fate != CS_RESTORED_KEPT;
	}
	return CS_OK;
}

/* Returns 0 or an errno. */
static int link_member(struct cs_restore_run *run, struct cs_restore_dir *d,
		       const struct cs_node *n, const struct link *l, bool *done)
{
	struct cs_restore_found f = { .fate = CS_RESTORED_CREATED, .path_fd = -1, .fd = -1 };
	struct cs_error err;
	char name[256];
	int sys = 0;

	*done = false;
	memcpy(name, n->entry.name, n->entry.name_len);
	name[n->entry.name_len] = '\0';
	if (run->merge) {
		(void)!judge_member(run, d, n, l, &f, done, &err);
		if (!*done)
			sys = link_staged(run, d, n, l, &f);
	} else if (!run->opts->dry_run &&
		   linkat(run->link_dir->fd, l->name, d->fd, name, 0) != 0) {
		sys = errno;
	}
	cs_restore_found_close(&f);
	if (sys == 0 && !*done) {
		cs_restore_note(run, f.fate, d, name, n->entry.name_len);
		run->entries++;
		run->bytes += S_ISREG(n->entry.mode) ? n->entry.size : 0;
	}
	return sys;
}

static int make_link(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		     struct cs_error *err)
{
	struct cs_error sub;
	uint64_t id;
	void **found;
	bool done;

	int r = cs_restore_pump(run, d, err);
	if (r < 0 || n->entry.nlink <= 1)
		return r;
	if (cs_node_group(run->tree, n, &id, NULL) != 1 ||
	    !(found = cs_restore_map_find(&run->links, id)))
		return CS_OK;
	struct link *l = *found;
	if (l->pos == n->pos)
		return CS_OK;
	int fate = cs_restore_fate(run, l->pos);
	if (fate < 0 || fate == CS_RESTORED_KEPT) /* told already: the first member is not there */
		return make_file(run, d, n, (struct link **)found, err);
	r = use_link_dir(run, l->dir, &sub);
	if (r < 0 && (!run->merge || cs_restore_errno_fatal(sub.sys_errno))) {
		if (err)
			*err = sub;
		return r;
	}
	int sys = r < 0 ? ENOENT : link_member(run, d, n, l, &done);
	if (sys == 0)
		return CS_OK;
	char name[256];
	memcpy(name, n->entry.name, n->entry.name_len);
	name[n->entry.name_len] = '\0';
	if (cs_restore_errno_fatal(sys)) {
		CS_FREE char *path = cs_restore_path(d, name, n->entry.name_len);
		return cs_fail_errno(err, sys, "%s: cannot make the hard link", path ? path : name);
	}
	if (sys != ENOENT && sys != EEXIST) {
		struct cs_restore_target t = { .fd = -1, .dirfd = d->fd, .name = name, .dir = d };
		cs_restore_lapse(run, CS_RESTORE_LINK, &t, NULL, sys);
	}
	return make_file(run, d, n, (struct link **)found, err);
}

static int enter(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		 struct cs_restore_dir **out, struct cs_error *err)
{
	return n->entry.below.links ? cs_restore_enter_again(run, d, n, out, err) : 0;
}

int cs_restore_links(struct cs_restore_run *run, const struct cs_node *start, struct cs_error *err)
{
	static const struct cs_restore_visitor linker = { .enter = enter, .entry = make_link };
	return run->links_to_make ? cs_restore_walk(run, start, &linker, err) : CS_OK;
}
