/* SPDX-License-Identifier: MIT */
/*
 * verify_file.c - the content of one file, hashed piece by piece.
 *
 * A hundred versions of a disk image have a hundred times its size, and the store
 * has it once. So what may be hashed is bounded by what the store has, and what may
 * be decoded again as well. What an enemy wrote, a few pages that claim to be exabytes, ends there, too.
 */
#include "verify_files_impl.h"

#include <string.h>

/* Hashing is ten times as fast as decoding. */
#define HASHED_FREE (UINT64_C(16) << 30)
#define HASHED_FACTOR 8
#define AGAIN_FREE (UINT64_C(1) << 30)

struct cs_entry cs_verify_file_entry(const struct cs_verify_file *f)
{
	struct cs_entry e = { .name = "", .mode = S_IFREG, .size = f->size, .hash = f->hash,
			      .data_bytes = f->data_bytes, .bytes = f->bytes,
			      .bytes_len = f->bytes_len,
			      .content = f->root ? CS_CONTENT_PAGES : CS_CONTENT_EXTENTS };
	e.extents = (struct cs_pages){ f->root, f->level };
	return e;
}

bool cs_verify_file_piece(struct cs_verify_run *v, struct cs_verify_file *f,
			  struct cs_file_extents *x, const struct cs_extent **out)
{
	const struct cs_entry e = cs_verify_file_entry(f);
	if (f->state == CS_FILE_WAITS && f->off == f->size) {
		const struct cs_hash none = cs_hash_of("", 0);
		struct cs_hash h = f->hasher ? cs_hasher_end(f->hasher) : none;
		f->state = cs_hash_equal(&h, &f->hash) ? CS_FILE_SOUND : CS_FILE_WRONG;
	}
	if (f->state != CS_FILE_WAITS)
		return false;
	if (cs_file_extent(v->store, &e, f->off, x, out, NULL) == CS_OK &&
	    x->base + (*out)->off == f->off && (*out)->len <= f->size - f->off)
		return true;
	f->state = CS_FILE_UNREAD;
	return false;
}

bool cs_verify_file_add(struct cs_verify_file *f, const void *data, size_t len)
{
	if (!f->hasher)
		f->hasher = cs_hasher_new();
	if (f->hasher)
		cs_hasher_add(f->hasher, data, len);
	return f->hasher != NULL;
}

/* As backup does: a hole is its length. */
static int add_hole(struct cs_verify_file *f, uint64_t len)
{
	uint8_t b[8];
	for (int i = 0; i < 8; i++)
		b[i] = (uint8_t)(len >> (8 * i));
	return cs_verify_file_add(f, b, sizeof(b)) ? CS_OK : CS_E_NOMEM;
}

int cs_verify_file_fetch(struct cs_verify_run *v, struct cs_verify_file *f,
			 const struct cs_extent *x)
{
	const uint8_t *data;
	size_t len;
	void *held;
	if (!x->chunk)
		return add_hole(f, x->len);
	if (cs_verify_files_spent(v))
		return CS_E_INTERRUPTED;
	int rc = cs_reader_chunk(v->store, x->chunk, &held, &data, &len, NULL);
	if (rc != CS_OK)
		return rc;
	if (len != x->len)
		rc = CS_E_CORRUPT;
	else if (!cs_verify_file_add(f, data, len))
		rc = CS_E_NOMEM;
	cs_cache_release(held);
	return rc;
}

void cs_verify_file_went_on(struct cs_verify_run *v, struct cs_verify_file *f,
			    const struct cs_extent *x)
{
	if (!f->first)
		f->first = x->chunk;
	f->off += x->len;
	v->files->hashed += CS_VERIFY_PIECE_COST + (x->chunk ? x->len : 0);
}

void cs_verify_file_close(struct cs_verify_file *f)
{
	cs_hasher_free(f->hasher);
	f->hasher = NULL;
}

/* ---- how much */

void cs_verify_files_allow(struct cs_verify_run *v)
{
	pthread_mutex_lock(&v->lock);
	v->files->hashed_max = HASHED_FREE + HASHED_FACTOR * v->result.raw_bytes;
	v->files->again_max = AGAIN_FREE + v->result.raw_bytes;
	pthread_mutex_unlock(&v->lock);
}

bool cs_verify_files_may(const struct cs_verify_run *v)
{
	return v->files->hashed < v->files->hashed_max;
}

bool cs_verify_files_spent(const struct cs_verify_run *v)
{
	return v->store->decoded >= cs_bytes_add(v->files->decoded, v->files->again_max);
}

bool cs_verify_must_stop(struct cs_verify_run *v)
{
	pthread_mutex_lock(&v->lock);
	bool stop = v->stop || v->error.code;
	pthread_mutex_unlock(&v->lock);
	return stop;
}
