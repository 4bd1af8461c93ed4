/* SPDX-License-Identifier: MIT */
/*
 * main.c - chunkstore: the table of commands, the options before them, and the
 * only place that prints an error and chooses an exit status.
 *
 * No locale is set: names are bytes, patterns match bytes, and numbers and
 * times look the same everywhere.
 */
#include "cli.h"

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct cs_command *const commands[] = {
	&cs_cmd_init,  &cs_cmd_backup, &cs_cmd_list,   &cs_cmd_show,
	&cs_cmd_ls,    &cs_cmd_cat,    &cs_cmd_find,   &cs_cmd_diff,
	&cs_cmd_mount, &cs_cmd_umount, &cs_cmd_restore, &cs_cmd_forget, &cs_cmd_undelete,
	&cs_cmd_gc,    &cs_cmd_compact, &cs_cmd_verify, &cs_cmd_rebuild, &cs_cmd_stats,  &cs_cmd_config, &cs_cmd_dump,
};
#define NCOMMANDS (sizeof(commands) / sizeof(commands[0]))

static const struct cs_opt common_options[] = {
	{ CS_OPT_TEXT, 's', "store", "STORE", offsetof(struct cs_cli_common, store),
	  "the store; else $CHUNKSTORE_STORE, else " CS_DEFAULT_STORE, 0, 0 },
	{ CS_OPT_FLAG, 'h', "help", NULL, offsetof(struct cs_cli_common, help), "show this help",
	  0, 0 },
	{ .kind = CS_OPT_END },
};

static const struct cs_opt main_options[] = {
	{ CS_OPT_FLAG, 'V', "version", NULL, offsetof(struct cs_cli_common, version),
	  "show the version", 0, 0 },
	{ .kind = CS_OPT_END },
};

/* --- help */

static void help_all(void)
{
	printf("Usage: chunkstore [-s STORE] COMMAND ...\n\n"
	       "Keeps recovery points of directories in a deduplicating store.\n\nCommands:\n");
	for (size_t i = 0; i < NCOMMANDS; i++)
		printf("  %-9s %s\n", commands[i]->name, commands[i]->summary);
	printf("\nOptions:\n");
	cs_opt_help(common_options);
	cs_opt_help(main_options);
	printf("\nA POINT is SERIES/NAME, SERIES/latest, SERIES (its newest point), or the\n"
	       "beginning of an id. POINT:PATH names something inside a point.\n"
	       "'chunkstore COMMAND --help' says more; so does chunkstore(1).\n");
}

static void help_command(const struct cs_command *c)
{
	printf("Usage: chunkstore [-s STORE] %s%s%s%s\n\n", c->name, c->options ? " [OPTIONS]" : "",
	       c->operands[0] ? " " : "", c->operands);
	cs_opt_fold(c->details ? c->details : c->summary, 0, 0);
	if (c->options) {
		printf("\nOptions:\n");
		cs_opt_help(c->options);
	}
	printf("\nCommon options:\n");
	cs_opt_help(common_options);
}

/* --- running one command */

static const struct cs_command *find_command(const char *name)
{
	for (size_t i = 0; i < NCOMMANDS; i++) {
		if (strcmp(commands[i]->name, name) == 0)
			return commands[i];
	}
	return NULL;
}

static const char *store_path(const struct cs_cli *cli)
{
	const char *env = getenv("CHUNKSTORE_STORE");

	if (cli->common.store)
		return cli->common.store;
	return env && env[0] != '\0' ? env : CS_DEFAULT_STORE;
}

static int check_operands(struct cs_cli *cli, int n, char **operands, struct cs_error *err)
{
	const struct cs_command *c = cli->command;

	if (n < c->min_operands)
		return cs_cli_misuse(cli, err, "%s is missing", c->operands);
	if (c->max_operands >= 0 && n > c->max_operands)
		return cs_cli_misuse(cli, err, "unexpected operand '%s'",
				     operands[c->max_operands]);
	return 0;
}

static int run_command(struct cs_cli *cli, int argc, char **argv, struct cs_error *err)
{
	const struct cs_command *c = cli->command;
	void *values = calloc(1, c->values_size + 1);
	struct cs_opt_group groups[] = { { c->options, values },
					 { common_options, &cli->common } };
	int first, rc;

	if (!values)
		return cs_fail(err, CS_E_NOMEM, "%s", cs_code_text(CS_E_NOMEM));
	rc = cs_opt_parse(groups, 2, false, argc, argv, &first, err);
	if (rc != 0) {
		cli->misused = rc == CS_E_USAGE;
		goto out;
	}
	if (cli->common.help) {
		help_command(c);
		goto out;
	}
	rc = check_operands(cli, argc - first, argv + first, err);
	if (rc != 0)
		goto out;
	cli->store_path = store_path(cli);
	if (c->acts) {
		signal(SIGPIPE, SIG_IGN);
		cs_progress_catch_signals();
	}
	rc = c->run(cli, values, argc - first, argv + first, err);
out:
	cs_progress_wipe(&cli->line);
	cs_json_release(&cli->json);
	cs_store_close(cli->store);
	cs_opt_release(c->options, values);
	free(values);
	return rc;
}

/* "help COMMAND" is "COMMAND --help". */
static int run_help(struct cs_cli *cli, int argc, char **argv, struct cs_error *err)
{
	if (argc < 2) {
		help_all();
		return 0;
	}
	cli->command = find_command(argv[1]);
	if (!cli->command)
		return cs_cli_misuse(cli, err, "unknown command '%s'", argv[1]);
	help_command(cli->command);
	return 0;
}

static int dispatch(struct cs_cli *cli, int argc, char **argv, struct cs_error *err)
{
	struct cs_opt_group groups[] = { { common_options, &cli->common },
					 { main_options, &cli->common } };
	int first;
	int rc = cs_opt_parse(groups, 2, true, argc, argv, &first, err);

	if (rc != 0) {
		cli->misused = rc == CS_E_USAGE;
		return rc;
	}
	if (cli->common.version) {
		printf("chunkstore " CS_VERSION "\n");
		return 0;
	}
	argc -= first;
	argv += first;
	if (argc == 0 && !cli->common.help)
		return cs_cli_misuse(cli, err, "a command is missing");
	if (argc == 0 || strcmp(argv[0], "help") == 0)
		return run_help(cli, argc, argv, err);
	cli->command = find_command(argv[0]);
	if (!cli->command)
		return cs_cli_misuse(cli, err, "unknown command '%s'", argv[0]);
	return run_command(cli, argc, argv, err);
}

/* --- the end */

static int report(struct cs_cli *cli, int rc, const struct cs_error *err)
{
	char prefix[64], text[sizeof(err->text) + 64];

	if (rc >= 0)
		return rc;
	snprintf(prefix, sizeof(prefix), "chunkstore%s%s",
		 cli->misused && cli->command ? " " : "",
		 cli->misused && cli->command ? cli->command->name : "");
	snprintf(text, sizeof(text), "%s", err->text[0] ? err->text : cs_code_text(rc));
	if (cli->misused) {
		size_t len = strlen(text);

		snprintf(text + len, sizeof(text) - len, " (try '%s --help')", prefix);
	}
	cs_cli_complain(cli, prefix, text);
	return cs_code_status(rc);
}

/*
 * Without this a store opened while stdin, stdout or stderr is closed would get
 * its number, and what is printed would be written into the store.
 */
static int occupy_standard_files(void)
{
	for (int fd = 0; fd <= 2; fd++) {
		/* Opened for the wrong direction, so that using it fails. */
		if (fcntl(fd, F_GETFD) < 0 &&
		    open("/dev/null", fd == 0 ? O_WRONLY : O_RDONLY) != fd)
			return -1;
	}
	return 0;
}

/* The status when whoever read our output closed it: an action was done all the same. */
static int unread_status(const struct cs_cli *cli)
{
	return cli->command && cli->command->acts ? 0 : CS_EXIT_UNREAD;
}

int main(int argc, char **argv)
{
	struct cs_cli cli = { 0 };
	struct cs_error err = { 0 }, late = { 0 };
	int rc, status;

	/* bundles are made by one thread and freed by another: an arena a thread would keep them all */
	mallopt(M_ARENA_MAX, 1);
	if (occupy_standard_files() != 0)
		return cs_code_status(CS_E_IO);
	cs_out_init(&cli.out, stdout);
	rc = dispatch(&cli, argc, argv, &err);
	if (rc < 0 && cli.out.sys_errno == EPIPE && err.sys_errno == EPIPE)
		rc = unread_status(&cli);
	status = report(&cli, rc, &err);
	rc = cs_out_close(&cli.out, &late);
	if (rc == 0 || status != 0)
		return status;
	return late.sys_errno == EPIPE ? unread_status(&cli) : report(&cli, rc, &late);
}
