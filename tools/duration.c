/* SPDX-License-Identifier: MIT */
/*
 * duration.c - decision: one number and one unit, and the unit must be said. A
 * month has no length, and "m" could be a minute, so neither is understood.
 */
#include "duration.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static int64_t unit_seconds(const char *unit)
{
	static const struct {
		char letter;
		int64_t seconds;
	} units[] = {
		{ 's', 1 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 7 * 86400 }, { 'y', 365 * 86400 },
	};

	for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
		if (unit[0] == units[i].letter && unit[1] == '\0')
			return units[i].seconds;
	}
	return 0;
}

bool cs_duration_parse(const char *text, int64_t *out)
{
	size_t digits = strspn(text, "0123456789");
	int64_t unit = unit_seconds(text + digits);
	int64_t n = 0;

	if (digits == 0)
		return false;
	for (size_t i = 0; i < digits; i++) {
		n = n * 10 + (text[i] - '0');
		if (n > CS_DURATION_MAX)
			return false;
	}
	if (n == 0 && (unit > 0 || text[digits] == '\0')) {
		*out = 0;
		return true;
	}
	if (unit == 0 || n > CS_DURATION_MAX / unit)
		return false;
	*out = n * unit;
	return true;
}

const char *cs_duration_text(int64_t seconds, char out[CS_DURATION_TEXT])
{
	if (seconds == 0)
		snprintf(out, CS_DURATION_TEXT, "0");
	else if (seconds % 86400 == 0)
		snprintf(out, CS_DURATION_TEXT, "%" PRId64 "d", seconds / 86400);
	else if (seconds % 3600 == 0)
		snprintf(out, CS_DURATION_TEXT, "%" PRId64 "h", seconds / 3600);
	else
		snprintf(out, CS_DURATION_TEXT, "%" PRId64 "s", seconds);
	return out;
}
