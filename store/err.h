/* SPDX-License-Identifier: MIT */
/*
 * err.h - the one list of errors, and the object that carries one upwards.
 *
 * Every fallible function returns 0 or a negative code of this table;
 * iterators return 1 (an item), 0 (end) or a negative code. Context (which
 * path, which point, which chunk) is written once, where it is known, into a
 * struct cs_error by value: nothing to free. Whoever owns the terminal prints
 * it, once; the library never prints.
 */
#ifndef CS_ERR_H
#define CS_ERR_H

#include <stdarg.h>
#include <stddef.h>

/*      name                 value  errno        exit  sentence */
#define CS_ERROR_TABLE(X)                                                      \
	X(CS_E_IO,             -1,  EIO,          1, "input/output error")     \
	X(CS_E_NOTFOUND,       -2,  ENOENT,       1, "not found")              \
	X(CS_E_EXISTS,         -3,  EEXIST,       1, "already exists")         \
	X(CS_E_CORRUPT,        -4,  EIO,          1, "the store is damaged")   \
	X(CS_E_VERSION,        -5,  EPROTO,       1, "unknown store format")   \
	X(CS_E_FULL,           -6,  ENOSPC,       1, "no space left")          \
	X(CS_E_BUSY,           -7,  EBUSY,        1, "the store is in use")    \
	X(CS_E_NOMEM,          -8,  ENOMEM,       1, "out of memory")          \
	X(CS_E_USAGE,          -9,  EINVAL,       2, "wrong use")              \
	X(CS_E_INTERRUPTED,   -10,  EINTR,        1, "interrupted")            \
	X(CS_E_NOTDIR,        -11,  ENOTDIR,      1, "not a directory")        \
	X(CS_E_ISDIR,         -12,  EISDIR,       1, "is a directory")         \
	X(CS_E_READONLY,      -13,  EROFS,        1, "the store is read-only") \
	X(CS_E_ACCESS,        -14,  EACCES,       1, "permission denied")      \
	X(CS_E_LIMIT,         -15,  EOVERFLOW,    1, "a limit was exceeded")   \
	X(CS_E_PARTIAL,       -16,  EIO,          3, "not everything could be read")

enum cs_code {
	CS_OK = 0,
#define X(name, value, sys, status, text) name = value,
	CS_ERROR_TABLE(X)
#undef X
};

#define CS_MUST_CHECK __attribute__((warn_unused_result))

/* What went wrong, by value. `text` is one line without a newline. */
struct cs_error {
	int code;      /* enum cs_code */
	int sys_errno; /* errno behind it, or 0 */
	char text[1024];
};

/* The fixed sentence of a code. Never NULL. */
const char *cs_code_text(int code);
/* The errno a code is shown as through a file system: corrupt is EIO, never ENOENT. */
int cs_code_errno(int code);
/* The exit status of a program that failed with this code. */
int cs_code_status(int code);
/* The code an errno means. */
int cs_code_from_errno(int sys_errno);

/*
 * Fill err (may be NULL) with code and a printf-style text, and return code.
 * The text names the thing (path, point, store); it ends without a full stop. If it is too
 * long, the middle is left out.
 */
int cs_fail(struct cs_error *err, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
int cs_vfail(struct cs_error *err, int code, const char *fmt, va_list ap)
	__attribute__((format(printf, 3, 0)));
/* The same for a system call that failed: the text gets ": strerror(sys_errno)". */
int cs_fail_errno(struct cs_error *err, int sys_errno, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#endif
