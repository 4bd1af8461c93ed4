/* SPDX-License-Identifier: MIT */
/*
 * policy.c - decisions:
 *
 * Points count in the order in which the store received them, and fall into
 * the period in which it did. What a point says of itself, its name and the
 * time at which its backup began, is the word of another machine's clock: a
 * point dated in the future would be the newest for ever.
 *
 * This machine's own clock may have been wrong, too. A period that returns
 * (22nd, 1st of January 1970, 22nd) is still one period, so such a point takes
 * one place of a rule and no more; and --keep-within looks back from the newest
 * point or from now, whichever is earlier, so that neither a wrong clock nor a
 * long time without backups makes all points old.
 *
 * The rules do not know of each other: a point is kept if any rule keeps it.
 */
#include "policy.h"

#include "duration.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define PERIOD_TEXT 40

static const struct {
	const char *name, *unit;
} periods[CS_RULE_YEARLY + 1] = {
	[CS_RULE_HOURLY] = { "hourly", "hour" }, [CS_RULE_DAILY] = { "daily", "day" },
	[CS_RULE_WEEKLY] = { "weekly", "week" }, [CS_RULE_MONTHLY] = { "monthly", "month" },
	[CS_RULE_YEARLY] = { "yearly", "year" },
};

static bool is_period(int rule)
{
	return rule >= CS_RULE_HOURLY && rule <= CS_RULE_YEARLY;
}

/* An hour that the end of summer time repeats is two, told apart by the offset. */
static size_t period_text(int rule, const struct tm *tm, char out[PERIOD_TEXT])
{
	switch (rule) {
	case CS_RULE_HOURLY:
		return strftime(out, PERIOD_TEXT, "%Y-%m-%d %H:00 %z", tm);
	case CS_RULE_DAILY:
		return strftime(out, PERIOD_TEXT, "%Y-%m-%d", tm);
	case CS_RULE_WEEKLY:
		return strftime(out, PERIOD_TEXT, "%G-W%V", tm);
	case CS_RULE_MONTHLY:
		return strftime(out, PERIOD_TEXT, "%Y-%m", tm);
	default:
		return strftime(out, PERIOD_TEXT, "%Y", tm);
	}
}

static void period_of(int rule, int64_t sec, char out[PERIOD_TEXT])
{
	time_t t = (time_t)sec;
	struct tm tm;

	/* a year that no calendar has: a period of its own */
	if (!localtime_r(&t, &tm) || period_text(rule, &tm, out) == 0)
		snprintf(out, PERIOD_TEXT, "@%" PRId64, sec);
}

bool cs_policy_has_rule(const struct cs_policy *p)
{
	for (int i = 0; i <= CS_RULE_YEARLY; i++) {
		if (p->count[i] > 0)
			return true;
	}
	return p->within > 0 || p->by_tag;
}

/* --- the rules, each from the newest point to the oldest */

static void keep_last(const struct cs_policy *p, struct cs_policy_item *items, size_t n)
{
	size_t count = (size_t)p->count[CS_RULE_LAST];

	for (size_t i = n > count ? n - count : 0; i < n; i++)
		items[i].kept_by |= 1u << CS_RULE_LAST;
}

static bool keep_periods(const struct cs_policy *p, int rule, struct cs_policy_item *items,
			 size_t n)
{
	size_t most = (size_t)p->count[rule] < n ? (size_t)p->count[rule] : n;
	char (*kept)[PERIOD_TEXT] = malloc((most + 1) * sizeof(*kept));
	size_t nkept = 0;

	if (!kept)
		return false;
	for (size_t i = n; i-- > 0;) {
		char period[PERIOD_TEXT];
		size_t k = nkept;

		period_of(rule, items[i].received, period);
		while (k > 0 && strcmp(kept[k - 1], period) != 0)
			k--;
		if (k > 0) {
			items[i].newer |= 1u << rule;
		} else if (nkept < most) {
			memcpy(kept[nkept++], period, sizeof(period));
			items[i].kept_by |= 1u << rule;
		}
	}
	free(kept);
	return true;
}

static void keep_within(const struct cs_policy *p, struct cs_policy_item *items, size_t n,
			int64_t now)
{
	int64_t from = items[n - 1].received < now ? items[n - 1].received : now;

	/* below the least number there is nothing to look back to */
	from = from < INT64_MIN + p->within ? INT64_MIN : from - p->within;
	for (size_t i = 0; i < n; i++) {
		if (items[i].received >= from)
			items[i].kept_by |= 1u << CS_RULE_WITHIN;
	}
}

bool cs_policy_decide(const struct cs_policy *p, struct cs_policy_item *items, size_t n,
		      bool others, int64_t now)
{
	bool any = others || p->allow_empty;

	if (n == 0)
		return true;
	for (size_t i = 0; i < n; i++) {
		items[i].kept_by = p->by_tag && items[i].tag ? 1u << CS_RULE_TAG : 0;
		items[i].newer = 0;
	}
	if (p->count[CS_RULE_LAST] > 0)
		keep_last(p, items, n);
	for (int rule = CS_RULE_HOURLY; rule <= CS_RULE_YEARLY; rule++) {
		if (p->count[rule] > 0 && !keep_periods(p, rule, items, n))
			return false;
	}
	if (p->within > 0)
		keep_within(p, items, n, now);
	for (size_t i = 0; i < n; i++)
		any = any || items[i].kept_by;
	if (!any)
		items[n - 1].kept_by = 1u << CS_RULE_ONLY;
	return true;
}

/* --- reasons */

static bool why_kept(const struct cs_policy *p, const struct cs_policy_item *item, int rule,
		     char out[CS_POLICY_TEXT])
{
	char text[PERIOD_TEXT];

	if (!(item->kept_by & 1u << rule))
		return false;
	if (is_period(rule)) {
		period_of(rule, item->received, text);
		snprintf(out, CS_POLICY_TEXT, "%s %s", periods[rule].name, text);
	} else if (rule == CS_RULE_LAST) {
		snprintf(out, CS_POLICY_TEXT, "last %ld", p->count[rule]);
	} else if (rule == CS_RULE_WITHIN) {
		snprintf(out, CS_POLICY_TEXT, "within %s", cs_duration_text(p->within, text));
	} else if (rule == CS_RULE_TAG) {
		snprintf(out, CS_POLICY_TEXT, "tag %s", item->tag);
	} else {
		snprintf(out, CS_POLICY_TEXT, "the series would be empty");
	}
	return true;
}

static bool why_dropped(const struct cs_policy *p, const struct cs_policy_item *item, int rule,
			char out[CS_POLICY_TEXT])
{
	char text[PERIOD_TEXT];

	if (rule <= CS_RULE_YEARLY && p->count[rule] == 0)
		return false;
	if (is_period(rule) && item->newer & 1u << rule) {
		period_of(rule, item->received, text);
		snprintf(out, CS_POLICY_TEXT, "not the newest of %s", text);
	} else if (is_period(rule)) {
		snprintf(out, CS_POLICY_TEXT, "before the last %ld %s%s kept", p->count[rule],
			 periods[rule].unit, p->count[rule] == 1 ? "" : "s");
	} else if (rule == CS_RULE_LAST) {
		snprintf(out, CS_POLICY_TEXT, "not of the last %ld", p->count[rule]);
	} else if (rule == CS_RULE_WITHIN && p->within > 0) {
		snprintf(out, CS_POLICY_TEXT, "not within %s", cs_duration_text(p->within, text));
	} else if (rule == CS_RULE_TAG && p->by_tag) {
		snprintf(out, CS_POLICY_TEXT, "no tag to keep");
	} else {
		return false;
	}
	return true;
}

bool cs_policy_reason(const struct cs_policy *p, const struct cs_policy_item *item,
		      enum cs_rule rule, char out[CS_POLICY_TEXT])
{
	return item->kept_by ? why_kept(p, item, (int)rule, out) :
			       why_dropped(p, item, (int)rule, out);
}
