/* SPDX-License-Identifier: MIT */
/*
 * cmd_stats.c - what the store holds and takes, and who uses it.
 */
#include "cli.h"
#include "duration.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

struct stats_values {
	bool json;
};

static const struct cs_opt stats_options[] = {
	{ CS_OPT_FLAG, 0, "json", NULL, offsetof(struct stats_values, json),
	  "print the result as JSON", 0, 0 },
	{ .kind = CS_OPT_END },
};

/* Who uses the store now. */
struct users {
	struct cs_user list[64];
	size_t n;
	uint64_t more; /* that are not in the list, or cannot be seen */
};

static int add_user(void *arg, const struct cs_user *u)
{
	struct users *us = arg;

	if (us->n < sizeof(us->list) / sizeof(us->list[0]))
		us->list[us->n++] = *u;
	else
		us->more++;
	return 0;
}

static int load_users(struct cs_cli *cli, struct users *out, struct cs_error *err)
{
	uint64_t hidden;
	int rc;

	memset(out, 0, sizeof(*out));
	rc = cs_store_users(cli->store, add_user, out, &hidden, err);
	if (rc == 0)
		out->more += hidden;
	return rc;
}

static const char *what_it_does(const struct cs_user *u)
{
	return u->gc ? "gc" : u->backup ? "backup" : u->mount ? "mount" : u->writes ? "writes" : "reads";
}

static void show_users(struct cs_cli *cli, const struct users *us)
{
	char text[48];

	for (size_t i = 0; i < us->n; i++) {
		const struct cs_user *u = &us->list[i];
		text[0] = 0;
		if (u->points)
			snprintf(text, sizeof(text), ", holds %" PRIu64 " point%s", u->points,
				 u->points == 1 ? "" : "s");
		cs_out_printf(&cli->out, "%-16s%s, process %ld (%s)%s%s%s\n",
			      i ? "" : "in use by", what_it_does(u), u->pid, u->name, text,
			      u->writes ? ", is writing" : "", u->stopped ? ", is stopped" : "");
	}
	if (us->more)
		cs_out_printf(&cli->out, "%-16s%s of processes that are not shown\n",
			      us->n ? "" : "in use by", us->n ? "and locks" : "locks");
}

static int users_json(struct cs_cli *cli, const struct users *us, struct cs_error *err)
{
	struct cs_json *j = &cli->json;
	int rc = 0;

	cs_json_array(j, &cli->out, "users");
	for (size_t i = 0; i < us->n && rc == 0; i++) {
		const struct cs_user *u = &us->list[i];
		cs_json_object(j, NULL);
		cs_json_text(j, "does", what_it_does(u));
		cs_json_number(j, "process", (uint64_t)u->pid);
		cs_json_text(j, "program", u->name);
		cs_json_number(j, "points", u->points);
		cs_json_bool(j, "writing", u->writes);
		cs_json_bool(j, "stopped", u->stopped);
		rc = cs_json_put(j, err);
	}
	cs_json_array_end(j);
	return rc;
}

static int stats_json(struct cs_cli *cli, const struct cs_store_stats *s, const struct users *us,
		      struct cs_error *err)
{
	struct cs_json *j = &cli->json;
	int rc = users_json(cli, us, err);

	if (rc != 0)
		return rc;
	cs_json_object(j, &cli->out);
	cs_json_number(j, "users_not_shown", us->more);
	cs_json_text(j, "id", s->id);
	cs_json_number(j, "series", s->series);
	cs_json_number(j, "points", s->points);
	cs_json_number(j, "trash_points", s->trash_points);
	cs_json_number(j, "trash_seconds", s->trash_seconds);
	cs_json_number(j, "logical_bytes", s->logical_bytes);
	cs_json_number(j, "bundles", s->bundles);
	cs_json_number(j, "chunks", s->chunks);
	cs_json_number(j, "deltas", s->deltas);
	cs_json_number(j, "delta_bytes", s->delta_bytes);
	cs_json_number(j, "delta_stored_bytes", s->delta_stored_bytes);
	cs_json_number(j, "raw_bytes", s->raw_bytes);
	cs_json_number(j, "stored_bytes", s->stored_bytes);
	cs_json_number(j, "meta_stored_bytes", s->meta_stored_bytes);
	cs_json_number(j, "index_rows", s->index_rows);
	cs_json_number(j, "moved_rows", s->moved_rows);
	cs_json_number(j, "file_bytes", s->file_bytes);
	cs_json_number(j, "disk_bytes", s->disk_bytes);
	cs_json_number(j, "free_bytes", s->free_bytes);
	cs_json_number(j, "ranges", s->ranges);
	cs_json_number(j, "ranges_never_verified", s->ranges_never);
	cs_json_number(j, "ranges_damaged", s->ranges_damaged);
	if (s->verified)
		cs_json_time(j, "verified_since", (struct cs_time){ s->verified, 0 });
	return cs_json_put(j, err);
}

static void stats_count(struct cs_cli *cli, const char *label, uint64_t v)
{
	cs_out_printf(&cli->out, "%-16s%" PRIu64 "\n", label, v);
}

static void stats_size(struct cs_cli *cli, const char *label, uint64_t v)
{
	char text[CS_OUT_TEXT];

	cs_out_printf(&cli->out, "%-16s%s (%" PRIu64 " bytes)\n", label, cs_out_size(v, text), v);
}

static void stats_verified(struct cs_cli *cli, const struct cs_store_stats *s)
{
	char when[CS_OUT_TEXT];

	cs_out_printf(&cli->out, "%-16s%" PRIu64 " of %" PRIu64 " ranges of bundles", "verified",
		      s->ranges - s->ranges_never, s->ranges);
	if (s->verified)
		cs_out_printf(&cli->out, ", since %s",
			      cs_out_time((struct cs_time){ s->verified, 0 }, false, when));
	if (s->ranges_damaged)
		cs_out_printf(&cli->out, ", %" PRIu64 " of them DAMAGED", s->ranges_damaged);
	cs_out_printf(&cli->out, "\n");
}

static int run_stats(struct cs_cli *cli, const void *values, int argc, char **argv,
		     struct cs_error *err)
{
	const struct stats_values *v = values;
	struct cs_store_stats s;
	struct users us;
	char keep[CS_DURATION_TEXT];
	int rc = cs_cli_open(cli, CS_OPEN_READ, err);

	(void)argc;
	(void)argv;
	if (rc == 0)
		rc = cs_store_stats(cli->store, &s, err);
	if (rc == 0)
		rc = load_users(cli, &us, err);
	if (rc != 0)
		return rc;
	if (v->json)
		return stats_json(cli, &s, &us, err);
	cs_out_printf(&cli->out, "%-16s%s\n", "store", s.id);
	stats_count(cli, "series", s.series);
	stats_count(cli, "points", s.points);
	cs_out_printf(&cli->out, "%-16s%" PRIu64 " points, kept for %s\n", "trash", s.trash_points,
		      cs_duration_text((int64_t)s.trash_seconds, keep));
	stats_size(cli, "logical", s.logical_bytes);
	stats_count(cli, "bundles", s.bundles);
	stats_count(cli, "chunks", s.chunks);
	stats_count(cli, "of them deltas", s.deltas);
	stats_size(cli, "raw", s.raw_bytes);
	stats_size(cli, "stored", s.stored_bytes);
	stats_size(cli, "of it metadata", s.meta_stored_bytes);
	stats_count(cli, "index rows", s.index_rows);
	stats_count(cli, "moved rows", s.moved_rows);
	stats_size(cli, "file", s.file_bytes);
	stats_size(cli, "on disk", s.disk_bytes);
	stats_size(cli, "free in file", s.free_bytes);
	stats_verified(cli, &s);
	show_users(cli, &us);
	return 0;
}

const struct cs_command cs_cmd_stats = {
	.name = "stats",
	.operands = "",
	.summary = "show what the store holds and what it takes",
	.options = stats_options,
	.values_size = sizeof(struct stats_values),
	.run = run_stats,
};
