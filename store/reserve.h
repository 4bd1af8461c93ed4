/* SPDX-License-Identifier: MIT */
/*
 * reserve.h - room in data.mdb that a full disk cannot take away.
 *
 * To free space takes space: forget and gc write new pages before old ones are
 * free. When others have filled the disk, and the file has no free page of its
 * own, there would be no way out. So behind the last page of the file some
 * blocks are set aside, which do not count in its size. Whichever transaction
 * needs them takes them, and as soon as there is room they are set aside anew.
 *
 * A backup may not take the last of them (cs_txn_leave_room): the disk that it
 * has filled could not be cleared any more.
 */
#ifndef CS_RESERVE_H
#define CS_RESERVE_H

#include <stdint.h>

#define CS_RESERVE_BYTES ((uint64_t)1 << 20)

/*
 * Set blocks aside behind `end`, unless *reserved, the end of those that were
 * set aside before (0: none yet), is still far enough. A file system that
 * cannot, or is full, is no error.
 */
void cs_reserve_keep(int fd, uint64_t end, _Atomic uint64_t *reserved);

#endif
