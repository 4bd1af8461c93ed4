/* SPDX-License-Identifier: MIT */
/*
 * fusefloor - the least that reading a file through FUSE costs: fusefloor -f SIZE MOUNTPOINT
 *
 * Serves one file, called "file", of SIZE bytes, from one buffer of noise in memory: no store, no
 * decoding, no copy. What reads it waits for the kernel and libfuse alone, so it is what a
 * server can be compared with. In the foreground until it is unmounted.
 */
#define FUSE_USE_VERSION 314
#include <err.h>
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

enum { FILE_INO = 2, MOST = 1 << 20 };

static uint64_t size;
static char noise[MOST];

static void attributes(fuse_ino_t ino, struct stat *st)
{
	*st = (struct stat){ .st_ino = ino, .st_nlink = 1, .st_mode = S_IFDIR | 0755 };
	if (ino == FILE_INO) {
		st->st_mode = S_IFREG | 0644;
		st->st_size = (off_t)size;
		st->st_blocks = (blkcnt_t)(size / 512);
	}
}

static void op_init(void *arg, struct fuse_conn_info *conn)
{
	(void)arg;
	conn->max_readahead = MOST;
	conn->want |= conn->capable & (FUSE_CAP_ASYNC_READ | FUSE_CAP_PARALLEL_DIROPS);
}

static void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	struct fuse_entry_param e = { .ino = FILE_INO, .attr_timeout = 1e9, .entry_timeout = 1e9 };

	if (parent != FUSE_ROOT_ID || strcmp(name, "file") != 0) {
		fuse_reply_err(req, ENOENT);
		return;
	}
	attributes(FILE_INO, &e.attr);
	fuse_reply_entry(req, &e);
}

static void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	struct stat st;

	(void)fi;
	attributes(ino, &st);
	fuse_reply_attr(req, &st, 1e9);
}

static void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t room, off_t off,
		       struct fuse_file_info *fi)
{
	struct stat st;
	char buf[64];

	(void)ino;
	(void)room;
	(void)fi;
	attributes(FILE_INO, &st);
	fuse_reply_buf(req, buf, off ? 0 : fuse_add_direntry(req, buf, sizeof(buf), "file", &st, 1));
}

static void op_read(fuse_req_t req, fuse_ino_t ino, size_t len, off_t off,
		    struct fuse_file_info *fi)
{
	uint64_t left = (uint64_t)off < size ? size - (uint64_t)off : 0;

	(void)ino;
	(void)fi;
	len = len < left ? len : left;
	fuse_reply_buf(req, noise, len < MOST ? len : MOST);
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)ino;
	(void)fi;
	fuse_reply_err(req, ENOSYS);
}

static const struct fuse_lowlevel_ops ops = {
	.init = op_init, .lookup = op_lookup, .getattr = op_getattr, .readdir = op_readdir,
	.open = op_open, .opendir = op_open, .read = op_read,
};

int main(int argc, char **argv)
{
	char *words[] = { argv[0], (char *)"-oro,fsname=fusefloor", NULL };
	struct fuse_args args = FUSE_ARGS_INIT(2, words);

	if (argc != 4 || strcmp(argv[1], "-f") != 0)
		errx(2, "usage: fusefloor -f SIZE MOUNTPOINT");
	size = strtoull(argv[2], NULL, 0);
	for (size_t i = 0; i < sizeof(noise); i++)
		noise[i] = (char)(i * 2654435761u >> 13);
	struct fuse_session *s = fuse_session_new(&args, &ops, sizeof(ops), NULL);

	if (!s || fuse_set_signal_handlers(s) || fuse_session_mount(s, argv[3]))
		return 1;
	struct fuse_loop_config *config = fuse_loop_cfg_create();
	int rc = fuse_session_loop_mt(s, config);

	fuse_loop_cfg_destroy(config);
	fuse_session_unmount(s);
	fuse_remove_signal_handlers(s);
	fuse_session_destroy(s);
	return rc != 0;
}
