/* SPDX-License-Identifier: MIT */
#include "model.h"

#include <err.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

uint64_t model_random(uint64_t *state)
{
	uint64_t z = *state += 0x9e3779b97f4a7c15u;
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
	return z ^ (z >> 31);
}

static void *grow(void *p, size_t *cap, size_t want, size_t size)
{
	if (want <= *cap)
		return p;
	*cap = want * 2;
	p = realloc(p, *cap * size);
	if (!p)
		err(2, "memory");
	return p;
}

static bool is_lock(const char *name)
{
	return strcmp(name, "lock.mdb") == 0 || strcmp(name, "leases") == 0;
}

/* ---- the log */

static int file_of(struct model *m, uint64_t ino)
{
	for (int i = m->nfiles - 1; i >= 0; i--)
		if (m->files[i].ino == ino)
			return i;
	return -1;
}

/* Which file an operation is about; an inode number may come back after an unlink. */
static void resolve(struct model *m, struct op *op)
{
	op->file = op->file2 = -1;
	if (op->kind == LOG_CREATE) {
		if (m->nfiles == MODEL_FILES)
			errx(2, "the log has too many files");
		op->file = m->nfiles++;
		m->files[op->file] = (struct file){ .ino = op->ino };
	} else if (op->ino) {
		op->file = file_of(m, op->ino);
	}
	bool needs = op->kind == LOG_WRITE || op->kind == LOG_TRUNCATE || op->kind == LOG_PUNCH ||
		     op->kind == LOG_EXTEND;
	if (op->kind == LOG_UNKNOWN || (needs && op->file < 0))
		errx(2, "the log has something that cannot be replayed: %s of %s",
		     log_kind_name(op->kind), op->name);
}

/* r stays with the operation, if there is one. */
static void add_op(struct model *m, size_t *cap, struct log_record *r)
{
	m->ops = grow(m->ops, cap, m->nops + 1, sizeof(*m->ops));
	struct op *op = &m->ops[m->nops];
	*op = (struct op){ .kind = r->kind, .flags = r->flags, .pid = r->pid, .off = r->off,
			   .len = r->len, .name = r->name, .name2 = r->name2, .ino = r->ino };
	if (r->kind == LOG_WRITE)
		op->data = (const uint8_t *)(r + 1);
	if (r->kind == LOG_MARK) {
		op->text = strndup((const char *)(r + 1), r->len);
		op->len = 0;
	} else {
		if (is_lock(op->name)) {
			free(r);
			return;
		}
		resolve(m, op);
	}
	m->nops++;
}

void model_load(struct model *m, const char *log)
{
	struct stat st;
	size_t cap = 0, at = 0;
	int fd = open(log, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st) != 0 || st.st_size == 0)
		err(2, "%s", log);
	uint8_t *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	if (map == MAP_FAILED)
		err(2, "%s", log);
	close(fd);
	while (at + sizeof(struct log_record) <= (size_t)st.st_size) {
		/* records follow data of any length: not aligned, so copied */
		struct log_record *r;
		struct log_record head;
		memcpy(&head, map + at, sizeof(head));
		bool has_data = head.kind == LOG_WRITE || head.kind == LOG_MARK;
		size_t n = sizeof(head) + (has_data ? head.len : 0);
		if (head.magic != LOG_MAGIC || n > (size_t)st.st_size - at)
			errx(2, "%s: no record at %zu", log, at);
		r = malloc(n);
		if (!r)
			err(2, "memory");
		memcpy(r, map + at, n);
		add_op(m, &cap, r);
		at += n;
	}
	munmap(map, (size_t)st.st_size);
	if (at != (size_t)st.st_size)
		errx(2, "%s: the last record is cut short", log);
}

/* ---- content */

static void set_size(struct content *c, size_t size)
{
	if (size > c->size) {
		c->data = grow(c->data, &c->cap, size, 1);
		memset(c->data + c->size, 0, size - c->size);
	}
	c->size = size;
}

static void copy_content(struct content *to, const struct content *from)
{
	set_size(to, from->size);
	if (from->size)
		memcpy(to->data, from->data, from->size);
}

/* Is this sector of a torn change there? A prefix, a suffix, or any sectors. */
static bool sector_is_there(uint64_t seed, uint64_t sector, uint64_t first, uint64_t count)
{
	uint64_t s = seed, how = model_random(&s) % 3, cut = first + 1 + model_random(&s) % count;
	if (how == 0)
		return sector < cut;
	if (how == 1)
		return sector + 1 >= cut && sector > first;
	s += sector;
	return model_random(&s) & 1;
}

/* One stretch of a write or a punch. */
static void apply_range(struct content *c, const struct op *op, uint64_t from, uint64_t to)
{
	if (op->kind == LOG_WRITE) {
		if (to > c->size)
			set_size(c, to);
		memcpy(c->data + from, op->data + (from - (uint64_t)op->off), to - from);
	} else if (from < c->size) {
		memset(c->data + from, 0, (to < c->size ? to : c->size) - from);
	}
}

/* torn 0: all of it. */
static void apply(struct content *c, const struct op *op, uint64_t torn)
{
	uint64_t off = (uint64_t)op->off, end = off + op->len;
	switch (op->kind) {
	case LOG_TRUNCATE:
		set_size(c, off);
		return;
	case LOG_EXTEND:
		if (end > c->size)
			set_size(c, end);
		return;
	case LOG_WRITE:
	case LOG_PUNCH:
		break;
	default:
		return;
	}
	if (!torn) {
		apply_range(c, op, off, end);
		return;
	}
	uint64_t first = off / MODEL_SECTOR, last = (end - 1) / MODEL_SECTOR;
	for (uint64_t s = first; s <= last; s++) {
		uint64_t a = s * MODEL_SECTOR, b = a + MODEL_SECTOR;
		if (sector_is_there(torn, s, first, last - first + 1))
			apply_range(c, op, a < off ? off : a, b > end ? end : b);
	}
}

/* ---- names */

static int find_name(const struct names *n, const char *name)
{
	for (int i = 0; i < n->count; i++)
		if (strcmp(n->at[i].name, name) == 0)
			return i;
	return -1;
}

static void remove_name(struct names *n, const char *name)
{
	int i = find_name(n, name);
	if (i >= 0)
		n->at[i] = n->at[--n->count];
}

static void put_name(struct names *n, const char *name, int file)
{
	remove_name(n, name);
	if (n->count == MODEL_NAMES)
		errx(2, "the log has too many names");
	snprintf(n->at[n->count].name, LOG_NAME_MAX, "%s", name);
	n->at[n->count++].file = file;
}

static void apply_name(struct names *n, const struct op *op)
{
	int i;
	switch (op->kind) {
	case LOG_MKDIR:
		n->dir = true;
		break;
	case LOG_CREATE:
		put_name(n, op->name, op->file);
		break;
	case LOG_UNLINK:
		if (*op->name)
			remove_name(n, op->name);
		else
			n->dir = false;
		break;
	case LOG_LINK:
	case LOG_RENAME:
		i = find_name(n, op->name);
		if (i < 0)
			errx(2, "the log renames %s, which it does not have", op->name);
		int file = n->at[i].file;
		if (op->kind == LOG_RENAME)
			remove_name(n, op->name);
		put_name(n, op->name2, file);
		break;
	default:
		break;
	}
}

/* ---- time goes on */

static void sync_file(struct file *f)
{
	copy_content(&f->durable, &f->now);
	f->npending = 0;
}

/* The parent holds one name, that of the store, and its change is always the first. */
static void sync_names(struct model *m, bool parent)
{
	size_t keep = 0;
	for (size_t i = 0; i < m->nnames_pending; i++) {
		const struct op *op = &m->ops[m->names_pending[i]];
		bool of_parent = op->kind == LOG_MKDIR || (op->kind == LOG_UNLINK && !*op->name);
		if (of_parent == parent)
			apply_name(&m->durable, op);
		else
			m->names_pending[keep++] = m->names_pending[i];
	}
	m->nnames_pending = keep;
}

static void step_sync(struct model *m, const struct op *op)
{
	if (m->ignore_sync)
		return;
	if (!*op->name)
		sync_names(m, false);
	else if (strcmp(op->name, "..") == 0)
		sync_names(m, true);
	else if (op->file >= 0)
		sync_file(&m->files[op->file]);
}

/* When nothing is left to choose, the changes are the durable content. */
static void fold(struct file *f)
{
	for (size_t i = 0; i < f->npending; i++)
		if (!f->pending[i].must)
			return;
	sync_file(f);
}

static void step_content(struct model *m, const struct op *op)
{
	struct file *f = &m->files[op->file];
	apply(&f->now, op, 0);
	f->pending = grow(f->pending, &f->cap, f->npending + 1, sizeof(*f->pending));
	f->pending[f->npending++] = (struct pending){ m->done, false };
}

void model_step(struct model *m)
{
	const struct op *op = &m->ops[m->done];
	switch (op->kind) {
	case LOG_WRITE:
	case LOG_TRUNCATE:
	case LOG_PUNCH:
	case LOG_EXTEND:
		step_content(m, op);
		break;
	case LOG_SYNC:
		step_sync(m, op);
		break;
	case LOG_MARK:
		break;
	default:
		apply_name(&m->now, op);
		m->names_pending = grow(m->names_pending, &m->names_cap, m->nnames_pending + 1,
					sizeof(*m->names_pending));
		m->names_pending[m->nnames_pending++] = m->done;
	}
	m->done++;
}

void model_return(struct model *m)
{
	const struct op *op = &m->ops[m->done - 1];
	if (op->kind != LOG_WRITE || !(op->flags & LOG_DURABLE) || m->ignore_sync)
		return;
	struct file *f = &m->files[op->file];
	f->pending[f->npending - 1].must = true;
	fold(f);
}

size_t model_pending(const struct model *m, size_t *out, size_t max)
{
	size_t n = 0;
	for (int i = 0; i < m->nfiles; i++)
		for (size_t j = 0; j < m->files[i].npending; j++)
			if (!m->files[i].pending[j].must) {
				if (out && n < max)
					out[n] = m->files[i].pending[j].op;
				n++;
			}
	return n;
}

/* ---- a state of the disk */

static void write_file(const char *dir, const char *name, const struct content *c)
{
	char path[4300];
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	if (fd < 0 || (c->size && write(fd, c->data, c->size) != (ssize_t)c->size))
		err(2, "%s", path);
	close(fd);
}

static void make_locks(const char *dir, uint64_t noise)
{
	static const char *const names[] = { "lock.mdb", "leases" };
	struct content c = { 0 };
	for (int i = 0; i < 2; i++) {
		uint64_t s = noise + (uint64_t)i, how = model_random(&s) % 4;
		if (how == 0)
			continue; /* absent */
		set_size(&c, how == 1 ? 0 : i == 0 ? 65664 : 0);
		for (size_t j = 0; how == 3 && j + 8 <= c.size; j += 8) {
			uint64_t v = model_random(&s);
			memcpy(c.data + j, &v, 8);
		}
		write_file(dir, names[i], &c);
	}
	free(c.data);
}

/* first: where this file's changes begin in the cut's list; moves on. */
static void content_after(const struct model *m, int file, const struct cut *cut, size_t *first,
			  struct content *out)
{
	const struct file *f = &m->files[file];
	copy_content(out, &f->durable);
	for (size_t i = 0; i < f->npending; i++) {
		const struct op *op = &m->ops[f->pending[i].op];
		if (f->pending[i].must) {
			apply(out, op, 0);
			continue;
		}
		size_t at = (*first)++;
		if (cut->take[at])
			apply(out, op, at == cut->torn ? cut->torn_seed | 1 : 0);
	}
	if (cut->grown && out->size < f->now.size)
		set_size(out, f->now.size);
}

static void content_now(const struct model *m, int file, uint64_t part, struct content *out)
{
	copy_content(out, &m->files[file].now);
	if (part && m->ops[m->done].file == file) {
		struct op op = m->ops[m->done];
		op.len = part;
		apply(out, &op, 0);
	}
}

bool model_make(const struct model *m, const struct cut *cut, uint64_t part, uint64_t noise,
		const char *dir)
{
	static struct content c;
	struct names names = cut ? m->durable : m->now;
	size_t first = 0;
	for (size_t i = 0; cut && i < cut->names; i++)
		apply_name(&names, &m->ops[m->names_pending[i]]);
	for (int file = 0; file < m->nfiles; file++) {
		c.size = 0;
		if (cut)
			content_after(m, file, cut, &first, &c);
		for (int i = 0; i < names.count; i++) {
			if (names.at[i].file != file)
				continue;
			if (!cut)
				content_now(m, file, part, &c);
			write_file(dir, names.at[i].name, &c);
		}
	}
	make_locks(dir, noise);
	return names.dir;
}

bool model_equals(const struct model *m, const char *dir, const char *name)
{
	char path[4300];
	struct stat st;
	int i = find_name(&m->now, name);
	snprintf(path, sizeof(path), "%s/%s", dir, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	if (i < 0 || fd < 0 || fstat(fd, &st) != 0)
		err(2, "%s", path);
	const struct content *c = &m->files[m->now.at[i].file].now;
	void *map = mmap(NULL, (size_t)st.st_size, PROT_READ, MAP_PRIVATE, fd, 0);
	bool same = map != MAP_FAILED && (size_t)st.st_size == c->size &&
		    memcmp(map, c->data, c->size) == 0;
	munmap(map, (size_t)st.st_size);
	close(fd);
	return same;
}

void model_describe(const struct model *m, size_t op, char *out, size_t len)
{
	const struct op *o = &m->ops[op];
	snprintf(out, len, "operation %zu, %s%s %s %lld+%llu", op,
		 o->flags & LOG_DURABLE ? "durable " : "", log_kind_name(o->kind),
		 *o->name ? o->name : ".", (long long)o->off, (unsigned long long)o->len);
}
