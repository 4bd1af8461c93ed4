/* SPDX-License-Identifier: MIT */
/*
 * daemon.c - going into the background, and saying so only once it worked.
 *
 * The fork comes first and everything else after it, in the child: a store is
 * never open across a fork. Until it is ready the child shares the parent's
 * terminal, so that its errors are seen and an interrupt ends both. The parent
 * leaves with 0 only after the child's word; when the child ends without one,
 * with the child's status.
 */
#include "daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int wait_for(pid_t child, int fd)
{
	char word;
	ssize_t n;
	int status = 0;

	while ((n = read(fd, &word, 1)) < 0 && errno == EINTR)
		;
	if (n == 1)
		return 0;
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (WIFSIGNALED(status)) {
		fprintf(stderr, "chunkfs: the daemon was ended by signal %d (%s)\n",
			WTERMSIG(status), strsignal(WTERMSIG(status)));
		return 1;
	}
	return WEXITSTATUS(status) ? WEXITSTATUS(status) : 1;
}

int cs_daemon_fork(struct cs_daemon *d)
{
	int fds[2];

	d->report = -1;
	if (pipe2(fds, O_CLOEXEC) < 0) {
		fprintf(stderr, "chunkfs: pipe: %s\n", strerror(errno));
		return 1;
	}
	pid_t pid = fork();
	if (pid < 0) {
		fprintf(stderr, "chunkfs: fork: %s\n", strerror(errno));
		close(fds[0]);
		close(fds[1]);
		return 1;
	}
	if (pid > 0) {
		close(fds[1]);
		int status = wait_for(pid, fds[0]);
		close(fds[0]);
		return status;
	}
	close(fds[0]);
	d->report = fds[1];
	return -1;
}

bool cs_daemon_ready(struct cs_daemon *d)
{
	if (d->report < 0)
		return true;
	setsid();
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null >= 0) {
		fflush(NULL);
		for (int fd = 0; fd < 3; fd++)
			dup2(null, fd);
		if (null > 2)
			close(null);
	}
	if (chdir("/") < 0)
		return false;
	bool ok = write(d->report, "", 1) == 1;
	close(d->report);
	d->report = -1;
	return ok;
}
