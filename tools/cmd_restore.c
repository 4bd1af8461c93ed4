/* SPDX-License-Identifier: MIT */
/*
 * cmd_restore.c - recreate what a point holds, without a mount.
 */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

struct restore_values {
	bool quiet, verbose, json, dry_run, delete_extra, in_place;
	const char *overwrite;
	struct cs_opt_list excludes;
};

#define AT(field) offsetof(struct restore_values, field)

static const struct cs_opt restore_options[] = {
	{ CS_OPT_TEXT, 0, "overwrite", "WHEN", AT(overwrite),
	  "restore into a DEST that is there; what is in it gives way: never, if-newer, "
	  "if-changed (other size or time), always (contents are compared)", 0, 0 },
	{ CS_OPT_FLAG, 0, "delete", NULL, AT(delete_extra),
	  "delete what the point does not have; let directories and other things take each "
	  "other's place", 0, 0 },
	{ CS_OPT_FLAG, 0, "in-place", NULL, AT(in_place),
	  "write only what differs into large files that are there; DEST may be a block device. "
	  "If this is interrupted, such a file is a mixture", 0, 0 },
	{ CS_OPT_LIST, 'e', "exclude", "PATTERN", AT(excludes),
	  "neither restore nor delete what matches, as in backup", 0, 0 },
	{ CS_OPT_FLAG, 'n', "dry-run", NULL, AT(dry_run),
	  "list what would be done, and do nothing", 0, 0 },
	{ CS_OPT_FLAG, 'v', "verbose", NULL, AT(verbose), "list what is done", 0, 0 },
	{ CS_OPT_FLAG, 0, "json", NULL, AT(json), "print a JSON object", 0, 0 },
	{ CS_OPT_FLAG, 'q', "quiet", NULL, AT(quiet),
	  "no progress, no summary: only what went wrong", 0, 0 },
	{ .kind = CS_OPT_END },
};

/* What happens to an entry: to be listed, and as a member of the JSON object. */
static const char *const verbs[CS_RESTORED_KINDS] = {
	[CS_RESTORED_CREATED] = "create", [CS_RESTORED_REPLACED] = "replace",
	[CS_RESTORED_PATCHED] = "patch", [CS_RESTORED_UPDATED] = "update",
	[CS_RESTORED_UNCHANGED] = "leave", [CS_RESTORED_KEPT] = "keep",
	[CS_RESTORED_DELETED] = "delete",
};
static const char *const participles[CS_RESTORED_KINDS] = {
	[CS_RESTORED_CREATED] = "created", [CS_RESTORED_REPLACED] = "replaced",
	[CS_RESTORED_PATCHED] = "patched", [CS_RESTORED_UPDATED] = "updated",
	[CS_RESTORED_UNCHANGED] = "unchanged", [CS_RESTORED_KEPT] = "kept",
	[CS_RESTORED_DELETED] = "deleted",
};

struct restore_listing {
	struct cs_cli *cli;
	bool json;
	struct cs_error err; /* of the first element that could not be printed */
};

static int on_progress(void *arg, const struct cs_progress *p)
{
	return cs_cli_on_progress(((struct restore_listing *)arg)->cli, p);
}

static void on_notice(void *arg, int kind, const char *text)
{
	cs_cli_on_notice(((struct restore_listing *)arg)->cli, kind, text);
}

static void list_change(void *arg, int what, const char *path, size_t len)
{
	struct restore_listing *l = arg;
	struct cs_cli *cli = l->cli;

	if (len == 0) {
		path = ".";
		len = 1;
	}
	if (l->json) {
		cs_json_object(&cli->json, NULL);
		cs_json_text(&cli->json, "action", verbs[what]);
		cs_json_name(&cli->json, "path", path, len);
		if (cs_json_put(&cli->json, &l->err) != 0)
			return; /* kept, and reported at the end */
	} else {
		cs_progress_wipe(&cli->line);
		cs_out_printf(&cli->out, "%-8s", verbs[what]);
		cs_out_name(&cli->out, path, len);
		cs_out_printf(&cli->out, "\n");
	}
}

static void print_summary(struct cs_cli *cli, const struct restore_values *v,
			  const struct cs_restore_result *r, double seconds)
{
	char size[CS_OUT_TEXT];
	const char *before = ": ";

	cs_out_printf(&cli->out, "%s %" PRIu64 " entries, %s", v->dry_run ? "would restore" :
									     "restored",
		      r->entries, cs_out_size(r->bytes, size));
	if (!v->dry_run)
		cs_out_printf(&cli->out, " in %.1f s", seconds);
	for (int i = 0; i < CS_RESTORED_KINDS && (v->overwrite || v->in_place); i++) {
		if (r->counts[i] == 0)
			continue;
		cs_out_printf(&cli->out, "%s%" PRIu64 " %s", before, r->counts[i], participles[i]);
		before = ", ";
	}
	cs_out_printf(&cli->out, "\n");
}

static int print_json(struct cs_cli *cli, const struct restore_values *v,
		      const struct cs_restore_result *r, double seconds, struct cs_error *err)
{
	struct cs_json *j = &cli->json;

	if (v->dry_run || v->verbose)
		cs_json_array_end(j);
	cs_json_object(j, &cli->out);
	cs_json_bool(j, "dry_run", v->dry_run);
	cs_json_number(j, "entries", r->entries);
	cs_json_number(j, "bytes", r->bytes);
	cs_json_number(j, "bytes_written", r->written);
	for (int i = 0; i < CS_RESTORED_KINDS; i++)
		cs_json_number(j, participles[i], r->counts[i]);
	cs_json_number(j, "failed", r->failed);
	cs_json_number(j, "milliseconds", (uint64_t)(seconds * 1000));
	return cs_json_put(j, err);
}

static int overwrite_of(struct cs_cli *cli, const struct restore_values *v, int *out,
			struct cs_error *err)
{
	static const char *const words[] = {
		[CS_OVERWRITE_NEVER] = "never", [CS_OVERWRITE_IF_NEWER] = "if-newer",
		[CS_OVERWRITE_IF_CHANGED] = "if-changed", [CS_OVERWRITE_ALWAYS] = "always",
	};

	*out = v->in_place ? CS_OVERWRITE_ALWAYS : CS_OVERWRITE_REFUSE;
	if (v->overwrite) {
		*out = CS_OVERWRITE_NEVER;
		while (*out <= CS_OVERWRITE_ALWAYS && strcmp(words[*out], v->overwrite) != 0)
			++*out;
		if (*out > CS_OVERWRITE_ALWAYS)
			return cs_cli_misuse(cli, err, "--overwrite is never, if-newer, if-changed "
					     "or always, not '%s'", v->overwrite);
	}
	if (v->delete_extra && *out <= CS_OVERWRITE_NEVER)
		return cs_cli_misuse(cli, err, "--delete needs --overwrite, and not never");
	return 0;
}

static int restore_to(struct cs_cli *cli, const struct restore_values *v, struct cs_tree *tree,
		      const char *path, struct cs_restore_opts *opts, struct cs_error *err)
{
	struct restore_listing listing = { .cli = cli, .json = v->json };
	struct cs_restore_result r;
	double start = cs_out_now();
	int printed = 0;

	opts->delete_extra = v->delete_extra;
	opts->in_place = v->in_place;
	opts->dry_run = v->dry_run;
	opts->excludes = v->excludes.items;
	opts->nexcludes = v->excludes.count;
	opts->progress = on_progress;
	opts->notice = on_notice;
	opts->told = v->verbose || (v->dry_run && (v->json || !v->quiet)) ? list_change : NULL;
	opts->arg = &listing;
	if (v->json && (v->dry_run || v->verbose))
		cs_json_array(&cli->json, &cli->out, "changes");
	int rc = cs_restore(tree, path, opts, &r, err);
	cs_progress_wipe(&cli->line);
	if (rc != 0 && rc != CS_E_PARTIAL)
		return rc;
	if (v->json)
		printed = print_json(cli, v, &r, cs_out_now() - start, rc ? NULL : err);
	else if (!v->quiet)
		print_summary(cli, v, &r, cs_out_now() - start);
	return rc != 0 ? rc : printed;
}

static int run_restore(struct cs_cli *cli, const void *values, int argc, char **argv,
		       struct cs_error *err)
{
	const struct restore_values *v = values;
	struct cs_restore_opts opts = { .dest = argv[1] };
	struct cs_tree *tree = NULL;
	struct cs_node node = { 0 };
	const char *path;
	int rc = overwrite_of(cli, v, &opts.overwrite, err);

	(void)argc;
	if (rc == 0)
		rc = cs_cli_open(cli, CS_OPEN_READ, err);
	if (rc == 0)
		rc = cs_cli_place(cli, argv[0], &tree, &node, &path, err);
	cs_node_release(&node);
	if (rc != 0)
		return rc;
	cli->quiet = v->quiet;
	cs_progress_init(&cli->line, v->quiet);
	rc = restore_to(cli, v, tree, path, &opts, err);
	cs_tree_close(tree);
	return rc;
}

const struct cs_command cs_cmd_restore = {
	.name = "restore",
	.operands = "POINT[:PATH] DEST",
	.summary = "recreate what a point holds, as cp -a would",
	.details = "Recreate the entry at PATH, or the whole point, as DEST. Without --overwrite "
		   "DEST must not exist, or be an empty directory when a directory is restored. "
		   "With it, DEST is changed one whole file at a time.",
	.options = restore_options,
	.values_size = sizeof(struct restore_values),
	.min_operands = 2,
	.max_operands = 2,
	.acts = true,
	.run = run_restore,
};
