/* SPDX-License-Identifier: MIT */
/*
 * output.h - what goes to stdout, and how sizes, times, modes and names look.
 *
 * A failed write is remembered with its errno; loops ask cs_out_check so that
 * they end when nobody reads on or the disk is full.
 */
#ifndef CS_TOOLS_OUTPUT_H
#define CS_TOOLS_OUTPUT_H

#include "store/chunkstore.h"

#include <stdio.h>

struct cs_out {
	FILE *file;
	bool tty;      /* names are escaped */
	int sys_errno; /* of the first write that failed, or 0 */
	char *escaped; /* room for one escaped name */
	size_t room;
};

void cs_out_init(struct cs_out *o, FILE *file);
void cs_out_printf(struct cs_out *o, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cs_out_bytes(struct cs_out *o, const void *bytes, size_t len);
/* A name or path: escaped on a terminal, as it is elsewhere. */
void cs_out_name(struct cs_out *o, const char *name, size_t len);
/* 0, or the failure of an earlier write. */
int cs_out_check(const struct cs_out *o, struct cs_error *err) CS_MUST_CHECK;
/* Flush, free, and report any failure so far. */
int cs_out_close(struct cs_out *o, struct cs_error *err) CS_MUST_CHECK;

#define CS_OUT_TEXT 48 /* room for any of these */
/* 1.23 MB: decimal units, three digits. */
const char *cs_out_size(uint64_t bytes, char out[CS_OUT_TEXT]);
/* 2026-11-22 06:39:05, in UTC or local time. */
const char *cs_out_time(struct cs_time t, bool utc, char out[CS_OUT_TEXT]);
/* 2026-11-22T06:39:05.123456789Z; without the fraction when it is 0. */
const char *cs_out_iso(struct cs_time t, char out[CS_OUT_TEXT]);
/* -rwxr-xr-x */
const char *cs_out_mode(uint32_t mode, char out[CS_OUT_TEXT]);
/* "file", "directory", "symlink", ... */
const char *cs_out_type(uint32_t mode);
/* Seconds since an earlier monotonic time; cs_out_now is now. */
double cs_out_now(void);

#endif
