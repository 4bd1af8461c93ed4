/* SPDX-License-Identifier: MIT */
/*
 * ingest_dir.h - one directory of a backup, from its first entry to its pages, beside
 * the parent point's version of it.
 *
 * Entries come in the order of their names: for each, cs_ingest_dir_find, and then
 * _same if it is the parent's entry, _new if it is not, neither if it is left out.
 */
#ifndef CS_INGEST_DIR_H
#define CS_INGEST_DIR_H

#include "ingest.h"

struct cs_ingest_dir {
	struct cs_entry self; /* without its children */
	struct cs_buf xattrs; /* self's packed list, also when it is a chunk */

	bool has_old;
	struct cs_node old_self; /* the parent point's directory, held */
	struct cs_dir *old;
	const struct cs_node *old_next; /* NULL: at the end */
	bool old_taken;                 /* old_next stands in the directory; else it is gone */

	bool differs;         /* entries are being packed */
	uint64_t count;
	uint32_t subdirs;
	struct cs_totals below;
	struct cs_pages_writer writer;
	struct cs_hasher *hasher; /* kept for the next directory in this place; the caller frees it */
};

/*
 * What fails because the parent point is damaged has a code of its own. The caller
 * begins the directory anew, without it.
 */
#define CS_OLD_DAMAGED (-1000)
int cs_ingest_old_failed(int rc) CS_MUST_CHECK;

/* self, and its attributes, from its descriptor; with -1 self stays what the caller has set. */
int cs_ingest_dir_stat(struct cs_ingest *in, struct cs_ingest_dir *d, int fd,
		       struct cs_error *err) CS_MUST_CHECK;
/* in->xattrs: the directory's own, for its line, not those of the last file in it. */
int cs_ingest_dir_xattrs(struct cs_ingest *in, const struct cs_ingest_dir *d,
			 struct cs_error *err) CS_MUST_CHECK;

/* With has_old and old_self set: the parent's list is opened. */
int cs_ingest_dir_begin(struct cs_ingest *in, struct cs_ingest_dir *d,
			struct cs_error *err) CS_MUST_CHECK;
/*
 * Bring the parent's list to name. *found: its entry of this name, or NULL.
 * What the list passes without its having been added is a difference: it is
 * gone, or could not be read this time.
 */
int cs_ingest_dir_find(struct cs_ingest *in, struct cs_ingest_dir *d, const char *name,
		       const struct cs_node **found, struct cs_error *err) CS_MUST_CHECK;
/* An entry that is the parent's. */
int cs_ingest_dir_same(struct cs_ingest *in, struct cs_ingest_dir *d, const struct cs_node *n,
		       struct cs_error *err) CS_MUST_CHECK;
/* A new or changed entry; its xattrs are in->xattrs. */
int cs_ingest_dir_new(struct cs_ingest *in, struct cs_ingest_dir *d, const struct cs_entry *e,
		      const struct cs_hash *hash, struct cs_error *err) CS_MUST_CHECK;
/* The directory's entry when all its children are in. *same: it is the parent's. */
int cs_ingest_dir_finish(struct cs_ingest *in, struct cs_ingest_dir *d, struct cs_entry *e,
			 bool *same, struct cs_error *err) CS_MUST_CHECK;
/* As if it had no entries yet, and no parent. */
void cs_ingest_dir_anew(struct cs_ingest *in, struct cs_ingest_dir *d);
void cs_ingest_dir_release(struct cs_ingest_dir *d);

#endif
