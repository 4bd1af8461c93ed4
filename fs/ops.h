/* SPDX-License-Identifier: MIT */
/* ops.h - the FUSE callbacks. See ops.c. */
#ifndef CS_OPS_H
#define CS_OPS_H

#include "awake.h"
#include "push.h"
#include "view.h"

/* What the callbacks know: the session's userdata. */
struct cs_ops {
	struct cs_view *view;
	struct cs_push *push; /* NULL: nothing is pushed */
	struct cs_awake *awake;
	bool no_acls;         /* modes alone say who may what */
	/* set by INIT, before any other request */
	bool no_open, no_opendir; /* the kernel can do without open and opendir */
};

#define CS_OPS_IO_MAX (1024 * 1024) /* bytes of one READ */
#define CS_OPS_FOREVER 1e9          /* seconds: 31 years */

struct fuse_lowlevel_ops;
const struct fuse_lowlevel_ops *cs_ops_table(size_t *out_size);

#endif
