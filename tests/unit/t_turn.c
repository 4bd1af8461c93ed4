/* SPDX-License-Identifier: MIT */
/* Who writes next: between processes, on the bytes of one file. */
#include "store/leases.h"
#include "store/turn.h"
#include "util.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAP_MS(n) nanosleep(&(struct timespec){ 0, (n) * 1000000L }, NULL)

static char path[4096];

/* What the processes share. */
static struct shared {
	_Atomic unsigned turns; /* that the hog had */
	_Atomic int inside;     /* how many have the turn */
	_Atomic bool overlap, stop;
} *shared;

static struct cs_turn *open_turn(cs_turn_wait_fn *waiting, void *arg)
{
	int fd = open(path, O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0);
	struct cs_turn *t = cs_turn_new(fd, waiting, arg);
	assert_non_null(t);
	return t;
}

static void be_inside(int ms)
{
	if (atomic_fetch_add(&shared->inside, 1) != 0)
		shared->overlap = true;
	NAP_MS(ms);
	atomic_fetch_sub(&shared->inside, 1);
}

/* Take the turn again and again, without a pause, as a backup's batches would. */
static void hog(void)
{
	struct cs_turn *t = open_turn(NULL, NULL);
	while (!shared->stop) {
		if (cs_turn_take(t, NULL) != CS_OK)
			_exit(1);
		be_inside(20);
		cs_turn_leave(t);
		shared->turns++;
	}
	_exit(0);
}

static pid_t start(void (*fn)(void))
{
	pid_t pid = fork();
	assert_true(pid >= 0);
	if (pid == 0) {
		alarm(120);
		fn();
	}
	return pid;
}

static void end(pid_t pid)
{
	int status;
	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_int_equal(status, 0);
}

static int set_up(void **state)
{
	(void)state;
	const char *dir = getenv("TMPDIR");
	snprintf(path, sizeof(path), "%s/chunkstore-turn.XXXXXX", dir ? dir : "/tmp");
	int fd = mkstemp(path);
	assert_true(fd >= 0);
	close(fd);
	shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		      -1, 0);
	assert_true(shared != MAP_FAILED);
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	munmap(shared, sizeof(*shared));
	return unlink(path);
}

/* Between two that never rest, a third comes in after a few turns of theirs, every time. */
static void who_waits_is_not_passed_again_and_again(void **state)
{
	pid_t hogs[2];
	unsigned most = 0;
	(void)state;
	for (int i = 0; i < 2; i++)
		hogs[i] = start(hog);
	struct cs_turn *t = open_turn(NULL, NULL);
	while (shared->turns < 4)
		NAP_MS(1);
	for (int i = 0; i < 20; i++) {
		unsigned before = shared->turns;
		assert_int_equal(cs_turn_take(t, NULL), CS_OK);
		unsigned passed = shared->turns - before;
		be_inside(1);
		cs_turn_leave(t);
		most = passed > most ? passed : most;
		NAP_MS(5);
	}
	shared->stop = true;
	for (int i = 0; i < 2; i++)
		end(hogs[i]);
	cs_turn_free(t);
	print_message("at most %u turns of others passed\n", most);
	assert_false(shared->overlap);
	assert_true(most <= 6);
}

static void *take_often(void *arg)
{
	struct cs_turn *t = arg;
	for (int i = 0; i < 50; i++) {
		assert_int_equal(cs_turn_take(t, NULL), CS_OK);
		be_inside(1);
		cs_turn_leave(t);
	}
	return NULL;
}

static void threads_of_a_process_take_turns_too(void **state)
{
	pthread_t threads[3];
	struct cs_turn *t = open_turn(NULL, NULL);
	(void)state;
	for (int i = 0; i < 3; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, take_often, t), 0);
	for (int i = 0; i < 3; i++)
		pthread_join(threads[i], NULL);
	assert_false(shared->overlap);
	cs_turn_free(t);
}

/* Holds the turn until it is killed. */
static void hold_on(void)
{
	struct cs_turn *t = open_turn(NULL, NULL);
	if (cs_turn_take(t, NULL) != CS_OK)
		_exit(1);
	shared->turns++;
	for (;;)
		pause();
}

/* Waits for it until it is killed. */
static void queue_up(void)
{
	struct cs_turn *t = open_turn(NULL, NULL);
	shared->turns++;
	if (cs_turn_take(t, NULL) != CS_OK)
		_exit(1);
	_exit(0);
}

static int give_up(void *arg, unsigned ms)
{
	*(unsigned *)arg = ms;
	return ms >= 300;
}

static void kill_and_bury(pid_t pid)
{
	int status;
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &status, 0), pid);
}

static void await_turns(unsigned n)
{
	while (shared->turns < n)
		NAP_MS(1);
}

static void waiting_can_be_ended_and_death_ends_it(void **state)
{
	struct cs_error err = { 0 };
	unsigned waited = 0;
	(void)state;
	pid_t holder = start(hold_on);
	await_turns(1);
	struct cs_turn *t = open_turn(give_up, &waited);
	assert_int_equal(cs_turn_take(t, &err), CS_E_INTERRUPTED);
	assert_true(waited >= 300);
	kill_and_bury(holder);
	assert_int_equal(cs_turn_take(t, NULL), CS_OK);
	cs_turn_leave(t);
	cs_turn_free(t);
}

/* One that is stopped in the queue, and not while it writes, keeps nobody for long. */
static void who_is_stopped_in_the_queue_is_passed(void **state)
{
	(void)state;
	pid_t holder = start(hold_on);
	await_turns(1);
	pid_t queued = start(queue_up);
	await_turns(2);
	int fd = open(path, O_RDWR | O_CLOEXEC);
	struct flock f;
	int tries = 0;
	do { /* until it is in the queue */
		assert_true(tries++ < 10000);
		NAP_MS(1);
		f = (struct flock){ .l_type = F_WRLCK, .l_start = CS_LEASE_QUEUE, .l_len = 1 };
		assert_int_equal(fcntl(fd, F_OFD_GETLK, &f), 0);
	} while (f.l_type == F_UNLCK);
	close(fd);
	kill(queued, SIGSTOP);
	kill_and_bury(holder);
	struct cs_turn *t = open_turn(NULL, NULL);
	assert_int_equal(cs_turn_take(t, NULL), CS_OK);
	cs_turn_leave(t);
	cs_turn_free(t);
	kill_and_bury(queued);
}

/* A descriptor that cannot be locked for writing: LMDB's lock is enough. */
static void without_locks_there_is_no_queue(void **state)
{
	(void)state;
	struct cs_turn *t = cs_turn_new(open(path, O_RDONLY | O_CLOEXEC), NULL, NULL);
	assert_non_null(t);
	assert_int_equal(cs_turn_take(t, NULL), CS_OK);
	cs_turn_leave(t);
	cs_turn_free(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
		T(who_waits_is_not_passed_again_and_again),
		T(threads_of_a_process_take_turns_too),
		T(waiting_can_be_ended_and_death_ends_it),
		T(who_is_stopped_in_the_queue_is_passed),
		T(without_locks_there_is_no_queue),
#undef T
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
