/* SPDX-License-Identifier: MIT */
#include "dump.h"

#include "text.h"

#include <string.h>

static const char digits[] = "0123456789abcdef";

static void add_number(struct cs_buf *b, uint64_t v, unsigned base)
{
	char t[24];
	size_t i = sizeof(t);
	do {
		t[--i] = digits[v % base];
		v /= base;
	} while (v);
	cs_buf_add(b, t + i, sizeof(t) - i);
}

static void field(struct cs_buf *b, uint64_t v)
{
	cs_buf_u8(b, ' ');
	add_number(b, v, 10);
}

static void unknown(struct cs_buf *b)
{
	cs_buf_add(b, " -", 2);
}

static void add_time(struct cs_buf *b, struct cs_time t)
{
	cs_buf_u8(b, ' ');
	if (t.sec < 0)
		cs_buf_u8(b, '-');
	add_number(b, t.sec < 0 ? 0 - (uint64_t)t.sec : (uint64_t)t.sec, 10);
	char ns[10] = ".";
	uint32_t v = t.nsec;
	for (int i = 9; i > 0; i--, v /= 10)
		ns[i] = digits[v % 10];
	cs_buf_add(b, ns, sizeof(ns));
}

static void add_hex(struct cs_buf *b, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		cs_buf_u8(b, (uint8_t)digits[p[i] >> 4]);
		cs_buf_u8(b, (uint8_t)digits[p[i] & 15]);
	}
}

static void add_escaped(struct cs_buf *b, const char *s, size_t n)
{
	size_t want = 4 * n + 1;
	if (!cs_buf_reserve(b, want))
		return;
	b->len += cs_text_escape(s, n, true, (char *)b->data + b->len, want);
}

/* A name's own '=' and ',' are escaped too: the field can be taken apart. */
static void add_xattr_name(struct cs_buf *b, const char *s, size_t n)
{
	while (n) {
		size_t plain = 0;
		while (plain < n && s[plain] != '=' && s[plain] != ',')
			plain++;
		add_escaped(b, s, plain);
		s += plain;
		n -= plain;
		if (n) {
			cs_buf_add(b, *s == '=' ? "\\x3d" : "\\x2c", 4);
			s++;
			n--;
		}
	}
}

static char type_letter(uint32_t mode)
{
	switch (mode & S_IFMT) {
	case S_IFDIR:
		return 'd';
	case S_IFLNK:
		return 'l';
	case S_IFCHR:
		return 'c';
	case S_IFBLK:
		return 'b';
	case S_IFIFO:
		return 'p';
	case S_IFSOCK:
		return 's';
	default:
		return 'f';
	}
}

static void add_xattrs(struct cs_buf *b, const struct cs_entry *e, const struct cs_xattr_item *x,
		       size_t n)
{
	if (!(e->have & CS_HAVE_XATTRS)) {
		unknown(b);
		return;
	}
	cs_buf_u8(b, ' ');
	if (n == 0)
		cs_buf_u8(b, '0');
	for (size_t i = 0; i < n; i++) {
		if (i)
			cs_buf_u8(b, ',');
		add_xattr_name(b, x[i].name, x[i].name_len);
		cs_buf_u8(b, '=');
		if (x[i].chunk) {
			cs_buf_u8(b, '#');
			add_hex(b, x[i].hash.b, CS_HASH_SIZE);
			cs_buf_u8(b, ':');
			add_number(b, x[i].value_len, 10);
		} else {
			add_hex(b, x[i].value, x[i].value_len);
		}
	}
}

static void add_content(struct cs_buf *b, const struct cs_entry *e, const struct cs_hash *content)
{
	cs_buf_u8(b, ' ');
	if (S_ISREG(e->mode))
		add_hex(b, content->b, CS_HASH_SIZE);
	else if (S_ISDIR(e->mode))
		add_hex(b, e->hash.b, CS_HASH_SIZE);
	else if (S_ISLNK(e->mode))
		add_escaped(b, (const char *)e->bytes, e->bytes_len);
	else
		cs_buf_u8(b, '-');
}

void cs_dump_line(struct cs_buf *b, const struct cs_entry *e, const struct cs_hash *content,
		  const struct cs_xattr_item *xattrs, size_t nxattrs, const char *path,
		  size_t path_len)
{
	bool file = S_ISREG(e->mode);
	cs_buf_u8(b, (uint8_t)type_letter(e->mode));
	cs_buf_u8(b, ' ');
	add_number(b, e->mode & 07777, 8);
	field(b, e->uid);
	field(b, e->gid);
	field(b, e->nlink);
	if (file || S_ISLNK(e->mode))
		field(b, e->size);
	else
		unknown(b);
	if (file)
		field(b, e->data_bytes);
	else
		unknown(b);
	add_time(b, e->mtime);
	add_time(b, e->ctime);
	add_time(b, e->atime);
	if (e->have & CS_HAVE_BTIME)
		add_time(b, e->btime);
	else
		unknown(b);
	field(b, e->ino);
	field(b, e->volume);
	if (S_ISCHR(e->mode) || S_ISBLK(e->mode)) {
		field(b, e->rdev_major);
		cs_buf_u8(b, ':');
		add_number(b, e->rdev_minor, 10);
	} else {
		unknown(b);
	}
	if (e->have & CS_HAVE_FLAGS) {
		cs_buf_u8(b, ' ');
		add_number(b, e->flags, 16);
	} else {
		unknown(b);
	}
	if (e->have & CS_HAVE_PROJID)
		field(b, e->projid);
	else
		unknown(b);
	add_content(b, e, content);
	add_xattrs(b, e, xattrs, nxattrs);
	cs_buf_u8(b, ' ');
	add_escaped(b, path, path_len);
}
