/* SPDX-License-Identifier: MIT */
/*
 * log.h - the record of a store's life, as io_log.c writes it and replay.c
 * reads it: a run of records, each a struct log_record, then two names, then
 * len bytes of data for a write, or text for a mark. Read on the machine that
 * wrote it, so in its own byte order.
 */
#ifndef CS_TEST_LOG_H
#define CS_TEST_LOG_H

#include <stdint.h>

#define LOG_MAGIC 0x6c6f6763u
#define LOG_NAME_MAX 256

enum log_kind {
	LOG_CREATE = 1, /* name: a new file */
	LOG_WRITE,      /* off, len, data */
	LOG_SYNC,       /* of a file, the directory (name "") or its parent (name "..") */
	LOG_TRUNCATE,   /* off: the new size */
	LOG_PUNCH,      /* off, len: reads as zeroes, size as before */
	LOG_EXTEND,     /* off, len: allocated; the size grows to hold it */
	LOG_RENAME,     /* name to name2 */
	LOG_LINK,       /* name to name2 */
	LOG_UNLINK,     /* name */
	LOG_MKDIR,      /* the store's directory */
	LOG_MARK,       /* the script's: text */
	LOG_UNKNOWN,    /* something that the replayer cannot replay: name says what */
	LOG_KINDS,
};

enum log_flags {
	LOG_DURABLE = 1, /* a write that is on disk when it returns */
};

struct log_record {
	uint32_t magic, kind, flags, pid;
	uint64_t ino;
	int64_t off;
	uint64_t len; /* bytes of data that follow for LOG_WRITE and LOG_MARK */
	char name[LOG_NAME_MAX], name2[LOG_NAME_MAX];
};

static inline const char *log_kind_name(uint32_t kind)
{
	static const char *const names[LOG_KINDS] = {
		"?",	"create", "write", "sync",   "truncate", "punch", "extend",
		"rename", "link", "unlink", "mkdir", "mark",  "unknown",
	};
	return names[kind < LOG_KINDS ? kind : 0];
}

#endif
