/* SPDX-License-Identifier: MIT */
/*
 * mount.c - one mount, from start to end.
 *
 * Threads: the main thread runs the loop (loop.c), whose workers serve requests.
 * The control thread makes the mount known once it answers, and afterwards
 * waits for signals. The helpers (watch.c, push.c) talk to the kernel of their
 * own accord, and may have to wait there for a request that a worker answers.
 *
 * That gives the order of the end. On a signal the helpers are stopped first,
 * while the workers still answer, then the loop, then the file system is
 * unmounted (lazily, if it is busy). When somebody else unmounts, the loop ends by
 * itself; there is no connection left that a helper could wait on. Only when
 * the helpers are gone is the device closed, since its number might then come
 * to mean another file.
 *
 * The mount is made before the store is opened: to make it takes privileges, and
 * the store is read without any (sandbox.c). Requests wait until the loop runs. To
 * unmount takes them again, and a second process for that (keeper.c).
 *
 * A killed daemon leaves ENOTCONN behind, on purpose: libfuse's auto_unmount
 * would turn the mount into an empty directory, which looks like an empty
 * backup to whoever copies it.
 */
#define FUSE_USE_VERSION 314
#include "mount.h"

#include "awake.h"
#include "daemon.h"
#include "keeper.h"
#include "loop.h"
#include "ops.h"
#include "push.h"
#include "sandbox.h"
#include "watch.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>
#include <sys/stat.h>
#include <unistd.h>

/*
 * Requests that the kernel has under way for a file that is read in a row: while one is
 * copied out, others are decoded on other processors. One alone left a quarter of two
 * processors idle, four a tenth, eight hardly less.
 */
#define READAHEAD_REQUESTS 4

struct mount {
	const struct cs_mount_opts *opts;
	char *store_path, *mountpoint; /* absolute */
	struct cs_log log;
	struct cs_daemon daemon;
	struct cs_store *store;
	struct cs_view *view;
	struct cs_watch *watch;
	struct cs_push *push;
	struct cs_awake *awake;
	struct cs_ops ops;
	struct fuse_session *session;
	struct cs_loop *loop;
	bool mounted;
	struct cs_keeper keeper; /* unmounts for us when we are in the sandbox */
	int readahead; /* the kernel's file for it, or -1 */
	pthread_t main, control;

	pthread_mutex_t lock;
	/* guarded by lock */
	bool ready;      /* the mount answered and was made known */
	struct statx root; /* what it answered, once ready */
	bool helping;    /* the helpers run */
	bool ending;     /* the helpers must not be started any more */
};

/* ---------------------------------------------------- what libfuse has to say */

/* libfuse's log has no argument, so this one variable is the file's. */
static struct {
	bool debug;
	char last[256];
} said;

static void fuse_says(enum fuse_log_level level, const char *fmt, va_list ap)
	__attribute__((format(printf, 2, 0)));

static void fuse_says(enum fuse_log_level level, const char *fmt, va_list ap)
{
	if (said.debug) {
		vfprintf(stderr, fmt, ap);
	} else if (level <= FUSE_LOG_WARNING) {
		vsnprintf(said.last, sizeof(said.last), fmt, ap);
		said.last[strcspn(said.last, "\n")] = '\0';
	}
}

/* ------------------------------------------------- what the helpers ask of FUSE */

static bool drop_name(void *arg, uint64_t parent, const char *name)
{
	struct mount *m = arg;

	return fuse_lowlevel_notify_inval_entry(m->session, parent, name, strlen(name)) == 0;
}

static void drop_dir(void *arg, uint64_t ino)
{
	struct mount *m = arg;

	fuse_lowlevel_notify_inval_inode(m->session, ino, 0, 0);
}

static int store_file(void *arg, uint64_t ino, const void *p, size_t len)
{
	struct mount *m = arg;
	struct fuse_bufvec bufs = FUSE_BUFVEC_INIT(len);

	memcpy(&bufs.buf[0].mem, &p, sizeof(p)); /* libfuse only reads it */
	return fuse_lowlevel_notify_store(m->session, ino, 0, &bufs, 0);
}

static void log_line(void *arg, const char *line)
{
	cs_log_line(arg, "%s", line);
}

/* ---------------------------------------------------------------- the helpers */

static void start_helpers(struct mount *m)
{
	struct cs_error err;

	pthread_mutex_lock(&m->lock);
	if (!m->ending) {
		if (cs_watch_start(m->watch, &err) < 0 || cs_push_start(m->push, &err) < 0 ||
		    cs_awake_start(m->awake, &err) < 0)
			cs_log_line(&m->log, "%s", err.text);
		m->helping = true;
	}
	pthread_mutex_unlock(&m->lock);
}

static void stop_helpers(struct mount *m)
{
	pthread_mutex_lock(&m->lock);
	m->ending = true;
	if (m->helping) {
		cs_awake_stop(m->awake);
		cs_push_stop(m->push);
		cs_watch_stop(m->watch);
	}
	m->helping = false;
	pthread_mutex_unlock(&m->lock);
}

/* ----------------------------------------------------------- the control thread */

/*
 * Let the kernel read further ahead than the 128 KiB it begins with. Needs
 * root; without it large files are read a little slower. Not before it has
 * agreed with libfuse on how far to read.
 */
static void raise_readahead(struct mount *m)
{
	char text[16];
	int len = snprintf(text, sizeof(text), "%d\n", READAHEAD_REQUESTS * CS_OPS_IO_MAX / 1024);

	if (m->readahead < 0)
		return;
	if (write(m->readahead, text, (size_t)len) < 0)
		errno = 0; /* a wish, not a need */
	close(m->readahead);
	m->readahead = -1;
}

/* Ask the mount something, so that "ready" is seen and not hoped for; then say so. */
static bool make_known(struct mount *m)
{
	struct statx st;

	if (statx(AT_FDCWD, m->mountpoint, AT_STATX_FORCE_SYNC, STATX_BASIC_STATS, &st) < 0)
		return false;
	raise_readahead(m);
	start_helpers(m);
	bool background = m->daemon.report >= 0;
	if (!cs_daemon_ready(&m->daemon))
		return false;
	if (background)
		cs_log_to_syslog(&m->log, m->keeper.fd < 0 ? NULL : &m->keeper);
	pthread_mutex_lock(&m->lock);
	m->root = st;
	m->ready = true;
	pthread_mutex_unlock(&m->lock);
	return true;
}

static void end_loop(struct mount *m)
{
	stop_helpers(m);
	cs_loop_end(m->loop);
}

static void end_signals(sigset_t *set)
{
	sigemptyset(set);
	sigaddset(set, SIGTERM);
	sigaddset(set, SIGINT);
	sigaddset(set, SIGHUP);
}

static void *controlling(void *arg)
{
	struct mount *m = arg;
	sigset_t set;
	int sig;

	end_signals(&set);
	if (make_known(m))
		while (sigwait(&set, &sig) != 0)
			;
	end_loop(m);
	return NULL;
}

/* ------------------------------------------------------------------- the session */

/* All threads inherit this: the signals that end us are for the control thread alone. */
static void set_signals(void)
{
	struct sigaction ignore = { .sa_handler = SIG_IGN };
	sigset_t set;

	sigaction(SIGPIPE, &ignore, NULL);
	end_signals(&set);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
}

/* Everything below the kernel. */
static int open_store(struct mount *m)
{
	const struct cs_open_opts open = {
		.flags = CS_OPEN_READ,
		.cache_bytes = m->opts->cache_bytes,
		.before_disk = cs_loop_hand_over,
	};
	const struct cs_view_opts view = {
		.point = m->opts->point,
		.series = m->opts->series,
		.has_at = m->opts->has_at,
		.at = m->opts->at,
		.zeros = m->opts->zeros,
		.map_owner = m->opts->map_owner,
		.uid = m->opts->uid,
		.gid = m->opts->gid,
		.log = log_line,
		.log_arg = &m->log,
	};
	const struct cs_view_drop drop = { drop_name, drop_dir, m };
	const struct cs_push_kernel kernel = { store_file, m };
	struct cs_error err;

	int r = cs_store_open(m->store_path, &open, &m->store, &err);
	if (r == 0)
		r = cs_view_open(m->store, &view, &m->view, &err);
	if (r == 0)
		r = cs_watch_new(m->store, m->view, &drop, &m->log, &m->watch, &err);
	if (r == 0 && !m->opts->no_push)
		r = cs_push_new(m->view, &kernel, &m->push, &err);
	if (r < 0) {
		cs_log_line(&m->log, "%s", err.text);
		return cs_code_status(r);
	}
	m->ops.view = m->view;
	m->ops.push = m->push;
	m->ops.awake = m->awake;
	m->ops.no_acls = m->opts->map_owner;
	return 0;
}

/* The options for mount(2) and libfuse, as one -o argument. */
static char *session_options(const struct mount *m)
{
	char *all = NULL, fsname[4096 + 8];

	snprintf(fsname, sizeof(fsname), "fsname=%s", m->store_path);
	if (fuse_opt_add_opt_escaped(&all, fsname) == 0 &&
	    fuse_opt_add_opt(&all, "subtype=chunkfs,ro,nosuid,nodev,default_permissions") == 0 &&
	    (!*m->opts->fuse_options || fuse_opt_add_opt(&all, m->opts->fuse_options) == 0)) {
		char max_read[32];
		snprintf(max_read, sizeof(max_read), "max_read=%d", CS_OPS_IO_MAX);
		if (fuse_opt_add_opt(&all, max_read) == 0)
			return all;
	}
	free(all);
	return NULL;
}

/* While some read the store's file or copy, others answer. */
static unsigned threads(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);

	return cpus < 2 ? 4 : cpus > 8 ? 16 : 2 * (unsigned)cpus;
}

static int mount_session(struct mount *m)
{
	struct fuse_args args = FUSE_ARGS_INIT(0, NULL);
	size_t ops_size;
	const struct fuse_lowlevel_ops *ops = cs_ops_table(&ops_size);
	char *options = session_options(m);

	said.debug = m->opts->debug;
	fuse_set_log_func(fuse_says);
	if (options && fuse_opt_add_arg(&args, "chunkfs") == 0 &&
	    fuse_opt_add_arg(&args, "-o") == 0 && fuse_opt_add_arg(&args, options) == 0 &&
	    (!m->opts->debug || fuse_opt_add_arg(&args, "-d") == 0))
		m->session = fuse_session_new(&args, ops, ops_size, &m->ops);
	free(options);
	fuse_opt_free_args(&args);
	if (m->session && fuse_session_mount(m->session, m->mountpoint) == 0) {
		m->mounted = true;
		m->loop = cs_loop_new(m->session, threads());
		return m->loop ? 0 : 1;
	}
	cs_log_line(&m->log, "cannot mount on %s%s%s", m->mountpoint, said.last[0] ? ": " : "",
		    strncmp(said.last, "fuse: ", 6) == 0 ? said.last + 6 : said.last);
	return 1;
}

/*
 * After a lazy unmount, something else may be mounted there by now, and
 * libfuse would unmount that. Asks the kernel only: nobody serves any more.
 */
static bool is_still_there(struct mount *m)
{
	struct statx st;

	pthread_mutex_lock(&m->lock);
	bool ready = m->ready;
	pthread_mutex_unlock(&m->lock);
	if (!ready)
		return true;
	return statx(AT_FDCWD, m->mountpoint, AT_STATX_DONT_SYNC, STATX_TYPE, &st) == 0 &&
	       st.stx_dev_major == m->root.stx_dev_major &&
	       st.stx_dev_minor == m->root.stx_dev_minor;
}

/* -------------------------------------------------------------------- the sandbox */

/* What cannot be opened any more once we are in it, or lies outside. */
static void prepare(struct mount *m)
{
	const struct cs_awake_opts awake = {
		.when = m->opts->wakeups,
		.device = CS_AWAKE_DEVICE,
		.driver = CS_AWAKE_DRIVER,
	};
	struct cs_error err;
	struct statx st;
	char path[96];

	cs_store_mend(m->store_path);
	if (cs_awake_new(&awake, &m->awake, &err) < 0)
		cs_log_line(&m->log, "%s", err.text); /* slower, no worse */
	/* of the kernel, which knows its devices: nobody serves yet */
	if (statx(AT_FDCWD, m->mountpoint, AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
		return;
	cs_keeper_mounted(&m->keeper, st.stx_dev_major, st.stx_dev_minor);
	snprintf(path, sizeof(path), "/sys/class/bdi/%u:%u/read_ahead_kb", st.stx_dev_major,
		 st.stx_dev_minor);
	m->readahead = open(path, O_WRONLY | O_CLOEXEC);
}

static bool sandboxed(const struct mount *m)
{
	return m->opts->sandbox != CS_SANDBOX_NO &&
	       (cs_sandbox_possible() || m->opts->sandbox == CS_SANDBOX_YES);
}

static int start_keeper(struct mount *m)
{
	if (!sandboxed(m))
		return 0;
	int e = cs_keeper_start(&m->keeper, m->mountpoint, m->opts->title, m->opts->title_len);
	if (e)
		cs_log_line(&m->log, "cannot start a process: %s", strerror(e));
	return e ? 1 : 0;
}

static int enter_sandbox(struct mount *m)
{
	struct cs_error err;

	if (!sandboxed(m))
		return 0;
	int r = cs_sandbox_enter(m->store_path, m->opts->sandbox == CS_SANDBOX_YES, &err);
	if (r < 0)
		cs_log_line(&m->log, "%s", err.text);
	return r < 0 ? 1 : 0;
}

/* By somebody else: the device knows. */
static bool was_unmounted(const struct mount *m)
{
	struct pollfd device = { .fd = fuse_session_fd(m->session) };

	return poll(&device, 1, 0) == 1 && device.revents & POLLERR;
}

/*
 * In the sandbox libfuse can only close the device. When somebody else has unmounted,
 * another mount may be there by now, of the same device number.
 */
static void unmount(struct mount *m)
{
	if (!was_unmounted(m))
		cs_keeper_unmount(&m->keeper);
	fuse_session_unmount(m->session);
	m->mounted = false;
}

/* Serve until the end. Returns the exit status. */
static int serve(struct mount *m)
{
	int e = pthread_create(&m->control, NULL, controlling, m);

	if (e) {
		cs_log_line(&m->log, "cannot start a thread: %s", strerror(e));
		return 1;
	}
	int r = cs_loop_run(m->loop);
	stop_helpers(m);
	bool by_others = was_unmounted(m);
	if (is_still_there(m))
		unmount(m);
	m->mounted = false;
	pthread_mutex_lock(&m->lock);
	bool ready = m->ready;
	pthread_mutex_unlock(&m->lock);
	pthread_kill(m->control, SIGTERM);
	pthread_join(m->control, NULL);
	if (!ready && by_others) {
		cs_log_line(&m->log, "%s was unmounted before the mount was ready", m->mountpoint);
		return 1;
	}
	if (!ready || r < 0) {
		cs_log_line(&m->log, "the mount on %s failed%s%s", m->mountpoint,
			    said.last[0] ? ": " : "", said.last);
		return 1;
	}
	return 0;
}

static int run(struct mount *m)
{
	set_signals();
	cs_sandbox_prepare();
	int status = start_keeper(m);

	if (status == 0)
		status = mount_session(m);
	if (status == 0)
		prepare(m);
	if (status == 0)
		status = enter_sandbox(m);
	if (status == 0)
		status = open_store(m);
	if (status == 0)
		status = serve(m);
	if (m->mounted)
		unmount(m);
	cs_loop_free(m->loop);
	if (m->session)
		fuse_session_destroy(m->session);
	cs_awake_free(m->awake);
	cs_push_free(m->push);
	cs_watch_free(m->watch);
	cs_view_close(m->view);
	cs_store_close(m->store);
	if (m->readahead >= 0)
		close(m->readahead);
	cs_keeper_end(&m->keeper);
	return status;
}

/* ------------------------------------------------------------------------ paths */

/* True when path is dir or lies below it. Both are absolute and resolved. */
static bool is_below(const char *path, const char *dir)
{
	size_t n = strlen(dir);

	if (n == 1)
		return true;
	return strncmp(path, dir, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

static int resolve(struct mount *m)
{
	struct statx st;

	m->store_path = realpath(m->opts->store, NULL);
	if (!m->store_path) {
		cs_log_line(&m->log, "store %s: %s", m->opts->store, strerror(errno));
		return 1;
	}
	m->mountpoint = realpath(m->opts->mountpoint, NULL);
	/* Not stat(2): of a dead mount the kernel may still know the attributes. */
	if (!m->mountpoint ||
	    statx(AT_FDCWD, m->mountpoint, AT_STATX_FORCE_SYNC, STATX_TYPE, &st) < 0) {
		cs_log_line(&m->log, "mount point %s: %s%s", m->opts->mountpoint, strerror(errno),
			    errno == ENOTCONN ? " (a dead mount; umount it first)" : "");
		return 1;
	}
	if (!S_ISDIR(st.stx_mode)) {
		cs_log_line(&m->log, "mount point %s: %s", m->opts->mountpoint, strerror(ENOTDIR));
		return 1;
	}
	if (is_below(m->mountpoint, m->store_path)) {
		cs_log_line(&m->log, "mount point %s lies in the store", m->opts->mountpoint);
		return 1;
	}
	if (is_below(m->store_path, m->mountpoint)) {
		cs_log_line(&m->log, "mount point %s would hide the store", m->opts->mountpoint);
		return 1;
	}
	return 0;
}

int cs_mount_run(const struct cs_mount_opts *opts)
{
	struct mount m = { .opts = opts, .daemon.report = -1, .main = pthread_self(),
			   .keeper.fd = -1, .readahead = -1 };

	cs_log_init(&m.log);
	pthread_mutex_init(&m.lock, NULL);
	int status = resolve(&m);
	if (status == 0 && !opts->foreground)
		status = cs_daemon_fork(&m.daemon);
	else if (status == 0)
		status = -1;
	if (status < 0) {
		m.main = pthread_self();
		status = run(&m);
	}
	free(m.store_path);
	free(m.mountpoint);
	return status;
}
