/* SPDX-License-Identifier: MIT */
/*
 * cmd_diff.c - what differs between two places.
 *
 * Two directories are merged by name. Where both have the same pages, or the
 * same digest, everything below is equal and is not read: the cost is that of
 * the difference. The stack holds positions, not open directories, so that a
 * deep tree pins no memory.
 */
#include "cli.h"
#include "compare.h"

#include <stdlib.h>
#include <string.h>

struct diff_values {
	bool exit_code, json;
};

static const struct cs_opt diff_options[] = {
	{ CS_OPT_FLAG, 'e', "exit-code", NULL, offsetof(struct diff_values, exit_code),
	  "exit with status 1 if anything differs", 0, 0 },
	{ CS_OPT_FLAG, 0, "json", NULL, offsetof(struct diff_values, json), "print a JSON array",
	  0, 0 },
	{ .kind = CS_OPT_END },
};

/* Two directories of one name, and how far they are compared. */
struct pair {
	uint64_t pos[2];
	uint64_t next[2]; /* index of the next child */
	size_t path_len;
};

struct diff {
	struct cs_cli *cli;
	const struct diff_values *v;
	struct cs_tree *tree[2];
	struct pair *stack;
	size_t depth, room;
	char *path; /* of what is being compared; of the directory when between entries */
	size_t path_len, path_room;
	size_t base; /* while a subtree is reported: length of the path of its start */
	char sign;
	bool different;
};

static int out_of_memory(struct cs_error *err)
{
	return cs_fail(err, CS_E_NOMEM, "%s", cs_code_text(CS_E_NOMEM));
}

/* The path becomes its first len bytes and a further part. */
static int set_path(struct diff *d, size_t len, const char *part, size_t part_len,
		    struct cs_error *err)
{
	size_t need = len + part_len + 2;

	if (need > d->path_room) {
		char *more = realloc(d->path, 2 * need);

		if (!more)
			return out_of_memory(err);
		d->path = more;
		d->path_room = 2 * need;
	}
	if (len > 0 && part_len > 0)
		d->path[len++] = '/';
	memcpy(d->path + len, part, part_len);
	d->path_len = len + part_len;
	d->path[d->path_len] = '\0';
	return 0;
}

/* --- reporting */

static int report(struct diff *d, char sign, const struct cs_entry *e, unsigned what,
		  struct cs_error *err)
{
	struct cs_out *o = &d->cli->out;
	struct cs_json *j = &d->cli->json;
	const char *path = d->path_len > 0 ? d->path : ".";
	const char *change = sign == '+' ? "added" : sign == '-' ? "removed" : "modified";
	const char *between = " (";

	d->different = true;
	if (d->v->json) {
		cs_json_object(j, NULL);
		cs_json_text(j, "change", change);
		cs_json_name(j, "path", path, strlen(path));
		cs_json_text(j, "type", cs_out_type(e->mode));
		for (unsigned i = 0; i < CS_DIFFERS_COUNT; i++) {
			if (what & 1u << i)
				cs_json_append(j, "what", cs_compare_name(i));
		}
		return cs_json_put(j, err);
	}
	cs_out_printf(o, "%c ", sign);
	cs_out_name(o, path, strlen(path));
	for (unsigned i = 0; i < CS_DIFFERS_COUNT; i++) {
		if (!(what & 1u << i))
			continue;
		cs_out_printf(o, "%s%s", between, cs_compare_name(i));
		between = ", ";
	}
	cs_out_printf(o, "%s\n", what ? ")" : "");
	return cs_out_check(o, err);
}

static int report_below(void *arg, const char *path, const struct cs_node *n,
			struct cs_error *err)
{
	struct diff *d = arg;
	int rc = set_path(d, d->base, path, strlen(path), err);

	return rc != 0 ? rc : report(d, d->sign, &n->entry, 0, err);
}

static int report_children(void *arg, const char *path, const struct cs_node *n,
			   struct cs_error *err)
{
	return path[0] == '\0' ? 0 : report_below(arg, path, n, err);
}

/* An entry that only one side has, with everything below it; or only what is below it. */
static int report_one_side(struct diff *d, int side, const struct cs_node *n, bool itself,
			   struct cs_error *err)
{
	d->base = d->path_len;
	d->sign = side == 0 ? '-' : '+';
	return cs_tree_walk(d->tree[side], n, itself ? report_below : report_children,
			    NULL, d, err);
}

/* --- comparing */

static int push(struct diff *d, const struct cs_node *a, const struct cs_node *b,
		struct cs_error *err)
{
	if (d->depth == d->room) {
		size_t room = d->room ? 2 * d->room : 64;
		struct pair *stack = reallocarray(d->stack, room, sizeof(*stack));

		if (!stack)
			return out_of_memory(err);
		d->stack = stack;
		d->room = room;
	}
	d->stack[d->depth++] = (struct pair){ .pos = { a->pos, b->pos }, .path_len = d->path_len };
	return 0;
}

/* Both sides have an entry at d->path. Directories that differ below are pushed. */
static int compare(struct diff *d, const struct cs_node *a, const struct cs_node *b,
		   struct cs_error *err)
{
	size_t len = d->path_len;
	unsigned what = 0;
	int rc = cs_compare_nodes(d->tree[0], a, d->tree[1], b, &what, err);

	if (rc == 0 && what != 0)
		rc = report(d, 'M', &b->entry, what, err);
	if (rc != 0)
		return rc;
	if (S_ISDIR(a->entry.mode) && S_ISDIR(b->entry.mode))
		return cs_compare_same_below(&a->entry, &b->entry) ? 0 : push(d, a, b, err);
	if (S_ISDIR(a->entry.mode))
		rc = report_one_side(d, 0, a, false, err);
	d->path_len = len;
	if (rc == 0 && S_ISDIR(b->entry.mode))
		rc = report_one_side(d, 1, b, false, err);
	d->path_len = len;
	return rc;
}

static int by_name(const struct cs_entry *a, const struct cs_entry *b)
{
	size_t len = a->name_len < b->name_len ? a->name_len : b->name_len;
	int c = memcmp(a->name, b->name, len);

	return c != 0 ? c : (a->name_len > b->name_len) - (a->name_len < b->name_len);
}

/* The two sides of one step: *which is -1, 0 or 1 as memcmp's. */
static int one_step(struct diff *d, const struct cs_node *const child[2], int which,
		    struct cs_error *err)
{
	struct pair *top = &d->stack[d->depth - 1];
	const struct cs_node *n = child[which > 0];
	int rc = set_path(d, top->path_len, n->entry.name, n->entry.name_len, err);

	if (rc != 0)
		return rc;
	top->next[0] += which <= 0;
	top->next[1] += which >= 0;
	if (which == 0)
		return compare(d, child[0], child[1], err);
	return report_one_side(d, which > 0, n, true, err);
}

/* Go on with the topmost pair, to its end or until a pair of children is pushed. */
static int merge(struct diff *d, struct cs_error *err)
{
	struct pair *top = &d->stack[d->depth - 1];
	const struct cs_node *child[2] = { NULL, NULL };
	struct cs_node node[2] = { { 0 }, { 0 } };
	struct cs_dir *dir[2] = { NULL, NULL };
	size_t depth = d->depth;
	int more[2] = { 1, 1 }, which = 0, rc = 0;

	for (int i = 0; i < 2 && rc == 0; i++) {
		rc = cs_tree_at(d->tree[i], top->pos[i], &node[i], err);
		if (rc == 0)
			rc = cs_dir_open(d->tree[i], &node[i], top->next[i], &dir[i], err);
	}
	while (rc == 0 && d->depth == depth) {
		for (int i = 0; i < 2; i++) {
			bool advance = i == 0 ? which <= 0 : which >= 0;

			if (advance && more[i] == 1)
				more[i] = cs_dir_next(dir[i], &child[i], err);
			if (more[i] < 0)
				rc = more[i];
		}
		if (rc != 0)
			break;
		if (more[0] == 0 && more[1] == 0) {
			d->depth--;
			break;
		}
		which = more[0] == 0   ? 1
			: more[1] == 0 ? -1
				       : by_name(&child[0]->entry, &child[1]->entry);
		rc = one_step(d, child, which, err);
	}
	for (int i = 0; i < 2; i++) {
		cs_dir_close(dir[i]);
		cs_node_release(&node[i]);
	}
	return rc;
}

static int run_diff(struct cs_cli *cli, const void *values, int argc, char **argv,
		    struct cs_error *err)
{
	struct diff d = { .cli = cli, .v = values };
	struct cs_node node[2] = { { 0 }, { 0 } };
	const char *path;
	int rc = cs_cli_open(cli, CS_OPEN_READ, err);

	(void)argc;
	for (int i = 0; rc == 0 && i < 2; i++)
		rc = cs_cli_place(cli, argv[i], &d.tree[i], &node[i], &path, err);
	if (rc == 0)
		rc = set_path(&d, 0, "", 0, err);
	if (rc != 0)
		goto out;
	if (d.v->json)
		cs_json_array(&cli->json, &cli->out, NULL);
	rc = compare(&d, &node[0], &node[1], err);
	while (rc == 0 && d.depth > 0)
		rc = merge(&d, err);
	if (rc == 0 && d.v->json)
		cs_json_array_end(&cli->json);
	if (rc == 0 && d.different && d.v->exit_code)
		rc = CS_EXIT_DIFFERENT;
out:
	for (int i = 0; i < 2; i++) {
		cs_node_release(&node[i]);
		cs_tree_close(d.tree[i]);
	}
	free(d.stack);
	free(d.path);
	return rc;
}

const struct cs_command cs_cmd_diff = {
	.name = "diff",
	.operands = "POINT[:PATH] POINT[:PATH]",
	.summary = "show what differs between two points",
	.details = "Print '+ PATH' for what only the second has, '- PATH' for what only the first "
		   "has, and 'M PATH (WHAT)' for what differs. Access and change times are not "
		   "compared.",
	.options = diff_options,
	.values_size = sizeof(struct diff_values),
	.min_operands = 2,
	.max_operands = 2,
	.run = run_diff,
};
