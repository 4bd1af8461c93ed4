/* SPDX-License-Identifier: MIT */
/*
 * cmd_cat.c - cat and dump: what a point holds, byte by byte and line by line.
 */
#include "cli.h"

#include <stdlib.h>
#include <string.h>

#define SLICE (1u << 20)

/* --- cat */

static int check_file(const char *arg, const struct cs_node *n, struct cs_error *err)
{
	if (S_ISREG(n->entry.mode))
		return 0;
	if (S_ISDIR(n->entry.mode))
		return cs_fail(err, CS_E_ISDIR, "%s: is a directory", arg);
	return cs_fail(err, CS_E_NOTFOUND, "%s: is not a regular file but a %s", arg,
		       cs_out_type(n->entry.mode));
}

static int cat_file(struct cs_cli *cli, struct cs_tree *tree, const struct cs_node *n,
		    struct cs_error *err)
{
	struct cs_read read = { 0 };
	uint64_t off = 0;
	int rc = 0;

	while (off < n->entry.size && rc == 0) {
		rc = cs_file_read(tree, n, off, SLICE, &read, err);
		if (rc != 0)
			break;
		for (size_t i = 0; i < read.niov; i++)
			cs_out_bytes(&cli->out, read.iov[i].iov_base, read.iov[i].iov_len);
		if (read.len == 0)
			rc = cs_fail(err, CS_E_CORRUPT, "the file ends at %llu bytes",
				     (unsigned long long)off);
		else
			rc = cs_out_check(&cli->out, err);
		off += read.len;
	}
	cs_read_release(&read);
	return rc;
}

static int cat_place(struct cs_cli *cli, const char *arg, struct cs_error *err)
{
	struct cs_tree *tree = NULL;
	struct cs_node node = { 0 };
	const char *path;
	int rc = cs_cli_place(cli, arg, &tree, &node, &path, err);

	if (rc != 0)
		return rc;
	rc = check_file(arg, &node, err);
	if (rc == 0)
		rc = cat_file(cli, tree, &node, err);
	cs_node_release(&node);
	cs_tree_close(tree);
	return rc;
}

static int run_cat(struct cs_cli *cli, const void *values, int argc, char **argv,
		   struct cs_error *err)
{
	int rc = cs_cli_open(cli, CS_OPEN_READ, err);

	(void)values;
	for (int i = 0; rc == 0 && i < argc; i++)
		rc = cat_place(cli, argv[i], err);
	return rc;
}

const struct cs_command cs_cmd_cat = {
	.name = "cat",
	.operands = "POINT:PATH...",
	.summary = "write files of a point to standard output",
	.min_operands = 1,
	.max_operands = -1,
	.run = run_cat,
};

/* --- dump */

struct dump {
	struct cs_cli *cli;
	struct cs_tree *tree;
};

static int dump_entry(void *arg, const char *path, const struct cs_node *n, struct cs_error *err)
{
	struct dump *d = arg;
	char *line;
	int rc;

	if (path[0] == '\0')
		path = ".";
	rc = cs_node_dump(d->tree, n, path, strlen(path), &line, err);
	if (rc != 0)
		return rc;
	cs_out_printf(&d->cli->out, "%s\n", line);
	free(line);
	return cs_out_check(&d->cli->out, err);
}

static int run_dump(struct cs_cli *cli, const void *values, int argc, char **argv,
		    struct cs_error *err)
{
	struct dump d = { .cli = cli };
	struct cs_node node = { 0 };
	const char *path;
	int rc = cs_cli_open(cli, CS_OPEN_READ, err);

	(void)values;
	(void)argc;
	if (rc == 0)
		rc = cs_cli_place(cli, argv[0], &d.tree, &node, &path, err);
	if (rc == 0)
		rc = cs_tree_walk(d.tree, &node, dump_entry, NULL, &d, err);
	cs_node_release(&node);
	cs_tree_close(d.tree);
	return rc;
}

const struct cs_command cs_cmd_dump = {
	.name = "dump",
	.operands = "POINT[:PATH]",
	.summary = "print a tree as canonical text",
	.details = "Print each entry as one line of canonical text, as chunkstore-format(5) has "
		   "it: equal trees give equal text. Paths are relative to the start, which is "
		   "'.'.",
	.min_operands = 1,
	.max_operands = 1,
	.run = run_dump,
};
