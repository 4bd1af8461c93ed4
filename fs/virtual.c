/* SPDX-License-Identifier: MIT */
/*
 * virtual.c - the directories above the points.
 *
 *	/SERIES/NAME/...                       the points themselves
 *	/SERIES/latest                      -> NAME
 *	/by-id/ID                           -> ../SERIES/NAME
 *	/by-tag/TAG/SERIES@NAME             -> ../../SERIES/NAME
 *	/by-consistency/LEVEL/SERIES@NAME   -> ../../SERIES/NAME
 *
 * With one series alone there is nothing but its directory, which view.c makes
 * the root. As of a time there is nothing but the root, where SERIES is the tree
 * of a point itself.
 *
 * Nothing is remembered: each question is answered from the store's current
 * state, so a new point is there and a forgotten one gone with the commit. What
 * is kept is the last listing, for as long as the store's generation stands
 * still, since a directory is read in many pieces; and that of by-tag beside it,
 * since only there a tag's number becomes a tag again.
 *
 * A further view is a kind in inode.h, a row in list_root(), a function that
 * lists it (listing.c) and a case in lookup(): all its symlinks name points.
 */
#include "virtual.h"

#include "inode.h"
#include "listing.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct cs_virtual {
	struct cs_store *store;
	struct cs_virtual_opts opts;
	pthread_mutex_t lock;
	struct cs_listing *last, *tags; /* guarded by lock */
};

struct cs_virtual *cs_virtual_new(struct cs_store *store, const struct cs_virtual_opts *opts)
{
	struct cs_virtual *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->store = store;
	v->opts = *opts;
	pthread_mutex_init(&v->lock, NULL);
	return v;
}

void cs_virtual_free(struct cs_virtual *v)
{
	if (!v)
		return;
	cs_listing_free(v->last);
	cs_listing_free(v->tags);
	pthread_mutex_destroy(&v->lock);
	free(v);
}

/* --------------------------------------------------------------- listings */

static void listing_put(struct cs_virtual *v, struct cs_listing *l)
{
	if (!l)
		return;
	pthread_mutex_lock(&v->lock);
	bool unused = --l->refs == 0;
	pthread_mutex_unlock(&v->lock);
	if (unused)
		cs_listing_free(l);
}

/* A kept listing, with a reference. */
static struct cs_listing *kept(struct cs_virtual *v, uint64_t dir, uint64_t generation)
{
	struct cs_listing *found = NULL;

	pthread_mutex_lock(&v->lock);
	if (v->last && v->last->dir == dir && v->last->generation == generation)
		found = v->last;
	else if (v->tags && v->tags->dir == dir && v->tags->generation == generation)
		found = v->tags;
	if (found)
		found->refs++;
	pthread_mutex_unlock(&v->lock);
	return found;
}

static int listing_of(struct cs_virtual *v, uint64_t dir, const char *tag, struct cs_listing **out,
		      struct cs_error *err)
{
	const struct cs_listing_what what = { dir, tag, v->opts.at };
	uint64_t generation;
	int r = cs_store_generation(v->store, &generation, err);

	if (r < 0)
		return r;
	struct cs_listing *l = kept(v, dir, generation);
	if (!l) {
		r = cs_listing_build(v->store, &what, &l, err);
		if (r < 0)
			return r;
		pthread_mutex_lock(&v->lock);
		struct cs_listing **slot = cs_inode_decode(dir).kind == CS_KIND_BY_TAG ? &v->tags :
											&v->last;
		struct cs_listing *old = *slot;
		*slot = l;
		l->refs++;
		pthread_mutex_unlock(&v->lock);
		listing_put(v, old);
	}
	*out = l;
	return 0;
}

static int absent(struct cs_error *err, const char *name)
{
	return cs_fail(err, CS_E_NOTFOUND, "%s", name);
}

/* The tag behind the number of its directory. */
static int tag_of(struct cs_virtual *v, uint64_t number, char out[CS_LISTING_NAME_MAX + 1],
		  struct cs_error *err)
{
	struct cs_listing *l;
	int r = listing_of(v, cs_inode_virtual(CS_KIND_BY_TAG, 0), NULL, &l, err);

	if (r < 0)
		return r;
	const char *name = cs_listing_tag(l, number);
	if (!name || !cs_listing_tag_of(name, out))
		r = absent(err, "tag");
	listing_put(v, l);
	return r;
}

static int listing_get(struct cs_virtual *v, uint64_t dir, struct cs_listing **out,
		       struct cs_error *err)
{
	struct cs_inode i = cs_inode_decode(dir);
	char tag[CS_LISTING_NAME_MAX + 1];

	if (i.kind != CS_KIND_TAG)
		return listing_of(v, dir, NULL, out, err);
	int r = tag_of(v, i.id, tag, err);
	return r < 0 ? r : listing_of(v, dir, tag, out, err);
}

/* Is it part of this mount? */
static bool is_shown(const struct cs_virtual *v, struct cs_inode i)
{
	if (v->opts.at)
		return i.kind == CS_KIND_ROOT && i.id == CS_INODE_ROOT;
	if (v->opts.series)
		return (i.kind == CS_KIND_SERIES && i.id == v->opts.series) ||
		       i.kind == CS_KIND_LATEST;
	return true;
}

int cs_virtual_list(struct cs_virtual *v, uint64_t dir, uint64_t after, cs_virtual_fn *fn,
		    void *arg, struct cs_error *err)
{
	struct cs_listing *l;

	if (!is_shown(v, cs_inode_decode(dir)))
		return absent(err, "directory");
	int r = listing_get(v, dir, &l, err);
	if (r < 0)
		return r;
	size_t i = 0;
	for (; i < l->count; i++) {
		const struct cs_listing_row *row = &l->rows[i];
		if (row->cookie > after &&
		    !fn(arg, l->text + row->name, row->ino, row->type, row->cookie))
			break;
	}
	if (i == l->count && l->damage.code) {
		*err = l->damage;
		r = l->damage.code;
	}
	listing_put(v, l);
	return r;
}

/* ----------------------------------------------------------------- lookup */

/* A name in a directory whose names are found by listing it. */
static int lookup_listed(struct cs_virtual *v, uint64_t dir, const char *name, uint64_t *out,
			 struct cs_error *err)
{
	struct cs_listing *l;
	int r = listing_get(v, dir, &l, err);

	if (r < 0)
		return r;
	const struct cs_listing_row *row = cs_listing_find(l, name);
	if (row) {
		*out = row->ino;
	} else if (l->damage.code) { /* it may be one that cannot be read */
		*err = l->damage;
		r = l->damage.code;
	} else {
		r = absent(err, name);
	}
	listing_put(v, l);
	return r;
}

/* Beyond the last number, a point cannot be shown (inode.c). */
static int numbered(const struct cs_point *p, struct cs_error *err)
{
	if (p->seq <= CS_INODE_SEQ_MAX)
		return 0;
	return cs_fail(err, CS_E_LIMIT, "%s/%s: too many points for inode numbers", p->series,
		       p->name);
}

/* The tree of a series as of the mount's time. */
static int lookup_as_of(struct cs_virtual *v, const char *name, uint64_t *out,
			struct cs_error *err)
{
	struct cs_point p;

	if (strlen(name) > CS_SERIES_MAX)
		return absent(err, name);
	int r = cs_point_at(v->store, name, *v->opts.at, &p, err);
	if (r == 0)
		r = numbered(&p, err);
	if (r == 0)
		*out = cs_inode_point(p.seq, 0);
	return r;
}

static int lookup_root(struct cs_virtual *v, const char *name, uint64_t *out, struct cs_error *err)
{
	struct cs_series s;

	if (v->opts.at)
		return lookup_as_of(v, name, out, err);
	if (strcmp(name, "by-id") == 0) {
		*out = cs_inode_virtual(CS_KIND_BY_ID, 0);
	} else if (strcmp(name, "by-tag") == 0) {
		*out = cs_inode_virtual(CS_KIND_BY_TAG, 0);
	} else if (strcmp(name, "by-consistency") == 0) {
		*out = cs_inode_virtual(CS_KIND_BY_LEVEL, 0);
	} else {
		if (strlen(name) > CS_SERIES_MAX)
			return absent(err, name);
		int r = cs_series_get(v->store, name, 0, &s, err);
		if (r < 0)
			return r;
		if (s.points == 0)
			return absent(err, name);
		*out = cs_inode_virtual(CS_KIND_SERIES, s.id);
	}
	return 0;
}

/* A point by its exact name; "latest" is not one. */
static int point_named(struct cs_virtual *v, const char *series, const char *name,
		       struct cs_point *out, struct cs_error *err)
{
	if (strlen(name) > CS_POINT_NAME_MAX || strcmp(name, "latest") == 0)
		return absent(err, name);
	int r = cs_point_by_name(v->store, series, name, out, err);
	return r < 0 ? r : numbered(out, err);
}

static int lookup_series(struct cs_virtual *v, uint32_t id, const char *name, uint64_t *out,
			 struct cs_error *err)
{
	struct cs_series s;
	struct cs_point p;
	int r = cs_series_get(v->store, NULL, id, &s, err);

	if (r < 0)
		return r;
	if (strcmp(name, "latest") == 0) {
		r = cs_point_by_name(v->store, s.name, name, &p, err);
		if (r == 0)
			r = numbered(&p, err);
		if (r == 0)
			*out = cs_inode_virtual(CS_KIND_LATEST, (uint32_t)p.seq);
	} else {
		r = point_named(v, s.name, name, &p, err);
		if (r == 0)
			*out = cs_inode_point(p.seq, 0);
	}
	return r;
}

static int lookup_id(struct cs_virtual *v, const char *name, uint64_t *out, struct cs_error *err)
{
	struct cs_point p;

	if (strlen(name) != sizeof(p.id) - 1 ||
	    strspn(name, "0123456789abcdef") != sizeof(p.id) - 1)
		return absent(err, name);
	int r = cs_point_find(v->store, name, &p, err);
	if (r < 0)
		return r;
	if (strcmp(p.id, name) != 0)
		return absent(err, name);
	r = numbered(&p, err);
	if (r < 0)
		return r;
	*out = cs_inode_virtual(CS_KIND_ID_LINK, (uint32_t)p.seq);
	return 0;
}

/* SERIES@NAME: the point, without asking whether it belongs here. */
static int linked_point(struct cs_virtual *v, const char *name, struct cs_point *out,
			struct cs_error *err)
{
	char series[CS_SERIES_MAX + 1];
	const char *at = strrchr(name, '@'); /* a point's name holds none */

	if (!at || at == name || at - name > CS_SERIES_MAX)
		return absent(err, name);
	snprintf(series, sizeof(series), "%.*s", (int)(at - name), name);
	return point_named(v, series, at + 1, out, err);
}

static int lookup_level(struct cs_virtual *v, uint32_t level, const char *name, uint64_t *out,
			struct cs_error *err)
{
	struct cs_point p;
	int r = linked_point(v, name, &p, err);

	if (r < 0)
		return r;
	if (p.consistency != (int)level)
		return absent(err, name);
	*out = cs_inode_virtual(CS_KIND_LEVEL_LINK, (uint32_t)p.seq);
	return 0;
}

static int lookup_tag(struct cs_virtual *v, uint64_t id, const char *name, uint64_t *out,
		      struct cs_error *err)
{
	struct cs_point p;
	char tag[CS_LISTING_NAME_MAX + 1];
	int r = tag_of(v, id, tag, err);

	if (r == 0)
		r = linked_point(v, name, &p, err);
	if (r < 0)
		return r;
	for (unsigned i = 0; i < p.ntags; i++) {
		if (strcmp(p.tags[i], tag) == 0) {
			*out = cs_inode_virtual(CS_KIND_TAG_LINK,
						(uint32_t)p.seq << CS_INODE_TAG_BITS | i);
			return 0;
		}
	}
	return absent(err, name);
}

int cs_virtual_lookup(struct cs_virtual *v, uint64_t parent, const char *name, uint64_t *out,
		      struct cs_error *err)
{
	struct cs_inode i = cs_inode_decode(parent);

	if (!is_shown(v, i))
		return absent(err, name);
	switch (i.kind) {
	case CS_KIND_ROOT:
		return lookup_root(v, name, out, err);
	case CS_KIND_SERIES:
		return lookup_series(v, (uint32_t)i.id, name, out, err);
	case CS_KIND_BY_ID:
		return lookup_id(v, name, out, err);
	case CS_KIND_BY_TAG:
	case CS_KIND_BY_LEVEL:
		return lookup_listed(v, parent, name, out, err);
	case CS_KIND_TAG:
		return lookup_tag(v, i.id, name, out, err);
	case CS_KIND_LEVEL:
		return lookup_level(v, (uint32_t)i.id, name, out, err);
	default:
		return cs_fail(err, CS_E_NOTDIR, "not a directory");
	}
}

int cs_virtual_parent(struct cs_virtual *v, uint64_t ino, uint64_t *out, struct cs_error *err)
{
	struct cs_inode i = cs_inode_decode(ino);
	struct cs_point p;

	if (i.seq > 0 && v->opts.at) {
		*out = CS_INODE_ROOT;
	} else if (i.seq > 0) {
		int r = cs_point_by_seq(v->store, i.seq, &p, err);
		if (r < 0)
			return r;
		*out = cs_inode_virtual(CS_KIND_SERIES, p.series_id);
	} else if (i.kind == CS_KIND_TAG) {
		*out = cs_inode_virtual(CS_KIND_BY_TAG, 0);
	} else if (i.kind == CS_KIND_LEVEL) {
		*out = cs_inode_virtual(CS_KIND_BY_LEVEL, 0);
	} else {
		*out = CS_INODE_ROOT;
	}
	return 0;
}

/* ------------------------------------------------------------- attributes */

struct whole {
	struct cs_time newest;
	uint64_t series;
};

static int sum_series(void *arg, const struct cs_series *s)
{
	struct whole *w = arg;

	if (s->points > 0)
		w->series++;
	if (s->changed.sec > w->newest.sec ||
	    (s->changed.sec == w->newest.sec && s->changed.nsec > w->newest.nsec))
		w->newest = s->changed;
	return 0;
}

static void set_times(struct stat *st, struct cs_time t)
{
	st->st_mtim.tv_sec = (time_t)t.sec;
	st->st_mtim.tv_nsec = (long)t.nsec;
	st->st_atim = st->st_ctim = st->st_mtim;
}

/* The point that a symlink's inode names. */
static int target_point(struct cs_virtual *v, struct cs_inode i, struct cs_point *out,
			struct cs_error *err)
{
	uint64_t seq = i.kind == CS_KIND_TAG_LINK ? i.id >> CS_INODE_TAG_BITS : i.id;

	return cs_point_by_seq(v->store, seq, out, err);
}

static int target(const struct cs_point *p, int kind, char out[CS_VIRTUAL_TARGET_MAX])
{
	const char *up = kind == CS_KIND_ID_LINK ? "../" : "../../";

	if (kind == CS_KIND_LATEST)
		return snprintf(out, CS_VIRTUAL_TARGET_MAX, "%s", p->name);
	return snprintf(out, CS_VIRTUAL_TARGET_MAX, "%s%s/%s", up, p->series, p->name);
}

static bool is_link(int kind)
{
	return kind == CS_KIND_LATEST || kind == CS_KIND_ID_LINK || kind == CS_KIND_TAG_LINK ||
	       kind == CS_KIND_LEVEL_LINK;
}

static int link_attr(struct cs_virtual *v, struct cs_inode i, struct stat *st, struct cs_error *err)
{
	struct cs_point p;
	char text[CS_VIRTUAL_TARGET_MAX];
	int r = target_point(v, i, &p, err);

	if (r < 0)
		return r;
	st->st_mode = S_IFLNK | 0777;
	st->st_nlink = 1;
	st->st_size = target(&p, i.kind, text);
	set_times(st, p.received);
	return 0;
}

/* As of a time, a series may have nothing to show. */
static int count_root(struct cs_virtual *v, struct stat *st, struct cs_error *err)
{
	struct cs_listing *l;
	int r = listing_get(v, CS_INODE_ROOT, &l, err);

	if (r < 0)
		return r;
	st->st_nlink = 2 + l->count;
	listing_put(v, l);
	return 0;
}

/* nlink counts the subdirectories where they are known; 1 says "do not rely on it". */
static int dir_attr(struct cs_virtual *v, struct cs_inode i, struct stat *st, struct cs_error *err)
{
	struct whole w = { .series = 0 };
	struct cs_series s;
	int r;

	st->st_mode = S_IFDIR | 0755;
	if (i.kind == CS_KIND_SERIES) {
		r = cs_series_get(v->store, NULL, (uint32_t)i.id, &s, err);
		if (r < 0)
			return r;
		st->st_nlink = 2 + s.points;
		set_times(st, s.changed);
		return 0;
	}
	r = cs_series_list(v->store, sum_series, &w, err);
	if (r < 0 && r != CS_E_CORRUPT)
		return r;
	set_times(st, w.newest);
	st->st_nlink = 1;
	if (r < 0) /* what can be read can be found */
		return 0;
	if (v->opts.at)
		return count_root(v, st, err);
	if (i.kind == CS_KIND_ROOT)
		st->st_nlink = 2 + 3 + w.series;
	else if (i.kind == CS_KIND_BY_LEVEL)
		st->st_nlink = 2 + CS_CONSISTENCY_APP + 1;
	else
		st->st_nlink = i.kind == CS_KIND_BY_TAG ? 1 : 2;
	return 0;
}

int cs_virtual_attr(struct cs_virtual *v, uint64_t ino, struct stat *out, struct cs_error *err)
{
	struct cs_inode i = cs_inode_decode(ino);
	struct stat st = { .st_ino = ino, .st_uid = v->opts.uid, .st_gid = v->opts.gid,
			   .st_blksize = 4096 };
	int r;

	if (i.kind > CS_KIND_LEVEL_LINK || i.kind < 0 || !is_shown(v, i))
		return cs_fail(err, CS_E_NOTFOUND, "no such inode");
	r = is_link(i.kind) ? link_attr(v, i, &st, err) : dir_attr(v, i, &st, err);
	if (r == 0)
		*out = st;
	return r;
}

int cs_virtual_readlink(struct cs_virtual *v, uint64_t ino, char out[CS_VIRTUAL_TARGET_MAX],
			struct cs_error *err)
{
	struct cs_inode i = cs_inode_decode(ino);
	struct cs_point p;

	if (!is_shown(v, i))
		return cs_fail(err, CS_E_NOTFOUND, "no such inode");
	if (!is_link(i.kind))
		return cs_fail(err, CS_E_USAGE, "not a symlink");
	int r = target_point(v, i, &p, err);
	if (r == 0)
		target(&p, i.kind, out);
	return r;
}
