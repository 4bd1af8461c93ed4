/* SPDX-License-Identifier: MIT */
/*
 * What a process in the sandbox can do, and what it cannot: each tried in a child
 * of its own, whose exit status says which.
 */
#include "fs/sandbox.h"
#include "util.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/inotify.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CAN, CANNOT, NO_SANDBOX, STRANGE };

static char dir[] = "/tmp/chunkstore-unit.XXXXXX";
static char store[64], outside[64];
static bool have_landlock;

static char *in_store(const char *name)
{
	static char path[2][128];
	static int n;
	char *p = path[n++ % 2];

	snprintf(p, sizeof(path[0]), "%s/%s", store, name);
	return p;
}

static int setup(void **state)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "leases" };

	(void)state;
	if (!mkdtemp(dir))
		return -1;
	snprintf(store, sizeof(store), "%s/store", dir);
	snprintf(outside, sizeof(outside), "%s/outside", dir);
	if (mkdir(store, 0700) != 0)
		return -1;
	for (int i = 0; i < 3; i++)
		close(open(in_store(names[i]), O_WRONLY | O_CREAT, 0600));
	close(open(outside, O_WRONLY | O_CREAT, 0600));
	have_landlock = syscall(SYS_landlock_create_ruleset, NULL, 0, 1) > 0;
	return 0;
}

static int teardown(void **state)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "leases" };

	(void)state;
	for (int i = 0; i < 3; i++)
		unlink(in_store(names[i]));
	unlink(outside);
	return rmdir(store) | rmdir(dir);
}

/* What becomes of it in the sandbox. Refused is refused: EPERM or EACCES. */
static int tried(int (*what)(void))
{
	int status;
	pid_t pid = fork();

	if (pid == 0) {
		struct cs_error err;
		if (cs_sandbox_enter(store, false, &err) != CS_OK)
			_exit(NO_SANDBOX);
		errno = 0;
		int r = what();
		_exit(r >= 0 ? CAN : errno == EPERM || errno == EACCES ? CANNOT : STRANGE);
	}
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	assert_true(WIFEXITED(status));
	return WEXITSTATUS(status);
}

static int reads_data(void) { return open(in_store("data.mdb"), O_RDONLY); }
static int writes_lock(void) { return open(in_store("lock.mdb"), O_RDWR); }
static int writes_leases(void) { return open(in_store("leases"), O_RDWR); }
static int opens_null(void) { return open("/dev/null", O_RDWR); }
static int sees_itself(void) { return open("/proc/self/maps", O_RDONLY); }
static int maps_memory(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
			       MAP_FAILED ? -1 : 0;
}
static int watches_data(void)
{
	return inotify_add_watch(inotify_init1(0), in_store("data.mdb"), IN_MODIFY);
}
static void *nothing(void *arg)
{
	pthread_testcancel();
	while (arg)
		pause();
	return arg;
}
/* Started and cancelled, as libfuse does. */
static int has_threads(void)
{
	pthread_t t;
	void *result;

	if ((errno = pthread_create(&t, NULL, nothing, NULL)) != 0 ||
	    (errno = pthread_join(t, &result)) != 0)
		return -1;
	if ((errno = pthread_create(&t, NULL, nothing, dir)) != 0 || pthread_cancel(t) != 0)
		return -1;
	return pthread_join(t, &result) == 0 && result == PTHREAD_CANCELED ? 0 : -1;
}

static void what_serving_takes_is_possible(void **state)
{
	static int (*const can[])(void) = { reads_data, writes_lock, writes_leases, opens_null,
					    sees_itself, maps_memory, watches_data, has_threads };

	(void)state;
	if (!cs_sandbox_possible())
		skip();
	for (size_t i = 0; i < sizeof(can) / sizeof(can[0]); i++)
		if (tried(can[i]) != CAN)
			fail_msg("number %zu is not possible", i);
}

static int reads_passwd(void) { return open("/etc/passwd", O_RDONLY); }
static int reads_outside(void) { return open(outside, O_RDONLY); }
static int writes_data(void) { return open(in_store("data.mdb"), O_RDWR); }
static int makes_a_file(void) { return open(in_store("new"), O_WRONLY | O_CREAT, 0600); }
static int lists_root(void) { return open("/", O_RDONLY | O_DIRECTORY); }

static void files_outside_are_out_of_reach(void **state)
{
	static int (*const cannot[])(void) = { reads_passwd, reads_outside, writes_data, makes_a_file,
					       lists_root };

	(void)state;
	if (!cs_sandbox_possible() || !have_landlock)
		skip();
	for (size_t i = 0; i < sizeof(cannot) / sizeof(cannot[0]); i++)
		if (tried(cannot[i]) != CANNOT)
			fail_msg("number %zu is possible", i);
}

static int executes(void)
{
	char *const argv[] = { (char *)(uintptr_t)"true", NULL };

	return execv("/bin/true", argv); /* exits with 0, which is CAN */
}
static int forks(void) { return fork(); }
static int vforks(void) { return (int)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0); }
static int makes_a_socket(void) { return socket(AF_UNIX, SOCK_STREAM, 0); }
static int signals_another(void) { return kill(getppid(), 0); }
static int signals_a_thread(void) { return (int)syscall(SYS_tgkill, getppid(), getppid(), 0); }
static int traces(void) { return (int)ptrace(PTRACE_SEIZE, getppid(), 0, 0); }
static int mounts(void) { return mount("none", dir, "tmpfs", 0, NULL); }
static int unmounts(void) { return umount2(dir, 0); }
static int maps_code(void)
{
	return mmap(NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
			       MAP_FAILED ? -1 : 0;
}
static int removes(void) { return unlink(outside); }
static int renames(void) { return rename(outside, in_store("data.mdb")); }
static int becomes_another(void) { return setuid(1); }
static int loads_a_module(void) { return (int)syscall(SYS_bpf, 0, NULL, 0); }
static int writes_another(void)
{
	return (int)syscall(SYS_process_vm_writev, getppid(), NULL, 0, NULL, 0, 0);
}

static void nothing_is_started_or_reached(void **state)
{
	static int (*const cannot[])(void) = { executes, forks, vforks, makes_a_socket, signals_another,
					       signals_a_thread, traces, mounts, unmounts, maps_code,
					       removes, renames, becomes_another, loads_a_module,
					       writes_another };

	(void)state;
	if (!cs_sandbox_possible())
		skip();
	for (size_t i = 0; i < sizeof(cannot) / sizeof(cannot[0]); i++)
		if (tried(cannot[i]) != CANNOT)
			fail_msg("number %zu is possible", i);
}

/* A lock file that leads elsewhere does not open what it leads to. */
static void a_symlink_opens_nothing(void **state)
{
	(void)state;
	if (!cs_sandbox_possible() || !have_landlock)
		skip();
	assert_int_equal(unlink(in_store("lock.mdb")), 0);
	assert_int_equal(symlink(outside, in_store("lock.mdb")), 0);
	assert_int_equal(tried(writes_lock), CANNOT);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(what_serving_takes_is_possible),
		cmocka_unit_test(files_outside_are_out_of_reach),
		cmocka_unit_test(nothing_is_started_or_reached),
		cmocka_unit_test(a_symlink_opens_nothing),
	};
	return cmocka_run_group_tests_name("sandbox", tests, setup, teardown);
}
