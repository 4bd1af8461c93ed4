/* SPDX-License-Identifier: MIT */
/*
 * db_value.c - the bytes of a value in the map: are they there, and can they be read?
 *
 * The first bytes of a value are touched under the guard (db_guard.c) by whoever
 * finds it. Large ones are brought into memory as a whole before they are read,
 * and let go of afterwards.
 */
#include "db_impl.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#define SHORT ((size_t)256 << 10) /* most bundles that compressed */

/* Read a byte of every page of what the caller will look at. */
static void touch(const MDB_val *v)
{
	const volatile uint8_t *p = v->mv_data;
	size_t n = v->mv_size < CS_DB_TOUCHED ? v->mv_size : CS_DB_TOUCHED;
	for (size_t i = 0; i < n; i += 4096)
		(void)p[i];
	if (n)
		(void)p[n - 1];
}

/*
 * A damaged page may lead anywhere. What lies outside the map is no item, unless
 * the transaction writes and has pages of its own.
 */
int cs_db_in_map(const struct cs_txn *t, const MDB_val *v)
{
	uintptr_t map = (uintptr_t)t->db->map, at = (uintptr_t)v->mv_data;
	if (map && !t->write &&
	    (at < map || at - map > t->db->map_len || v->mv_size > t->db->map_len - (at - map)))
		return MDB_CORRUPTED;
	return 0;
}

int cs_db_look_at(const struct cs_txn *t, const MDB_val *v)
{
	int rc = cs_db_in_map(t, v);
	if (rc == 0)
		touch(v);
	return rc;
}

static void ask_alone(const struct cs_txn *t, struct cs_slice part)
{
	const uint8_t *start = part.data;
	const struct cs_range *soon = &t->soon;
	if (part.len <= SHORT) { /* one request for what is short takes less time than two */
		cs_db_ask(part);
		return;
	}
	cs_db_ask((struct cs_slice){ start, CS_DB_TOUCHED });
	if (soon->len && soon->off < part.len)
		cs_db_ask((struct cs_slice){ start + soon->off,
					     soon->len < part.len - soon->off ? soon->len :
									       part.len - soon->off });
}

int cs_db_touch(struct cs_txn *t, struct cs_slice part, struct cs_error *err)
{
	const MDB_val v = { part.len, (void *)(uintptr_t)part.data };
	int rc;
	if (t->alone)
		ask_alone(t, part);
	GUARDED(rc, cs_db_look_at(t, &v));
	return rc ? cs_db_fail(t->db, rc, "read", err) : CS_OK;
}

/* The whole pages a value lies on; the map begins on a page. */
static size_t pages_of(struct cs_slice v, uintptr_t *start)
{
	uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
	*start = (uintptr_t)v.data & ~(page - 1);
	uintptr_t end = ((uintptr_t)v.data + v.len + page - 1) & ~(page - 1);
	return end - *start;
}

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

/* A call that interrupts all processors; smaller ones go with the whole map (db_resident.c). */
#define UNLOAD_MIN ((size_t)1 << 20)
static _Thread_local unsigned seen_poison; /* at the last load */

static int unreadable(struct cs_error *err)
{
	return cs_fail(err, CS_E_IO, "the store's file cannot be read");
}

int cs_db_load(struct cs_slice value, struct cs_error *err)
{
	uintptr_t start;
	size_t n = pages_of(value, &start);
	int rc;
	if (value.len > CS_DB_VALUE_MAX)
		return cs_fail(err, CS_E_CORRUPT, "a value is too long");
	cs_db_cure();
	seen_poison = cs_db_poisoned();
	do
		rc = madvise((void *)start, n, MADV_POPULATE_READ);
	while (rc != 0 && errno == EINTR);
	if (rc != 0 && (errno == EFAULT || errno == EIO || errno == EHWPOISON || errno == ENOMEM))
		return unreadable(err);
	return CS_OK; /* an older kernel: the pages come as they are touched */
}

void cs_db_ask(struct cs_slice part)
{
	uintptr_t start;
	size_t n = pages_of(part, &start);
	if (part.len <= CS_DB_VALUE_MAX)
		madvise((void *)start, n, MADV_WILLNEED);
}

int cs_db_intact(struct cs_error *err)
{
	return seen_poison == cs_db_poisoned() ? CS_OK : unreadable(err);
}

void cs_db_unload(const struct cs_txn *t, struct cs_slice value)
{
	uintptr_t start;
	if (t->write)
		return;
	size_t n = pages_of(value, &start);
	if (n >= UNLOAD_MIN)
		madvise((void *)start, n, MADV_DONTNEED);
	cs_db_resident_check(t->db); /* the kernel maps pages around those that are touched */
}
