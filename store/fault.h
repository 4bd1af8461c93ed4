/* SPDX-License-Identifier: MIT */
/*
 * fault.h - places where a test stops a process, to drive an interleaving that
 * luck would never show. Nothing happens there otherwise.
 */
#ifndef CS_FAULT_H
#define CS_FAULT_H

extern void (*cs_fault_hook)(const char *where); /* set by tests, before threads start */

static inline void cs_fault(const char *where)
{
	if (__builtin_expect(cs_fault_hook != 0, 0))
		cs_fault_hook(where);
}

#endif
