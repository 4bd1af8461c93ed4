/* SPDX-License-Identifier: MIT */
/* io_fault.c - which change goes wrong, and how; and the numbered report of all. */
#include "io.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
	const char *name;
	enum io_fault fault;
	bool writes_only, sync_only;
} faults[] = {
	{ "enospc", IO_ENOSPC, false, false },
	{ "eio", IO_EIO, false, false },
	{ "eintr", IO_EINTR, false, false },
	{ "short", IO_SHORT, true, false },
	{ "late", IO_LATE, true, true },
	{ "kill", IO_KILL, false, false },
	{ "killsync", IO_KILL_SYNC, true, true },
};

static unsigned long counted; /* guarded by io_enter */

static void report(const struct io_change *c, const char *what)
{
	int (*real_open)(const char *, int, ...) = io_real("open64");
	ssize_t (*real_write)(int, const void *, size_t) = io_real("write");
	const char *path = getenv("CS_IO_REPORT");
	char line[LOG_NAME_MAX + 100];

	if (!path)
		return;
	int fd = real_open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	int n = snprintf(line, sizeof(line), "%lu %s %s%s %lld+%llu %s\n", counted,
			 log_kind_name(c->kind), *c->name ? c->name : ".",
			 c->flags & LOG_DURABLE ? " durably" : "", (long long)c->off,
			 (unsigned long long)c->len, what);
	if (fd < 0 || real_write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
}

/* What only makes sense for some changes counts those alone. */
static bool applies(size_t i, const struct io_change *c)
{
	if (faults[i].writes_only && c->kind != LOG_WRITE)
		return false;
	return !faults[i].sync_only || (c->flags & LOG_DURABLE);
}

enum io_fault io_fault_next(const struct io_change *c)
{
	const char *spec = getenv("CS_IO_FAULT");
	const char *colon = spec ? strchr(spec, ':') : NULL;
	size_t i = 0, n = sizeof(faults) / sizeof(faults[0]);
	char *end;

	while (colon && i < n && (strlen(faults[i].name) != (size_t)(colon - spec) ||
				  memcmp(faults[i].name, spec, strlen(faults[i].name)) != 0))
		i++;
	if (!colon || i == n) {
		counted++;
		report(c, "");
		return IO_NONE;
	}
	if (!applies(i, c))
		return IO_NONE;
	counted++;
	unsigned long at = strtoul(colon + 1, &end, 10);
	bool hit = *end == '+' ? counted >= at : counted == at;
	report(c, hit ? faults[i].name : "");
	return hit ? faults[i].fault : IO_NONE;
}
