/* SPDX-License-Identifier: MIT */
/*
 * Into the trash and out of it, at the level of rows: points whose records are
 * right and whose trees are nobody's business here.
 */
#include "store/browse.h"
#include "store/trash.h"
#include "util.h"

#include <dirent.h>
#include <lmdb.h>
#include <sys/stat.h>
#include <unistd.h>

#define T0 1795330745 /* 2026-11-22T07-39-05Z */
#define MANY 150      /* more than two transactions */

static char dir[64];
static struct cs_store *store;
static uint32_t next_id;

static void open_store(int flags)
{
	struct cs_open_opts o = { .flags = flags };

	assert_int_equal(cs_store_open(dir, &o, &store, NULL), CS_OK);
}

static void close_store(void)
{
	cs_store_close(store);
	store = NULL;
}

static int fresh(void **state)
{
	const uint64_t keep = 1000;
	const struct cs_init_opts o = { .trash_seconds = &keep };

	(void)state;
	snprintf(dir, sizeof(dir), "/tmp/chunkstore-t_trash.XXXXXX");
	assert_non_null(mkdtemp(dir));
	assert_int_equal(cs_store_init(dir, &o, NULL), CS_OK);
	open_store(CS_OPEN_WRITE);
	return 0;
}

static int done(void **state)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "leases" };
	char path[128];

	(void)state;
	close_store();
	for (size_t i = 0; i < 3; i++) {
		snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
		unlink(path);
	}
	return rmdir(dir);
}

/* ------------------------------------------------------------ steps */

static struct cs_txn *begin(void)
{
	struct cs_txn *t;

	assert_int_equal(cs_txn_write(store->db, &t, NULL), CS_OK);
	return t;
}

static void commit(struct cs_txn *t)
{
	assert_int_equal(cs_txn_commit(t, NULL), CS_OK);
}

static uint64_t add_points(const char *series, int64_t started, int n)
{
	struct cs_point_record *r = calloc(1, sizeof(*r));
	uint8_t root[1] = { 'D' };
	struct cs_txn *t = begin();

	assert_non_null(r);
	for (int i = 0; i < n; i++) {
		memset(r, 0, sizeof(*r));
		r->started = (struct cs_time){ started + i, 0 };
		r->received = (struct cs_time){ T0, 0 };
		r->ntags = 1;
		strcpy(r->tags[0], "gold");
		/* ids that begin alike: 00000001..., 00000002... */
		next_id++;
		for (int k = 0; k < 4; k++)
			r->id[k] = (uint8_t)(next_id >> (8 * (3 - k)));
		r->root = root;
		r->root_len = sizeof(root);
		assert_int_equal(cs_points_add(t, series, r, NULL), CS_OK);
	}
	commit(t);
	uint64_t seq = r->seq;

	free(r);
	return seq;
}

static uint64_t add(const char *series, int64_t started)
{
	return add_points(series, started, 1);
}

struct told {
	int fates[MANY];
	size_t n;
	int64_t until;
	int stop_after; /* transactions */
};

static void on_told(void *arg, size_t i, int fate, int64_t until)
{
	struct told *told = arg;

	assert_int_equal(i, told->n);
	told->fates[told->n++] = fate;
	told->until = until;
}

static int on_stopped(void *arg)
{
	struct told *told = arg;

	return told->stop_after-- == 0;
}

static int forget(const uint64_t *seqs, size_t n, bool purge, bool keep_last, struct told *told)
{
	const struct cs_forget_opts o = { .purge = purge, .keep_last = keep_last,
					  .told = on_told, .stopped = on_stopped, .arg = told };

	told->n = 0;
	return cs_points_forget(store, seqs, n, &o, NULL);
}

static int forget_one(uint64_t seq, bool purge)
{
	struct told told = { .stop_after = -1 };

	assert_int_equal(forget(&seq, 1, purge, false, &told), CS_OK);
	return told.fates[0];
}

static int undelete_one(uint64_t seq)
{
	struct told told = { .stop_after = -1 };
	const struct cs_forget_opts o = { .told = on_told, .arg = &told };

	assert_int_equal(cs_points_undelete(store, &seq, 1, &o, NULL), CS_OK);
	return told.fates[0];
}

/* As gc does. */
static int purge_due(int64_t now, bool dry_run, struct cs_purged *out)
{
	assert_int_equal(cs_leases_enter_gc(store->leases, NULL), CS_OK);
	int rc = cs_trash_purge_due(store, now, dry_run, out, NULL);
	cs_leases_leave_gc(store->leases);
	return rc;
}

/* How many go. */
static size_t removed(int64_t now)
{
	struct cs_purged p = { 0 };

	assert_int_equal(purge_due(now, false, &p), CS_OK);
	size_t n = p.n;

	cs_purged_release(&p);
	return n;
}

static const char *name_of(uint64_t seq)
{
	static struct cs_point p;

	assert_int_equal(cs_point_by_seq(store, seq, &p, NULL), CS_OK);
	return p.name;
}

static uint64_t latest(const char *series)
{
	struct cs_point p;
	int rc = cs_point_by_name(store, series, "latest", &p, NULL);

	assert_true(rc == CS_OK || rc == CS_E_NOTFOUND);
	return rc == CS_OK ? p.seq : 0;
}

static int count_listed(void *arg, const struct cs_point *p)
{
	(void)p;
	(*(int *)arg)++;
	return 0;
}

static int listed(void)
{
	int n = 0;

	assert_int_equal(cs_points_list(store, NULL, NULL, count_listed, &n, NULL), CS_OK);
	return n;
}

static int count_trashed(void *arg, const struct cs_point *p, int64_t until)
{
	(void)p;
	(void)until;
	(*(int *)arg)++;
	return 0;
}

static int trashed(void)
{
	int n = 0;

	assert_int_equal(cs_trash_list(store, NULL, count_trashed, &n, NULL), CS_OK);
	return n;
}

static uint64_t rows(enum cs_table table)
{
	struct cs_db_stats st;

	assert_int_equal(cs_db_stats(store->db, &st, NULL), CS_OK);
	return st.rows[table];
}

/* ------------------------------------------------------------ there and back */

static void a_forgotten_point_answers_to_nothing(void **state)
{
	struct cs_point p;
	struct cs_tree *tree;
	struct cs_error err;
	char name[CS_POINT_NAME_MAX + 1], id[40];

	(void)state;
	uint64_t seq = add("s", T0);
	assert_int_equal(cs_point_by_seq(store, seq, &p, NULL), CS_OK);
	strcpy(name, p.name);
	strcpy(id, p.id);
	assert_int_equal(forget_one(seq, false), CS_FATE_DONE);

	assert_int_equal(cs_point_by_seq(store, seq, &p, NULL), CS_E_NOTFOUND);
	assert_int_equal(cs_point_by_name(store, "s", name, &p, &err), CS_E_NOTFOUND);
	assert_non_null(strstr(err.text, "in the trash"));
	assert_int_equal(cs_point_by_name(store, "s", "latest", &p, NULL), CS_E_NOTFOUND);
	assert_int_equal(cs_point_find(store, id, &p, NULL), CS_E_NOTFOUND);
	assert_int_equal(cs_point_find(store, "s", &p, NULL), CS_E_NOTFOUND);
	assert_int_equal(cs_tree_open(store, seq, &tree, NULL), CS_E_NOTFOUND);
	assert_int_equal(listed(), 0);
	/* but it is all there, for gc, and for whoever brings it back */
	assert_int_equal(rows(CS_T_POINTS), 1);
	assert_int_equal(trashed(), 1);
	assert_int_equal(cs_trash_find(store, id, &p, NULL), CS_OK);
	assert_true(p.seq == seq);
	assert_int_equal(cs_point_find_anywhere(store, id, &p, NULL), CS_OK);
	assert_int_equal(forget_one(seq, false), CS_FATE_ABSENT);
}

static void undelete_brings_back_the_same(void **state)
{
	struct cs_point before, after;
	uint64_t g0, g1, g2;

	(void)state;
	uint64_t seq = add("s", T0);
	assert_int_equal(cs_point_by_seq(store, seq, &before, NULL), CS_OK);
	assert_int_equal(cs_store_generation(store, &g0, NULL), CS_OK);
	assert_int_equal(forget_one(seq, false), CS_FATE_DONE);
	assert_int_equal(cs_store_generation(store, &g1, NULL), CS_OK);
	assert_int_equal(undelete_one(seq), CS_FATE_DONE);
	assert_int_equal(cs_store_generation(store, &g2, NULL), CS_OK);
	assert_true(g0 < g1 && g1 < g2);
	assert_int_equal(cs_point_by_seq(store, seq, &after, NULL), CS_OK);
	assert_memory_equal(&before, &after, sizeof(before));
	assert_int_equal(trashed(), 0);
	assert_int_equal(undelete_one(seq), CS_FATE_ABSENT);
	assert_int_equal(undelete_one(seq + 1), CS_FATE_ABSENT);
}

static void a_series_follows_its_points(void **state)
{
	struct cs_series s0, s1, s2;

	(void)state;
	uint64_t a = add("s", T0), b = add("s", T0 - 500), c = add("s", T0 + 100);
	assert_true(latest("s") == c);
	assert_int_equal(cs_series_get(store, "s", 0, &s0, NULL), CS_OK);
	assert_int_equal(forget_one(c, false), CS_FATE_DONE);
	assert_true(latest("s") == b); /* received last, whatever its date */
	assert_int_equal(forget_one(a, false), CS_FATE_DONE);
	assert_true(latest("s") == b);
	assert_int_equal(cs_series_get(store, "s", 0, &s1, NULL), CS_OK);
	assert_int_equal(s1.points, 1);
	assert_true(s1.changed.sec > s0.changed.sec ||
		    (s1.changed.sec == s0.changed.sec && s1.changed.nsec > s0.changed.nsec));
	assert_int_equal(undelete_one(c), CS_FATE_DONE);
	assert_true(latest("s") == c);
	assert_int_equal(undelete_one(a), CS_FATE_DONE);
	assert_true(latest("s") == c);
	assert_int_equal(cs_series_get(store, "s", 0, &s2, NULL), CS_OK);
	assert_int_equal(s2.points, 3);
	assert_true(s2.changed.sec > s1.changed.sec ||
		    (s2.changed.sec == s1.changed.sec && s2.changed.nsec > s1.changed.nsec));
}

static void a_name_in_the_trash_is_taken(void **state)
{
	char name[CS_POINT_NAME_MAX + 1];

	(void)state;
	uint64_t a = add("s", T0), b = add("s", T0);
	strcpy(name, name_of(b));
	assert_non_null(strstr(name, "Z-002"));
	assert_int_equal(forget_one(a, false), CS_FATE_DONE);
	assert_int_equal(forget_one(b, false), CS_FATE_DONE);
	assert_non_null(strstr(name_of(add("s", T0)), "Z-003"));
	assert_int_equal(undelete_one(b), CS_FATE_DONE);
	assert_string_equal(name_of(b), name);
	assert_int_equal(undelete_one(a), CS_FATE_DONE);
	assert_int_equal(strlen(name_of(a)), 20);
	assert_int_equal(listed(), 3);
}

/* As an older version would leave it, which knows of no trash. */
static void a_name_that_was_given_twice_is_not_taken_over(void **state)
{
	struct cs_point_record r;
	uint8_t key[64] = { 0, 0, 0, 1 };

	(void)state;
	uint64_t a = add("s", T0), b = add("s", T0 + 1);
	struct cs_txn *t = begin();
	assert_int_equal(cs_points_trash(t, a, 0, cs_now(), NULL), CS_OK);
	assert_int_equal(cs_points_get(t, a, &r, NULL), CS_OK);
	memcpy(key + 4, r.name, strlen(r.name));
	assert_int_equal(cs_db_put(t, CS_T_CATALOG, (struct cs_slice){ key, 4 + strlen(r.name) },
				   cs_u64_key(&b), NULL), CS_OK);
	cs_point_record_release(&r);
	assert_int_equal(cs_points_untrash(t, a, cs_now(), NULL), CS_E_EXISTS);
	cs_txn_end(t);
}

static void an_id_is_looked_for_where_it_counts(void **state)
{
	struct cs_point p;

	(void)state;
	next_id = 0xabcd0000;
	uint64_t a = add("s", T0), b = add("s", T0 + 1);
	assert_int_equal(cs_point_find(store, "abcd", &p, NULL), CS_E_USAGE);
	assert_int_equal(forget_one(a, false), CS_FATE_DONE);
	assert_int_equal(cs_point_find(store, "abcd", &p, NULL), CS_OK);
	assert_true(p.seq == b);
	assert_int_equal(cs_trash_find(store, "abcd", &p, NULL), CS_OK);
	assert_true(p.seq == a);
	assert_int_equal(cs_trash_find(store, "abc", &p, NULL), CS_E_NOTFOUND); /* too short */
	/* nothing is purged by an id that may mean another point */
	assert_int_equal(cs_point_find_anywhere(store, "abcd", &p, NULL), CS_E_USAGE);
	assert_int_equal(forget_one(b, false), CS_FATE_DONE);
	assert_int_equal(cs_trash_find(store, "abcd", &p, NULL), CS_E_USAGE);
	assert_int_equal(cs_trash_find(store, "abcd0001", &p, NULL), CS_OK);
	assert_true(p.seq == a);
}

/* ------------------------------------------------------------ for good */

/* Its record is gc's business: somebody may be reading it. Everybody else has seen the last of it. */
static void a_purged_point_is_gone_for_everybody_but_gc(void **state)
{
	struct cs_store_stats st;
	struct cs_point p;
	char id[40], name[CS_SERIES_MAX + CS_POINT_NAME_MAX + 2];

	(void)state;
	uint64_t a = add("s", T0), b = add("s", T0 + 1);
	assert_int_equal(cs_point_by_seq(store, a, &p, NULL), CS_OK);
	strcpy(id, p.id);
	snprintf(name, sizeof(name), "s/%s", p.name);
	assert_int_equal(forget_one(b, false), CS_FATE_DONE);
	assert_int_equal(forget_one(a, true), CS_FATE_DONE);
	assert_int_equal(forget_one(b, true), CS_FATE_DONE);
	assert_int_equal(listed() + trashed(), 0);
	assert_int_equal(cs_store_stats(store, &st, NULL), CS_OK);
	assert_int_equal(st.points + st.trash_points, 0);
	assert_int_equal(cs_point_find(store, id, &p, NULL), CS_E_NOTFOUND);
	assert_int_equal(cs_trash_find(store, id, &p, NULL), CS_E_NOTFOUND);
	assert_int_equal(cs_trash_find(store, name, &p, NULL), CS_E_NOTFOUND);
	assert_int_equal(cs_point_find_anywhere(store, id, &p, NULL), CS_E_NOTFOUND);
	assert_int_equal(cs_point_find_anywhere(store, name, &p, NULL), CS_E_NOTFOUND);
	assert_int_equal(undelete_one(a), CS_FATE_ABSENT);
	assert_int_equal(forget_one(a, false), CS_FATE_ABSENT);
	assert_int_equal(rows(CS_T_POINTS), 2);
	assert_int_equal(removed(0), 2);
	assert_int_equal(rows(CS_T_POINTS), 0);
}

static void a_point_that_is_read_stays_until_it_is_not(void **state)
{
	struct cs_purged dry = { 0 }, wet = { 0 };

	(void)state;
	uint64_t a = add("s", T0), b = add("s", T0 + 1);
	assert_int_equal(cs_point_hold(store, a, NULL), CS_OK);
	assert_int_equal(forget_one(a, true), CS_FATE_DONE);
	assert_int_equal(forget_one(b, true), CS_FATE_DONE);
	assert_int_equal(cs_point_hold(store, b, NULL), CS_E_NOTFOUND);
	assert_int_equal(purge_due(0, true, &dry), CS_OK);
	assert_int_equal(purge_due(0, false, &wet), CS_OK);
	assert_true(dry.n == 1 && wet.n == 1 && dry.used == 1 && wet.used == 1);
	assert_true(dry.seqs[0] == b && wet.seqs[0] == b);
	assert_true(cs_purged_has(&wet, b) && !cs_purged_has(&wet, a));
	assert_int_equal(rows(CS_T_POINTS), 1);
	cs_purged_release(&dry);
	cs_purged_release(&wet);
	cs_point_drop(store, a);
	assert_int_equal(removed(0), 1);
	assert_int_equal(rows(CS_T_POINTS), 0);
}

/* Neither listed nor in the trash: damage, which would keep its data for ever. */
static void a_lost_point_can_be_purged(void **state)
{
	struct cs_point_record r;
	struct cs_point p;
	uint8_t key[64] = { 0, 0, 0, 1 };

	(void)state;
	next_id = 0x77770000;
	uint64_t a = add("s", T0);
	struct cs_txn *t = begin();
	assert_int_equal(cs_points_get(t, a, &r, NULL), CS_OK);
	memcpy(key + 4, r.name, strlen(r.name));
	assert_int_equal(cs_db_del(t, CS_T_CATALOG, (struct cs_slice){ key, 4 + strlen(r.name) },
				   NULL, NULL), CS_OK);
	cs_point_record_release(&r);
	commit(t);
	assert_int_equal(cs_point_find(store, "7777", &p, NULL), CS_E_CORRUPT);
	assert_int_equal(cs_point_find_anywhere(store, "7777", &p, NULL), CS_OK);
	assert_int_equal(forget_one(p.seq, true), CS_FATE_DONE);
	assert_int_equal(removed(0), 1);
	assert_int_equal(rows(CS_T_POINTS), 0);
}

static void gc_removes_nothing_that_is_listed(void **state)
{
	(void)state;
	uint64_t a = add("s", T0);
	struct cs_txn *t = begin();
	assert_int_equal(cs_points_remove(t, a, NULL), CS_E_NOTFOUND);
	assert_int_equal(cs_points_remove(t, a + 1, NULL), CS_E_NOTFOUND);
	commit(t);
	assert_int_equal(removed(INT64_MAX), 0);
	assert_int_equal(listed(), 1);
}

static void nothing_is_left_of_a_purged_series(void **state)
{
	struct cs_series s;

	(void)state;
	uint64_t a = add("s", T0), b = add("s", T0 + 1), c = add("other", T0);
	assert_int_equal(cs_series_get(store, "s", 0, &s, NULL), CS_OK);
	uint32_t id = s.id;
	assert_int_equal(forget_one(a, false), CS_FATE_DONE);
	assert_int_equal(forget_one(b, true), CS_FATE_DONE); /* listed */
	assert_int_equal(removed(0), 1);
	/* the trash still has a point of it */
	assert_int_equal(cs_series_get(store, "s", 0, &s, NULL), CS_OK);
	assert_int_equal(s.points, 0);
	assert_int_equal(forget_one(a, true), CS_FATE_DONE); /* from the trash */
	assert_int_equal(forget_one(a, true), CS_FATE_ABSENT);
	assert_int_equal(removed(0), 1);
	assert_int_equal(cs_series_get(store, "s", 0, &s, NULL), CS_E_NOTFOUND);
	assert_int_equal(rows(CS_T_POINTS), 1);
	assert_int_equal(rows(CS_T_IDS), 1);
	assert_int_equal(rows(CS_T_CATALOG), 1);
	assert_int_equal(rows(CS_T_SERIES), 1);
	assert_int_equal(rows(CS_T_SERIES_IDS), 1);
	assert_int_equal(rows(CS_T_TRASH), 0);
	assert_true(latest("other") == c);
	assert_int_equal(forget_one(a, true), CS_FATE_ABSENT);
	add("s", T0);
	assert_int_equal(cs_series_get(store, "s", 0, &s, NULL), CS_OK);
	assert_true(s.id > id); /* never given out again */
}

static void what_is_due_is_purged_and_nothing_else(void **state)
{
	struct cs_purged dry = { 0 }, wet = { 0 };
	struct told told = { .stop_after = -1 };
	uint64_t seqs[MANY];

	(void)state;
	uint64_t last = add_points("s", T0, MANY);
	for (int i = 0; i < MANY; i++)
		seqs[i] = last - (uint64_t)i; /* not in the order of names */
	int64_t before = cs_now().sec;
	assert_int_equal(forget(seqs, MANY - 1, false, false, &told), CS_OK);
	assert_true(told.until >= before + 1000 && told.until <= cs_now().sec + 1000);
	/* one more, for ever; the store's setting is about what comes after it */
	assert_int_equal(cs_store_set_trash_keep(store, CS_TRASH_SECONDS_MAX, NULL), CS_OK);
	assert_int_equal(forget_one(seqs[MANY - 1], false), CS_FATE_DONE);

	assert_int_equal(purge_due(before + 999, false, &wet), CS_OK);
	assert_int_equal(wet.n, 0);
	assert_int_equal(trashed(), MANY);
	cs_purged_release(&wet);
	assert_int_equal(purge_due(told.until, true, &dry), CS_OK);
	assert_int_equal(trashed(), MANY);
	assert_int_equal(purge_due(told.until, false, &wet), CS_OK);
	assert_int_equal(wet.n, MANY - 1);
	assert_int_equal(dry.n, wet.n);
	assert_memory_equal(dry.seqs, wet.seqs, wet.n * sizeof(*wet.seqs));
	for (size_t i = 1; i < wet.n; i++)
		assert_true(wet.seqs[i - 1] < wet.seqs[i]);
	assert_int_equal(trashed(), 1);
	assert_int_equal(rows(CS_T_POINTS), 1);
	cs_purged_release(&dry);
	cs_purged_release(&wet);
	assert_int_equal(purge_due(INT64_MAX, false, &wet), CS_OK);
	assert_int_equal(trashed(), 0);
	cs_purged_release(&wet);
}

static void without_a_time_in_the_trash_the_next_gc_purges(void **state)
{
	struct cs_purged p = { 0 };
	struct told told = { .stop_after = -1 };
	uint64_t keep;

	(void)state;
	assert_int_equal(cs_store_trash_keep(store, &keep, NULL), CS_OK);
	assert_int_equal(keep, 1000);
	assert_int_equal(cs_store_set_trash_keep(store, 0, NULL), CS_OK);
	assert_int_equal(cs_store_trash_keep(store, &keep, NULL), CS_OK);
	assert_int_equal(keep, 0);
	assert_int_equal(cs_store_set_trash_keep(store, CS_TRASH_SECONDS_MAX + 1, NULL), CS_E_USAGE);
	uint64_t a = add("s", T0), b = add("s", T0 + 1);
	assert_int_equal(forget(&a, 1, false, false, &told), CS_OK);
	assert_int_equal(told.until, 0);
	assert_int_equal(forget_one(b, false), CS_FATE_DONE);
	assert_int_equal(undelete_one(b), CS_FATE_DONE); /* there is still time */
	assert_int_equal(purge_due(1, false, &p), CS_OK);
	assert_int_equal(p.n, 1);
	assert_true(p.seqs[0] == a);
	cs_purged_release(&p);
	assert_int_equal(listed(), 1);
}

/* ------------------------------------------------------------ many, and others at work */

static void the_last_point_of_a_series_stays(void **state)
{
	struct told told = { .stop_after = -1 };

	(void)state;
	/* decided when there were three; since then somebody has forgotten the one to be kept */
	uint64_t seqs[3] = { add("s", T0), add("s", T0 + 1), add("s", T0 + 2) };
	assert_int_equal(forget_one(seqs[2], false), CS_FATE_DONE);
	assert_int_equal(forget(seqs, 2, false, true, &told), CS_OK);
	assert_int_equal(told.fates[0], CS_FATE_DONE);
	assert_int_equal(told.fates[1], CS_FATE_KEPT);
	assert_true(latest("s") == seqs[1]);
	assert_int_equal(forget(seqs, 2, true, true, &told), CS_OK);
	assert_int_equal(told.fates[0], CS_FATE_DONE); /* from the trash: the list is as long as before */
	assert_int_equal(told.fates[1], CS_FATE_KEPT);
	assert_int_equal(forget(&seqs[1], 1, false, false, &told), CS_OK);
	assert_int_equal(told.fates[0], CS_FATE_DONE);
}

static void when_stopped_what_was_told_is_done(void **state)
{
	struct told told = { .stop_after = 1 };
	uint64_t seqs[MANY], last = add_points("s", T0, MANY);

	(void)state;
	for (int i = 0; i < MANY; i++)
		seqs[i] = last - MANY + 1 + (uint64_t)i;
	assert_int_equal(forget(seqs, MANY, false, false, &told), CS_E_INTERRUPTED);
	assert_true(told.n > 0 && told.n < MANY);
	assert_int_equal(trashed(), told.n);
	assert_int_equal(listed(), MANY - told.n);
	told.stop_after = 0;
	assert_int_equal(forget(seqs, MANY, false, false, &told), CS_E_INTERRUPTED);
	assert_int_equal(told.n, 0);
	told.stop_after = -1;
	assert_int_equal(forget(seqs, MANY, false, false, &told), CS_OK);
	assert_int_equal(told.fates[0], CS_FATE_ABSENT);
	assert_int_equal(told.fates[MANY - 1], CS_FATE_DONE);
	assert_int_equal(trashed(), MANY);
}

/* ------------------------------------------------------------ damage, and older stores */

static void a_damaged_row_is_told_and_can_be_purged(void **state)
{
	struct cs_txn *t;
	struct cs_cursor *c;
	struct cs_slice key = { 0 }, v;
	struct cs_purged p = { 0 };
	uint8_t k[64], bytes[64];

	(void)state;
	uint64_t seq = add("s", T0);
	assert_int_equal(forget_one(seq, false), CS_FATE_DONE);
	t = begin();
	assert_int_equal(cs_cursor_open(t, CS_T_TRASH, &c, NULL), CS_OK);
	assert_int_equal(cs_cursor_move(c, CS_SEEK_FIRST, &key, &v, NULL), 1);
	memcpy(k, key.data, key.len);
	memcpy(bytes, v.data, v.len);
	bytes[9] ^= 1;
	size_t klen = key.len, len = v.len;
	cs_cursor_close(c);
	assert_int_equal(cs_db_put(t, CS_T_TRASH, (struct cs_slice){ k, klen },
				   (struct cs_slice){ bytes, len }, NULL), CS_OK);
	commit(t);
	assert_int_equal(purge_due(INT64_MAX, false, &p), CS_E_CORRUPT);
	cs_purged_release(&p);
	assert_int_equal(rows(CS_T_POINTS), 1);
	assert_int_equal(forget_one(seq, true), CS_FATE_DONE);
	assert_int_equal(removed(0), 1);
	assert_int_equal(rows(CS_T_POINTS), 0);
	assert_int_equal(rows(CS_T_TRASH), 0);
	assert_int_equal(rows(CS_T_SERIES), 0);
}

static int findings;

static void on_finding(void *arg, int kind, const char *text)
{
	(void)kind;
	findings += strncmp(text, arg, strlen(arg)) == 0;
}

/* The trees here are damaged, all of them: verify is to say so of those that can be had. */
static void verify_checks_what_can_come_back(void **state)
{
	char id[] = "record-damaged: ";
	const struct cs_verify_opts o = { .threads = 1, .notice = on_finding, .arg = id };
	struct cs_verify_result r = { 0 };

	(void)state;
	uint64_t a = add("s", T0), b = add("s", T0 + 1);
	findings = 0;
	assert_int_equal(forget_one(a, false), CS_FATE_DONE);
	assert_int_equal(cs_verify(store, &o, &r, NULL), CS_E_CORRUPT);
	assert_int_equal(findings, 2);
	assert_int_equal(forget_one(a, true), CS_FATE_DONE);
	assert_int_equal(forget_one(b, true), CS_FATE_DONE);
	assert_int_equal(cs_verify(store, &o, &r, NULL), CS_OK);
}

static void a_row_that_leads_nowhere_goes(void **state)
{
	struct cs_purged p = { 0 };

	(void)state;
	uint64_t seq = add("s", T0);
	assert_int_equal(forget_one(seq, false), CS_FATE_DONE);
	struct cs_txn *t = begin();
	assert_int_equal(cs_db_del(t, CS_T_POINTS, cs_u64_key(&seq), NULL, NULL), CS_OK);
	commit(t);
	char id[] = "trash-damaged: ";
	const struct cs_verify_opts o = { .threads = 1, .notice = on_finding, .arg = id };
	struct cs_verify_result r = { 0 };
	findings = 0;
	assert_int_equal(cs_verify(store, &o, &r, NULL), CS_E_CORRUPT);
	assert_int_equal(findings, 1);
	assert_int_equal(purge_due(INT64_MAX, false, &p), CS_OK);
	assert_int_equal(rows(CS_T_TRASH), 0);
	cs_purged_release(&p);
}

static void drop_table(const char *name)
{
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	assert_int_equal(mdb_env_create(&env), 0);
	assert_int_equal(mdb_env_set_maxdbs(env, 16), 0);
	assert_int_equal(mdb_env_open(env, dir, 0, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, 0, &txn), 0);
	assert_int_equal(mdb_dbi_open(txn, name, 0, &dbi), 0);
	assert_int_equal(mdb_drop(txn, dbi, 1), 0);
	assert_int_equal(mdb_txn_commit(txn), 0);
	mdb_env_close(env);
}

static void a_store_from_before_the_trash_gets_one(void **state)
{
	struct cs_store_stats st;

	(void)state;
	uint64_t seq = add("s", T0);
	close_store();
	drop_table("trash");
	open_store(CS_OPEN_READ);
	assert_int_equal(listed(), 1);
	assert_int_equal(trashed(), 0);
	assert_int_equal(cs_store_stats(store, &st, NULL), CS_OK);
	assert_true(st.points == 1 && st.trash_points == 0);
	close_store();
	open_store(CS_OPEN_WRITE);
	assert_int_equal(forget_one(seq, false), CS_FATE_DONE);
	assert_int_equal(trashed(), 1);
	close_store();
	open_store(CS_OPEN_READ);
	assert_int_equal(trashed(), 1);
	close_store();
	drop_table("catalog"); /* which is no younger table */
	struct cs_open_opts o = { .flags = CS_OPEN_WRITE };
	assert_int_equal(cs_store_open(dir, &o, &store, NULL), CS_E_CORRUPT);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, fresh, done)
	const struct CMUnitTest tests[] = {
		TEST(a_forgotten_point_answers_to_nothing),
		TEST(undelete_brings_back_the_same),
		TEST(a_series_follows_its_points),
		TEST(a_name_in_the_trash_is_taken),
		TEST(a_name_that_was_given_twice_is_not_taken_over),
		TEST(an_id_is_looked_for_where_it_counts),
		TEST(a_purged_point_is_gone_for_everybody_but_gc),
		TEST(a_point_that_is_read_stays_until_it_is_not),
		TEST(a_lost_point_can_be_purged),
		TEST(gc_removes_nothing_that_is_listed),
		TEST(nothing_is_left_of_a_purged_series),
		TEST(what_is_due_is_purged_and_nothing_else),
		TEST(without_a_time_in_the_trash_the_next_gc_purges),
		TEST(the_last_point_of_a_series_stays),
		TEST(when_stopped_what_was_told_is_done),
		TEST(a_damaged_row_is_told_and_can_be_purged),
		TEST(verify_checks_what_can_come_back),
		TEST(a_row_that_leads_nowhere_goes),
		TEST(a_store_from_before_the_trash_gets_one),
	};

	return cmocka_run_group_tests_name("trash", tests, NULL, NULL);
}
