/* SPDX-License-Identifier: MIT */
/*
 * cmd_ls.c - list a directory of a point, or everything below it.
 *
 * One entry is printed as soon as it is read, so columns have fixed widths and
 * a directory of any size needs no memory.
 */
#include "cli.h"
#include "describe.h"

#include <inttypes.h>
#include <limits.h>
#include <string.h>

struct ls_values {
	bool details, recursive, itself, json, utc;
};

#define AT(field) offsetof(struct ls_values, field)
static const struct cs_opt ls_options[] = {
	{ CS_OPT_FLAG, 'l', "long", NULL, AT(details), "mode, links, owner, size, time, name",
	  0, 0 },
	{ CS_OPT_FLAG, 'R', "recursive", NULL, AT(recursive), "everything below, too", 0, 0 },
	{ CS_OPT_FLAG, 'd', "directory", NULL, AT(itself), "a directory itself, not its contents",
	  0, 0 },
	{ CS_OPT_FLAG, 'u', "utc", NULL, AT(utc), "times in UTC, not local time", 0, 0 },
	{ CS_OPT_FLAG, 0, "json", NULL, AT(json), "print a JSON array", 0, 0 },
	{ .kind = CS_OPT_END },
};
#undef AT

struct ls {
	struct cs_cli *cli;
	const struct ls_values *v;
	const char *start; /* what to call the start itself */
	const char *place; /* POINT[:PATH] as it was written */
	bool lost; /* something could not be read */
};

static void print_long(struct ls *l, const struct cs_entry *e)
{
	struct cs_out *o = &l->cli->out;
	char mode[CS_OUT_TEXT], when[CS_OUT_TEXT], size[CS_OUT_TEXT];

	if (S_ISBLK(e->mode) || S_ISCHR(e->mode))
		snprintf(size, sizeof(size), "%" PRIu32 ", %" PRIu32, e->rdev_major, e->rdev_minor);
	else
		snprintf(size, sizeof(size), "%" PRIu64, e->size);
	cs_out_printf(o, "%s%c %3" PRIu32 " %5" PRIu32 " %5" PRIu32 " %12s %s ",
		      cs_out_mode(e->mode, mode), cs_entry_has_xattrs(e) ? '+' : ' ', e->nlink,
		      e->uid, e->gid, size, cs_out_time(e->mtime, l->v->utc, when));
}

static int print_text(struct ls *l, const char *path, const struct cs_entry *e,
		      struct cs_error *err)
{
	struct cs_out *o = &l->cli->out;

	if (l->v->details)
		print_long(l, e);
	cs_out_name(o, path, strlen(path));
	if (l->v->details && S_ISLNK(e->mode)) {
		cs_out_printf(o, " -> ");
		cs_out_name(o, (const char *)e->bytes, e->bytes_len);
	}
	cs_out_printf(o, "\n");
	return cs_out_check(o, err);
}

static int print_entry(struct ls *l, const char *path, const struct cs_node *n,
		       struct cs_error *err)
{
	struct cs_json *j = &l->cli->json;

	if (!l->v->json)
		return print_text(l, path, &n->entry, err);
	cs_json_object(j, NULL);
	cs_json_name(j, "path", path, strlen(path));
	cs_describe_entry(j, &n->entry);
	return cs_json_put(j, err);
}

static int walk_entry(void *arg, const char *path, const struct cs_node *n, struct cs_error *err)
{
	struct ls *l = arg;

	if (path[0] == '\0') {
		if (S_ISDIR(n->entry.mode) && !l->v->itself)
			return 0;
		path = l->start;
	}
	return print_entry(l, path, n, err);
}

/* The rest of a directory; what is not in it goes on being listed. */
static int on_lost(void *arg, const char *path, const struct cs_error *why)
{
	struct ls *l = arg;
	char place[PATH_MAX];

	snprintf(place, sizeof(place), "%s%s", l->place,
		 !strchr(l->place, ':') ? ":" : path[0] ? "/" : "");
	l->lost = true;
	cs_cli_lost(l->cli, place, path, why);
	return 0;
}

/* The children of one directory. */
static int list_directory(struct ls *l, struct cs_tree *tree, const struct cs_node *dir,
			  struct cs_error *err)
{
	const struct cs_node *child;
	struct cs_dir *d;
	char name[256];
	int rc = cs_dir_open(tree, dir, 0, &d, err);

	if (rc != 0)
		return rc;
	while ((rc = cs_dir_next(d, &child, err)) == 1) {
		snprintf(name, sizeof(name), "%.*s", (int)child->entry.name_len,
			 child->entry.name);
		rc = print_entry(l, name, child, err);
		if (rc != 0)
			break;
	}
	cs_dir_close(d);
	return rc;
}

static int run_ls(struct cs_cli *cli, const void *values, int argc, char **argv,
		  struct cs_error *err)
{
	struct ls l = { .cli = cli, .v = values, .place = argv[0] };
	struct cs_tree *tree = NULL;
	struct cs_node node = { 0 };
	int rc = cs_cli_open(cli, CS_OPEN_READ, err);

	(void)argc;
	if (rc == 0)
		rc = cs_cli_place(cli, argv[0], &tree, &node, &l.start, err);
	if (rc != 0)
		return rc;
	if (l.start[0] == '\0')
		l.start = ".";
	if (l.v->json)
		cs_json_array(&cli->json, &cli->out, NULL);
	if (l.v->recursive)
		rc = cs_tree_walk(tree, &node, walk_entry, on_lost, &l, err);
	else if (S_ISDIR(node.entry.mode) && !l.v->itself)
		rc = list_directory(&l, tree, &node, err);
	else
		rc = print_entry(&l, l.start, &node, err);
	if (rc == 0 && l.v->json)
		cs_json_array_end(&cli->json);
	cs_node_release(&node);
	cs_tree_close(tree);
	if (rc == 0 && l.lost)
		rc = cs_fail(err, CS_E_PARTIAL, "%s", cs_code_text(CS_E_PARTIAL));
	return rc;
}

const struct cs_command cs_cmd_ls = {
	.name = "ls",
	.operands = "POINT[:PATH]",
	.summary = "list a directory of a point",
	.details = "List the entry at PATH, or the contents of a directory, in the order of their "
		   "names' bytes.",
	.options = ls_options,
	.values_size = sizeof(struct ls_values),
	.min_operands = 1,
	.max_operands = 1,
	.run = run_ls,
};
