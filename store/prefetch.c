/* SPDX-License-Identifier: MIT */
#include "prefetch.h"

#include "alloc.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#define QUEUE 16
/* Numbers between two data bundles that follow each other: metadata bundles, other writers'. */
#define STEP_MAX 8

struct job {
	uint64_t number;
	bool exactly;
};

struct cs_prefetch {
	cs_prefetch_fn *fn;
	void *arg;
	_Atomic uint64_t last; /* the bundle used last */
	pthread_mutex_t lock;
	pthread_cond_t wake;
	pthread_t thread;
	bool started, stop; /* guarded by lock, as the queue */
	struct job queue[QUEUE];
	unsigned head, count;
};

struct cs_prefetch *cs_prefetch_new(cs_prefetch_fn *fn, void *arg)
{
	struct cs_prefetch *p = cs_zalloc(sizeof(*p));
	if (!p)
		return NULL;
	p->fn = fn;
	p->arg = arg;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->wake, NULL);
	return p;
}

static void *run(void *arg)
{
	struct cs_prefetch *p = arg;
	pthread_mutex_lock(&p->lock);
	for (;;) {
		while (!p->stop && p->count == 0)
			pthread_cond_wait(&p->wake, &p->lock);
		if (p->stop)
			break;
		struct job j = p->queue[p->head];
		p->head = (p->head + 1) % QUEUE;
		p->count--;
		pthread_mutex_unlock(&p->lock);
		p->fn(p->arg, j.number, j.exactly);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

void cs_prefetch_free(struct cs_prefetch *p)
{
	if (!p)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->wake);
	bool started = p->started;
	pthread_mutex_unlock(&p->lock);
	if (started)
		pthread_join(p->thread, NULL);
	pthread_mutex_destroy(&p->lock);
	pthread_cond_destroy(&p->wake);
	free(p);
}

/* A full queue drops the request: it is a hint, and the thread is behind anyway. */
static void enqueue(struct cs_prefetch *p, struct job j)
{
	pthread_mutex_lock(&p->lock);
	if (!p->started && !p->stop)
		p->started = pthread_create(&p->thread, NULL, run, p) == 0;
	if (p->started && p->count < QUEUE) {
		p->queue[(p->head + p->count++) % QUEUE] = j;
		pthread_cond_signal(&p->wake);
	}
	pthread_mutex_unlock(&p->lock);
}

void cs_prefetch_used(struct cs_prefetch *p, uint64_t number)
{
	uint64_t last = atomic_load_explicit(&p->last, memory_order_relaxed);
	if (number == last)
		return;
	atomic_store_explicit(&p->last, number, memory_order_relaxed);
	if (number > last && number - last <= STEP_MAX)
		enqueue(p, (struct job){ number, false });
}

void cs_prefetch_wanted(struct cs_prefetch *p, uint64_t number)
{
	enqueue(p, (struct job){ number, true });
}
