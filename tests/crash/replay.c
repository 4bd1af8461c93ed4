/* SPDX-License-Identifier: MIT */
/*
 * replay - make what a crash would have left of a recorded store, and see
 * whether it is good.
 *
 *	replay mark LOG TEXT…          the script notes something in the log
 *	replay check STORE SOURCE [[may:]ID:DIGEST…]
 *	                               is this store good, with these points?
 *	replay show LOG                what happened, one line an operation or mark
 *	replay run LOG STORE SOURCE WORK [--cuts N] [--jobs N] [--seed N]
 *	           [--ignore-sync] [--only STATE] [--keep DIR]
 *
 * run goes through the life operation by operation (model.h). At each it makes
 * what a killed process leaves: all operations so far, and of a write that is
 * under way the first pages. Then what a power cut leaves: the sets of
 * operations that may be missing or torn. Only sets with the newest operation
 * are new; they are tried all if they are no more than N, else N are drawn. When
 * the script notes that a command has ended, what was promised has changed: the
 * sets are tried once more. STORE must be what the life left: it is compared.
 *
 * Marks (one text each):
 *	begin K            command K starts
 *	store              init has ended
 *	has ID DIGEST K    command K has stored this point
 *	change ID          the point may come or go from now on
 *	lacks ID           it is gone
 *	unknown            a commit has failed: its point, whose name nobody learned, may
 *	known              be there until a later commit has settled it
 *	note TEXT
 *
 * Status 0: all states are good. 1: one is not; its files are in DIR.
 */
#include "check.h"
#include "model.h"

#include <dirent.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#define STATE_SECONDS 120

/* Of all workers, in shared memory. */
struct tally {
	unsigned long crashes, cuts, kinds[LOG_KINDS];
	unsigned long exhausted, sampled; /* sets tried all, and drawn */
	int failed;
};

struct run {
	struct model model;
	struct check_want want;
	char command[200]; /* the note of the command that runs */
	const char *store, *source, *work, *keep;
	unsigned long cuts; /* at most so many a step */
	unsigned jobs, job;
	uint64_t seed;
	unsigned long state, only; /* number of the state at hand; the one to try */
	struct tally *tally;
};

/* ---- mark */

static int do_mark(int argc, char **argv)
{
	char text[1000] = "";
	for (int i = 1; i < argc; i++)
		snprintf(text + strlen(text), sizeof(text) - strlen(text), "%s%s", i > 1 ? " " : "",
			 argv[i]);
	struct log_record r = { .magic = LOG_MAGIC, .kind = LOG_MARK, .pid = (uint32_t)getpid(),
				.len = strlen(text) };
	struct iovec v[2] = { { &r, sizeof(r) }, { text, r.len } };
	int fd = open(argv[0], O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || flock(fd, LOCK_EX) != 0 ||
	    writev(fd, v, 2) != (ssize_t)(sizeof(r) + r.len))
		err(2, "%s", argv[0]);
	return 0;
}

/* ---- check */

static int do_check(int argc, char **argv)
{
	struct check_want want = { .store = true, .source = argv[1] };
	char why[CHECK_TEXT];
	for (int i = 2; i < argc; i++) {
		struct check_point *p = &want.points[want.npoints++];
		const char *s = argv[i];
		p->presence = strncmp(s, "may:", 4) == 0 ? CHECK_MAY : CHECK_HAS;
		s += p->presence == CHECK_MAY ? 4 : 0;
		if (want.npoints == CHECK_POINTS || strlen(s) != 65 || s[32] != ':')
			errx(2, "a point is ID:DIGEST, not %s", s);
		memcpy(p->id, s, 32);
		memcpy(p->digest, s + 33, 32);
	}
	if (check_store(argv[0], &want, why))
		return 0;
	printf("%s\n", why);
	return 1;
}

/* ---- show */

static int do_show(const char *log)
{
	struct model m = { 0 };
	char text[LOG_NAME_MAX + 100];
	model_load(&m, log);
	for (size_t i = 0; i < m.nops; i++) {
		model_describe(&m, i, text, sizeof(text));
		printf("%u %s\n", m.ops[i].pid, m.ops[i].text ? m.ops[i].text : text);
	}
	return 0;
}

/* ---- what is wanted, as the script noted it */

static struct check_point *point_of(struct run *r, const char *id)
{
	for (size_t i = 0; i < r->want.npoints; i++)
		if (strcmp(r->want.points[i].id, id) == 0)
			return &r->want.points[i];
	if (r->want.npoints == CHECK_POINTS)
		errx(2, "too many points");
	struct check_point *p = &r->want.points[r->want.npoints++];
	snprintf(p->id, sizeof(p->id), "%s", id);
	return p;
}

/* The points that a command will have stored may be there as soon as it starts. */
static void begin_command(struct run *r, const char *command)
{
	char id[CHECK_ID], digest[CHECK_ID], by[32];
	for (size_t i = r->model.done; i < r->model.nops; i++) {
		const char *text = r->model.ops[i].text;
		if (r->model.ops[i].kind != LOG_MARK ||
		    sscanf(text, "has %32s %32s %31s", id, digest, by) != 3 ||
		    strcmp(by, command) != 0)
			continue;
		struct check_point *p = point_of(r, id);
		p->presence = CHECK_MAY;
		snprintf(p->digest, sizeof(p->digest), "%s", digest);
	}
}

static void heed_mark(struct run *r, const char *text)
{
	char id[CHECK_ID], command[32];
	if (strcmp(text, "store") == 0)
		r->want.store = true;
	else if (strcmp(text, "unknown") == 0 || strcmp(text, "known") == 0)
		r->want.unknown = *text == 'u';
	else if (sscanf(text, "begin %31s", command) == 1)
		begin_command(r, command);
	else if (sscanf(text, "has %32s", id) == 1)
		point_of(r, id)->presence = CHECK_HAS;
	else if (sscanf(text, "change %32s", id) == 1)
		point_of(r, id)->presence = CHECK_MAY;
	else if (sscanf(text, "lacks %32s", id) == 1)
		point_of(r, id)->presence = CHECK_LACKS;
	else if (strncmp(text, "note ", 5) == 0)
		snprintf(r->command, sizeof(r->command), "%s", text + 5);
	else
		errx(2, "no such mark: %s", text);
}

/* ---- one state */

static void empty_dir(const char *dir)
{
	char path[4300];
	DIR *d = opendir(dir);
	if (!d && errno == ENOENT && mkdir(dir, 0700) == 0)
		return;
	if (!d)
		err(2, "%s", dir);
	for (struct dirent *e; (e = readdir(d));) {
		snprintf(path, sizeof(path), "%s/%s", dir, e->d_name);
		if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 &&
		    unlink(path) != 0)
			err(2, "%s", path);
	}
	closedir(d);
}

/* In a process of its own, which may die of it. */
static bool state_is_good(const struct run *r, const char *dir, char *why)
{
	char *shared = mmap(NULL, CHECK_TEXT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
			    -1, 0);
	int status;
	pid_t pid = shared == MAP_FAILED ? -1 : fork();
	if (pid < 0)
		err(2, "fork");
	if (pid == 0) {
		alarm(STATE_SECONDS);
		_exit(check_store(dir, &r->want, shared) ? 0 : 1);
	}
	if (waitpid(pid, &status, 0) != pid)
		err(2, "wait");
	if (WIFSIGNALED(status))
		snprintf(why, CHECK_TEXT, "killed by signal %d (%s)", WTERMSIG(status), shared);
	else
		snprintf(why, CHECK_TEXT, "%s", shared);
	munmap(shared, CHECK_TEXT);
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

static void describe_cut(const struct run *r, const struct cut *cut)
{
	size_t n = model_pending(&r->model, NULL, 0);
	size_t *ops = calloc(n + 1, sizeof(*ops));
	char text[LOG_NAME_MAX + 100];
	if (!ops)
		err(2, "memory");
	model_pending(&r->model, ops, n);
	printf("# power cut; %zu of %zu changes of names are there%s\n", cut->names,
	       r->model.nnames_pending, cut->grown ? ", sizes have grown" : "");
	for (size_t i = 0; i < n; i++) {
		model_describe(&r->model, ops[i], text, sizeof(text));
		printf("#   %s: %s\n",
		       !cut->take[i] ? "missing" : i == cut->torn ? "torn" : "there", text);
	}
	free(ops);
}

static void report(const struct run *r, const struct cut *cut, uint64_t part, uint64_t noise,
		   const char *why)
{
	char text[LOG_NAME_MAX + 100] = "the beginning";
	if (__atomic_exchange_n(&r->tally->failed, 1, __ATOMIC_SEQ_CST))
		return;
	if (r->model.done)
		model_describe(&r->model, r->model.done - 1, text, sizeof(text));
	printf("# state %lu, seed %llu, is not good: %s\n", r->state, (unsigned long long)r->seed,
	       why);
	printf("# during %s, after %s\n", r->command, text);
	if (cut)
		describe_cut(r, cut);
	else if (part)
		printf("# killed, with %llu bytes of the next write done\n",
		       (unsigned long long)part);
	if (r->keep) {
		empty_dir(r->keep);
		model_make(&r->model, cut, part, noise, r->keep);
		printf("# its files: %s\n", r->keep);
	}
	fflush(stdout);
}

/* The states are dealt to the workers in turn; each worker counts all of them. */
static void try_state(struct run *r, const struct cut *cut, uint64_t part)
{
	char why[CHECK_TEXT];
	uint64_t noise = r->seed ^ (r->state * 0x9e3779b97f4a7c15u);
	unsigned long mine = r->state++;
	if (r->only ? mine != r->only : mine % r->jobs != r->job)
		return;
	if (r->tally->failed)
		exit(1);
	__atomic_fetch_add(cut ? &r->tally->cuts : &r->tally->crashes, 1, __ATOMIC_SEQ_CST);
	empty_dir(r->work);
	bool store = model_make(&r->model, cut, part, noise, r->work);
	if (!store && !r->want.store)
		return; /* not even a directory */
	if (!store)
		snprintf(why, sizeof(why), "the store's directory is lost");
	if (!store || !state_is_good(r, r->work, why)) {
		r->state = mine;
		report(r, cut, part, noise, why);
		exit(1);
	}
}

/* ---- the power cuts of one moment */

struct cuts {
	struct run *run;
	size_t n;      /* changes of files that may be missing */
	size_t newest; /* SIZE_MAX, or the one that is in all sets */
	bool *take;
	uint64_t random;
};

static void try_cut(struct cuts *c, size_t names, size_t torn, bool grown)
{
	struct cut cut = { .take = c->take, .torn = torn, .torn_seed = model_random(&c->random),
			   .names = names, .grown = grown };
	try_state(c->run, &cut, 0);
}

/* The bits of set choose from all but the newest. */
static void choose(struct cuts *c, uint64_t set)
{
	for (size_t i = 0, bit = 0; i < c->n; i++)
		c->take[i] = i == c->newest || (set >> bit++ & 1);
}

static void draw(struct cuts *c)
{
	uint64_t how = model_random(&c->random) % 4;
	size_t but = c->n ? model_random(&c->random) % c->n : 0;
	for (size_t i = 0; i < c->n; i++)
		c->take[i] = i == c->newest || (how == 0 && i != but) ||
			     (how > 0 && (model_random(&c->random) & 3) >= how);
}

/* Is it in more than one sector? */
static bool tears(const struct op *op)
{
	return (op->kind == LOG_WRITE || op->kind == LOG_PUNCH) && op->len > 0 &&
	       op->off / MODEL_SECTOR != (op->off + (int64_t)op->len - 1) / MODEL_SECTOR;
}

static void try_cuts(struct run *r, size_t newest_op, bool newest_name)
{
	struct model *m = &r->model;
	size_t n = model_pending(m, NULL, 0), names = m->nnames_pending;
	size_t *ops = calloc(n + 1, sizeof(*ops));
	struct cuts c = { r, n, SIZE_MAX, calloc(n + 1, sizeof(bool)),
			  r->seed ^ (m->done << 20) };
	if (!ops || !c.take)
		err(2, "memory");
	model_pending(m, ops, n);
	for (size_t i = 0; i < n; i++)
		if (ops[i] == newest_op)
			c.newest = i;
	size_t free_bits = n - (c.newest != SIZE_MAX);
	size_t first_name = newest_name ? names : 0; /* a new name is in all sets */
	if (free_bits < 30 && (1u << free_bits) * (names - first_name + 1) <= r->cuts) {
		r->tally->exhausted += r->job == 0;
		for (size_t p = first_name; p <= names; p++)
			for (uint64_t set = 0; set < 1u << free_bits; set++) {
				choose(&c, set);
				try_cut(&c, p, SIZE_MAX, false);
			}
	} else {
		r->tally->sampled += r->job == 0;
		for (unsigned long i = 0; i < r->cuts; i++) {
			draw(&c);
			try_cut(&c, first_name + model_random(&c.random) % (names - first_name + 1),
				SIZE_MAX, model_random(&c.random) % 4 == 0);
		}
	}
	if (c.newest != SIZE_MAX && tears(&m->ops[newest_op]))
		for (unsigned long i = 0; i < (r->cuts + 3) / 4; i++) {
			draw(&c); /* the newest in part, with any set of the others */
			try_cut(&c, names, c.newest, false);
		}
	free(ops);
	free(c.take);
}

/* ---- the life */

/* A process that is killed in a write has written its first pages. */
static void try_parts(struct run *r, const struct op *op)
{
	uint64_t s = r->seed ^ r->model.done, pages = op->len / 4096;
	if (op->kind != LOG_WRITE || pages < 2)
		return;
	for (int i = 0; i < 2; i++)
		try_state(r, NULL, (1 + model_random(&s) % (pages - 1)) * 4096);
}

static void live_step(struct run *r)
{
	struct model *m = &r->model;
	size_t at = m->done, names = m->nnames_pending;
	const struct op *op = &m->ops[at];
	if (op->kind == LOG_MARK) {
		m->done++;
		heed_mark(r, op->text);
		if (model_pending(m, NULL, 0) || m->nnames_pending)
			try_cuts(r, SIZE_MAX, false);
		return;
	}
	r->tally->kinds[op->kind] += r->job == 0;
	try_parts(r, op);
	model_step(m);
	try_state(r, NULL, 0);
	if (op->kind != LOG_SYNC)
		try_cuts(r, at, m->nnames_pending > names);
	model_return(m);
}

static int live(struct run *r)
{
	while (r->model.done < r->model.nops)
		live_step(r);
	if (!model_equals(&r->model, r->store, "data.mdb")) {
		printf("# the log is not complete: it does not lead to what is in %s\n", r->store);
		return 2;
	}
	return 0;
}

/* ---- run */

static const struct option options[] = {
	{ "cuts", required_argument, NULL, 'c' }, { "jobs", required_argument, NULL, 'j' },
	{ "seed", required_argument, NULL, 's' }, { "ignore-sync", no_argument, NULL, 'i' },
	{ "only", required_argument, NULL, 'o' }, { "keep", required_argument, NULL, 'k' },
	{ NULL, 0, NULL, 0 },
};

static int start_jobs(struct run *r)
{
	char work[4200];
	int status, worst = 0;
	for (unsigned i = 0; i < r->jobs; i++) {
		pid_t pid = fork();
		if (pid < 0)
			err(2, "fork");
		if (pid == 0) {
			r->job = i;
			snprintf(work, sizeof(work), "%s/%u", r->work, i);
			r->work = work;
			exit(live(r));
		}
	}
	while (wait(&status) > 0) {
		int code = WIFEXITED(status) ? WEXITSTATUS(status) : 2;
		worst = code > worst ? code : worst;
	}
	return worst;
}

static void print_tally(const struct run *r)
{
	const struct tally *t = r->tally;
	printf("# operations:");
	for (int i = 1; i < LOG_KINDS; i++)
		if (t->kinds[i])
			printf(" %lu %s", t->kinds[i], log_kind_name((uint32_t)i));
	printf("\n# seed %llu: %lu states of a killed process, %lu of a power cut "
	       "(all sets tried at %lu moments, drawn at %lu)\n",
	       (unsigned long long)r->seed, t->crashes, t->cuts, t->exhausted, t->sampled);
}

static int do_run(int argc, char **argv)
{
	static struct run r = { .cuts = 16, .jobs = 1, .seed = 1 }; /* with its model until the end */
	for (int c; (c = getopt_long(argc, argv, "", options, NULL)) != -1;) {
		switch (c) {
		case 'c': r.cuts = strtoul(optarg, NULL, 10); break;
		case 'j': r.jobs = (unsigned)strtoul(optarg, NULL, 10); break;
		case 's': r.seed = strtoull(optarg, NULL, 10); break;
		case 'i': r.model.ignore_sync = true; break;
		case 'o': r.only = strtoul(optarg, NULL, 10); break;
		case 'k': r.keep = optarg; break;
		default: return 2;
		}
	}
	if (argc - optind != 4)
		errx(2, "run LOG STORE SOURCE WORK");
	r.store = argv[optind + 1];
	r.want.source = r.source = argv[optind + 2];
	r.work = argv[optind + 3];
	r.tally = mmap(NULL, sizeof(*r.tally), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		       -1, 0);
	if (r.tally == MAP_FAILED)
		err(2, "memory");
	model_load(&r.model, argv[optind]);
	fflush(stdout);
	int worst = start_jobs(&r);
	print_tally(&r);
	return worst;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";
	if (strcmp(verb, "mark") == 0 && argc > 3)
		return do_mark(argc - 2, argv + 2);
	if (strcmp(verb, "check") == 0 && argc > 3)
		return do_check(argc - 2, argv + 2);
	if (strcmp(verb, "show") == 0 && argc == 3)
		return do_show(argv[2]);
	if (strcmp(verb, "run") == 0)
		return do_run(argc - 1, argv + 1);
	errx(2, "mark, check, show or run: see the head of replay.c");
}
