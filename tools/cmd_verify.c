/* SPDX-License-Identifier: MIT */
/*
 * cmd_verify.c - verify: is everything in the store right?
 *
 * A finding is what verify was asked for, so findings go to stdout. That there are
 * some is told by the exit status, apart from the failures of verify itself: a
 * script must be able to tell a damaged point from a store that is not mounted.
 */
#include "cli.h"
#include "duration.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define EXIT_FINDINGS 3 /* but no point is damaged */
#define EXIT_DAMAGED 4

struct verify_values {
	const char *level, *subset, *older_than;
	long paths;
	const char *from;
	bool repair, no_record, json, quiet;
};

#define AT(field) offsetof(struct verify_values, field)
static const struct cs_opt verify_options[] = {
	{ CS_OPT_TEXT, 'l', "level", "LEVEL", AT(level),
	  "how much to check: structure, data or digest; else digest, which is everything", 0, 0 },
	{ CS_OPT_TEXT, 0, "subset", "K/N", AT(subset),
	  "check only the K-th of N parts, as 1/7", 0, 0 },
	{ CS_OPT_TEXT, 0, "older-than", "DURATION", AT(older_than),
	  "check only what was not verified for so long, as 30d", 0, 0 },
	{ CS_OPT_FLAG, 0, "repair", NULL, AT(repair),
	  "heal what is damaged, if its content is somewhere else in the store", 0, 0 },
	{ CS_OPT_TEXT, 0, "from", "STORE", AT(from), "or in another store; implies --repair", 0, 0 },
	{ CS_OPT_FLAG, 'n', "no-record", NULL, AT(no_record),
	  "write nothing: do not record what was verified", 0, 0 },
	{ CS_OPT_NUMBER, 0, "paths", "COUNT", AT(paths),
	  "how many paths to name for each finding; else 10", 1, 100000 },
	{ CS_OPT_FLAG, 0, "json", NULL, AT(json), "print the result as JSON", 0, 0 },
	{ CS_OPT_FLAG, 'q', "quiet", NULL, AT(quiet), "no progress, no summary", 0, 0 },
	{ .kind = CS_OPT_END },
};
#undef AT

/* --- options */

static int level_of(struct cs_cli *cli, const char *name, int *out, struct cs_error *err)
{
	static const char *const names[] = { "all", "structure", "data", "digest" };

	*out = CS_VERIFY_ALL;
	for (int i = 1; name && i < 4; i++)
		if (strcmp(name, names[i]) == 0)
			*out = i;
	if (name && !*out)
		return cs_cli_misuse(cli, err, "--level is structure, data or digest, not '%s'",
				     name);
	return 0;
}

static int part_of(struct cs_cli *cli, const char *text, struct cs_verify_opts *o,
		   struct cs_error *err)
{
	unsigned long part = 0, parts = 0;
	char *end;

	if (!text)
		return 0;
	if (*text >= '0' && *text <= '9')
		part = strtoul(text, &end, 10);
	if (part && *end == '/' && end[1] >= '0' && end[1] <= '9') {
		parts = strtoul(end + 1, &end, 10);
		if (*end != '\0')
			parts = 0;
	}
	if (parts == 0 || part > parts || parts > 1000000)
		return cs_cli_misuse(cli, err, "--subset is K/N with K from 1 to N, not '%s'", text);
	o->part = (unsigned)part;
	o->parts = (unsigned)parts;
	return 0;
}

static int age_of(struct cs_cli *cli, const char *text, int64_t *out, struct cs_error *err)
{
	if (text && !cs_duration_parse(text, out))
		return cs_cli_misuse(cli, err, "--older-than is a time as 12h, 30d or 1y, not '%s'",
				     text);
	return 0;
}

/* For writing, if that may be: what cannot be written to can be verified all the same. */
static int open_store(struct cs_cli *cli, bool no_record, struct cs_error *err)
{
	int rc = no_record ? CS_E_READONLY : cs_cli_open(cli, CS_OPEN_WRITE, err);

	if (rc == CS_E_READONLY || rc == CS_E_ACCESS)
		rc = cs_cli_open(cli, CS_OPEN_READ, err);
	return rc;
}

/* --- output */

static void put_finding(struct cs_cli *cli, const struct cs_finding *f)
{
	struct cs_json *j = &cli->json;

	cs_json_object(j, NULL);
	cs_json_text(j, "id", f->id);
	cs_json_text(j, "text", f->text);
	cs_json_number(j, "points", f->points);
	cs_json_number(j, "paths", f->paths);
	cs_json_append(j, "sample", NULL);
	for (size_t i = 0; i < f->nsample; i++)
		cs_json_append(j, "sample", f->sample[i]);
	if (cs_json_put(j, NULL) != 0)
		return; /* the end of the program reports it */
}

static void on_finding(void *arg, const struct cs_finding *f)
{
	struct cs_cli *cli = arg;
	struct cs_out *o = &cli->out;

	cs_progress_wipe(&cli->line);
	if (cli->json.array) {
		put_finding(cli, f);
		return;
	}
	cs_out_printf(o, "%s: ", f->id);
	cs_out_name(o, f->text, strlen(f->text));
	if (f->paths)
		cs_out_printf(o, "; affects %" PRIu64 " path%s in %" PRIu64 " point%s", f->paths,
			      f->paths == 1 ? "" : "s", f->points, f->points == 1 ? "" : "s");
	cs_out_printf(o, "\n");
	for (size_t i = 0; i < f->nsample; i++)
		cs_out_printf(o, "    %s\n", f->sample[i]);
	if (f->paths > f->nsample)
		cs_out_printf(o, "    and %" PRIu64 " more\n", f->paths - f->nsample);
}

static int verify_json(struct cs_cli *cli, const struct cs_verify_result *r,
		       const struct cs_repair_result *h, struct cs_error *err)
{
	struct cs_json *j = &cli->json;

	cs_json_array_end(j);
	cs_json_object(j, NULL);
	cs_json_number(j, "findings", r->findings);
	cs_json_number(j, "damaged_points", r->damaged_points);
	cs_json_number(j, "points", r->points);
	cs_json_number(j, "points_skipped", r->points_skipped);
	cs_json_number(j, "entries", r->entries);
	cs_json_number(j, "bundles", r->bundles);
	cs_json_number(j, "ranges_skipped", r->ranges_skipped);
	cs_json_number(j, "chunks", r->chunks);
	cs_json_number(j, "raw_bytes", r->raw_bytes);
	cs_json_number(j, "files_left", r->files_left);
	cs_json_number(j, "links_left", r->links_left);
	cs_json_bool(j, "recorded", r->recorded);
	cs_json_number(j, "chunks_healed", h->chunks_healed);
	cs_json_number(j, "chunks_lost", h->chunks_lost);
	return cs_json_put(j, err);
}

static void verify_summary(struct cs_cli *cli, const struct cs_verify_result *r, double seconds)
{
	char size[CS_OUT_TEXT];

	cs_out_printf(&cli->out,
		      "checked %" PRIu64 " points, %" PRIu64 " entries, %" PRIu64
		      " chunks in %" PRIu64 " bundles, %s in %.1f s: ",
		      r->points, r->entries, r->chunks, r->bundles,
		      cs_out_size(r->raw_bytes, size), seconds);
	if (r->findings == 0)
		cs_out_printf(&cli->out, "all is well\n");
	else
		cs_out_printf(&cli->out, "%" PRIu64 " findings, %" PRIu64 " damaged points\n",
			      r->findings, r->damaged_points);
	if (r->points_skipped || r->ranges_skipped)
		cs_out_printf(&cli->out, "left out: %" PRIu64 " points, %" PRIu64
			      " ranges of bundles\n", r->points_skipped, r->ranges_skipped);
	if (r->files_left)
		cs_out_printf(&cli->out, "the hash of %" PRIu64 " large files was not computed this "
			      "time: too much of them is shared\n", r->files_left);
	if (r->links_left)
		cs_out_printf(&cli->out, "where %" PRIu64 " hard links lead was not looked at: they "
			      "lie too deep\n", r->links_left);
}

/* --- repair */

static int repair_from(struct cs_cli *cli, struct cs_store *from, struct cs_repair_result *out,
		       struct cs_error *err)
{
	const struct cs_repair_opts opts = { .from = from, .progress = cs_cli_on_progress,
					     .arg = cli };

	return cs_repair(cli->store, &opts, out, err);
}

/* What verify found and wrote down; then what is still wrong is looked for again. */
static int repair(struct cs_cli *cli, const struct verify_values *v,
		  const struct cs_verify_opts *opts, struct cs_verify_result *r,
		  struct cs_repair_result *healed, struct cs_error *err)
{
	struct cs_verify_opts again = *opts;
	struct cs_verify_result after = { 0 };
	struct cs_store *from = NULL;
	int rc = 0;

	if (!r->recorded)
		return cs_fail(err, CS_E_BUSY, "what is damaged could not be recorded, so it is not "
			       "repaired: others write to the store, or it is read-only");
	if (v->from)
		rc = cs_store_open(v->from, NULL, &from, err);
	if (rc == 0)
		rc = repair_from(cli, from, healed, err);
	cs_store_close(from);
	if (rc != 0)
		return rc;
	again.part = again.parts = 0;
	again.older_than = CS_DURATION_MAX; /* but what was found damaged is looked at */
	rc = cs_verify(cli->store, &again, &after, err);
	r->findings = after.findings;
	r->damaged_points = after.damaged_points;
	return rc;
}

static void repair_summary(struct cs_cli *cli, const struct cs_repair_result *h)
{
	if (h->bundles_damaged)
		cs_out_printf(&cli->out,
			      "repair: %" PRIu64 " damaged bundles, %" PRIu64 " chunks healed, %"
			      PRIu64 " not found\n",
			      h->bundles_damaged, h->chunks_healed, h->chunks_lost);
}

/* --- the command */

static int check_all(struct cs_cli *cli, const struct verify_values *v, struct cs_verify_opts *opts,
		     struct cs_verify_result *r, struct cs_repair_result *healed,
		     struct cs_error *err)
{
	int rc;

	if (!v->repair && !v->from)
		return cs_verify(cli->store, opts, r, err);
	opts->finding = NULL;
	rc = cs_verify(cli->store, opts, r, err);
	opts->finding = on_finding;
	return rc == CS_E_CORRUPT && r->findings ? repair(cli, v, opts, r, healed, err) : rc;
}

static int run_verify(struct cs_cli *cli, const void *values, int argc, char **argv,
		      struct cs_error *err)
{
	const struct verify_values *v = values;
	struct cs_verify_opts opts = { .no_record = v->no_record, .sample = (unsigned)v->paths,
				       .progress = cs_cli_on_progress, .finding = on_finding,
				       .arg = cli };
	struct cs_verify_result r = { 0 };
	struct cs_repair_result healed = { 0 };
	double start = cs_out_now();
	int rc = level_of(cli, v->level, &opts.level, err);
	int printed = 0;

	(void)argc;
	(void)argv;
	if (rc == 0 && v->no_record && (v->repair || v->from))
		return cs_cli_misuse(cli, err, "--repair and --no-record exclude each other");
	if (rc == 0)
		rc = part_of(cli, v->subset, &opts, err);
	if (rc == 0)
		rc = age_of(cli, v->older_than, &opts.older_than, err);
	if (rc == 0)
		rc = open_store(cli, v->no_record, err);
	if (rc != 0)
		return rc;
	cs_progress_init(&cli->line, v->quiet);
	if (v->json)
		cs_json_array(&cli->json, &cli->out, "details");
	rc = check_all(cli, v, &opts, &r, &healed, err);
	cs_progress_wipe(&cli->line);
	/* Damage that stopped verify itself leaves no totals. */
	if (rc != 0 && (rc != CS_E_CORRUPT || r.findings == 0))
		return rc;
	if (v->json)
		printed = verify_json(cli, &r, &healed, rc ? NULL : err);
	else if (!v->quiet)
		repair_summary(cli, &healed);
	if (!v->json && !v->quiet)
		verify_summary(cli, &r, cs_out_now() - start);
	if (rc == 0)
		return printed;
	cs_cli_complain(cli, "chunkstore", err->text);
	return r.damaged_points ? EXIT_DAMAGED : EXIT_FINDINGS;
}

const struct cs_command cs_cmd_verify = {
	.name = "verify",
	.operands = "",
	.summary = "read and check everything",
	.details = "Read and check everything in the store. Each finding is a line that begins "
		   "with its id; the paths that it affects follow. Exit status: 0 all is well, 3 "
		   "something is wrong but no point is damaged, 4 points are damaged, 1 it could "
		   "not be done.",
	.options = verify_options,
	.values_size = sizeof(struct verify_values),
	.acts = true,
	.run = run_verify,
};
