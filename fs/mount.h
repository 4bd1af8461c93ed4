/* SPDX-License-Identifier: MIT */
/* mount.h - one mount, from start to end. See mount.c. */
#ifndef CS_MOUNT_H
#define CS_MOUNT_H

#include "awake.h"
#include "sandbox.h"

struct cs_mount_opts {
	const char *store, *mountpoint; /* as given; may be relative */
	const char *point;              /* SERIES/NAME: mount that point alone; NULL: all */
	const char *series;             /* mount that series alone; NULL: all */
	bool has_at;
	struct cs_time at; /* with has_at: trees as of that time */
	const char *fuse_options; /* for mount(2) and libfuse, separated by commas; may be "" */
	size_t cache_bytes;             /* 0: the library's default */
	bool foreground;
	bool debug; /* print each request */
	bool no_push;
	enum cs_awake_when wakeups;
	bool zeros; /* for content that cannot be read; else EIO */
	enum cs_sandbox_how sandbox;
	char *title; /* argv's memory, for the name of a second process */
	size_t title_len;
	bool map_owner;
	uid_t uid; /* with map_owner */
	gid_t gid;
};

/*
 * Mount, and serve until unmounted or told to stop by SIGTERM, SIGINT or
 * SIGHUP. Returns the exit status, in the background's starter as soon as the
 * mount answers. Errors are printed.
 */
int cs_mount_run(const struct cs_mount_opts *opts);

#endif
