/* SPDX-License-Identifier: MIT */
/*
 * cmd_backup.c - store a new recovery point.
 */
#include "cli.h"
#include "describe.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct backup_values {
	const char *series, *root, *host, *consistency, *compression;
	struct cs_opt_list tags, excludes;
	bool one_file_system, force, heal, json, quiet;
};

#define AT(field) offsetof(struct backup_values, field)
static const struct cs_opt backup_options[] = {
	{ CS_OPT_TEXT, 'S', "series", "SERIES", AT(series),
	  "the series the point belongs to; else the host's name", 0, 0 },
	{ CS_OPT_TEXT, 'r', "root", "DIR", AT(root), "DIR's contents become the point's root",
	  0, 0 },
	{ CS_OPT_LIST, 't', "tag", "TAG", AT(tags), "give the point a tag; may be repeated", 0, 0 },
	{ CS_OPT_LIST, 'e', "exclude", "PATTERN", AT(excludes),
	  "leave out what matches; may be repeated", 0, 0 },
	{ CS_OPT_FLAG, 'x', "one-file-system", NULL, AT(one_file_system),
	  "do not descend into other file systems", 0, 0 },
	{ CS_OPT_FLAG, 'f', "force", NULL, AT(force), "read every file, unchanged or not", 0, 0 },
	{ CS_OPT_FLAG, 0, "heal", NULL, AT(heal),
	  "the same, and what is damaged and met again is right again in all points", 0, 0 },
	{ CS_OPT_TEXT, 0, "consistency", "LEVEL", AT(consistency),
	  "what the source promised: unknown, crash, fs or app", 0, 0 },
	{ CS_OPT_TEXT, 0, "host", "HOST", AT(host), "the host to record; else this machine", 0, 0 },
	{ CS_OPT_TEXT, 0, "compression", "LEVEL", AT(compression),
	  "how hard to compress what is new: 1 to 19, or none; else 3", 0, 0 },
	{ CS_OPT_FLAG, 0, "json", NULL, AT(json), "print the result as JSON", 0, 0 },
	{ CS_OPT_FLAG, 'q', "quiet", NULL, AT(quiet),
	  "no progress, no summary: only what went wrong", 0, 0 },
	{ .kind = CS_OPT_END },
};
#undef AT

static int consistency_level(struct cs_cli *cli, const char *name, int *out, struct cs_error *err)
{
	static const int levels[] = { CS_CONSISTENCY_UNKNOWN, CS_CONSISTENCY_CRASH,
				      CS_CONSISTENCY_FS, CS_CONSISTENCY_APP };

	*out = CS_CONSISTENCY_UNKNOWN;
	if (!name)
		return 0;
	for (size_t i = 0; i < sizeof(levels) / sizeof(levels[0]); i++) {
		if (strcmp(cs_consistency_name(levels[i]), name) == 0) {
			*out = levels[i];
			return 0;
		}
	}
	return cs_cli_misuse(cli, err, "--consistency is unknown, crash, fs or app, not '%s'",
			     name);
}

static int compression_level(struct cs_cli *cli, const char *text, int *out, struct cs_error *err)
{
	char *end;

	*out = 0;
	if (!text)
		return 0;
	if (strcmp(text, "none") == 0) {
		*out = -1;
		return 0;
	}
	long n = *text >= '0' && *text <= '9' ? strtol(text, &end, 10) : 0;
	if (n < 1 || n > 19 || *end)
		return cs_cli_misuse(cli, err, "--compression is 1 to 19 or none, not '%s'", text);
	*out = (int)n;
	return 0;
}

static void print_summary(struct cs_cli *cli, const struct cs_backup_result *r, double seconds)
{
	char size[CS_OUT_TEXT], read[CS_OUT_TEXT], raw[CS_OUT_TEXT], stored[CS_OUT_TEXT];
	const struct cs_point *p = &r->point;

	cs_out_printf(&cli->out, "%s/%s  id %.8s\n", p->series, p->name, p->id);
	cs_out_printf(&cli->out,
		      "%" PRIu64 " entries, %s; read %" PRIu64 " files, %s; new data %s, "
		      "stored in %s; %.1f s\n",
		      p->totals.entries, cs_out_size(p->totals.bytes, size), r->files_read,
		      cs_out_size(r->bytes_read, read), cs_out_size(p->added_raw, raw),
		      cs_out_size(p->added_stored, stored), seconds);
	if (r->chunks_healed)
		cs_out_printf(&cli->out, "%" PRIu64 " damaged chunks healed\n", r->chunks_healed);
	if (p->unreadable + p->changed > 0)
		cs_out_printf(&cli->out,
			      "%" PRIu64 " could not be read, %" PRIu64
			      " changed while being read\n",
			      p->unreadable, p->changed);
}

static int print_json(struct cs_cli *cli, const struct cs_backup_result *r, double seconds,
		      struct cs_error *err)
{
	struct cs_json *j = &cli->json;

	cs_json_object(j, &cli->out);
	cs_describe_point(j, &r->point);
	cs_json_number(j, "files_read", r->files_read);
	cs_json_number(j, "bytes_read", r->bytes_read);
	cs_json_number(j, "entries_reused", r->entries_reused);
	cs_json_number(j, "chunks_new", r->chunks_new);
	cs_json_number(j, "chunks_duplicate", r->chunks_dup);
	cs_json_number(j, "chunks_healed", r->chunks_healed);
	cs_json_number(j, "milliseconds", (uint64_t)(seconds * 1000));
	return cs_json_put(j, err);
}

static int run_backup(struct cs_cli *cli, const void *values, int argc, char **argv,
		      struct cs_error *err)
{
	const struct backup_values *v = values;
	struct cs_backup_result result;
	struct cs_backup_opts opts = {
		.series = v->series, .root = v->root,
		.paths = (const char *const *)argv, .npaths = (size_t)argc,
		.tags = v->tags.items, .ntags = v->tags.count,
		.excludes = v->excludes.items, .nexcludes = v->excludes.count,
		.host = v->host, .force = v->force, .heal = v->heal, .one_file_system = v->one_file_system,
		.progress = cs_cli_on_progress, .notice = cs_cli_on_notice, .arg = cli,
	};
	char host[CS_HOST_MAX + 1] = "";
	double start = cs_out_now();
	int rc = consistency_level(cli, v->consistency, &opts.consistency, err);
	int printed = 0;

	if (rc == 0)
		rc = compression_level(cli, v->compression, &opts.level, err);
	if (rc != 0)
		return rc;
	if (v->root && argc > 0)
		return cs_cli_misuse(cli, err, "--root and PATHs exclude each other");
	if (!v->root && argc == 0)
		return cs_cli_misuse(cli, err, "say what to back up: --root DIR, or PATHs");
	if (!opts.series) {
		if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0')
			return cs_cli_misuse(cli, err, "this machine has no name: use --series");
		opts.series = host;
	}
	rc = cs_cli_open(cli, CS_OPEN_WRITE, err);
	if (rc != 0)
		return rc;
	cli->quiet = v->quiet;
	cs_progress_init(&cli->line, v->quiet);
	rc = cs_backup(cli->store, &opts, &result, err);
	cs_progress_wipe(&cli->line);
	if (rc != 0 && rc != CS_E_PARTIAL)
		return rc;
	if (v->json)
		printed = print_json(cli, &result, cs_out_now() - start, rc ? NULL : err);
	else if (!v->quiet)
		print_summary(cli, &result, cs_out_now() - start);
	return rc != 0 ? rc : printed;
}

const struct cs_command cs_cmd_backup = {
	.name = "backup",
	.operands = "--root DIR | PATH...",
	.summary = "store a new recovery point",
	.details = "Store a new recovery point. With --root the contents of DIR become its root; "
		   "PATHs keep their absolute paths. A file that has not changed since the newest "
		   "point of the series is not read.",
	.options = backup_options,
	.values_size = sizeof(struct backup_values),
	.max_operands = -1,
	.acts = true,
	.run = run_backup,
};
