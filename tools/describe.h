/* SPDX-License-Identifier: MIT */
/*
 * describe.h - points and entries as members of a JSON object, the same in
 * every command.
 */
#ifndef CS_TOOLS_DESCRIBE_H
#define CS_TOOLS_DESCRIBE_H

#include "json.h"

/* Add the members that describe a point to the open object. */
void cs_describe_point(struct cs_json *j, const struct cs_point *p);
/* Add the members that describe an entry, except its name. */
void cs_describe_entry(struct cs_json *j, const struct cs_entry *e);

#endif
