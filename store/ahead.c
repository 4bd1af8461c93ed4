/* SPDX-License-Identifier: MIT */
#include "ahead.h"

#include "alloc.h"
#include "format.h"
#include "walk.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define THREADS 8 /* requests that a disk has at a time; more brought little */
#define QUEUE 256u
#define PATIENCE 500 /* names, after a file that was not in memory */

struct cs_ahead_dir {
	int fd;
	struct cs_source_stat st;
	unsigned users; /* the caller and what is queued; guarded by lock */
};

struct item {
	struct cs_ahead_dir *dir;
	char name[CS_NAME_MAX + 1];
};

struct cs_ahead {
	unsigned patience; /* caller's thread only */

	pthread_mutex_t lock;
	pthread_cond_t work;
	/* guarded by lock */
	struct item queue[QUEUE];
	unsigned head, n;
	bool stop;

	unsigned nthreads;
	pthread_t threads[THREADS];
};

/* Called with the lock held. */
static void drop_dir(struct cs_ahead_dir *dir)
{
	if (--dir->users == 0) {
		close(dir->fd);
		free(dir);
	}
}

static void look_into_directory(int dirfd, const char *name)
{
	char buf[32 << 10] __attribute__((aligned(8)));
	int fd = cs_walk_open(dirfd, name, O_DIRECTORY);
	if (fd >= 0) {
		(void)!syscall(SYS_getdents64, fd, buf, sizeof(buf));
		close(fd);
	}
}

static void look_into_file(int dirfd, const char *name, uint64_t size)
{
	int fd = cs_walk_open(dirfd, name, 0);
	if (fd >= 0) { /* the rest of a long file is read in a row, which the kernel sees */
		(void)!readahead(fd, 0, size < CS_WHOLE_FILE_MAX ? size : CS_WHOLE_FILE_MAX);
		close(fd);
	}
}

static void look(const struct item *it)
{
	struct cs_entry e;
	struct cs_source_stat st;
	if (cs_walk_stat(it->dir->fd, it->name, &e, &st) != 0 ||
	    st.dev_major != it->dir->st.dev_major || st.dev_minor != it->dir->st.dev_minor)
		return;
	if (S_ISDIR(e.mode))
		look_into_directory(it->dir->fd, it->name);
	else if (S_ISREG(e.mode) && e.size)
		look_into_file(it->dir->fd, it->name, e.size);
}

static void *looker(void *arg)
{
	struct cs_ahead *a = arg;
	pthread_mutex_lock(&a->lock);
	for (;;) {
		while (!a->n && !a->stop)
			pthread_cond_wait(&a->work, &a->lock);
		if (a->stop)
			break;
		struct item it = a->queue[a->head];
		a->head = (a->head + 1) % QUEUE;
		if (--a->n) /* who is woken wakes the next one, as long as there is work */
			pthread_cond_signal(&a->work);
		pthread_mutex_unlock(&a->lock);
		look(&it);
		pthread_mutex_lock(&a->lock);
		drop_dir(it.dir);
	}
	pthread_mutex_unlock(&a->lock);
	return NULL;
}

static void start(struct cs_ahead *a)
{
	pthread_attr_t attr;
	if (pthread_attr_init(&attr) != 0)
		return;
	pthread_attr_setstacksize(&attr, (size_t)256 << 10);
	while (a->nthreads < THREADS &&
	       pthread_create(&a->threads[a->nthreads], &attr, looker, a) == 0)
		a->nthreads++;
	pthread_attr_destroy(&attr);
}

struct cs_ahead *cs_ahead_new(void)
{
	struct cs_ahead *a = cs_zalloc(sizeof(*a));
	if (!a)
		return NULL;
	pthread_mutex_init(&a->lock, NULL);
	pthread_cond_init(&a->work, NULL);
	return a;
}

void cs_ahead_free(struct cs_ahead *a)
{
	if (!a)
		return;
	pthread_mutex_lock(&a->lock);
	a->stop = true;
	pthread_cond_broadcast(&a->work);
	pthread_mutex_unlock(&a->lock);
	while (a->nthreads)
		pthread_join(a->threads[--a->nthreads], NULL);
	for (; a->n; a->n--, a->head = (a->head + 1) % QUEUE)
		drop_dir(a->queue[a->head].dir);
	pthread_mutex_destroy(&a->lock);
	pthread_cond_destroy(&a->work);
	free(a);
}

void cs_ahead_wake(struct cs_ahead *a)
{
	if (!a)
		return;
	a->patience = PATIENCE;
	if (!a->nthreads)
		start(a);
}

bool cs_ahead_wanted(struct cs_ahead *a)
{
	if (!a || !a->patience)
		return false;
	a->patience--;
	return a->nthreads > 0;
}

static struct cs_ahead_dir *new_dir(int fd)
{
	struct cs_entry e;
	struct cs_ahead_dir *dir = cs_zalloc(sizeof(*dir));
	if (!dir)
		return NULL;
	dir->users = 1;
	dir->fd = fcntl(fd, F_DUPFD_CLOEXEC, 3);
	if (dir->fd >= 0 && cs_walk_stat(dir->fd, "", &e, &dir->st) == 0)
		return dir;
	if (dir->fd >= 0)
		close(dir->fd);
	free(dir);
	return NULL;
}

bool cs_ahead_add(struct cs_ahead *a, int fd, struct cs_ahead_dir **dir, const char *name)
{
	size_t len = strlen(name);
	if (!*dir)
		*dir = new_dir(fd);
	if (!*dir)
		return false;
	if (len > CS_NAME_MAX)
		return true;
	pthread_mutex_lock(&a->lock);
	bool room = a->n < QUEUE;
	if (room) {
		struct item *it = &a->queue[(a->head + a->n++) % QUEUE];
		it->dir = *dir;
		it->dir->users++;
		memcpy(it->name, name, len + 1);
	}
	pthread_mutex_unlock(&a->lock);
	return room;
}

void cs_ahead_go(struct cs_ahead *a)
{
	pthread_mutex_lock(&a->lock);
	if (a->n)
		pthread_cond_signal(&a->work);
	pthread_mutex_unlock(&a->lock);
}

void cs_ahead_leave(struct cs_ahead *a, struct cs_ahead_dir *dir)
{
	if (dir) {
		pthread_mutex_lock(&a->lock);
		drop_dir(dir);
		pthread_mutex_unlock(&a->lock);
	}
}
