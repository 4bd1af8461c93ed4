/* SPDX-License-Identifier: MIT */
/* push.h - sending small files to the kernel ahead of the reader. See push.c. */
#ifndef CS_PUSH_H
#define CS_PUSH_H

#include "view.h"

struct cs_push;

/* Put a whole file into the kernel's page cache. 0 or a negative errno. */
struct cs_push_kernel {
	int (*store)(void *arg, uint64_t ino, const void *p, size_t len);
	void *arg;
};

/* view is borrowed until free. */
int cs_push_new(struct cs_view *view, const struct cs_push_kernel *kernel, struct cs_push **out,
		struct cs_error *err) CS_MUST_CHECK;
/* All below accept NULL: then nothing is pushed. */
int cs_push_start(struct cs_push *p, struct cs_error *err) CS_MUST_CHECK;
void cs_push_stop(struct cs_push *p); /* what is being stored is finished first */
void cs_push_free(struct cs_push *p);

/*
 * The kernel was given the first `listed` children of dir with their
 * attributes, up to inode `last`, so it holds them. complete: there are no
 * more. Only remembers.
 */
void cs_push_was_listed(struct cs_push *p, uint64_t dir, uint64_t listed, uint64_t last,
			bool complete);
/* Somebody reads the file. Never waits. */
void cs_push_was_read(struct cs_push *p, uint64_t ino, uint64_t off);

#endif
