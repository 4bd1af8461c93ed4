/* SPDX-License-Identifier: MIT */
#include "seen.h"

#include <errno.h>
#include <sys/stat.h>

#define PIECE 65536 /* a range that is read at once, and may fail alone */
#define XATTRS_MAX 131072

struct node {
	char *name; /* in its directory */
	size_t parent;
	uint64_t ino;
	struct stat st;
	char *text; /* content, target */
	char *xattrs; /* names with their NULs, each followed by its value */
	size_t xattrs_len;
	uint64_t hole; /* where the first one is */
};

struct seen {
	struct node *nodes;
	size_t n, cap;
};

/* ---- lists */

struct names {
	char **names;
	uint64_t *inos;
	size_t n;
};

static bool take_name(void *arg, const struct cs_view_dirent *d)
{
	struct names *l = arg;

	if (strcmp(d->name, ".") == 0 || strcmp(d->name, "..") == 0)
		return true;
	l->names = realloc(l->names, (l->n + 1) * sizeof(*l->names));
	l->inos = realloc(l->inos, (l->n + 1) * sizeof(*l->inos));
	assert_true(l->names && l->inos);
	l->names[l->n] = strdup(d->name);
	l->inos[l->n++] = d->entry.st.st_ino;
	return true;
}

static void names_free(struct names *l)
{
	for (size_t i = 0; i < l->n; i++)
		free(l->names[i]);
	free(l->names);
	free(l->inos);
	*l = (struct names){ 0 };
}

/* ---- attributes */

/* Names and values, one after the other. An errno. */
static int read_xattrs(struct cs_view *v, uint64_t ino, char *out, size_t *out_len)
{
	size_t len = 0, at;
	char names[8192];
	int e = cs_view_listxattr(v, ino, names, sizeof(names), &len);

	*out_len = 0;
	for (at = 0; e == 0 && at < len; at += strlen(names + at) + 1) {
		size_t n = strlen(names + at) + 1, value = 0;
		memcpy(out + *out_len, names + at, n);
		*out_len += n;
		e = cs_view_getxattr(v, ino, names + at, out + *out_len, XATTRS_MAX - *out_len,
				     &value);
		*out_len += value;
	}
	return e;
}

/* The first is from later: a directory that does not know its links any more has no other times either. */
static bool same_stat(const struct stat *a, const struct stat *b)
{
	if (a->st_nlink == 1 && S_ISDIR(a->st_mode))
		return a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_uid == b->st_uid;
	return a->st_ino == b->st_ino && a->st_mode == b->st_mode && a->st_nlink == b->st_nlink &&
	       a->st_uid == b->st_uid && a->st_gid == b->st_gid && a->st_rdev == b->st_rdev &&
	       a->st_size == b->st_size && a->st_blocks == b->st_blocks &&
	       a->st_mtim.tv_sec == b->st_mtim.tv_sec && a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

/* ---- the first time */

static size_t add_node(struct seen *s, size_t parent, const char *name,
		       const struct cs_view_entry *e)
{
	if (s->n == s->cap) {
		s->cap = s->cap ? 2 * s->cap : 64;
		s->nodes = realloc(s->nodes, s->cap * sizeof(*s->nodes));
		assert_non_null(s->nodes);
	}
	s->nodes[s->n] = (struct node){ .name = strdup(name), .parent = parent, .ino = e->ino,
					.st = e->st };
	return s->n++;
}

static void read_whole(struct cs_view *v, struct node *n)
{
	size_t at = 0, size = (size_t)n->st.st_size;

	n->text = malloc(size + 1);
	assert_non_null(n->text);
	while (at < size) {
		struct cs_view_read r = { .tree = NULL };
		assert_int_equal(cs_view_read(v, n->ino, at, PIECE, &r), 0);
		assert_true(r.data.len > 0);
		for (size_t i = 0; i < r.data.niov; i++) {
			memcpy(n->text + at, r.data.iov[i].iov_base, r.data.iov[i].iov_len);
			at += r.data.iov[i].iov_len;
		}
		cs_view_read_release(v, &r);
	}
	if (size)
		assert_true(cs_view_seek(v, n->ino, 0, false, &n->hole) == 0);
}

static void see(struct seen *s, struct cs_view *v, size_t at)
{
	struct node *n = &s->nodes[at];
	char *xattrs = malloc(XATTRS_MAX);

	assert_non_null(xattrs);
	assert_int_equal(read_xattrs(v, n->ino, xattrs, &n->xattrs_len), 0);
	n->xattrs = realloc(xattrs, n->xattrs_len + 1);
	if (S_ISREG(n->st.st_mode)) {
		read_whole(v, n);
	} else if (S_ISLNK(n->st.st_mode)) {
		n->text = calloc(1, CS_VIEW_LINK_MAX);
		assert_int_equal(cs_view_readlink(v, n->ino, n->text), 0);
	} else if (S_ISDIR(n->st.st_mode)) {
		struct names l = { 0 };
		struct cs_view_entry e;
		assert_int_equal(cs_view_readdir(v, n->ino, 0, take_name, &l), 0);
		for (size_t i = 0; i < l.n; i++) {
			assert_int_equal(cs_view_lookup(v, s->nodes[at].ino, l.names[i], &e), 0);
			see(s, v, add_node(s, at, l.names[i], &e));
		}
		names_free(&l);
	}
}

struct seen *seen_all(struct cs_view *v)
{
	struct seen *s = calloc(1, sizeof(*s));
	struct cs_view_entry e = { .ino = 1 };

	assert_non_null(s);
	assert_int_equal(cs_view_getattr(v, 1, &e.st), 0);
	see(s, v, add_node(s, 0, "", &e));
	return s;
}

void seen_free(struct seen *s)
{
	for (size_t i = 0; i < s->n; i++) {
		free(s->nodes[i].name);
		free(s->nodes[i].text);
		free(s->nodes[i].xattrs);
	}
	free(s->nodes);
	free(s);
}

/* ---- again */

struct again {
	const struct seen *s;
	struct cs_view *v;
	bool zeros;
	struct seen_again *out;
};

static void path_of(const struct seen *s, size_t at, char *out, size_t size)
{
	char rest[512] = "";

	for (; at; at = s->nodes[at].parent) {
		char longer[512];
		snprintf(longer, sizeof(longer), "/%.200s%.300s", s->nodes[at].name, rest);
		memcpy(rest, longer, sizeof(rest));
	}
	snprintf(out, size, "%s", *rest ? rest : "/");
}

__attribute__((format(printf, 3, 4)))
static void wrong(struct again *a, size_t at, const char *fmt, ...)
{
	if (a->out->wrong++)
		return;
	char path[300];
	va_list ap;
	path_of(a->s, at, path, sizeof(path));
	int n = snprintf(a->out->first, sizeof(a->out->first), "%s: ", path);
	va_start(ap, fmt);
	vsnprintf(a->out->first + n, sizeof(a->out->first) - (size_t)n, fmt, ap);
	va_end(ap);
}

/* What an answer's errno means; true: there is an answer to look at. */
static bool answered(struct again *a, size_t at, const char *what, int e, bool names)
{
	if (e == 0)
		return true;
	if (e == EIO) {
		a->out->failed++;
		a->out->failed_names += names;
	} else {
		wrong(a, at, "%s: %s", what, strerror(e));
	}
	return false;
}

static void same(struct again *a, size_t at, const char *what, bool is)
{
	if (is)
		a->out->same++;
	else
		wrong(a, at, "%s: not as before", what);
}

/* All of the piece is as it was, or all of it is zeros where that may be. */
static void compare_piece(struct again *a, size_t at, size_t off, const struct cs_view_read *r)
{
	const struct node *n = &a->s->nodes[at];
	bool equal = true, zeroed = false;

	for (size_t i = 0; i < r->data.niov; i++) {
		const char *got = r->data.iov[i].iov_base;
		size_t len = r->data.iov[i].iov_len;
		for (size_t k = 0; k < len; k++, off++) {
			if (off >= (size_t)n->st.st_size || got[k] != n->text[off]) {
				zeroed |= got[k] == 0 && a->zeros;
				equal &= got[k] == 0 && a->zeros;
			}
		}
	}
	a->out->zeroed += equal && zeroed;
	same(a, at, "content", equal);
}

static void compare_content(struct again *a, size_t at)
{
	const struct node *n = &a->s->nodes[at];
	size_t size = (size_t)n->st.st_size;
	uint64_t hole;

	for (size_t off = 0; off < size; off += PIECE) {
		struct cs_view_read r = { .tree = NULL };
		size_t want = size - off < PIECE ? size - off : PIECE;
		if (!answered(a, at, "read", cs_view_read(a->v, n->ino, off, PIECE, &r), false))
			continue;
		if (r.data.len != want)
			wrong(a, at, "read: %zu bytes, not %zu", r.data.len, want);
		else
			compare_piece(a, at, off, &r);
		cs_view_read_release(a->v, &r);
	}
	if (size && answered(a, at, "seek", cs_view_seek(a->v, n->ino, 0, false, &hole), false))
		same(a, at, "the first hole", hole == n->hole);
}

static void compare_xattrs(struct again *a, size_t at)
{
	const struct node *n = &a->s->nodes[at];
	char *xattrs = malloc(XATTRS_MAX);
	size_t len;

	assert_non_null(xattrs);
	if (answered(a, at, "attributes", read_xattrs(a->v, n->ino, xattrs, &len), false))
		same(a, at, "attributes",
		     len == n->xattrs_len && memcmp(xattrs, n->xattrs, len) == 0);
	free(xattrs);
}

/* No name that was not there; and if all is said to be well, each that was. */
static void compare_list(struct again *a, size_t at)
{
	struct names l = { 0 };
	size_t was = 0;
	bool whole = answered(a, at, "list",
			      cs_view_readdir(a->v, a->s->nodes[at].ino, 0, take_name, &l), true);

	for (size_t i = 0; i < l.n; i++) {
		bool known = false;
		for (size_t k = at + 1; k < a->s->n && !known; k++)
			known = a->s->nodes[k].parent == at &&
				strcmp(a->s->nodes[k].name, l.names[i]) == 0;
		if (!known)
			wrong(a, at, "a new name: %s", l.names[i]);
	}
	for (size_t k = at + 1; k < a->s->n; k++)
		was += a->s->nodes[k].parent == at;
	if (whole && l.n != was)
		wrong(a, at, "%zu names, not %zu", l.n, was);
	else if (whole)
		a->out->same++;
	names_free(&l);
}

static void compare_node(struct again *a, size_t at)
{
	const struct node *n = &a->s->nodes[at];
	struct cs_view_entry e;
	char target[CS_VIEW_LINK_MAX];

	if (S_ISDIR(n->st.st_mode)) {
		compare_list(a, at);
		int rc = cs_view_lookup(a->v, n->ino, "there is no such name", &e);
		if (rc != ENOENT && rc != EIO)
			wrong(a, at, "a name that is not there: %s", strerror(rc));
	} else if (S_ISREG(n->st.st_mode)) {
		compare_content(a, at);
	} else if (S_ISLNK(n->st.st_mode)) {
		if (answered(a, at, "readlink", cs_view_readlink(a->v, n->ino, target), true))
			same(a, at, "target", strcmp(target, n->text) == 0);
	}
	compare_xattrs(a, at);
}

void seen_compare(const struct seen *s, struct cs_view *v, bool zeros, struct seen_again *out)
{
	struct again a = { s, v, zeros, out };
	bool *lost = calloc(s->n, sizeof(*lost));
	struct stat st;

	assert_non_null(lost);
	memset(out, 0, sizeof(*out));
	if (answered(&a, 0, "getattr", cs_view_getattr(v, 1, &st), true))
		same(&a, 0, "the root", same_stat(&st, &s->nodes[0].st));
	compare_node(&a, 0);
	for (size_t i = 1; i < s->n; i++) {
		const struct node *n = &s->nodes[i];
		struct cs_view_entry e;
		lost[i] = lost[n->parent];
		if (lost[i])
			continue;
		int rc = cs_view_lookup(v, s->nodes[n->parent].ino, n->name, &e);
		lost[i] = !answered(&a, i, "lookup", rc, true);
		if (lost[i])
			continue;
		same(&a, i, "status", e.ino == n->ino && same_stat(&e.st, &n->st));
		compare_node(&a, i);
	}
	free(lost);
}
