/* SPDX-License-Identifier: MIT */
/*
 * expect.c - whether the next question comes at once.
 *
 * To fall asleep and be woken costs a listener more than most answers. So it
 * stays awake for a moment where the next question is likely to come within it.
 *
 * A program asks about a file as it asked about the last one: cp -a of
 * coreutils 9.7 asks four times for the names of its extended attributes, three
 * of them at once, and makes the next file then. What tells these apart is the
 * kind of question and how many of the kind were about the same file in a row.
 * For each there is a counter of two bits, as processors have them to predict
 * branches: up when the next question came soon, down when it did not, and
 * believed from the middle on. A listener that sleeps learns as well; so does
 * one that waits in vain, which it does twice at most until it knows.
 *
 * How long is a moment? Who is answered asks again after 3 to 5 us. Where the
 * scheduler has put him behind the listener he gets on when that one sleeps, so
 * it must not be much longer: 12 and 20 us are equally fast, 5 is too short.
 */
#include "expect.h"

#define COUNTER_MAX 3
#define BELIEVED 2

static uint8_t *last_counter(struct cs_expect *x)
{
	return x->opcode < CS_EXPECT_OPCODES ? &x->counter[x->opcode][x->nth] : 0;
}

static void learn(uint8_t *counter, int soon)
{
	if (soon && *counter < COUNTER_MAX)
		++*counter;
	else if (!soon && *counter)
		--*counter;
}

void cs_expect_asked(struct cs_expect *x, uint32_t opcode, uint64_t nodeid, uint64_t now)
{
	uint8_t *counter = last_counter(x);

	if (counter && x->answered)
		learn(counter, now - x->answered <= CS_EXPECT_SOON_NS);
	if (opcode != x->opcode || nodeid != x->nodeid)
		x->nth = 0;
	else if (x->nth < CS_EXPECT_IN_A_ROW - 1)
		x->nth++;
	x->opcode = opcode;
	x->nodeid = nodeid;
	x->answered = 0;
}

void cs_expect_answered(struct cs_expect *x, uint64_t now)
{
	x->answered = now;
}

uint64_t cs_expect_until(const struct cs_expect *x)
{
	if (!x->answered || x->opcode >= CS_EXPECT_OPCODES ||
	    x->counter[x->opcode][x->nth] < BELIEVED)
		return 0;
	return x->answered + CS_EXPECT_SOON_NS;
}
