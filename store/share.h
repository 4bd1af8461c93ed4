/* SPDX-License-Identifier: MIT */
/* share.h - a store that a group of users may read. See share.c. */
#ifndef CS_SHARE_H
#define CS_SHARE_H

#include "err.h"

#include <sys/types.h>

/* Let group read a store just made. Its directory gets the group first, its mode last. */
int cs_share_with(const char *store, gid_t group, struct cs_error *err) CS_MUST_CHECK;
/*
 * If the store is shared: make its lock files usable by the group, anew if need
 * be. Does what it may, and says nothing. Before the files are opened.
 */
void cs_share_mend(int dir);
/* May this user open the store? CS_E_ACCESS, in words. */
int cs_share_check(int dir, const char *store, int writing, struct cs_error *err) CS_MUST_CHECK;

#endif
