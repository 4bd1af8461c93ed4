/* SPDX-License-Identifier: MIT */
/*
 * duration.h - lengths of time as people write them: 0, 36h, 7d, 4w, 1y.
 */
#ifndef CS_TOOLS_DURATION_H
#define CS_TOOLS_DURATION_H

#include <stdbool.h>
#include <stdint.h>

#define CS_DURATION_MAX (1000ll * 365 * 86400) /* 1000y */
#define CS_DURATION_TEXT 24

/* The seconds of a text; a year has 365 days. False for any other text, or more than 1000y. */
bool cs_duration_parse(const char *text, int64_t *out);
/* The shortest text in days, hours or seconds: "7d", "36h", "90s", "0". */
const char *cs_duration_text(int64_t seconds, char out[CS_DURATION_TEXT]);

#endif
