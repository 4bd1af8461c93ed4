/* SPDX-License-Identifier: MIT */
/*
 * sandbox.c - giving up what serving a mount does not need.
 *
 * A store may have been made by an enemy, and a mount reads it for hours, often as
 * root. Every field is checked when it is decoded, but LMDB trusts its file, and
 * nobody knows the last mistake in a parser. So that a broken parser can do nothing,
 * the daemon gives up what it can before it opens the store:
 *
 *   - Landlock: files outside the store cannot be opened (but for /dev/fuse, /dev/null
 *     and what /proc tells of itself), and in it only lock.mdb and the leases can be
 *     written; no TCP, no signals and no abstract sockets to the outside;
 *   - capabilities: none are kept, but those by which root may open another user's
 *     store, which Landlock confines to it;
 *   - no new privileges by executing anything;
 *   - seccomp: a list of the system calls that libfuse, LMDB, zstd and threads use. No
 *     program can be started, nothing mapped as code, no socket made, no other
 *     process seen to.
 *
 * It costs some microseconds a mount and, for seccomp, some 50 ns a system call. What
 * still takes privileges is done by keeper.c. What has to be open comes before:
 * the mount, /dev/cpu_dma_latency, the file for read-ahead.
 */
#include "sandbox.h"

#include <errno.h>
#include <execinfo.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <sched.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
#define SANITIZED 1
#elif defined(__has_feature)
#if __has_feature(thread_sanitizer) || __has_feature(address_sanitizer)
#define SANITIZED 1
#endif
#endif
#ifndef SANITIZED
#define SANITIZED 0
#endif

bool cs_sandbox_possible(void)
{
	return !SANITIZED;
}

/* ------------------------------------------------------------- Landlock */

/* As the kernel has it today; an older one takes the beginning. */
struct ruleset {
	uint64_t fs, net, scoped;
};

#define FS_TRUNCATE (UINT64_C(1) << 14)	 /* version 3 */
#define FS_IOCTL_DEV (UINT64_C(1) << 15) /* version 5 */
#define READ_FILE LANDLOCK_ACCESS_FS_READ_FILE
#define READ_DIR LANDLOCK_ACCESS_FS_READ_DIR
#define WRITE (LANDLOCK_ACCESS_FS_WRITE_FILE | FS_TRUNCATE)

struct landlock {
	int fd;
	struct ruleset all;
	bool failed;
};

static int landlock_version(void)
{
	return (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
}

/* -1: the kernel has none. */
static int begin(struct landlock *l)
{
	static const size_t sizes[] = { 8, 8, 8, 16, 16, 24 };
	int version = landlock_version();

	if (version < 1)
		return -1;
	int last = version > 6 ? 6 : version;
	l->all = (struct ruleset){ .fs = (UINT64_C(1) << 13) - 1 };
	l->all.fs |= version >= 2 ? UINT64_C(1) << 13 : 0; /* to move between directories */
	l->all.fs |= version >= 3 ? FS_TRUNCATE : 0;
	l->all.fs |= version >= 5 ? FS_IOCTL_DEV : 0;
	l->all.net = version >= 4 ? 3 : 0;
	l->all.scoped = version >= 6 ? 3 : 0;
	l->fd = (int)syscall(SYS_landlock_create_ruleset, &l->all, sizes[last - 1], 0);
	return l->fd < 0 ? -1 : 0;
}

/* What is not there needs no permission. */
static void allow(struct landlock *l, const char *path, int flags, uint64_t access)
{
	struct stat st;
	int fd = open(path, O_PATH | O_CLOEXEC | flags);

	if (fd < 0)
		return;
	if (fstat(fd, &st) != 0 || ((flags & O_NOFOLLOW) && !S_ISREG(st.st_mode))) {
		close(fd);
		return;
	}
	struct landlock_path_beneath_attr rule = { .allowed_access = access & l->all.fs,
						   .parent_fd = fd };
	if (syscall(SYS_landlock_add_rule, l->fd, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) != 0)
		l->failed = true;
	close(fd);
}

static bool is_file(const char *dir, const char *name)
{
	char path[4200];
	struct stat st;

	snprintf(path, sizeof(path), "%s/%s", dir, name);
	return lstat(path, &st) == 0 && S_ISREG(st.st_mode);
}

/* Its data is only read. What it lacks to be read will be made in it. */
static void allow_store(struct landlock *l, const char *store)
{
	static const char *const written[] = { "lock.mdb", "leases" };
	bool whole = true;
	char path[4200];

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "%s/%s", store, written[i]);
		allow(l, path, O_NOFOLLOW, READ_FILE | WRITE);
		whole &= is_file(store, written[i]);
	}
	snprintf(path, sizeof(path), "%s/data.mdb", store);
	allow(l, path, 0, READ_FILE);
	allow(l, store, 0,
	      READ_FILE | READ_DIR | (whole ? 0 : LANDLOCK_ACCESS_FS_MAKE_REG | WRITE));
}

/* 1: done; 0: the kernel cannot; negative: an errno. */
static int confine(const char *store)
{
	struct landlock l = { .fd = -1 };

	if (begin(&l) < 0)
		return 0;
	allow_store(&l, store);
	allow(&l, "/dev/fuse", 0, READ_FILE | WRITE | FS_IOCTL_DEV); /* one for each worker */
	allow(&l, "/dev/null", 0, READ_FILE | WRITE);
	allow(&l, "/proc/self", 0, READ_FILE);
	allow(&l, "/sys/devices/system/cpu", 0, READ_FILE | READ_DIR); /* how many there are */
	int r = l.failed || syscall(SYS_landlock_restrict_self, l.fd, 0) != 0 ? -errno : 1;
	close(l.fd);
	return r;
}

/* --------------------------------------------------------- capabilities */

static int drop_capabilities(void)
{
	struct __user_cap_header_struct head = { .version = _LINUX_CAPABILITY_VERSION_3 };
	struct __user_cap_data_struct have[2], keep[2] = { 0 };
	const uint32_t dac = 1u << CAP_DAC_OVERRIDE | 1u << CAP_DAC_READ_SEARCH;

	if (syscall(SYS_capget, &head, have) != 0)
		return errno;
	if (have[0].effective & (1u << CAP_SETPCAP))
		for (int c = 0; prctl(PR_CAPBSET_READ, c, 0, 0, 0) >= 0; c++)
			prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	keep[0].permitted = keep[0].effective = have[0].permitted & dac;
	return syscall(SYS_capset, &head, keep) == 0 ? 0 : errno;
}

/* -------------------------------------------------------------- seccomp */

/* By name: not each architecture has each. */
static const char *const allowed[] = {
	/* files and the map */
	"read", "readv", "pread64", "preadv", "preadv2", "write", "writev", "pwrite64", "pwritev",
	"pwritev2", "splice", "tee", "vmsplice", "pipe", "pipe2", "open", "openat", "openat2", "close",
	"close_range", "fcntl", "flock", "fstat", "stat", "lstat", "newfstatat", "statx", "statfs",
	"fstatfs", "lseek", "ftruncate", "fallocate", "fsync", "fdatasync", "access", "faccessat",
	"faccessat2", "readlink", "readlinkat", "getdents64", "munmap", "mremap", "madvise", "msync",
	"mincore", "brk", "fadvise64", "dup", "dup2", "dup3", "chdir", "umask",
	/* waiting */
	"futex", "poll", "ppoll", "select", "pselect6", "epoll_create1", "epoll_ctl", "epoll_wait",
	"epoll_pwait", "eventfd2", "inotify_init1", "inotify_add_watch", "inotify_rm_watch", "nanosleep",
	"clock_nanosleep", "clock_gettime", "clock_getres", "gettimeofday", "time", "restart_syscall",
	/* threads and signals */
	"set_robust_list", "get_robust_list", "rseq", "set_tid_address", "membarrier", "sched_yield",
	"sched_getaffinity", "getcpu", "exit", "exit_group", "rt_sigaction", "rt_sigprocmask",
	"rt_sigreturn", "rt_sigtimedwait", "rt_sigpending", "rt_sigsuspend", "sigaltstack", "setsid",
	/* of itself */
	"getpid", "gettid", "getppid", "getuid", "geteuid", "getgid", "getegid", "getrandom", "uname",
	"sysinfo", "getrusage", "times", "arch_prctl",
	/* to the keeper */
	"recvfrom", "shutdown", "getsockopt",
};

struct condition {
	const char *name;
	struct scmp_arg_cmp arg;
};

static int add(scmp_filter_ctx c, uint32_t action, const char *name, const struct scmp_arg_cmp *arg)
{
	int nr = seccomp_syscall_resolve_name(name);

	if (nr == __NR_SCMP_ERROR || nr < 0)
		return 0;
	return arg ? seccomp_rule_add(c, action, nr, 1, *arg) : seccomp_rule_add(c, action, nr, 0);
}

static int add_conditions(scmp_filter_ctx c)
{
	const struct condition rules[] = {
		{ "clone", SCMP_A0(SCMP_CMP_MASKED_EQ, CLONE_THREAD, CLONE_THREAD) },
		{ "mmap", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) },
		{ "mprotect", SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0) },
		{ "tgkill", SCMP_A0(SCMP_CMP_EQ, (scmp_datum_t)getpid(), 0) },
		{ "prlimit64", SCMP_A2(SCMP_CMP_EQ, 0, 0) },
		{ "prctl", SCMP_A0(SCMP_CMP_EQ, PR_SET_NAME, 0) },
		{ "ioctl", SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, 0x8004e500) }, /* FUSE_DEV_IOC_CLONE */
		{ "ioctl", SCMP_A1(SCMP_CMP_MASKED_EQ, 0xffffffff, 0x5401) },	  /* is it a terminal? */
		{ "sendto", SCMP_A4(SCMP_CMP_EQ, 0, 0) },
	};
	int r = 0;

	for (size_t i = 0; i < sizeof(rules) / sizeof(rules[0]) && r == 0; i++)
		r = add(c, SCMP_ACT_ALLOW, rules[i].name, &rules[i].arg);
	if (r == 0) /* the library then takes clone, whose flags can be looked at */
		r = add(c, SCMP_ACT_ERRNO(ENOSYS), "clone3", NULL);
	return r;
}

/* 0, or a negative errno; -ENOSYS: the kernel, or this architecture, has none. */
static int filter_calls(void)
{
	scmp_filter_ctx c = seccomp_init(SCMP_ACT_ERRNO(EPERM));

	if (!c)
		return -ENOSYS;
	int r = seccomp_attr_set(c, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a tree, not a list */
	for (size_t i = 0; i < sizeof(allowed) / sizeof(allowed[0]) && r == 0; i++)
		r = add(c, SCMP_ACT_ALLOW, allowed[i], NULL);
	if (r == 0)
		r = add_conditions(c);
	if (r == 0)
		r = seccomp_load(c);
	seccomp_release(c);
	return r == -EINVAL ? -ENOSYS : r;
}

/* ---------------------------------------------------------------- enter */

void cs_sandbox_prepare(void)
{
	void *frame[1];

	backtrace(frame, 1); /* loads the same */
}

int cs_sandbox_enter(const char *store, bool all, struct cs_error *err)
{
	cs_sandbox_prepare();
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return cs_fail_errno(err, errno, "sandbox: no new privileges");
	int confined = confine(store);
	if (confined < 0)
		return cs_fail_errno(err, -confined, "sandbox: Landlock");
	int e = drop_capabilities();
	if (e)
		return cs_fail_errno(err, e, "sandbox: capabilities");
	int filtered = filter_calls();
	if (filtered < 0 && filtered != -ENOSYS)
		return cs_fail_errno(err, -filtered, "sandbox: seccomp");
	if (all && (!confined || filtered < 0))
		return cs_fail(err, CS_E_ACCESS, "sandbox: this kernel has no %s",
			       confined ? "seccomp" : "Landlock");
	return CS_OK;
}
