/* SPDX-License-Identifier: MIT */
/*
 * trash.h - the trash, as forget and gc see it. The rest is in chunkstore.h.
 */
#ifndef CS_TRASH_H
#define CS_TRASH_H

#include "store.h"

/* As cs_store_trash_keep, in a transaction. */
int cs_trash_keep(struct cs_txn *t, uint64_t *out, struct cs_error *err) CS_MUST_CHECK;

/* Points that were, or would be, removed. */
struct cs_purged {
	uint64_t *seqs; /* ascending */
	size_t n, cap;
	size_t used; /* others that are due, but somebody reads them */
};
void cs_purged_release(struct cs_purged *p);

/* Is a point among them? */
bool cs_purged_has(const struct cs_purged *p, uint64_t seq);

/*
 * Remove every point that was purged or whose time in the trash is over at `now`
 * (INT64_MAX: all of them), in bounded write transactions; points that somebody
 * holds stay. The caller is gc (cs_leases_enter_gc). With dry_run none is
 * removed, but *out is the same. Release *out in any case; it begins zeroed.
 */
int cs_trash_purge_due(struct cs_store *s, int64_t now, bool dry_run, struct cs_purged *out,
		       struct cs_error *err) CS_MUST_CHECK;

#endif
