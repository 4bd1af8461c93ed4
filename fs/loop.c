/* SPDX-License-Identifier: MIT */
/*
 * loop.c - who listens to the kernel, and who answers.
 *
 * A program that copies a tree asks thousands of small questions, one after the other,
 * and each can be answered at once from what lies decoded in memory. When many threads
 * wait for them in turn, as in libfuse's own loop, each question wakes the thread that
 * has slept longest, somewhere else. So here a thread that has answered goes on listening
 * itself, and the others sleep: most questions find the same thread, its processor and
 * its caches warm.
 *
 * No question may wait for the answer to another one. Therefore
 *
 *   - who is about to read the store's file, to wait for one who does, or to copy much,
 *     hands over the listening first: to the one that went to sleep last, or to a new
 *     thread (cs_loop_hand_over). When he has answered he sleeps, unless nobody listens;
 *   - as many listen as there are processes that ask, up to the processors. Who asks is
 *     seen in the last questions.
 *
 * The only one that listens, where another processor is left to ask on, stays awake for
 * the next question where that comes at once (expect.c): it polls for it. A cp -a
 * of coreutils 9.7 takes an eighth less time so.
 *
 * What lets a thread wait without handing over are locks that nobody holds while he reads
 * or waits for the kernel.
 */
#define FUSE_USE_VERSION 314
#include "loop.h"

#include "expect.h"
#include "store/deadline.h"
#include "thread.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <linux/fuse.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ASKED 16 /* questions looked back at; a power of two */
#define WAKE_SIGNAL SIGUSR2
#define WAKE_AGAIN_MS 20

struct listener {
	struct cs_loop *loop;
	pthread_t thread;
	struct fuse_buf buf;	 /* its own */
	struct cs_expect expect; /* its own */
	bool listening;	     /* its own, but while it sleeps */
	pthread_cond_t call;
	struct listener *below; /* in the stack of those who sleep */
};

struct cs_loop {
	struct fuse_session *session; /* immutable */
	unsigned max, processors;     /* immutable */

	_Atomic unsigned asked; /* only grows, and wraps */
	_Atomic uint32_t asker[ASKED];
	_Atomic unsigned wanted; /* listeners: 1 to processors */
	_Atomic bool over;

	pthread_mutex_t lock;
	pthread_cond_t ending;
	/* guarded by lock */
	unsigned started, gone;
	_Atomic unsigned listening; /* threads that listen or were called to; read without it */
	struct listener *sleeping;
	int result;
	struct listener listener[];
};

static _Thread_local struct listener *self;

static void *listen_on(void *arg);

/* Called with the lock held. When it fails, whoever has answered listens again. */
static void call_one(struct cs_loop *l)
{
	struct listener *one = l->sleeping;

	if (one) {
		l->sleeping = one->below;
		one->listening = true;
		l->listening++;
		pthread_cond_signal(&one->call);
	} else if (l->started < l->max) {
		one = &l->listener[l->started];
		one->loop = l;
		one->listening = true;
		pthread_cond_init(&one->call, NULL);
		if (cs_thread_start(&one->thread, listen_on, one) != 0) {
			pthread_cond_destroy(&one->call);
			return;
		}
		l->started++;
		l->listening++;
	}
}

static void stop_listening(struct cs_loop *l, struct listener *me)
{
	me->listening = false;
	l->listening--;
}

void cs_loop_hand_over(void)
{
	struct listener *me = self;

	if (!me || !me->listening)
		return;
	struct cs_loop *l = me->loop;
	pthread_mutex_lock(&l->lock);
	stop_listening(l, me);
	if (l->listening < l->wanted && !l->over)
		call_one(l);
	pthread_mutex_unlock(&l->lock);
}

/* Wait until this thread is to listen. False: the end. */
static bool may_listen(struct cs_loop *l, struct listener *me)
{
	if (me->listening && l->listening <= l->wanted)
		return !l->over;
	pthread_mutex_lock(&l->lock);
	if (me->listening && l->listening > l->wanted)
		stop_listening(l, me);
	if (!me->listening && l->listening < l->wanted) {
		me->listening = true;
		l->listening++;
	}
	if (!me->listening && !l->over) {
		me->below = l->sleeping;
		l->sleeping = me;
		while (!me->listening && !l->over)
			pthread_cond_wait(&me->call, &l->lock);
	}
	pthread_mutex_unlock(&l->lock);
	return !l->over;
}

/* Of the last questions: how many processes asked them. */
static unsigned count_askers(struct cs_loop *l)
{
	uint32_t pid[ASKED];
	unsigned n = 0;

	for (unsigned i = 0; i < ASKED; i++) {
		uint32_t p = atomic_load_explicit(&l->asker[i], memory_order_relaxed);
		unsigned k = 0;
		while (k < n && pid[k] != p)
			k++;
		if (k == n && p)
			pid[n++] = p;
	}
	return n;
}

/* What the kernel tells of its own accord has no process. */
static void note_asker(struct cs_loop *l, uint32_t pid)
{
	if (!pid)
		return;
	unsigned n = atomic_fetch_add_explicit(&l->asked, 1, memory_order_relaxed);
	atomic_store_explicit(&l->asker[n % ASKED], pid, memory_order_relaxed);
	if (n % ASKED != ASKED - 1)
		return;
	unsigned askers = count_askers(l);
	unsigned wanted = askers < 1 ? 1 : askers > l->processors ? l->processors : askers;
	if (wanted == atomic_exchange(&l->wanted, wanted))
		return;
	pthread_mutex_lock(&l->lock);
	for (unsigned i = l->listening; i < wanted && !l->over; i++)
		call_one(l);
	pthread_mutex_unlock(&l->lock);
}

static void end(struct cs_loop *l, int result)
{
	pthread_mutex_lock(&l->lock);
	if (!l->over)
		l->result = result;
	l->over = true;
	for (struct listener *s = l->sleeping; s; s = s->below)
		pthread_cond_signal(&s->call);
	pthread_cond_signal(&l->ending);
	pthread_mutex_unlock(&l->lock);
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void stay_awake(const struct cs_loop *l, const struct listener *me)
{
	uint64_t until = cs_expect_until(&me->expect);
	struct pollfd question = { .fd = fuse_session_fd(l->session), .events = POLLIN };

	if (!until || l->wanted > 1 || l->processors == 1)
		return;
	while (poll(&question, 1, 0) == 0 && now_ns() < until)
		;
}

static void answer(struct cs_loop *l, struct listener *me)
{
	struct fuse_in_header in;

	if (me->buf.size >= sizeof(in)) {
		memcpy(&in, me->buf.mem, sizeof(in));
		note_asker(l, in.pid);
		cs_expect_asked(&me->expect, in.opcode, in.nodeid, now_ns());
	}
	fuse_session_process_buf(l->session, &me->buf);
	cs_expect_answered(&me->expect, me->listening ? now_ns() : 0);
}

static void *listen_on(void *arg)
{
	struct listener *me = arg;
	struct cs_loop *l = me->loop;
	sigset_t set;

	self = me;
	sigemptyset(&set);
	sigaddset(&set, WAKE_SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	while (may_listen(l, me)) {
		stay_awake(l, me);
		int r = fuse_session_receive_buf(l->session, &me->buf);
		if (r == -EINTR || r == -EAGAIN)
			continue;
		if (r <= 0) {
			end(l, r);
			break;
		}
		answer(l, me);
	}
	pthread_mutex_lock(&l->lock);
	l->gone++;
	pthread_cond_signal(&l->ending);
	pthread_mutex_unlock(&l->lock);
	return NULL;
}

struct cs_loop *cs_loop_new(struct fuse_session *session, unsigned max)
{
	struct cs_loop *l = calloc(1, sizeof(*l) + max * sizeof(l->listener[0]));
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	if (!l)
		return NULL;
	l->session = session;
	l->max = max;
	l->processors = processors < 1 ? 1 : processors > max ? max : (unsigned)processors;
	l->wanted = 1;
	pthread_mutex_init(&l->lock, NULL);
	cs_deadline_cond(&l->ending);
	return l;
}

void cs_loop_free(struct cs_loop *l)
{
	if (!l)
		return;
	pthread_mutex_destroy(&l->lock);
	pthread_cond_destroy(&l->ending);
	free(l);
}

static void woken(int sig)
{
	(void)sig;
}

/* Called with the lock held. A thread may be about to read just when it is woken: once more. */
static void wait_for_all(struct cs_loop *l)
{
	while (l->gone < l->started) {
		struct timespec t = cs_deadline_in(WAKE_AGAIN_MS);

		for (unsigned i = 0; i < l->started; i++)
			pthread_kill(l->listener[i].thread, WAKE_SIGNAL);
		pthread_cond_timedwait(&l->ending, &l->lock, &t);
	}
}

int cs_loop_run(struct cs_loop *l)
{
	struct sigaction wake = { .sa_handler = woken }; /* no SA_RESTART: a read ends */

	sigaction(WAKE_SIGNAL, &wake, NULL);
	pthread_mutex_lock(&l->lock);
	call_one(l);
	if (!l->started) {
		l->over = true;
		l->result = -EAGAIN;
	}
	while (!l->over)
		pthread_cond_wait(&l->ending, &l->lock);
	wait_for_all(l);
	pthread_mutex_unlock(&l->lock);
	for (unsigned i = 0; i < l->started; i++) {
		pthread_join(l->listener[i].thread, NULL);
		pthread_cond_destroy(&l->listener[i].call);
		free(l->listener[i].buf.mem);
	}
	return l->result;
}

void cs_loop_end(struct cs_loop *l)
{
	end(l, 0);
}
