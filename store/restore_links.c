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
#include "restore.h"

#include "alloc.h"
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

int cs_restore_link_first(struct cs_restore_run *run, struct cs_restore_dir *d,
			  const struct cs_node *n, bool *out, struct cs_error *err)
{
	struct cs_error sub;
	uint64_t id;

	*out = true;
	if (n->entry.nlink <= 1)
		return CS_OK;
	if (cs_node_identity(run->tree, n, &id, &sub) < 0) {
		cs_restore_tell(run, CS_NOTICE_ERROR, d, n->entry.name, n->entry.name_len,
				sub.text);
		return CS_OK; /* its links are lost, its content need not be */
	}
	if (cs_restore_map_find(&run->links, id)) {
		run->links_to_make++;
		*out = false;
		return CS_OK;
	}
	struct link *l = cs_alloc(sizeof(*l) + n->entry.name_len + 1);
	if (!l || cs_restore_map_add(&run->links, id, l) < 0) {
		free(l);
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	l->pos = n->pos;
	l->dir = d;
	cs_restore_dir_hold(run, d);
	memcpy(l->name, n->entry.name, n->entry.name_len);
	l->name[n->entry.name_len] = '\0';
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

/* In place of a link. */
static void make_file(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n)
{
	struct cs_restore_worker w = { .run = run };
	cs_restore_make_or_tell(&w, d, n);
	cs_read_release(&w.rd);
}

static int make_link(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		     struct cs_error *err)
{
	char name[256];
	uint64_t id;
	void **found;

	int r = cs_restore_pump(run, d, err);
	if (r < 0 || n->entry.nlink <= 1)
		return r;
	if (cs_node_identity(run->tree, n, &id, NULL) < 0 ||
	    !(found = cs_restore_map_find(&run->links, id)))
		return CS_OK;
	struct link *l = *found;
	if (l->pos == n->pos)
		return CS_OK;
	r = use_link_dir(run, l->dir, err);
	if (r < 0)
		return r;
	memcpy(name, n->entry.name, n->entry.name_len);
	name[n->entry.name_len] = '\0';
	if (linkat(run->link_dir->fd, l->name, d->fd, name, 0) == 0) {
		run->entries++;
		run->bytes += S_ISREG(n->entry.mode) ? n->entry.size : 0;
		return CS_OK;
	}
	int sys = errno;
	if (cs_restore_errno_fatal(sys)) {
		CS_FREE char *path = cs_restore_path(d, name, n->entry.name_len);
		return cs_fail_errno(err, sys, "%s: cannot make the hard link", path ? path : name);
	}
	if (sys != ENOENT && sys != EEXIST) { /* told already: the first member is not there */
		struct cs_restore_target t = { -1, d->fd, name, d };
		cs_restore_lapse(run, CS_RESTORE_LINK, &t, NULL, sys);
	}
	make_file(run, d, n);
	return CS_OK;
}

static int enter(struct cs_restore_run *run, struct cs_restore_dir *d, const struct cs_node *n,
		 struct cs_restore_dir **out, struct cs_error *err)
{
	if (n->entry.below.links == 0 || cs_restore_map_find(&run->missing, n->pos))
		return 0;
	int fd = cs_restore_open_dir(d->fd, n->entry.name, n->entry.name_len, err);
	if (fd < 0)
		return fd;
	*out = cs_restore_dir_new(run, d, n->entry.name, n->entry.name_len, fd);
	if (*out)
		return 1;
	close(fd);
	return cs_fail(err, CS_E_NOMEM, "out of memory");
}

int cs_restore_links(struct cs_restore_run *run, const struct cs_node *start, struct cs_error *err)
{
	static const struct cs_restore_visitor linker = { .enter = enter, .entry = make_link };
	return run->links_to_make ? cs_restore_walk(run, start, &linker, err) : CS_OK;
}
