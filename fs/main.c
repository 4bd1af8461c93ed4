/* SPDX-License-Identifier: MIT */
/*
 * main.c - the command line of chunkfs.
 *
 * Options are a table: --help is printed from it. mount(8) hands on whatever
 * stands in fstab, so words that are meant for it, for systemd or for every
 * file system are known and passed over; anything else unknown is an error,
 * since a mistyped option that is passed over protects nobody.
 */
#include "mount.h"

#include "store/chunkstore.h"

#include <fcntl.h>
#include <getopt.h>
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define STATUS_USAGE 2

struct args {
	struct cs_mount_opts mount;
	char *passed; /* options for the mount, separated by commas */
};

/* Takes "key=value" or "key"; value is NULL without '='. False: *value is no good. */
typedef bool option_fn(struct args *a, const char *option, const char *value);

static bool pass(struct args *a, const char *option, const char *value)
{
	size_t had = strlen(a->passed);

	(void)value;
	char *p = realloc(a->passed, had + strlen(option) + 2);
	if (!p)
		return false;
	sprintf(p + had, "%s%s", had ? "," : "", option);
	a->passed = p;
	return true;
}

static bool ignore(struct args *a, const char *option, const char *value)
{
	(void)a;
	(void)option;
	(void)value;
	return true;
}

static bool set_cache(struct args *a, const char *option, const char *value)
{
	char *end;
	unsigned shift = 0;

	(void)option;
	if (value[0] < '0' || value[0] > '9')
		return false;
	unsigned long long n = strtoull(value, &end, 10);
	switch (*end) {
	case 'K': case 'k': shift = 10; end++; break;
	case 'M': case 'm': shift = 20; end++; break;
	case 'G': case 'g': shift = 30; end++; break;
	}
	if (*end || n == 0 || n > (unsigned long long)(SIZE_MAX >> 1 >> shift))
		return false;
	a->mount.cache_bytes = (size_t)n << shift;
	return true;
}

static bool set_point(struct args *a, const char *option, const char *value)
{
	(void)option;
	a->mount.point = value;
	return *value != '\0';
}

static bool set_series(struct args *a, const char *option, const char *value)
{
	(void)option;
	a->mount.series = value;
	return *value != '\0';
}

static bool set_at(struct args *a, const char *option, const char *value)
{
	(void)option;
	a->mount.has_at = true;
	return cs_time_parse(value, &a->mount.at) == CS_OK;
}

static bool set_owner(struct args *a, const char *option, const char *value)
{
	char *end;

	(void)option;
	if (value[0] < '0' || value[0] > '9')
		return false;
	unsigned long uid = strtoul(value, &end, 10);
	if (*end != ':' || end[1] < '0' || end[1] > '9')
		return false;
	unsigned long gid = strtoul(end + 1, &end, 10);
	if (*end || uid >= UINT32_MAX || gid >= UINT32_MAX)
		return false;
	a->mount.map_owner = true;
	a->mount.uid = (uid_t)uid;
	a->mount.gid = (gid_t)gid;
	return true;
}

static bool set_damaged(struct args *a, const char *option, const char *value)
{
	(void)option;
	a->mount.zeros = strcmp(value, "zeros") == 0;
	return a->mount.zeros || strcmp(value, "eio") == 0;
}

static bool set_no_push(struct args *a, const char *option, const char *value)
{
	(void)option;
	(void)value;
	a->mount.no_push = true;
	return true;
}

static bool set_wakeups(struct args *a, const char *option, const char *value)
{
	static const char *const names[] = { "auto", "fast", "normal" };

	(void)option;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(value, names[i]) == 0) {
			a->mount.wakeups = (enum cs_awake_when)i;
			return true;
		}
	}
	return false;
}

static bool set_sandbox(struct args *a, const char *option, const char *value)
{
	static const char *const names[] = { "auto", "yes", "no" };

	(void)option;
	for (unsigned i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (strcmp(value, names[i]) == 0) {
			a->mount.sandbox = (enum cs_sandbox_how)i;
			return true;
		}
	}
	return false;
}

static const struct option_row {
	const char *name;
	const char *value; /* how --help names it; NULL: takes none */
	option_fn *fn;
	const char *help; /* NULL: not shown */
} option_table[] = {
	{ "allow_other", NULL, pass, "let other users in; the kernel checks permissions" },
	{ "cache", "SIZE", set_cache, "memory for decoded chunks, with K, M or G (64M)" },
	{ "point", "SERIES/NAME", set_point, "mount this point alone" },
	{ "series", "NAME", set_series, "mount the points of this series alone" },
	{ "at", "TIME", set_at, "for each series, mount the tree as of TIME" },
	{ "owner", "UID:GID", set_owner, "show everything as owned, and readable, by UID" },
	{ "damaged", "HOW", set_damaged, "damaged content is an error (eio), or reads as zeros" },
	{ "nopush", NULL, set_no_push, "do not send files to the kernel ahead of the reader" },
	{ "wakeups", "HOW", set_wakeups, "auto, or keep processors awake: fast, normal (never)" },
	{ "sandbox", "HOW", set_sandbox, "auto: give up what is not needed, yes: or fail, no" },
	{ "noexec", NULL, pass, "let nothing be executed from the mount" },
	{ "exec", NULL, pass, NULL },
	{ "atime", NULL, pass, NULL },
	{ "noatime", NULL, pass, NULL },
	{ "async", NULL, pass, NULL },
	{ "sync", NULL, pass, NULL },
	{ "dirsync", NULL, pass, NULL },
	{ "context", "LABEL", pass, NULL },
	{ "fscontext", "LABEL", pass, NULL },
	{ "defcontext", "LABEL", pass, NULL },
	{ "rootcontext", "LABEL", pass, NULL },
	/* The mount is always ro, nosuid and nodev. */
	{ "ro", NULL, ignore, NULL },
	{ "rw", NULL, ignore, NULL },
	{ "suid", NULL, ignore, NULL },
	{ "nosuid", NULL, ignore, NULL },
	{ "dev", NULL, ignore, NULL },
	{ "nodev", NULL, ignore, NULL },
	{ "default_permissions", NULL, ignore, NULL },
	/* For mount(8) and systemd, or without a meaning here. */
	{ "defaults", NULL, ignore, NULL },
	{ "auto", NULL, ignore, NULL },
	{ "noauto", NULL, ignore, NULL },
	{ "user", NULL, ignore, NULL },
	{ "user", "NAME", ignore, NULL },
	{ "nouser", NULL, ignore, NULL },
	{ "users", NULL, ignore, NULL },
	{ "nousers", NULL, ignore, NULL },
	{ "group", NULL, ignore, NULL },
	{ "owner", NULL, ignore, NULL },
	{ "nofail", NULL, ignore, NULL },
	{ "_netdev", NULL, ignore, NULL },
	{ "comment", "TEXT", ignore, NULL },
	{ "relatime", NULL, ignore, NULL },
	{ "norelatime", NULL, ignore, NULL },
	{ "strictatime", NULL, ignore, NULL },
	{ "nostrictatime", NULL, ignore, NULL },
	{ "lazytime", NULL, ignore, NULL },
	{ "nolazytime", NULL, ignore, NULL },
	{ "diratime", NULL, ignore, NULL },
	{ "nodiratime", NULL, ignore, NULL },
	{ "iversion", NULL, ignore, NULL },
	{ "noiversion", NULL, ignore, NULL },
	{ "mand", NULL, ignore, NULL },
	{ "nomand", NULL, ignore, NULL },
	{ "silent", NULL, ignore, NULL },
	{ "loud", NULL, ignore, NULL },
};
#define OPTIONS (sizeof(option_table) / sizeof(option_table[0]))

static bool take_option(struct args *a, const char *option)
{
	const char *eq = strchr(option, '=');
	size_t len = eq ? (size_t)(eq - option) : strlen(option);

	if (len == 0 || strncmp(option, "x-", 2) == 0 || strncmp(option, "X-", 2) == 0)
		return true;
	for (size_t i = 0; i < OPTIONS; i++) {
		const struct option_row *o = &option_table[i];
		if (strncmp(o->name, option, len) != 0 || o->name[len] != '\0' || !o->value != !eq)
			continue;
		if (o->fn(a, option, eq ? eq + 1 : NULL))
			return true;
		fprintf(stderr, "chunkfs: -o %s: not a valid %s\n", option,
			o->value ? o->value : "option");
		return false;
	}
	fprintf(stderr, "chunkfs: unknown option: -o %s\n", option);
	return false;
}

static bool take_options(struct args *a, char *list)
{
	char *option;

	while ((option = strsep(&list, ",")))
		if (!take_option(a, option))
			return false;
	return true;
}

static void help(void)
{
	printf("usage: chunkfs [-dfhV] [--at TIME] [-o OPTION[,OPTION...]] STORE MOUNTPOINT\n"
	       "Mount the recovery points of a chunkstore, read-only.\n"
	       "\n"
	       "  -f, --foreground      stay in front, errors to stderr\n"
	       "  -d, --debug           the same, and print each request\n"
	       "      --at TIME         the same as -o at=TIME\n"
	       "  -h, --help            show this help\n"
	       "  -V, --version         show the version\n"
	       "\n");
	for (size_t i = 0; i < OPTIONS; i++) {
		const struct option_row *o = &option_table[i];
		char left[64];
		if (!o->help)
			continue;
		snprintf(left, sizeof(left), "%s%s%s", o->name, o->value ? "=" : "",
			 o->value ? o->value : "");
		printf("  -o %-18s %s\n", left, o->help);
	}
	printf("\nUnmount with umount or fusermount3 -u. See chunkfs(1).\n");
}

static int usage(const char *what)
{
	fprintf(stderr, "chunkfs: %s; try 'chunkfs --help'\n", what);
	return STATUS_USAGE;
}

/* -1: go on and mount; else the exit status. */
static int parse(int argc, char **argv, struct args *a)
{
	static const struct option longs[] = {
		{ "foreground", no_argument, NULL, 'f' },
		{ "debug", no_argument, NULL, 'd' },
		{ "at", required_argument, NULL, 'a' },
		{ "help", no_argument, NULL, 'h' },
		{ "version", no_argument, NULL, 'V' },
		{ NULL, 0, NULL, 0 },
	};
	int c;

	opterr = 0;
	while ((c = getopt_long(argc, argv, ":o:fdhV", longs, NULL)) != -1) {
		switch (c) {
		case 'o':
			if (!take_options(a, optarg))
				return STATUS_USAGE;
			break;
		case 'a':
			if (!set_at(a, NULL, optarg)) {
				fprintf(stderr, "chunkfs: --at %s: not a valid TIME\n", optarg);
				return STATUS_USAGE;
			}
			break;
		case 'd':
			a->mount.debug = true;
			a->mount.foreground = true;
			break;
		case 'f':
			a->mount.foreground = true;
			break;
		case 'h':
			help();
			return 0;
		case 'V':
			printf("chunkfs %s\n", CS_VERSION);
			return 0;
		case ':':
			return usage(optopt == 'a' ? "--at needs a TIME" :
						     "-o needs a list of options");
		default:
			fprintf(stderr, "chunkfs: unknown option: %s; try 'chunkfs --help'\n",
				argv[optind - 1]);
			return STATUS_USAGE;
		}
	}
	if (a->mount.point && (a->mount.series || a->mount.has_at))
		return usage("point stands alone, without series and at");
	if (argc - optind < 2)
		return usage("STORE and MOUNTPOINT are needed");
	if (argc - optind > 2)
		return usage("too many arguments");
	a->mount.store = argv[optind];
	a->mount.mountpoint = argv[optind + 1];
	return -1;
}

/*
 * Without this the store, the lease or the pipe to the waiting parent would get
 * the number of a closed stdin, stdout or stderr, which the daemon replaces.
 */
static bool occupy_standard_files(void)
{
	for (int fd = 0; fd <= 2; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd)
			return false;
	return true;
}

int main(int argc, char **argv)
{
	struct args a = { .passed = calloc(1, 1) };

	if (!occupy_standard_files())
		return 1;
	if (!a.passed) {
		fprintf(stderr, "chunkfs: %s\n", cs_code_text(CS_E_NOMEM));
		return 1;
	}
	/* bundles are made by one thread and freed by another: an arena a thread would keep them all */
	mallopt(M_ARENA_MAX, 1);
	int status = parse(argc, argv, &a);
	if (status < 0) {
		a.mount.fuse_options = a.passed;
		a.mount.title = argv[0];
		a.mount.title_len = (size_t)(argv[argc - 1] + strlen(argv[argc - 1]) + 1 - argv[0]);
		status = cs_mount_run(&a.mount);
	}
	free(a.passed);
	return status;
}
