/* SPDX-License-Identifier: MIT */
/*
 * push.c - sending small files to the kernel ahead of the reader.
 *
 * The kernel reads ahead within a file and knows nothing of the next one, so a
 * tree of small files costs one READ each, a round trip in which the reader
 * waits. But whoever copies, packs or searches a tree reads a directory's
 * files in the order in which they are listed, which is the order in which
 * their contents lie in the store. So once that is what somebody does, this
 * thread puts the following files into the page cache before they are asked
 * for.
 *
 * When is somebody walking? READs of the file that comes next, NEXT_NEEDED
 * times in a row: the next one of the same directory, or the first one of a
 * directory listed lately. Listings and attributes alone (find, ls) trigger
 * nothing, nor do reads here and there.
 *
 * How far ahead? A pushed file causes no READ, so the reader goes out of
 * sight. Therefore each window leaves one file in its middle unpushed, the
 * marker. Its READ says that the reader came that far, and opens the next
 * window, twice as large up to WINDOW_MAX; without it nothing more is pushed.
 * A window that reaches the end of the directory needs none: the first READ in
 * the next directory goes on.
 *
 * What may be pushed? Only whole files, exactly as long as their attributes
 * say (the kernel would make a file grow to hold more), of one name (others
 * are numbered elsewhere), and only of those that the kernel got with their
 * attributes in a listing: it refuses data for inodes that it does not hold.
 * Refusals are no error, but several in a row end the window.
 *
 * Storing waits for locks on pages, which a reader may hold until a worker
 * answers his READ. So it is done by a thread of its own, never by a worker,
 * and without holding the lock that the workers take to report.
 */
#include "push.h"

#include "inode.h"
#include "thread.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define FILE_MAX ((uint64_t)256 * 1024) /* larger ones: the kernel's own read-ahead */
#define WINDOW_MIN ((uint64_t)1024 * 1024)
#define WINDOW_MAX ((uint64_t)8 * 1024 * 1024)
#define PLAN_MAX 512 /* files of one window */
#define NEXT_NEEDED 3
#define NEAR 64      /* numbers a READ may be ahead of the last one to be looked at closely */
#define SCAN_MAX 256 /* children passed over in search of a file */
#define REFUSED_MAX 8
#define DIRS 512   /* directories remembered */
#define EVENTS 128 /* READs waiting to be looked at; a power of two */

#define FIRST_OFFSET 2 /* of child 0 in a listing: behind "." and ".." */

/*
 * A directory that the kernel has the listing of. Indexes count its children
 * from 0; their inode numbers ascend with them, but not one by one: whatever
 * lies below a child is numbered in between.
 */
struct dir {
	uint64_t ino;
	uint64_t listed; /* the kernel holds the children below this index */
	uint64_t last;   /* inode of the last of them */
	bool complete;   /* and there are no more */
	uint64_t used;   /* clock of the last use; 0: the slot is free */
	uint64_t seen;   /* highest inode that was READ since the window was planned */
	/* the pushing thread's own */
	uint64_t expected; /* index: the file that should be READ next is here or behind */
	uint64_t done;     /* inode: children before it were pushed or passed over */
	uint64_t read;     /* inode: the last READ that was looked at */
	uint64_t marker;   /* inode, or 0 */
	uint64_t window;   /* bytes of the last one; 0: none yet */
};

struct event {
	uint64_t dir, ino;
};

/* One child worth pushing. */
struct item {
	uint64_t ino;
	size_t size;
};

struct cs_push {
	struct cs_view *view;
	struct cs_push_kernel kernel;
	pthread_t thread;
	bool running; /* used by the starting and stopping thread */

	pthread_mutex_t lock;
	pthread_cond_t work;
	/* guarded by lock */
	bool stop;
	uint64_t clock;
	unsigned head, tail; /* of events; they only grow */
	struct event events[EVENTS];
	struct dir dirs[DIRS];

	/* the pushing thread's own */
	unsigned in_a_row; /* READs that were the expected ones */
	struct item plan[PLAN_MAX];
	size_t planned;
	char gathered[FILE_MAX];
};

/* --------------------------------------------------- what the workers report */

static struct dir *find_dir(struct cs_push *p, uint64_t ino)
{
	for (struct dir *d = p->dirs; d < p->dirs + DIRS; d++)
		if (d->used && d->ino == ino)
			return d;
	return NULL;
}

/* The innermost remembered directory around a file. Others may lie between; then it is no child. */
static struct dir *dir_around(struct cs_push *p, uint64_t ino)
{
	struct dir *best = NULL;

	for (struct dir *d = p->dirs; d < p->dirs + DIRS; d++)
		if (d->used && d->ino < ino && ino <= d->last && (!best || d->ino > best->ino))
			best = d;
	return best;
}

static struct dir *new_dir(struct cs_push *p, uint64_t ino)
{
	struct dir *oldest = p->dirs;

	for (struct dir *d = p->dirs; d < p->dirs + DIRS; d++)
		if (d->used < oldest->used)
			oldest = d;
	memset(oldest, 0, sizeof(*oldest));
	oldest->ino = ino;
	return oldest;
}

void cs_push_was_listed(struct cs_push *p, uint64_t dir, uint64_t listed, uint64_t last,
			bool complete)
{
	if (!p || cs_inode_is_virtual(last))
		return;
	pthread_mutex_lock(&p->lock);
	struct dir *d = find_dir(p, dir);
	if (!d)
		d = new_dir(p, dir);
	if (d->listed < listed)
		d->listed = listed;
	if (d->last < last)
		d->last = last;
	d->complete = d->complete || complete;
	d->used = ++p->clock;
	pthread_mutex_unlock(&p->lock);
}

void cs_push_was_read(struct cs_push *p, uint64_t ino, uint64_t off)
{
	if (!p || off != 0)
		return;
	pthread_mutex_lock(&p->lock);
	struct dir *d = dir_around(p, ino);
	if (d && p->head - p->tail < EVENTS) {
		d->used = ++p->clock;
		if (d->seen < ino)
			d->seen = ino;
		p->events[p->head++ % EVENTS] = (struct event){ d->ino, ino };
		pthread_cond_signal(&p->work);
	}
	pthread_mutex_unlock(&p->lock);
}

/* --------------------------------------------------------- where the reader is */

/* What a look into a listing begins with and finds. */
struct look {
	struct cs_push *p;
	uint64_t listed;
	uint64_t index, ino; /* of the child looked at last */
	uint64_t left;       /* children or bytes until it is enough */
	bool found, cut;
};

static bool is_file(const struct cs_view_dirent *e)
{
	return e->entry.ino && S_ISREG(e->entry.st.st_mode) && e->entry.st.st_size > 0 &&
	       e->entry.st.st_nlink == 1;
}

static bool first_file(void *arg, const struct cs_view_dirent *e)
{
	struct look *l = arg;

	l->index = e->next - FIRST_OFFSET - 1;
	l->ino = e->entry.ino;
	l->found = is_file(e);
	return !l->found && --l->left > 0;
}

/* The first file from index on is ino; *out is its index. */
static bool next_file_is(struct cs_push *p, const struct dir *d, uint64_t index, uint64_t ino,
			 uint64_t *out)
{
	struct look l = { .left = SCAN_MAX };

	if (cs_view_readdir(p->view, d->ino, index + FIRST_OFFSET, first_file, &l) != 0)
		return false;
	*out = l.index;
	return l.found && l.ino == ino;
}

static bool only_one(void *arg, const struct cs_view_dirent *e)
{
	struct look *l = arg;

	l->ino = e->entry.st.st_ino;
	l->found = true;
	return false;
}

/* Index of the first child numbered above ino, by halves. */
static uint64_t index_behind(struct cs_push *p, const struct dir *d, uint64_t ino)
{
	uint64_t low = 0, high = d->listed;

	while (low < high) {
		uint64_t middle = low + (high - low) / 2;
		struct look l = { .found = false };
		if (cs_view_readdir(p->view, d->ino, middle + FIRST_OFFSET, only_one, &l) != 0 ||
		    !l.found)
			return d->listed;
		if (l.ino > ino)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

/*
 * The file just READ is the one that a walk reads next: the first one where we
 * expect it, or the one behind the last READ. Then d->expected is behind it.
 */
static bool was_next(struct cs_push *p, struct dir *d, uint64_t ino)
{
	uint64_t index, before = d->read;

	d->read = ino;
	if (next_file_is(p, d, d->expected, ino, &index)) {
		d->expected = index + 1;
		return true;
	}
	if (before == 0 || ino <= before || ino - before > NEAR)
		return false;
	if (!next_file_is(p, d, index_behind(p, d, before), ino, &index))
		return false;
	d->expected = index + 1;
	return true;
}

/* ------------------------------------------------------------------- planning */

static bool plan_entry(void *arg, const struct cs_view_dirent *e)
{
	struct look *l = arg;
	struct cs_push *p = l->p;
	uint64_t size = (uint64_t)e->entry.st.st_size;

	if (e->next - FIRST_OFFSET > l->listed) {
		l->cut = true;
		return false;
	}
	if (is_file(e) && size <= FILE_MAX) {
		if (p->planned == PLAN_MAX || l->left < size) {
			l->cut = true;
			return false;
		}
		l->left -= size;
		p->plan[p->planned++] = (struct item){ e->entry.ino, (size_t)size };
	}
	l->index = e->next - FIRST_OFFSET;
	if (e->entry.ino && (e->entry.st.st_nlink == 1 || S_ISDIR(e->entry.st.st_mode)))
		l->ino = e->entry.ino;
	return true;
}

/* Choose the files of the next window, behind d->expected, and its marker. */
static void make_plan(struct cs_push *p, struct dir *d)
{
	struct look l = { .p = p, .listed = d->listed, .index = d->expected, .left = d->window };

	p->planned = 0;
	d->marker = 0;
	if (cs_view_readdir(p->view, d->ino, d->expected + FIRST_OFFSET, plan_entry, &l) != 0)
		l.cut = true;
	d->expected = l.index;
	if (l.ino >= d->done)
		d->done = l.ino + 1;
	if ((!l.cut && d->complete) || p->planned < 2)
		return;
	size_t middle = p->planned / 2;
	d->marker = p->plan[middle].ino;
	p->planned--;
	memmove(&p->plan[middle], &p->plan[middle + 1], (p->planned - middle) * sizeof(p->plan[0]));
}

/* Somebody read a file. Is there something to push? */
static bool react(struct cs_push *p, struct dir *d, uint64_t ino)
{
	if (ino <= d->read) { /* a new walk over a directory that was walked before */
		d->expected = 0;
		d->done = d->read = d->marker = 0;
	}
	if (ino < d->done) {
		d->read = ino;
		if (ino != d->marker)
			return false;
		d->window = d->window < WINDOW_MAX ? 2 * d->window : WINDOW_MAX;
	} else {
		p->in_a_row = was_next(p, d, ino) ? p->in_a_row + 1 : 0;
		if (p->in_a_row < NEXT_NEEDED)
			return false;
		d->window = WINDOW_MIN;
	}
	make_plan(p, d);
	return p->planned > 0;
}

/* -------------------------------------------------------------------- pushing */

/* 0, or a negative errno of the kernel's. A file that cannot be read is left to its READ. */
static int push_file(struct cs_push *p, const struct item *it)
{
	struct cs_view_read r = { .tree = NULL };
	int result = 0;

	if (cs_view_read(p->view, it->ino, 0, it->size, &r) == 0 && r.data.len == it->size) {
		const void *bytes = r.data.niov == 1 ? r.data.iov[0].iov_base : p->gathered;
		char *to = p->gathered;
		for (size_t i = 0; r.data.niov > 1 && i < r.data.niov; i++)
			to = mempcpy(to, r.data.iov[i].iov_base, r.data.iov[i].iov_len);
		result = p->kernel.store(p->kernel.arg, it->ino, bytes, it->size);
	}
	cs_view_read_release(p->view, &r);
	return result;
}

/* False: the window is over. The reader may have overtaken us, then the file is skipped. */
static bool may_push(struct cs_push *p, const struct dir *d, uint64_t dir, uint64_t ino, bool *skip)
{
	pthread_mutex_lock(&p->lock);
	bool go_on = d->ino == dir && !p->stop;
	*skip = go_on && d->seen >= ino;
	pthread_mutex_unlock(&p->lock);
	return go_on;
}

/* slot: where the directory was remembered; another one may have taken it. */
static void push_plan(struct cs_push *p, const struct dir *slot, uint64_t dir)
{
	unsigned refused = 0;
	bool skip;

	for (size_t i = 0; i < p->planned && refused < REFUSED_MAX; i++) {
		if (!may_push(p, slot, dir, p->plan[i].ino, &skip))
			return;
		if (!skip)
			refused = push_file(p, &p->plan[i]) < 0 ? refused + 1 : 0;
	}
}

static void *pushing(void *arg)
{
	struct cs_push *p = arg;

	pthread_mutex_lock(&p->lock);
	while (!p->stop) {
		if (p->head == p->tail) {
			pthread_cond_wait(&p->work, &p->lock);
			continue;
		}
		struct event e = p->events[p->tail++ % EVENTS];
		struct dir *slot = find_dir(p, e.dir);
		if (!slot)
			continue;
		struct dir d = *slot;
		pthread_mutex_unlock(&p->lock);

		/* the reader may have left the point, which may then be gone at any moment */
		bool here = cs_view_join(p->view, e.dir);
		bool push = here && react(p, &d, e.ino);

		pthread_mutex_lock(&p->lock);
		if (slot->ino == e.dir) {
			slot->expected = d.expected;
			slot->done = d.done;
			slot->read = d.read;
			slot->marker = d.marker;
			slot->window = d.window;
			if (push)
				slot->seen = e.ino;
		}
		pthread_mutex_unlock(&p->lock);
		if (push)
			push_plan(p, slot, d.ino);
		if (here)
			cs_view_forget(p->view, e.dir, 1);
		pthread_mutex_lock(&p->lock);
	}
	pthread_mutex_unlock(&p->lock);
	return NULL;
}

/* ------------------------------------------------------------------- life cycle */

int cs_push_new(struct cs_view *view, const struct cs_push_kernel *kernel, struct cs_push **out,
		struct cs_error *err)
{
	struct cs_push *p = calloc(1, sizeof(*p));

	if (!p)
		return cs_fail(err, CS_E_NOMEM, "pushing files");
	p->view = view;
	p->kernel = *kernel;
	pthread_mutex_init(&p->lock, NULL);
	pthread_cond_init(&p->work, NULL);
	*out = p;
	return 0;
}

int cs_push_start(struct cs_push *p, struct cs_error *err)
{
	if (!p)
		return 0;
	int e = cs_thread_start(&p->thread, pushing, p);
	if (e)
		return cs_fail_errno(err, e, "pushing files");
	p->running = true;
	return 0;
}

void cs_push_stop(struct cs_push *p)
{
	if (!p || !p->running)
		return;
	pthread_mutex_lock(&p->lock);
	p->stop = true;
	pthread_cond_signal(&p->work);
	pthread_mutex_unlock(&p->lock);
	pthread_join(p->thread, NULL);
	p->running = false;
}

void cs_push_free(struct cs_push *p)
{
	if (!p)
		return;
	cs_push_stop(p);
	pthread_cond_destroy(&p->work);
	pthread_mutex_destroy(&p->lock);
	free(p);
}
