/* SPDX-License-Identifier: MIT */
/*
 * verify_report.c - what is wrong, once, with what it affects.
 *
 * One damaged bundle may be in a thousand files of a hundred points. So a finding
 * is the cause, said once, and it gathers the paths that suffer from it: all are
 * counted, the first few are named. They are told when all points were looked at.
 * The ids are promised in chunkstore(1); tests/lint compares.
 */
#include "verify_impl.h"

#include "alloc.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FOUND_MAX 100000u /* then all others of an id are counted with its first */

static const char *const ids[CS_FOUND_IDS] = {
	[CS_FOUND_BUNDLE_DAMAGED] = "bundle-damaged",
	[CS_FOUND_CHUNK_DAMAGED] = "chunk-damaged",
	[CS_FOUND_CHUNK_MISSING] = "chunk-missing",
	[CS_FOUND_REFERENCE_WRONG] = "reference-wrong",
	[CS_FOUND_INDEX_MISSING] = "index-missing",
	[CS_FOUND_INDEX_WRONG] = "index-wrong",
	[CS_FOUND_MOVED_DAMAGED] = "moved-damaged",
	[CS_FOUND_RECORD_DAMAGED] = "record-damaged",
	[CS_FOUND_TREE_DAMAGED] = "tree-damaged",
	[CS_FOUND_TREE_CYCLE] = "tree-cycle",
	[CS_FOUND_CONTENT_DAMAGED] = "content-damaged",
	[CS_FOUND_TOTALS_WRONG] = "totals-wrong",
	[CS_FOUND_DIGEST_WRONG] = "digest-wrong",
	[CS_FOUND_NAME_LOST] = "name-lost",
	[CS_FOUND_CATALOG_DAMAGED] = "catalog-damaged",
	[CS_FOUND_TRASH_DAMAGED] = "trash-damaged",
	[CS_FOUND_PAGES_DAMAGED] = "pages-damaged",
};

static struct cs_found *find(struct cs_verify_run *v, struct cs_found **bucket,
			     enum cs_found_id id, uint64_t key, const char *text)
{
	for (struct cs_found *f = *bucket; f; f = f->chain)
		if (f->id == id && f->key == key)
			return f;
	if (v->result.findings >= FOUND_MAX && v->first_of[id])
		return v->first_of[id];
	struct cs_found *f = cs_zalloc(sizeof(*f));
	if (!f)
		return NULL;
	f->id = id;
	f->key = key;
	f->last_entry = UINT64_MAX;
	snprintf(f->text, sizeof(f->text), "%s", text);
	f->chain = *bucket;
	*bucket = f;
	*v->last = f;
	v->last = &f->next;
	if (!v->first_of[id])
		v->first_of[id] = f;
	v->result.findings++;
	return f;
}

struct cs_found *cs_verify_found(struct cs_verify_run *v, enum cs_found_id id, uint64_t key,
				 const char *fmt, ...)
{
	char text[320];
	va_list ap;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	uint64_t both[2] = { id, key };
	size_t at = cs_checksum(both, sizeof(both)) % CS_VERIFY_BUCKETS;
	pthread_mutex_lock(&v->lock);
	struct cs_found *f = find(v, &v->bucket[at], id, key, text);
	pthread_mutex_unlock(&v->lock);
	if (!f)
		cs_verify_no_memory(v);
	return f;
}

static void count(struct cs_verify_run *v, struct cs_found *f, uint64_t seq, const char *text)
{
	v->damage++;
	v->last_why = f;
	f->points += f->last_point != seq;
	f->last_point = seq;
	f->paths++;
	if (f->nsample >= v->sample)
		return;
	if (!f->sample)
		f->sample = cs_zalloc(v->sample * sizeof(*f->sample));
	if (f->sample && (f->sample[f->nsample] = cs_strdup(text)))
		f->nsample++;
	else
		cs_verify_no_memory(v);
}

void cs_verify_affects(struct cs_verify_run *v, struct cs_found *f, const char *name, size_t len)
{
	if (!f)
		return;
	if (f->last_entry == v->entry) {
		v->damage++;
		return;
	}
	f->last_entry = v->entry;
	if (f->nsample >= v->sample) {
		count(v, f, v->tree->seq, "");
		return;
	}
	const struct cs_point *p = &v->tree->point;
	size_t dir = v->path.len, room = 4 * (dir + len + 2) + 1;
	size_t prefix = strlen(p->series) + strlen(p->name) + 3;
	char *raw = cs_alloc(dir + len + 2), *text = cs_alloc(prefix + room);
	if (!raw || !text) {
		cs_verify_no_memory(v);
	} else {
		if (dir)
			memcpy(raw, v->path.data, dir);
		if (dir && name)
			raw[dir++] = '/';
		if (name)
			memcpy(raw + dir, name, len);
		int n = snprintf(text, prefix, "%s/%s:", p->series, p->name);
		cs_text_escape(raw, dir + (name ? len : 0), false, text + n, room);
		count(v, f, v->tree->seq, text);
	}
	free(raw);
	free(text);
}

void cs_verify_affects_point(struct cs_verify_run *v, struct cs_found *f, uint64_t seq,
			     const char *text)
{
	if (f)
		count(v, f, seq, text);
}

static void as_line(struct cs_verify_run *v, const struct cs_finding *f)
{
	char line[1200];
	int n = snprintf(line, sizeof(line), "%s: %s", f->id, f->text);
	if (f->paths && n < (int)sizeof(line))
		snprintf(line + n, sizeof(line) - (size_t)n,
			 ": %llu paths in %llu points, the first is %.400s",
			 (unsigned long long)f->paths, (unsigned long long)f->points,
			 f->nsample ? f->sample[0] : "unknown");
	v->opts->notice(v->opts->arg, CS_NOTICE_ERROR, line);
}

void cs_verify_tell(struct cs_verify_run *v)
{
	for (struct cs_found *f = v->first, *next; f; f = next) {
		const struct cs_finding told = {
			ids[f->id], f->text, f->points, f->paths,
			(const char *const *)f->sample, f->nsample,
		};
		if (v->opts->finding)
			v->opts->finding(v->opts->arg, &told);
		if (v->opts->notice)
			as_line(v, &told);
		next = f->next;
		for (size_t i = 0; i < f->nsample; i++)
			free(f->sample[i]);
		free(f->sample);
		free(f);
	}
	v->first = NULL;
}
