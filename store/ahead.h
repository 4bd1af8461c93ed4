/* SPDX-License-Identifier: MIT */
/*
 * ahead.h - a source that is on the disk and not in the page cache: have the
 * kernel read the files that a backup will read next.
 *
 * A backup takes one entry after the other, and each that is not in memory is a
 * wait for the disk, which could do many at a time. So some threads go ahead of
 * it, a few dozen names, and do what makes the kernel bring in an inode, a
 * directory's list or the beginning of a file. What they find they throw away:
 * nothing that is stored depends on them, and an error is the backup's to meet.
 *
 * When all of it is in memory they would only be in the way. So they sleep until
 * the backup meets a file that is not, and look at the next few hundred names.
 *
 * They open nothing but regular files and directories of the file system of the
 * directory they are in: no mount is triggered and no device is touched that
 * the backup itself would leave alone.
 *
 * One thread calls these.
 */
#ifndef CS_AHEAD_H
#define CS_AHEAD_H

#include "entry.h"

#include <stdbool.h>

#define CS_AHEAD_NAMES 64 /* of a directory: look no further than that */

struct cs_ahead;
struct cs_ahead_dir;

struct cs_ahead *cs_ahead_new(void); /* NULL: no memory. Below, that is nobody who goes ahead */
void cs_ahead_free(struct cs_ahead *a);
/* A file had to be waited for. */
void cs_ahead_wake(struct cs_ahead *a);
/* For each name that is taken: is it worth while to look ahead? */
bool cs_ahead_wanted(struct cs_ahead *a);
/*
 * Look at name in the directory fd soon; *dir: kept for the next name of that
 * directory, NULL at first. False: there is enough to do, try again later.
 */
bool cs_ahead_add(struct cs_ahead *a, int fd, struct cs_ahead_dir **dir, const char *name);
/* Some names were added: begin. A few dozen at a time, since whoever sleeps is woken for them. */
void cs_ahead_go(struct cs_ahead *a);
/* The directory is done with. NULL is fine. */
void cs_ahead_leave(struct cs_ahead *a, struct cs_ahead_dir *dir);

#endif
