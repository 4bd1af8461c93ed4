/* SPDX-License-Identifier: MIT */
#include "store/alloc.h"
#include "store/sorter.h"
#include "util.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define TINY ((size_t)4 << 10)

static char scratch[64];

struct record {
	uint8_t *data;
	size_t len;
};

struct records {
	struct record *v;
	size_t n;
};

/* Lengths from 0 on, now and then the longest; a few letters, so that many are equal or nearly so. */
static struct records random_records(struct rng *r, size_t n)
{
	struct records all = { (struct record *)calloc(n ? n : 1, sizeof(struct record)), n };

	assert_non_null(all.v);
	for (size_t i = 0; i < n; i++) {
		size_t len = (size_t)rng_below(r, rng_below(r, 8) ? 6 : 300);

		if (rng_below(r, 200) == 0)
			len = CS_SORTER_RECORD_MAX;
		all.v[i].len = len;
		all.v[i].data = (uint8_t *)malloc(len ? len : 1);
		assert_non_null(all.v[i].data);
		for (size_t k = 0; k < len; k++)
			all.v[i].data[k] = (uint8_t)("\0a\x7f\x80\xff"[rng_below(r, 5)]);
	}
	return all;
}

static void free_records(struct records *all)
{
	for (size_t i = 0; i < all->n; i++)
		free(all->v[i].data);
	free(all->v);
}

static int by_bytes(const void *a, const void *b)
{
	const struct record *x = (const struct record *)a, *y = (const struct record *)b;
	int d = memcmp(x->data, y->data, x->len < y->len ? x->len : y->len);

	return d ? d : (x->len > y->len) - (x->len < y->len);
}

static void drop_equal(struct records *all)
{
	size_t kept = 0;

	for (size_t i = 0; i < all->n; i++) {
		if (kept && by_bytes(&all->v[kept - 1], &all->v[i]) == 0)
			free(all->v[i].data);
		else
			all->v[kept++] = all->v[i];
	}
	all->n = kept;
}

static void add_all(struct cs_sorter *s, const struct records *all)
{
	for (size_t i = 0; i < all->n; i++)
		assert_int_equal(cs_sorter_add(s, all->v[i].data, all->v[i].len, NULL), CS_OK);
}

/* The next n records are want's; what was given out is still there when it is compared. */
static void expect(struct cs_sorter *s, const struct records *want, size_t n)
{
	const void *data;
	size_t len;

	for (size_t i = 0; i < n; i++) {
		assert_int_equal(cs_sorter_next(s, &data, &len, NULL), 1);
		if (len != want->v[i].len || memcmp(data, want->v[i].data, len) != 0)
			fail_msg("record %zu of %zu is not the right one", i, want->n);
	}
	if (n < want->n)
		return;
	assert_int_equal(cs_sorter_next(s, &data, &len, NULL), 0);
	assert_int_equal(cs_sorter_next(s, &data, &len, NULL), 0);
}

static size_t files_in(const char *dir)
{
	DIR *d = opendir(dir);
	size_t n = 0;

	assert_non_null(d);
	for (struct dirent *e; (e = readdir(d));)
		n += e->d_name[0] != '.';
	closedir(d);
	return n;
}

static void any_records_come_out_in_order(void **state)
{
	static const size_t counts[] = { 0, 1, 2, 3, 100, 5000, 30000 };
	static const size_t budgets[] = { 0, TINY, 100000, (size_t)64 << 20 };
	struct rng r = rng_start();

	(void)state;
	for (size_t c = 0; c < sizeof(counts) / sizeof(counts[0]); c++) {
		for (size_t b = counts[c] > 5000; b < sizeof(budgets) / sizeof(budgets[0]); b++) {
			struct records all = random_records(&r, counts[c]);
			struct cs_sorter s;

			cs_sorter_init(&s, scratch, budgets[b]);
			add_all(&s, &all);
			assert_int_equal(cs_sorter_sort(&s, NULL), CS_OK);
			qsort(all.v, all.n, sizeof(*all.v), by_bytes);
			expect(&s, &all, all.n);
			cs_sorter_release(&s);
			cs_sorter_release(&s);
			free_records(&all);
		}
	}
}

static void equal_records_come_once_when_asked(void **state)
{
	struct rng r = rng_start();

	(void)state;
	for (int big = 0; big < 2; big++) {
		struct records all = random_records(&r, 20000);
		struct cs_sorter s;

		cs_sorter_init(&s, scratch, big ? (size_t)64 << 20 : TINY);
		s.unique = true;
		add_all(&s, &all);
		assert_int_equal(cs_sorter_sort(&s, NULL), CS_OK);
		qsort(all.v, all.n, sizeof(*all.v), by_bytes);
		drop_equal(&all);
		assert_true(all.n < 19000);
		expect(&s, &all, all.n);
		/* and once more from the first, which equals none before it */
		assert_int_equal(cs_sorter_sort(&s, NULL), CS_OK);
		expect(&s, &all, all.n);
		cs_sorter_release(&s);
		free_records(&all);
	}
}

static void reading_can_begin_anew_at_any_time(void **state)
{
	struct rng r = rng_start();

	(void)state;
	for (int big = 0; big < 2; big++) {
		struct records all = random_records(&r, 4000);
		struct cs_sorter s;

		cs_sorter_init(&s, scratch, big ? (size_t)64 << 20 : TINY);
		add_all(&s, &all);
		qsort(all.v, all.n, sizeof(*all.v), by_bytes);
		for (int i = 0; i < 20; i++) {
			assert_int_equal(cs_sorter_sort(&s, NULL), CS_OK);
			expect(&s, &all, (size_t)rng_below(&r, all.n));
		}
		assert_int_equal(cs_sorter_sort(&s, NULL), CS_OK);
		expect(&s, &all, all.n);
		cs_sorter_release(&s);
		free_records(&all);
	}
}

static void memory_stays_within_the_budget(void **state)
{
	struct cs_sorter s;
	uint8_t rec[28] = { 0 };
	size_t budget = (size_t)1 << 20;

	(void)state;
	cs_sorter_init(&s, scratch, budget);
	for (uint32_t i = 0; i < 400000; i++) {
		uint32_t v = i * 2654435761u;

		memcpy(rec, &v, sizeof(v));
		assert_int_equal(cs_sorter_add(&s, rec, sizeof(rec), NULL), CS_OK);
		assert_true(cs_sorter_memory(&s) <= budget + 1000);
	}
	assert_non_null(s.spill);
	assert_int_equal(cs_sorter_sort(&s, NULL), CS_OK);
	assert_true(cs_sorter_memory(&s) <= budget / 3);
	assert_int_equal(files_in(scratch), 0); /* the file has no name */
	cs_sorter_release(&s);
}

static void a_record_that_is_too_long_is_refused(void **state)
{
	static uint8_t rec[CS_SORTER_RECORD_MAX + 1];
	struct cs_sorter s;
	struct cs_error err;

	(void)state;
	cs_sorter_init(&s, scratch, TINY);
	assert_int_equal(cs_sorter_add(&s, rec, sizeof(rec), &err), CS_E_LIMIT);
	cs_sorter_release(&s);
}

/* As a full disk: a write is short, and the next one fails. */
static void a_write_that_fails_is_told_in_one_line(void **state)
{
	struct rng r = rng_start();
	struct rlimit old, small;

	(void)state;
	signal(SIGXFSZ, SIG_IGN);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	for (rlim_t limit = 0; limit < 100000; limit += 7777) {
		struct records all = random_records(&r, 10000);
		struct cs_sorter s;
		struct cs_error err = { 0 };
		int rc = CS_OK;

		cs_sorter_init(&s, scratch, (size_t)30 << 10);
		small = (struct rlimit){ limit, old.rlim_max };
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
		for (size_t i = 0; i < all.n && rc == CS_OK; i++)
			rc = cs_sorter_add(&s, all.v[i].data, all.v[i].len, &err);
		assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
		assert_int_equal(rc, CS_E_FULL);
		assert_int_equal(err.sys_errno, EFBIG);
		assert_non_null(strstr(err.text, scratch));
		assert_non_null(strstr(err.text, "temporary file for sorting: File too large"));
		assert_null(strchr(err.text, '\n'));
		cs_sorter_release(&s);
		free_records(&all);
		assert_int_equal(files_in(scratch), 0);
	}
}

/* Room for the runs, but not for merging them. */
static void a_merge_that_fails_is_told_too(void **state)
{
	struct rlimit old, small;
	struct cs_sorter s;
	struct cs_error err = { 0 };
	uint8_t rec[100] = { 0 };
	int rc = CS_OK;

	(void)state;
	cs_sorter_init(&s, scratch, TINY);
	for (int i = 0; i < 2000 && rc == CS_OK; i++)
		rc = cs_sorter_add(&s, rec, sizeof(rec), &err);
	assert_int_equal(rc, CS_OK);
	assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
	small = (struct rlimit){ 230000, old.rlim_max };
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
	rc = cs_sorter_sort(&s, &err);
	assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
	assert_int_equal(rc, CS_E_FULL);
	assert_non_null(strstr(err.text, "temporary file for sorting"));
	cs_sorter_release(&s);
}

static void a_directory_that_is_not_there_is_told(void **state)
{
	struct cs_sorter s;
	struct cs_error err = { 0 };

	(void)state;
	cs_sorter_init(&s, "/nonexistent/store", 0);
	assert_int_equal(cs_sorter_add(&s, "a", 1, &err), CS_OK);
	assert_int_equal(cs_sorter_add(&s, "b", 1, &err), CS_E_NOTFOUND);
	assert_non_null(strstr(err.text, "/nonexistent/store"));
	cs_sorter_release(&s);
}

static int sort_some(const struct records *all)
{
	struct cs_sorter s;
	const void *data;
	size_t len;
	int rc = CS_OK;

	cs_sorter_init(&s, scratch, TINY);
	s.unique = true;
	for (size_t i = 0; i < all->n && rc == CS_OK; i++)
		rc = cs_sorter_add(&s, all->v[i].data, all->v[i].len, NULL);
	if (rc == CS_OK)
		rc = cs_sorter_sort(&s, NULL);
	for (int more = 1; rc == CS_OK && more;) {
		more = cs_sorter_next(&s, &data, &len, NULL);
		if (more < 0)
			rc = more;
	}
	cs_sorter_release(&s);
	return rc;
}

static void every_failed_allocation_is_reported(void **state)
{
	struct rng r = rng_start();
	struct records all = random_records(&r, 1500);
	int rc = CS_E_NOMEM;
	long n;

	(void)state;
	for (n = 0; rc != CS_OK; n++) {
		cs_alloc_fail_after(n);
		rc = sort_some(&all);
		cs_alloc_fail_after(-1);
		if (rc != CS_OK)
			assert_int_equal(rc, CS_E_NOMEM);
		assert_true(n < 10000);
	}
	assert_true(n > 10);
	free_records(&all);
}

/* Sorts on disk, says so through the pipe, and then waits to be killed. */
static void spill_and_wait(int out)
{
	struct cs_sorter s;
	bool ok = true;

	cs_sorter_init(&s, scratch, TINY);
	for (int i = 0; i < 5000 && ok; i++)
		ok = cs_sorter_add(&s, "a name of a file", 16, NULL) == CS_OK;
	ok = ok && s.spill && cs_sorter_sort(&s, NULL) == CS_OK;
	if (write(out, ok ? "y" : "n", 1) == 1)
		pause();
	_exit(1);
}

/* Files without a name are not known here. */
static void forbid_tmpfile(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, O_TMPFILE & ~O_DIRECTORY, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EOPNOTSUPP),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(code) / sizeof(code[0]), code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ||
	    open(scratch, O_TMPFILE | O_RDWR, 0600) >= 0 || errno != EOPNOTSUPP)
		_exit(2);
}

static void kill_while_sorting(bool without_tmpfile)
{
	int ends[2], status;
	char answer = 0;

	assert_int_equal(pipe(ends), 0);
	pid_t pid = fork();

	assert_true(pid >= 0);
	if (pid == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (without_tmpfile)
			forbid_tmpfile();
		spill_and_wait(ends[1]);
	}
	close(ends[1]);
	ssize_t got = read(ends[0], &answer, 1);
	size_t files = files_in(scratch);

	close(ends[0]);
	kill(pid, SIGKILL);
	assert_true(waitpid(pid, &status, 0) == pid);
	assert_int_equal(got, 1);
	assert_int_equal(answer, 'y');
	assert_int_equal(files, 0);
	assert_true(WIFSIGNALED(status));
	assert_int_equal(files_in(scratch), 0);
}

static void nothing_is_left_of_a_killed_process(void **state)
{
	(void)state;
	kill_while_sorting(false);
}

static void nor_where_every_file_has_a_name(void **state)
{
	char left[80];

	(void)state;
	/* what a process left that was killed between making the file and taking its name away */
	snprintf(left, sizeof(left), "%s/sorting", scratch);
	int fd = open(left, O_WRONLY | O_CREAT | O_EXCL, 0600);

	assert_true(fd >= 0);
	close(fd);
	kill_while_sorting(true);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(any_records_come_out_in_order),
		cmocka_unit_test(equal_records_come_once_when_asked),
		cmocka_unit_test(reading_can_begin_anew_at_any_time),
		cmocka_unit_test(memory_stays_within_the_budget),
		cmocka_unit_test(a_record_that_is_too_long_is_refused),
		cmocka_unit_test(a_write_that_fails_is_told_in_one_line),
		cmocka_unit_test(a_merge_that_fails_is_told_too),
		cmocka_unit_test(a_directory_that_is_not_there_is_told),
		cmocka_unit_test(every_failed_allocation_is_reported),
		cmocka_unit_test(nothing_is_left_of_a_killed_process),
		cmocka_unit_test(nor_where_every_file_has_a_name),
	};
	const char *tmp = getenv("TMPDIR");

	snprintf(scratch, sizeof(scratch), "%.30s/chunkstore-t_sorter.XXXXXX", tmp ? tmp : "/tmp");
	if (!mkdtemp(scratch))
		return 1;
	int rc = cmocka_run_group_tests_name("sorter", tests, NULL, NULL);
	rmdir(scratch);
	return rc;
}
