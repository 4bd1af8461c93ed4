/* SPDX-License-Identifier: MIT */
/*
 * db_guard.c - a page that cannot be read is an error, not the end.
 *
 * A disk error, or a file that was cut short, shows as SIGBUS when the map is
 * touched. Pages of LMDB's trees have no checksum: a damaged one sends LMDB to
 * an address that is none (SIGSEGV), makes it divide by zero (SIGFPE), or leads
 * into one of its assertions. LMDB is only called under a guard: each of these
 * ends the call with an error, and nothing else. That is safe in the middle of
 * a read, which holds no lock and owns no memory; a write is not gone on with
 * (db_txn.c).
 *
 * Values are read without a guard, after cs_db_load has brought them into
 * memory; but the file may become shorter at that moment, or the kernel may have
 * dropped the page. Then there is nowhere to jump to: the page, and all up to
 * the end of its window, is replaced in the map by zeros, and counted. Whoever
 * reads a value looks at the count afterwards (cs_db_intact). With the next
 * transaction the map shows the file again.
 *
 * A signal elsewhere keeps its old meaning.
 *
 * A page that is damaged where db_pages.c does not see it may still have ruined the
 * heap by the time that malloc notices: it aborts, and nothing can be gone on with in
 * such a process. If there is a write transaction, what it did is in memory only: the
 * process says so and ends with status 1, and with it the locks.
 */
#include "db_impl.h"

#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <ucontext.h>
#include <unistd.h>

#define MAPS_MAX 8 /* stores that one process has open */
#define WINDOW ((uintptr_t)2 << 20)

_Thread_local sigjmp_buf *cs_db_guard;
_Thread_local int cs_db_met;
static struct sigaction old_bus, old_segv, old_fpe, old_abort;
static _Atomic int writers; /* write transactions of this process */

/* What a handler reads. */
static struct map {
	_Atomic uintptr_t start, len;
	_Atomic int fd;
	_Atomic bool zeros; /* somewhere in it */
} maps[MAPS_MAX];
static _Atomic unsigned poisoned;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for those who change maps[] */

static bool show_zeros(uintptr_t at)
{
	for (struct map *m = maps; m < maps + MAPS_MAX; m++) {
		uintptr_t start = m->start, end = start + m->len;
		if (!start || at < start || at >= end)
			continue;
		uintptr_t from = at & ~((uintptr_t)4095);
		uintptr_t to = (from | (WINDOW - 1)) + 1;
		to = to < end ? to : end;
		if (mmap((void *)from, to - from, PROT_READ,
			 MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0) == MAP_FAILED)
			return false;
		m->zeros = true;
		atomic_fetch_add(&poisoned, 1);
		return true;
	}
	return false;
}

/*
 * The jump leaves the signal mask as it is. A handler is installed so that nothing is
 * blocked in it, but not by all that come between: ThreadSanitizer blocks everything,
 * and the next bad page would be the end.
 */
static void jump_back(const ucontext_t *interrupted, int met)
{
	sigset_t mask;

	sigemptyset(&mask);
	memcpy(&mask, &interrupted->uc_sigmask, NSIG / 8); /* the kernel has put no more there */
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	siglongjmp(*cs_db_guard, met);
}

static void on_bad_page(int sig, siginfo_t *info, void *context)
{
	const struct sigaction *old = sig == SIGBUS ? &old_bus : sig == SIGSEGV ? &old_segv : &old_fpe;
	if (cs_db_guard)
		jump_back(context, sig == SIGBUS ? CS_MET_SECTOR : CS_MET_PAGE);
	if (sig == SIGBUS && show_zeros((uintptr_t)info->si_addr))
		return;
	if (old->sa_flags & SA_SIGINFO) {
		old->sa_sigaction(sig, info, context);
	} else if (old->sa_handler != SIG_DFL && old->sa_handler != SIG_IGN) {
		old->sa_handler(sig);
	} else {
		signal(sig, SIG_DFL);
		raise(sig);
	}
}

void cs_db_guard_writer(bool begins)
{
	atomic_fetch_add(&writers, begins ? 1 : -1);
}

/* With what a handler may call. */
static void on_abort(int sig)
{
	static const char text[] = ": damage was met while writing to the store; "
				   "nothing of it was committed\n";
	(void)sig;
	if (writers > 0) {
		const char *name = program_invocation_short_name;
		const struct iovec line[2] = { { (void *)(uintptr_t)name, strlen(name) },
					       { (void *)(uintptr_t)text, sizeof(text) - 1 } };
		(void)!writev(STDERR_FILENO, line, 2);
		_exit(1); /* the heap is ruined */
	}
	sigaction(SIGABRT, &old_abort, NULL); /* it is raised once more then */
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
	sigaction(SIGFPE, &a, &old_fpe);
	a.sa_flags = 0;
	a.sa_handler = on_abort;
	sigaction(SIGABRT, NULL, &old_abort);
	if (old_abort.sa_handler == SIG_DFL)
		sigaction(SIGABRT, &a, NULL);
}

int cs_db_guard_env(MDB_env *env)
{
	return mdb_env_set_assert(env, on_assertion);
}

int cs_db_with_cursor(MDB_txn *txn, MDB_dbi dbi, cs_cursor_fn *fn, void *arg)
{
	MDB_cursor *c;
	MDB_stat m;
	int rc;

	/* LMDB looks at a table's root when it is first used: not with a cursor in hand */
	GUARDED(rc, mdb_stat(txn, dbi, &m));
	if (rc == 0)
		rc = mdb_cursor_open(txn, dbi, &c);
	if (rc)
		return rc;
	GUARDED(rc, fn(arg, c));
	mdb_cursor_close(c);
	return rc;
}

/* ---- maps */

void cs_db_guard_map(void *map, size_t len, int fd)
{
	pthread_mutex_lock(&lock);
	for (struct map *m = maps; m < maps + MAPS_MAX; m++) {
		if (m->start)
			continue;
		m->len = len;
		m->fd = fd;
		m->zeros = false;
		m->start = (uintptr_t)map;
		break;
	}
	pthread_mutex_unlock(&lock);
}

void cs_db_unguard_map(void *map)
{
	pthread_mutex_lock(&lock);
	for (struct map *m = maps; m < maps + MAPS_MAX; m++)
		if (map && m->start == (uintptr_t)map)
			m->start = 0;
	pthread_mutex_unlock(&lock);
}

unsigned cs_db_poisoned(void)
{
	return poisoned;
}

/* Who still reads there meets the fault anew, and the zeros. */
void cs_db_cure(void)
{
	for (struct map *m = maps; m < maps + MAPS_MAX; m++) {
		if (!m->zeros)
			continue;
		pthread_mutex_lock(&lock);
		if (atomic_exchange(&m->zeros, false) && m->start &&
		    mmap((void *)m->start, m->len, PROT_READ, MAP_SHARED | MAP_FIXED, m->fd, 0) ==
			    MAP_FAILED)
			m->zeros = true;
		pthread_mutex_unlock(&lock);
	}
}
