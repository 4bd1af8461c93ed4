/* SPDX-License-Identifier: MIT */
/*
 * cmd_points.c - list and show: what is known about points without looking
 * into their trees.
 */
#include "cli.h"
#include "cmd_trash.h"
#include "describe.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* --- list */

struct list_values {
	bool series, trash, json, utc;
};

static const struct cs_opt list_options[] = {
	{ CS_OPT_FLAG, 'S', "series", NULL, offsetof(struct list_values, series),
	  "list the series, not their points", 0, 0 },
	{ CS_OPT_FLAG, 0, "trash", NULL, offsetof(struct list_values, trash),
	  "list what is in the trash, and until when it can be brought back", 0, 0 },
	{ CS_OPT_FLAG, 'u', "utc", NULL, offsetof(struct list_values, utc),
	  "times in UTC, not local time", 0, 0 },
	{ CS_OPT_FLAG, 0, "json", NULL, offsetof(struct list_values, json),
	  "print a JSON array", 0, 0 },
	{ .kind = CS_OPT_END },
};

struct list {
	struct cs_cli *cli;
	const struct list_values *v;
	int width; /* of the first column */
	struct cs_error *err;
};

static int widen(void *arg, const struct cs_series *s)
{
	struct list *l = arg;
	int len = (int)strlen(s->name);

	if (l->width < len)
		l->width = len;
	return 0;
}

static void print_tags(struct cs_out *o, const struct cs_point *p)
{
	for (unsigned i = 0; i < p->ntags; i++) {
		cs_out_printf(o, i == 0 ? "" : ",");
		cs_out_name(o, p->tags[i], strlen(p->tags[i]));
	}
	cs_out_printf(o, p->ntags == 0 ? "-" : "");
}

/* The day of the last complete check. */
static const char *verified(const struct cs_point *p, bool utc, char out[CS_OUT_TEXT])
{
	if (p->damaged)
		return "DAMAGED";
	if (p->verified[CS_VERIFY_DIGEST - 1] == 0)
		return "never";
	return cs_out_time((struct cs_time){ p->verified[CS_VERIFY_DIGEST - 1], 0 }, utc, out);
}

static int list_point(void *arg, const struct cs_point *listed)
{
	struct list *l = arg;
	struct cs_out *o = &l->cli->out;
	struct cs_point point = *listed, *p = &point;
	char name[CS_SERIES_MAX + CS_POINT_NAME_MAX + 2];
	char when[CS_OUT_TEXT], size[CS_OUT_TEXT], added[CS_OUT_TEXT];
	int rc = cs_point_verified(l->cli->store, p, l->err);

	if (rc != 0)
		return rc;

	if (l->v->json) {
		cs_json_object(&l->cli->json, NULL);
		cs_describe_point(&l->cli->json, p);
		return cs_json_put(&l->cli->json, l->err);
	}
	snprintf(name, sizeof(name), "%s/%s", listed->series, listed->name);
	cs_out_printf(o, "%-*s  %.8s  %s %9" PRIu64 " %8s %8s  %-7s  ", l->width, name, p->id,
		      cs_out_time(p->started, l->v->utc, when), p->totals.entries,
		      cs_out_size(p->totals.bytes, size), cs_out_size(p->added_stored, added),
		      cs_consistency_name(p->consistency));
	cs_out_printf(o, "%-10.10s  ", verified(p, l->v->utc, when));
	cs_out_name(o, p->host, strlen(p->host));
	cs_out_printf(o, "  ");
	print_tags(o, p);
	cs_out_printf(o, "\n");
	return cs_out_check(o, l->err);
}

static int list_series(void *arg, const struct cs_series *s)
{
	struct list *l = arg;
	struct cs_out *o = &l->cli->out;
	char when[CS_OUT_TEXT];

	if (s->points == 0) /* all it has is in the trash */
		return 0;
	if (l->v->json) {
		cs_json_object(&l->cli->json, NULL);
		cs_json_text(&l->cli->json, "series", s->name);
		cs_json_number(&l->cli->json, "points", s->points);
		cs_json_time(&l->cli->json, "changed", s->changed);
		return cs_json_put(&l->cli->json, l->err);
	}
	cs_out_printf(o, "%-*s  %8" PRIu64 "  %s\n", l->width, s->name, s->points,
		      cs_out_time(s->changed, l->v->utc, when));
	return cs_out_check(o, l->err);
}

static void list_head(const struct list *l)
{
	struct cs_out *o = &l->cli->out;

	if (l->v->json || !o->tty)
		return;
	if (l->v->series)
		cs_out_printf(o, "%-*s  %8s  %s\n", l->width, "SERIES", "POINTS", "CHANGED");
	else
		cs_out_printf(o, "%-*s  %-8s  %-19s %9s %8s %8s  %-7s  %-10s  %s  %s\n", l->width,
			      "POINT", "ID", "TIME", "ENTRIES", "SIZE", "ADDED", "LEVEL", "VERIFIED",
			      "HOST", "TAGS");
}

static int run_list(struct cs_cli *cli, const void *values, int argc, char **argv,
		    struct cs_error *err)
{
	struct list l = { .cli = cli, .v = values, .width = 6, .err = err };
	const char *series = argc > 0 ? argv[0] : NULL;
	struct cs_series one;
	int rc = 0;

	if (l.v->series && l.v->trash)
		return cs_cli_misuse(cli, err, "--series and --trash exclude each other");
	rc = cs_cli_open(cli, CS_OPEN_READ, err);
	if (rc == 0 && l.v->trash) {
		const struct cs_trash_view view = { l.v->json, l.v->utc, time(NULL) };

		return cs_trash_show(cli, series, &view, err);
	}
	if (rc == 0 && series) {
		rc = cs_series_get(cli->store, series, 0, &one, err);
		if (rc == 0)
			widen(&l, &one);
	} else if (rc == 0) {
		rc = cs_series_list(cli->store, widen, &l, err);
	}
	if (rc != 0)
		return rc;
	if (!l.v->series)
		l.width += (int)strlen("/2026-11-22T06-39-05Z");
	list_head(&l);
	if (l.v->json)
		cs_json_array(&cli->json, &cli->out, NULL);
	if (!l.v->series)
		rc = cs_cli_each_point(cli, series, false, list_point, &l, err);
	else if (series)
		rc = list_series(&l, &one);
	else
		rc = cs_series_list(cli->store, list_series, &l, err);
	if ((rc == 0 || rc == CS_E_CORRUPT) && l.v->json) /* damage: all others were listed */
		cs_json_array_end(&cli->json);
	return rc;
}

const struct cs_command cs_cmd_list = {
	.name = "list",
	.operands = "[SERIES]",
	.summary = "list the points, or the series",
	.details = "List the points of all series, or of one, the oldest first: name, id, time, "
		   "entries, size, stored size of what was new, consistency, the day of the last "
		   "complete verify (or never, or DAMAGED), host, tags.",
	.options = list_options,
	.values_size = sizeof(struct list_values),
	.max_operands = 1,
	.run = run_list,
};

/* --- show */

struct show_values {
	bool json, utc;
};

static const struct cs_opt show_options[] = {
	{ CS_OPT_FLAG, 'u', "utc", NULL, offsetof(struct show_values, utc),
	  "times in UTC, not local time", 0, 0 },
	{ CS_OPT_FLAG, 0, "json", NULL, offsetof(struct show_values, json), "print JSON", 0, 0 },
	{ .kind = CS_OPT_END },
};

static void show_text(struct cs_cli *cli, const char *label, const char *text)
{
	cs_out_printf(&cli->out, "%-12s", label);
	cs_out_name(&cli->out, text, strlen(text));
	cs_out_printf(&cli->out, "\n");
}

/* Several lines, each under the other. */
static void show_lines(struct cs_cli *cli, const char *label, const char *text)
{
	size_t len;

	for (; *text != '\0'; text += len + (text[len] == '\n'), label = "") {
		len = strcspn(text, "\n");
		cs_out_printf(&cli->out, "%-12s%.*s\n", label, (int)len, text);
	}
}

static void show_parent(struct cs_cli *cli, const struct cs_point *p)
{
	struct cs_point parent;

	if (p->parent == 0)
		show_text(cli, "parent", "none");
	else if (cs_point_by_seq(cli->store, p->parent, &parent, NULL) == 0)
		cs_out_printf(&cli->out, "%-12s%s/%s\n", "parent", parent.series, parent.name);
	else
		show_text(cli, "parent", "forgotten");
}

static void show_point(struct cs_cli *cli, const struct cs_point *p, bool utc)
{
	struct cs_out *o = &cli->out;
	char text[CS_OUT_TEXT], more[CS_OUT_TEXT], hex[2 * CS_HASH_SIZE + 1];

	cs_out_printf(o, "%-12s%s/%s\n", "point", p->series, p->name);
	show_text(cli, "id", p->id);
	cs_out_printf(o, "%-12s%" PRIu64 "\n", "number", p->seq);
	show_parent(cli, p);
	show_text(cli, "started", cs_out_time(p->started, utc, text));
	show_text(cli, "received", cs_out_time(p->received, utc, text));
	show_text(cli, "consistency", cs_consistency_name(p->consistency));
	show_text(cli, "host", p->host);
	show_lines(cli, "source", p->source);
	cs_out_printf(o, "%-12s", "tags");
	print_tags(o, p);
	cs_hash_hex(&p->digest, hex);
	cs_out_printf(o, "\n%-12s%s\n", "digest", hex);
	cs_out_printf(o, "%-12s%" PRIu64 "\n", "entries", p->totals.entries);
	cs_out_printf(o, "%-12s%s (%" PRIu64 " bytes)\n", "size",
		      cs_out_size(p->totals.bytes, text), p->totals.bytes);
	cs_out_printf(o, "%-12s%s, stored in %s\n", "added", cs_out_size(p->added_raw, text),
		      cs_out_size(p->added_stored, more));
	cs_out_printf(o, "%-12s%" PRIu64 "\n", "unreadable", p->unreadable);
	cs_out_printf(o, "%-12s%" PRIu64 "\n", "changed", p->changed);
	show_text(cli, "verified", verified(p, utc, text));
}

static int run_show(struct cs_cli *cli, const void *values, int argc, char **argv,
		    struct cs_error *err)
{
	const struct show_values *v = values;
	struct cs_point p;
	int rc = cs_cli_open(cli, CS_OPEN_READ, err);

	(void)argc;
	if (rc == 0)
		rc = cs_cli_whole_point(cli, argv[0], false, &p, err);
	if (rc == 0)
		rc = cs_point_verified(cli->store, &p, err);
	if (rc != 0)
		return rc;
	if (!v->json) {
		show_point(cli, &p, v->utc);
		return 0;
	}
	cs_json_object(&cli->json, &cli->out);
	cs_describe_point(&cli->json, &p);
	return cs_json_put(&cli->json, err);
}

const struct cs_command cs_cmd_show = {
	.name = "show",
	.operands = "POINT",
	.summary = "show all that is recorded about a point",
	.options = show_options,
	.values_size = sizeof(struct show_values),
	.min_operands = 1,
	.max_operands = 1,
	.run = run_show,
};
