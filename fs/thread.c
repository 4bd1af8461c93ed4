/* SPDX-License-Identifier: MIT */
#include "thread.h"

#include <signal.h>

int cs_thread_start(pthread_t *out, void *(*run)(void *arg), void *arg)
{
	static const int faults[] = { SIGBUS, SIGSEGV, SIGFPE };
	sigset_t set, old;

	sigfillset(&set);
	for (unsigned i = 0; i < sizeof(faults) / sizeof(faults[0]); i++)
		sigdelset(&set, faults[i]); /* blocked, they would end the process */
	pthread_sigmask(SIG_SETMASK, &set, &old);
	int e = pthread_create(out, NULL, run, arg);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	return e;
}
