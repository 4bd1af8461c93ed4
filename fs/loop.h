/* SPDX-License-Identifier: MIT */
/* loop.h - the threads that listen to the kernel and answer. See loop.c. */
#ifndef CS_LOOP_H
#define CS_LOOP_H

struct cs_loop;
struct fuse_session;

/* For at most max threads. The session is borrowed. NULL: out of memory. */
struct cs_loop *cs_loop_new(struct fuse_session *session, unsigned max);
void cs_loop_free(struct cs_loop *l); /* NULL is fine */

/* Serve until somebody unmounts or cs_loop_end is called: 0, or a negative errno. */
int cs_loop_run(struct cs_loop *l);

/* Any thread, before cs_loop_run or meanwhile. Requests that are being answered will be. */
void cs_loop_end(struct cs_loop *l);

/*
 * The calling thread may take long, or have to wait, before it answers what it took: let
 * another one listen meanwhile. Any thread; does nothing in one that has no request.
 */
void cs_loop_hand_over(void);

#endif
