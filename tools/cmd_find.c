/* SPDX-License-Identifier: MIT */
/*
 * cmd_find.c - find names in points.
 *
 * Points of one series share most of their directories. A directory that was
 * searched without a match is remembered by the page its children begin with,
 * and passed over where it turns up again: searching a hundred points costs
 * little more than searching one. The memory is a fixed table; what is pushed
 * out of it is merely searched again.
 */
#include "cli.h"
#include "describe.h"

#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#define BARREN_SLOTS (1u << 16)

struct find_values {
	bool latest, json, nul;
};

static const struct cs_opt find_options[] = {
	{ CS_OPT_FLAG, 'n', "latest", NULL, offsetof(struct find_values, latest),
	  "only in the newest point of a series", 0, 0 },
	{ CS_OPT_FLAG, '0', "null", NULL, offsetof(struct find_values, nul),
	  "end each line with NUL, not a newline", 0, 0 },
	{ CS_OPT_FLAG, 0, "json", NULL, offsetof(struct find_values, json), "print a JSON array",
	  0, 0 },
	{ .kind = CS_OPT_END },
};

/* A directory that is being searched. */
struct level {
	struct cs_pages children;
	size_t path_len;
	bool matched; /* it, or something below it */
};

struct find {
	struct cs_cli *cli;
	const struct find_values *v;
	const char *pattern;
	bool whole_path; /* the pattern has a '/' */
	const struct cs_point *point;
	struct level *levels; /* from the root to the directory we are in */
	size_t depth, room;
	struct cs_pages *barren; /* BARREN_SLOTS directories without a match below */
	bool lost; /* something could not be read */
	struct cs_error *err; /* why it ends early */
};

static struct cs_pages *barren_slot(const struct find *f, struct cs_pages p)
{
	return &f->barren[(p.root * 0x9e3779b97f4a7c15ull >> 48) % BARREN_SLOTS];
}

static bool is_barren(const struct find *f, struct cs_pages p)
{
	const struct cs_pages *slot = barren_slot(f, p);

	/* Where the pattern is about the path, the same directory elsewhere may match. */
	return !f->whole_path && p.root != 0 && slot->root == p.root && slot->level == p.level;
}

/* Leave the directories that the entry at path is not in. */
static void leave(struct find *f, const char *path, size_t path_len)
{
	while (f->depth > 0) {
		const struct level *l = &f->levels[f->depth - 1];

		if (l->path_len == 0 ? path_len > 0
				     : path_len > l->path_len && path[l->path_len] == '/')
			return;
		if (!l->matched && l->children.root != 0)
			*barren_slot(f, l->children) = l->children;
		f->depth--;
		if (l->matched && f->depth > 0)
			f->levels[f->depth - 1].matched = true;
	}
}

static int enter(struct find *f, const struct cs_node *n, size_t path_len, struct cs_error *err)
{
	if (f->depth == f->room) {
		size_t room = f->room ? 2 * f->room : 64;
		struct level *l = reallocarray(f->levels, room, sizeof(*l));

		if (!l)
			return cs_fail(err, CS_E_NOMEM, "%s", cs_code_text(CS_E_NOMEM));
		f->levels = l;
		f->room = room;
	}
	f->levels[f->depth++] = (struct level){ .children = n->entry.children,
						.path_len = path_len };
	return 0;
}

static int print_match(struct find *f, const char *path, const struct cs_node *n,
		       struct cs_error *err)
{
	struct cs_out *o = &f->cli->out;
	struct cs_json *j = &f->cli->json;

	if (f->v->json) {
		cs_json_object(j, NULL);
		cs_json_text(j, "series", f->point->series);
		cs_json_text(j, "name", f->point->name);
		cs_json_text(j, "id", f->point->id);
		cs_json_name(j, "path", path, strlen(path));
		cs_describe_entry(j, &n->entry);
		return cs_json_put(j, err);
	}
	cs_out_printf(o, "%s/%s:", f->point->series, f->point->name);
	cs_out_name(o, path, strlen(path));
	cs_out_bytes(o, f->v->nul ? "" : "\n", 1);
	return cs_out_check(o, err);
}

static int visit(void *arg, const char *path, const struct cs_node *n, struct cs_error *err)
{
	struct find *f = arg;
	size_t len = strlen(path);
	const char *slash = strrchr(path, '/');
	int rc = 0;

	leave(f, path, len);
	if (len > 0 &&
	    fnmatch(f->pattern, slash && !f->whole_path ? slash + 1 : path, 0) == 0) {
		if (f->depth > 0)
			f->levels[f->depth - 1].matched = true;
		rc = print_match(f, path, n, err);
	}
	if (rc != 0 || !S_ISDIR(n->entry.mode))
		return rc;
	if (is_barren(f, n->entry.children))
		return CS_WALK_SKIP;
	return enter(f, n, len, err);
}

/* The rest of a directory. It may hold matches: so it is looked into again in other points. */
static int on_lost(void *arg, const char *path, const struct cs_error *why)
{
	struct find *f = arg;
	char place[CS_SERIES_MAX + CS_POINT_NAME_MAX + 8];

	leave(f, path, strlen(path));
	if (f->depth > 0)
		f->levels[f->depth - 1].matched = true;
	f->lost = true;
	snprintf(place, sizeof(place), "%s/%s:", f->point->series, f->point->name);
	cs_cli_lost(f->cli, place, path, why);
	return 0;
}

/* What is damaged in it is named, and hides nothing else. */
static int find_in_point(void *arg, const struct cs_point *p)
{
	struct find *f = arg;
	struct cs_error why = { 0 };
	struct cs_tree *tree = NULL;
	struct cs_node root = { 0 };
	int rc = cs_tree_open(f->cli->store, p->seq, &tree, &why);

	if (rc == CS_E_NOTFOUND)
		return 0; /* forgotten since it was listed */
	f->point = p;
	f->depth = 0;
	if (rc == 0)
		rc = cs_tree_root(tree, &root, &why);
	if (rc == 0) {
		rc = cs_tree_walk(tree, &root, visit, on_lost, f, &why);
		if (rc == 0)
			leave(f, "", 0);
	} else if (rc == CS_E_CORRUPT || rc == CS_E_IO) {
		rc = on_lost(f, "", &why);
	}
	cs_node_release(&root);
	cs_tree_close(tree);
	if (rc != 0)
		*f->err = why;
	return rc;
}

/* A SERIES stands for all its points here; anything else names one point. */
static int find_in(struct find *f, const char *arg, struct cs_error *err)
{
	struct cs_point point;
	const char *path;
	int rc;

	if (!strpbrk(arg, "/:")) {
		rc = cs_cli_each_point(f->cli, arg, f->v->latest, find_in_point, f, err);
		if (rc != CS_E_NOTFOUND)
			return rc;
	}
	rc = cs_cli_point(f->cli, arg, &point, &path, err);
	if (rc != 0)
		return rc;
	if (path)
		return cs_cli_misuse(f->cli, err, "'%s' names something inside a point", arg);
	return find_in_point(f, &point);
}

static int run_find(struct cs_cli *cli, const void *values, int argc, char **argv,
		    struct cs_error *err)
{
	struct find f = { .cli = cli, .v = values, .pattern = argv[0], .err = err };
	int rc;

	f.whole_path = strchr(argv[0], '/') != NULL;
	f.pattern += strspn(argv[0], "/");
	f.barren = calloc(BARREN_SLOTS, sizeof(*f.barren));
	if (!f.barren)
		return cs_fail(err, CS_E_NOMEM, "%s", cs_code_text(CS_E_NOMEM));
	rc = cs_cli_open(cli, CS_OPEN_READ, err);
	if (rc != 0)
		goto out;
	if (f.v->json)
		cs_json_array(&cli->json, &cli->out, NULL);
	if (argc == 1)
		rc = cs_cli_each_point(cli, NULL, f.v->latest, find_in_point, &f, err);
	for (int i = 1; rc == 0 && i < argc; i++)
		rc = find_in(&f, argv[i], err);
	if ((rc == 0 || rc == CS_E_CORRUPT) && f.v->json)
		cs_json_array_end(&cli->json);
out:
	free(f.levels);
	free(f.barren);
	if (rc == 0 && f.lost)
		rc = cs_fail(err, CS_E_PARTIAL, "%s", cs_code_text(CS_E_PARTIAL));
	return rc;
}

const struct cs_command cs_cmd_find = {
	.name = "find",
	.operands = "PATTERN [POINT | SERIES]...",
	.summary = "find names in points",
	.details = "Print SERIES/NAME:PATH of each entry whose name matches the shell pattern, or "
		   "whose whole path does if the pattern has a '/'. A '*' matches a '/', too. All "
		   "points of all series are searched, or those named.",
	.options = find_options,
	.values_size = sizeof(struct find_values),
	.min_operands = 1,
	.max_operands = -1,
	.run = run_find,
};
