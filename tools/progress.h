/* SPDX-License-Identifier: MIT */
/*
 * progress.h - the line on stderr that says how far a long action is, and the
 * signals that end it.
 */
#ifndef CS_TOOLS_PROGRESS_H
#define CS_TOOLS_PROGRESS_H

#include "store/chunkstore.h"

struct cs_progress_line {
	bool enabled; /* stderr is a terminal and nobody said -q */
	bool shown;   /* the line stands on the terminal */
	double last;  /* when it was drawn */
};

void cs_progress_init(struct cs_progress_line *l, bool quiet);
void cs_progress_show(struct cs_progress_line *l, const struct cs_progress *p);
/* Take the line away, before something else is printed and at the end. */
void cs_progress_wipe(struct cs_progress_line *l);

/* From now on SIGINT, SIGTERM and SIGHUP only ask to stop; a second one kills. */
void cs_progress_catch_signals(void);
/* Has a signal asked to stop? */
bool cs_progress_stopped(void);

#endif
