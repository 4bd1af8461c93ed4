/* SPDX-License-Identifier: MIT */
#include "select.h"

#include "alloc.h"
#include "page.h"

#include <errno.h>
#include <fnmatch.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void cs_select_free(struct cs_select *s)
{
	while (s) {
		struct cs_select *next = s->next;
		cs_select_free(s->child);
		free(s->name);
		free(s);
		s = next;
	}
}

const struct cs_select *cs_select_child(const struct cs_select *s, const char *name)
{
	for (const struct cs_select *c = s->child; c; c = c->next)
		if (strcmp(c->name, name) == 0)
			return c;
	return NULL;
}

int cs_select_names(const struct cs_select *s, struct cs_sorter *out, struct cs_error *err)
{
	int rc = CS_OK;
	for (const struct cs_select *c = s->child; c && rc == CS_OK; c = c->next)
		rc = cs_sorter_add(out, c->name, strlen(c->name) + 1, err);
	return rc;
}

static struct cs_select *add_name(struct cs_select *dir, const char *name, size_t len)
{
	struct cs_select **at = &dir->child;
	int d = 1;
	while (*at && (d = cs_key_compare((*at)->name, strlen((*at)->name), name, len)) < 0)
		at = &(*at)->next;
	if (*at && d == 0)
		return *at;
	struct cs_select *s = cs_zalloc(sizeof(*s));
	if (!s || !(s->name = cs_zalloc(len + 1))) {
		free(s);
		return NULL;
	}
	memcpy(s->name, name, len);
	s->next = *at;
	*at = s;
	return s;
}

/* PATH's parent resolved, its last name kept: a symlink that is named is stored as one. */
static int absolute(const char *path, char out[PATH_MAX], struct cs_error *err)
{
	char copy[PATH_MAX], parent[PATH_MAX];
	size_t n = strlen(path);
	if (n == 0 || n >= sizeof(copy))
		return cs_fail(err, CS_E_USAGE, "%.100s: not a path that can be backed up", path);
	memcpy(copy, path, n + 1);
	while (n > 1 && copy[n - 1] == '/')
		copy[--n] = 0;
	char *slash = strrchr(copy, '/');
	const char *last = slash ? slash + 1 : copy;
	if (!*last || strcmp(last, ".") == 0 || strcmp(last, "..") == 0) {
		if (!realpath(copy, out))
			return cs_fail_errno(err, errno, "%s", path);
		return CS_OK;
	}
	char name[NAME_MAX + 1];
	size_t name_len = strlen(last);
	if (name_len > NAME_MAX)
		return cs_fail_errno(err, ENAMETOOLONG, "%s", path);
	memcpy(name, last, name_len + 1);
	if (slash)
		*slash = 0;
	const char *dir = !slash ? "." : slash == copy ? "/" : copy;
	if (!realpath(dir, parent))
		return cs_fail_errno(err, errno, "%s", path);
	size_t parent_len = strcmp(parent, "/") == 0 ? 0 : strlen(parent);
	if (parent_len + 1 + name_len >= PATH_MAX)
		return cs_fail_errno(err, ENAMETOOLONG, "%s", path);
	memcpy(out, parent, parent_len);
	out[parent_len] = '/';
	memcpy(out + parent_len + 1, name, name_len + 1);
	return CS_OK;
}

static int add_path(struct cs_select *root, const char *path, struct cs_error *err)
{
	char full[PATH_MAX];
	struct cs_select *at = root;
	int rc = absolute(path, full, err);
	for (const char *p = full; rc == CS_OK && *p;) {
		p += strspn(p, "/");
		size_t n = strcspn(p, "/");
		if (n) {
			at = add_name(at, p, n);
			if (!at)
				rc = cs_fail(err, CS_E_NOMEM, "out of memory");
		}
		p += n;
	}
	if (rc == CS_OK)
		at->whole = true;
	return rc;
}

int cs_select_new(const char *const *paths, size_t n, struct cs_select **out,
		  struct cs_error *err)
{
	struct cs_select *root = cs_zalloc(sizeof(*root));
	int rc = root ? CS_OK : cs_fail(err, CS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < n && rc == CS_OK; i++)
		rc = add_path(root, paths[i], err);
	if (rc != CS_OK) {
		cs_select_free(root);
		return rc;
	}
	*out = root;
	return CS_OK;
}

bool cs_excluded(const char *const *patterns, size_t n, const char *path, const char *name)
{
	for (size_t i = 0; i < n; i++) {
		const char *p = patterns[i];
		bool of_path = strchr(p, '/') != NULL;
		p += of_path && *p == '/';
		if (fnmatch(p, of_path ? path : name, of_path ? FNM_PATHNAME : 0) == 0)
			return true;
	}
	return false;
}
