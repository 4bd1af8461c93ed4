/* SPDX-License-Identifier: MIT */
/*
 * cmd_forget.c - take points out of the list, by name or by a policy.
 *
 * First everything is decided, then it is done: a point that does not exist or
 * an option that is wrong leaves all points where they are. What is done is
 * told point by point, when it is durable, so that after a failure or a signal
 * the output says exactly how far it got.
 */
#include "cli.h"
#include "duration.h"
#include "policy.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct forget_values {
	long count[CS_RULE_YEARLY + 1];
	const char *within;
	struct cs_opt_list keep_tags, tags, series;
	bool all_series, purge, allow_empty, dry_run, json, quiet;
};

#define AT(field) offsetof(struct forget_values, field)
#define KEEP(letter, name, rule, help) \
	{ CS_OPT_NUMBER, letter, name, "N", AT(count[rule]), help, 0, 1000000 }
static const struct cs_opt forget_options[] = {
	KEEP('l', "keep-last", CS_RULE_LAST, "keep the last N points"),
	KEEP('H', "keep-hourly", CS_RULE_HOURLY, "keep the newest of each of the last N hours"),
	KEEP('d', "keep-daily", CS_RULE_DAILY, "keep the newest of each of the last N days"),
	KEEP('w', "keep-weekly", CS_RULE_WEEKLY, "keep the newest of each of the last N weeks"),
	KEEP('m', "keep-monthly", CS_RULE_MONTHLY, "keep the newest of each of the last N months"),
	KEEP('y', "keep-yearly", CS_RULE_YEARLY, "keep the newest of each of the last N years"),
	{ CS_OPT_TEXT, 0, "keep-within", "DURATION", AT(within),
	  "keep what came within DURATION (36h, 7d, 4w, 1y) before the newest point", 0, 0 },
	{ CS_OPT_LIST, 0, "keep-tag", "TAG", AT(keep_tags),
	  "keep the points with this tag; may be repeated", 0, 0 },
	{ CS_OPT_LIST, 'S', "series", "SERIES", AT(series),
	  "apply the policy to this series; may be repeated", 0, 0 },
	{ CS_OPT_FLAG, 0, "all-series", NULL, AT(all_series), "apply it to each series", 0, 0 },
	{ CS_OPT_LIST, 't', "tag", "TAG", AT(tags),
	  "apply it to points with this tag alone; may be repeated", 0, 0 },
	{ CS_OPT_FLAG, 0, "allow-empty", NULL, AT(allow_empty),
	  "let the policy take the last point of a series, too", 0, 0 },
	{ CS_OPT_FLAG, 0, "purge", NULL, AT(purge),
	  "for good: nothing brings them back; also what is in the trash already", 0, 0 },
	{ CS_OPT_FLAG, 'n', "dry-run", NULL, AT(dry_run),
	  "only say what would be done, and why", 0, 0 },
	{ CS_OPT_FLAG, 0, "json", NULL, AT(json), "print a JSON array", 0, 0 },
	{ CS_OPT_FLAG, 'q', "quiet", NULL, AT(quiet), "print nothing but errors", 0, 0 },
	{ .kind = CS_OPT_END },
};
#undef AT

#define NOT_TOLD (-1)

/* A point that was named, or that the policy is about. */
struct candidate {
	char series[CS_SERIES_MAX + 1], name[CS_POINT_NAME_MAX + 1], id[33];
	uint64_t seq;
	struct cs_time received;
	struct cs_policy_item decision;
	int fate; /* enum cs_fate, or NOT_TOLD */
	int64_t until;
};

struct forget {
	struct cs_cli *cli;
	const struct forget_values *v;
	struct cs_error *err;
	struct cs_policy policy;
	bool by_policy;
	struct candidate *list;
	size_t count, room;
	/* the series that is being looked at: list[first] on, and what --tag leaves out of it */
	size_t first, others;
	/* those to be forgotten, and where they are in list */
	uint64_t *seqs;
	size_t *where, nseqs;
	size_t done, absent;
};

static int no_memory(struct cs_error *err)
{
	return cs_fail(err, CS_E_NOMEM, "%s", cs_code_text(CS_E_NOMEM));
}

static int add(struct forget *f, const struct cs_point *p, const char *tag)
{
	if (f->count == f->room) {
		size_t room = f->room ? 2 * f->room : 64;
		void *list = reallocarray(f->list, room, sizeof(*f->list));

		if (!list)
			return no_memory(f->err);
		f->list = list;
		f->room = room;
	}
	struct candidate *c = &f->list[f->count++];

	memset(c, 0, sizeof(*c));
	memcpy(c->series, p->series, sizeof(c->series));
	memcpy(c->name, p->name, sizeof(c->name));
	memcpy(c->id, p->id, sizeof(c->id));
	c->seq = p->seq;
	c->received = p->received;
	c->decision = (struct cs_policy_item){ .received = p->received.sec, .tag = tag };
	c->fate = NOT_TOLD;
	return 0;
}

/* --- points by name */

/* "web01" is the newest point of web01 elsewhere; to forget that, it must be said. */
static int named_on_purpose(struct cs_cli *cli, const char *arg, const struct cs_point *p,
			    struct cs_error *err)
{
	if (strcmp(arg, p->series) != 0)
		return 0;
	return cs_cli_misuse(cli, err, "'%s' is a series: say %s/latest, or %s/NAME", arg, arg,
			     arg);
}

static int choose_named(struct forget *f, int argc, char **argv)
{
	struct cs_point p;

	for (int i = 0; i < argc; i++) {
		size_t k = 0;
		int rc = cs_cli_whole_point(f->cli, argv[i], f->v->purge, &p, f->err);

		if (rc == 0)
			rc = named_on_purpose(f->cli, argv[i], &p, f->err);
		while (rc == 0 && k < f->count && f->list[k].seq != p.seq)
			k++;
		if (rc == 0 && k == f->count)
			rc = add(f, &p, NULL);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* --- points by policy */

static const char *tag_among(const struct cs_point *p, const struct cs_opt_list *tags)
{
	for (size_t i = 0; i < tags->count; i++) {
		for (unsigned k = 0; k < p->ntags; k++) {
			if (strcmp(tags->items[i], p->tags[k]) == 0)
				return tags->items[i];
		}
	}
	return NULL;
}

static int by_receipt(const void *a, const void *b)
{
	const struct candidate *x = a, *y = b;

	return (x->seq > y->seq) - (x->seq < y->seq);
}

/* All points of a series are there: decide. */
static int decide(struct forget *f)
{
	size_t n = f->count - f->first;
	struct candidate *list = f->list + f->first;
	struct cs_policy_item *items = calloc(n + 1, sizeof(*items));

	if (!items)
		return no_memory(f->err);
	if (n > 0)
		qsort(list, n, sizeof(*list), by_receipt);
	for (size_t i = 0; i < n; i++)
		items[i] = list[i].decision;
	bool decided = cs_policy_decide(&f->policy, items, n, f->others > 0, time(NULL));
	for (size_t i = 0; i < n; i++)
		list[i].decision = items[i];
	free(items);
	f->first = f->count;
	f->others = 0;
	return decided ? 0 : no_memory(f->err);
}

static int gather(void *arg, const struct cs_point *p)
{
	struct forget *f = arg;

	if (f->v->tags.count > 0 && !tag_among(p, &f->v->tags)) {
		f->others++;
		return 0;
	}
	return add(f, p, tag_among(p, &f->v->keep_tags));
}

static int choose_of_series(void *arg, const struct cs_series *s)
{
	struct forget *f = arg;
	int rc = cs_cli_each_point(f->cli, s->name, false, gather, f, f->err);

	return rc == 0 ? decide(f) : rc;
}

static int choose_by_policy(struct forget *f)
{
	const struct cs_opt_list *series = &f->v->series;
	struct cs_series s;

	if (f->v->all_series)
		return cs_series_list(f->cli->store, choose_of_series, f, f->err);
	for (size_t i = 0; i < series->count; i++) {
		size_t k = 0;
		int rc = cs_series_get(f->cli->store, series->items[i], 0, &s, f->err);

		while (rc == 0 && strcmp(series->items[k], series->items[i]) != 0)
			k++;
		if (rc == 0 && k == i) /* not named before */
			rc = choose_of_series(f, &s);
		if (rc != 0)
			return rc;
	}
	return 0;
}

/* --- output */

static void print_reasons(struct forget *f, const struct candidate *c)
{
	char text[CS_POLICY_TEXT];
	bool first = true;

	for (int rule = 0; rule < CS_RULES; rule++) {
		if (!cs_policy_reason(&f->policy, &c->decision, (enum cs_rule)rule, text))
			continue;
		cs_out_printf(&f->cli->out, first ? "" : ", ");
		cs_out_name(&f->cli->out, text, strlen(text));
		first = false;
	}
}

static void print_plan(struct forget *f)
{
	struct cs_out *o = &f->cli->out;
	const char *verb = f->v->purge ? "purge" : "forget";
	char when[CS_OUT_TEXT];
	int width = 0;

	for (size_t i = 0; i < f->count; i++) {
		int len = (int)(strlen(f->list[i].series) + 1 + strlen(f->list[i].name));

		width = width < len ? len : width;
	}
	for (size_t i = 0; i < f->count; i++) {
		const struct candidate *c = &f->list[i];
		int len = (int)strlen(c->series) + 1;

		cs_out_printf(o, "%-6s  %s/%-*s  %.8s  %s", c->decision.kept_by ? "keep" : verb,
			      c->series, width - len, c->name, c->id,
			      cs_out_time(c->received, false, when));
		cs_out_printf(o, f->by_policy ? "  " : "");
		print_reasons(f, c);
		cs_out_printf(o, "\n");
	}
}

static int print_json(struct forget *f, struct cs_error *err)
{
	struct cs_json *j = &f->cli->json;
	char text[CS_POLICY_TEXT];
	int rc = 0;

	cs_json_array(j, &f->cli->out, NULL);
	for (size_t i = 0; rc == 0 && i < f->count; i++) {
		const struct candidate *c = &f->list[i];
		bool done = c->fate == CS_FATE_DONE;

		cs_json_object(j, NULL);
		cs_json_text(j, "series", c->series);
		cs_json_text(j, "name", c->name);
		cs_json_text(j, "id", c->id);
		cs_json_number(j, "number", c->seq);
		cs_json_time(j, "received", c->received);
		cs_json_text(j, "action", c->decision.kept_by ? "keep" :
					  f->v->purge ? "purge" : "forget");
		cs_json_append(j, "reasons", NULL);
		for (int rule = 0; rule < CS_RULES; rule++) {
			if (cs_policy_reason(&f->policy, &c->decision, (enum cs_rule)rule, text))
				cs_json_append(j, "reasons", text);
		}
		cs_json_bool(j, "done", done);
		if (done && !f->v->purge)
			cs_json_time(j, "until", (struct cs_time){ c->until, 0 });
		rc = cs_json_put(j, err);
	}
	if (rc == 0)
		cs_json_array_end(j);
	return rc;
}

static void print_done(struct forget *f, const struct candidate *c)
{
	struct cs_out *o = &f->cli->out;
	char when[CS_OUT_TEXT];

	cs_out_printf(o, "%s %s/%s  id %.8s", f->v->purge ? "purged" : "forgot", c->series, c->name,
		      c->id);
	if (!f->v->purge && c->until == 0)
		cs_out_printf(o, ", in the trash until the next gc");
	else if (!f->v->purge)
		cs_out_printf(o, ", in the trash until %s",
			      cs_out_time((struct cs_time){ c->until, 0 }, false, when));
	cs_out_printf(o, "\n");
}

static void on_told(void *arg, size_t i, int fate, int64_t until)
{
	struct forget *f = arg;
	struct candidate *c = &f->list[f->where[i]];

	c->fate = fate;
	c->until = until;
	f->done += fate == CS_FATE_DONE;
	f->absent += fate == CS_FATE_ABSENT;
	if (f->v->json || f->v->quiet)
		return;
	if (fate == CS_FATE_DONE)
		print_done(f, c);
	else if (fate == CS_FATE_KEPT)
		cs_out_printf(&f->cli->out, "kept %s/%s: its series would be empty\n", c->series,
			      c->name);
}

static int on_stopped(void *arg)
{
	(void)arg;
	return cs_progress_stopped();
}

/* --- doing it */

static int forget_chosen(struct forget *f)
{
	const struct cs_forget_opts opts = {
		.purge = f->v->purge, .keep_last = f->by_policy && !f->v->allow_empty,
		.told = on_told, .stopped = on_stopped, .arg = f,
	};
	int rc = cs_points_forget(f->cli->store, f->seqs, f->nseqs, &opts, f->err);

	if (rc == 0 && f->absent > 0 && !f->by_policy)
		return cs_fail(f->err, CS_E_NOTFOUND,
			       "%zu of %zu points had been forgotten by somebody else", f->absent,
			       f->nseqs);
	if (rc != 0 && rc != CS_E_INTERRUPTED && f->done > 0 && f->err) {
		size_t len = strlen(f->err->text);

		snprintf(f->err->text + len, sizeof(f->err->text) - len,
			 "; %zu of %zu points were forgotten before", f->done, f->nseqs);
	}
	return rc;
}

static int collect_seqs(struct forget *f)
{
	f->seqs = calloc(f->count + 1, sizeof(*f->seqs));
	f->where = calloc(f->count + 1, sizeof(*f->where));
	if (!f->seqs || !f->where)
		return no_memory(f->err);
	for (size_t i = 0; i < f->count; i++) {
		if (f->list[i].decision.kept_by)
			continue;
		f->where[f->nseqs] = i;
		f->seqs[f->nseqs++] = f->list[i].seq;
	}
	return 0;
}

static int act(struct forget *f)
{
	bool dry = f->v->dry_run, text = !f->v->json && !f->v->quiet;
	int rc = collect_seqs(f), printed = 0;

	if (rc != 0)
		return rc;
	if (dry && text)
		print_plan(f);
	if (!dry)
		rc = forget_chosen(f);
	if (f->v->json)
		printed = print_json(f, rc ? NULL : f->err);
	else if (text && f->by_policy && rc == 0)
		cs_out_printf(&f->cli->out, "%s%s %zu of %zu points\n", dry ? "would " : "",
			      dry ? (f->v->purge ? "purge" : "forget") :
				    (f->v->purge ? "purged" : "forgot"),
			      dry ? f->nseqs : f->done, f->count);
	return rc != 0 ? rc : printed;
}

/* --- what is too damaged to have a name: number:N */

static bool is_number(const char *arg, uint64_t *out)
{
	static const char prefix[] = "number:";
	char *end;

	if (strncmp(arg, prefix, sizeof(prefix) - 1) != 0 || arg[sizeof(prefix) - 1] < '0' ||
	    arg[sizeof(prefix) - 1] > '9')
		return false;
	*out = strtoull(arg + sizeof(prefix) - 1, &end, 10);
	return *end == '\0';
}

/* Give up points by number, each for itself. */
static int give_up(struct forget *f, int argc, char **argv)
{
	uint64_t seq;

	for (int i = 0; i < argc; i++) {
		if (!is_number(argv[i], &seq))
			return cs_cli_misuse(f->cli, f->err,
					     "points by number and others exclude each other");
		if (f->v->dry_run || f->v->json)
			return cs_cli_misuse(f->cli, f->err,
					     "a point by number is only purged, without --dry-run "
					     "and --json");
		int rc = cs_point_give_up(f->cli->store, seq, f->err);
		if (rc != 0)
			return rc;
		if (!f->v->quiet)
			cs_out_printf(&f->cli->out, "purged point number %" PRIu64 "\n", seq);
	}
	return 0;
}

/* --- the command line */

static int read_policy(struct forget *f)
{
	const struct forget_values *v = f->v;
	struct cs_policy *p = &f->policy;

	memcpy(p->count, v->count, sizeof(p->count));
	p->by_tag = v->keep_tags.count > 0;
	p->allow_empty = v->allow_empty;
	if (v->within && !cs_duration_parse(v->within, &p->within))
		return cs_cli_misuse(f->cli, f->err,
				     "--keep-within needs a duration such as 36h, 7d, 4w or 1y, "
				     "not '%s'", v->within);
	return 0;
}

static int check_use(struct forget *f, int argc)
{
	const struct forget_values *v = f->v;
	bool rule = cs_policy_has_rule(&f->policy);
	bool policy = rule || v->within || v->series.count > 0 || v->all_series ||
		      v->tags.count > 0 || v->allow_empty;

	if (argc > 0 && policy)
		return cs_cli_misuse(f->cli, f->err, "POINTs and a policy exclude each other");
	if (argc == 0 && !policy)
		return cs_cli_misuse(f->cli, f->err,
				     "say what to forget: POINTs, or a policy with --keep-...");
	f->by_policy = policy;
	if (policy && !rule)
		return cs_cli_misuse(f->cli, f->err,
				     "a policy without --keep-... would forget everything");
	if (policy && v->all_series && v->series.count > 0)
		return cs_cli_misuse(f->cli, f->err, "--series and --all-series exclude each other");
	if (policy && !v->all_series && v->series.count == 0)
		return cs_cli_misuse(f->cli, f->err,
				     "say what the policy is about: --series, or --all-series");
	return 0;
}

static int run_forget(struct cs_cli *cli, const void *values, int argc, char **argv,
		      struct cs_error *err)
{
	struct forget f = { .cli = cli, .v = values, .err = err };
	uint64_t number;
	int rc = read_policy(&f);

	if (rc == 0)
		rc = check_use(&f, argc);
	if (rc == 0)
		rc = cs_cli_open(cli, f.v->dry_run ? CS_OPEN_READ : CS_OPEN_WRITE, err);
	if (rc == 0 && f.v->purge && argc > 0 && is_number(argv[0], &number))
		return give_up(&f, argc, argv);
	if (rc == 0)
		rc = f.by_policy ? choose_by_policy(&f) : choose_named(&f, argc, argv);
	if (rc == 0)
		rc = act(&f);
	free(f.list);
	free(f.seqs);
	free(f.where);
	return rc;
}

const struct cs_command cs_cmd_forget = {
	.name = "forget",
	.operands = "[POINT...]",
	.summary = "move points to the trash, by name or by a policy",
	.details = "Take points out of the list: those that are named, or those that none of the "
		   "--keep rules keeps. They stay in the trash for the time that 'chunkstore config "
		   "trash' shows; until then undelete brings them back, and afterwards gc frees "
		   "their space. Everything is looked up first: if a point does not exist, none is "
		   "forgotten. A policy goes by the time at which the store received a point.",
	.options = forget_options,
	.values_size = sizeof(struct forget_values),
	.max_operands = -1,
	.acts = true,
	.run = run_forget,
};
