/* SPDX-License-Identifier: MIT */
/*
 * cli.c - what the commands share: opening the store, naming points and
 * places, going through points, and the callbacks of long actions.
 *
 * Points are fetched one at a time, each in a transaction of its own: whoever
 * pages through a list holds no snapshot of the store while he reads.
 */
#include "cli.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int cs_cli_misuse(struct cs_cli *cli, struct cs_error *err, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	int rc = cs_vfail(err, CS_E_USAGE, fmt, ap);
	va_end(ap);
	cli->misused = true;
	return rc;
}

/* --- waiting for another writer */

#define WAIT_TOLD_MS 1000 /* a transaction takes a tenth of it */

static int find_writer(void *arg, const struct cs_user *u)
{
	if (u->writes)
		*(struct cs_user *)arg = *u;
	return u->writes;
}

/* Any thread: so nothing of the progress line is touched but what is on the terminal. */
static void say_for_whom(struct cs_cli *cli)
{
	struct cs_user u = { .pid = 0 };
	uint64_t hidden;

	if (cs_store_users(cli->store, find_writer, &u, &hidden, NULL) < 0 || u.pid == 0)
		snprintf(u.name, sizeof(u.name), "unknown");
	flockfile(stderr);
	if (isatty(STDERR_FILENO))
		fputs("\r\033[K", stderr);
	fputs("chunkstore: waiting for ", stderr);
	if (u.pid)
		fprintf(stderr, "process %ld (", u.pid);
	else
		fputs("another process (", stderr);
	for (const char *p = u.name; *p != '\0'; p++)
		putc_unlocked((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p, stderr);
	fputs("), which is writing to the store", stderr);
	if (u.stopped)
		fprintf(stderr, " and is stopped: 'kill -CONT %ld' lets it go on", u.pid);
	putc_unlocked('\n', stderr);
	funlockfile(stderr);
}

static int on_wait(void *arg, unsigned ms)
{
	struct cs_cli *cli = arg;

	if (ms >= WAIT_TOLD_MS && cli->store && !atomic_flag_test_and_set(&cli->told))
		say_for_whom(cli);
	return cs_progress_stopped();
}

int cs_cli_open(struct cs_cli *cli, int flags, struct cs_error *err)
{
	const struct cs_open_opts opts = { .flags = flags, .cache_bytes = cli->cache_bytes,
					   .waiting = on_wait, .arg = cli };

	return cs_store_open(cli->store_path, &opts, &cli->store, err);
}

typedef int find_fn(struct cs_store *s, const char *selector, struct cs_point *out,
		    struct cs_error *err);

static int find_point(struct cs_cli *cli, find_fn *find, const char *arg, struct cs_point *point,
		      const char **path, struct cs_error *err)
{
	const char *colon = strchr(arg, ':');
	size_t len = colon ? (size_t)(colon - arg) : strlen(arg);
	char selector[CS_SERIES_MAX + CS_POINT_NAME_MAX + 2];

	if (len == 0)
		return cs_fail(err, CS_E_USAGE, "'%s' does not name a point", arg);
	if (len >= sizeof(selector))
		return cs_fail(err, CS_E_NOTFOUND, "%.*s: no such point", (int)len, arg);
	memcpy(selector, arg, len);
	selector[len] = '\0';
	*path = colon ? colon + 1 : NULL;
	return find(cli->store, selector, point, err);
}

int cs_cli_point(struct cs_cli *cli, const char *arg, struct cs_point *point, const char **path,
		 struct cs_error *err)
{
	return find_point(cli, cs_point_find, arg, point, path, err);
}

int cs_cli_whole_point(struct cs_cli *cli, const char *arg, bool anywhere, struct cs_point *point,
		       struct cs_error *err)
{
	const char *path;
	int rc = find_point(cli, anywhere ? cs_point_find_anywhere : cs_point_find, arg, point,
			    &path, err);

	if (rc == 0 && path)
		return cs_cli_misuse(cli, err, "'%s' names something inside a point", arg);
	return rc;
}

int cs_cli_place(struct cs_cli *cli, const char *arg, struct cs_tree **tree, struct cs_node *node,
		 const char **path, struct cs_error *err)
{
	struct cs_point point;
	struct cs_tree *t = NULL;
	const char *inside;
	int rc = cs_cli_point(cli, arg, &point, &inside, err);

	if (rc != 0)
		return rc;
	rc = cs_tree_open(cli->store, point.seq, &t, err);
	if (rc != 0)
		return rc;
	rc = cs_tree_lookup(t, inside ? inside : "", node, err);
	if (rc != 0) {
		cs_tree_close(t);
		return rc;
	}
	*tree = t;
	*path = inside ? inside : "";
	return 0;
}

/* --- going through points */

struct names {
	char (*list)[CS_SERIES_MAX + 1];
	size_t count, room;
};

static int keep_name(void *arg, const struct cs_series *s)
{
	struct names *n = arg;

	if (n->count == n->room) {
		size_t room = n->room ? 2 * n->room : 64;
		void *list = reallocarray(n->list, room, sizeof(*n->list));

		if (!list)
			return CS_E_NOMEM;
		n->list = list;
		n->room = room;
	}
	memcpy(n->list[n->count++], s->name, sizeof(s->name));
	return 0;
}

#define GOT_ONE 1

static int keep_point(void *arg, const struct cs_point *p)
{
	*(struct cs_point *)arg = *p;
	return GOT_ONE;
}

static int each_of_series(struct cs_cli *cli, const char *series, bool latest, cs_point_fn *fn,
			  void *arg, struct cs_error *err)
{
	char after[CS_POINT_NAME_MAX + 1] = "";
	struct cs_point point;
	int damage = 0, rc;

	if (latest) {
		rc = cs_point_by_name(cli->store, series, "latest", &point, err);
		if (rc == CS_E_NOTFOUND)
			return 0;
		return rc != 0 ? rc : fn(arg, &point);
	}
	for (;;) {
		struct cs_error why = { 0 };

		rc = cs_points_list(cli->store, series, after, keep_point, &point, &why);
		if (why.code == CS_E_CORRUPT && !damage) { /* one was left out, or several */
			damage = why.code;
			*err = why;
		}
		if (rc == CS_E_NOTFOUND || rc == 0 || rc == CS_E_CORRUPT)
			return damage;
		if (rc != GOT_ONE) {
			*err = why;
			return rc;
		}
		memcpy(after, point.name, sizeof(after));
		rc = fn(arg, &point);
		if (rc != 0)
			return rc;
	}
}

int cs_cli_each_point(struct cs_cli *cli, const char *series, bool latest, cs_point_fn *fn,
		      void *arg, struct cs_error *err)
{
	struct names names = { 0 };
	struct cs_error why;
	struct cs_series one;
	int damage = 0, rc;

	if (series) {
		rc = cs_series_get(cli->store, series, 0, &one, err);
		return rc != 0 ? rc : each_of_series(cli, series, latest, fn, arg, err);
	}
	rc = cs_series_list(cli->store, keep_name, &names, err);
	if (rc == CS_E_NOMEM)
		cs_fail(err, rc, "%s", cs_code_text(rc));
	for (size_t i = 0; rc == 0 && i < names.count; i++) {
		rc = each_of_series(cli, names.list[i], latest, fn, arg, damage ? &why : err);
		if (rc == CS_E_CORRUPT) { /* a damaged point does not hide the others */
			damage = rc;
			rc = 0;
		}
	}
	free(names.list);
	return rc != 0 ? rc : damage;
}

/* --- long actions */

int cs_cli_on_progress(void *arg, const struct cs_progress *p)
{
	struct cs_cli *cli = arg;

	cs_progress_show(&cli->line, p);
	return cs_progress_stopped();
}

void cs_cli_on_notice(void *arg, int kind, const char *text)
{
	struct cs_cli *cli = arg;

	if (kind == CS_NOTICE_INFO && cli->quiet)
		return;
	cs_cli_complain(cli, "chunkstore", text);
}

void cs_cli_lost(struct cs_cli *cli, const char *place, const char *path,
		 const struct cs_error *why)
{
	char text[2 * PATH_MAX + sizeof(why->text) + 64];

	snprintf(text, sizeof(text), "%.*s%.*s cannot be read to its end: %s", PATH_MAX, place,
		 PATH_MAX, path, why->text);
	cs_cli_complain(cli, "chunkstore", text);
}

void cs_cli_complain(struct cs_cli *cli, const char *prefix, const char *text)
{
	cs_progress_wipe(&cli->line);
	flockfile(stderr);
	fprintf(stderr, "%s: ", prefix);
	for (const char *p = text; *p != '\0'; p++)
		putc_unlocked((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p, stderr);
	putc_unlocked('\n', stderr);
	funlockfile(stderr);
}
