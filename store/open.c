/* SPDX-License-Identifier: MIT */
/*
 * open.c - making, opening and closing a store.
 *
 * A store that cannot be made completely leaves nothing behind. A path that is
 * no store is told apart, in words, from a store that is damaged, newer, or
 * not ours to read.
 */
#include "store.h"

#include "alloc.h"
#include "cleanup.h"
#include "hints.h"
#include "reader.h"
#include "share.h"
#include "turn.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <unistd.h>

#define CACHE_DEFAULT ((size_t)64 << 20)
#define CACHE_MIN ((size_t)8 << 20)

/* ---- init */

static int is_empty_dir(const char *path)
{
	DIR *d = opendir(path);
	if (!d)
		return 0;
	int n = 0;
	for (struct dirent *e; (e = readdir(d));)
		n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
	closedir(d);
	return n == 0;
}

static int write_header(struct cs_db *db, const struct cs_init_opts *opts, struct cs_error *err)
{
	struct cs_store_header h = { .version = CS_FORMAT_VERSION,
				     .incompat = CS_FEATURES_INCOMPAT,
				     .created = cs_now().sec };
	uint8_t packed[CS_STORE_HEADER_SIZE];
	struct cs_txn *t;

	h.hash_bits = (uint8_t)(opts && opts->hash_bits ? opts->hash_bits : 128);
	if (getrandom(h.id, sizeof(h.id), 0) != sizeof(h.id))
		return cs_fail_errno(err, errno, "no random numbers");
	cs_store_header_pack(&h, packed);
	int rc = cs_txn_write(db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_db_put(t, CS_T_META, (struct cs_slice){ CS_META_STORE, strlen(CS_META_STORE) },
		       (struct cs_slice){ packed, sizeof(packed) }, err);
	static const char *const counters[] = { CS_META_NEXT_BUNDLE, CS_META_NEXT_POINT,
						CS_META_NEXT_SERIES, CS_META_GENERATION };
	for (size_t i = 0; i < sizeof(counters) / sizeof(counters[0]) && rc == CS_OK; i++)
		rc = cs_db_counter_set(t, counters[i], 1, err);
	if (rc == CS_OK && opts && opts->trash_seconds)
		rc = cs_db_counter_set(t, CS_META_TRASH_SECONDS, *opts->trash_seconds, err);
	if (rc != CS_OK) {
		cs_txn_end(t);
		return rc;
	}
	return cs_txn_commit(t, err);
}

static void remove_files(const char *path, bool made_dir)
{
	static const char *const names[] = { "data.mdb", "lock.mdb", "leases" };
	char file[4200];
	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		snprintf(file, sizeof(file), "%s/%s", path, names[i]);
		unlink(file);
	}
	if (made_dir)
		rmdir(path);
}

static int fill_store(const char *path, const struct cs_init_opts *opts, struct cs_error *err)
{
	struct cs_db *db;
	struct cs_leases *l;
	int rc = cs_leases_open(path, 1, &l, err);
	if (rc != CS_OK)
		return rc;
	cs_leases_close(l);
	rc = cs_db_open(path, CS_DB_CREATE, &db, err);
	if (rc != CS_OK)
		return rc;
	rc = write_header(db, opts, err);
	cs_db_close(db);
	return rc;
}

static int sync_dir(const char *path, struct cs_error *err)
{
	CS_CLOSE int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 || fsync(fd) != 0)
		return cs_fail_errno(err, errno, "cannot sync %s", path);
	return CS_OK;
}

static int sync_parent(const char *path, struct cs_error *err)
{
	char parent[4200];
	snprintf(parent, sizeof(parent), "%s/..", path);
	return sync_dir(parent, err);
}

int cs_store_init(const char *path, const struct cs_init_opts *opts, struct cs_error *err)
{
	bool made = false;
	if (opts && opts->hash_bits > 128)
		return cs_fail(err, CS_E_USAGE, "a hash has 1 to 128 bits");
	if (opts && opts->trash_seconds && *opts->trash_seconds > CS_TRASH_SECONDS_MAX)
		return cs_fail(err, CS_E_USAGE, "the trash keeps at most 1000 years");
	if (strlen(path) > 4096)
		return cs_fail(err, CS_E_USAGE, "the store's path is too long");
	mode_t old = umask(0077);
	if (mkdir(path, 0700) == 0)
		made = true;
	else if (errno != EEXIST) {
		int e = errno;
		umask(old);
		return cs_fail_errno(err, e, "cannot make store %s", path);
	}
	int rc;
	if (!made && !is_empty_dir(path))
		rc = cs_fail(err, CS_E_EXISTS,
			     "cannot make store %s: it exists and is not an empty directory", path);
	else
		rc = fill_store(path, opts, err);
	if (rc == CS_OK && !made && chmod(path, 0700) != 0)
		rc = cs_fail_errno(err, errno, "cannot set the mode of %s", path);
	if (rc == CS_OK && opts && opts->share)
		rc = cs_share_with(path, opts->group, err);
	if (rc == CS_OK)
		rc = sync_dir(path, err);
	if (rc == CS_OK && made)
		rc = sync_parent(path, err);
	if (rc != CS_OK && rc != CS_E_EXISTS)
		remove_files(path, made);
	umask(old);
	return rc;
}

/* ---- open */

static void destroy_bundle(void *v)
{
	cs_bundle_free(v);
}

static void destroy_page(void *v)
{
	cs_page_free(v);
}

/* Find the bundle to decode ahead, by its header alone. */
static uint64_t next_data_bundle(struct cs_store *s, uint64_t number)
{
	struct cs_txn *t;
	struct cs_slice v;
	struct cs_bundle_header h;
	uint64_t found = 0, at = number;
	if (cs_txn_read(s->db, &t, NULL) != CS_OK)
		return 0;
	for (int i = 0; i < 4 && !found; i++) {
		if (cs_bundles_next(t, at + 1, &at, &v, NULL) != 1)
			break;
		if (cs_bundle_header_unpack(v.data, v.len, &h) == CS_OK && h.kind == CS_BUNDLE_DATA)
			found = at;
		else /* a run is of one kind */
			at |= CS_BUNDLE_RUN - 1;
		cs_db_unload(t, v);
	}
	cs_txn_end(t);
	return found;
}

static void prefetch_bundle(void *arg, uint64_t number, bool exactly)
{
	struct cs_store *s = arg;
	struct cs_bundle *b;
	void *held;
	if (!exactly)
		number = next_data_bundle(s, number);
	if (number && !cs_cache_has(s->bundles, number) &&
	    cs_reader_bundle(s, number, &held, &b, NULL) == CS_OK)
		cs_cache_release(held);
}

static int read_header(struct cs_store *s, int flags, struct cs_error *err)
{
	struct cs_txn *t;
	struct cs_slice v;
	int rc = cs_txn_read(s->db, &t, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_db_get(t, CS_T_META, (struct cs_slice){ CS_META_STORE, strlen(CS_META_STORE) }, &v,
		       err);
	if (rc == 0)
		rc = cs_fail(err, CS_E_NOTFOUND, "%s: not a chunkstore store", s->path);
	else if (rc == 1)
		rc = cs_store_header_unpack(v.data, v.len, &s->header, err);
	cs_txn_end(t);
	if (rc == CS_OK && (flags & CS_OPEN_WRITE) && (s->header.ro_compat & ~CS_FEATURES_RO))
		rc = cs_fail(err, CS_E_VERSION,
			     "store %s: its features (0x%x) allow this version to read only",
			     s->path, s->header.ro_compat & ~CS_FEATURES_RO);
	if (rc == CS_E_VERSION && err && !strstr(err->text, s->path)) {
		char text[512];
		snprintf(text, sizeof(text), "%.500s", err->text);
		cs_fail(err, rc, "store %s: %s", s->path, text);
	}
	return rc;
}

void cs_store_mend(const char *path)
{
	CS_CLOSE int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir >= 0)
		cs_share_mend(dir);
}

/* Is there something that looks like a store? Says what is wrong in words of the user. */
static int check_path(struct cs_store *s, int flags, struct cs_error *err)
{
	struct stat st;
	if (stat(s->path, &st) != 0)
		return cs_fail_errno(err, errno, "store %s", s->path);
	if (!S_ISDIR(st.st_mode))
		return cs_fail(err, CS_E_NOTFOUND, "%s: not a chunkstore store (not a directory)",
			       s->path);
	s->dev = st.st_dev;
	s->ino = st.st_ino;
	CS_CLOSE int dir = open(s->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (dir < 0)
		return cs_fail_errno(err, errno, "store %s", s->path);
	if (fstatat(dir, "data.mdb", &st, 0) != 0) {
		if (errno == ENOENT)
			return cs_fail(err, CS_E_NOTFOUND,
				       "%s: not a chunkstore store (it has no data.mdb)", s->path);
		return cs_fail_errno(err, errno, "store %s: data.mdb", s->path);
	}
	if (!S_ISREG(st.st_mode) || st.st_size == 0)
		return cs_fail(err, CS_E_NOTFOUND,
			       "%s: not a chunkstore store (data.mdb is empty)", s->path);
	int rc = cs_db_check_file(dir, s->path, err);
	if (rc != CS_OK)
		return rc;
	cs_share_mend(dir);
	if (fstatat(dir, "lock.mdb", &st, 0) == 0)
		s->lock_ino = st.st_ino;
	return cs_share_check(dir, s->path, flags & CS_OPEN_WRITE, err);
}

static int open_parts(struct cs_store *s, const struct cs_open_opts *o, struct cs_error *err)
{
	int rc = check_path(s, o->flags, err);
	if (rc == CS_OK)
		rc = cs_leases_open(s->path, o->flags & CS_OPEN_WRITE, &s->leases, err);
	if (rc == CS_OK && s->writable) {
		s->turn = cs_turn_new(cs_leases_fd(s->leases), o->waiting, o->arg);
		if (!s->turn)
			rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	}
	if (rc == CS_OK)
		rc = cs_db_open(s->path, s->writable ? CS_DB_WRITE : CS_DB_READ, &s->db, err);
	if (rc == CS_OK)
		cs_db_take_turns(s->db, s->turn);
	if (rc == CS_OK)
		cs_db_before_read(s->db, o->before_disk);
	return rc == CS_OK ? read_header(s, o->flags, err) : rc;
}

int cs_store_open(const char *path, const struct cs_open_opts *opts, struct cs_store **out,
		  struct cs_error *err)
{
	struct cs_open_opts o = opts ? *opts : (struct cs_open_opts){ 0 };
	size_t budget = o.cache_bytes ? o.cache_bytes : CACHE_DEFAULT;
	if (budget < CACHE_MIN)
		budget = CACHE_MIN;
	struct cs_store *s = cs_zalloc(sizeof(*s));
	if (!s)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	pthread_mutex_init(&s->lock, NULL);
	s->writable = o.flags & CS_OPEN_WRITE;
	s->path = cs_strdup(path);
	s->cache_bytes = budget;
	s->bundles = cs_cache_new(budget / 4 * 3, destroy_bundle, o.before_disk);
	s->pages = cs_cache_new(budget / 4, destroy_page, o.before_disk);
	s->hints = cs_hints_new();
	s->prefetch = cs_prefetch_new(prefetch_bundle, s);
	int rc = CS_OK;
	if (!s->path || !s->bundles || !s->pages || !s->hints || !s->prefetch)
		rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	if (rc == CS_OK)
		rc = open_parts(s, &o, err);
	if (rc != CS_OK) {
		cs_store_close(s);
		return rc;
	}
	*out = s;
	return CS_OK;
}

void cs_store_close(struct cs_store *s)
{
	if (!s)
		return;
	cs_prefetch_free(s->prefetch);
	cs_cache_free(s->pages);
	cs_cache_free(s->bundles);
	cs_hints_free(s->hints);
	while (s->nspare)
		cs_decompressor_free(s->spare[--s->nspare]);
	cs_db_close(s->db);
	cs_turn_free(s->turn);
	cs_leases_close(s->leases);
	pthread_mutex_destroy(&s->lock);
	free(s->path);
	free(s);
}

const char *cs_store_path(const struct cs_store *s)
{
	return s->path;
}
