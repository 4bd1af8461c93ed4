/* SPDX-License-Identifier: MIT */
/*
 * verify.c - read and check everything.
 *
 * First the bundles, by all cores; what cannot be had is known then. On the way the
 * contents of large files are hashed, for which these were looked for before. Then the
 * rows of the index, and then the points, each directory once: what refers to
 * a chunk that cannot be had is named. See verify_impl.h for who does what.
 * It reads as everybody does, in short transactions and with the point it looks at
 * held: nobody waits for it.
 */
#include "verify_impl.h"

#include "alloc.h"
#include "deadline.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define TELL_MS 100
#define SAMPLE 10u
#define SAMPLE_MAX 100000u

int cs_verify_tick(struct cs_verify_run *v, const char *path, struct cs_error *err)
{
	pthread_mutex_lock(&v->lock);
	struct cs_progress p = { .what = "verify", .entries = v->result.entries,
				 .bytes = v->result.raw_bytes, .path = path };
	if (!v->tree && !v->end) {
		p.entries = v->result.bundles;
		p.total_entries = v->nbundles;
	}
	struct cs_error why = v->error;
	pthread_mutex_unlock(&v->lock);
	if (why.code) {
		if (err)
			*err = why;
		return why.code;
	}
	if (v->opts->progress && v->opts->progress(v->opts->arg, &p))
		return cs_fail(err, CS_E_INTERRUPTED, "interrupted");
	return CS_OK;
}

void cs_verify_no_memory(struct cs_verify_run *v)
{
	pthread_mutex_lock(&v->lock);
	if (!v->error.code)
		cs_fail(&v->error, CS_E_NOMEM, "out of memory");
	pthread_mutex_unlock(&v->lock);
}

void cs_verify_add_raw(struct cs_verify_run *v, uint64_t bytes)
{
	pthread_mutex_lock(&v->lock);
	v->result.raw_bytes += bytes;
	pthread_mutex_unlock(&v->lock);
}

/* ---- threads */

void *cs_verify_ended(struct cs_verify_run *v, int rc, const struct cs_error *err)
{
	pthread_mutex_lock(&v->lock);
	if (rc < 0 && !v->error.code)
		v->error = *err;
	v->running--;
	pthread_cond_signal(&v->told);
	pthread_cond_broadcast(&v->room);
	pthread_mutex_unlock(&v->lock);
	return NULL;
}

/* Wait for the threads, showing how far they are. */
static int attend(struct cs_verify_run *v, struct cs_error *err)
{
	int rc = CS_OK;
	pthread_mutex_lock(&v->lock);
	while (v->running) {
		struct timespec until = cs_deadline_in(TELL_MS);
		pthread_cond_timedwait(&v->told, &v->lock, &until);
		pthread_mutex_unlock(&v->lock);
		if (rc == CS_OK)
			rc = cs_verify_tick(v, NULL, err);
		cs_verify_record(v, false);
		pthread_mutex_lock(&v->lock);
		if (rc != CS_OK)
			v->stop = true;
		if (v->stop || v->error.code)
			pthread_cond_broadcast(&v->room);
	}
	pthread_mutex_unlock(&v->lock);
	if (rc == CS_OK && v->error.code) {
		rc = v->error.code;
		if (err)
			*err = v->error;
	}
	return rc;
}

/* Run fn on all processors until all of them have ended. */
int cs_verify_on_all_cores(struct cs_verify_run *v, void *(*fn)(void *), struct cs_error *err)
{
	pthread_t threads[CS_VERIFY_THREADS];
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned want = v->opts->threads ? v->opts->threads : cpus > 0 ? (unsigned)cpus : 1, n = 0;
	if (want > CS_VERIFY_THREADS)
		want = CS_VERIFY_THREADS;
	int e = 0;
	v->ahead = 2 * want;
	while (n < want && e == 0) {
		pthread_mutex_lock(&v->lock);
		v->running++;
		pthread_mutex_unlock(&v->lock);
		e = pthread_create(&threads[n], NULL, fn, v);
		if (e == 0) {
			n++;
		} else {
			pthread_mutex_lock(&v->lock);
			v->running--;
			pthread_mutex_unlock(&v->lock);
		}
	}
	int rc = n ? attend(v, err) : cs_fail_errno(err, e, "cannot start a thread");
	for (unsigned i = 0; i < n; i++)
		pthread_join(threads[i], NULL);
	return rc;
}

/* ---- all of it */

static int prepare(struct cs_verify_run *v, struct cs_error *err)
{
	const struct cs_verify_opts *o = v->opts;
	struct cs_db_stats st;
	if (o->parts && (o->part < 1 || o->part > o->parts))
		return cs_fail(err, CS_E_USAGE, "there is no part %u of %u", o->part, o->parts);
	v->level = o->level ? o->level : CS_VERIFY_DIGEST;
	v->sample = o->sample ? o->sample : SAMPLE;
	if (v->sample > SAMPLE_MAX)
		v->sample = SAMPLE_MAX;
	v->now = cs_now().sec;
	v->record = v->store->writable && !o->no_record;
	v->last = &v->first;
	v->hasher = cs_hasher_new();
	if (!v->hasher)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	struct cs_txn *t;
	int rc = cs_txn_read(v->store->db, &t, err);
	if (rc != CS_OK)
		return rc;
	if (cs_db_counter_get(t, CS_META_NEXT_BUNDLE, &v->bundles_end, NULL) != CS_OK)
		v->bundles_end = 0;
	cs_txn_end(t);
	if (o->progress && cs_db_stats(v->store->db, &st, NULL) == CS_OK)
		v->nbundles = st.rows[CS_T_BUNDLES];
	return CS_OK;
}

static int run(struct cs_verify_run *v, struct cs_error *err)
{
	int rc = prepare(v, err);
	if (rc == CS_OK && v->level >= CS_VERIFY_DIGEST)
		rc = cs_verify_files_find(v, err);
	if (rc == CS_OK && v->files)
		rc = cs_verify_large(v, err);
	if (rc == CS_OK && v->files)
		rc = cs_verify_files_ready(v, err);
	if (rc == CS_OK)
		rc = cs_verify_bundles(v, err);
	if (rc == CS_OK)
		rc = cs_verify_rest(v, err);
	cs_verify_flaws_sort(v);
	if (rc == CS_OK)
		rc = cs_verify_index(v, err);
	if (rc == CS_OK)
		rc = cs_verify_points(v, err);
	if (rc == CS_OK && v->error.code) {
		rc = v->error.code;
		if (err)
			*err = v->error;
	}
	if (rc == CS_OK || rc == CS_E_INTERRUPTED)
		cs_verify_record(v, true);
	v->result.recorded = v->record;
	return rc;
}

static void release(struct cs_verify_run *v)
{
	cs_tree_close(v->tree);
	cs_hasher_free(v->hasher);
	cs_buf_release(&v->line);
	cs_buf_release(&v->path);
	cs_verify_map_release(&v->known);
	cs_verify_map_release(&v->pieces);
	cs_verify_map_release(&v->early);
	cs_verify_tables_release(v);
	cs_verify_gate_release(v);
	cs_verify_files_release(v);
	free(v->flaws);
	free(v->rest);
	free(v->done);
	pthread_mutex_destroy(&v->lock);
	pthread_cond_destroy(&v->told);
	pthread_cond_destroy(&v->room);
	free(v);
}

int cs_verify(struct cs_store *s, const struct cs_verify_opts *opts, struct cs_verify_result *out,
	      struct cs_error *err)
{
	struct cs_verify_run *v = cs_zalloc(sizeof(*v));
	if (!v)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	v->store = s;
	v->opts = opts;
	v->known.size = sizeof(struct cs_verify_known);
	v->early.size = sizeof(struct cs_verify_early);
	v->pieces.size = sizeof(struct cs_verify_pieces);
	pthread_mutex_init(&v->lock, NULL);
	cs_deadline_cond(&v->told);
	pthread_cond_init(&v->room, NULL);
	int rc = run(v, err);
	cs_verify_tell(v);
	if (rc == CS_OK || rc == CS_E_INTERRUPTED)
		*out = v->result;
	if (rc == CS_OK && v->result.findings)
		rc = cs_fail(err, CS_E_CORRUPT,
			     "store %s: %llu things are wrong, %llu points are damaged", s->path,
			     (unsigned long long)v->result.findings,
			     (unsigned long long)v->result.damaged_points);
	release(v);
	return rc;
}
