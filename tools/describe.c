/* SPDX-License-Identifier: MIT */
/*
 * describe.c - the JSON members of points and entries.
 */
#include "describe.h"

#include <inttypes.h>
#include <string.h>

void cs_describe_point(struct cs_json *j, const struct cs_point *p)
{
	static const char *const names[] = { "verified_structure", "verified_data",
					     "verified_digest" };

	cs_json_text(j, "series", p->series);
	cs_json_text(j, "name", p->name);
	cs_json_text(j, "id", p->id);
	cs_json_number(j, "number", p->seq);
	cs_json_number(j, "parent", p->parent);
	cs_json_time(j, "started", p->started);
	cs_json_time(j, "received", p->received);
	cs_json_text(j, "consistency", cs_consistency_name(p->consistency));
	cs_json_text(j, "host", p->host);
	cs_json_text(j, "source", p->source);
	cs_json_append(j, "tags", NULL);
	for (unsigned i = 0; i < p->ntags; i++)
		cs_json_append(j, "tags", p->tags[i]);
	cs_json_hash(j, "digest", &p->digest);
	cs_json_number(j, "entries", p->totals.entries);
	cs_json_number(j, "bytes", p->totals.bytes);
	cs_json_number(j, "added_raw", p->added_raw);
	cs_json_number(j, "added_stored", p->added_stored);
	cs_json_number(j, "unreadable", p->unreadable);
	cs_json_number(j, "changed", p->changed);
	cs_json_bool(j, "damaged", p->damaged);
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++)
		if (p->verified[i])
			cs_json_time(j, names[i], (struct cs_time){ p->verified[i], 0 });
}

void cs_describe_entry(struct cs_json *j, const struct cs_entry *e)
{
	char mode[CS_OUT_TEXT];

	snprintf(mode, sizeof(mode), "%04" PRIo32, e->mode & 07777);
	cs_json_text(j, "type", cs_out_type(e->mode));
	cs_json_text(j, "mode", mode);
	cs_json_number(j, "uid", e->uid);
	cs_json_number(j, "gid", e->gid);
	cs_json_number(j, "nlink", e->nlink);
	cs_json_number(j, "ino", e->ino);
	cs_json_number(j, "size", e->size);
	if (S_ISREG(e->mode))
		cs_json_number(j, "data_bytes", e->data_bytes);
	cs_json_time(j, "mtime", e->mtime);
	cs_json_time(j, "ctime", e->ctime);
	cs_json_time(j, "atime", e->atime);
	if (e->have & CS_HAVE_BTIME)
		cs_json_time(j, "btime", e->btime);
	if (S_ISBLK(e->mode) || S_ISCHR(e->mode)) {
		cs_json_number(j, "major", e->rdev_major);
		cs_json_number(j, "minor", e->rdev_minor);
	}
	if (S_ISLNK(e->mode))
		cs_json_name(j, "target", (const char *)e->bytes, e->bytes_len);
	if (S_ISDIR(e->mode)) {
		cs_json_number(j, "children", e->children_count);
		cs_json_number(j, "entries_below", e->below.entries);
		cs_json_number(j, "bytes_below", e->below.bytes);
	}
	cs_json_bool(j, "has_xattrs", cs_entry_has_xattrs(e));
}
