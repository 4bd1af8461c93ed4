/* SPDX-License-Identifier: MIT */
/*
 * watch.c - a thread that notices changes of the store.
 *
 * The kernel keeps the names above the points for as long as we let it, so
 * somebody has to take them back when the set of points changes. inotify on
 * the data file says when the file was written; the store's generation says
 * whether that concerned the points. Where inotify sees nothing (a store on a
 * network file system), looking once a second does.
 *
 * A backup writes all the time, and each write is an event: after an event the
 * thread rests PAUSE_MS before it takes the next, and events that come
 * meanwhile count as one.
 *
 * When the kernel has dropped what was wrong, the generation is announced.
 * `chunkstore backup` and `forget` wait for that, so when they return, the
 * mount shows what they did.
 *
 * What is still in use of points that went is swept after that, and once a
 * second.
 *
 * This must be a thread of its own: dropping a name waits for the lock of its
 * directory, which may be held by a process whose request waits for an answer.
 */
#include "watch.h"

#include "thread.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <unistd.h>

#define LOOK_MS 1000
#define PAUSE_MS 5
#define EVENTS (IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | IN_DELETE_SELF)

struct cs_watch {
	struct cs_store *store;
	struct cs_view *view;
	struct cs_view_drop drop;
	struct cs_log *log;
	char *path;        /* the data file */
	int inotify, wake; /* inotify: -1 when there is none */
	pthread_t thread;
	bool running;        /* used by the starting and stopping thread */
	uint64_t generation; /* the last one announced; the thread's own once it runs */
	bool failing;        /* the last look failed: do not say so again. The thread's own. */
};

/* Take back what a change made wrong, and tell the committers. */
static void look(struct cs_watch *w)
{
	uint64_t now;
	struct cs_error err;

	if (cs_store_generation(w->store, &now, &err) < 0) {
		if (!w->failing)
			cs_log_line(w->log, "%s", err.text);
		w->failing = true;
		return;
	}
	w->failing = false;
	if (now == w->generation)
		return;
	cs_view_refresh(w->view, &w->drop);
	w->generation = now;
	if (cs_store_announce(w->store, now, &err) < 0)
		cs_log_line(w->log, "%s", err.text);
}

/* Empty the queue. When the file itself went or was replaced, watch what has its name now. */
static void drain(struct cs_watch *w)
{
	char buf[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
	bool again = false;
	ssize_t n;

	while ((n = read(w->inotify, buf, sizeof(buf))) > 0) {
		for (char *p = buf; p < buf + n;) {
			struct inotify_event *e = (struct inotify_event *)(void *)p;
			if (e->mask & (IN_MOVE_SELF | IN_DELETE_SELF | IN_IGNORED))
				again = true;
			p += sizeof(*e) + e->len;
		}
	}
	if (again)
		inotify_add_watch(w->inotify, w->path, EVENTS);
}

static void *watching(void *arg)
{
	struct cs_watch *w = arg;
	struct pollfd fds[2] = {
		{ .fd = w->wake, .events = POLLIN },
		{ .fd = w->inotify, .events = POLLIN },
	};

	look(w);
	for (;;) {
		cs_view_sweep(w->view, &w->drop); /* nobody has to wait for this */
		int n = poll(fds, 2, LOOK_MS);
		if (n < 0 && errno != EINTR)
			break;
		if (n > 0 && fds[0].revents)
			break;
		if (n > 0 && fds[1].revents)
			drain(w);
		look(w);
		if (n > 0 && poll(fds, 1, PAUSE_MS) > 0)
			break;
	}
	return NULL;
}

int cs_watch_new(struct cs_store *store, struct cs_view *view, const struct cs_view_drop *drop,
		 struct cs_log *log, struct cs_watch **out, struct cs_error *err)
{
	struct cs_watch *w = calloc(1, sizeof(*w));
	int r;

	if (!w)
		return cs_fail(err, CS_E_NOMEM, "watching the store");
	w->store = store;
	w->view = view;
	w->drop = *drop;
	w->log = log;
	w->inotify = -1;
	w->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (w->wake < 0) {
		r = cs_fail_errno(err, errno, "watching the store");
		goto out;
	}
	if (asprintf(&w->path, "%s/data.mdb", cs_store_path(store)) < 0) {
		w->path = NULL;
		r = cs_fail(err, CS_E_NOMEM, "watching the store");
		goto out;
	}
	w->inotify = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
	if (w->inotify >= 0)
		inotify_add_watch(w->inotify, w->path, EVENTS);
	r = cs_store_generation(store, &w->generation, err);
	if (r == 0)
		r = cs_store_announce(store, w->generation, err);
out:
	if (r < 0)
		cs_watch_free(w);
	else
		*out = w;
	return r;
}

int cs_watch_start(struct cs_watch *w, struct cs_error *err)
{
	int e = cs_thread_start(&w->thread, watching, w);
	if (e)
		return cs_fail_errno(err, e, "watching the store");
	w->running = true;
	return 0;
}

void cs_watch_stop(struct cs_watch *w)
{
	if (!w || !w->running)
		return;
	eventfd_write(w->wake, 1);
	pthread_join(w->thread, NULL);
	w->running = false;
}

void cs_watch_free(struct cs_watch *w)
{
	if (!w)
		return;
	cs_watch_stop(w);
	if (w->inotify >= 0)
		close(w->inotify);
	if (w->wake >= 0)
		close(w->wake);
	free(w->path);
	free(w);
}
