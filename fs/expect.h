/* SPDX-License-Identifier: MIT */
/* expect.h - whether the next question comes at once. See expect.c. */
#ifndef CS_EXPECT_H
#define CS_EXPECT_H

#include <stdint.h>

#define CS_EXPECT_SOON_NS 12000

#define CS_EXPECT_OPCODES 64
#define CS_EXPECT_IN_A_ROW 4

/* One thread's; begins as zeroes. Times are nanoseconds of a clock that only goes on, never 0. */
struct cs_expect {
	uint64_t answered; /* the last question, at this time; 0: not by this thread, or not yet */
	uint64_t nodeid;   /* what it was about */
	uint32_t opcode;   /* FUSE's */
	unsigned nth;      /* of this kind about the same, in a row; from 0, up to the last there is */
	uint8_t counter[CS_EXPECT_OPCODES][CS_EXPECT_IN_A_ROW];
};

/* A question has come. */
void cs_expect_asked(struct cs_expect *x, uint32_t opcode, uint64_t nodeid, uint64_t now);

/* It is answered. now is 0 if somebody else has listened meanwhile: what comes next says nothing. */
void cs_expect_answered(struct cs_expect *x, uint64_t now);

/* Until when to stay awake for the next one; 0: it may take long. */
uint64_t cs_expect_until(const struct cs_expect *x);

#endif
