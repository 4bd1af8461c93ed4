/* SPDX-License-Identifier: MIT */
/* handed.h - the names above the points that the kernel was given. See handed.c. */
#ifndef CS_HANDED_H
#define CS_HANDED_H

#include <stdbool.h>
#include <stdint.h>

struct cs_handed;

/* One name that the kernel may hold. */
struct cs_handed_name {
	uint64_t parent; /* inode of the directory */
	uint64_t ino;    /* what the name stood for */
	const char *name;
};

struct cs_handed *cs_handed_new(void); /* NULL: out of memory */
void cs_handed_free(struct cs_handed *h);

/* Note a name before it is given away. False: out of memory, so do not let it be cached. */
bool cs_handed_add(struct cs_handed *h, uint64_t parent, const char *name, uint64_t ino);

/*
 * Ask right about every name; those it denies are struck out and shown to
 * gone, in this order, so that a name handed out again meanwhile is noted
 * again. Both are called without a lock held. One caller at a time. False:
 * out of memory, and nothing was done.
 */
struct cs_handed_check {
	bool (*right)(void *arg, const struct cs_handed_name *n);
	void (*gone)(void *arg, const struct cs_handed_name *n);
	void *arg;
};
bool cs_handed_each(struct cs_handed *h, const struct cs_handed_check *check);

#endif
