/* SPDX-License-Identifier: MIT */
/*
 * db_space.c - LMDB's free pages are given back to the file system while
 * everybody works on.
 *
 * LMDB never makes its file smaller. What a transaction frees goes into the
 * free list (db_free.c). Here the bytes of such pages are replaced by holes.
 *
 * Why no byte can be lost. Let L be the last committed transaction and R the
 * oldest snapshot that a reader has open. While we hold the writer lock:
 *   - nobody commits, so L and its free list stay as they are, and whoever
 *     begins to read now reads L;
 *   - the next writer, L + 1, may take every page of the records with an id
 *     below min(L, R) and write to it whatever it likes, before it commits;
 *     then it may be killed, or the power may fail, and the store must still
 *     be whole. That is LMDB's own rule for reuse, on which its safety rests.
 * So nothing depends on the bytes of these pages: no open snapshot, neither
 * meta page (they are L and L - 1: a page in a record below L was given up by
 * L - 1 or before), no recovery. To make a hole is to write zeroes there and
 * then give up, like that writer. The same goes for a call that was cut off
 * half-way, and for what is behind the last page that L knows: only writers
 * that died have written there. When the next writer does take such a page, it
 * writes it as a whole, and the file system gives it blocks again; a page that
 * was never written may even lie behind the end of the file, in LMDB as well.
 *
 * R comes from mdb_reader_list. A reader enters its snapshot there and then
 * looks whether it is still the last one; one that has not got so far ends up
 * with L, or with a snapshot that is in the list already. Slots of processes
 * that died are cleared first. If the list cannot be understood, nothing is
 * punched.
 *
 * The list and the file may be damaged or forged: pages are checked to lie in
 * the file, behind the meta pages, in order and only once. A list that names
 * a page in use cannot be told apart; LMDB would overwrite that page as well.
 *
 * Bounds: a step holds the writer lock for opts->step_ms, and looks through the
 * whole list for each WINDOW of the file. Pages that are holes already are
 * passed over by SEEK_DATA, so a second run costs next to nothing.
 *
 * Some pages keep their blocks, those that LMDB will take first: on a disk
 * that somebody else has filled meanwhile, forget and gc must still be able to
 * write their first transactions.
 */
#include "db_impl.h"

#include "alloc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#define STEP_MS 100
#define WINDOW (1ull << 23)            /* pages: a bit each */
#define CALL_BYTES ((off_t)64 << 20)   /* in one call: the kernel drops them from its cache too */
#define META_PAGES 2
#define KEEP_MIN 256                   /* pages */
#define KEEP_MAX 4096

/* ---- who reads */

struct readers {
	uint64_t oldest;
	bool bad;
};

/* A line of mdb_reader_list: a heading, or process, thread and snapshot, "-" for none. */
static int on_reader(const char *line, void *arg)
{
	struct readers *r = arg;
	int pid;
	size_t thread, id;
	char end, dash;
	if (strstr(line, "pid") || strstr(line, "no active readers"))
		return 0;
	if (sscanf(line, "%d %zx %zu%c", &pid, &thread, &id, &end) == 4 && end == '\n') {
		if (id < r->oldest)
			r->oldest = id;
	} else if (sscanf(line, "%d %zx %c%c", &pid, &thread, &dash, &end) != 4 || dash != '-') {
		r->bad = true;
	}
	return 0;
}

/* ---- a step */

struct step {
	struct cs_db *db;
	const struct cs_punch_opts *opts;
	struct cs_punch *p;
	MDB_txn *txn;   /* the snapshot L */
	uint64_t last;  /* L */
	uint64_t limit; /* ids below it are free for the next writer */
	uint64_t known; /* pages that L knows */
	uint64_t pages; /* of them, in the file */
	uint64_t psize, block; /* of LMDB; of the file system, in pages */
	int fd;
	struct timespec start;
	uint64_t calls;
	/* the window */
	uint64_t lo, hi;
	uint64_t *bits;
	uint64_t keep_left; /* while the list is walked */
	bool with_kept;     /* count what is kept as free too */
	/* the pages that keep their blocks */
	uint64_t *keep;
	size_t nkeep;
};

uint64_t cs_db_ns_since(const struct timespec *t)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)(now.tv_sec - t->tv_sec) * 1000000000u + (uint64_t)now.tv_nsec -
	       (uint64_t)t->tv_nsec;
}

static bool is_over(const struct step *s)
{
	uint64_t ms = s->opts->step_ms ? s->opts->step_ms : STEP_MS;
	return cs_db_ns_since(&s->start) >= ms * 1000000 ||
	       (s->opts->max_calls && s->calls >= s->opts->max_calls);
}

/* How many of a record's pages, of those taken up so far, are kept: the last in it, the lowest. */
static uint64_t kept_of(struct step *s, const struct cs_freed *f)
{
	uint64_t n = f->n < s->keep_left ? f->n : s->keep_left;
	s->keep_left -= n;
	return n;
}

static int sum_up(void *arg, const struct cs_freed *f)
{
	struct step *s = arg;
	uint64_t bytes = f->n * s->psize;
	s->p->free_bytes += bytes;
	if (f->id >= s->last)
		s->p->late_bytes += bytes;
	else if (f->id >= s->limit)
		s->p->held_bytes += bytes;
	return 0;
}

/* Note the pages that keep their blocks: the first that LMDB will take. */
static int note_kept(void *arg, const struct cs_freed *f)
{
	struct step *s = arg;
	if (f->id >= s->limit)
		return 0;
	for (uint64_t n = kept_of(s, f), i = 0; i < n; i++)
		s->keep[s->nkeep++] = cs_freed_page(f, f->n - 1 - i);
	return 0;
}

/* Set the bits of a record's pages that lie in the window. */
static int mark_free(void *arg, const struct cs_freed *f)
{
	struct step *s = arg;
	if (f->id >= s->limit)
		return 0;
	uint64_t n = f->n - (s->with_kept ? 0 : kept_of(s, f)), before = s->hi;
	for (uint64_t i = cs_freed_from(f, s->hi); i < n; i++) {
		uint64_t page = cs_freed_page(f, i);
		if (page < s->lo)
			break;
		uint64_t bit = page - s->lo;
		if (page >= before || page < META_PAGES ||
		    (s->bits[bit / 64] & 1ull << bit % 64))
			return MDB_CORRUPTED;
		before = page;
		s->bits[bit / 64] |= 1ull << bit % 64;
	}
	return 0;
}

static uint64_t keep_pages(const struct step *s)
{
	if (s->opts->keep_nothing)
		return 0;
	uint64_t n = s->p->used_pages / 64;
	return n < KEEP_MIN ? KEEP_MIN : n < KEEP_MAX ? n : KEEP_MAX;
}

/* Look at the list. */
static int survey(struct step *s)
{
	s->p->free_bytes = s->p->late_bytes = s->p->held_bytes = 0;
	int rc = cs_freed_walk(s->txn, sum_up, s);
	uint64_t free_pages = s->p->free_bytes / s->psize;
	s->p->used_pages = free_pages < s->known ? s->known - free_pages : 0;
	s->keep_left = keep_pages(s);
	s->nkeep = 0;
	if (rc == 0 && s->keep_left)
		rc = cs_freed_walk(s->txn, note_kept, s);
	s->p->kept_bytes = s->nkeep * s->psize;
	return rc;
}

static int mark_window(struct step *s)
{
	memset(s->bits, 0, WINDOW / 8);
	s->keep_left = s->nkeep;
	return cs_freed_walk(s->txn, mark_free, s);
}

static int look_at_window(struct step *s, uint64_t lo, bool with_kept, struct cs_error *err)
{
	s->lo = lo;
	s->hi = s->pages - lo < WINDOW ? s->pages : lo + WINDOW;
	s->with_kept = with_kept;
	int rc = mark_window(s);
	return rc ? cs_db_fail(s->db, rc, "list of free pages", err) : CS_OK;
}

static bool is_free(const struct step *s, uint64_t page)
{
	uint64_t bit = page - s->lo;
	return s->bits[bit / 64] & 1ull << bit % 64;
}

/* The next run of free pages [*a, *b) in the window, whole blocks of the file system. */
static bool next_run(const struct step *s, uint64_t from, uint64_t *a, uint64_t *b)
{
	for (uint64_t page = from; page < s->hi;) {
		if (!is_free(s, page)) {
			uint64_t bit = page - s->lo, word = s->bits[bit / 64] >> bit % 64;
			page += word ? (uint64_t)__builtin_ctzll(word) : 64 - bit % 64;
			continue;
		}
		uint64_t end = page;
		while (end < s->hi && is_free(s, end))
			end++;
		*a = (page + s->block - 1) / s->block * s->block;
		*b = end / s->block * s->block;
		if (*a < *b)
			return true;
		page = end;
	}
	return false;
}

static int punch(struct step *s, off_t from, off_t to, struct cs_error *err)
{
	int rc;
	s->calls++;
	s->p->calls++;
	do
		rc = fallocate(s->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, from, to - from);
	while (rc != 0 && errno == EINTR);
	if (rc == 0)
		return CS_OK;
	if (errno != EOPNOTSUPP && errno != ENOSYS)
		return cs_fail_errno(err, errno, "store %s: cannot give space back", s->db->dir);
	s->p->unsupported = true;
	return CS_OK;
}

/* Punch [a, b), or as much as the step has time for; next_page tells how far we came. */
static int punch_run(struct step *s, uint64_t a, uint64_t b, struct cs_error *err)
{
	off_t at = (off_t)(a * s->psize), end = (off_t)(b * s->psize);
	while (at < end && !is_over(s) && !s->p->unsupported) {
		off_t unit = (off_t)(s->block * s->psize);
		off_t data = lseek(s->fd, at, SEEK_DATA);
		if (data < 0 && errno == ENXIO) /* holes up to the end of the file */
			data = (off_t)(s->pages * s->psize);
		if (data > at)
			at = data / unit * unit;
		if (at >= end)
			break;
		off_t stop = end - at > CALL_BYTES ? at + CALL_BYTES : end;
		int rc = punch(s, at, stop, err);
		if (rc != CS_OK)
			return rc;
		at = stop;
	}
	s->p->next_page = (uint64_t)at / s->psize;
	return CS_OK;
}

static int punch_window(struct step *s, struct cs_error *err)
{
	uint64_t a, b;
	int rc = look_at_window(s, s->p->next_page, false, err);
	while (rc == CS_OK && !is_over(s) && !s->p->unsupported) {
		if (!next_run(s, s->p->next_page, &a, &b)) {
			s->p->next_page = s->hi;
			break;
		}
		rc = punch_run(s, a, b, err);
		if (s->p->next_page >= s->hi)
			break;
	}
	return rc;
}

/* ---- the end of the file */

/* *out: the first page of the free run at the end of the file. */
static int find_tail(struct step *s, uint64_t *out, struct cs_error *err)
{
	uint64_t tail = s->pages;
	while (tail > META_PAGES) {
		int rc = look_at_window(s, (tail - 1) / WINDOW * WINDOW, true, err);
		if (rc != CS_OK)
			return rc;
		while (tail > s->lo && is_free(s, tail - 1))
			tail--;
		if (tail > s->lo)
			break;
	}
	*out = tail;
	return CS_OK;
}

/* Behind the last page, or the last one in use, there is nothing to keep. */
static int end_file(struct step *s, uint64_t *tail, struct cs_error *err)
{
	struct stat st;
	int rc = CS_OK;
	*tail = s->known;
	if (s->opts->cut)
		rc = find_tail(s, tail, err);
	if (rc != CS_OK)
		return rc;
	off_t end = (off_t)(*tail * s->psize);
	if (fstat(s->fd, &st) != 0)
		return cs_fail_errno(err, errno, "store %s", s->db->dir);
	if (st.st_size <= end)
		return CS_OK;
	if (!s->opts->cut)
		return s->p->unsupported ? CS_OK : punch(s, end, st.st_size, err);
	s->calls++;
	s->p->calls++;
	if (ftruncate(s->fd, end) != 0)
		return cs_fail_errno(err, errno, "store %s: cannot shorten data.mdb", s->db->dir);
	return CS_OK;
}

/* Give blocks to kept pages that have none. A disk that is full by now has none to give. */
static void fill_kept(struct step *s, uint64_t tail)
{
	for (size_t i = 0; i < s->nkeep; i++) {
		off_t at = (off_t)(s->keep[i] * s->psize);
		if (s->keep[i] < META_PAGES || s->keep[i] >= tail)
			continue;
		if (lseek(s->fd, at, SEEK_DATA) != at &&
		    fallocate(s->fd, FALLOC_FL_KEEP_SIZE, at, (off_t)s->psize) != 0)
			break;
	}
}

/* ---- all of it */

static uint64_t blocks_of(int fd)
{
	struct stat st;
	return fstat(fd, &st) == 0 ? (uint64_t)st.st_blocks * 512 : 0;
}

/* The writer lock is held. */
static int prepare(struct step *s, uint64_t writer, struct cs_error *err)
{
	struct readers r = { .oldest = UINT64_MAX };
	struct statvfs v;
	struct stat st;
	MDB_envinfo info;
	MDB_stat m;
	int rc = mdb_env_get_fd(s->db->env, &s->fd);
	if (rc == 0)
		GUARDED(rc, mdb_env_info(s->db->env, &info));
	if (rc == 0)
		GUARDED(rc, mdb_env_stat(s->db->env, &m));
	if (rc)
		return cs_db_fail(s->db, rc, "free pages", err);
	s->last = mdb_txn_id(s->txn);
	if (mdb_reader_list(s->db->env, on_reader, &r) < 0 || r.bad || s->last + 1 != writer ||
	    info.me_last_txnid != s->last)
		return cs_fail(err, CS_E_CORRUPT,
			       "store %s: the list of readers is not as expected; no space was "
			       "given back", s->db->dir);
	s->limit = r.oldest < s->last ? r.oldest : s->last;
	s->psize = m.ms_psize;
	if (fstat(s->fd, &st) != 0 || fstatvfs(s->fd, &v) != 0)
		return cs_fail_errno(err, errno, "store %s", s->db->dir);
	s->block = v.f_frsize > s->psize && v.f_frsize % s->psize == 0 ? v.f_frsize / s->psize : 1;
	s->known = (uint64_t)info.me_last_pgno + 1;
	if (s->known < META_PAGES || s->known > (1ull << 62) / s->psize)
		return cs_fail(err, CS_E_CORRUPT, "store %s: the meta page is damaged", s->db->dir);
	s->pages = ((uint64_t)st.st_size + s->psize - 1) / s->psize;
	if (s->pages > s->known)
		s->pages = s->known;
	rc = survey(s);
	return rc ? cs_db_fail(s->db, rc, "list of free pages", err) : CS_OK;
}

static int run_step(struct step *s, uint64_t writer, struct cs_error *err)
{
	struct cs_punch *p = s->p;
	uint64_t tail = 0;
	int rc = prepare(s, writer, err);
	if (rc != CS_OK)
		return rc;
	uint64_t before = blocks_of(s->fd);
	while (rc == CS_OK && !is_over(s) && !p->unsupported && p->next_page < s->pages)
		rc = punch_window(s, err);
	if (rc == CS_OK && (p->unsupported || (p->next_page >= s->pages && !is_over(s)))) {
		rc = end_file(s, &tail, err);
		p->end_page = tail;
		if (rc == CS_OK && !p->unsupported)
			fill_kept(s, tail);
		p->done = rc == CS_OK;
	}
	uint64_t after = blocks_of(s->fd);
	p->given_bytes += before > after ? before - after : 0;
	return rc;
}

int cs_db_punch(struct cs_db *db, const struct cs_punch_opts *opts, struct cs_punch *p,
		struct cs_error *err)
{
	struct step s = { .db = db, .opts = opts, .p = p };
	struct cs_txn *writer, *reader;
	int dead, rc;
	if (p->done)
		return CS_OK;
	s.bits = cs_alloc(WINDOW / 8);
	s.keep = cs_alloc(KEEP_MAX * sizeof(*s.keep));
	if (!s.bits || !s.keep) {
		rc = cs_fail(err, CS_E_NOMEM, "out of memory");
		goto out;
	}
	if (p->steps++ == 0)
		mdb_reader_check(db->env, &dead);
	rc = cs_txn_write(db, &writer, err);
	if (rc != CS_OK)
		goto out;
	clock_gettime(CLOCK_MONOTONIC, &s.start);
	rc = cs_txn_read(db, &reader, err);
	if (rc == CS_OK) {
		s.txn = reader->txn;
		rc = run_step(&s, mdb_txn_id(writer->txn), err);
		cs_txn_end(reader);
	}
	uint64_t held = cs_db_ns_since(&s.start);
	cs_txn_end(writer);
	if (held > p->longest_ns)
		p->longest_ns = held;
out:
	free(s.bits);
	free(s.keep);
	return rc;
}
