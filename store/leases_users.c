/* SPDX-License-Identifier: MIT */
/*
 * leases_users.c - which processes hold the locks. The locks themselves do not
 * say (they belong to open files, not to processes), but /proc shows for every
 * descriptor which locks were made through it.
 */
#include "chunkstore.h"
#include "leases.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

struct look {
	struct stat file; /* the lease file */
	cs_user_fn *fn;
	void *arg;
	uint64_t seen; /* locks of processes that could be looked at */
};

static void take_lock(struct cs_user *u, const char *type, int64_t from, int64_t to)
{
	if (from == CS_LEASE_GC && strcmp(type, "WRITE") == 0)
		u->gc = true;
	else if (from >= CS_LEASE_BUNDLES)
		u->backup |= strcmp(type, "READ") == 0;
	else if (from >= CS_LEASE_POINTS)
		u->points += (uint64_t)(to - from + 1);
	else if (from == CS_LEASE_WRITER)
		u->writes = true;
	else if (from >= CS_LEASE_ANNOUNCE && from != CS_LEASE_QUEUE)
		u->mount = true;
}

/* The locks made through one descriptor: how many. */
static unsigned descriptor(const char *proc, const char *fd, struct cs_user *u)
{
	char path[320], line[256], type[16];
	long long from, to;
	unsigned n = 0;
	snprintf(path, sizeof(path), "%s/fdinfo/%.16s", proc, fd);
	FILE *f = fopen(path, "re");
	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "lock: %*d: OFDLCK ADVISORY %15s %*s %*s %lld %lld", type, &from,
			   &to) == 3) {
			take_lock(u, type, from, to);
			n++;
		}
	if (f)
		fclose(f);
	return n;
}

static void name_of(const char *proc, struct cs_user *u)
{
	char path[320];
	snprintf(path, sizeof(path), "%s/comm", proc);
	FILE *f = fopen(path, "re");
	if (f && fgets(u->name, sizeof(u->name), f))
		u->name[strcspn(u->name, "\n")] = 0;
	if (f)
		fclose(f);
}

/* Stopped, by a signal or a debugger: it will hold what it holds. */
static bool is_stopped(const char *proc)
{
	char path[320], line[256], state = 0;
	snprintf(path, sizeof(path), "%s/status", proc);
	FILE *f = fopen(path, "re");
	while (f && !state && fgets(line, sizeof(line), f))
		sscanf(line, "State: %c", &state);
	if (f)
		fclose(f);
	return state == 'T' || state == 't';
}

static int process(struct look *k, const char *pid)
{
	char proc[64], path[320];
	struct cs_user u = { .pid = atol(pid) };
	unsigned locks = 0;
	snprintf(proc, sizeof(proc), "/proc/%.16s", pid);
	snprintf(path, sizeof(path), "%s/fd", proc);
	DIR *d = opendir(path);
	if (!d)
		return 0; /* another user's, or just gone */
	for (struct dirent *e; (e = readdir(d));) {
		struct stat st;
		if (isdigit((unsigned char)e->d_name[0]) && fstatat(dirfd(d), e->d_name, &st, 0) == 0 &&
		    st.st_dev == k->file.st_dev && st.st_ino == k->file.st_ino)
			locks += descriptor(proc, e->d_name, &u);
	}
	closedir(d);
	k->seen += locks;
	if (!locks)
		return 0;
	name_of(proc, &u);
	u.stopped = is_stopped(proc);
	return k->fn(k->arg, &u);
}

/* All locks on the file, whoever holds them. */
static uint64_t locks_on(const struct stat *file)
{
	char line[256];
	uint64_t n = 0;
	FILE *f = fopen("/proc/locks", "re");
	while (f && fgets(line, sizeof(line), f)) {
		unsigned long long ino;
		if (sscanf(line, "%*d: OFDLCK %*s %*s %*s %*x:%*x:%llu", &ino) == 1 &&
		    ino == file->st_ino)
			n++;
	}
	if (f)
		fclose(f);
	return n;
}

int cs_leases_users(struct cs_leases *l, cs_user_fn *fn, void *arg, uint64_t *hidden,
		    struct cs_error *err)
{
	struct look k = { .fn = fn, .arg = arg };
	int rc = 0;
	*hidden = 0;
	if (cs_leases_fd(l) < 0)
		return CS_OK;
	if (fstat(cs_leases_fd(l), &k.file) != 0)
		return cs_fail_errno(err, errno, "the lease file");
	DIR *d = opendir("/proc");
	if (!d)
		return cs_fail_errno(err, errno, "/proc");
	for (struct dirent *e; rc == 0 && (e = readdir(d));)
		if (isdigit((unsigned char)e->d_name[0]))
			rc = process(&k, e->d_name);
	closedir(d);
	uint64_t all = locks_on(&k.file);
	*hidden = all > k.seen ? all - k.seen : 0;
	return rc;
}
