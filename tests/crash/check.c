/* SPDX-License-Identifier: MIT */
#include "check.h"

#include "store/chunkstore.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct check {
	const char *dir;
	const struct check_want *want;
	char *why;
	struct cs_store *store;
	struct cs_error err;
	bool seen[CHECK_POINTS];
	char extra[CHECK_ID]; /* the point that check itself made */
	bool extra_seen;
};

static bool wrong(struct check *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static bool wrong(struct check *c, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(c->why, CHECK_TEXT, fmt, ap);
	va_end(ap);
	return false;
}

static bool open_store(struct check *c, int flags)
{
	struct cs_open_opts o = { .flags = flags, .cache_bytes = 8 << 20 };
	c->err = (struct cs_error){ 0 };
	return cs_store_open(c->dir, &o, &c->store, &c->err) == CS_OK;
}

static void close_store(struct check *c)
{
	cs_store_close(c->store);
	c->store = NULL;
}

static void hex(const struct cs_hash *h, char out[CHECK_ID])
{
	for (int i = 0; i < 16; i++)
		snprintf(out + 2 * i, 3, "%02x", h->b[i]);
}

static int on_point(void *arg, const struct cs_point *p)
{
	struct check *c = arg;
	char digest[CHECK_ID];

	if (strcmp(p->id, c->extra) == 0) {
		c->extra_seen = true;
		return 0;
	}
	hex(&p->digest, digest);
	for (size_t i = 0; i < c->want->npoints; i++) {
		const struct check_point *w = &c->want->points[i];
		if (strcmp(w->id, p->id) != 0)
			continue;
		if (w->presence == CHECK_LACKS)
			return wrong(c, "point %s is there and should not be", p->id), 1;
		if (strcmp(w->digest, digest) != 0)
			return wrong(c, "point %s has digest %s, not %s", p->id, digest,
				     w->digest), 1;
		c->seen[i] = true;
		return 0;
	}
	return c->want->unknown ? 0 : (wrong(c, "point %s was never stored", p->id), 1);
}

static bool list_is_right(struct check *c)
{
	memset(c->seen, 0, sizeof(c->seen));
	c->extra_seen = false;
	int rc = cs_points_list(c->store, NULL, NULL, on_point, c, &c->err);
	if (rc < 0)
		return wrong(c, "list: %s", c->err.text);
	if (rc > 0)
		return false;
	for (size_t i = 0; i < c->want->npoints; i++)
		if (c->want->points[i].presence == CHECK_HAS && !c->seen[i])
			return wrong(c, "point %s is lost", c->want->points[i].id);
	return !*c->extra || c->extra_seen || wrong(c, "the new point is lost");
}

static void on_finding(void *arg, int kind, const char *text)
{
	(void)kind;
	wrong(arg, "verify: %s", text);
}

static bool verify_is_clean(struct check *c)
{
	struct cs_verify_opts o = { .threads = 1, .notice = on_finding, .arg = c };
	struct cs_verify_result r;
	*c->why = 0;
	if (cs_verify(c->store, &o, &r, &c->err) != CS_OK)
		return *c->why ? false : wrong(c, "verify: %s", c->err.text);
	return r.findings == 0;
}

static bool takes_a_backup(struct check *c)
{
	struct cs_backup_opts o = { .series = "after-the-crash", .root = c->want->source,
				    .threads = 1 };
	struct cs_backup_result r;
	if (cs_backup(c->store, &o, &r, &c->err) != CS_OK)
		return wrong(c, "backup: %s", c->err.text);
	memcpy(c->extra, r.point.id, CHECK_ID);
	return true;
}

static bool takes_a_gc(struct check *c)
{
	struct cs_gc_opts o = { 0 };
	struct cs_gc_result r;
	return cs_gc(c->store, &o, &r, &c->err) == CS_OK || wrong(c, "gc: %s", c->err.text);
}

/* Each step opens the store anew, as a command does. */
static bool check_steps(struct check *c)
{
	if (!open_store(c, CS_OPEN_READ)) {
		if (!c->want->store)
			return true; /* init was not finished, and the store says so */
		return wrong(c, "open for reading: %s", c->err.text);
	}
	if (!list_is_right(c))
		return false;
	close_store(c);
	if (!open_store(c, CS_OPEN_WRITE))
		return wrong(c, "open for writing: %s", c->err.text);
	if (!verify_is_clean(c) || !takes_a_backup(c))
		return false;
	close_store(c);
	if (!open_store(c, CS_OPEN_WRITE))
		return wrong(c, "open for gc: %s", c->err.text);
	if (!takes_a_gc(c))
		return false;
	close_store(c);
	if (!open_store(c, CS_OPEN_READ))
		return wrong(c, "open after gc: %s", c->err.text);
	return list_is_right(c) && verify_is_clean(c);
}

bool check_store(const char *dir, const struct check_want *want, char why[CHECK_TEXT])
{
	struct check c = { .dir = dir, .want = want, .why = why };
	*why = 0;
	bool ok = check_steps(&c);
	close_store(&c);
	return ok;
}
