/* SPDX-License-Identifier: MIT */
/*
 * cmd_trash.h - list --trash.
 */
#ifndef CS_TOOLS_CMD_TRASH_H
#define CS_TOOLS_CMD_TRASH_H

#include "cli.h"

struct cs_trash_view {
	bool json, utc;
	int64_t now; /* seconds: what is due by then goes with the next gc */
};

/* Print the points in the trash, of one series or (NULL) of all. */
int cs_trash_show(struct cs_cli *cli, const char *series, const struct cs_trash_view *view,
		  struct cs_error *err) CS_MUST_CHECK;

#endif
