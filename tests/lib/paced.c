/* SPDX-License-Identifier: MIT */
/*
 * paced - a library to preload: a reader that lets the driver finish.
 *
 * What a driver does ahead of its reader depends on who gets a processor first, and
 * with it all that can be counted. So here the reader, before it closes a regular file
 * below $CS_PACED_DIR, waits until each thread of the process $CS_PACED_PID sleeps,
 * having done all that there was to do. Then the counts are the same on any machine.
 *
 * All sleep when two looks in a row find every thread asleep, and none that has been
 * running between them: then there was a moment at which all slept, and nobody was left
 * to wake another.
 */
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define DEADLINE_S 20
#define PAUSE_NS 50000

static int (*real_close)(int fd);
static char tasks[64]; /* the directory of the driver's threads; empty: nobody is paced */
static dev_t device;

static void __attribute__((constructor)) begin(void)
{
	const char *dir = getenv("CS_PACED_DIR"), *pid = getenv("CS_PACED_PID");
	void *f = dlsym(RTLD_NEXT, "close");
	struct stat st;

	if (!f)
		abort();
	memcpy(&real_close, &f, sizeof(f));
	if (dir && pid && stat(dir, &st) == 0) {
		device = st.st_dev;
		snprintf(tasks, sizeof(tasks), "/proc/%s/task", pid);
	}
}

/* How often a thread has left a processor; 0: it does not sleep, or is gone. */
static unsigned long long switches_of(int dir, const char *tid)
{
	unsigned long long own = 0, forced = 0;
	char path[64], text[4096];

	snprintf(path, sizeof(path), "%.20s/status", tid);
	int fd = openat(dir, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return 0;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	real_close(fd);
	text[n > 0 ? n : 0] = '\0';
	const char *state = strstr(text, "\nState:\tS"), *at = strstr(text, "\nvoluntary_ctxt");
	const char *more = strstr(text, "\nnonvoluntary_ctxt");
	if (!state || !at || !more)
		return 0;
	sscanf(at, "\nvoluntary_ctxt_switches: %llu", &own);
	sscanf(more, "\nnonvoluntary_ctxt_switches: %llu", &forced);
	return own + forced;
}

/* Of all threads, and which they are; 0: one does not sleep. gone: there are none. */
static unsigned long long look(bool *gone)
{
	unsigned long long all = 1, one = 1;
	DIR *d = opendir(tasks);

	*gone = !d;
	for (struct dirent *e; one && d && (e = readdir(d));) {
		if (e->d_name[0] == '.')
			continue;
		one = switches_of(dirfd(d), e->d_name);
		all = (all * 1000003 + strtoull(e->d_name, NULL, 10)) * 1000003 + one;
	}
	if (d)
		closedir(d);
	return one ? all : 0;
}

static void wait_for_rest(void)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NS };
	time_t deadline = time(NULL) + DEADLINE_S;
	unsigned long long now, last = 0;
	bool gone;

	while ((now = look(&gone)) == 0 || now != last) {
		if (gone)
			return;
		if (time(NULL) > deadline) {
			fprintf(stderr, "paced: the driver does not come to rest\n");
			_exit(98);
		}
		if (!now)
			nanosleep(&pause, NULL);
		last = now;
	}
}

int close(int fd)
{
	int e = errno;
	struct stat st;

	if (tasks[0] && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && st.st_dev == device)
		wait_for_rest();
	errno = e;
	return real_close(fd);
}
