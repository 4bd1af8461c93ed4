/* SPDX-License-Identifier: MIT */
/*
 * verify_bundles.c - every bundle, by all cores.
 *
 * A thread takes the next bundle. Its table is looked at, and a row in the index
 * for each of its chunks; then, for the level of data, its checksum, its frame and
 * the hash of each chunk. Deltas wait until all bundles were looked at (verify_rest.c).
 *
 * What is done with a bundle passes a gate in the order of the bundles' numbers:
 * one after the other, by whichever thread closes a gap. There the ranges are put
 * together that are written down as verified, and the decoded bundle is shown to the
 * files that have pieces in it (verify_files.c), which are stored in that order.
 * Nobody runs further ahead than the gate has places.
 */
#include "verify_impl.h"

#include "alloc.h"
#include "cleanup.h"
#include "index.h"

#include <stdlib.h>
#include <string.h>

#define LOST_ROWS (UINT64_C(1) << 63) /* keys of findings about what cannot be counted */
#define READ_ON (8 << 20) /* bytes; asked for by halves */
#define HEADS_MAX (16u << 20) /* bytes: a bundle's head is read once for each chunk of it */
#define BASES 8 /* bundles that are decoded at once for the deltas of one */
#define LOST_MAX 100000u /* ranges of which no row can be read, in which rows are looked for */

/* A bundle in the hands of a thread. */
struct job {
	struct cs_decompressor *decompressor;
	struct cs_txn *t;
	uint64_t number;
	struct cs_slice bytes; /* as stored, borrowed from t */
	bool raw; /* the one before: it took the disk longer than us */
	struct cs_slice ahead; /* what to ask the disk for meanwhile */
	struct cs_error lost; /* instead: rows from number on that could not be read */
	struct cs_verify_passed out;
	uint64_t place; /* at the gate */
};

/* As the reader does: what is sound of a bundle that is damaged elsewhere can be had. */
static bool is_sound_alone(struct cs_slice bytes, uint64_t number, uint32_t slot)
{
	struct cs_bundle *one;
	if (cs_bundle_read_one(bytes, number, slot, &one, NULL) != CS_OK)
		return false;
	cs_bundle_free(one);
	return true;
}

static void flawed_bundle(struct cs_verify_run *v, struct job *j, const char *what,
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

/* A bundle that could be decoded. */
static void look_at(struct cs_verify_run *v, struct cs_txn *t, uint64_t number,
		    const struct cs_bundle *b, bool early, struct cs_verify_passed *out)
{
	check_hashes(v, number, b, out);
	cs_verify_add_raw(v, b->raw_len);
	check_deltas(v, number, b, early, out);
	check_index(v, t, number, b->slots, b->nslots);
}

static int check_table(struct cs_verify_run *v, struct job *j, struct cs_error *err)
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

static int check_data(struct cs_verify_run *v, struct job *j, struct cs_error *err)
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
		look_at(v, t, number, b, false, &j->out);
		j->out.bundle = b;
		j->raw = s.len > b->raw_len;
	} else if (rc == CS_E_NOMEM) {
		return cs_fail(err, rc, "out of memory");
	} else {
		flawed_bundle(v, j, "cannot be decoded", why.text[0] ? ": it cannot be read" : "");
	}
	return CS_OK;
}

/* ---- before their turn */

_Static_assert(CS_CHECKED_RANGE == 64, "a bit for each bundle of a range");

static uint64_t bit_of(uint64_t number)
{
	return UINT64_C(1) << number % CS_CHECKED_RANGE;
}

/* NULL: none of its range was looked at. With the lock. */
static struct cs_verify_early *early_of(struct cs_verify_run *v, uint64_t number)
{
	return cs_verify_map_find(&v->early, cs_checked_range(number) + 1, 0);
}

/* Which bundles of its range there are. */
static uint64_t there(struct cs_txn *t, uint64_t number)
{
	uint64_t range = cs_checked_range(number), at = range * CS_CHECKED_RANGE, bits = 0;
	struct cs_slice bytes;
	int rc;
	while ((rc = cs_bundles_next(t, at, &number, &bytes, NULL)) == 1 &&
	       cs_checked_range(number) == range) {
		bits |= bit_of(number);
		at = number + 1;
		if (cs_checked_range(at) != range)
			break;
	}
	return rc < 0 ? UINT64_MAX : bits;
}

/* It is ours to look at: nobody else has. */
static bool claim(struct cs_verify_run *v, struct cs_txn *t, uint64_t number)
{
	pthread_mutex_lock(&v->lock);
	bool known = early_of(v, number);
	pthread_mutex_unlock(&v->lock);
	uint64_t bits = known ? 0 : there(t, number);
	pthread_mutex_lock(&v->lock);
	struct cs_verify_early *e = early_of(v, number);
	if (!e && (e = cs_verify_map_add(&v->early, cs_checked_range(number) + 1, 0)))
		e->there = bits;
	bool ours = e && !(e->claimed & bit_of(number));
	if (ours)
		e->claimed |= bit_of(number);
	pthread_mutex_unlock(&v->lock);
	return ours;
}

bool cs_verify_early(struct cs_verify_run *v, uint64_t number, const struct cs_bundle *b)
{
	struct cs_verify_passed out = { 0 };
	struct cs_txn *t;
	if (cs_txn_read(v->store->db, &t, NULL) != CS_OK)
		return false;
	bool ours = cs_verify_due(v, t, cs_checked_range(number)) && claim(v, t, number);
	if (ours) {
		look_at(v, t, number, b, true, &out);
		pthread_mutex_lock(&v->lock);
		struct cs_verify_early *e = early_of(v, number);
		e->seen |= bit_of(number);
		e->damaged |= out.damaged ? bit_of(number) : 0;
		e->deltas |= out.deltas ? bit_of(number) : 0;
		pthread_mutex_unlock(&v->lock);
	}
	cs_txn_end(t);
	return ours;
}

void cs_verify_early_done(struct cs_verify_run *v)
{
	pthread_mutex_lock(&v->lock);
	for (size_t i = 0; i < v->early.cap; i++) {
		struct cs_verify_early *e = (void *)(v->early.rows + i * v->early.size);
		if (!e->at.page || e->told || e->there & ~e->seen)
			continue;
		cs_verify_is_done(v, e->at.page - 1, e->damaged, e->deltas);
		e->told = true;
	}
	pthread_mutex_unlock(&v->lock);
}

bool cs_verify_is_early(struct cs_verify_run *v, uint64_t number)
{
	const struct cs_verify_early *e = early_of(v, number);
	return e && e->seen & bit_of(number);
}

/* What was found then. With the lock. */
static struct cs_verify_passed passed_early(struct cs_verify_run *v, uint64_t number)
{
	const struct cs_verify_early *e = early_of(v, number);
	uint64_t bit = bit_of(number);
	if (!e || !(e->seen & bit))
		return (struct cs_verify_passed){ 0 };
	return (struct cs_verify_passed){ .early = true, .damaged = e->damaged & bit,
					  .deltas = e->deltas & bit };
}

/* ---- damage of LMDB */

/*
 * The rows of bundles behind a number cannot be read: LMDB's own pages are damaged
 * there. What refers to them says so.
 */
static void lost_rows(struct cs_verify_run *v, uint64_t from, const struct cs_error *why)
{
	cs_verify_found(v, CS_FOUND_BUNDLE_DAMAGED, from | LOST_ROWS,
			"the table of bundles behind number %llu: %.200s", (unsigned long long)from,
			why->text);
}

static bool is_damage(int rc)
{
	return rc == CS_E_CORRUPT || rc == CS_E_IO;
}

/* ---- in order */

static int fill_given(void *arg, uint64_t number, void **out, size_t *size, struct cs_error *err)
{
	struct cs_bundle **b = arg;
	(void)number;
	(void)err;
	*out = *b;
	*size = cs_bundle_memory(*b);
	*b = NULL;
	return CS_OK;
}

/*
 * A bundle at the gate. One thread at a time, in the order of the numbers; without the lock.
 * It is in the cache then for a while: it may have the base of a delta, and a file may
 * come back to it.
 */
static void pass(struct cs_verify_run *v, struct cs_verify_passed *p)
{
	void *held = NULL, *value;
	if (!p->bundle && p->early)
		cs_verify_files_meet(v, p->number, NULL);
	if (!p->bundle)
		return;
	if (p->bundle->kind != CS_BUNDLE_DATA || !cs_verify_files_waiting(v) ||
	    cs_cache_get(v->store->bundles, p->number, fill_given, &p->bundle, &held, &value,
			 NULL) != CS_OK)
		value = p->bundle;
	cs_verify_files_meet(v, p->number, value);
	cs_cache_release(held);
	cs_bundle_free(p->bundle);
	p->bundle = NULL;
}

/* The range that the last bundles were of is whole. With the lock. */
static void end_range(struct cs_verify_run *v)
{
	const struct cs_verify_early *e = v->range.number ? early_of(v, v->range.number) : NULL;
	if (v->range.number && !(e && e->told && !(v->range.damaged && !e->damaged)))
		cs_verify_is_done(v, cs_checked_range(v->range.number), v->range.damaged,
				  v->range.deltas);
	v->range.number = 0;
}

/* What is at the gate, in turn, as far as there is no gap. With the lock. */
static void open_gate(struct cs_verify_run *v)
{
	struct cs_verify_passed *p = &v->gate[v->passed % CS_VERIFY_GATE];
	if (v->passing)
		return;
	v->passing = true;
	while (p->number) {
		pthread_mutex_unlock(&v->lock);
		pass(v, p);
		pthread_mutex_lock(&v->lock);
		if (v->range.number &&
		    cs_checked_range(v->range.number) != cs_checked_range(p->number))
			end_range(v);
		if (!v->range.number)
			v->range = (struct cs_verify_passed){ .number = p->number };
		v->range.damaged |= p->damaged;
		v->range.deltas |= p->deltas;
		p->number = 0;
		p = &v->gate[++v->passed % CS_VERIFY_GATE];
		pthread_cond_broadcast(&v->room);
	}
	v->passing = false;
}

static void hand_over(struct cs_verify_run *v, struct job *j)
{
	if (!cs_verify_files_waiting(v)) {
		cs_bundle_free(j->out.bundle);
		j->out.bundle = NULL;
	}
	pthread_mutex_lock(&v->lock);
	j->out.number = j->number;
	v->gate[j->place % CS_VERIFY_GATE] = j->out;
	open_gate(v);
	pthread_mutex_unlock(&v->lock);
	j->out = (struct cs_verify_passed){ 0 };
}

/*
 * What was stored next lies behind it, mostly: the disk reads that while this is looked at.
 * Not where chunks were compressed: zstd is what takes time there, and the kernel's own
 * read-ahead costs less of it. With the lock.
 */
static struct cs_slice read_on(struct cs_verify_run *v, struct cs_slice bytes)
{
	const uint8_t *end = (const uint8_t *)bytes.data + bytes.len;
	if (v->asked > end && v->asked - end <= READ_ON && v->asked - end > READ_ON / 2)
		return (struct cs_slice){ 0 };
	const uint8_t *from = v->asked > end && v->asked - end <= READ_ON ? v->asked : end;
	v->asked = end + READ_ON;
	return (struct cs_slice){ from, (size_t)(v->asked - from) };
}

/*
 * The next bundle of a range that is due: 1, 0 at the end. Rows that cannot be read are
 * told of once for all that follow each other, and looked for range by range. With the lock.
 */
static int next_bundle(struct cs_verify_run *v, struct job *j, struct cs_error *err)
{
	struct cs_error why;
	for (;;) {
		uint64_t end = (cs_checked_range(v->next) + 1) * CS_CHECKED_RANGE;
		int rc = cs_bundles_next(j->t, v->next, &j->number, &j->bytes, &why);
		if (is_damage(rc)) {
			bool first = !v->lost_before;
			j->number = v->next ? v->next : 1;
			v->lost_before = true;
			v->end |= v->next >= v->bundles_end || ++v->lost_rows > LOST_MAX;
			v->next = v->next ? end : 1; /* no bundle is number 0: it may be that row alone */
			j->lost = why;
			if (first || v->end)
				return first;
			continue;
		}
		if (rc < 0)
			return cs_fail(err, rc, "%s", why.text);
		if (rc == 0)
			return 0;
		v->lost_before = false;
		uint64_t range = cs_checked_range(j->number);
		if (v->due_known && v->due_range == range)
			break;
		v->due_range = range;
		v->due_known = cs_verify_due(v, j->t, range);
		if (v->due_known)
			break;
		v->result.ranges_skipped++;
		v->next = (range + 1) * CS_CHECKED_RANGE;
	}
	v->next = j->number + 1;
	j->lost.code = 0;
	j->out = passed_early(v, j->number);
	j->ahead = j->raw ? read_on(v, j->bytes) : (struct cs_slice){ 0 };
	return 1;
}

/* Take the next bundle, when there is room for it at the gate. 0 at the end. */
static int take_bundle(struct cs_verify_run *v, struct job *j, struct cs_error *err)
{
	pthread_mutex_lock(&v->lock);
	while (v->taken - v->passed >= v->ahead && !v->stop && !v->error.code)
		pthread_cond_wait(&v->room, &v->lock);
	int rc = v->end || v->stop || v->error.code ? 0 : cs_txn_read(v->store->db, &j->t, err);
	if (j->t) {
		rc = next_bundle(v, j, err);
		v->end |= rc != 1;
		if (rc == 1)
			j->place = v->taken++;
		else
			cs_txn_end(j->t);
		if (rc != 1)
			j->t = NULL;
	}
	pthread_mutex_unlock(&v->lock);
	return rc;
}

static int check_bundle(struct cs_verify_run *v, struct job *j, struct cs_error *err)
{
	int rc = CS_OK;
	if (j->lost.code) {
		lost_rows(v, j->number, &j->lost);
		j->out.damaged = true;
	} else if (!j->out.early) {
		rc = v->level >= CS_VERIFY_DATA ? check_data(v, j, err) : check_table(v, j, err);
		cs_db_unload(j->t, j->bytes);
	}
	cs_txn_end(j->t);
	j->t = NULL;
	return rc;
}

static void *check_bundles(void *arg)
{
	struct cs_verify_run *v = arg;
	struct cs_error err = { 0 };
	struct job j = { .decompressor = cs_decompressor_new() };
	int rc = j.decompressor ? 1 : cs_fail(&err, CS_E_NOMEM, "out of memory");
	while (rc >= 0 && (rc = take_bundle(v, &j, &err)) == 1 &&
	       (rc = check_bundle(v, &j, &err)) == CS_OK)
		hand_over(v, &j);
	cs_decompressor_free(j.decompressor);
	return cs_verify_ended(v, rc, &err);
}

void cs_verify_gate_release(struct cs_verify_run *v)
{
	for (unsigned i = 0; i < CS_VERIFY_GATE; i++)
		cs_bundle_free(v->gate[i].bundle);
}

int cs_verify_bundles(struct cs_verify_run *v, struct cs_error *err)
{
	int rc = cs_verify_on_all_cores(v, check_bundles, err);
	if (rc == CS_OK)
		end_range(v);
	return rc;
}
