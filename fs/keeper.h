/* SPDX-License-Identifier: MIT */
/* keeper.h - what stays outside the sandbox: who unmounts, and writes to the log. See keeper.c. */
#ifndef CS_KEEPER_H
#define CS_KEEPER_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct cs_keeper {
	int fd; /* to it; -1: there is none */
	pid_t pid;
};

/*
 * Start it, before anything is opened that it should not share. title: argv's
 * memory, to show another name than the daemon's. 0 or an errno.
 */
int cs_keeper_start(struct cs_keeper *k, const char *mountpoint, char *title, size_t title_len);
/* What was mounted: it unmounts nothing else. */
void cs_keeper_mounted(struct cs_keeper *k, unsigned dev_major, unsigned dev_minor);
/* Have it unmounted, if it is still there, even if it is busy; returns when it is done. */
void cs_keeper_unmount(struct cs_keeper *k);
/* A line for syslog. False: nobody took it. */
bool cs_keeper_log(struct cs_keeper *k, const char *line);
/* It ends by itself when this process is gone; here already now. */
void cs_keeper_end(struct cs_keeper *k);

#endif
