/* SPDX-License-Identifier: MIT */
/*
 * near.h - answering on the processor where the question was asked.
 */
#ifndef CS_FS_NEAR_H
#define CS_FS_NEAR_H

#include <stddef.h>
#include <sys/types.h>

/*
 * A worker thread tells, after each reply, whom it answered (0: unknown) and
 * with how many bytes of file content. May move the calling thread to another
 * processor.
 */
void cs_near_served(pid_t pid, size_t bytes);

#endif
