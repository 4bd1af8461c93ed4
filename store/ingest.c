/* SPDX-License-Identifier: MIT */
/*
 * ingest.c - a backup from its options to its committed point.
 *
 * Crash points: until the last transaction the store holds chunks that no
 * point refers to, and nothing else is new; gc frees them. The last
 * transaction holds the last chunks and the point, so a point is there whole
 * or not at all.
 */
#include "ingest.h"

#include "alloc.h"
#include "fault.h"
#include "hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

void cs_ingest_notice(struct cs_ingest *in, int kind, const char *fmt, ...)
{
	char path[2048], text[512], line[2600];
	va_list ap;
	if (kind == CS_NOTICE_ERROR)
		in->result.point.unreadable++;
	if (!in->opts->notice)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	cs_text_escape((const char *)in->path.data, in->path.len, false, path, sizeof(path));
	const char *root = in->opts->root ? in->opts->root : "";
	size_t n = strlen(root);
	snprintf(line, sizeof(line), "%s%s%s: %s", root,
		 (n && root[n - 1] == '/') || (!in->path.len && n) ? "" : "/", path, text);
	in->opts->notice(in->opts->arg, kind, line);
}

void cs_ingest_lacks(struct cs_ingest *in, int e_no)
{
	struct rlimit l = { 0 };
	size_t depth = 0;
	if (e_no != EMFILE && e_no != ENFILE)
		return;
	for (size_t i = 0; i < in->path.len; i++)
		depth += in->path.data[i] == '/';
	if (e_no == EMFILE && (getrlimit(RLIMIT_NOFILE, &l) != 0 || depth >= l.rlim_cur / 2))
		return; /* each directory on the way down has one */
	in->lacking = e_no;
}

static int check_lack(const struct cs_ingest *in, struct cs_error *err)
{
	return in->lacking ? cs_fail_errno(err, in->lacking, "the backup cannot go on") : CS_OK;
}

int cs_ingest_tick(struct cs_ingest *in, struct cs_error *err)
{
	int rc = check_lack(in, err);
	if (rc != CS_OK)
		return rc;
	if (!in->opts->progress)
		return CS_OK;
	struct cs_progress p = { .what = "backup",
				 .entries = in->result.point.totals.entries,
				 .bytes = in->result.point.totals.bytes,
				 .path = (const char *)in->path.data };
	if (in->parent) {
		p.total_entries = in->parent->point.totals.entries;
		p.total_bytes = in->parent->point.totals.bytes;
	}
	if (in->opts->progress(in->opts->arg, &p))
		return cs_fail(err, CS_E_INTERRUPTED, "interrupted; no point was stored");
	return CS_OK;
}

/* What sorting may take, twice: for names, for links. Tests make it small. */
static size_t sort_bytes(void)
{
	const char *bytes = secure_getenv("CS_SORT_BYTES");
	return bytes ? strtoull(bytes, NULL, 10) : (size_t)16 << 20;
}

static int tick_bytes(void *arg, uint64_t bytes)
{
	(void)bytes;
	return cs_ingest_tick(arg, NULL);
}

/* ---- checks before anything is done */

static int check_opts(const struct cs_store *s, const struct cs_backup_opts *o,
		      struct cs_error *err)
{
	if (!s->writable)
		return cs_fail(err, CS_E_READONLY, "store %s is open for reading only", s->path);
	if (!o->series)
		return cs_fail(err, CS_E_USAGE, "a backup needs a series");
	int rc = cs_series_check(o->series, err);
	if (rc != CS_OK)
		return rc;
	if (!o->root == !o->npaths)
		return cs_fail(err, CS_E_USAGE, "a backup needs a root directory or paths, not both");
	if (o->ntags > CS_TAGS_MAX)
		return cs_fail(err, CS_E_USAGE, "a point has at most %d tags", CS_TAGS_MAX);
	for (size_t i = 0; i < o->ntags; i++) {
		size_t n = strlen(o->tags[i]);
		if (!cs_name_valid(o->tags[i], n) || n > CS_TAG_MAX)
			return cs_fail(err, CS_E_USAGE,
				       "tag '%.150s': a tag has 1 to %d bytes and no '/'",
				       o->tags[i], CS_TAG_MAX);
	}
	if (o->host && strlen(o->host) > CS_HOST_MAX)
		return cs_fail(err, CS_E_USAGE, "the host's name is too long");
	if (o->level < CS_LEVEL_NONE || o->level > CS_LEVEL_MAX)
		return cs_fail(err, CS_E_USAGE, "the compression level is 1 to %d", CS_LEVEL_MAX);
	if (o->consistency < CS_CONSISTENCY_UNKNOWN || o->consistency > CS_CONSISTENCY_APP)
		return cs_fail(err, CS_E_USAGE, "unknown consistency level");
	return CS_OK;
}

/* Deep trees hold a descriptor a level. */
static void raise_file_limit(void)
{
	struct rlimit r;
	if (getrlimit(RLIMIT_NOFILE, &r) == 0 && r.rlim_cur < r.rlim_max) {
		r.rlim_cur = r.rlim_max;
		setrlimit(RLIMIT_NOFILE, &r);
	}
}

/* The paths that are there. One that is missing is told of; if all are, that is a mistake. */
static int find_paths(struct cs_ingest *in, struct cs_select **select, struct cs_error *err)
{
	const struct cs_backup_opts *o = in->opts;
	struct stat st;
	size_t n = 0;
	const char **there = cs_alloc(o->npaths * sizeof(*there));
	if (!there)
		return cs_fail(err, CS_E_NOMEM, "out of memory");
	for (size_t i = 0; i < o->npaths; i++) {
		if (lstat(o->paths[i], &st) == 0) {
			there[n++] = o->paths[i];
			continue;
		}
		cs_fail_errno(err, errno, "cannot back up %s", o->paths[i]);
		in->result.point.unreadable++;
		if (o->notice && o->npaths > 1)
			o->notice(o->arg, CS_NOTICE_ERROR, err ? err->text : o->paths[i]);
	}
	int rc = n ? cs_select_new(there, n, select, err) : err ? err->code : CS_E_NOTFOUND;
	free(there);
	return rc;
}

static int open_source(struct cs_ingest *in, int *fd, struct cs_select **select,
		       struct cs_error *err)
{
	struct stat st;
	const char *root = in->opts->root ? in->opts->root : "/";
	int rc = in->opts->root ? CS_OK : find_paths(in, select, err);
	if (rc != CS_OK)
		return rc;
	*fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOATIME);
	if (*fd < 0 && errno == EPERM)
		*fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (*fd < 0 || fstat(*fd, &st) != 0)
		return cs_fail_errno(err, errno, "cannot back up %s", root);
	if (st.st_dev == in->store->dev && st.st_ino == in->store->ino)
		return cs_fail(err, CS_E_USAGE, "cannot back up %s: it is the store itself", root);
	if (access("/proc/self/fd", F_OK) != 0 && in->opts->notice)
		in->opts->notice(in->opts->arg, CS_NOTICE_INFO,
				 "/proc is not mounted: extended attributes of symlinks and "
				 "special files are not recorded");
	return CS_OK;
}

/* The newest point of the series, if it can be read: a hint for speed, never more. */
static void open_parent(struct cs_ingest *in)
{
	struct cs_point p;
	if (cs_point_by_name(in->store, in->opts->series, "latest", &p, NULL) != CS_OK ||
	    cs_tree_open(in->store, p.seq, &in->parent, NULL) != CS_OK)
		return;
	const struct cs_point_record *r = &in->parent->record;
	in->trusted = r->started;
	if (cs_grow(&in->volumes, &in->volumes_cap, r->nvolumes + 1u, sizeof(*in->volumes)) == CS_OK) {
		memcpy(in->volumes, r->volumes, r->nvolumes * sizeof(*in->volumes));
		in->nvolumes = r->nvolumes;
	}
}

/* ---- the point */

static void describe_source(const struct cs_backup_opts *o, char *out, size_t cap)
{
	size_t at = 0;
	const char *one[] = { o->root };
	const char *const *paths = o->root ? one : o->paths;
	size_t n = o->root ? 1 : o->npaths;
	out[0] = 0;
	for (size_t i = 0; i < n && at + 2 < cap; i++) {
		if (at)
			out[at++] = '\n';
		size_t want = cs_text_escape(paths[i], strlen(paths[i]), false, out + at, cap - at);
		at += want < cap - at ? want : strlen(out + at);
		out[at] = 0;
	}
}

static int describe(struct cs_ingest *in, struct cs_time started, struct cs_point_record *r,
		    struct cs_error *err)
{
	const struct cs_backup_opts *o = in->opts;
	memset(r, 0, sizeof(*r));
	r->started = started;
	r->parent = in->parent ? in->parent->record.seq : 0;
	r->consistency = (uint8_t)o->consistency;
	if (getrandom(r->id, sizeof(r->id), 0) != sizeof(r->id))
		return cs_fail_errno(err, errno, "no random numbers");
	if (o->host)
		snprintf(r->host, sizeof(r->host), "%s", o->host);
	else
		gethostname(r->host, sizeof(r->host) - 1);
	describe_source(o, r->source, sizeof(r->source));
	r->ntags = (uint32_t)o->ntags;
	for (size_t i = 0; i < o->ntags; i++)
		snprintf(r->tags[i], sizeof(r->tags[i]), "%s", o->tags[i]);
	return CS_OK;
}

/* The root's entry goes into the record, as a page of one entry without a name. */
static int pack_root(const struct cs_entry *root, struct cs_point_record *r, struct cs_error *err)
{
	struct cs_pages_writer w;
	struct cs_buf b = { 0 };
	cs_pages_writer_init(&w, CS_PAGE_DIR, NULL, NULL);
	w.min = w.max = CS_PAGE_RAW_MAX;
	int rc = cs_tree_add(&w, root, err);
	if (rc == CS_OK && (!cs_pages_take_single(&w, CS_PAGE_RAW_MAX, &b) || b.failed))
		rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	cs_pages_writer_release(&w);
	if (rc != CS_OK) {
		cs_buf_release(&b);
		return rc;
	}
	r->root = b.data;
	r->root_len = b.len;
	return CS_OK;
}

struct last {
	struct cs_ingest *in;
	struct cs_point_record *record;
	uint64_t generation;
};

static int commit_point(void *arg, struct cs_txn *t, struct cs_error *err)
{
	struct last *l = arg;
	l->record->received = cs_now();
	int rc = cs_points_add(t, l->in->opts->series, l->record, err);
	if (rc == CS_OK)
		rc = cs_db_counter_get(t, CS_META_GENERATION, &l->generation, err);
	return rc;
}

static int finish(struct cs_ingest *in, const struct cs_entry *root, struct cs_point_record *r,
		  struct cs_error *err)
{
	struct last last = { in, r, 0 };
	struct cs_pipeline_stats st;
	int rc = check_lack(in, err);
	if (rc == CS_OK)
		rc = cs_ingest_links_store(in, &r->links, err);
	if (rc == CS_OK)
		rc = pack_root(root, r, err);
	if (rc == CS_OK)
		rc = cs_pipeline_flush(in->pipeline, err);
	if (rc != CS_OK)
		return rc;
	cs_pipeline_stats(in->pipeline, &st);
	r->totals = root->below;
	r->totals.entries++;
	r->totals.xattrs += cs_entry_has_xattrs(root);
	r->added_raw = st.raw;
	r->added_stored = st.stored;
	r->unreadable = in->result.point.unreadable;
	r->changed = in->result.point.changed;
	r->volumes = in->volumes;
	r->nvolumes = (uint32_t)in->nvolumes;
	cs_fault("backup: before the point");
	rc = cs_pipeline_finish(in->pipeline, commit_point, &last, err);
	if (rc == CS_OK) {
		in->result.chunks_new = st.chunks_new;
		in->result.chunks_dup = st.chunks_dup;
		in->result.chunks_healed = st.healed;
		rc = cs_point_by_seq(in->store, r->seq, &in->result.point, err);
		cs_leases_settle(in->store->leases, last.generation);
	}
	return rc;
}

static int run(struct cs_ingest *in, int fd, const struct cs_select *select, struct cs_error *err)
{
	struct cs_point_record r;
	struct cs_entry root;
	struct cs_buf root_xattrs = { 0 };
	int rc = describe(in, cs_now(), &r, err);
	if (rc != CS_OK)
		return rc;
	rc = cs_ingest_tree(in, fd, select, &root, &root_xattrs, &r.digest, err);
	if (rc == CS_OK)
		rc = finish(in, &root, &r, err);
	free(r.root);
	cs_buf_release(&root_xattrs);
	return rc;
}

static void ingest_release(struct cs_ingest *in)
{
	cs_ahead_free(in->ahead);
	cs_intake_release(&in->intake);
	cs_pipeline_free(in->pipeline);
	cs_tree_close(in->parent);
	for (size_t i = 0; in->same && i < CS_SAME_INODE_ROWS; i++)
		free(in->same[i].bytes);
	free(in->same);
	free(in->volumes);
	cs_sorter_release(&in->links);
	free(in->anew);
	free(in->xattrs);
	cs_buf_release(&in->path);
	cs_buf_release(&in->xattr_text);
	cs_buf_release(&in->xattr_packed);
	cs_buf_release(&in->line);
	cs_buf_release(&in->target);
}

int cs_backup(struct cs_store *s, const struct cs_backup_opts *opts,
	      struct cs_backup_result *out, struct cs_error *err)
{
	struct cs_ingest in = { .store = s, .opts = opts, .sort_bytes = sort_bytes() };
	struct cs_select *select = NULL;
	int fd = -1;
	int rc = check_opts(s, opts, err);
	if (rc != CS_OK)
		return rc;
	raise_file_limit();
	cs_sorter_init(&in.links, s->path, in.sort_bytes);
	rc = open_source(&in, &fd, &select, err);
	in.same = cs_zalloc(CS_SAME_INODE_ROWS * sizeof(*in.same));
	cs_buf_u8(&in.path, 0);
	in.path.len = 0;
	if (rc == CS_OK && (!in.same || in.path.failed))
		rc = cs_fail(err, CS_E_NOMEM, "out of memory");
	if (rc == CS_OK)
		rc = cs_pipeline_new(s, opts->level, opts->threads, &in.pipeline, err);
	if (rc == CS_OK && opts->heal)
		cs_pipeline_heal(in.pipeline);
	if (rc == CS_OK)
		rc = cs_intake_init(&in.intake, s, in.pipeline, err);
	if (rc == CS_OK) {
		in.intake.tick = tick_bytes;
		in.intake.arg = &in;
		open_parent(&in);
		in.ahead = cs_ahead_new();
		rc = run(&in, fd, select, err);
	}
	if (rc == CS_OK) {
		*out = in.result;
		if (in.result.point.unreadable)
			rc = cs_fail(err, CS_E_PARTIAL,
				     "the point was stored, but %llu source entries could not be "
				     "read",
				     (unsigned long long)in.result.point.unreadable);
	}
	cs_select_free(select);
	if (fd >= 0)
		close(fd);
	ingest_release(&in);
	return rc;
}
