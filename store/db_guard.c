/* SPDX-License-Identifier: MIT */
/*
 * db_guard.c - a page that cannot be read is an error, not the end.
 *
 * A disk error, or a file that was cut short, shows as SIGBUS when the map is
 * touched. Pages of LMDB's trees have no checksum: a damaged one sends LMDB to
 * an address that is none (SIGSEGV) or into one of its assertions. What reads
 * the map does so under a guard: any of the three ends the read with an error,
 * and nothing else. A signal elsewhere keeps its old meaning.
 */
#include "db_impl.h"

#include <signal.h>
#include <stddef.h>

_Thread_local sigjmp_buf *cs_db_guard;
static struct sigaction old_bus, old_segv;

static void on_bad_page(int sig, siginfo_t *info, void *context)
{
	const struct sigaction *old = sig == SIGBUS ? &old_bus : &old_segv;
	if (cs_db_guard)
		siglongjmp(*cs_db_guard, sig == SIGBUS ? CS_MET_SECTOR : CS_MET_PAGE);
	if (old->sa_flags & SA_SIGINFO) {
		old->sa_sigaction(sig, info, context);
	} else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
		old->sa_handler(sig);
	} else {
		signal(sig, SIG_DFL);
		raise(sig);
	}
}

/* LMDB aborts when this returns. */
static void on_assertion(MDB_env *env, const char *text)
{
	(void)env;
	(void)text;
	if (cs_db_guard)
		siglongjmp(*cs_db_guard, CS_MET_PAGE);
}

void cs_db_guard_install(void)
{
	struct sigaction a = { .sa_flags = SA_SIGINFO | SA_NODEFER };
	a.sa_sigaction = on_bad_page;
	sigaction(SIGBUS, &a, &old_bus);
	sigaction(SIGSEGV, &a, &old_segv);
}

int cs_db_guard_env(MDB_env *env)
{
	return mdb_env_set_assert(env, on_assertion);
}
