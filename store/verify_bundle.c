/* SPDX-License-Identifier: MIT */
/*
 * verify_bundle.c - one bundle: its table and a row in the index for each of its chunks;
 * for the level of data its checksum, its frame and the hash of each chunk as well.
 *
 * Of one that is damaged what is sound is said to be sound: the reader has a chunk of it
 * that can be read alone.
 */
#include "verify_bundles_impl.h"

#include "alloc.h"
#include "cleanup.h"
#include "index.h"

#define HEADS_MAX (16u << 20) /* bytes: a bundle's head is read once for each chunk of it */
#define BASES 8 /* bundles that are decoded at once for the deltas of one */

/* As the reader does: what is sound of a bundle that is damaged elsewhere can be had. */
static bool is_sound_alone(struct cs_slice bytes, uint64_t number, uint32_t slot)
{
	struct cs_bundle *one;
	if (cs_bundle_read_one(bytes, number, slot, &one, NULL) != CS_OK)
		return false;
	cs_bundle_free(one);
	return true;
}

static void flawed_bundle(struct cs_verify_run *v, struct cs_verify_job *j, const char *what,
			  const char *why)
{
	struct cs_bundle_header h;
	uint64_t number = j->number;
	uint32_t from = 0;
	struct cs_found *f = cs_verify_found(v, CS_FOUND_BUNDLE_DAMAGED, number, "bundle %llu %s%s",
					     (unsigned long long)number, what, why);
	if (cs_bundle_header_unpack(j->bytes.data, j->bytes.len, &h) != CS_OK ||
	    (uint64_t)h.nslots * h.table_len > HEADS_MAX)
		h.nslots = 0;
	for (uint32_t i = 0; i < h.nslots; i++) {
		if (!is_sound_alone(j->bytes, number, i))
			continue;
		if (from < i)
			cs_verify_flaw(v, cs_chunk_make(number, from), cs_chunk_make(number, i - 1), f);
		from = i + 1;
	}
	cs_verify_flaw(v, cs_chunk_make(number, from), cs_chunk_make(number, CS_SLOTS_MAX), f);
	j->out.damaged = true;
}

static bool in_index(struct cs_txn *t, const struct cs_hash *h, cs_chunk chunk)
{
	cs_chunk at;
	return cs_index_next(t, h, chunk - 1, &at, NULL) == 1 && at == chunk;
}

/* What was stored anew has its row under its new number. */
static void check_index(struct cs_verify_run *v, struct cs_txn *t, uint64_t number,
			const struct cs_slot *slots, uint32_t n)
{
	uint32_t missing = 0, there = 0;
	for (uint32_t i = 0; i < n; i++) {
		cs_chunk chunk = cs_chunk_make(number, i), to;
		if (in_index(t, &slots[i].hash, chunk))
			there++;
		else
			missing += cs_chunk_moved(t, chunk, &to, NULL) != 1;
	}
	if (missing)
		cs_verify_found(v, CS_FOUND_INDEX_MISSING, number,
				"bundle %llu: %u of its %u chunks are not in the dedup index",
				(unsigned long long)number, missing, n);
	pthread_mutex_lock(&v->lock);
	v->indexed += there;
	v->result.bundles++;
	v->result.chunks += n;
	pthread_mutex_unlock(&v->lock);
}

/* A delta whose base is at hand, or is one of the few that are decoded for a bundle. */
static bool is_made(struct cs_verify_run *v, cs_chunk delta, cs_chunk base, unsigned *bases)
{
	const uint8_t *data;
	size_t len;
	void *held;
	if (*bases >= BASES || cs_verify_files_spent(v))
		return false;
	*bases += !cs_cache_has(v->store->bundles, cs_chunk_bundle(base));
	if (cs_reader_chunk(v->store, delta, &held, &data, &len, NULL) != CS_OK)
		return false;
	cs_cache_release(held);
	cs_verify_add_raw(v, len);
	return true;
}

/* now: those that can be made are made; the others in the order of their bases, afterwards. */
static void check_deltas(struct cs_verify_run *v, uint64_t number, const struct cs_bundle *b,
			 bool now, struct cs_verify_passed *out)
{
	bool noted = true;
	unsigned bases = 0;
	for (uint32_t i = 0; i < b->nslots && noted; i++) {
		cs_chunk delta = cs_chunk_make(number, i), base = b->slots[i].base;
		if (!b->slots[i].frame_len || (now && is_made(v, delta, base, &bases)))
			continue;
		out->deltas = true;
		pthread_mutex_lock(&v->lock);
		noted = cs_verify_later(v, &(struct cs_verify_rest){ .near = base, .delta = delta });
		pthread_mutex_unlock(&v->lock);
	}
	if (!noted)
		cs_verify_no_memory(v);
}

static void check_hashes(struct cs_verify_run *v, uint64_t number, const struct cs_bundle *b,
			 struct cs_verify_passed *out)
{
	for (uint32_t i = 0; i < b->nslots; i++) {
		const struct cs_slot *s = &b->slots[i];
		if (s->frame_len)
			continue;
		struct cs_hash h = cs_store_hash(v->store, b->raw + s->off, s->len);
		if (cs_hash_equal(&h, &s->hash))
			continue;
		cs_chunk chunk = cs_chunk_make(number, i);
		cs_verify_flaw(v, chunk, chunk,
			       cs_verify_found(v, CS_FOUND_CHUNK_DAMAGED, chunk,
					       "bundle %llu slot %u has not the bytes of its hash",
					       (unsigned long long)number, i));
		out->damaged = true;
	}
}

void cs_verify_decoded(struct cs_verify_run *v, struct cs_txn *t, uint64_t number,
		       const struct cs_bundle *b, bool early, struct cs_verify_passed *out)
{
	check_hashes(v, number, b, out);
	cs_verify_add_raw(v, b->raw_len);
	check_deltas(v, number, b, early, out);
	check_index(v, t, number, b->slots, b->nslots);
}

static int check_table(struct cs_verify_run *v, struct cs_verify_job *j, struct cs_error *err)
{
	struct cs_txn *t = j->t;
	struct cs_slice s = j->bytes;
	uint64_t number = j->number;
	struct cs_bundle_header h;
	struct cs_error why = { .text = "" };
	uint32_t frames;
	int rc = cs_bundle_header_unpack(s.data, s.len, &h);
	if (rc == CS_OK)
		rc = cs_bundle_load_table(s, &h, &why);
	CS_FREE struct cs_slot *slots = rc ? NULL : cs_alloc((h.nslots + 1u) * sizeof(*slots));
	if (rc == CS_OK && !slots)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	if (rc == CS_OK)
		rc = cs_slots_unpack(s.data, s.len, &h, slots, &frames);
	if (rc == CS_OK)
		check_index(v, t, number, slots, h.nslots);
	else
		flawed_bundle(v, j, "has no table that can be read", why.text);
	return CS_OK;
}

static int check_data(struct cs_verify_run *v, struct cs_verify_job *j, struct cs_error *err)
{
	struct cs_txn *t = j->t;
	struct cs_slice s = j->bytes;
	uint64_t number = j->number;
	struct cs_error why = { .text = "" };
	struct cs_bundle *b;
	if (j->ahead.len)
		cs_db_ask(j->ahead);
	int rc = cs_db_load(s, &why);
	if (rc == CS_OK)
		rc = cs_bundle_decode(j->decompressor, number, s.data, s.len, &b);
	if (rc == CS_OK && (rc = cs_db_intact(&why)) != CS_OK)
		cs_bundle_free(b);
	if (rc == CS_OK) {
		cs_verify_decoded(v, t, number, b, false, &j->out);
		j->out.bundle = b;
		j->raw = s.len > b->raw_len;
	} else if (rc == CS_E_NOMEM) {
		return cs_fail(err, rc, "out of memory");
	} else {
		flawed_bundle(v, j, "cannot be decoded", why.text[0] ? ": it cannot be read" : "");
	}
	return CS_OK;
}

int cs_verify_bundle(struct cs_verify_run *v, struct cs_verify_job *j, struct cs_error *err)
{
	return v->level >= CS_VERIFY_DATA ? check_data(v, j, err) : check_table(v, j, err);
}
