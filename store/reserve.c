/* SPDX-License-Identifier: MIT */
#include "reserve.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>

void cs_reserve_keep(int fd, uint64_t end, _Atomic uint64_t *reserved)
{
	uint64_t have = atomic_load(reserved);
	if (have >= end && have - end >= CS_RESERVE_BYTES / 2)
		return;
	if (fallocate(fd, FALLOC_FL_KEEP_SIZE, (off_t)end, (off_t)CS_RESERVE_BYTES) == 0)
		atomic_store(reserved, end + CS_RESERVE_BYTES);
	else if (errno == EOPNOTSUPP || errno == ENOSYS)
		atomic_store(reserved, UINT64_MAX);
}
