/* SPDX-License-Identifier: MIT */
/*
 * held.c - preloaded into a program: how long each of its write transactions
 * held the writer's lock.
 *
 * A line each goes to the file $CS_HELD: who, microseconds held, and of them
 * those on a processor. With CS_STOP=N the program stops itself when it has
 * begun the Nth.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <lmdb.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static _Thread_local struct {
	MDB_txn *txn; /* the write transaction, NULL: none */
	uint64_t began, cpu;
} mine;

static uint64_t now(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

/* Stop, when it is time to. */
static void count_down(void)
{
	static _Atomic int begun;
	const char *at = getenv("CS_STOP");
	if (at && atomic_fetch_add(&begun, 1) + 1 == atoi(at))
		raise(SIGSTOP);
}

static void *real(const char *name)
{
	void *f = dlsym(RTLD_NEXT, name);
	if (!f)
		abort();
	return f;
}

static void note(uint64_t end, uint64_t cpu)
{
	const char *path = getenv("CS_HELD");
	int fd = path ? open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600) : -1;
	char line[128];
	if (fd < 0)
		return;
	int n = snprintf(line, sizeof(line), "%s-%ld %llu %llu\n",
			 program_invocation_short_name, (long)getpid(), (unsigned long long)(end - mine.began),
			 (unsigned long long)(cpu - mine.cpu));
	if (write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
}

int mdb_txn_begin(MDB_env *env, MDB_txn *parent, unsigned flags, MDB_txn **txn)
{
	int (*begin)(MDB_env *, MDB_txn *, unsigned, MDB_txn **) = real("mdb_txn_begin");
	int rc = begin(env, parent, flags, txn);
	if (rc == 0 && !(flags & MDB_RDONLY)) {
		mine.txn = *txn;
		mine.began = now(CLOCK_MONOTONIC);
		mine.cpu = now(CLOCK_THREAD_CPUTIME_ID);
		count_down();
	}
	return rc;
}

int mdb_txn_commit(MDB_txn *txn)
{
	int (*commit)(MDB_txn *) = real("mdb_txn_commit");
	int rc = commit(txn);
	if (mine.txn == txn) {
		note(now(CLOCK_MONOTONIC), now(CLOCK_THREAD_CPUTIME_ID));
		mine.txn = NULL;
	}
	return rc;
}

void mdb_txn_abort(MDB_txn *txn)
{
	void (*end)(MDB_txn *) = real("mdb_txn_abort");
	end(txn);
	if (mine.txn == txn) {
		note(now(CLOCK_MONOTONIC), now(CLOCK_THREAD_CPUTIME_ID));
		mine.txn = NULL;
	}
}
