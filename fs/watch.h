/* SPDX-License-Identifier: MIT */
/* watch.h - a thread that notices changes of the store. See watch.c. */
#ifndef CS_WATCH_H
#define CS_WATCH_H

#include "log.h"
#include "view.h"

struct cs_watch;

/*
 * Read the store's generation and announce it: from here on committers wait
 * for this process. All arguments are borrowed until free. drop is called from
 * the watching thread only.
 */
int cs_watch_new(struct cs_store *store, struct cs_view *view, const struct cs_view_drop *drop,
		 struct cs_log *log, struct cs_watch **out, struct cs_error *err) CS_MUST_CHECK;
/* Begin to watch, with a first look at once. */
int cs_watch_start(struct cs_watch *w, struct cs_error *err) CS_MUST_CHECK;
/* End the thread, if it runs. What it is doing is finished first. */
void cs_watch_stop(struct cs_watch *w);
void cs_watch_free(struct cs_watch *w);

#endif
