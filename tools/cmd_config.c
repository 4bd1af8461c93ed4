/* SPDX-License-Identifier: MIT */
/*
 * cmd_config.c - the settings that a store carries with it.
 */
#include "cli.h"
#include "duration.h"

#include <string.h>

struct config_values {
	bool json;
};

static const struct cs_opt config_options[] = {
	{ CS_OPT_FLAG, 0, "json", NULL, offsetof(struct config_values, json), "print JSON", 0, 0 },
	{ .kind = CS_OPT_END },
};

int cs_cli_trash_seconds(struct cs_cli *cli, const char *text, uint64_t *out, struct cs_error *err)
{
	int64_t seconds;

	if (!cs_duration_parse(text, &seconds))
		return cs_cli_misuse(cli, err,
				     "the trash keeps for a duration: 0, or such as 36h, 7d, 4w or "
				     "1y, not '%s'", text);
	*out = (uint64_t)seconds;
	return 0;
}

static int show(struct cs_cli *cli, bool json, struct cs_error *err)
{
	char text[CS_DURATION_TEXT];
	uint64_t keep;
	int rc = cs_store_trash_keep(cli->store, &keep, err);

	if (rc != 0)
		return rc;
	if (!json) {
		cs_out_printf(&cli->out, "trash %s\n", cs_duration_text((int64_t)keep, text));
		return 0;
	}
	cs_json_object(&cli->json, &cli->out);
	cs_json_number(&cli->json, "trash_seconds", keep);
	return cs_json_put(&cli->json, err);
}

static int run_config(struct cs_cli *cli, const void *values, int argc, char **argv,
		      struct cs_error *err)
{
	const struct config_values *v = values;
	uint64_t keep = 0;
	int rc = 0;

	if (argc > 0 && strcmp(argv[0], "trash") != 0)
		return cs_cli_misuse(cli, err, "there is no setting '%s'", argv[0]);
	if (argc > 1)
		rc = cs_cli_trash_seconds(cli, argv[1], &keep, err);
	if (rc == 0)
		rc = cs_cli_open(cli, argc > 1 ? CS_OPEN_WRITE : CS_OPEN_READ, err);
	if (rc != 0)
		return rc;
	return argc > 1 ? cs_store_set_trash_keep(cli->store, keep, err) : show(cli, v->json, err);
}

const struct cs_command cs_cmd_config = {
	.name = "config",
	.operands = "[trash [DURATION]]",
	.summary = "show or change the settings of the store",
	.details = "Without DURATION show a setting, or all of them; with it, change it. trash: how "
		   "long a forgotten point can be brought back, as 36h, 7d, 4w or 1y; 0: until the "
		   "next gc. It counts for what is forgotten from then on.",
	.options = config_options,
	.values_size = sizeof(struct config_values),
	.max_operands = 2,
	.acts = true,
	.run = run_config,
};
