/* SPDX-License-Identifier: MIT */
#include "place.h"

#include "fuzz.h"

#include "fs/view.h"

#include <dirent.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define ENTRIES_MAX 600 /* of a point, looked at; more is only more of the same */
#define FILE_MAX ((rlim_t)16 << 20)
#define BIG ((uint64_t)64 << 20) /* files that claim more are read in places only: all of it takes its time */

static char dir[128];
static pid_t owner;

/* ---- the place */

/* A forged entry may be immutable. */
static void make_mutable(int at, const char *name)
{
	int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC), none = 0;

	if (fd >= 0) {
		(void)ioctl(fd, FS_IOC_SETFLAGS, &none);
		close(fd);
	}
}

static void clear_at(int at, const char *name)
{
	struct stat st;

	if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
		return;
	if (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode))
		make_mutable(at, name);
	if (S_ISDIR(st.st_mode)) {
		int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
		for (struct dirent *e; d && (e = readdir(d));)
			if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
				clear_at(fd, e->d_name);
		if (d)
			closedir(d);
		unlinkat(at, name, AT_REMOVEDIR);
	} else {
		unlinkat(at, name, 0);
	}
}

void place_clear(const char *path)
{
	clear_at(AT_FDCWD, path);
}

static void leave(void)
{
	if (getpid() == owner)
		place_clear(dir);
}

static void enter(void)
{
	const char *given = getenv("CS_FUZZ_DIR"), *tmp = getenv("TMPDIR");
	struct rlimit small = { FILE_MAX, FILE_MAX };

	snprintf(dir, sizeof(dir), "%s/chunkstore-fuzz.XXXXXX",
		 given ? given : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : tmp ? tmp : "/tmp");
	MUST(mkdtemp(dir));
	owner = getpid();
	atexit(leave);
	/* a file may claim any size; LMDB makes its own by writing, and small */
	signal(SIGXFSZ, SIG_IGN);
	setrlimit(RLIMIT_FSIZE, &small);
}

const char *place_path(const char *name)
{
	static char path[4][256];
	static unsigned n;
	char *p = path[n++ % 4];

	if (!*dir)
		enter();
	snprintf(p, sizeof(path[0]), "%s/%s", dir, name);
	return p;
}

void place_init(const char *path)
{
	struct cs_error err = { 0 };

	if (cs_store_init(path, NULL, &err) != CS_OK) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
}

/* ---- something to back up */

static void make_file(const char *name, size_t len, int64_t hole)
{
	char path[300], block[4096];
	uint32_t x = 12345;

	snprintf(path, sizeof(path), "%s/%s", place_path("tree"), name);
	int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	MUST(fd >= 0);
	for (size_t at = 0; at < len; at += sizeof(block)) {
		size_t n = len - at < sizeof(block) ? len - at : sizeof(block);
		for (size_t i = 0; i < n; i++)
			block[i] = (char)((x = x * 1664525 + 1013904223) >> 24);
		MUST(pwrite(fd, block, n, (off_t)at + (at ? hole : 0)) == (ssize_t)n);
	}
	fsetxattr(fd, "user.short", "value", 5, 0);
	if (len > 100)
		fsetxattr(fd, "user.long", block, 300, 0);
	close(fd);
}

void place_fill_tree(void)
{
	char from[300], to[300];

	MUST(mkdir(place_path("tree"), 0755) == 0);
	MUST(mkdir(place_path("tree/dir"), 0750) == 0);
	MUST(mkdir(place_path("tree/dir/below"), 0755) == 0);
	make_file("empty", 0, 0);
	make_file("small", 40, 0);
	make_file("chunk", 9000, 0);
	make_file("large", 400000, 0);
	make_file("sparse", 40960, 1 << 20);
	make_file("dir/below/x", 12, 0);
	make_file("dir/two\nlines", 13, 0);
	snprintf(from, sizeof(from), "%s", place_path("tree/chunk"));
	snprintf(to, sizeof(to), "%s", place_path("tree/dir/linked"));
	MUST(link(from, to) == 0);
	MUST(symlink("../../outside", place_path("tree/symlink")) == 0);
	MUST(mkfifo(place_path("tree/fifo"), 0600) == 0);
}

void place_back_up(const char *store, const char *series)
{
	struct cs_open_opts o = { .flags = CS_OPEN_WRITE };
	struct cs_backup_opts b = { .series = series, .root = place_path("tree"), .level = -1,
				    .force = true, .threads = 1, .host = "host" };
	struct cs_backup_result r;
	struct cs_error err = { 0 };
	struct cs_store *s;

	if (cs_store_open(store, &o, &s, &err) != CS_OK || cs_backup(s, &b, &r, &err) != CS_OK) {
		fprintf(stderr, "%s\n", err.text);
		abort();
	}
	cs_store_close(s);
}

/* ---- the tree of a point */

struct look {
	struct cs_tree *t;
	unsigned seen;
	uint64_t last; /* position */
	bool big;
};

static uint64_t sum; /* of all bytes handed out: a sanitizer sees each looked at */

static void add_up(const void *data, size_t len)
{
	const uint8_t *p = data;

	for (size_t i = 0; i < len; i++)
		sum += p[i];
}

static void read_at(struct cs_tree *t, const struct cs_node *n, uint64_t off, size_t len)
{
	struct cs_read r = { 0 };
	uint64_t size = n->entry.size, left = off < size ? size - off : 0;
	size_t got = 0;

	if (cs_file_read(t, n, off, len, &r, NULL) == CS_OK) {
		for (size_t i = 0; i < r.niov; i++) {
			add_up(r.iov[i].iov_base, r.iov[i].iov_len);
			got += r.iov[i].iov_len;
		}
		MUST(got == r.len && got == (left < len ? left : len));
	}
	cs_read_release(&r);
}

static void look_at_file(struct cs_tree *t, const struct cs_node *n)
{
	uint64_t at = 0, next;
	struct cs_hash h;

	read_at(t, n, 0, 128 << 10);
	read_at(t, n, n->entry.size / 2, 4096);
	read_at(t, n, n->entry.size - 1, 10);
	for (int i = 0; i < 3 && cs_file_seek(t, n, at, i % 2 == 0, &next, NULL) == CS_OK; i++) {
		MUST(next >= at && next <= n->entry.size);
		at = next;
	}
	if (cs_file_hash(t, n, &h, NULL) == CS_OK)
		add_up(h.b, sizeof(h.b));
	cs_file_prefetch(t, n);
}

static void look_at_xattrs(struct cs_tree *t, const struct cs_node *n)
{
	struct cs_xattrs x;
	struct cs_xattr_list *l;

	if (cs_xattrs_load(t, n, &x, NULL) == CS_OK) {
		for (size_t i = 0; i < x.count; i++) {
			add_up(x.list[i].name, strlen(x.list[i].name));
			add_up(x.list[i].value, x.list[i].value_len);
		}
		cs_xattrs_release(&x);
	}
	if (cs_xattr_list_open(t, n, &l, NULL) == CS_OK) {
		char name[256], value[70000];
		size_t len, got;
		for (size_t i = 0; cs_xattr_list_name(l, i, &len) && i < 20; i++) {
			memcpy(name, cs_xattr_list_name(l, i, &len), len);
			name[len] = '\0';
			if (cs_xattr_list_get(l, name, value, sizeof(value), &got, NULL) == CS_OK)
				add_up(value, got);
		}
		cs_xattr_list_close(l);
	}
}

static int pass_over(void *arg, const char *path, const struct cs_error *why)
{
	(void)arg;
	(void)path;
	(void)why;
	return 0;
}

static int look_at_node(void *arg, const char *path, const struct cs_node *n, struct cs_error *err)
{
	struct look *l = arg;
	struct cs_node back;
	uint64_t first;
	char *line;

	(void)err;
	MUST(l->seen == 0 || n->pos > l->last); /* so no walk goes on for ever */
	l->last = n->pos;
	if (l->seen++ >= ENTRIES_MAX)
		return CS_E_INTERRUPTED;
	if (cs_tree_at(l->t, n->pos, &back, NULL) == CS_OK) {
		MUST(back.pos == n->pos);
		cs_node_release(&back);
	}
	if (cs_node_identity(l->t, n, &first, NULL) == CS_OK)
		MUST(first <= n->pos);
	l->big |= n->entry.size > BIG;
	if (S_ISREG(n->entry.mode))
		look_at_file(l->t, n);
	look_at_xattrs(l->t, n);
	if (cs_node_dump(l->t, n, path, strlen(path), &line, NULL) == CS_OK) {
		add_up(line, strlen(line));
		free(line);
	}
	return CS_OK;
}

/* False: it says of itself that to read all of it takes very long. */
static bool look_at_tree(struct cs_store *s, uint64_t seq)
{
	struct look l = { 0 };
	struct cs_node root;
	uint64_t entries = 0;

	if (cs_tree_open(s, seq, &l.t, NULL) != CS_OK)
		return true;
	if (cs_tree_root(l.t, &root, NULL) == CS_OK) {
		entries = 1 + root.entry.below.entries;
		(void)!cs_tree_walk(l.t, &root, look_at_node, pass_over, &l, NULL);
		MUST(l.last <= root.entry.below.entries);
		cs_node_release(&root);
	}
	cs_tree_close(l.t);
	return entries < ENTRIES_MAX && !l.big;
}

/* ---- restore */

/*
 * Beside the destination nothing may change, and there is a tempting place for a
 * symbolic link to lead to.
 */
static void restore(struct cs_store *s, uint64_t seq)
{
	struct cs_restore_opts o = { .threads = 1, .overwrite = CS_OVERWRITE_ALWAYS };
	struct cs_restore_result r;
	struct cs_tree *t;
	char dest[256];
	struct stat before, after;

	place_clear(place_path("to"));
	MUST(mkdir(place_path("to"), 0755) == 0 && mkdir(place_path("to/outside"), 0755) == 0);
	MUST(stat(place_path("to/outside"), &before) == 0);
	snprintf(dest, sizeof(dest), "%s", place_path("to/dest"));
	o.dest = dest;
	if (cs_tree_open(s, seq, &t, NULL) != CS_OK)
		return;
	o.dry_run = true;
	(void)!cs_restore(t, "", &o, &r, NULL);
	MUST(access(dest, F_OK) != 0);
	o.dry_run = false;
	(void)!cs_restore(t, "", &o, &r, NULL);
	(void)!cs_restore(t, "", &o, &r, NULL);
	cs_tree_close(t);
	MUST(stat(place_path("to/outside"), &after) == 0);
	MUST(memcmp(&before.st_mtim, &after.st_mtim, sizeof(before.st_mtim)) == 0 &&
	     before.st_mode == after.st_mode && before.st_nlink == after.st_nlink);
	place_clear(place_path("to"));
}

/* ---- what a mount is asked */

struct mount {
	struct cs_view *v;
	unsigned asked, depth;
};

struct found {
	struct mount *m;
	uint64_t parent;
	char names[24][256];
	unsigned n;
};

static void ask_dir(struct mount *m, uint64_t ino);

static bool note_name(void *arg, const struct cs_view_dirent *d)
{
	struct found *f = arg;

	MUST(strlen(d->name) < 256 && !strchr(d->name, '/'));
	if (f->n < 24 && strcmp(d->name, ".") != 0 && strcmp(d->name, "..") != 0)
		memcpy(f->names[f->n++], d->name, strlen(d->name) + 1);
	return f->n < 24;
}

static void ask_attributes(struct mount *m, uint64_t ino)
{
	char buf[4096];
	size_t len;
	struct cs_view_flags flags;

	if (cs_view_listxattr(m->v, ino, buf, sizeof(buf), &len) == 0)
		for (size_t i = 0; i < len; i += strlen(buf + i) + 1) {
			char value[4096];
			size_t got;
			(void)!cs_view_getxattr(m->v, ino, buf + i, value, sizeof(value), &got);
		}
	(void)!cs_view_getxattr(m->v, ino, "user.none", buf, sizeof(buf), &len);
	(void)!cs_view_flags(m->v, ino, &flags);
}

static void ask(struct mount *m, uint64_t ino, mode_t mode)
{
	struct cs_view_read r = { 0 };
	char target[CS_VIEW_LINK_MAX];
	struct stat st;
	uint64_t at;

	if (m->asked++ > ENTRIES_MAX)
		return;
	if (cs_view_getattr(m->v, ino, &st) == 0)
		MUST((st.st_mode & S_IFMT) != 0 && st.st_size >= 0);
	if (S_ISLNK(mode) && cs_view_readlink(m->v, ino, target) == 0)
		MUST(strlen(target) < sizeof(target));
	if (S_ISREG(mode) && cs_view_read(m->v, ino, 0, 65536, &r) == 0)
		for (size_t i = 0; i < r.data.niov; i++)
			add_up(r.data.iov[i].iov_base, r.data.iov[i].iov_len);
	cs_view_read_release(m->v, &r);
	if (S_ISREG(mode))
		(void)!cs_view_seek(m->v, ino, 0, false, &at);
	ask_attributes(m, ino);
	if (S_ISDIR(mode))
		ask_dir(m, ino);
}

static void ask_dir(struct mount *m, uint64_t ino)
{
	struct found *f = calloc(1, sizeof(*f));
	struct cs_view_entry e;

	MUST(f);
	f->m = m;
	if (m->depth++ < 12) {
		(void)!cs_view_readdir(m->v, ino, 0, note_name, f);
		(void)!cs_view_lookup(m->v, ino, "..", &e);
		for (unsigned i = 0; i < f->n; i++)
			if (cs_view_lookup(m->v, ino, f->names[i], &e) == 0) {
				ask(m, e.ino, e.st.st_mode);
				cs_view_forget(m->v, e.ino, 1);
			}
	}
	m->depth--;
	free(f);
}

static void be_mounted(struct cs_store *s)
{
	struct cs_view_opts o = { 0 };
	struct mount m = { 0 };
	struct statvfs st;

	if (cs_view_open(s, &o, &m.v, NULL) != CS_OK)
		return;
	cs_view_begin(m.v);
	ask(&m, 1, S_IFDIR);
	(void)!cs_view_statfs(m.v, &st);
	cs_view_end(m.v);
	cs_view_close(m.v);
}

/* ---- all of it */

struct listed {
	uint64_t seq[8];
	unsigned n;
};

static int note_point(void *arg, const struct cs_point *p)
{
	struct listed *l = arg;

	add_up(p->source, strlen(p->source));
	if (l->n < 8)
		l->seq[l->n++] = p->seq;
	return 0;
}

static int note_trashed(void *arg, const struct cs_point *p, int64_t until)
{
	(void)until;
	return note_point(arg, p);
}

void place_read(struct cs_store *s)
{
	struct listed l = { 0 };
	struct cs_store_stats stats;
	struct cs_verify_opts v = { .threads = 1 };
	struct cs_verify_result r;
	bool small = true;

	(void)!cs_trash_list(s, NULL, note_trashed, &l, NULL);
	(void)!cs_points_list(s, NULL, NULL, note_point, &l, NULL);
	(void)!cs_store_stats(s, &stats, NULL);
	for (unsigned i = 0; i < l.n; i++) {
		if (look_at_tree(s, l.seq[i]))
			restore(s, l.seq[i]);
		else
			small = false;
	}
	be_mounted(s);
	if (small)
		(void)!cs_verify(s, &v, &r, NULL);
}
