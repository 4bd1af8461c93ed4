/* SPDX-License-Identifier: MIT */
/*
 * space.h - giving free space back to the file system, while everybody works on.
 */
#ifndef CS_SPACE_H
#define CS_SPACE_H

#include "store.h"

struct cs_space_opts {
	bool cut; /* shorten the file too when its end is free */
	cs_progress_fn *progress;
	void *arg;
	const char *what; /* for progress */
};

/*
 * Make holes of the free pages of data.mdb, in bounded steps. *out (see
 * chunkstore.h) is added to. The store is open for writing.
 */
int cs_space_give_back(struct cs_store *s, const struct cs_space_opts *opts,
		       struct cs_space_result *out, struct cs_error *err) CS_MUST_CHECK;

#endif
