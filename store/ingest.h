/* SPDX-License-Identifier: MIT */
/*
 * ingest.h - the parts of a backup: ingest.c drives it, ingest_tree.c walks the source,
 * ingest_dir.c makes a directory, ingest_file.c one other entry, ingest_links.c finds
 * what is one file.
 */
#ifndef CS_INGEST_H
#define CS_INGEST_H

#include "ahead.h"
#include "browse.h"
#include "intake.h"
#include "select.h"
#include "walk.h"

#define CS_SAME_INODE_ROWS 4096u

/* The content of a file with several links, so that the next of them is not read again. */
struct cs_same_inode {
	uint32_t volume;
	uint64_t ino;
	struct cs_entry entry; /* bytes point to `bytes` */
	uint8_t *bytes;
	struct cs_hash hash;
};

/* One running backup. Used by one thread. */
struct cs_ingest {
	struct cs_store *store;
	const struct cs_backup_opts *opts;
	struct cs_backup_result result;
	struct cs_pipeline *pipeline;
	struct cs_intake intake;
	struct cs_tree *parent; /* NULL: none, or not usable */
	struct cs_ahead *ahead; /* NULL: nobody */
	struct cs_time trusted; /* an entry of the parent changed later than this may have changed again */
	struct cs_volume *volumes; /* parent's first; index 0 is the root's */
	size_t nvolumes, volumes_cap;
	bool volume_used[CS_VOLUMES_MAX]; /* by something of this backup */

	struct cs_buf path; /* of the entry being looked at, below the point's root; NUL-terminated */
	const struct cs_entry *page_dir; /* see like_page */
	char page_name[CS_NAME_MAX];
	uint32_t page_name_len;
	uint64_t pos;       /* the next entry's position */
	struct cs_sorter links; /* every entry with several links, with its position */
	uint64_t *anew;         /* from which position on, each time a directory was begun anew */
	size_t nanew, anew_cap;
	size_t sort_bytes;      /* memory for the links, and as much for names */
	struct cs_same_inode *same; /* CS_SAME_INODE_ROWS rows */

	struct cs_buf xattr_text, xattr_packed, line, target;
	struct cs_xattr_item *xattrs; /* of the entry being looked at */
	size_t nxattrs;
	int lacking; /* see cs_ingest_lacks; 0: nothing */
};

/* Tell of a path: a printf-style text after it. kind: enum cs_notice_kind. */
void cs_ingest_notice(struct cs_ingest *in, int kind, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/*
 * An entry could not be opened. If that is because this process, or the
 * machine, has no descriptors left, and not because of a tree that is deeper
 * than they reach, the backup ends with the next tick: to store a point without
 * what could be read a moment later would be no backup.
 */
void cs_ingest_lacks(struct cs_ingest *in, int e_no);
/* Progress; CS_E_INTERRUPTED when the caller wants to stop. */
int cs_ingest_tick(struct cs_ingest *in, struct cs_error *err) CS_MUST_CHECK;

/*
 * ingest_file.c: attributes and content of one entry that is not a directory, new or
 * changed. name in dirfd; e as first seen; old: its entry in the parent point, or
 * NULL. 1: *e is complete; 0: left out, and told of; negative: the backup cannot go
 * on. *e borrows from in until the next entry. *hash: of a regular file's content.
 */
int cs_ingest_file(struct cs_ingest *in, int dirfd, const char *name, const struct cs_entry *old,
		   struct cs_entry *e, struct cs_hash *hash, struct cs_error *err) CS_MUST_CHECK;
/* Extended attributes of fd, or of name in dirfd, packed into e. 0 or an errno; negative: cs_code. */
int cs_ingest_xattrs(struct cs_ingest *in, int fd, int dirfd, const char *name,
		     struct cs_entry *e, struct cs_error *err) CS_MUST_CHECK;
/* The number of the file system an entry lies on. */
int cs_ingest_volume(struct cs_ingest *in, int fd, const struct cs_source_stat *st, bool is_root,
		     uint32_t *out, struct cs_error *err) CS_MUST_CHECK;
/*
 * Is this LMDB's lock file? To open and close it would drop the locks that this
 * process holds on it.
 */
bool cs_ingest_is_lock(const struct cs_ingest *in, const struct cs_entry *e,
		       const struct cs_source_stat *st);
/* May the parent's entry stand for what is there now? */
bool cs_ingest_unchanged(const struct cs_ingest *in, const struct cs_entry *old,
			 const struct cs_entry *now);

/* ingest_links.c: an entry that may have several links stands at pos. */
int cs_ingest_link(struct cs_ingest *in, const struct cs_entry *e, uint64_t pos,
		   struct cs_error *err) CS_MUST_CHECK;
/* What was said of positions from pos on does not hold any more: they are given anew. */
int cs_ingest_links_anew(struct cs_ingest *in, uint64_t pos, struct cs_error *err) CS_MUST_CHECK;
/* The rows of the groups with two or more members in this point; the others are their own group. */
int cs_ingest_links_store(struct cs_ingest *in, struct cs_pages *out,
			  struct cs_error *err) CS_MUST_CHECK;

/*
 * ingest_tree.c: the whole tree below fd into pages. *root: the root's entry, whose
 * xattrs borrow from *root_xattrs (released by the caller).
 */
int cs_ingest_tree(struct cs_ingest *in, int fd, const struct cs_select *select,
		   struct cs_entry *root, struct cs_buf *root_xattrs, struct cs_hash *digest,
		   struct cs_error *err) CS_MUST_CHECK;

#endif
