/* SPDX-License-Identifier: MIT */
/*
 * intake.h - a file's bytes into chunks: small ones inline or whole, large
 * ones cut by content, holes left out.
 */
#ifndef CS_INTAKE_H
#define CS_INTAKE_H

#include "browse.h"
#include "chunker.h"
#include "hash.h"
#include "page.h"
#include "pipeline.h"

struct cs_intake {
	struct cs_store *store;       /* borrowed, as the next */
	struct cs_pipeline *pipeline;
	uint8_t *buf;
	struct cs_hasher *hasher;
	struct cs_chunker chunker;
	struct cs_pages_writer extents;
	struct cs_buf inline_bytes; /* what an entry's bytes point to, until the next file */
	uint64_t extent_count;
	uint64_t at;                /* how far the file is taken in */
	const struct cs_entry *old; /* the file in the parent point, NULL: none */
	struct cs_file_extents old_extents;
	bool waited;                /* set when a small file was not in memory */
	bool cannot_ask;            /* whether one is: not in this file system */
	int (*tick)(void *arg, uint64_t bytes); /* told of bytes read; nonzero stops with CS_E_INTERRUPTED */
	void *arg;
};

int cs_intake_init(struct cs_intake *in, struct cs_store *s, struct cs_pipeline *p,
		   struct cs_error *err) CS_MUST_CHECK;
void cs_intake_release(struct cs_intake *in);

/*
 * Read e->size bytes of fd (fewer if the file is shorter now: e->size says how
 * many) and fill in e's content fields. e->data_bytes says, before, how much is
 * allocated. old: a regular file of an earlier point, of which this may be a
 * later version, so that its chunks may become deltas; NULL: none. *hash: of the
 * content. *read_errno: why reading failed, or 0; e is of no use then.
 */
int cs_intake_file(struct cs_intake *in, int fd, const struct cs_entry *old, struct cs_entry *e,
		   struct cs_hash *hash, int *read_errno, struct cs_error *err) CS_MUST_CHECK;

#endif
