/* SPDX-License-Identifier: MIT */
/*
 * gets - a library to preload: how often a program looks something up in LMDB.
 *
 * When the program ends by itself, one line in the file $CS_GETS:
 * gets N, cursors N, transactions N.
 *
 * While there is a file $CS_GETS_HOLD, look-ups do not come back, as if the disk
 * did not answer.
 */
#include <dlfcn.h>
#include <lmdb.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static _Atomic unsigned long gets, cursors, transactions;

/* The function of that name that the program would have called. */
static void next(const char *name, void *out)
{
	void *f = dlsym(RTLD_NEXT, name);

	if (!f)
		abort();
	memcpy(out, &f, sizeof(f));
}

static void hold(void)
{
	const char *path = getenv("CS_GETS_HOLD");

	while (path && access(path, F_OK) == 0)
		usleep(1000);
}

int mdb_get(MDB_txn *txn, MDB_dbi dbi, MDB_val *key, MDB_val *data)
{
	int (*f)(MDB_txn *, MDB_dbi, MDB_val *, MDB_val *);

	next("mdb_get", &f);
	atomic_fetch_add(&gets, 1);
	hold();
	return f(txn, dbi, key, data);
}

int mdb_cursor_get(MDB_cursor *cursor, MDB_val *key, MDB_val *data, MDB_cursor_op op)
{
	int (*f)(MDB_cursor *, MDB_val *, MDB_val *, MDB_cursor_op);

	next("mdb_cursor_get", &f);
	atomic_fetch_add(&cursors, 1);
	hold();
	return f(cursor, key, data, op);
}

int mdb_txn_renew(MDB_txn *txn)
{
	int (*f)(MDB_txn *);

	next("mdb_txn_renew", &f);
	atomic_fetch_add(&transactions, 1);
	return f(txn);
}

static void __attribute__((destructor)) tell(void)
{
	const char *path = getenv("CS_GETS");
	FILE *out = path ? fopen(path, "w") : NULL;

	if (out) {
		fprintf(out, "gets %lu cursors %lu transactions %lu\n", gets, cursors, transactions);
		fclose(out);
	}
}
