/* SPDX-License-Identifier: MIT */
/*
 * view_status.c - what a mount tells of itself: an extended attribute of its
 * root that no list of attributes names, so that neither cp nor tar ever sees
 * it. Only who mounted, and root, may ask: it names points and paths.
 *
 * It is made anew for each question, and the numbers move: who asks how long
 * it is gets a little more than that.
 */
#include "view_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define POINTS_SHOWN 100
#define SLACK 1024

/* Points in use: the first ones by number, and how many there are. */
struct held {
	struct cs_hold list[POINTS_SHOWN];
	size_t n;
	uint64_t all;
};

static void note_hold(void *arg, const struct cs_hold *h)
{
	struct held *held = arg;
	size_t at = held->n;

	held->all++;
	while (at > 0 && held->list[at - 1].seq > h->seq)
		at--;
	if (at == POINTS_SHOWN)
		return;
	size_t last = held->n < POINTS_SHOWN ? held->n++ : POINTS_SHOWN - 1;
	memmove(&held->list[at + 1], &held->list[at], (last - at) * sizeof(*h));
	held->list[at] = *h;
}

/* "SERIES/NAME", or what is left to say of a point that was forgotten. */
static void put_point(FILE *f, struct cs_view *v, uint64_t seq)
{
	struct cs_point p;

	if (cs_point_by_seq(v->store, seq, &p, NULL) == 0)
		fprintf(f, "%s/%s", p.series, p.name);
	else
		fprintf(f, "point number %" PRIu64 ", forgotten", seq);
}

static void put_what(FILE *f, struct cs_view *v)
{
	struct cs_series s;
	char name[CS_POINT_NAME_MAX + 1];

	fprintf(f, "shows        ");
	if (v->single)
		put_point(f, v, v->single);
	else if (v->series && cs_series_get(v->store, NULL, v->series, &s, NULL) == 0)
		fprintf(f, "series %s", s.name);
	else
		fprintf(f, "all points");
	if (v->opts.has_at && !v->single) {
		cs_time_name(v->opts.at, name);
		fprintf(f, " as of %s", name);
	}
	fputc('\n', f);
}

static void put_holds(FILE *f, struct cs_view *v)
{
	struct held held = { .n = 0 };

	cs_holds_each(v->holds, note_hold, &held);
	fprintf(f, "holds        %" PRIu64 " point%s\n", held.all, held.all == 1 ? "" : "s");
	for (size_t i = 0; i < held.n; i++) {
		fprintf(f, "             ");
		put_point(f, v, held.list[i].seq);
		fprintf(f, ": %" PRIu64 " reference%s\n", held.list[i].count,
			held.list[i].count == 1 ? "" : "s");
	}
	if (held.all > held.n)
		fprintf(f, "             and %" PRIu64 " more\n", held.all - held.n);
}

static void put_caches(FILE *f, struct cs_view *v)
{
	struct cs_store_caches c;

	cs_store_caches(v->store, &c);
	fprintf(f, "bundles      %zu bytes in the cache, %" PRIu64 " found there, %" PRIu64
		" decoded\n", c.bundle_bytes, c.bundle_hits, c.bundle_misses);
	fprintf(f, "tree pages   %zu bytes in the cache, %" PRIu64 " found there, %" PRIu64
		" decoded\n", c.page_bytes, c.page_hits, c.page_misses);
	fprintf(f, "cache limit  %zu bytes\n", c.limit);
}

static int compose(struct cs_view *v, char **out, size_t *len)
{
	char since[CS_POINT_NAME_MAX + 1];
	FILE *f = open_memstream(out, len);

	if (!f)
		return ENOMEM;
	cs_time_name(v->since, since);
	fprintf(f, "store        %s\n", cs_store_path(v->store));
	fprintf(f, "process      %ld, since %s\n", (long)getpid(), since);
	put_what(f, v);
	put_holds(f, v);
	put_caches(f, v);
	fprintf(f, "changes      %" PRIu64 " of the store shown since then\n",
		(uint64_t)atomic_load(&v->refreshes));
	fprintf(f, "requests     %" PRIu64 " answered\n",
		(uint64_t)atomic_load_explicit(&v->requests, memory_order_relaxed));
	if (fclose(f) != 0) {
		free(*out);
		return ENOMEM;
	}
	return 0;
}

bool cs_view_is_status(uint64_t ino, const char *name, uid_t asker)
{
	return ino == CS_INODE_ROOT && strcmp(name, CS_VIEW_STATUS) == 0 &&
	       (asker == 0 || asker == geteuid());
}

int cs_view_status(struct cs_view *v, char *buf, size_t size, size_t *out_len)
{
	char *text;
	size_t len;
	int e = compose(v, &text, &len);

	if (e)
		return e;
	if (size == 0)
		*out_len = len + SLACK;
	else if (len > size)
		e = ERANGE;
	else
		*out_len = (size_t)((char *)mempcpy(buf, text, len) - buf);
	free(text);
	return e;
}

void cs_view_answered(struct cs_view *v)
{
	atomic_fetch_add_explicit(&v->requests, 1, memory_order_relaxed);
}
