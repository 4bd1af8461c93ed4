/* SPDX-License-Identifier: MIT */
/*
 * place.h - a store to spoil, and everything that reads one.
 */
#ifndef CS_FUZZ_PLACE_H
#define CS_FUZZ_PLACE_H

#include "store/chunkstore.h"

/* A path in this process's own directory, which is removed at its end. Good until the 4th next call. */
const char *place_path(const char *name);
/* Remove what is at a path, however deep and whatever its modes. */
void place_clear(const char *path);
/* An empty store without sync of anything that matters; aborts when it cannot be made. */
void place_init(const char *path);
/* A tree of files with a bit of everything, at the path `tree`. */
void place_fill_tree(void);
/* Back up `tree` into the store, uncompressed. */
void place_back_up(const char *store, const char *series);

/*
 * What reads a store: lists, walks, contents, attributes, everything that a mount
 * asks, verify, and a restore, after which nothing but the destination may have
 * changed. Each may fail; none may do worse.
 */
void place_read(struct cs_store *s);

#endif
