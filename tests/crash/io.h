/* SPDX-License-Identifier: MIT */
/*
 * io.h - what io_calls.c (the functions that stand in for libc's), io_fault.c
 * and io_log.c share: the library that is preloaded into a program to watch,
 * or to break, what it does to the files of one store.
 *
 *	CS_IO_DIR     the store's directory, without symbolic links
 *	CS_IO_LOG     append every change to this file (log.h)
 *	CS_IO_REPORT  append one line a change to this file: its number and what it is
 *	CS_IO_FAULT   KIND:N, the Nth change goes wrong; KIND:N+, it and all later ones
 *
 * One change at a time, of all threads and processes that share a log: so the
 * log's order is the order in which the kernel saw them.
 */
#ifndef CS_TEST_IO_H
#define CS_TEST_IO_H

#include "log.h"

#include <stdbool.h>
#include <sys/types.h>
#include <sys/uio.h>

/* A change that is about to be made. */
struct io_change {
	uint32_t kind; /* enum log_kind */
	uint32_t flags;
	uint64_t ino; /* of the file, for what has one */
	int fd;
	int64_t off;
	uint64_t len;
	char name[LOG_NAME_MAX]; /* in the store's directory; "" is the directory itself */
	char name2[LOG_NAME_MAX];
};

enum io_fault {
	IO_NONE,
	IO_ENOSPC, /* fails, and does nothing */
	IO_EIO,
	IO_EINTR,
	IO_SHORT,     /* a write: half of it */
	IO_LATE,      /* is done, but not durably, and fails with EIO: of synchronous writes */
	IO_KILL,      /* the process is killed before it */
	IO_KILL_SYNC, /* the process is killed when it is done, but not durably: of such writes */
};

/* io_calls.c: the next function of this name. */
void *io_real(const char *name);

/* io_fault.c: what is to happen to this change, and the line about it. */
enum io_fault io_fault_next(const struct io_change *c);

/* io_log.c. Between enter and leave no other thread or process changes anything. */
void io_enter(void);
void io_leave(void);
void io_log(const struct io_change *c, const struct iovec *data, int n);

#endif
