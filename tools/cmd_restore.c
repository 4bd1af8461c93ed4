/* SPDX-License-Identifier: MIT */
/*
 * cmd_restore.c - recreate what a point holds, without a mount.
 */
#include "cli.h"

#include <inttypes.h>

struct restore_values {
	bool quiet;
};

static const struct cs_opt restore_options[] = {
	{ CS_OPT_FLAG, 'q', "quiet", NULL, offsetof(struct restore_values, quiet),
	  "no progress, no summary: only what went wrong", 0, 0 },
	{ .kind = CS_OPT_END },
};

static int run_restore(struct cs_cli *cli, const void *values, int argc, char **argv,
		       struct cs_error *err)
{
	const struct restore_values *v = values;
	const struct cs_restore_opts opts = { .dest = argv[1], .progress = cs_cli_on_progress,
					      .notice = cs_cli_on_notice, .arg = cli };
	struct cs_restore_result r;
	struct cs_tree *tree = NULL;
	struct cs_node node = { 0 };
	const char *path;
	char size[CS_OUT_TEXT];
	double start = cs_out_now();
	int rc = cs_cli_open(cli, CS_OPEN_READ, err);

	(void)argc;
	if (rc == 0)
		rc = cs_cli_place(cli, argv[0], &tree, &node, &path, err);
	cs_node_release(&node);
	if (rc != 0)
		return rc;
	cli->quiet = v->quiet;
	cs_progress_init(&cli->line, v->quiet);
	rc = cs_restore(tree, path, &opts, &r, err);
	cs_progress_wipe(&cli->line);
	if ((rc == 0 || rc == CS_E_PARTIAL) && !v->quiet)
		cs_out_printf(&cli->out, "restored %" PRIu64 " entries, %s in %.1f s\n", r.entries,
			      cs_out_size(r.bytes, size), cs_out_now() - start);
	cs_tree_close(tree);
	return rc;
}

const struct cs_command cs_cmd_restore = {
	.name = "restore",
	.operands = "POINT[:PATH] DEST",
	.summary = "recreate what a point holds, as cp -a would",
	.details = "Recreate the entry at PATH, or the whole point, as DEST, which must not exist, "
		   "or be an empty directory when a directory is restored.",
	.options = restore_options,
	.values_size = sizeof(struct restore_values),
	.min_operands = 2,
	.max_operands = 2,
	.acts = true,
	.run = run_restore,
};
