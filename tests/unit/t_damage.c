/* SPDX-License-Identifier: MIT */
/*
 * t_damage.c - whatever is damaged in the store's file, what a mount shows is
 * as before, or an input/output error: never other bytes, never a name that is
 * not there any more, never a list that is shorter and says nothing.
 *
 * One damage after the other is done to the file of a small store that has all
 * kinds of things; each time a process of its own looks at everything, so that
 * one that dies or hangs is seen too. Here a sample of them, all of them with
 * CS_TEST_LONG=1.
 */
#include "seen.h"
#include "store/browse.h"
#include "store/db_impl.h"
#include "world.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#define PAGE 4096

/* What the process that looked has to say. */
struct told {
	bool opened;
	struct seen_again again;
	unsigned sound; /* bits of points that verify finds nothing wrong with, by seq */
	bool pages; /* it finds that LMDB's pages are damaged */
	uint64_t findings;
};

static struct told *told;
static struct seen *before;
static uint8_t *whole; /* the file as it should be */
static size_t whole_len;
static int fd; /* of the file that is damaged */
static uint64_t goes; /* a point that writing tests purge */

static bool is_long(void)
{
	return getenv("CS_TEST_LONG") && *getenv("CS_TEST_LONG");
}

/* ---- the store */

static void some_files(unsigned version)
{
	uint8_t text[70000];
	char name[64];

	for (int i = 0; i < 12; i++) {
		size_t len = i < 3 ? 30 : 300 + (size_t)i * 700;
		for (size_t k = 0; k < len; k++)
			text[k] = (uint8_t)("etaoin shrdlu\n"[(k * 7 + k / 13 + (size_t)i) % 14]);
		text[0] = (uint8_t)('0' + (i % 4 == 0 ? version : 0));
		snprintf(name, sizeof(name), "tree/dir%d/file-%02d", i % 3, i);
		world_write(name, text, len);
	}
}

static void make_tree(void)
{
	char name[64], value[2000];

	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "tree/dir%d", i);
		assert_int_equal(mkdir(world_path(name), 0755), 0);
	}
	some_files(0);
	world_random("tree/dir1/large", 1, 300000);
	world_random("tree/dir2/other", 2, 90000);
	world_write("tree/empty", "", 0);
	assert_int_equal(mkdir(world_path("tree/nothing"), 0700), 0);
	world_write("tree/holes", "at the start", 12);
	assert_int_equal(truncate(world_path("tree/holes"), 200000), 0);
	assert_int_equal(symlink("dir1/large", world_path("tree/link")), 0);
	assert_int_equal(link(world_path("tree/dir1/large"), world_path("tree/linked")), 0);
	memset(value, 'v', sizeof(value));
	setxattr(world_path("tree/dir0/file-00"), "user.short", "value", 5, 0);
	setxattr(world_path("tree/dir0/file-03"), "user.long", value, sizeof(value), 0);
}

static uint64_t point_of(struct cs_store *s, const char *series, const char *tag)
{
	struct cs_backup_opts o = { .series = series, .root = world_path("tree"), .force = true,
				    .tags = &tag, .ntags = tag ? 1 : 0 };
	struct cs_backup_result r;

	assert_int_equal(cs_backup(s, &o, &r, NULL), CS_OK);
	return r.point.seq;
}

/* Two series with several points, deltas, chunks that gc has moved, a point in the trash. */
static void make_store(void)
{
	const struct cs_forget_opts keep = { 0 };
	struct cs_store *s = world_open();
	uint64_t old, trashed;

	make_tree();
	world_random("tree/dir0/goes", 3, 120000);
	old = point_of(s, "web01", NULL);
	assert_int_equal(unlink(world_path("tree/dir0/goes")), 0);
	some_files(1);
	point_of(s, "web01", "tagged");
	some_files(2);
	point_of(s, "web01", NULL);
	trashed = point_of(s, "db", NULL);
	goes = point_of(s, "db", "tagged");
	world_purge(s, old);
	assert_int_equal(cs_points_forget(s, &trashed, 1, &keep, NULL), CS_OK);
	world_gc(s);
	world_verify(s);
	cs_store_close(s);
}

/* ---- looking at it */

static void ignore_line(void *arg, const char *line)
{
	(void)arg;
	if (getenv("CS_TEST_SHOW"))
		fprintf(stderr, "# %s\n", line);
}

static bool writing;    /* write, instead of looking */
static bool with_zeros; /* look with damaged=zeros */

static int open_view(struct cs_store **s, struct cs_view **v)
{
	const struct cs_view_opts o = { .log = ignore_line, .zeros = with_zeros };
	struct cs_error err;
	int rc = cs_store_open(world_path("store"), NULL, s, &err);

	if (rc != CS_OK)
		ignore_line(NULL, err.text);
	return rc == CS_OK ? cs_view_open(*s, &o, v, &err) : rc;
}

/* In a process of its own: the test's handlers would go on with the next test. */
static void guard_alone(void)
{
	static const int deadly[] = { SIGSEGV, SIGBUS, SIGABRT, SIGFPE, SIGILL, SIGALRM };

	for (size_t i = 0; i < sizeof(deadly) / sizeof(deadly[0]); i++)
		signal(deadly[i], SIG_DFL);
	cs_db_guard_install();
	alarm(20);
}

static void look(void)
{
	struct cs_store *s;
	struct cs_view *v;

	guard_alone();
	if (open_view(&s, &v) != CS_OK)
		_exit(0);
	told->opened = true;
	seen_compare(before, v, with_zeros, &told->again);
	cs_view_close(v);
	cs_store_close(s);
	_exit(0);
}

/* The sum over damages of a kind. */
struct sum {
	unsigned damages, harmless, partly, refused, wrong;
	unsigned by_chance; /* see write_there */
	char first[640];
};

/* Nothing is wrong while why is empty. */
static void note_wrong(struct sum *sum, const char *what, const char *why)
{
	if (*why && sum->wrong++ == 0)
		snprintf(sum->first, sizeof(sum->first), "%s: %s", what, why);
	if (*why && getenv("CS_TEST_SHOW"))
		fprintf(stderr, "# %s: %s\n", what, why);
}

/* ---- what is sound */

#define SEQS 16
static struct cs_point points[SEQS]; /* by seq, of the whole store */

static void note_point(void *arg, const struct cs_finding *f)
{
	unsigned *hurt = arg;
	told->pages |= strcmp(f->id, "pages-damaged") == 0;
	char name[CS_SERIES_MAX + CS_POINT_NAME_MAX + 8];

	for (size_t i = 0; i < f->nsample; i++)
		for (unsigned seq = 1; seq < SEQS; seq++) {
			size_t n = (size_t)snprintf(name, sizeof(name), "%s/%s", points[seq].series,
						    points[seq].name);
			if (points[seq].seq && strncmp(f->sample[i], name, n) == 0 &&
			    (f->sample[i][n] == ':' || !f->sample[i][n]))
				*hurt |= 1u << seq;
			snprintf(name, sizeof(name), "point number %u", seq);
			if (strcmp(f->sample[i], name) == 0)
				*hurt |= 1u << seq;
		}
}

static void find_sound(void)
{
	unsigned hurt = 0;
	struct cs_verify_opts o = { .finding = note_point, .arg = &hurt, .sample = 10000,
				    .threads = 1 };
	struct cs_verify_result r = { 0 };
	struct cs_store *s;
	struct cs_error err;

	guard_alone();
	told->findings = 1;
	if (cs_store_open(world_path("store"), NULL, &s, NULL) != CS_OK)
		_exit(0);
	int rc = cs_verify(s, &o, &r, &err);
	for (unsigned seq = 1; seq < SEQS && (rc == CS_OK || r.findings); seq++) {
		struct cs_tree *t;
		if (!points[seq].seq || hurt >> seq & 1 ||
		    cs_tree_open_kept(s, seq, false, &t, NULL) != CS_OK)
			continue;
		told->sound |= 1u << seq;
		cs_tree_close(t);
	}
	told->findings = rc == CS_OK ? 0 : r.findings ? r.findings : 1;
	cs_store_close(s);
	_exit(0);
}

static int in_child(void (*fn)(void))
{
	int status = 0;

	fflush(NULL);
	pid_t pid = fork();
	if (pid == 0)
		fn();
	assert_true(pid > 0 && waitpid(pid, &status, 0) == pid);
	return status;
}

static unsigned what_is_sound(int *status)
{
	memset(told, 0, sizeof(*told));
	*status = in_child(find_sound);
	return told->sound;
}

/* A backup; a point that goes, and a gc: each is done, or fails. */
static void write_something(void)
{
	const struct cs_open_opts o = { .flags = CS_OPEN_WRITE };
	const struct cs_forget_opts purge = { .purge = true };
	struct cs_backup_opts b = { .series = "db", .root = world_path("tree"), .force = true };
	struct cs_backup_result done;
	struct cs_gc_result gone;
	struct cs_store *s;

	guard_alone();
	if (!getenv("CS_TEST_SHOW"))
		assert_non_null(freopen("/dev/null", "w", stderr));
	if (cs_store_open(world_path("store"), &o, &s, NULL) != CS_OK)
		_exit(1);
	int failed = cs_backup(s, &b, &done, NULL) != CS_OK;
	failed |= cs_points_forget(s, &goes, 1, &purge, NULL) != CS_OK;
	failed |= cs_gc(s, &(struct cs_gc_opts){ 0 }, &gone, NULL) != CS_OK;
	cs_store_close(s);
	_exit(failed);
}

/*
 * Is what was sound still so? A row's address may lead out of its page, to where
 * another page happens to have what an older copy of this one had: then that is read,
 * until the other page is written to. Verify says of the pages that they are damaged.
 */
static void write_there(struct sum *sum, const char *what)
{
	int status, after;
	unsigned sound = what_is_sound(&after) & ~(1u << goes), still;
	bool known = told->pages;
	char why[600] = "";

	if (after)
		snprintf(why, sizeof(why), "verify before it: %x", (unsigned)after);
	status = in_child(write_something);
	still = what_is_sound(&after);
	sum->damages++;
	if (WIFSIGNALED(status) || WEXITSTATUS(status) > 1)
		snprintf(why, sizeof(why), "ended with %x", (unsigned)status);
	else if (after)
		snprintf(why, sizeof(why), "verify after it: %x", (unsigned)after);
	else if (sound & ~still && known)
		sum->by_chance++;
	else if (sound & ~still)
		snprintf(why, sizeof(why), "of the points %x were sound, now %x", sound, still);
	else if (status)
		sum->partly++;
	else
		sum->harmless++;
	note_wrong(sum, what, why);
}

/* With the file as it is now: a new process opens it and looks at everything. */
static void look_again(struct sum *sum, const char *what)
{
	char why[600] = "";

	memset(told, 0, sizeof(*told));
	int status = in_child(look);
	sum->damages++;
	if (status)
		snprintf(why, sizeof(why), "ended with %s %d", WIFSIGNALED(status) ? "signal" : "status",
			 WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
	else if (told->again.wrong)
		snprintf(why, sizeof(why), "%s", told->again.first);
	else if (!told->opened)
		sum->refused++;
	else if (told->again.failed)
		sum->partly++;
	else
		sum->harmless++;
	note_wrong(sum, what, why);
}

static void no_wrong_answers(const struct sum *sum, const char *what)
{
	printf("# %s: %u damages; %u met nothing, %u partly unreadable, %u refused, %u wrong\n", what,
	       sum->damages, sum->harmless, sum->partly, sum->refused, sum->wrong);
	if (sum->wrong)
		fail_msg("%u of %u: first %s", sum->wrong, sum->damages, sum->first);
}

/* ---- damages */

static void put(size_t at, const void *data, size_t len)
{
	assert_true(pwrite(fd, data, len, (off_t)at) == (ssize_t)len);
}

static void heal(size_t at, size_t len)
{
	if (writing) {
		assert_int_equal(ftruncate(fd, (off_t)whole_len), 0);
		put(0, whole, whole_len);
	} else {
		put(at, whole + at, len);
	}
}

static void flip(struct sum *sum, size_t at, unsigned bit, const char *of)
{
	uint8_t byte = whole[at] ^ (uint8_t)(1u << bit);
	char what[128];

	snprintf(what, sizeof(what), "%s: byte %zu, bit %u", of, at, bit);
	put(at, &byte, 1);
	if (writing)
		write_there(sum, what);
	else
		look_again(sum, what);
	heal(at, 1);
}

/* Rows of all tables: where they lie. "" is the table of tables. */
struct row {
	char table[16];
	size_t key, key_len, value, value_len;
};
static struct row *rows;
static size_t nrows;

static const uint8_t *map_of_file(void)
{
	char line[512];
	unsigned long from = 0;
	FILE *f = fopen("/proc/self/maps", "re");

	assert_non_null(f);
	while (!from && fgets(line, sizeof(line), f))
		if (strstr(line, "/data.mdb"))
			sscanf(line, "%lx", &from);
	fclose(f);
	return (const uint8_t *)from;
}

static void rows_of(MDB_txn *txn, MDB_dbi dbi, const char *table, const uint8_t *map)
{
	MDB_cursor *c;
	MDB_val k, v;

	assert_int_equal(mdb_cursor_open(txn, dbi, &c), 0);
	while (mdb_cursor_get(c, &k, &v, MDB_NEXT) == 0) {
		rows = realloc(rows, (nrows + 1) * sizeof(*rows));
		assert_non_null(rows);
		rows[nrows] = (struct row){ .key = (size_t)((uint8_t *)k.mv_data - map),
					    .key_len = k.mv_size,
					    .value = (size_t)((uint8_t *)v.mv_data - map),
					    .value_len = v.mv_size };
		snprintf(rows[nrows++].table, sizeof(rows->table), "%s", table);
	}
	mdb_cursor_close(c);
}

static void find_rows(void)
{
	static const char *const tables[] = { "meta", "bundles", "index", "moved", "points",
					      "series", "series_ids", "catalog", "ids", "trash" };
	MDB_env *env;
	MDB_txn *txn;
	MDB_dbi dbi;

	assert_int_equal(mdb_env_create(&env), 0);
	mdb_env_set_maxdbs(env, 16);
	mdb_env_set_mapsize(env, 1 << 30);
	assert_int_equal(mdb_env_open(env, world_path("store"), MDB_RDONLY, 0600), 0);
	assert_int_equal(mdb_txn_begin(env, NULL, MDB_RDONLY, &txn), 0);
	const uint8_t *map = map_of_file();
	assert_non_null(map);
	assert_int_equal(mdb_dbi_open(txn, NULL, 0, &dbi), 0);
	rows_of(txn, dbi, "", map);
	for (size_t i = 0; i < sizeof(tables) / sizeof(tables[0]); i++) {
		assert_int_equal(mdb_dbi_open(txn, tables[i], 0, &dbi), 0);
		rows_of(txn, dbi, tables[i], map);
	}
	mdb_txn_abort(txn);
	mdb_env_close(env);
}

/* ---- the tests */

/* Every row of every table, one bit of its value and one of its key; of short ones each byte. */
static void a_damaged_row(void **state)
{
	const unsigned short_ones = is_long() ? 1 : 4;
	struct rng r = rng_start();
	struct sum sum = { 0 };

	(void)state;
	for (size_t i = 0; i < nrows; i++) {
		const struct row *w = &rows[i];
		char what[64];
		bool index = strcmp(w->table, "index") == 0;
		if (index && !is_long() && i % 16)
			continue;
		unsigned n = is_long() ? 16 : 1;
		if (w->value_len > n * 32768) /* there are several bundles in it */
			n = (unsigned)(w->value_len / 32768);
		snprintf(what, sizeof(what), "%s, row %zu, value", *w->table ? w->table : "tables", i);
		for (size_t k = 0; k < n || (w->value_len <= 64 && !index && k < w->value_len);
		     k += k < n ? 1 : short_ones)
			flip(&sum, w->value + (w->value_len <= 64 ? k % w->value_len :
						rng_below(&r, w->value_len)),
			     (unsigned)rng_below(&r, 8), what);
		snprintf(what, sizeof(what), "%s, row %zu, key", *w->table ? w->table : "tables", i);
		for (size_t k = 0; k < (is_long() ? w->key_len : n); k++)
			flip(&sum, w->key + (is_long() ? k : rng_below(&r, w->key_len)),
			     (unsigned)rng_below(&r, 8), what);
	}
	no_wrong_answers(&sum, "bits of rows");
}

/*
 * A value of any length: in its row of a page, 4 bytes, then 2 of flags and 2 of the
 * key's length, come before the key.
 */
static void a_value_of_any_length(void **state)
{
	static const uint32_t lengths[] = { UINT32_MAX, INT32_MAX, 65u << 20, 1u << 20, 0 };
	struct sum sum = { 0 };
	uint16_t key_len;

	(void)state;
	for (size_t i = 0; i < nrows; i++) {
		const struct row *w = &rows[i];
		memcpy(&key_len, whole + w->key - sizeof(key_len), sizeof(key_len));
		if (key_len != w->key_len || (i && w->key == w[-1].key))
			continue; /* there is one for all values of a key */
		for (size_t k = 0; k < sizeof(lengths) / sizeof(lengths[0]); k++) {
			char what[64];
			snprintf(what, sizeof(what), "%s, row %zu, length %u",
				 *w->table ? w->table : "tables", i, lengths[k]);
			put(w->key - 8, &lengths[k], sizeof(lengths[k]));
			look_again(&sum, what);
			heal(w->key - 8, sizeof(lengths[k]));
		}
	}
	assert_true(sum.damages > 100);
	no_wrong_answers(&sum, "lengths of values");
}

/* Not a page of a long value, whose bytes from the second page on are just bytes. */
static bool has_rows(size_t at)
{
	uint64_t number;

	memcpy(&number, whole + at, sizeof(number));
	return number == at / PAGE && whole[at + 10] & 3;
}

/* The first bytes of a page say how it is to be read; in a branch page all do. */
static void a_damaged_page(void **state)
{
	struct rng r = rng_start();
	struct sum heads = { 0 }, bits = { 0 };

	(void)state;
	for (size_t at = 0; at < whole_len; at += PAGE) {
		bool of_rows = has_rows(at);
		if (!of_rows && at >= 2 * PAGE && !is_long())
			continue;
		size_t head = of_rows || at < 2 * PAGE ? (is_long() ? 128 : 24) : 16;
		for (size_t k = 0; k < head; k++)
			for (unsigned bit = 0; bit < 8; bit++)
				if (is_long() || rng_below(&r, 16) == 0)
					flip(&heads, at + k, bit, "page");
		for (unsigned k = 0; k < (is_long() ? 128 : 2); k++)
			flip(&bits, at + rng_below(&r, PAGE), (unsigned)rng_below(&r, 8), "page");
	}
	no_wrong_answers(&heads, "bits of heads of pages");
	no_wrong_answers(&bits, "bits of pages");
}

/*
 * How many rows a page has is (lower - 16) / 2, of a number without sign: two thousand million,
 * if lower is less than 16; they may all be the same one, if its flags say that they have no
 * place of their own, and no length. LMDB would look for a key in circles.
 */
static void a_page_of_too_many_rows(void **state)
{
	struct sum sum = { 0 };

	(void)state;
	for (size_t at = 2 * PAGE; at < whole_len; at += PAGE) {
		if (!has_rows(at))
			continue;
		for (unsigned k = 0; k < 8; k++) {
			uint8_t head[16];
			char what[64];
			memcpy(head, whole + at, sizeof(head));
			head[12] = k & 1 ? 14 : 0; /* lower */
			head[13] = 0;
			if (k & 2)
				head[8] = head[9] = 0; /* length of a key */
			if (k & 4)
				head[10] |= 0x22; /* flags: a leaf that has nothing but keys */
			put(at, head, sizeof(head));
			snprintf(what, sizeof(what), "page %zu, rows %x", at / PAGE, k);
			look_again(&sum, what);
		}
		heal(at, PAGE);
	}
	assert_true(sum.damages > 100);
	no_wrong_answers(&sum, "pages with too many rows");
}

static void a_page_of_zeros(void **state)
{
	static const uint8_t zeros[PAGE];
	uint8_t noise[PAGE];
	struct rng r = rng_start();
	struct sum zeroed = { 0 }, noisy = { 0 }, swapped = { 0 };
	char what[64];

	(void)state;
	for (size_t at = 0; at < whole_len; at += PAGE) {
		if (!is_long() && at >= 2 * PAGE && !has_rows(at) && rng_below(&r, 8))
			continue;
		snprintf(what, sizeof(what), "page %zu", at / PAGE);
		put(at, zeros, PAGE);
		look_again(&zeroed, what);
		rng_bytes(&r, noise, PAGE);
		put(at, noise, PAGE);
		look_again(&noisy, what);
		/* not what the page was before: that is sound, too, and only old */
		put(at, whole + rows[rng_below(&r, nrows)].key / PAGE * PAGE, PAGE);
		look_again(&swapped, what);
		heal(at, PAGE);
	}
	no_wrong_answers(&zeroed, "pages of zeros");
	no_wrong_answers(&noisy, "pages of noise");
	no_wrong_answers(&swapped, "pages with another's bytes");
}

/* Each bundle: with zeros, all can be read of data; of other bundles nothing else than without. */
static void zeros_for_damaged_content(void **state)
{
	struct sum sum = { 0 };
	unsigned some = 0;

	(void)state;
	for (size_t i = 0; i < nrows; i++) {
		if (strcmp(rows[i].table, "bundles") != 0)
			continue;
		with_zeros = false;
		flip(&sum, rows[i].value + rows[i].value_len - 1, 0, "bundle");
		struct seen_again eio = told->again;
		assert_int_equal(eio.zeroed, 0);
		with_zeros = true;
		flip(&sum, rows[i].value + rows[i].value_len - 1, 0, "bundle, zeros");
		if (told->again.wrong)
			break;
		bool data = whole[rows[i].value + 12] == 1;
		some += told->again.zeroed;
		/* values of attributes are not content */
		if (data && (told->again.failed_names || told->again.failed > 3 ||
			     told->again.zeroed + told->again.failed != eio.failed))
			fail_msg("row %zu: %u failed, %u zeroed, not %u", i, told->again.failed,
				 told->again.zeroed, eio.failed);
		else if (!data && told->again.failed_names != eio.failed_names)
			fail_msg("row %zu: %u names failed, not %u", i, told->again.failed_names,
				 eio.failed_names);
	}
	with_zeros = false;
	no_wrong_answers(&sum, "bundles, with zeros");
	assert_true(some > 3);
}

static void a_shorter_file(void **state)
{
	struct sum sum = { 0 };
	char what[64];

	(void)state;
	for (size_t len = 0; len < whole_len; len += is_long() ? 1024 : 5 * PAGE + 512) {
		snprintf(what, sizeof(what), "%zu bytes", len);
		assert_int_equal(ftruncate(fd, (off_t)len), 0);
		look_again(&sum, what);
		put(len, whole + len, whole_len - len);
	}
	no_wrong_answers(&sum, "shorter files");
}

/* Writing commands, with damage in the pages that they change: what was sound stays so. */
static void damage_where_is_written(void **state)
{
	struct rng r = rng_start();
	struct sum bits = { 0 }, zeroed = { 0 }, numbers = { 0 };
	static const uint8_t zeros[PAGE];
	int status;

	(void)state;
	assert_int_equal(__builtin_popcount(what_is_sound(&status)), 4);
	writing = true;
	for (size_t at = 0; at < whole_len; at += PAGE) {
		if (!has_rows(at) && at >= 2 * PAGE)
			continue;
		for (unsigned k = 0; k < (is_long() ? 200 : 1); k++)
			flip(&bits, at + rng_below(&r, k % 2 ? 48 : PAGE), (unsigned)rng_below(&r, 8),
			     "page");
		if (!is_long() && at / PAGE % 4)
			continue;
		put(at, zeros, PAGE);
		write_there(&zeroed, "page of zeros");
		heal(at, PAGE);
	}
	/* the number of a bundle that becomes less than those before it, or 0 */
	for (size_t i = 0; i < nrows; i++)
		for (unsigned bit = is_long() ? 0 : 4; bit < 8; bit += is_long() ? 1 : 3)
			if (strcmp(rows[i].table, "bundles") == 0)
				flip(&numbers, rows[i].key + 7, bit, "number");
	writing = false;
	no_wrong_answers(&numbers, "numbers where is written");
	no_wrong_answers(&bits, "bits where is written");
	no_wrong_answers(&zeroed, "pages of zeros where is written");
	assert_true(bits.by_chance * 100 <= bits.damages && zeroed.by_chance == 0);
}

/*
 * A page as it was before the last backup, as a disk leaves it that has lost a write: it is
 * sound, only old. Verify notices it, or all that a mount shows is right.
 */
static void a_write_that_was_lost(void **state)
{
	struct cs_store *s = world_open();
	struct cs_view *v;
	struct stat st;
	struct sum sum = { 0 };
	struct seen *old = before;
	unsigned noticed = 0, unseen = 0;
	char what[64] = "", first[64] = "";
	int status;

	(void)state;
	some_files(5);
	world_random("tree/dir1/large", 9, 250000);
	point_of(s, "db", NULL);
	world_gc(s);
	cs_store_close(s);
	assert_int_equal(open_view(&s, &v), 0);
	before = seen_all(v);
	cs_view_close(v);
	cs_store_close(s);
	assert_int_equal(fstat(fd, &st), 0);
	uint8_t *now = malloc((size_t)st.st_size);
	assert_true(now && pread(fd, now, (size_t)st.st_size, 0) == st.st_size);
	for (size_t at = 2 * PAGE; at + PAGE <= (size_t)st.st_size; at += PAGE) {
		static const uint8_t none[PAGE];
		const uint8_t *was = at + PAGE <= whole_len ? whole + at : none;
		if (memcmp(was, now + at, PAGE) == 0)
			continue;
		snprintf(what, sizeof(what), "page %zu", at / PAGE);
		put(at, was, PAGE);
		what_is_sound(&status);
		bool found = told->findings != 0;
		assert_int_equal(status, 0);
		unsigned right = sum.harmless;
		look_again(&sum, what);
		noticed += found;
		if (!found && sum.harmless == right && unseen++ == 0)
			snprintf(first, sizeof(first), "%s", what);
		put(at, now + at, PAGE);
	}
	free(now);
	seen_free(before);
	before = old;
	assert_int_equal(ftruncate(fd, (off_t)whole_len), 0);
	put(0, whole, whole_len);
	no_wrong_answers(&sum, "lost writes");
	printf("# %u lost writes, %u noticed by verify, %u unseen and not harmless %s\n", sum.damages,
	       noticed, unseen, first);
	assert_int_equal(unseen, 0);
	assert_true(noticed > 0);
}

/* After it was brought into memory, and before it was read. */
static void a_value_that_is_cut_off(void **state)
{
	static uint8_t copy[4 << 20];
	const struct row *w = NULL;
	struct cs_slice v;
	struct cs_txn *t;
	struct cs_db *db;

	(void)state;
	for (size_t i = 0; i < nrows; i++)
		if (strcmp(rows[i].table, "bundles") == 0 && (!w || rows[i].value_len > w->value_len))
			w = &rows[i];
	assert_non_null(w);
	assert_true(w->value_len > 100000 && w->value_len <= sizeof(copy));
	const struct cs_slice key = { whole + w->key, w->key_len };
	assert_int_equal(cs_db_open(world_path("store"), CS_DB_READ, &db, NULL), CS_OK);
	cs_db_guard_install(); /* the test has handlers of its own */
	for (int round = 0; round < 3; round++) {
		assert_int_equal(cs_txn_read(db, &t, NULL), CS_OK);
		assert_int_equal(cs_db_get(t, CS_T_BUNDLES, key, &v, NULL), 1);
		assert_int_equal(cs_db_load(v, NULL), CS_OK);
		memcpy(copy, v.data, v.len);
		assert_int_equal(cs_db_intact(NULL), CS_OK);
		assert_memory_equal(copy, whole + w->value, w->value_len);

		assert_int_equal(ftruncate(fd, (off_t)(w->value + 50000)), 0);
		memcpy(copy, v.data, v.len);
		assert_int_equal(cs_db_intact(NULL), CS_E_IO);
		assert_memory_equal(copy, whole + w->value, 40000);
		assert_int_equal(copy[w->value_len - 1] | copy[w->value_len - 2], 0);
		put(w->value + 50000, whole + w->value + 50000, whole_len - w->value - 50000);
		cs_txn_end(t);
	}
	cs_db_close(db);
}

/* ---- */

static int setup(void **state)
{
	struct cs_store *s;
	struct cs_view *v;
	struct stat st;

	if (world_begin(state) != 0)
		return -1;
	make_store();
	find_rows();
	assert_int_equal(open_view(&s, &v), 0);
	before = seen_all(v);
	cs_view_close(v);
	for (uint64_t seq = 1; seq < SEQS; seq++) {
		struct cs_tree *t;
		if (cs_tree_open_kept(s, seq, false, &t, NULL) != CS_OK)
			continue;
		points[seq] = t->point;
		cs_tree_close(t);
	}
	cs_store_close(s);
	fd = open(world_path("store/data.mdb"), O_RDWR | O_CLOEXEC);
	assert_true(fd >= 0 && fstat(fd, &st) == 0);
	whole_len = (size_t)st.st_size / PAGE * PAGE;
	whole = malloc(whole_len);
	assert_true(whole && pread(fd, whole, whole_len, 0) == (ssize_t)whole_len);
	told = mmap(NULL, sizeof(*told), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	assert_true(told != MAP_FAILED);
	printf("# %zu bytes, %zu rows\n", whole_len, nrows);
	return 0;
}

static int teardown(void **state)
{
	close(fd);
	free(whole);
	free(rows);
	seen_free(before);
	return world_end(state);
}

/* The test tests itself: what was not damaged is as before, all of it. */
static void nothing_is_damaged(void **state)
{
	struct sum sum = { 0 };

	(void)state;
	look_again(&sum, "nothing");
	assert_int_equal(sum.harmless, 1);
	assert_true(told->again.same > 200);
	assert_int_equal(told->again.failed, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nothing_is_damaged),
		cmocka_unit_test(a_damaged_row),
		cmocka_unit_test(a_value_of_any_length),
		cmocka_unit_test(a_damaged_page),
		cmocka_unit_test(a_page_of_too_many_rows),
		cmocka_unit_test(a_page_of_zeros),
		cmocka_unit_test(zeros_for_damaged_content),
		cmocka_unit_test(a_shorter_file),
		cmocka_unit_test(a_value_that_is_cut_off),
		cmocka_unit_test(a_write_that_was_lost),
		cmocka_unit_test(damage_where_is_written),
	};
	cmocka_set_test_filter(getenv("CS_TEST_ONLY"));
	return cmocka_run_group_tests(tests, setup, teardown);
}
