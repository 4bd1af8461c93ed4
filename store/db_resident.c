/* SPDX-License-Identifier: MIT */
/*
 * db_resident.c - keeping the map from being counted as this process's memory.
 *
 * What is read through the map stays mapped, and with it what the kernel maps
 * around each page. Nothing of it is needed later: the pages are in the page
 * cache, where another process, or this one, finds them again. So when more
 * than a bound of files is resident, the map is let go of, which costs less than
 * a millisecond, and what is touched again comes back by a soft page fault.
 */
#include "db_impl.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define RESIDENT_MAX ((uint64_t)16 << 20)
#define ASK_EVERY 16 /* transactions, or rows put */

/* LMDB does not tell where it has mapped the file; the kernel does. */
void cs_db_resident_init(struct cs_db *db)
{
	mdb_filehandle_t fd;
	struct stat st;
	char line[512];
	if (db->map)
		return;
	db->statm = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	FILE *f = fopen("/proc/self/maps", "re");
	if (f && mdb_env_get_fd(db->env, &fd) == 0 && fstat(fd, &st) == 0)
		while (!db->map && fgets(line, sizeof(line), f)) {
			uint64_t from, to, offset, ino;
			if (sscanf(line, "%" SCNx64 "-%" SCNx64 " %*s %" SCNx64 " %*s %" SCNu64,
				   &from, &to, &offset, &ino) == 4 &&
			    ino == st.st_ino && offset == 0 && strstr(line, "/data.mdb")) {
				db->map = (void *)(uintptr_t)from;
				db->map_len = (size_t)(to - from);
			}
		}
	if (f)
		fclose(f);
	if (db->map)
		cs_db_guard_map(db->map, db->map_len, fd);
}

void cs_db_resident_end(struct cs_db *db)
{
	cs_db_unguard_map(db->map);
	if (db->statm > 0)
		close(db->statm);
	db->map = NULL;
	db->statm = 0;
}

void cs_db_resident_check(struct cs_db *db)
{
	char text[128];
	uint64_t all, resident, shared;
	if (!db->map || atomic_fetch_add(&db->transactions, 1) % ASK_EVERY)
		return;
	ssize_t n = pread(db->statm, text, sizeof(text) - 1, 0);
	if (n <= 0)
		return;
	text[n] = 0;
	if (sscanf(text, "%" SCNu64 " %" SCNu64 " %" SCNu64, &all, &resident, &shared) != 3)
		return;
	if (shared * (uint64_t)sysconf(_SC_PAGESIZE) > RESIDENT_MAX)
		madvise(db->map, db->map_len, MADV_DONTNEED);
}
