/* SPDX-License-Identifier: MIT */
/* Bundles by number, several in a value of LMDB; and the dedup index. */
#include "store/bundles.h"
#include "store/hash.h"
#include "store/index.h"
#include "util.h"

#include <sys/stat.h>
#include <unistd.h>

#define RUNS 6
#define NUMBERS (RUNS * CS_BUNDLE_RUN)
#define FIRST 160u
#define LEN_MAX (200u << 10)

static char dir[64];
static struct rng rng;
static struct cs_db *db;
static uint32_t version[NUMBERS]; /* 0: not there */

static const uint8_t *value_of(uint64_t number, size_t *len)
{
	static uint8_t value[LEN_MAX];
	struct rng r = { number * 1000 + version[number - FIRST] };
	*len = 1 + rng_below(&r, rng_below(&r, 4) ? 5000 : LEN_MAX);
	memset(value, (int)rng_below(&r, 256), *len);
	value[*len - 1] = (uint8_t)number;
	return value;
}

static struct cs_txn *begin(void)
{
	struct cs_txn *t;
	assert_int_equal(cs_txn_write(db, &t, NULL), CS_OK);
	return t;
}

/* Put n bundles as one list, with new content. */
static void put(struct cs_txn *t, const uint64_t *numbers, size_t n)
{
	struct cs_bundle_stored list[NUMBERS] = { 0 };
	for (size_t i = 0; i < n; i++) {
		version[numbers[i] - FIRST]++;
		list[i].number = numbers[i];
		const uint8_t *v = value_of(numbers[i], &list[i].len);
		list[i].data = exact_copy(v, list[i].len);
	}
	assert_int_equal(cs_bundles_put(t, list, n, NULL), CS_OK);
	for (size_t i = 0; i < n; i++)
		free((void *)(uintptr_t)list[i].data);
}

static void check(struct cs_txn *t)
{
	struct cs_slice v;
	uint64_t at = 0, number;
	size_t len, there = 0, seen = 0;
	for (uint64_t n = FIRST; n < FIRST + NUMBERS; n++) {
		int rc = cs_bundles_get(t, n, &v, NULL);
		assert_int_equal(rc, version[n - FIRST] != 0);
		if (rc) {
			const uint8_t *want = value_of(n, &len);
			assert_int_equal(v.len, len);
			assert_memory_equal(v.data, want, len);
			there++;
		}
	}
	while (cs_bundles_next(t, at, &number, &v, NULL) == 1) {
		assert_true(number >= at && number < FIRST + NUMBERS);
		value_of(number, &len);
		assert_int_equal(v.len, len);
		at = number + 1;
		seen++;
	}
	assert_int_equal(seen, there);
}

static int set_up(void **state)
{
	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/chunkstore-bundles.XXXXXX");
	rng = rng_start();
	memset(version, 0, sizeof(version));
	return !mkdtemp(dir) || cs_db_open(dir, CS_DB_CREATE, &db, NULL) != CS_OK;
}

static int tear_down(void **state)
{
	char path[128];
	(void)state;
	cs_db_close(db);
	snprintf(path, sizeof(path), "%s/data.mdb", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/lock.mdb", dir);
	unlink(path);
	return rmdir(dir);
}

static uint64_t values(struct cs_txn *t)
{
	uint64_t n;
	assert_int_equal(cs_db_rows(t, CS_T_BUNDLES, &n, NULL), CS_OK);
	return n;
}

static void bundles_put_together_lie_together(void **state)
{
	struct cs_txn *t = begin();
	uint8_t small[1000] = { 0 };
	struct cs_bundle_stored list[CS_BUNDLE_RUN + 1];

	(void)state;
	for (unsigned i = 0; i <= CS_BUNDLE_RUN; i++)
		list[i] = (struct cs_bundle_stored){ FIRST + i, small, sizeof(small) };
	assert_int_equal(cs_bundles_put(t, list, CS_BUNDLE_RUN + 1, NULL), CS_OK);
	assert_int_equal(values(t), 2); /* a run, and the next */

	uint8_t *large = calloc(1, CS_PACK_TARGET);
	for (unsigned i = 0; i < 6; i++)
		list[i] = (struct cs_bundle_stored){ FIRST + 2 * CS_BUNDLE_RUN + i, large,
						     CS_PACK_TARGET / 2 - 10 };
	assert_int_equal(cs_bundles_put(t, list, 6, NULL), CS_OK);
	assert_int_equal(values(t), 2 + 3); /* two fit */
	free(large);
	cs_txn_end(t);
}

static void whoever_puts_and_deletes_what_in_which_order(void **state)
{
	(void)state;
	for (int round = 0; round < 120; round++) {
		struct cs_txn *t = begin();
		for (int i = 0; i < 12; i++) {
			uint64_t list[NUMBERS];
			size_t n = 0;
			unsigned chance = 1 + (unsigned)rng_below(&rng, 40);
			for (uint64_t k = FIRST; k < FIRST + NUMBERS; k++)
				if (rng_below(&rng, chance) == 0)
					list[n++] = k;
			if (rng_below(&rng, 3)) {
				put(t, list, n);
			} else {
				for (size_t j = 0; j < n; j++) {
					assert_int_equal(cs_bundles_del(t, list[j], NULL), CS_OK);
					version[list[j] - FIRST] = 0;
				}
			}
		}
		check(t);
		assert_int_equal(cs_txn_commit(t, NULL), CS_OK);
		assert_int_equal(cs_txn_read(db, &t, NULL), CS_OK);
		check(t);
		cs_txn_end(t);
	}
}

/* Neither a crash nor an endless walk; what an undamaged row says is found. */
static void damaged_keys_are_noticed(void **state)
{
	struct cs_txn *t = begin();
	struct cs_slice v, key = { "", 1 };
	uint64_t all[NUMBERS], number;
	uint8_t k[256];

	(void)state;
	for (unsigned i = 0; i < NUMBERS; i++)
		all[i] = FIRST + i;
	put(t, all, NUMBERS);
	assert_int_equal(cs_txn_commit(t, NULL), CS_OK);
	for (int round = 0; round < 500; round++) {
		t = begin();
		memset(k, 0, 8);
		k[7] = (uint8_t)rng_below(&rng, FIRST + NUMBERS);
		key = (struct cs_slice){ k, 8 };
		if (cs_db_find(t, CS_T_BUNDLES, &key, &v, NULL) == 1) {
			size_t len = key.len, value_len = v.len;
			uint8_t *copy = exact_copy(v.data, value_len);
			memcpy(k, key.data, len);
			assert_int_equal(cs_db_del(t, CS_T_BUNDLES, (struct cs_slice){ k, len },
						   NULL, NULL), CS_OK);
			k[rng_below(&rng, len)] ^= (uint8_t)(1u << rng_below(&rng, 8));
			len -= rng_below(&rng, 4) == 0;
			assert_int_equal(cs_db_put(t, CS_T_BUNDLES, (struct cs_slice){ k, len },
						   (struct cs_slice){ copy, value_len }, NULL),
					 CS_OK);
			free(copy);
		}
		uint64_t at = 0;
		unsigned steps = 0;
		while (cs_bundles_next(t, at, &number, &v, NULL) == 1) {
			assert_true(number >= at);
			assert_true(steps++ < 2 * NUMBERS);
			at = number + 1;
		}
		for (unsigned i = 0; i < NUMBERS; i++)
			if (cs_bundles_get(t, FIRST + i, &v, NULL) == 1)
				(void)*(const volatile uint8_t *)v.data;
		cs_txn_end(t);
	}
}

static void numbers_are_given_in_runs(void **state)
{
	struct cs_txn *t = begin();
	uint64_t first;

	(void)state;
	assert_int_equal(cs_db_counter_set(t, CS_META_NEXT_BUNDLE, 1, NULL), CS_OK);
	assert_int_equal(cs_bundles_reserve(t, 5, &first, NULL), CS_OK);
	assert_int_equal(first, CS_BUNDLE_RUN);
	assert_int_equal(cs_bundles_reserve(t, 1, &first, NULL), CS_OK);
	assert_int_equal(first, 2 * CS_BUNDLE_RUN);
	assert_int_equal(cs_db_counter_set(t, CS_META_NEXT_BUNDLE, CS_BUNDLE_NUMBER_MAX - 20, NULL),
			 CS_OK);
	assert_int_equal(cs_bundles_reserve(t, 1, &first, NULL), CS_E_LIMIT);
	cs_txn_end(t);
}

static void the_index_knows_chunks_by_their_hashes(void **state)
{
	enum { N = 3000 };
	struct cs_txn *t = begin();
	bool there[N];

	(void)state;
	for (uint64_t i = 0; i < N; i++) {
		uint64_t h = i / 3; /* three chunks a hash */
		struct cs_hash hash = cs_hash_of(&h, sizeof(h));
		assert_int_equal(cs_index_add(t, &hash, CS_CHUNK_NUMBER_MAX - 7 * i, NULL), CS_OK);
		there[i] = true;
	}
	for (uint64_t i = 0; i < N; i++) {
		uint64_t h = i / 3;
		struct cs_hash hash = cs_hash_of(&h, sizeof(h));
		if (rng_below(&rng, 2) == 0) {
			assert_int_equal(cs_index_del(t, &hash, CS_CHUNK_NUMBER_MAX - 7 * i, NULL),
					 CS_OK);
			there[i] = false;
		}
	}
	for (uint64_t h = 0; h < N / 3 + 10; h++) {
		struct cs_hash hash = cs_hash_of(&h, sizeof(h));
		cs_chunk at = 0;
		for (uint64_t i = 3 * h + 3; i-- > 3 * h;)
			if (i < N && there[i]) { /* in ascending order */
				assert_int_equal(cs_index_next(t, &hash, at, &at, NULL), 1);
				assert_int_equal(at, CS_CHUNK_NUMBER_MAX - 7 * i);
			}
		assert_int_equal(cs_index_next(t, &hash, at, &at, NULL), 0);
	}
	cs_txn_end(t);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		T(bundles_put_together_lie_together),
		T(whoever_puts_and_deletes_what_in_which_order),
		T(damaged_keys_are_noticed),
		T(numbers_are_given_in_runs),
		T(the_index_knows_chunks_by_their_hashes),
	};
	return cmocka_run_group_tests(tests, NULL, NULL);
}
