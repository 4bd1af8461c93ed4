/* SPDX-License-Identifier: MIT */
/*
 * model.h - what a disk may hold of a store's files, at each moment of a
 * recorded life.
 *
 * What the model takes for granted of a disk and its file system:
 *   - a sector of 512 bytes is written whole or not at all;
 *   - fsync and fdatasync of a file make all changes of its content and size
 *     durable, and those of a directory its names; a file's sync promises
 *     nothing about its name;
 *   - a write through O_DSYNC is durable when it returns, and nothing else is;
 *   - a sector that was written twice never goes back to the first version
 *     after the second has become durable;
 *   - names change in order, each at once (a rename never shows neither file).
 * All else may happen: any set of the changes since a file's last sync may be
 * missing, whatever their order, and each of the others may be there in part.
 *
 * lock.mdb and leases are not modelled: their content means nothing to a store
 * that nobody has open. They are absent, empty or full of noise in turn.
 */
#ifndef CS_TEST_MODEL_H
#define CS_TEST_MODEL_H

#include "log.h"

#include <stdbool.h>
#include <stddef.h>

#define MODEL_SECTOR 512
#define MODEL_FILES 64
#define MODEL_NAMES 32

struct op {
	uint32_t kind, flags, pid;
	int file, file2; /* index in model.files; -1: none */
	int64_t off;
	uint64_t len;
	const uint8_t *data;
	const char *name, *name2, *text;
	uint64_t ino;
};

struct content {
	uint8_t *data;
	size_t size, cap;
};

/* A change since the last sync; must: it is durable itself. */
struct pending {
	size_t op;
	bool must;
};

struct file {
	uint64_t ino;
	struct content now, durable;
	struct pending *pending;
	size_t npending, cap;
};

struct names {
	struct {
		char name[LOG_NAME_MAX];
		int file;
	} at[MODEL_NAMES];
	int count;
	bool dir; /* the store's directory is there */
};

struct model {
	struct op *ops;
	size_t nops;
	struct file files[MODEL_FILES];
	int nfiles;
	struct names now, durable;
	size_t *names_pending; /* operations on names since the directory's last sync */
	size_t nnames_pending, names_cap;
	bool ignore_sync; /* a disk that lies: for testing the test */
	size_t done;	  /* operations that have happened */
};

/* Read the log. Ends the program when it cannot be read, or replayed. */
void model_load(struct model *m, const char *log);
/* Operation m->done happens. A durable write is not yet durable, */
void model_step(struct model *m);
/* but is when it returns. */
void model_return(struct model *m);

/* What is on the disk after a power cut: pending change i of the list below is there if take[i]. */
struct cut {
	const bool *take;     /* one for each model_pending() */
	size_t torn;	      /* this one, index in the list, is there in part; SIZE_MAX: none is */
	uint64_t torn_seed;   /* which part */
	size_t names;	      /* so many changes of names are there */
	bool grown;	      /* sizes are those of the last change, whatever became of the content */
};
/* The changes of files that a power cut may undo: those not durable. out may be NULL. */
size_t model_pending(const struct model *m, size_t *out, size_t max);

/*
 * Make the files in dir, an empty directory. cut NULL: as every process saw them,
 * and the first `part` bytes of operation m->done, which is a write. noise picks
 * what lock.mdb and leases are. Returns false when the store itself is not there.
 */
bool model_make(const struct model *m, const struct cut *cut, uint64_t part, uint64_t noise,
		const char *dir);

/* Does the file in the real store have the content that the model has at the end? */
bool model_equals(const struct model *m, const char *dir, const char *name);

/* For messages. */
void model_describe(const struct model *m, size_t op, char *out, size_t len);

uint64_t model_random(uint64_t *state);

#endif
