/* SPDX-License-Identifier: MIT */
/*
 * restore_dirs.c - decision: paths are never put together. A directory knows
 * its parent and is reached by descriptors only, so neither PATH_MAX nor a
 * symbolic link can come in between. Only the deepest levels of a walk stay
 * open; coming back up, a whole window of levels is opened again at once, so
 * that a deep tree costs one descent from the top for every so many levels.
 */
#include "restore_there_impl.h"

#include "alloc.h"
#include "browse.h"
#include "cleanup.h"
#include "select.h"

#include <fcntl.h>
#include <string.h>

struct cs_restore_dir *cs_restore_dir_new(struct cs_restore_run *run,
					  struct cs_restore_dir *parent, const char *name,
					  size_t name_len, int fd)
{
	struct cs_restore_dir *d = cs_alloc(sizeof(*d) + name_len + 1);
	if (!d)
		return NULL;
	d->parent = parent;
	d->refs = 1;
	d->users = fd >= 0;
	d->fd = fd;
	d->absent = false;
	d->stage = NULL;
	d->name_len = name_len;
	memcpy(d->name, name, name_len);
	d->name[name_len] = '\0';
	if (parent)
		cs_restore_dir_hold(run, parent);
	return d;
}

void cs_restore_dir_hold(struct cs_restore_run *run, struct cs_restore_dir *d)
{
	pthread_mutex_lock(&run->lock);
	d->refs++;
	pthread_mutex_unlock(&run->lock);
}

void cs_restore_dir_drop(struct cs_restore_run *run, struct cs_restore_dir *d)
{
	while (d) {
		struct cs_restore_dir *parent = d->parent;
		pthread_mutex_lock(&run->lock);
		bool last = --d->refs == 0;
		pthread_mutex_unlock(&run->lock);
		if (!last)
			return;
		free(d);
		d = parent;
	}
}

void cs_restore_dir_unuse(struct cs_restore_run *run, struct cs_restore_dir *d)
{
	int fd = -1;
	pthread_mutex_lock(&run->lock);
	if (--d->users == 0) {
		fd = d->fd;
		d->fd = -1;
	}
	pthread_mutex_unlock(&run->lock);
	if (fd >= 0)
		close(fd);
}

/* One more user, if it is open. */
static bool use_open(struct cs_restore_run *run, struct cs_restore_dir *d)
{
	pthread_mutex_lock(&run->lock);
	bool open = d->fd >= 0 || d->absent;
	if (open)
		d->users++;
	pthread_mutex_unlock(&run->lock);
	return open;
}

int cs_restore_open_dir(int dirfd, const char *name, size_t name_len, struct cs_error *err)
{
	char buf[256];
	if (name_len >= sizeof(buf))
		return cs_fail(err, CS_E_CORRUPT, "name too long");
	memcpy(buf, name, name_len);
	buf[name_len] = '\0';
	int fd = openat(dirfd, buf, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	return fd >= 0 ? fd : cs_fail_errno(err, errno, "cannot open the directory");
}

int cs_restore_dir_use(struct cs_restore_run *run, struct cs_restore_dir *d, struct cs_error *err)
{
	CS_FREE struct cs_restore_dir **chain = NULL;
	size_t n = 0, cap = 0;
	struct cs_restore_dir *at = d;

	while (!use_open(run, at)) {
		if (cs_grow(&chain, &cap, n + 1, sizeof(*chain)) < 0)
			return cs_fail(err, CS_E_NOMEM, "out of memory");
		chain[n++] = at;
		at = at->parent; /* the top is always open */
	}
	while (n > 0) {
		struct cs_restore_dir *next = chain[--n];
		int fd = cs_restore_open_dir(at->fd, next->name, next->name_len, err);
		cs_restore_dir_unuse(run, at);
		if (fd < 0)
			return fd;
		pthread_mutex_lock(&run->lock);
		next->fd = fd; /* only the calling thread opens */
		next->users = 1;
		pthread_mutex_unlock(&run->lock);
		at = next;
	}
	return CS_OK;
}

/* name in d, with the directories above it up to the one before `end`. */
static char *join(const struct cs_restore_dir *d, const struct cs_restore_dir *end,
		  const char *name, size_t name_len, size_t *out_len)
{
	size_t len = name_len, at;
	for (const struct cs_restore_dir *p = d; p != end; p = p->parent)
		len += p->name_len + 1;
	char *raw = cs_alloc(len + 1);
	if (!raw)
		return NULL;
	at = len - name_len;
	memcpy(raw + at, name, name_len);
	for (const struct cs_restore_dir *p = d; p != end; p = p->parent) {
		raw[--at] = '/';
		at -= p->name_len;
		memcpy(raw + at, p->name, p->name_len);
	}
	if (name_len == 0 && len > (end ? 0 : 1))
		len--; /* the directory itself: no slash behind it, but for that of the root */
	raw[len] = '\0';
	*out_len = len;
	return raw;
}

static const struct cs_restore_dir *top_of(const struct cs_restore_dir *d)
{
	while (d->parent)
		d = d->parent;
	return d;
}

char *cs_restore_below(const struct cs_restore_dir *d, const char *name, size_t name_len,
		       size_t *out_len)
{
	return join(d, top_of(d), name, name_len, out_len);
}

bool cs_restore_excluded(const struct cs_restore_run *run, const struct cs_restore_dir *d,
			 const char *name, size_t name_len)
{
	const struct cs_restore_opts *opts = run->opts;
	size_t len, head = strlen(run->path);

	if (opts->nexcludes == 0)
		return false;
	CS_FREE char *below = cs_restore_below(d, name, name_len, &len);
	CS_FREE char *path = below ? cs_alloc(head + 1 + len + 1) : NULL;
	if (!path)
		return true; /* the safe side: it is left alone */
	memcpy(path, run->path, head);
	path[head] = '/';
	memcpy(path + head + (head > 0), below, len + 1);
	const char *slash = strrchr(path, '/');
	return cs_excluded(opts->excludes, opts->nexcludes, path, slash ? slash + 1 : path);
}

char *cs_restore_path(const struct cs_restore_dir *d, const char *name, size_t name_len)
{
	size_t len;
	char *raw = join(d, NULL, name, name_len, &len);
	if (!raw)
		return NULL;
	size_t want = cs_text_escape(raw, len, false, NULL, 0);
	char *out = cs_alloc(want + 1);
	if (out)
		cs_text_escape(raw, len, false, out, want + 1);
	free(raw);
	return out;
}

/* ---- walks */

struct level {
	struct cs_restore_dir *dir;
	struct cs_dir *list; /* NULL: its entries are not of interest */
	uint64_t next;       /* index of the list's next entry */
	struct cs_node node; /* from level CS_DIRS_HELD on it holds nothing: see node_again */
};

/* Levels 0 and low .. depth - 1 are in use. */
struct walk {
	struct cs_restore_run *run;
	struct level *levels;
	size_t depth, cap, low;
};

/* Takes over the reference and the use of dir, also on failure. */
static int push(struct walk *w, struct cs_restore_dir *dir, const struct cs_node *n, bool list,
		struct cs_error *err)
{
	int r = CS_OK;
	struct level l = { .dir = dir };
	if (cs_grow(&w->levels, &w->cap, w->depth + 1, sizeof(*w->levels)) < 0)
		r = cs_fail(err, CS_E_NOMEM, "out of memory");
	else if (list)
		r = cs_dir_open(w->run->tree, n, 0, &l.list, err);
	if (r < 0) {
		cs_restore_dir_unuse(w->run, dir);
		cs_restore_dir_drop(w->run, dir);
		return r;
	}
	l.node = *n;
	if (w->depth < CS_DIRS_HELD)
		cs_node_copy(n, &l.node);
	else
		l.node.held = NULL;
	if (w->depth > CS_DIRS_HELD)
		cs_dir_rest(w->levels[w->depth - 1].list);
	w->levels[w->depth++] = l;
	if (w->depth - w->low > CS_RESTORE_OPEN_LEVELS)
		cs_restore_dir_unuse(w->run, w->levels[w->low++].dir);
	return CS_OK;
}

/* The node of the deepest level with all that it borrows, to be left. */
static int node_again(struct walk *w, struct cs_error *err)
{
	struct level *l = &w->levels[w->depth - 1];
	const struct cs_node *n;
	struct cs_dir *d;

	if (w->depth <= CS_DIRS_HELD)
		return CS_OK;
	int r = cs_dir_open(w->run->tree, &l[-1].node, l[-1].next - 1, &d, err);
	if (r < 0)
		return r;
	r = cs_dir_next(d, &n, err);
	if (r == 0 || (r > 0 && n->pos != l->node.pos))
		r = cs_fail(err, CS_E_CORRUPT, "the store has changed");
	if (r > 0)
		cs_node_copy(n, &l->node);
	cs_dir_close(d);
	return r < 0 ? r : CS_OK;
}

static void pop(struct walk *w)
{
	struct level *l = &w->levels[--w->depth];
	if (w->depth == 0 || w->depth >= w->low)
		cs_restore_dir_unuse(w->run, l->dir);
	cs_restore_dir_drop(w->run, l->dir);
	cs_dir_close(l->list);
	cs_node_release(&l->node);
}

/* Make the deepest level usable again. */
static int reopen(struct walk *w, struct cs_error *err)
{
	if (w->depth <= 1 || w->depth > w->low)
		return CS_OK;
	size_t low = w->depth > CS_RESTORE_OPEN_LEVELS ? w->depth - CS_RESTORE_OPEN_LEVELS : 1;
	w->low = w->depth;
	for (size_t i = low; i < w->depth; i++) {
		int r = cs_restore_dir_use(w->run, w->levels[i].dir, err);
		if (r < 0) {
			while (i-- > low)
				cs_restore_dir_unuse(w->run, w->levels[i].dir);
			return r;
		}
	}
	w->low = low;
	return CS_OK;
}

static void tell(struct walk *w, const struct cs_restore_visitor *v, const struct cs_restore_dir *d,
		 const struct cs_node *n, const char *text)
{
	if (v->tell)
		cs_restore_tell(w->run, CS_NOTICE_ERROR, d, n ? n->entry.name : "",
				n ? n->entry.name_len : 0, text);
}

/* A child of the deepest level. */
static int visit(struct walk *w, const struct cs_restore_visitor *v, const struct cs_node *n,
		 struct cs_error *err)
{
	struct cs_restore_dir *d = w->levels[w->depth - 1].dir, *sub = NULL;
	struct cs_error sub_err;

	if (!cs_name_valid(n->entry.name, n->entry.name_len)) {
		tell(w, v, d, n, "the store is damaged: not a name; left out");
		return CS_OK;
	}
	if (cs_restore_excluded(w->run, d, n->entry.name, n->entry.name_len))
		return CS_OK;
	if (!S_ISDIR(n->entry.mode))
		return v->entry ? v->entry(w->run, d, n, err) : CS_OK;
	if (w->depth >= CS_RESTORE_DEPTH) {
		tell(w, v, d, n, "too many directories inside each other; left out");
		return CS_OK;
	}
	int r = v->enter(w->run, d, n, &sub, err);
	if (r <= 0)
		return r;
	r = push(w, sub, n, r == 1, &sub_err);
	if (r == CS_OK)
		return r;
	if (r == CS_E_NOMEM) {
		if (err)
			*err = sub_err;
		return r;
	}
	tell(w, v, d, n, sub_err.text);
	return CS_OK;
}

static int walk_on(struct walk *w, const struct cs_restore_visitor *v, struct cs_error *err)
{
	struct cs_error sub;
	int r = CS_OK;

	while (r >= 0 && w->depth > 0) {
		struct level *l = &w->levels[w->depth - 1];
		const struct cs_node *n;
		int got = l->list ? cs_dir_next(l->list, &n, &sub) : 0;
		if (got > 0) {
			l->next++;
			r = visit(w, v, n, err);
			continue;
		}
		if (got < 0)
			tell(w, v, l->dir, NULL, sub.text);
		if (v->leave && (got = node_again(w, &sub)) < 0)
			cs_restore_tell(w->run, CS_NOTICE_ERROR, l->dir, "", 0, sub.text);
		else if (v->leave)
			r = v->leave(w->run, l->dir, &l->node, err);
		pop(w);
		if (r >= 0)
			r = reopen(w, err);
	}
	return r;
}

int cs_restore_walk(struct cs_restore_run *run, const struct cs_node *start,
		    const struct cs_restore_visitor *v, struct cs_error *err)
{
	struct walk w = { .run = run, .low = 1 };

	int r = cs_restore_dir_use(run, run->top, err);
	if (r < 0)
		return r;
	cs_restore_dir_hold(run, run->top);
	r = push(&w, run->top, start, true, err);
	if (r == CS_OK)
		r = walk_on(&w, v, err);
	while (w.depth > 0)
		pop(&w);
	free(w.levels);
	return r;
}
