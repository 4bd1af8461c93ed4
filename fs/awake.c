/* SPDX-License-Identifier: MIT */
/*
 * awake.c - keeping idle processors awake while questions come.
 *
 * A program that copies a tree asks thousands of small questions, one after
 * the other, and sleeps until each is answered. Asker and answerer so wake each
 * other all the time, mostly across processors, since the scheduler prefers an
 * idle one. In a virtual machine an idle processor is halted: the host has
 * taken it back, and to wake it means to leave the guest twice. That is ten
 * times what the answer itself costs, and there is no way to be asked less: a
 * cp -a asks three times a file for extended attributes.
 *
 * The kernel has an interface for those to whom wake-ups matter: as long as a
 * process holds /dev/cpu_dma_latency open with a 0 written to it, idle
 * processors poll instead of sleeping. It lasts no longer than the process,
 * however that ends. Only root may; and it is not free: a polling processor
 * takes host time, or power. So it is done only
 *
 *   - in a guest whose idle driver is haltpoll, unless the user wants it
 *     everywhere: on bare metal the lightest sleep costs a microsecond or two,
 *     and processors that never sleep take the turbo from those that work;
 *   - while questions come fast: from the BURST_ANSWERS-th within BURST_MS on,
 *     until for QUIET_WINDOWS of WINDOW_MS each fewer than WINDOW_ANSWERS were
 *     answered. An ls here and there does not get that far.
 *
 * One thread writes to the device; it sleeps unless processors are kept awake.
 * Who answers counts, and looks at the clock once in BURST_ANSWERS.
 */
#include "awake.h"

#include "store/deadline.h"
#include "thread.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define BURST_ANSWERS 32
#define BURST_MS 16
#define WINDOW_MS 20
#define WINDOW_ANSWERS 40
#define QUIET_WINDOWS 2

/* Microseconds that waking a processor may take; the kernel takes an s32. */
#define LATENCY_AWAKE 0
#define LATENCY_ANY 2000000000 /* its default: whatever it takes */

struct cs_awake {
	int fd;
	pthread_t thread;
	bool running; /* used by the starting and stopping thread */

	_Atomic unsigned answers; /* only grows, and wraps */
	_Atomic bool holding;

	pthread_mutex_t lock;
	pthread_cond_t changed;
	/* guarded by lock */
	bool wanted, stop;
	int64_t burst_ms; /* when the last burst was complete */
};

static int64_t now_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static bool set_latency(const struct cs_awake *a, int32_t us)
{
	return pwrite(a->fd, &us, sizeof(us), 0) == (ssize_t)sizeof(us);
}

/* ----------------------------------------------------------- who answers */

static void burst(struct cs_awake *a)
{
	int64_t now = now_ms();

	pthread_mutex_lock(&a->lock);
	if (now - a->burst_ms <= BURST_MS && !a->wanted) {
		a->wanted = true;
		pthread_cond_signal(&a->changed);
	}
	a->burst_ms = now;
	pthread_mutex_unlock(&a->lock);
}

void cs_awake_answered(struct cs_awake *a)
{
	if (!a)
		return;
	unsigned n = atomic_fetch_add_explicit(&a->answers, 1, memory_order_relaxed);
	if (n % BURST_ANSWERS == 0 && !atomic_load_explicit(&a->holding, memory_order_relaxed))
		burst(a);
}

/* ------------------------------------------------------------- the thread */

/* True: told to stop. Called with the lock held, which it gives up meanwhile. */
static bool wait_window(struct cs_awake *a)
{
	struct timespec until = cs_deadline_in(WINDOW_MS);

	while (!a->stop && pthread_cond_timedwait(&a->changed, &a->lock, &until) == 0)
		;
	return a->stop;
}

/* Until the questions stop. Called with the lock held. */
static void hold(struct cs_awake *a)
{
	unsigned quiet = 0;

	atomic_store(&a->holding, true);
	set_latency(a, LATENCY_AWAKE);
	while (quiet < QUIET_WINDOWS) {
		unsigned before = atomic_load(&a->answers);
		if (wait_window(a))
			break;
		quiet = atomic_load(&a->answers) - before < WINDOW_ANSWERS ? quiet + 1 : 0;
	}
	set_latency(a, LATENCY_ANY);
	a->wanted = false;
	atomic_store(&a->holding, false);
}

static void *watching(void *arg)
{
	struct cs_awake *a = arg;

	pthread_mutex_lock(&a->lock);
	while (!a->stop) {
		if (a->wanted)
			hold(a);
		else
			pthread_cond_wait(&a->changed, &a->lock);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

/* -------------------------------------------------------------- life cycle */

/* The processors idle by the driver for guests. */
static bool in_guest(const char *driver)
{
	char text[32];
	int fd = open(driver, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return false;
	ssize_t n = read(fd, text, sizeof(text) - 1);
	close(fd);
	text[n > 0 ? n : 0] = '\0';
	text[strcspn(text, "\n")] = '\0';
	return strcmp(text, "haltpoll") == 0;
}

int cs_awake_new(const struct cs_awake_opts *opts, struct cs_awake **out, struct cs_error *err)
{
	bool must = opts->when == CS_AWAKE_FAST;

	*out = NULL;
	if (opts->when == CS_AWAKE_NORMAL || (!must && !in_guest(opts->driver)))
		return 0;
	struct cs_awake *a = calloc(1, sizeof(*a));
	if (!a)
		return cs_fail(err, CS_E_NOMEM, "keeping processors awake");
	a->fd = open(opts->device, O_WRONLY | O_CLOEXEC);
	if (a->fd < 0 || !set_latency(a, LATENCY_ANY)) {
		int e = errno;
		if (a->fd >= 0)
			close(a->fd);
		free(a);
		return must ? cs_fail_errno(err, e, "cannot keep processors awake: %s", opts->device) : 0;
	}
	pthread_mutex_init(&a->lock, NULL);
	cs_deadline_cond(&a->changed);
	a->burst_ms = now_ms() - BURST_MS - 1;
	*out = a;
	return 0;
}

int cs_awake_start(struct cs_awake *a, struct cs_error *err)
{
	if (!a)
		return 0;
	int e = cs_thread_start(&a->thread, watching, a);
	if (e)
		return cs_fail_errno(err, e, "keeping processors awake");
	a->running = true;
	return 0;
}

void cs_awake_stop(struct cs_awake *a)
{
	if (!a || !a->running)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_signal(&a->changed);
	pthread_mutex_unlock(&a->lock);
	pthread_join(a->thread, NULL);
	a->running = false;
}

void cs_awake_free(struct cs_awake *a)
{
	if (!a)
		return;
	cs_awake_stop(a);
	pthread_cond_destroy(&a->changed);
	pthread_mutex_destroy(&a->lock);
	close(a->fd);
	free(a);
}
