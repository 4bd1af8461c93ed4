/* SPDX-License-Identifier: MIT */
/*
 * cmd_care.c - gc and compact: the space that a store takes.
 */
#include "cli.h"

#include <inttypes.h>
#include <string.h>

struct care_values {
	bool json, quiet, dry_run, empty_trash;
};

#define AT(field) offsetof(struct care_values, field)
#define JSON_OPTION { CS_OPT_FLAG, 0, "json", NULL, AT(json), "print the result as JSON", 0, 0 }
#define QUIET_OPTION { CS_OPT_FLAG, 'q', "quiet", NULL, AT(quiet), "no progress, no summary", 0, 0 }

/* --- gc */

static const struct cs_opt gc_options[] = {
	{ CS_OPT_FLAG, 'n', "dry-run", NULL, AT(dry_run), "only say what would be freed", 0, 0 },
	{ CS_OPT_FLAG, 0, "empty-trash", NULL, AT(empty_trash),
	  "remove all that is in the trash, not only what is due", 0, 0 },
	JSON_OPTION,
	QUIET_OPTION,
	{ .kind = CS_OPT_END },
};

static void put_space(struct cs_json *j, const struct cs_space_result *r)
{
	cs_json_number(j, "given_back", r->given_back);
	cs_json_number(j, "held", r->held);
	cs_json_bool(j, "can_give_back", !r->unsupported);
}

static void say_space(struct cs_cli *cli, const struct cs_space_result *r)
{
	char size[CS_OUT_TEXT];

	if (!r->given_back && !r->unsupported && !r->held)
		return;
	cs_out_printf(&cli->out, "%s given back to the file system",
		      cs_out_size(r->given_back, size));
	if (r->unsupported)
		cs_out_printf(&cli->out, ", which cannot make holes in a file");
	if (r->held)
		cs_out_printf(&cli->out, "; %s more when a reader is done",
			      cs_out_size(r->held, size));
	cs_out_printf(&cli->out, "\n");
}

static int gc_json(struct cs_cli *cli, const struct cs_gc_result *r, bool dry_run,
		   struct cs_error *err)
{
	struct cs_json *j = &cli->json;

	cs_json_object(j, &cli->out);
	cs_json_bool(j, "dry_run", dry_run);
	cs_json_number(j, "points_purged", r->points_purged);
	cs_json_number(j, "points_used", r->points_used);
	cs_json_number(j, "chunks_live", r->chunks_live);
	cs_json_number(j, "chunks_freed", r->chunks_freed);
	cs_json_number(j, "bundles_freed", r->bundles_freed);
	cs_json_number(j, "bundles_rewritten", r->bundles_rewritten);
	cs_json_number(j, "bundles_used", r->bundles_used);
	cs_json_number(j, "bundles_no_room", r->bundles_no_room);
	cs_json_number(j, "stored_freed", r->stored_freed);
	if (!dry_run)
		put_space(j, &r->space);
	return cs_json_put(j, err);
}

#define GC_CACHE ((size_t)16 << 20) /* each page and bundle is read once: more is of no use */

static int run_gc(struct cs_cli *cli, const void *values, int argc, char **argv,
		  struct cs_error *err)
{
	const struct care_values *v = values;
	const struct cs_gc_opts opts = { .dry_run = v->dry_run, .empty_trash = v->empty_trash,
					 .progress = cs_cli_on_progress, .arg = cli };
	struct cs_gc_result r;
	char size[CS_OUT_TEXT];
	int rc;

	(void)argc;
	(void)argv;
	cli->cache_bytes = GC_CACHE;
	rc = cs_cli_open(cli, v->dry_run ? CS_OPEN_READ : CS_OPEN_WRITE, err);
	if (rc != 0)
		return rc;
	cs_progress_init(&cli->line, v->quiet);
	rc = cs_gc(cli->store, &opts, &r, err);
	cs_progress_wipe(&cli->line);
	if (rc != 0)
		return rc;
	if (v->json)
		return gc_json(cli, &r, v->dry_run, err);
	if (!v->quiet && r.points_purged)
		cs_out_printf(&cli->out, "%s %" PRIu64 " forgotten point%s\n",
			      v->dry_run ? "would remove" : "removed", r.points_purged,
			      r.points_purged == 1 ? "" : "s");
	if (!v->quiet && r.points_used)
		cs_out_printf(&cli->out, "%" PRIu64 " forgotten point%s left for the next gc: "
			      "somebody reads %s\n", r.points_used,
			      r.points_used == 1 ? " is" : "s are",
			      r.points_used == 1 ? "it" : "them");
	if (!v->quiet)
		cs_out_printf(&cli->out,
			      "%s %s: %" PRIu64 " chunks; %" PRIu64 " bundles freed, %" PRIu64
			      " rewritten; %" PRIu64 " chunks are live\n",
			      v->dry_run ? "would free" : "freed",
			      cs_out_size(r.stored_freed, size), r.chunks_freed, r.bundles_freed,
			      r.bundles_rewritten, r.chunks_live);
	if (!v->quiet && r.bundles_used)
		cs_out_printf(&cli->out,
			      "%" PRIu64 " bundles are left for the next gc: a running backup may "
			      "use them\n",
			      r.bundles_used);
	if (!v->quiet && r.bundles_no_room)
		cs_out_printf(&cli->out,
			      "%" PRIu64 " bundles are left for the next gc: the disk is full\n",
			      r.bundles_no_room);
	if (!v->quiet && !v->dry_run)
		say_space(cli, &r.space);
	return 0;
}

const struct cs_command cs_cmd_gc = {
	.name = "gc",
	.operands = "",
	.summary = "free what no point needs",
	.details = "Remove the points that were purged or whose time in the trash is over, free "
		   "what no point needs, and give its space back to the file system. Backups, "
		   "mounts and all else may go on meanwhile; what they use is left for the next gc.",
	.options = gc_options,
	.values_size = sizeof(struct care_values),
	.acts = true,
	.run = run_gc,
};

/* --- compact */

static const struct cs_opt compact_options[] = { JSON_OPTION, QUIET_OPTION,
						 { .kind = CS_OPT_END } };

static int compact_json(struct cs_cli *cli, const struct cs_compact_result *r,
			struct cs_error *err)
{
	struct cs_json *j = &cli->json;

	cs_json_object(j, &cli->out);
	cs_json_number(j, "file_before", r->file_before);
	cs_json_number(j, "file_after", r->file_after);
	cs_json_number(j, "moved", r->moved);
	cs_json_number(j, "unreadable", r->unreadable);
	put_space(j, &r->space);
	return cs_json_put(j, err);
}

static int run_compact(struct cs_cli *cli, const void *values, int argc, char **argv,
		       struct cs_error *err)
{
	const struct care_values *v = values;
	const struct cs_compact_opts opts = { .progress = cs_cli_on_progress, .arg = cli };
	struct cs_compact_result r;
	char before[CS_OUT_TEXT], after[CS_OUT_TEXT], moved[CS_OUT_TEXT];
	int rc = cs_cli_open(cli, CS_OPEN_WRITE, err);

	(void)argc;
	(void)argv;
	if (rc != 0)
		return rc;
	cs_progress_init(&cli->line, v->quiet);
	rc = cs_compact(cli->store, &opts, &r, err);
	cs_progress_wipe(&cli->line);
	if (rc != 0)
		return rc;
	if (v->json)
		return compact_json(cli, &r, err);
	if (v->quiet)
		return 0;
	cs_out_printf(&cli->out, "data.mdb had %s and has %s; %s moved\n",
		      cs_out_size(r.file_before, before), cs_out_size(r.file_after, after),
		      cs_out_size(r.moved, moved));
	if (r.unreadable)
		cs_out_printf(&cli->out, "%" PRIu64 " bundles could not be read; run verify\n",
			      r.unreadable);
	say_space(cli, &r.space);
	return 0;
}

const struct cs_command cs_cmd_compact = {
	.name = "compact",
	.operands = "",
	.summary = "make the store's file shorter",
	.details = "Move what lies at the end of data.mdb to free space in front, and cut the end "
		   "off. For file systems in which gc cannot give space back; elsewhere gc does "
		   "all that is needed. Anybody may use the store meanwhile.",
	.options = compact_options,
	.values_size = sizeof(struct care_values),
	.acts = true,
	.run = run_compact,
};
#undef AT
