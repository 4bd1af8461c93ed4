/* SPDX-License-Identifier: MIT */
/*
 * listing.c - the names of one virtual directory, as rows of memory.
 *
 * A directory may be read in many pieces while points come and go, so a
 * position in it (the cookie, what telldir shows) must not be a count. It is
 * derived from what the name stands for - a series' id, a point's seq - and
 * rows ascend by it: reading goes on behind the last cookie, and shows every
 * name that was there all the time exactly once.
 */
#include "listing.h"

#include "inode.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COOKIE_FIRST 16 /* below: the fixed names of a directory */

/* ------------------------------------------------------------------ names */

bool cs_listing_tag_name(const char *tag, char out[CS_LISTING_NAME_MAX + 1])
{
	bool dots = strcmp(tag, ".") == 0 || strcmp(tag, "..") == 0;
	size_t n = 0;

	for (; *tag; tag++) {
		bool escape = *tag == '/' || *tag == '\\' || dots;
		if (n + (escape ? 4 : 1) > CS_LISTING_NAME_MAX)
			return false;
		if (escape)
			n += (size_t)sprintf(out + n, "\\x%02x", (unsigned char)*tag);
		else
			out[n++] = *tag;
	}
	out[n] = '\0';
	return n > 0;
}

bool cs_listing_tag_of(const char *name, char out[CS_LISTING_NAME_MAX + 1])
{
	size_t len = strlen(name);

	if (len > CS_LISTING_NAME_MAX || !cs_text_unescape(name, len, out, &len))
		return false;
	out[len] = '\0';
	return true;
}

void cs_listing_link_name(const struct cs_point *p, char out[CS_LISTING_LINK_MAX + 1])
{
	snprintf(out, CS_LISTING_LINK_MAX + 1, "%s@%s", p->series, p->name);
}

/* ------------------------------------------------------------------- rows */

static int grow(void *array, size_t *cap, size_t need, size_t item)
{
	void *old;

	if (need <= *cap)
		return 0;
	size_t n = *cap ? 2 * *cap : 64;
	while (n < need)
		n *= 2;
	memcpy(&old, array, sizeof(old));
	void *p = reallocarray(old, n, item);
	if (!p)
		return CS_E_NOMEM;
	memcpy(array, &p, sizeof(p));
	*cap = n;
	return 0;
}

/* FNV-1a. Part of inode numbers: never change it. */
static uint64_t hash(const char *name)
{
	uint64_t x = UINT64_C(0xcbf29ce484222325);

	for (; *name; name++)
		x = (x ^ (unsigned char)*name) * UINT64_C(0x100000001b3);
	return x ^ x >> 32;
}

static const char *name_of(const struct cs_listing *l, size_t row)
{
	return l->text + l->rows[row].name;
}

/* Where a name's row is entered, or would be. */
static size_t slot_of(const struct cs_listing *l, const char *name)
{
	size_t at = hash(name) & (l->nslots - 1);

	while (l->slots[at] && strcmp(name_of(l, l->slots[at] - 1), name) != 0)
		at = (at + 1) & (l->nslots - 1);
	return at;
}

/* Enter all rows into a table with room for some more. */
static int index_rows(struct cs_listing *l)
{
	size_t n = 64;

	while (n < 2 * l->count + 2)
		n *= 2;
	size_t *slots = calloc(n, sizeof(*slots));
	if (!slots)
		return CS_E_NOMEM;
	free(l->slots);
	l->slots = slots;
	l->nslots = n;
	for (size_t i = 0; i < l->count; i++)
		slots[slot_of(l, name_of(l, i))] = i + 1;
	return 0;
}

static int add(struct cs_listing *l, uint64_t cookie, const char *name, uint64_t ino, uint32_t type)
{
	size_t len = strlen(name) + 1;

	if (grow(&l->rows, &l->rows_cap, l->count + 1, sizeof(*l->rows)) < 0 ||
	    grow(&l->text, &l->text_cap, l->text_len + len, 1) < 0)
		return CS_E_NOMEM;
	memcpy(l->text + l->text_len, name, len);
	l->rows[l->count++] = (struct cs_listing_row){ cookie, ino, type, l->text_len };
	l->text_len += len;
	return 0;
}

const struct cs_listing_row *cs_listing_find(const struct cs_listing *l, const char *name)
{
	if (l->nslots == 0)
		return NULL;
	size_t row = l->slots[slot_of(l, name)];
	return row ? &l->rows[row - 1] : NULL;
}

static int by_cookie(const void *a, const void *b)
{
	const struct cs_listing_row *x = a, *y = b;

	return x->cookie < y->cookie ? -1 : x->cookie > y->cookie;
}

void cs_listing_free(struct cs_listing *l)
{
	if (!l)
		return;
	free(l->slots);
	free(l->rows);
	free(l->text);
	free(l);
}

/* ------------------------------------------------------- what is listed */

/* A point that an inode number cannot hold is left out (inode.c). */
static bool numbered(const struct cs_point *p)
{
	return p->seq <= CS_INODE_SEQ_MAX;
}

static int add_series(void *arg, const struct cs_series *s)
{
	/* A series without points is not shown: an empty directory looks like an empty backup. */
	if (s->points == 0)
		return 0;
	return add(arg, COOKIE_FIRST + s->id, s->name, cs_inode_virtual(CS_KIND_SERIES, s->id),
		   S_IFDIR);
}

static int add_point(void *arg, const struct cs_point *p)
{
	if (!numbered(p))
		return 0;
	return add(arg, COOKIE_FIRST + p->seq, p->name, cs_inode_point(p->seq, 0), S_IFDIR);
}

static int add_id(void *arg, const struct cs_point *p)
{
	if (!numbered(p))
		return 0;
	return add(arg, COOKIE_FIRST + p->seq, p->id,
		   cs_inode_virtual(CS_KIND_ID_LINK, (uint32_t)p->seq), S_IFLNK);
}

struct filter {
	struct cs_listing *l;
	int level;       /* by-consistency/LEVEL */
	const char *tag; /* by-tag/TAG */
};

static int add_level(void *arg, const struct cs_point *p)
{
	const struct filter *f = arg;
	char name[CS_LISTING_LINK_MAX + 1];

	if (!numbered(p) || p->consistency != f->level)
		return 0;
	cs_listing_link_name(p, name);
	return add(f->l, COOKIE_FIRST + p->seq, name,
		   cs_inode_virtual(CS_KIND_LEVEL_LINK, (uint32_t)p->seq), S_IFLNK);
}

static int add_tagged(void *arg, const struct cs_point *p)
{
	const struct filter *f = arg;
	char name[CS_LISTING_LINK_MAX + 1];

	for (unsigned i = 0; numbered(p) && i < p->ntags; i++) {
		if (strcmp(p->tags[i], f->tag) != 0)
			continue;
		uint32_t id = (uint32_t)p->seq << CS_INODE_TAG_BITS | i;
		cs_listing_link_name(p, name);
		return add(f->l, COOKIE_FIRST + p->seq, name,
			   cs_inode_virtual(CS_KIND_TAG_LINK, id), S_IFLNK);
	}
	return 0;
}

/* Rows of tags have their hash for a cookie until all are known. */
#define HASH_MAX ((UINT64_C(1) << CS_INODE_HASH_BITS) - (UINT64_C(1) << 24))

static int add_tags(void *arg, const struct cs_point *p)
{
	struct cs_listing *l = arg;
	char name[CS_LISTING_NAME_MAX + 1];

	for (unsigned i = 0; numbered(p) && i < p->ntags; i++) {
		if (!cs_listing_tag_name(p->tags[i], name) || cs_listing_find(l, name))
			continue;
		int r = 2 * l->count >= l->nslots ? index_rows(l) : 0;
		if (r == 0)
			r = add(l, hash(name) % HASH_MAX, name, 0, S_IFDIR);
		if (r < 0)
			return r;
		l->slots[slot_of(l, name)] = l->count;
	}
	return 0;
}

static int by_hash_and_name(const void *a, const void *b, void *arg)
{
	const struct cs_listing_row *x = a, *y = b;
	const struct cs_listing *l = arg;

	if (x->cookie != y->cookie)
		return x->cookie < y->cookie ? -1 : 1;
	return strcmp(l->text + x->name, l->text + y->name);
}

/* The number of each tag is its hash; of several with one, the later take the next ones. */
static void number_tags(struct cs_listing *l)
{
	uint64_t next = 0;

	if (l->count > 1)
		qsort_r(l->rows, l->count, sizeof(*l->rows), by_hash_and_name, l);
	for (size_t i = 0; i < l->count; i++) {
		struct cs_listing_row *row = &l->rows[i];
		uint64_t n = row->cookie > next ? row->cookie : next;
		row->cookie = COOKIE_FIRST + n;
		row->ino = cs_inode_tag(n);
		next = n + 1;
	}
}

const char *cs_listing_tag(const struct cs_listing *l, uint64_t n)
{
	const struct cs_listing_row key = { .cookie = COOKIE_FIRST + n };
	const struct cs_listing_row *row =
		l->count ? bsearch(&key, l->rows, l->count, sizeof(key), by_cookie) : NULL;

	return row ? l->text + row->name : NULL;
}

static int note_damage(struct cs_listing *l, int r, const struct cs_error *err)
{
	if (r != CS_E_CORRUPT)
		return r;
	l->damage = *err;
	return 0;
}

/* The root of a mount with at=: each series is the tree of that time. */
struct as_of {
	struct cs_store *store;
	struct cs_listing *l;
	struct cs_time at;
};

static int add_as_of(void *arg, const struct cs_series *s)
{
	const struct as_of *a = arg;
	struct cs_error err;
	struct cs_point p;

	if (s->points == 0)
		return 0;
	int r = cs_point_at(a->store, s->name, a->at, &p, &err);
	if (r == CS_E_NOTFOUND || (r == 0 && !numbered(&p)))
		return 0;
	if (r < 0)
		return note_damage(a->l, r, &err);
	return add(a->l, COOKIE_FIRST + s->id, s->name, cs_inode_point(p.seq, 0), S_IFDIR);
}

/* Points that cannot be read do not hide the others; whoever lists is told at the end. */
static int list_points(struct cs_store *store, const char *series, cs_point_fn *fn, void *arg,
		       struct cs_listing *l, struct cs_error *err)
{
	int r = cs_points_list(store, series, NULL, fn, arg, err);

	return note_damage(l, r, err);
}

static int list_root(struct cs_store *store, struct cs_listing *l, struct cs_error *err)
{
	static const struct {
		const char *name;
		int kind;
	} fixed[] = {
		{ "by-consistency", CS_KIND_BY_LEVEL },
		{ "by-id", CS_KIND_BY_ID },
		{ "by-tag", CS_KIND_BY_TAG },
	};

	for (unsigned i = 0; i < sizeof(fixed) / sizeof(fixed[0]); i++) {
		int r = add(l, 1 + i, fixed[i].name, cs_inode_virtual(fixed[i].kind, 0), S_IFDIR);
		if (r < 0)
			return r;
	}
	return note_damage(l, cs_series_list(store, add_series, l, err), err);
}

static int list_series(struct cs_store *store, uint32_t id, struct cs_listing *l,
		       struct cs_error *err)
{
	struct cs_series s;
	struct cs_point newest;
	int r = cs_series_get(store, NULL, id, &s, err);

	if (r < 0)
		return r;
	r = cs_point_by_name(store, s.name, "latest", &newest, err);
	if (r < 0 && r != CS_E_NOTFOUND && r != CS_E_CORRUPT)
		return r;
	if (r == 0 && numbered(&newest)) {
		r = add(l, 1, "latest", cs_inode_virtual(CS_KIND_LATEST, (uint32_t)newest.seq),
			S_IFLNK);
		if (r < 0)
			return r;
	}
	return list_points(store, s.name, add_point, l, l, err);
}

static int list_as_of(struct cs_store *store, struct cs_time at, struct cs_listing *l,
		      struct cs_error *err)
{
	struct as_of a = { store, l, at };

	return note_damage(l, cs_series_list(store, add_as_of, &a, err), err);
}

static int list_levels(struct cs_listing *l)
{
	for (int i = CS_CONSISTENCY_UNKNOWN; i <= CS_CONSISTENCY_APP; i++) {
		int r = add(l, COOKIE_FIRST + (unsigned)i, cs_consistency_name(i),
			    cs_inode_virtual(CS_KIND_LEVEL, (uint32_t)i), S_IFDIR);
		if (r < 0)
			return r;
	}
	return 0;
}

static int list_tags(struct cs_store *store, struct cs_listing *l, struct cs_error *err)
{
	int r = list_points(store, NULL, add_tags, l, l, err);

	if (r == 0)
		number_tags(l);
	return r;
}

static int list(struct cs_store *store, const struct cs_listing_what *what, struct cs_listing *l,
		struct cs_error *err)
{
	struct cs_inode i = cs_inode_decode(what->dir);
	struct filter f = { .l = l, .level = (int)i.id, .tag = what->tag };

	switch (i.kind) {
	case CS_KIND_ROOT:
		if (what->at)
			return list_as_of(store, *what->at, l, err);
		return list_root(store, l, err);
	case CS_KIND_SERIES:
		return list_series(store, (uint32_t)i.id, l, err);
	case CS_KIND_BY_ID:
		return list_points(store, NULL, add_id, l, l, err);
	case CS_KIND_BY_TAG:
		return list_tags(store, l, err);
	case CS_KIND_BY_LEVEL:
		return list_levels(l);
	case CS_KIND_TAG:
		return list_points(store, NULL, add_tagged, &f, l, err);
	case CS_KIND_LEVEL:
		return list_points(store, NULL, add_level, &f, l, err);
	default:
		return cs_fail(err, CS_E_NOTDIR, "not a directory");
	}
}

int cs_listing_build(struct cs_store *store, const struct cs_listing_what *what,
		     struct cs_listing **out, struct cs_error *err)
{
	struct cs_listing *l = calloc(1, sizeof(*l));

	if (!l)
		return cs_fail(err, CS_E_NOMEM, "listing a directory");
	l->dir = what->dir;
	l->refs = 1;
	/* Before the rows: if a point comes meanwhile, the listing counts as the older one. */
	int r = cs_store_generation(store, &l->generation, err);
	if (r == 0)
		r = list(store, what, l, err);
	if (r == 0 && l->count > 1)
		qsort(l->rows, l->count, sizeof(*l->rows), by_cookie);
	if (r == 0)
		r = index_rows(l);
	if (r < 0) {
		if (r == CS_E_NOMEM)
			cs_fail(err, CS_E_NOMEM, "listing a directory");
		cs_listing_free(l);
		return r;
	}
	*out = l;
	return 0;
}
