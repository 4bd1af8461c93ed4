/* SPDX-License-Identifier: MIT */
/* daemon.h - going into the background, and saying so only once it worked. */
#ifndef CS_DAEMON_H
#define CS_DAEMON_H

#include <stdbool.h>

struct cs_daemon {
	int report; /* pipe to the waiting parent; -1: none waits */
};

/*
 * Fork. The child returns -1 and goes on. The parent waits for cs_daemon_ready
 * or the child's end and returns the exit status to leave with.
 */
int cs_daemon_fork(struct cs_daemon *d);

/*
 * Detach from the terminal and the directory, and let the parent leave with 0.
 * False: the parent is gone, so nobody would know what was left running.
 */
bool cs_daemon_ready(struct cs_daemon *d);

#endif
