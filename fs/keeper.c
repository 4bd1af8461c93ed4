/* SPDX-License-Identifier: MIT */
/*
 * keeper.c - a second, small process that keeps what the daemon gave up.
 *
 * Who serves the mount reads what may be a forged store, so it keeps no privileges
 * (sandbox.c). But somebody has to unmount when it is told to end, which takes
 * privileges, or the set-user-ID fusermount3; and to write to syslog, which takes a
 * socket. That is this process. It is forked before the store is opened, reads
 * nothing but short messages from the daemon, and can do nothing for it but these
 * two things: whatever the daemon says, it unmounts only the mount that it was
 * started for, and logs printable text.
 *
 * It never outlives the daemon: at the end of the socket it ends. A daemon that was
 * killed did not ask for anything, so the mount stays, dead, as mount.c wants it.
 */
#include "keeper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <syslog.h>
#include <unistd.h>

#define LINE_MAX_BYTES 2048
#define ANSWER_MS 20000

enum { SAY_MOUNTED = 'm', SAY_UNMOUNT = 'u', SAY_LOG = 'l', SAY_DONE = 'd' };

struct message {
	char what;
	char text[LINE_MAX_BYTES];
};

struct device {
	unsigned major, minor;
	bool known;
};

/* ---- the process */

/* Asks the kernel only: nobody serves the mount any more. */
static bool is_there(const char *mountpoint, const struct device *d)
{
	struct statx st;

	return d->known &&
	       statx(AT_FDCWD, mountpoint, AT_STATX_DONT_SYNC | AT_SYMLINK_NOFOLLOW, STATX_TYPE,
		     &st) == 0 &&
	       st.stx_dev_major == d->major && st.stx_dev_minor == d->minor;
}

static void unmount(const char *mountpoint)
{
	if (umount2(mountpoint, MNT_DETACH | UMOUNT_NOFOLLOW) == 0 || geteuid() == 0)
		return;
	pid_t pid = fork();
	if (pid == 0) {
		sigset_t none;
		sigemptyset(&none);
		sigprocmask(SIG_SETMASK, &none, NULL);
		execlp("fusermount3", "fusermount3", "-u", "-q", "-z", "--", mountpoint, NULL);
		_exit(127);
	}
	while (pid > 0 && waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
}

static void log_text(char *text)
{
	for (char *p = text; *p; p++)
		if ((unsigned char)*p < 0x20 || *p == 0x7f)
			*p = '?';
	syslog(LOG_ERR, "%s", text);
}

static void keep(int fd, const char *mountpoint)
{
	struct message m;
	struct device d = { 0 };
	char done = SAY_DONE;
	ssize_t n;

	openlog("chunkfs", LOG_PID, LOG_DAEMON);
	for (;;) {
		n = recv(fd, &m, sizeof(m) - 1, 0);
		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return;
		((char *)&m)[n] = '\0';
		if (m.what == SAY_MOUNTED && !d.known)
			d.known = sscanf(m.text, "%u:%u", &d.major, &d.minor) == 2;
		if (m.what == SAY_LOG)
			log_text(m.text);
		if (m.what != SAY_UNMOUNT)
			continue;
		if (is_there(mountpoint, &d))
			unmount(mountpoint);
		if (send(fd, &done, 1, MSG_NOSIGNAL) < 0)
			return;
	}
}

/* Apart from the daemon's terminal, descriptors, signals and name. */
static void settle(int fd, char *title, size_t title_len)
{
	sigset_t all;

	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, NULL);
	setsid();
	int null = open("/dev/null", O_RDWR);
	for (int i = 0; i < 3 && null >= 0; i++)
		dup2(null, i);
	if (fd > 3)
		close_range(3, (unsigned)fd - 1, 0);
	close_range((unsigned)fd + 1, ~0u, 0);
	if (title && title_len > 1) {
		memset(title, 0, title_len);
		snprintf(title, title_len, "chunkfs-keeper");
	}
	if (chdir("/") < 0)
		_exit(1);
}

int cs_keeper_start(struct cs_keeper *k, const char *mountpoint, char *title, size_t title_len)
{
	int fds[2];

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0)
		return errno;
	fflush(NULL);
	pid_t pid = fork();
	if (pid < 0) {
		int e = errno;
		close(fds[0]);
		close(fds[1]);
		return e;
	}
	if (pid == 0) {
		settle(fds[1], title, title_len);
		keep(fds[1], mountpoint);
		_exit(0);
	}
	close(fds[1]);
	k->fd = fds[0];
	k->pid = pid;
	return 0;
}

/* ---- the daemon */

static bool say(struct cs_keeper *k, char what, const char *text)
{
	struct message m = { .what = what };

	if (k->fd < 0)
		return false;
	snprintf(m.text, sizeof(m.text), "%s", text);
	return send(k->fd, &m, 1 + strlen(m.text), MSG_NOSIGNAL) > 0;
}

void cs_keeper_mounted(struct cs_keeper *k, unsigned dev_major, unsigned dev_minor)
{
	char text[32];

	snprintf(text, sizeof(text), "%u:%u", dev_major, dev_minor);
	say(k, SAY_MOUNTED, text);
}

void cs_keeper_unmount(struct cs_keeper *k)
{
	struct pollfd p = { .fd = k->fd, .events = POLLIN };
	char done;

	if (say(k, SAY_UNMOUNT, "") && poll(&p, 1, ANSWER_MS) == 1)
		(void)!recv(k->fd, &done, 1, MSG_DONTWAIT);
}

bool cs_keeper_log(struct cs_keeper *k, const char *line)
{
	return say(k, SAY_LOG, line);
}

void cs_keeper_end(struct cs_keeper *k)
{
	if (k->fd >= 0)
		close(k->fd);
	k->fd = -1;
}
