/* SPDX-License-Identifier: MIT */
/*
 * output.c - stdout with a memory for failures, and the texts of values.
 *
 * Names are written raw into files and pipes, so that what is read back is the
 * name; on a terminal control characters are escaped, so that no name can
 * drive the terminal.
 */
#include "output.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

void cs_out_init(struct cs_out *o, FILE *file)
{
	memset(o, 0, sizeof(*o));
	o->file = file;
	o->tty = isatty(fileno(file)) == 1;
	if (!o->tty)
		setvbuf(file, NULL, _IOFBF, 1 << 16);
}

static void note_failure(struct cs_out *o, bool failed)
{
	if (failed && o->sys_errno == 0)
		o->sys_errno = errno ? errno : EIO;
}

void cs_out_printf(struct cs_out *o, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	note_failure(o, vfprintf(o->file, fmt, ap) < 0);
	va_end(ap);
}

void cs_out_bytes(struct cs_out *o, const void *bytes, size_t len)
{
	note_failure(o, fwrite(bytes, 1, len, o->file) != len);
}

void cs_out_name(struct cs_out *o, const char *name, size_t len)
{
	size_t need;

	if (!o->tty) {
		cs_out_bytes(o, name, len);
		return;
	}
	need = cs_text_escape(name, len, false, o->escaped, o->room);
	if (need >= o->room) {
		char *more = realloc(o->escaped, need + 1);

		if (!more) {
			errno = ENOMEM;
			note_failure(o, true);
			return;
		}
		o->escaped = more;
		o->room = need + 1;
		need = cs_text_escape(name, len, false, o->escaped, o->room);
	}
	cs_out_bytes(o, o->escaped, need);
}

int cs_out_check(const struct cs_out *o, struct cs_error *err)
{
	if (o->sys_errno == 0)
		return 0;
	return cs_fail_errno(err, o->sys_errno, "cannot write to standard output");
}

int cs_out_close(struct cs_out *o, struct cs_error *err)
{
	errno = 0;
	note_failure(o, fflush(o->file) != 0 || ferror(o->file));
	note_failure(o, close(fileno(o->file)) != 0);
	free(o->escaped);
	o->escaped = NULL;
	o->room = 0;
	return cs_out_check(o, err);
}

/* --- values */

const char *cs_out_size(uint64_t bytes, char out[CS_OUT_TEXT])
{
	static const char units[] = "kMGTPE";
	double v = (double)bytes;
	int unit = -1;

	while (v >= 999.5 && units[unit + 1] != '\0') {
		v /= 1000;
		unit++;
	}
	if (unit < 0)
		snprintf(out, CS_OUT_TEXT, "%" PRIu64 " B", bytes);
	else
		snprintf(out, CS_OUT_TEXT, "%.*f %cB", v < 9.995 ? 2 : v < 99.95 ? 1 : 0, v,
			 units[unit]);
	return out;
}

static bool time_parts(struct cs_time t, bool utc, struct tm *tm)
{
	time_t sec = (time_t)t.sec;

	return utc ? gmtime_r(&sec, tm) != NULL : localtime_r(&sec, tm) != NULL;
}

const char *cs_out_time(struct cs_time t, bool utc, char out[CS_OUT_TEXT])
{
	struct tm tm;

	if (!time_parts(t, utc, &tm) || strftime(out, CS_OUT_TEXT, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(out, CS_OUT_TEXT, "@%" PRId64, t.sec);
	return out;
}

const char *cs_out_iso(struct cs_time t, char out[CS_OUT_TEXT])
{
	struct tm tm;
	size_t n = 0;

	if (time_parts(t, true, &tm))
		n = strftime(out, CS_OUT_TEXT, "%Y-%m-%dT%H:%M:%S", &tm);
	if (n == 0)
		n = (size_t)snprintf(out, CS_OUT_TEXT, "@%" PRId64, t.sec);
	if (t.nsec != 0)
		n += (size_t)snprintf(out + n, CS_OUT_TEXT - n, ".%09" PRIu32, t.nsec);
	snprintf(out + n, CS_OUT_TEXT - n, "Z");
	return out;
}

static const struct {
	uint32_t mode;
	char letter;
	const char *name;
} types[] = {
	{ S_IFREG, '-', "file" },     { S_IFDIR, 'd', "directory" }, { S_IFLNK, 'l', "symlink" },
	{ S_IFBLK, 'b', "block" },    { S_IFCHR, 'c', "character" }, { S_IFIFO, 'p', "fifo" },
	{ S_IFSOCK, 's', "socket" },
};

const char *cs_out_type(uint32_t mode)
{
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i].mode == (mode & S_IFMT))
			return types[i].name;
	}
	return "unknown";
}

const char *cs_out_mode(uint32_t mode, char out[CS_OUT_TEXT])
{
	static const char rwx[] = "rwxrwxrwx";

	out[0] = '?';
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++) {
		if (types[i].mode == (mode & S_IFMT))
			out[0] = types[i].letter;
	}
	for (int i = 0; i < 9; i++)
		out[1 + i] = mode & (0400u >> i) ? rwx[i] : '-';
	if (mode & S_ISUID)
		out[3] = mode & S_IXUSR ? 's' : 'S';
	if (mode & S_ISGID)
		out[6] = mode & S_IXGRP ? 's' : 'S';
	if (mode & S_ISVTX)
		out[9] = mode & S_IXOTH ? 't' : 'T';
	out[10] = '\0';
	return out;
}

double cs_out_now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}
