/* SPDX-License-Identifier: MIT */
/*
 * cmd_mount.c - mount and umount: they become chunkfs and fusermount3.
 *
 * The chunkfs beside this program goes first, so that a tool that was built
 * but not installed mounts with the driver of its own build.
 */
#include "cli.h"

#include <errno.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct mount_values {
	struct cs_opt_list options;
	bool foreground, lazy;
};

static const struct cs_opt mount_options[] = {
	{ CS_OPT_FLAG, 'f', "foreground", NULL, offsetof(struct mount_values, foreground),
	  "stay in the foreground", 0, 0 },
	{ CS_OPT_LIST, 'o', "options", "OPTS", offsetof(struct mount_values, options),
	  "mount options for chunkfs; may be repeated", 0, 0 },
	{ .kind = CS_OPT_END },
};

/* The path of a program beside our own. */
static int beside(const char *name, char *out, size_t cap)
{
	ssize_t n = readlink("/proc/self/exe", out, cap);
	char *slash;

	if (n <= 0 || (size_t)n >= cap)
		return -1;
	out[n] = '\0';
	slash = strrchr(out, '/');
	if (!slash || (size_t)(slash + 1 - out) + strlen(name) >= cap)
		return -1;
	strcpy(slash + 1, name);
	return 0;
}

static int run_mount(struct cs_cli *cli, const void *values, int argc, char **argv,
		     struct cs_error *err)
{
	const struct mount_values *v = values;
	char path[PATH_MAX];
	const char **args = calloc(6 + 2 * v->options.count, sizeof(*args));
	size_t n = 0;
	int rc;

	(void)argc;
	if (!args)
		return cs_fail(err, CS_E_NOMEM, "%s", cs_code_text(CS_E_NOMEM));
	args[n++] = "chunkfs";
	if (v->foreground)
		args[n++] = "-f";
	for (size_t i = 0; i < v->options.count; i++) {
		args[n++] = "-o";
		args[n++] = v->options.items[i];
	}
	args[n++] = "--";
	args[n++] = cli->store_path;
	args[n] = argv[0];
	if (beside("chunkfs", path, sizeof(path)) == 0)
		execv(path, (char **)args);
	execvp("chunkfs", (char **)args);
	rc = cs_fail_errno(err, errno, "cannot run chunkfs");
	free(args);
	return rc;
}

const struct cs_command cs_cmd_mount = {
	.name = "mount",
	.operands = "MOUNTPOINT",
	.summary = "mount the store with chunkfs",
	.details = "Show all points as directories under MOUNTPOINT, with chunkfs(1).",
	.options = mount_options,
	.values_size = sizeof(struct mount_values),
	.min_operands = 1,
	.max_operands = 1,
	.run = run_mount,
};

static const struct cs_opt umount_options[] = {
	{ CS_OPT_FLAG, 'z', "lazy", NULL, offsetof(struct mount_values, lazy),
	  "detach now, even if it is in use", 0, 0 },
	{ .kind = CS_OPT_END },
};

static int run_umount(struct cs_cli *cli, const void *values, int argc, char **argv,
		      struct cs_error *err)
{
	const struct mount_values *v = values;
	const char *fusermount[] = { "fusermount3", "-u", "--", argv[0], NULL, NULL };
	const char *umount[] = { "umount", "--", argv[0], NULL, NULL };

	(void)cli;
	(void)argc;
	if (v->lazy) {
		fusermount[2] = "-z";
		fusermount[3] = "--";
		fusermount[4] = argv[0];
		umount[1] = "-l";
		umount[2] = "--";
		umount[3] = argv[0];
	}
	execvp(fusermount[0], (char **)fusermount);
	execvp(umount[0], (char **)umount);
	return cs_fail_errno(err, errno, "cannot run fusermount3 or umount");
}

const struct cs_command cs_cmd_umount = {
	.name = "umount",
	.operands = "MOUNTPOINT",
	.summary = "unmount what mount mounted",
	.options = umount_options,
	.values_size = sizeof(struct mount_values),
	.min_operands = 1,
	.max_operands = 1,
	.run = run_umount,
};
