/* SPDX-License-Identifier: MIT */
/* sandbox.h - giving up what serving a mount does not need. See sandbox.c. */
#ifndef CS_SANDBOX_H
#define CS_SANDBOX_H

#include "store/err.h"

#include <stdbool.h>

enum cs_sandbox_how {
	CS_SANDBOX_AUTO, /* as far as the kernel can */
	CS_SANDBOX_YES,  /* all of it, or not at all */
	CS_SANDBOX_NO,
};

/* Is it for this program? Not when a sanitizer is in it, which opens and starts what it likes. */
bool cs_sandbox_possible(void);
/*
 * libfuse ends its threads by cancelling them, and what that takes is loaded when it
 * is first done, or the process aborted: better at the start, when there are memory
 * and files.
 */
void cs_sandbox_prepare(void);
/*
 * From now on this process, and all its threads to come, can open the store and
 * little else, start no program, and has no privileges. Call while there is one
 * thread. all: fail where the kernel lacks a part. A negative enum cs_code.
 */
int cs_sandbox_enter(const char *store, bool all, struct cs_error *err) CS_MUST_CHECK;

#endif
