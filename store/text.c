/* SPDX-License-Identifier: MIT */
/*
 * text.c - decision: everything is decided on bytes, by hand. The C library's
 * classification depends on the locale, and the text of a point must not.
 */
#include "text.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

static const char hex_digits[] = "0123456789abcdef";

const char *cs_consistency_name(int level)
{
	switch (level) {
	case CS_CONSISTENCY_CRASH:
		return "crash";
	case CS_CONSISTENCY_FS:
		return "fs";
	case CS_CONSISTENCY_APP:
		return "app";
	default:
		return "unknown";
	}
}

/* Length of the well-formed UTF-8 character at s, 0 when there is none. */
static size_t utf8_length(const uint8_t *s, size_t left)
{
	uint8_t lo = 0x80, hi = 0xbf;
	size_t n;

	if (s[0] < 0x80)
		return 1;
	if (s[0] >= 0xc2 && s[0] <= 0xdf)
		n = 2;
	else if (s[0] >= 0xe0 && s[0] <= 0xef)
		n = 3;
	else if (s[0] >= 0xf0 && s[0] <= 0xf4)
		n = 4;
	else
		return 0;
	if (n > left)
		return 0;
	if (s[0] == 0xe0)
		lo = 0xa0; /* overlong */
	else if (s[0] == 0xed)
		hi = 0x9f; /* surrogates */
	else if (s[0] == 0xf0)
		lo = 0x90; /* overlong */
	else if (s[0] == 0xf4)
		hi = 0x8f; /* past U+10FFFF */
	if (s[1] < lo || s[1] > hi)
		return 0;
	for (size_t i = 2; i < n; i++)
		if (s[i] < 0x80 || s[i] > 0xbf)
			return 0;
	return n;
}

/* How many bytes at s stand for themselves; 0: the first must be escaped. */
static size_t plain_length(const uint8_t *s, size_t left, bool escape_space)
{
	size_t n = utf8_length(s, left);
	if (n == 1 && (s[0] < 0x20 || s[0] == 0x7f || s[0] == '\\' ||
		       (s[0] == ' ' && escape_space)))
		return 0;
	if (n == 2 && s[0] == 0xc2 && s[1] < 0xa0)
		return 0;
	return n;
}

size_t cs_text_escape(const char *s, size_t len, bool escape_space, char *out, size_t cap)
{
	const uint8_t *p = (const uint8_t *)s;
	size_t want = 0, put = 0;
	bool full = cap == 0;

	for (size_t i = 0; i < len;) {
		char esc[4] = { '\\', 'x', hex_digits[p[i] >> 4], hex_digits[p[i] & 15] };
		size_t plain = plain_length(p + i, len - i, escape_space);
		size_t n = plain ? plain : sizeof(esc);
		want += n;
		if (!full && n < cap - put) {
			memcpy(out + put, plain ? s + i : esc, n);
			put += n;
		} else {
			full = true;
		}
		i += plain ? plain : 1;
	}
	if (cap)
		out[put] = '\0';
	return want;
}

bool cs_text_is_escaped(const char *s)
{
	size_t len = strlen(s);
	for (size_t i = 0; i < len;) {
		size_t plain = s[i] == '\\' || s[i] == '\n' ?
				       1 : plain_length((const uint8_t *)s + i, len - i, false);
		if (!plain)
			return false;
		i += plain;
	}
	return true;
}

static int hex_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

bool cs_text_unescape(const char *s, size_t len, char *out, size_t *out_len)
{
	size_t put = 0;
	for (size_t i = 0; i < len; i++) {
		if (s[i] != '\\') {
			out[put++] = s[i];
			continue;
		}
		if (len - i < 4 || s[i + 1] != 'x')
			return false;
		int hi = hex_value(s[i + 2]), lo = hex_value(s[i + 3]);
		if (hi < 0 || lo < 0)
			return false;
		out[put++] = (char)(hi << 4 | lo);
		i += 3;
	}
	*out_len = put;
	return true;
}

void cs_hash_hex(const struct cs_hash *h, char out[2 * CS_HASH_SIZE + 1])
{
	for (size_t i = 0; i < CS_HASH_SIZE; i++) {
		out[2 * i] = hex_digits[h->b[i] >> 4];
		out[2 * i + 1] = hex_digits[h->b[i] & 15];
	}
	out[2 * CS_HASH_SIZE] = '\0';
}

#define SEC_YEAR_0 (-62167219200ll)   /* 0000-01-01T00-00-00Z */
#define SEC_YEAR_9999 (253402300799ll) /* 9999-12-31T23-59-59Z */
#define TIME_NAME_LEN 20

void cs_time_name(struct cs_time t, char out[CS_POINT_NAME_MAX + 1])
{
	time_t sec = t.sec < SEC_YEAR_0 ? SEC_YEAR_0 :
		     t.sec > SEC_YEAR_9999 ? SEC_YEAR_9999 : t.sec;
	struct tm tm;

	gmtime_r(&sec, &tm); /* cannot fail in these bounds */
	snprintf(out, CS_POINT_NAME_MAX + 1, "%04d-%02d-%02dT%02d-%02d-%02dZ",
		 tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec);
}

int cs_time_parse_name(const char *name, struct cs_time *out)
{
	static const char form[] = "dddd-dd-ddTdd-dd-ddZ";
	int field[6] = { 0 }, nfield = 0;

	if (strlen(name) != TIME_NAME_LEN)
		return CS_E_USAGE;
	for (int i = 0; i < TIME_NAME_LEN; i++) {
		if (form[i] != 'd') {
			if (name[i] != form[i])
				return CS_E_USAGE;
			nfield++;
		} else if (name[i] < '0' || name[i] > '9') {
			return CS_E_USAGE;
		} else {
			field[nfield] = field[nfield] * 10 + (name[i] - '0');
		}
	}
	struct tm tm = {
		.tm_year = field[0] - 1900, .tm_mon = field[1] - 1, .tm_mday = field[2],
		.tm_hour = field[3], .tm_min = field[4], .tm_sec = field[5],
	};
	struct cs_time t = { timegm(&tm), 0 };
	char back[CS_POINT_NAME_MAX + 1];
	cs_time_name(t, back);
	if (strcmp(back, name) != 0) /* the 31st of February, 25 o'clock */
		return CS_E_USAGE;
	*out = t;
	return CS_OK;
}

/* The number of exactly width digits at *p, which moves behind them; -1: they are not there. */
static int number(const char **p, int width)
{
	int n = 0;

	for (; width > 0; width--, (*p)++) {
		if (**p < '0' || **p > '9')
			return -1;
		n = 10 * n + (**p - '0');
	}
	return n;
}

/* False: there is no such day, hour, ... */
static bool to_seconds(const int field[6], bool utc, int64_t *out)
{
	struct tm tm = {
		.tm_year = field[0] - 1900, .tm_mon = field[1] - 1, .tm_mday = field[2],
		.tm_hour = field[3], .tm_min = field[4], .tm_sec = field[5],
	};
	struct tm local = tm, want = tm;

	*out = timegm(&tm); /* which makes another day of the 31st of February */
	if (tm.tm_mon != want.tm_mon || tm.tm_mday != want.tm_mday ||
	    tm.tm_hour != want.tm_hour || tm.tm_min != want.tm_min || tm.tm_sec != want.tm_sec)
		return false;
	if (utc)
		return true;
	local.tm_isdst = -1;
	local.tm_wday = -1;
	*out = mktime(&local);
	return local.tm_wday != -1;
}

int cs_time_parse(const char *text, struct cs_time *out)
{
	static const char *const before[6] = { "", "-", "-", "T ", ":-", ":-" };
	int field[6] = { 0, 0, 0, 23, 59, 59 }, n = 0;
	const char *p = text;
	int64_t sec;

	for (; n < 6; n++) {
		if (n > 0 && (*p == '\0' || !strchr(before[n], *p)))
			break;
		p += n > 0;
		field[n] = number(&p, n == 0 ? 4 : 2);
		if (field[n] < 0)
			return CS_E_USAGE;
	}
	bool utc = *p == 'Z';
	p += utc;
	if (n < 3 || *p || !to_seconds(field, utc, &sec))
		return CS_E_USAGE;
	*out = (struct cs_time){ sec, 0 };
	return CS_OK;
}

static bool series_char(char c)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
	       (c != '\0' && strchr("._-@+", c));
}

int cs_series_check(const char *name, struct cs_error *err)
{
	static const char *const reserved[] = { "by-id", "by-tag", "by-consistency", "latest" };
	size_t len = strlen(name);
	char shown[CS_SERIES_MAX + 1];

	cs_text_escape(name, len, false, shown, sizeof(shown));
	if (len == 0)
		return cs_fail(err, CS_E_USAGE, "a series needs a name");
	if (len > CS_SERIES_MAX)
		return cs_fail(err, CS_E_USAGE, "series name %s...: longer than %d bytes", shown,
			       CS_SERIES_MAX);
	if (name[0] == '.' || name[0] == '-')
		return cs_fail(err, CS_E_USAGE, "series name %s: may not begin with '%c'", shown,
			       name[0]);
	for (size_t i = 0; i < len; i++)
		if (!series_char(name[i]))
			return cs_fail(err, CS_E_USAGE, "series name %s: only letters, digits and "
				       "._-@+ are allowed", shown);
	for (size_t i = 0; i < sizeof(reserved) / sizeof(reserved[0]); i++)
		if (strcmp(name, reserved[i]) == 0)
			return cs_fail(err, CS_E_USAGE, "series name %s: the mount uses this name "
				       "itself", shown);
	return CS_OK;
}

bool cs_point_name_valid(const char *name, size_t len)
{
	if (len == 0 || len > CS_POINT_NAME_MAX || name[0] < '0' || name[0] > '9')
		return false;
	for (size_t i = 0; i < len; i++)
		if ((name[i] < '0' || name[i] > '9') && name[i] != '-' && name[i] != 'T' && name[i] != 'Z')
			return false;
	return true;
}

bool cs_name_valid(const char *name, size_t len)
{
	if (len == 0 || len > 255)
		return false;
	if (name[0] == '.' && (len == 1 || (len == 2 && name[1] == '.')))
		return false;
	return !memchr(name, '/', len) && !memchr(name, '\0', len);
}
