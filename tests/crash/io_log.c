/* SPDX-License-Identifier: MIT */
/*
 * io_log.c - one change at a time, and into the log.
 *
 * Threads take turns by a mutex and processes by flock() on the log; a process
 * that was forked opens the log anew, because a lock belongs to the open file.
 * Each record is one write to a file opened with O_APPEND.
 */
#include "io.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define LOG_FD 700 /* out of the way of a program that closes its first descriptors */

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
static int log_fd = -1;
static pid_t log_pid;

static void die(const char *what)
{
	ssize_t (*real_write)(int, const void *, size_t) = io_real("write");
	(void)!real_write(2, what, strlen(what));
	abort();
}

static void open_log(void)
{
	int (*real_open)(const char *, int, ...) = io_real("open64");
	const char *path = getenv("CS_IO_LOG");
	if (!path || log_pid == getpid())
		return;
	if (log_fd >= 0)
		close(log_fd);
	int fd = real_open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
		die("io: the log cannot be opened\n");
	log_fd = fcntl(fd, F_DUPFD_CLOEXEC, LOG_FD);
	close(fd);
	if (log_fd < 0)
		die("io: no descriptor for the log\n");
	log_pid = getpid();
}

void io_enter(void)
{
	pthread_mutex_lock(&mutex);
	open_log();
	while (log_fd >= 0 && flock(log_fd, LOCK_EX) != 0)
		if (errno != EINTR)
			die("io: the log cannot be locked\n");
}

void io_leave(void)
{
	int saved = errno;
	if (log_fd >= 0)
		flock(log_fd, LOCK_UN);
	pthread_mutex_unlock(&mutex);
	errno = saved;
}

/* Of the data, c->len bytes are logged: what was really written. */
void io_log(const struct io_change *c, const struct iovec *data, int n)
{
	ssize_t (*real_writev)(int, const struct iovec *, int) = io_real("writev");
	struct log_record r = { .magic = LOG_MAGIC, .kind = c->kind, .flags = c->flags,
				.pid = (uint32_t)getpid(), .ino = c->ino, .off = c->off,
				.len = c->len };
	struct iovec v[1024];
	size_t want = sizeof(r), left = c->len;
	int count = 1, saved = errno;

	if (log_fd < 0)
		return;
	memcpy(r.name, c->name, sizeof(r.name));
	memcpy(r.name2, c->name2, sizeof(r.name2));
	v[0] = (struct iovec){ &r, sizeof(r) };
	for (int i = 0; i < n && left > 0; i++) {
		if (count == 1024)
			die("io: too many pieces in one write\n");
		size_t part = data[i].iov_len < left ? data[i].iov_len : left;
		v[count++] = (struct iovec){ data[i].iov_base, part };
		want += part;
		left -= part;
	}
	if (real_writev(log_fd, v, count) != (ssize_t)want)
		die("io: the log cannot be written\n");
	errno = saved;
}
