/* SPDX-License-Identifier: MIT */
/*
 * options.c - option tables over getopt_long(3).
 *
 * Every long option answers to a number of its own (its place in the tables),
 * so that an option without a letter needs no invented one.
 */
#include "options.h"

#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OPTIONS_MAX 32 /* of one command, the common ones included */
#define FIRST_NUMBER 256
#define HELP_COLUMN 26
#define HELP_WIDTH 79

/* The tables of one command as getopt wants them. */
struct plan {
	const struct cs_opt *opts[OPTIONS_MAX];
	void *values[OPTIONS_MAX];
	int count;
	struct option longs[OPTIONS_MAX + 1];
	char shorts[2 * OPTIONS_MAX + 3];
};

static void plan_make(struct plan *p, const struct cs_opt_group *groups, size_t ngroups,
		      bool in_order)
{
	char *s = p->shorts;

	memset(p, 0, sizeof(*p));
	if (in_order)
		*s++ = '+';
	*s++ = ':';
	for (size_t g = 0; g < ngroups; g++) {
		const struct cs_opt *o = groups[g].table;

		for (; o && o->kind != CS_OPT_END && p->count < OPTIONS_MAX; o++) {
			int i = p->count++;

			p->opts[i] = o;
			p->values[i] = groups[g].values;
			p->longs[i].name = o->name;
			p->longs[i].has_arg = o->arg ? required_argument : no_argument;
			p->longs[i].val = FIRST_NUMBER + i;
			if (o->letter == 0)
				continue;
			*s++ = o->letter;
			if (o->arg)
				*s++ = ':';
		}
	}
}

static int plan_find(const struct plan *p, int c)
{
	if (c >= FIRST_NUMBER)
		return c - FIRST_NUMBER;
	for (int i = 0; i < p->count; i++) {
		if (p->opts[i]->letter == c)
			return i;
	}
	return -1;
}

static int list_add(struct cs_opt_list *l, const char *item, struct cs_error *err)
{
	const char **items = reallocarray(l->items, l->count + 1, sizeof(*items));

	if (!items)
		return cs_fail(err, CS_E_NOMEM, "%s", cs_code_text(CS_E_NOMEM));
	l->items = items;
	l->items[l->count++] = item;
	return 0;
}

static int set_number(const struct cs_opt *o, long *out, struct cs_error *err)
{
	char *end;
	long v;

	errno = 0;
	v = strtol(optarg, &end, 10);
	if (end == optarg || *end != '\0' || errno != 0 || v < o->lo || v > o->hi)
		return cs_fail(err, CS_E_USAGE, "--%s needs a number from %ld to %ld, not '%s'",
			       o->name, o->lo, o->hi, optarg);
	*out = v;
	return 0;
}

static int set_value(const struct cs_opt *o, void *values, struct cs_error *err)
{
	void *at = (char *)values + o->at;

	switch (o->kind) {
	case CS_OPT_FLAG:
		*(bool *)at = true;
		return 0;
	case CS_OPT_TEXT:
		*(const char **)at = optarg;
		return 0;
	case CS_OPT_LIST:
		return list_add(at, optarg, err);
	case CS_OPT_NUMBER:
		return set_number(o, at, err);
	case CS_OPT_END:
		break;
	}
	return 0;
}

static int refuse(const struct plan *p, int c, char **argv, struct cs_error *err)
{
	const char *word = argv[optind - 1];
	int i = optopt != 0 ? plan_find(p, optopt) : -1;

	if (i >= 0 && c == ':')
		return cs_fail(err, CS_E_USAGE, "option '--%s' needs an argument",
			       p->opts[i]->name);
	if (i >= 0)
		return cs_fail(err, CS_E_USAGE, "option '--%s' takes no argument",
			       p->opts[i]->name);
	if (optopt != 0)
		return cs_fail(err, CS_E_USAGE, "unknown option '-%c'", optopt);
	return cs_fail(err, CS_E_USAGE, "unknown option '%.*s'", (int)strcspn(word, "="), word);
}

int cs_opt_parse(const struct cs_opt_group *groups, size_t ngroups, bool in_order, int argc,
		 char **argv, int *first, struct cs_error *err)
{
	struct plan plan;
	int c;

	plan_make(&plan, groups, ngroups, in_order);
	opterr = 0;
	optind = 0; /* start over: this is not the first call */
	while ((c = getopt_long(argc, argv, plan.shorts, plan.longs, NULL)) != -1) {
		int i = c == '?' || c == ':' ? -1 : plan_find(&plan, c);
		int rc = i < 0 ? refuse(&plan, c, argv, err)
			       : set_value(plan.opts[i], plan.values[i], err);

		if (rc != 0)
			return rc;
	}
	*first = optind;
	return 0;
}

void cs_opt_release(const struct cs_opt *table, void *values)
{
	for (; table && table->kind != CS_OPT_END; table++) {
		if (table->kind == CS_OPT_LIST)
			free(((struct cs_opt_list *)((char *)values + table->at))->items);
	}
}

/* --- help */

void cs_opt_fold(const char *text, int indent, int column)
{
	while (*text != '\0') {
		int len = (int)strcspn(text, " ");

		if (column > indent && column + 1 + len > HELP_WIDTH) {
			putchar('\n');
			column = 0;
		}
		if (column < indent)
			column += printf("%*s", indent - column, "");
		else if (column > indent)
			column += printf(" ");
		column += printf("%.*s", len, text);
		text += len;
		text += strspn(text, " ");
	}
	putchar('\n');
}

void cs_opt_help(const struct cs_opt *table)
{
	for (; table && table->kind != CS_OPT_END; table++) {
		int column = table->letter ? printf("  -%c, ", table->letter) : printf("      ");

		column += printf("--%s", table->name);
		if (table->arg)
			column += printf(" %s", table->arg);
		if (column >= HELP_COLUMN - 1) {
			putchar('\n');
			column = 0;
		}
		cs_opt_fold(table->help, HELP_COLUMN, column);
	}
}
