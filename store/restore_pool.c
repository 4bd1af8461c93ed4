/* SPDX-License-Identifier: MIT */
/*
 * restore_pool.c - decision: one queue of batches of neighbours, in the order
 * of the walk, so that a bundle is decoded once for all the files in it. The
 * calling thread walks, makes directories and fills the queue; it alone calls
 * the callbacks. Threads hand it their notices and wait when it falls behind;
 * it looks at them whenever it waits itself, so neither waits for ever.
 */
#include "restore_there_impl.h"

#include "alloc.h"
#include "cleanup.h"
#include "deadline.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define TELL_MS 200

static int64_t now_ms(void)
{
	struct timespec t;
	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* ---- notices */

void cs_restore_stop(struct cs_restore_run *run, const struct cs_error *err)
{
	pthread_mutex_lock(&run->lock);
	if (!atomic_load(&run->stop)) {
		run->fatal = *err;
		atomic_store(&run->stop, true);
	}
	pthread_cond_broadcast(&run->work);
	pthread_cond_broadcast(&run->room);
	pthread_cond_broadcast(&run->calm);
	pthread_mutex_unlock(&run->lock);
}

/* Takes lock. text NULL: no memory for it; it was counted all the same. */
static void queue_bytes(struct cs_restore_run *run, int kind, const char *text, size_t len)
{
	struct cs_restore_notice *n = text ? cs_alloc(sizeof(*n) + len + 1) : NULL;
	if (!n)
		return;
	n->next = NULL;
	n->kind = kind;
	n->len = len;
	memcpy(n->text, text, len);
	n->text[len] = '\0';
	bool waits = !pthread_equal(pthread_self(), run->caller);
	pthread_mutex_lock(&run->lock);
	while (waits && run->notices_count >= CS_RESTORE_NOTICES && !atomic_load(&run->stop))
		pthread_cond_wait(&run->calm, &run->lock);
	*run->notices_end = n;
	run->notices_end = &n->next;
	run->notices_count++;
	pthread_cond_signal(&run->room);
	pthread_mutex_unlock(&run->lock);
}

static void queue_notice(struct cs_restore_run *run, int kind, const char *text)
{
	queue_bytes(run, kind, text, text ? strlen(text) : 0);
}

void cs_restore_tell_fate(struct cs_restore_run *run, int fate, const char *path, size_t len)
{
	queue_bytes(run, CS_RESTORE_TOLD + fate, path, len);
}

static char *join(const char *path, const char *text)
{
	char *out;
	size_t n = strlen(path) + strlen(text) + 3;
	if ((out = cs_alloc(n)))
		snprintf(out, n, "%s: %s", path, text);
	return out;
}

void cs_restore_tell(struct cs_restore_run *run, int kind, const struct cs_restore_dir *d,
		     const char *name, size_t name_len, const char *text)
{
	CS_FREE char *path = cs_restore_path(d, name, name_len);
	CS_FREE char *line = path ? join(path, text) : NULL;
	if (kind == CS_NOTICE_ERROR)
		run->failed++;
	queue_notice(run, kind, line);
}

static const char *const lapse_names[CS_RESTORE_LAPSES] = {
	[CS_RESTORE_OWNER] = "cannot set the owner",
	[CS_RESTORE_MODE] = "cannot set the mode",
	[CS_RESTORE_TIMES] = "cannot set the times",
	[CS_RESTORE_XATTR] = "cannot set an extended attribute",
	[CS_RESTORE_DEVICE] = "cannot create the device",
	[CS_RESTORE_LINK] = "cannot make the hard link, restored as a file of its own",
	[CS_RESTORE_FLAGS] = "cannot set the file flags",
	[CS_RESTORE_PROJID] = "cannot set the project id",
};

void cs_restore_lapse(struct cs_restore_run *run, int kind, const struct cs_restore_target *t,
		      const char *detail, int sys_errno)
{
	bool usual = sys_errno == EPERM || sys_errno == EOPNOTSUPP || sys_errno == ENOTTY;
	int notice = kind < CS_RESTORE_FLAGS ? CS_NOTICE_ERROR : CS_NOTICE_INFO;
	struct cs_error err;

	if (usual) {
		pthread_mutex_lock(&run->lock);
		bool again = run->lapses[kind]++ > 0;
		pthread_mutex_unlock(&run->lock);
		if (again) {
			run->failed += notice == CS_NOTICE_ERROR;
			return;
		}
	}
	cs_fail_errno(&err, sys_errno, "%s%s%s", lapse_names[kind], detail ? " " : "",
		      detail ? detail : "");
	const char *name = t->shown ? t->shown : t->name;
	cs_restore_tell(run, notice, t->dir, name, strlen(name), err.text);
}

/* What was counted after the first. */
static void tell_lapses(struct cs_restore_run *run)
{
	for (int kind = 0; kind < CS_RESTORE_LAPSES; kind++) {
		char text[128];
		if (run->lapses[kind] < 2)
			continue;
		snprintf(text, sizeof(text), "%s: %llu more like this",
			 lapse_names[kind], (unsigned long long)(run->lapses[kind] - 1));
		queue_notice(run, kind < CS_RESTORE_FLAGS ? CS_NOTICE_ERROR : CS_NOTICE_INFO, text);
	}
}

/* Calling thread. */
static void tell_notices(struct cs_restore_run *run)
{
	pthread_mutex_lock(&run->lock);
	struct cs_restore_notice *n = run->notices;
	run->notices = NULL;
	run->notices_end = &run->notices;
	run->notices_count = 0;
	pthread_cond_broadcast(&run->calm);
	pthread_mutex_unlock(&run->lock);
	while (n) {
		struct cs_restore_notice *next = n->next;
		if (n->kind >= CS_RESTORE_TOLD)
			run->opts->told(run->opts->arg, n->kind - CS_RESTORE_TOLD, n->text, n->len);
		else if (run->opts->notice)
			run->opts->notice(run->opts->arg, n->kind, n->text);
		free(n);
		n = next;
	}
}

void cs_restore_tell_rest(struct cs_restore_run *run)
{
	tell_lapses(run);
	tell_notices(run);
}

/* ---- progress */

static void tell_progress(struct cs_restore_run *run, const struct cs_restore_dir *at)
{
	int64_t now = now_ms();
	if (!run->opts->progress || now - run->told < TELL_MS)
		return;
	run->told = now;
	CS_FREE char *path = at ? cs_restore_path(at, "", 0) : NULL;
	run->progress.entries = run->entries;
	run->progress.bytes = run->bytes;
	run->progress.path = path;
	if (run->opts->progress(run->opts->arg, &run->progress) != 0) {
		struct cs_error err;
		cs_fail(&err, CS_E_INTERRUPTED, "restore interrupted");
		cs_restore_stop(run, &err);
	}
	run->progress.path = NULL;
}

int cs_restore_pump(struct cs_restore_run *run, const struct cs_restore_dir *at,
		    struct cs_error *err)
{
	pthread_mutex_lock(&run->lock);
	bool waiting = run->notices != NULL;
	pthread_mutex_unlock(&run->lock);
	if (waiting)
		tell_notices(run);
	tell_progress(run, at);
	if (!atomic_load(&run->stop))
		return CS_OK;
	if (err)
		*err = run->fatal; /* set once, before stop */
	return run->fatal.code;
}

/* ---- threads */

static void batch_free(struct cs_restore_run *run, struct cs_restore_batch *b)
{
	if (!b)
		return;
	for (size_t i = 0; i < b->count; i++)
		cs_node_release(&b->nodes[i]);
	cs_restore_dir_unuse(run, b->dir);
	cs_restore_dir_drop(run, b->dir);
	free(b);
}

/* The next batch, or NULL when there is nothing more to do. Called with lock. */
static struct cs_restore_batch *take(struct cs_restore_run *run)
{
	while (!run->first && !run->closing && !atomic_load(&run->stop))
		pthread_cond_wait(&run->work, &run->lock);
	struct cs_restore_batch *b = run->first;
	if (!b || atomic_load(&run->stop))
		return NULL;
	run->first = b->next;
	if (!run->first)
		run->last = &run->first;
	run->queued--;
	run->busy++;
	pthread_cond_signal(&run->room);
	return b;
}

static void *work(void *arg)
{
	struct cs_restore_run *run = arg;
	struct cs_restore_worker w = { .run = run };
	struct cs_restore_batch *b;

	pthread_mutex_lock(&run->lock);
	while ((b = take(run))) {
		pthread_mutex_unlock(&run->lock);
		for (size_t i = 0; i < b->count && !atomic_load(&run->stop); i++)
			cs_restore_make_or_tell(&w, b->dir, &b->nodes[i]);
		cs_read_release(&w.rd);
		batch_free(run, b);
		pthread_mutex_lock(&run->lock);
		run->busy--;
		pthread_cond_signal(&run->room);
	}
	pthread_mutex_unlock(&run->lock);
	return NULL;
}

int cs_restore_pool_start(struct cs_restore_run *run, struct cs_error *err)
{
	long n = run->opts->threads ? (long)run->opts->threads : sysconf(_SC_NPROCESSORS_ONLN);
	if (n < 1 || run->opts->dry_run) /* told in the order of the tree */
		n = 1;
	if (n > (long)CS_RESTORE_THREADS)
		n = CS_RESTORE_THREADS;
	int e = 0;
	while (run->nthreads < (unsigned)n && e == 0) {
		e = pthread_create(&run->threads[run->nthreads], NULL, work, run);
		run->nthreads += e == 0;
	}
	return run->nthreads ? CS_OK : cs_fail_errno(err, e, "cannot start a thread");
}

/* Wait until fewer than so many batches are waiting (and none busy, for 0), telling meanwhile. */
static int wait_for(struct cs_restore_run *run, size_t limit, const struct cs_restore_dir *at,
		    struct cs_error *err)
{
	for (;;) {
		int r = cs_restore_pump(run, at, err);
		if (r < 0)
			return r;
		struct timespec until = cs_deadline_in(TELL_MS);
		pthread_mutex_lock(&run->lock);
		int late = 0;
		bool done;
		while (!(done = limit ? run->queued < limit : run->queued + run->busy == 0) &&
		       !run->notices && !atomic_load(&run->stop) && late == 0)
			late = pthread_cond_timedwait(&run->room, &run->lock, &until);
		pthread_mutex_unlock(&run->lock);
		if (done && !atomic_load(&run->stop))
			return CS_OK;
	}
}

static int submit(struct cs_restore_run *run, struct cs_error *err)
{
	struct cs_restore_batch *b = run->filling;
	if (!b)
		return CS_OK;
	int r = wait_for(run, CS_RESTORE_QUEUE, b->dir, err);
	if (r < 0)
		return r;
	run->filling = NULL;
	pthread_mutex_lock(&run->lock);
	*run->last = b;
	run->last = &b->next;
	run->queued++;
	pthread_cond_signal(&run->work);
	pthread_mutex_unlock(&run->lock);
	return CS_OK;
}

int cs_restore_pool_add(struct cs_restore_run *run, struct cs_restore_dir *d,
			const struct cs_node *n, struct cs_error *err)
{
	struct cs_restore_batch *b = run->filling;

	if (b && b->dir != d) {
		int r = submit(run, err);
		if (r < 0)
			return r;
		b = NULL;
	}
	if (!b) {
		int r = cs_restore_dir_use(run, d, err);
		if (r < 0)
			return r;
		b = cs_alloc(sizeof(*b));
		if (!b) {
			cs_restore_dir_unuse(run, d);
			return cs_fail(err, CS_E_NOMEM, "out of memory");
		}
		cs_restore_dir_hold(run, d);
		b->next = NULL;
		b->dir = d;
		b->bytes = b->count = 0;
		run->filling = b;
	}
	cs_node_copy(n, &b->nodes[b->count++]);
	b->bytes += S_ISREG(n->entry.mode) ? n->entry.data_bytes : 0;
	return b->count == CS_RESTORE_BATCH || b->bytes >= CS_RESTORE_BATCH_BYTES ?
		       submit(run, err) : CS_OK;
}

int cs_restore_pool_finish(struct cs_restore_run *run, struct cs_error *err)
{
	int r = submit(run, err);
	return r < 0 ? r : wait_for(run, 0, NULL, err);
}

void cs_restore_pool_stop(struct cs_restore_run *run)
{
	pthread_mutex_lock(&run->lock);
	run->closing = true;
	pthread_cond_broadcast(&run->work);
	pthread_cond_broadcast(&run->calm);
	pthread_mutex_unlock(&run->lock);
	while (run->nthreads > 0)
		pthread_join(run->threads[--run->nthreads], NULL);
	while (run->first) {
		struct cs_restore_batch *b = run->first;
		run->first = b->next;
		batch_free(run, b);
	}
	run->last = &run->first;
	run->queued = 0;
	batch_free(run, run->filling);
	run->filling = NULL;
}
