/* SPDX-License-Identifier: MIT */
/*
 * options.h - options as tables, from which both parsing and --help are made.
 */
#ifndef CS_TOOLS_OPTIONS_H
#define CS_TOOLS_OPTIONS_H

#include "store/err.h"

#include <stdbool.h>
#include <stddef.h>

enum cs_opt_kind {
	CS_OPT_END,
	CS_OPT_FLAG,   /* bool */
	CS_OPT_TEXT,   /* const char *, borrowed from argv; the last one wins */
	CS_OPT_LIST,   /* struct cs_opt_list: may be given many times */
	CS_OPT_NUMBER, /* long, within [lo, hi] */
};

struct cs_opt_list {
	const char **items; /* pointers into argv; freed by cs_opt_release */
	size_t count;
};

struct cs_opt {
	enum cs_opt_kind kind;
	char letter;      /* 0: none */
	const char *name; /* without the dashes */
	const char *arg;  /* what stands for its argument in the help */
	size_t at;        /* offset of the value in the struct that is filled */
	const char *help;
	long lo, hi;
};

/* A table and the struct that it fills. */
struct cs_opt_group {
	const struct cs_opt *table; /* may be NULL */
	void *values;
};

/*
 * Parse options of all groups out of argv (argv[0] is skipped). With in_order
 * the first operand ends them, else operands are moved to the end. *first is
 * the index of the first operand. CS_E_USAGE fills err->text without a prefix.
 */
int cs_opt_parse(const struct cs_opt_group *groups, size_t ngroups, bool in_order, int argc,
		 char **argv, int *first, struct cs_error *err) CS_MUST_CHECK;
/* Free the lists that a table's struct holds. */
void cs_opt_release(const struct cs_opt *table, void *values);

/* Print the table as help, and a paragraph, both folded to 80 columns, on stdout. */
void cs_opt_help(const struct cs_opt *table);
void cs_opt_fold(const char *text, int indent, int column);

#endif
