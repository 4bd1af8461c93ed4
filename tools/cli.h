/* SPDX-License-Identifier: MIT */
/*
 * cli.h - what one run of chunkstore carries around, and what a command is.
 *
 * A command is data: its name, its texts, its option table and a function. The
 * function returns 0, a negative enum cs_code with err filled, or a positive
 * exit status. main.c alone prints errors.
 */
#ifndef CS_TOOLS_CLI_H
#define CS_TOOLS_CLI_H

#include "json.h"
#include "options.h"
#include "output.h"
#include "progress.h"
#include "store/chunkstore.h"

#include <stdatomic.h>

#define CS_EXIT_DIFFERENT 1 /* diff --exit-code */
#define CS_EXIT_UNREAD 1    /* whoever read our output has closed it */

struct cs_command;

struct cs_cli_common {
	const char *store;
	bool help;
	bool version;
};

struct cs_cli {
	const struct cs_command *command; /* NULL until it is known */
	struct cs_cli_common common;
	const char *store_path;
	struct cs_store *store; /* NULL until cs_cli_open */
	size_t cache_bytes;     /* for it; 0: the default */
	struct cs_out out;
	struct cs_json json;
	struct cs_progress_line line;
	bool misused; /* the error is about the command line: a hint follows */
	bool quiet;   /* notices of kind INFO are left out */
	atomic_flag told; /* for whom it waits */
};

struct cs_command {
	const char *name;
	const char *operands; /* as in the usage line, "" for none */
	const char *summary;  /* one line, for the list of commands */
	const char *details;  /* paragraph of the command's own help, or NULL */
	const struct cs_opt *options; /* ended by CS_OPT_END, or NULL */
	size_t values_size;   /* of the struct that the options fill */
	int min_operands;
	int max_operands; /* -1: any number */
	bool acts; /* works on to its end when nobody reads its output; signals stop it cleanly */
	int (*run)(struct cs_cli *cli, const void *values, int argc, char **argv,
		   struct cs_error *err);
};

extern const struct cs_command cs_cmd_init, cs_cmd_backup, cs_cmd_list, cs_cmd_show, cs_cmd_ls,
	cs_cmd_cat, cs_cmd_find, cs_cmd_diff, cs_cmd_stats, cs_cmd_dump, cs_cmd_restore,
	cs_cmd_forget, cs_cmd_undelete, cs_cmd_config, cs_cmd_gc, cs_cmd_compact, cs_cmd_verify, cs_cmd_rebuild,
	cs_cmd_mount, cs_cmd_umount;

/* Fail with CS_E_USAGE; the message names the command and points to its help. */
int cs_cli_misuse(struct cs_cli *cli, struct cs_error *err, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* Open the store that the command line names into cli->store; main closes it. */
int cs_cli_open(struct cs_cli *cli, int flags, struct cs_error *err) CS_MUST_CHECK;

/*
 * Open what POINT[:PATH] names: the tree, its entry, and the path as it was
 * written ("" when there is none), borrowed from arg. The caller closes *tree
 * and releases *node.
 */
int cs_cli_place(struct cs_cli *cli, const char *arg, struct cs_tree **tree, struct cs_node *node,
		 const char **path, struct cs_error *err) CS_MUST_CHECK;
/* The point that POINT[:PATH] names, and the path or NULL. Borrowed from arg. */
int cs_cli_point(struct cs_cli *cli, const char *arg, struct cs_point *point, const char **path,
		 struct cs_error *err) CS_MUST_CHECK;

/* The point that a command is about as a whole: a PATH is misuse. anywhere: it may be in the trash. */
int cs_cli_whole_point(struct cs_cli *cli, const char *arg, bool anywhere, struct cs_point *point,
		       struct cs_error *err) CS_MUST_CHECK;

/* How long the trash keeps, from the command line (cmd_config.c). */
int cs_cli_trash_seconds(struct cs_cli *cli, const char *text, uint64_t *out,
			 struct cs_error *err) CS_MUST_CHECK;

/*
 * Call fn for each point of a series (NULL: of all), series by series and the
 * oldest first; with latest only for the newest of each. No transaction is
 * held meanwhile, so fn may take its time. A point that is forgotten on the
 * way is left out. A nonzero return of fn stops and is returned.
 */
int cs_cli_each_point(struct cs_cli *cli, const char *series, bool latest, cs_point_fn *fn,
		      void *arg, struct cs_error *err) CS_MUST_CHECK;

/* The callbacks of long actions; arg is the struct cs_cli. */
int cs_cli_on_progress(void *arg, const struct cs_progress *p);
void cs_cli_on_notice(void *arg, int kind, const char *text);

/* Say that a directory, of which something cannot be read, is incomplete: its name is place and path. */
void cs_cli_lost(struct cs_cli *cli, const char *place, const char *path,
		 const struct cs_error *why);

/* Print "chunkstore: text" on stderr as one line, whatever bytes the text has. */
void cs_cli_complain(struct cs_cli *cli, const char *prefix, const char *text);

#endif
