/* SPDX-License-Identifier: MIT */
#include "err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

struct row {
	int code, sys, status;
	const char *text;
};

static const struct row table[] = {
#define X(name, value, sys, status, text) { name, sys, status, text },
	CS_ERROR_TABLE(X)
#undef X
};

static const struct row *find(int code)
{
	for (size_t i = 0; i < sizeof(table) / sizeof(table[0]); i++)
		if (table[i].code == code)
			return &table[i];
	return &table[0];
}

const char *cs_code_text(int code)
{
	return code == CS_OK ? "no error" : find(code)->text;
}

int cs_code_errno(int code)
{
	return code == CS_OK ? 0 : find(code)->sys;
}

int cs_code_status(int code)
{
	return code == CS_OK ? 0 : find(code)->status;
}

int cs_code_from_errno(int sys_errno)
{
	switch (sys_errno) {
	case 0:
		return CS_OK;
	case ENOENT:
		return CS_E_NOTFOUND;
	case EEXIST:
		return CS_E_EXISTS;
	case ENOSPC:
	case EDQUOT:
	case EFBIG:
		return CS_E_FULL;
	case ENOMEM:
		return CS_E_NOMEM;
	case EBUSY:
		return CS_E_BUSY;
	case EINTR:
		return CS_E_INTERRUPTED;
	case ENOTDIR:
		return CS_E_NOTDIR;
	case EISDIR:
		return CS_E_ISDIR;
	case EROFS:
		return CS_E_READONLY;
	case EACCES:
	case EPERM:
		return CS_E_ACCESS;
	default:
		return CS_E_IO;
	}
}

#define TEXT_MAX 8192 /* two paths and what is said of them */

/* What is too long loses its middle: a long path must not hide what is wrong with it. */
static void fit(struct cs_error *err, const char *whole, size_t len)
{
	static const char gap[] = "[...]";
	size_t room = sizeof(err->text) - 1, tail = room / 2, head = room - tail - strlen(gap);
	if (len <= room)
		memcpy(err->text, whole, len + 1);
	else
		sprintf(err->text, "%.*s%s%s", (int)head, whole, gap, whole + len - tail);
}

__attribute__((format(printf, 4, 0)))
static void fill(struct cs_error *err, int code, int sys_errno, const char *fmt, va_list ap)
{
	if (!err)
		return;
	err->code = code;
	err->sys_errno = sys_errno;
	char whole[TEXT_MAX], buf[128];
	int n = vsnprintf(whole, TEXT_MAX - sizeof(buf), fmt, ap);
	size_t len = n < 0 ? 0 : (size_t)n < TEXT_MAX - sizeof(buf) ? (size_t)n : strlen(whole);
	whole[len] = '\0';
	if (sys_errno)
		len += (size_t)snprintf(whole + len, TEXT_MAX - len, ": %s",
					strerror_r(sys_errno, buf, sizeof(buf) - 2));
	fit(err, whole, len);
}

int cs_fail(struct cs_error *err, int code, const char *fmt, ...)
{
	va_list ap;
	va_start(ap, fmt);
	fill(err, code, 0, fmt, ap);
	va_end(ap);
	return code;
}

int cs_vfail(struct cs_error *err, int code, const char *fmt, va_list ap)
{
	fill(err, code, 0, fmt, ap);
	return code;
}

int cs_fail_errno(struct cs_error *err, int sys_errno, const char *fmt, ...)
{
	int code = cs_code_from_errno(sys_errno ? sys_errno : EIO);
	va_list ap;
	va_start(ap, fmt);
	fill(err, code, sys_errno ? sys_errno : EIO, fmt, ap);
	va_end(ap);
	return code;
}
