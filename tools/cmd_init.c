/* SPDX-License-Identifier: MIT */
/*
 * cmd_init.c - make an empty store.
 */
#include "cli.h"

#include <grp.h>
#include <stdlib.h>

struct init_values {
	const char *trash;
	long hash_bits;
	const char *group;
};

static const struct cs_opt init_options[] = {
	{ CS_OPT_TEXT, 0, "trash", "DURATION", offsetof(struct init_values, trash),
	  "how long the trash keeps forgotten points: 0, 36h, 7d, 4w, 1y; else 7d", 0, 0 },
	{ CS_OPT_TEXT, 0, "group", "GROUP", offsetof(struct init_values, group),
	  "let the members of GROUP, a name or number, read the store", 0, 0 },
	{ CS_OPT_NUMBER, 0, "hash-bits", "N", offsetof(struct init_values, hash_bits),
	  "for tests: keep only N bits of content hashes", 1, 128 },
	{ .kind = CS_OPT_END },
};

static int find_group(struct cs_cli *cli, const char *text, gid_t *out, struct cs_error *err)
{
	char *end;
	const struct group *g;
	unsigned long n;

	g = getgrnam(text);
	if (g) {
		*out = g->gr_gid;
		return 0;
	}
	n = strtoul(text, &end, 10);
	if (text[0] < '0' || text[0] > '9' || *end != '\0' || n >= UINT32_MAX)
		return cs_cli_misuse(cli, err, "there is no group '%s'", text);
	*out = (gid_t)n;
	return 0;
}

static int run_init(struct cs_cli *cli, const void *values, int argc, char **argv,
		    struct cs_error *err)
{
	const struct init_values *v = values;
	uint64_t trash = 0;
	struct cs_init_opts opts = { .hash_bits = (unsigned)v->hash_bits,
				     .trash_seconds = v->trash ? &trash : NULL,
				     .share = v->group != NULL };
	int rc = v->trash ? cs_cli_trash_seconds(cli, v->trash, &trash, err) : 0;

	(void)argc;
	(void)argv;
	if (rc == 0 && v->group)
		rc = find_group(cli, v->group, &opts.group, err);
	if (rc < 0)
		return rc;
	return cs_store_init(cli->store_path, &opts, err);
}

const struct cs_command cs_cmd_init = {
	.name = "init",
	.operands = "",
	.summary = "make an empty store",
	.details = "Make an empty store: a directory that does not exist yet, or is empty.",
	.options = init_options,
	.values_size = sizeof(struct init_values),
	.acts = true,
	.run = run_init,
};
