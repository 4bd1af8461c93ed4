/* SPDX-License-Identifier: MIT */
/*
 * text.h - names and their limits, and values as one line of text.
 *
 * Pure: no locale, no clock, and but for cs_time_parse no time zone. What is
 * printed here can be read back.
 */
#ifndef CS_TEXT_H
#define CS_TEXT_H

#include "entry.h"
#include "err.h"

#define CS_SERIES_MAX 128   /* bytes of a series name, without the NUL */
#define CS_POINT_NAME_MAX 40
#define CS_TAG_MAX 128
#define CS_TAGS_MAX 32
#define CS_HOST_MAX 255

enum cs_consistency {
	CS_CONSISTENCY_UNKNOWN,
	CS_CONSISTENCY_CRASH,
	CS_CONSISTENCY_FS,
	CS_CONSISTENCY_APP,
};
/* "unknown", "crash", "fs", "app". */
const char *cs_consistency_name(int level);

/*
 * Escape a name or path for one line of text: bytes below 0x20, 0x7f, '\\',
 * space when escape_space, the control characters U+0080 to U+009F, and bytes
 * that are not valid UTF-8 become \xNN. Writes at most cap bytes with the NUL,
 * never a part of an escape or character; returns the length it wanted.
 */
size_t cs_text_escape(const char *s, size_t len, bool escape_space, char *out, size_t cap);
/* Is it lines of escaped text, with nothing left that escaping would change? */
bool cs_text_is_escaped(const char *s) CS_MUST_CHECK;
/*
 * The way back: \xNN becomes the byte. out has room for len bytes and may be s
 * itself; it gets no NUL, since \x00 is a byte like another. False when a
 * backslash does not begin an escape.
 */
bool cs_text_unescape(const char *s, size_t len, char *out, size_t *out_len) CS_MUST_CHECK;
/* Lower-case hex of a hash, NUL-terminated. */
void cs_hash_hex(const struct cs_hash *h, char out[2 * CS_HASH_SIZE + 1]);
/*
 * A point's name for a time: 2026-11-22T06-39-05Z. Years before 0 and after
 * 9999 are cut to these, so that names always sort by time.
 */
void cs_time_name(struct cs_time t, char out[CS_POINT_NAME_MAX + 1]);
/* The time of exactly such a name (nsec 0). CS_E_USAGE for any other text. */
int cs_time_parse_name(const char *name, struct cs_time *out) CS_MUST_CHECK;
/*
 * A time as somebody types it: 2026-11-22T06-39-05Z as in a name, or with
 * colons; without the Z it is local time (TZ). What is left out at the end
 * counts to its last second: 2026-11-22 is the end of that day. CS_E_USAGE.
 */
int cs_time_parse(const char *text, struct cs_time *out) CS_MUST_CHECK;
/*
 * CS_OK if the series name is allowed: letters, digits, '.', '_', '-', '@', '+',
 * not starting with '.' or '-', and none of the names the mount uses itself
 * (by-id, by-tag, by-consistency, latest).
 */
int cs_series_check(const char *name, struct cs_error *err) CS_MUST_CHECK;
/* A point's name, as cs_time_name and a suffix make it: digits, '-', 'T', 'Z', a digit first. */
bool cs_point_name_valid(const char *name, size_t len) CS_MUST_CHECK;
/* A name that may stand in a directory: 1..255 bytes, no '/', no NUL, not "." or "..". */
bool cs_name_valid(const char *name, size_t len) CS_MUST_CHECK;

#endif
