/* SPDX-License-Identifier: MIT */
/*
 * cmd_rebuild.c - rebuild: what follows from the data, made from it anew.
 */
#include "cli.h"

#include <inttypes.h>

struct rebuild_values {
	bool json, quiet;
};

#define AT(field) offsetof(struct rebuild_values, field)
static const struct cs_opt rebuild_options[] = {
	{ CS_OPT_FLAG, 0, "json", NULL, AT(json), "print the result as JSON", 0, 0 },
	{ CS_OPT_FLAG, 'q', "quiet", NULL, AT(quiet), "no progress, no summary", 0, 0 },
	{ .kind = CS_OPT_END },
};
#undef AT

static int rebuild_json(struct cs_cli *cli, const struct cs_rebuild_result *r, struct cs_error *err)
{
	struct cs_json *j = &cli->json;

	cs_json_object(j, &cli->out);
	cs_json_number(j, "bundles", r->bundles);
	cs_json_number(j, "index_added", r->index_added);
	cs_json_number(j, "index_removed", r->index_removed);
	cs_json_number(j, "moved_removed", r->moved_removed);
	cs_json_number(j, "points_changed", r->points_changed);
	cs_json_number(j, "series_changed", r->series_changed);
	return cs_json_put(j, err);
}

static int run_rebuild(struct cs_cli *cli, const void *values, int argc, char **argv,
		       struct cs_error *err)
{
	const struct rebuild_values *v = values;
	const struct cs_rebuild_opts opts = { .progress = cs_cli_on_progress, .arg = cli };
	struct cs_rebuild_result r;
	int rc = cs_cli_open(cli, CS_OPEN_WRITE, err);

	(void)argc;
	(void)argv;
	if (rc != 0)
		return rc;
	cs_progress_init(&cli->line, v->quiet);
	rc = cs_rebuild(cli->store, &opts, &r, err);
	cs_progress_wipe(&cli->line);
	if (rc != 0)
		return rc;
	if (v->json)
		return rebuild_json(cli, &r, err);
	if (!v->quiet)
		cs_out_printf(&cli->out,
			      "index: %" PRIu64 " rows added, %" PRIu64 " removed; moved table: %"
			      PRIu64 " removed; %" PRIu64 " points and %" PRIu64
			      " series put right\n",
			      r.index_added, r.index_removed, r.moved_removed, r.points_changed,
			      r.series_changed);
	return 0;
}

const struct cs_command cs_cmd_rebuild = {
	.name = "rebuild",
	.operands = "",
	.summary = "make the dedup index and the like anew from the data",
	.details = "Make the dedup index anew from the bundles, and the points' totals, names and "
		   "ids from their records. Only what is wrong is written. Anybody may use the "
		   "store meanwhile.",
	.options = rebuild_options,
	.values_size = sizeof(struct rebuild_values),
	.acts = true,
	.run = run_rebuild,
};
