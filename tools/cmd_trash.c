/* SPDX-License-Identifier: MIT */
/*
 * cmd_trash.c - undelete, and the list of what could be brought back.
 */
#include "cli.h"
#include "cmd_trash.h"
#include "describe.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

/* --- list --trash */

struct list {
	struct cs_cli *cli;
	const struct cs_trash_view *view;
	int width;
	struct cs_error *err;
};

static int widen(void *arg, const struct cs_point *p, int64_t until)
{
	struct list *l = arg;
	int len = (int)(strlen(p->series) + 1 + strlen(p->name));

	(void)until;
	if (l->width < len)
		l->width = len;
	return 0;
}

static int list_point(void *arg, const struct cs_point *p, int64_t until)
{
	struct list *l = arg;
	struct cs_out *o = &l->cli->out;
	bool utc = l->view->utc;
	const struct cs_time end = { until, 0 };
	char when[CS_OUT_TEXT], gone[CS_OUT_TEXT], size[CS_OUT_TEXT];

	if (l->view->json) {
		cs_json_object(&l->cli->json, NULL);
		cs_describe_point(&l->cli->json, p);
		cs_json_time(&l->cli->json, "until", end);
		cs_json_bool(&l->cli->json, "due", until <= l->view->now);
		return cs_json_put(&l->cli->json, l->err);
	}
	cs_out_printf(o, "%s/%-*s  %.8s  %s %9" PRIu64 " %8s  %s\n", p->series,
		      l->width - (int)strlen(p->series) - 1, p->name, p->id,
		      cs_out_time(p->started, utc, when), p->totals.entries,
		      cs_out_size(p->totals.bytes, size),
		      until <= l->view->now ? "next gc" : cs_out_time(end, utc, gone));
	return cs_out_check(o, l->err);
}

int cs_trash_show(struct cs_cli *cli, const char *series, const struct cs_trash_view *view,
		  struct cs_error *err)
{
	struct list l = { cli, view, 0, err };
	int rc = view->json ? 0 : cs_trash_list(cli->store, series, widen, &l, err);

	if (rc != 0)
		return rc;
	if (view->json)
		cs_json_array(&cli->json, &cli->out, NULL);
	else if (cli->out.tty && l.width > 0)
		cs_out_printf(&cli->out, "%-*s  %-8s  %-19s %9s %8s  %s\n", l.width, "POINT", "ID",
			      "TIME", "ENTRIES", "SIZE", "UNTIL");
	rc = cs_trash_list(cli->store, series, list_point, &l, err);
	if (rc == 0 && view->json)
		cs_json_array_end(&cli->json);
	return rc;
}

/* --- undelete */

struct undelete {
	struct cs_cli *cli;
	struct cs_point *points;
	size_t absent;
};

static void on_told(void *arg, size_t i, int fate, int64_t until)
{
	struct undelete *u = arg;
	const struct cs_point *p = &u->points[i];

	(void)until;
	if (fate == CS_FATE_DONE)
		cs_out_printf(&u->cli->out, "brought back %s/%s  id %.8s\n", p->series, p->name,
			      p->id);
	else
		u->absent++;
}

static int on_stopped(void *arg)
{
	(void)arg;
	return cs_progress_stopped();
}

static int find_all(struct cs_cli *cli, int argc, char **argv, struct cs_point *points,
		    uint64_t *seqs, size_t *count, struct cs_error *err)
{
	for (int i = 0; i < argc; i++) {
		size_t k = 0;
		int rc = cs_trash_find(cli->store, argv[i], &points[*count], err);

		if (rc != 0)
			return rc;
		while (k < *count && seqs[k] != points[*count].seq)
			k++;
		if (k == *count) {
			seqs[k] = points[k].seq;
			(*count)++;
		}
	}
	return 0;
}

static int run_undelete(struct cs_cli *cli, const void *values, int argc, char **argv,
			struct cs_error *err)
{
	struct undelete u = { cli, calloc((size_t)argc, sizeof(*u.points)), 0 };
	const struct cs_forget_opts opts = { .told = on_told, .stopped = on_stopped, .arg = &u };
	uint64_t *seqs = calloc((size_t)argc, sizeof(*seqs));
	size_t count = 0;
	int rc = u.points && seqs ? 0 : cs_fail(err, CS_E_NOMEM, "%s", cs_code_text(CS_E_NOMEM));

	(void)values;
	if (rc == 0)
		rc = cs_cli_open(cli, CS_OPEN_WRITE, err);
	if (rc == 0)
		rc = find_all(cli, argc, argv, u.points, seqs, &count, err);
	if (rc == 0)
		rc = cs_points_undelete(cli->store, seqs, count, &opts, err);
	if (rc == 0 && u.absent > 0)
		rc = cs_fail(err, CS_E_NOTFOUND, "%zu of %zu points were not in the trash any more",
			     u.absent, count);
	free(u.points);
	free(seqs);
	return rc;
}

const struct cs_command cs_cmd_undelete = {
	.name = "undelete",
	.operands = "POINT...",
	.summary = "bring points back from the trash",
	.details = "Bring forgotten points back, exactly as they were: the same names, ids and "
		   "contents. 'chunkstore list --trash' shows what is in the trash. All points are "
		   "looked up first: if one is not there, none is brought back.",
	.min_operands = 1,
	.max_operands = -1,
	.acts = true,
	.run = run_undelete,
};
