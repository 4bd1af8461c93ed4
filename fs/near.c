/* SPDX-License-Identifier: MIT */
/*
 * near.c - answering on the processor where the question was asked.
 *
 * A program that copies a tree asks thousands of small questions, one after
 * the other, and sleeps until each is answered. Left alone, the scheduler runs
 * the answering thread on another, idle processor: two wake-ups across
 * processors a question, which cost more than the answer, the more so in a
 * virtual machine. On the asker's own processor a question costs two switches.
 *
 * So a worker that answered one process only, WINDOW times in a row and never
 * with much content, goes to that process's processor, and looks again after
 * every further window. When several processes ask, or large pieces are read
 * (then copying on both sides at once is worth more), it is free to run
 * anywhere. Decoding ahead and pushing are other threads, which stay free: the
 * other processors are theirs.
 */
#include "near.h"

#include <fcntl.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define WINDOW 16
#define LARGE ((size_t)64 << 10)

static _Thread_local struct {
	bool known;      /* `all` is filled in */
	cpu_set_t all;   /* where the process may run */
	pid_t pid;       /* whom all answers since `served` was 0 went to */
	unsigned served;
	int at;          /* the processor this thread is bound to, or -1 */
} me;

/* The processor a process ran on last: the 39th field of its stat; -1: unknown. */
static int processor_of(pid_t pid)
{
	char path[32], text[512];
	snprintf(path, sizeof(path), "/proc/%d/stat", (int)pid);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return -1;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	if (n <= 0)
		return -1;
	text[n] = 0;
	char *p = strrchr(text, ')'); /* ends the 2nd field, which may hold anything */
	for (int field = 2; p && field < 39; field++)
		p = strchr(p + 1, ' ');
	return p ? atoi(p + 1) : -1;
}

static void run_at(int cpu)
{
	cpu_set_t set;
	if (cpu == me.at)
		return;
	CPU_ZERO(&set);
	if (cpu >= 0 && cpu < CPU_SETSIZE && CPU_ISSET(cpu, &me.all))
		CPU_SET(cpu, &set);
	else
		cpu = -1;
	if (sched_setaffinity(0, sizeof(set), cpu < 0 ? &me.all : &set) == 0)
		me.at = cpu;
}

/* A thread made by a bound one is bound too: the main thread's set is the process's. */
static void look_around(void)
{
	me.known = true;
	me.at = -2; /* unknown */
	if (sched_getaffinity(getpid(), sizeof(me.all), &me.all) != 0)
		memset(&me.all, 0xff, sizeof(me.all));
	run_at(-1);
}

void cs_near_served(pid_t pid, size_t bytes)
{
	if (!me.known)
		look_around();
	if (pid <= 0 || pid != me.pid || bytes > LARGE) {
		me.pid = bytes > LARGE ? 0 : pid;
		me.served = 0;
		run_at(-1);
		return;
	}
	if (++me.served % WINDOW == 0)
		run_at(processor_of(pid));
}
