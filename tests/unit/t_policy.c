/* SPDX-License-Identifier: MIT */
#include "tools/duration.h"
#include "tools/policy.h"
#include "util.h"

#include <time.h>

#define MAX 64

/* What is kept, as a string of one letter a point, the oldest first: x kept, . forgotten. */
static const char *keeps(const struct cs_policy *p, struct cs_policy_item *items, size_t n,
			 int64_t now)
{
	static char text[MAX + 1];

	assert_true(cs_policy_decide(p, items, n, false, now));
	for (size_t i = 0; i < n; i++)
		text[i] = items[i].kept_by ? 'x' : '.';
	text[n] = '\0';
	return text;
}

/* "2026-11-22 06:39" in UTC. */
static int64_t at(const char *text)
{
	struct tm tm = { 0 };

	assert_non_null(strptime(text, "%Y-%m-%d %H:%M", &tm));
	return timegm(&tm);
}

static size_t fill(struct cs_policy_item *items, const char *const *texts)
{
	size_t n = 0;

	for (; texts[n]; n++)
		items[n] = (struct cs_policy_item){ .received = at(texts[n]) };
	return n;
}

static void zone(const char *tz)
{
	setenv("TZ", tz, 1);
	tzset();
}

static const char *reason(const struct cs_policy *p, const struct cs_policy_item *item,
			  enum cs_rule rule)
{
	static char text[CS_POLICY_TEXT];

	return cs_policy_reason(p, item, rule, text) ? text : "";
}

/* ------------------------------------------------------------ rules */

static void last_counts_by_receipt(void **state)
{
	static const char *const times[] = { "2026-11-20 10:00", "2026-11-21 10:00",
					     "2026-11-22 10:00", NULL };
	struct cs_policy p = { .count = { [CS_RULE_LAST] = 2 } };
	struct cs_policy_item items[MAX];
	size_t n = fill(items, times);

	(void)state;
	assert_string_equal(keeps(&p, items, n, 0), ".xx");
	assert_string_equal(reason(&p, &items[0], CS_RULE_LAST), "not of the last 2");
	assert_string_equal(reason(&p, &items[2], CS_RULE_LAST), "last 2");
	assert_string_equal(reason(&p, &items[2], CS_RULE_DAILY), "");
	p.count[CS_RULE_LAST] = 1000;
	assert_string_equal(keeps(&p, items, n, 0), "xxx");
	assert_true(cs_policy_decide(&p, items, 0, false, 0));
}

static void each_period_keeps_its_newest(void **state)
{
	static const char *const times[] = {
		"2026-11-18 23:00", "2026-11-20 10:00", "2026-11-20 23:59", "2026-11-21 00:00",
		"2026-11-22 10:00", "2026-11-22 10:30", "2026-11-22 11:00", NULL
	};
	struct cs_policy p = { .count = { [CS_RULE_DAILY] = 3 } };
	struct cs_policy_item items[MAX];
	size_t n = fill(items, times);

	(void)state;
	zone("UTC");
	assert_string_equal(keeps(&p, items, n, 0), "..xx..x");
	assert_string_equal(reason(&p, &items[6], CS_RULE_DAILY), "daily 2026-11-22");
	assert_string_equal(reason(&p, &items[5], CS_RULE_DAILY), "not the newest of 2026-11-22");
	assert_string_equal(reason(&p, &items[0], CS_RULE_DAILY), "before the last 3 days kept");
	/* days without points do not count */
	p.count[CS_RULE_DAILY] = 4;
	assert_string_equal(keeps(&p, items, n, 0), "x.xx..x");
	p = (struct cs_policy){ .count = { [CS_RULE_HOURLY] = 2 } };
	assert_string_equal(keeps(&p, items, n, 0), ".....xx");
	p = (struct cs_policy){ .count = { [CS_RULE_MONTHLY] = 5, [CS_RULE_YEARLY] = 5 } };
	assert_string_equal(keeps(&p, items, n, 0), "......x");
}

static void rules_add_up(void **state)
{
	static const char *const times[] = { "2024-05-01 10:00", "2025-05-01 10:00",
					     "2026-10-31 10:00", "2026-11-21 10:00",
					     "2026-11-22 10:00", "2026-11-22 11:00", NULL };
	struct cs_policy p = { .count = { [CS_RULE_LAST] = 1, [CS_RULE_DAILY] = 2,
					  [CS_RULE_MONTHLY] = 2, [CS_RULE_YEARLY] = 2 } };
	struct cs_policy_item items[MAX];
	size_t n = fill(items, times);

	(void)state;
	zone("UTC");
	assert_string_equal(keeps(&p, items, n, 0), ".xxx.x");
	assert_string_equal(reason(&p, &items[5], CS_RULE_LAST), "last 1");
	assert_string_equal(reason(&p, &items[5], CS_RULE_YEARLY), "yearly 2026");
	assert_string_equal(reason(&p, &items[2], CS_RULE_MONTHLY), "monthly 2026-10");
	assert_string_equal(reason(&p, &items[2], CS_RULE_DAILY), "");
	assert_string_equal(reason(&p, &items[0], CS_RULE_YEARLY), "before the last 2 years kept");
}

static void tags_keep(void **state)
{
	static const char *const times[] = { "2026-11-20 10:00", "2026-11-21 10:00",
					     "2026-11-22 10:00", NULL };
	struct cs_policy p = { .by_tag = true };
	struct cs_policy_item items[MAX];
	size_t n = fill(items, times);

	(void)state;
	items[1].tag = "gold";
	assert_string_equal(keeps(&p, items, n, 0), ".x.");
	assert_string_equal(reason(&p, &items[1], CS_RULE_TAG), "tag gold");
	assert_string_equal(reason(&p, &items[0], CS_RULE_TAG), "no tag to keep");
	p.by_tag = false;
	p.count[CS_RULE_LAST] = 1;
	assert_string_equal(keeps(&p, items, n, 0), "..x");
}

static void within_looks_back_from_the_newest(void **state)
{
	static const char *const times[] = { "2026-11-01 10:00", "2026-11-20 09:59",
					     "2026-11-20 10:00", "2026-11-22 10:00", NULL };
	struct cs_policy p = { .within = 2 * 86400 };
	struct cs_policy_item items[MAX];
	size_t n = fill(items, times);

	(void)state;
	/* years without a backup make no point old */
	assert_string_equal(keeps(&p, items, n, at("2030-01-01 00:00")), "..xx");
	assert_string_equal(reason(&p, &items[2], CS_RULE_WITHIN), "within 2d");
	assert_string_equal(reason(&p, &items[0], CS_RULE_WITHIN), "not within 2d");
	/* a newest point from a clock that was ahead does not, either */
	items[3].received = at("2099-01-01 00:00");
	assert_string_equal(keeps(&p, items, n, at("2026-11-20 12:00")), ".xxx");
	items[3].received = INT64_MIN;
	assert_string_equal(keeps(&p, items, n, INT64_MAX), "xxxx");
}

/* ------------------------------------------------------------ safety */

static void the_last_point_stays(void **state)
{
	static const char *const times[] = { "2026-11-20 10:00", "2026-11-21 10:00", NULL };
	struct cs_policy p = { .by_tag = true };
	struct cs_policy_item items[MAX];
	size_t n = fill(items, times);

	(void)state;
	assert_string_equal(keeps(&p, items, n, 0), ".x");
	assert_string_equal(reason(&p, &items[1], CS_RULE_ONLY), "the series would be empty");
	/* the series has other points, which --tag leaves alone */
	assert_true(cs_policy_decide(&p, items, n, true, 0));
	assert_int_equal(items[0].kept_by | items[1].kept_by, 0);
	p.allow_empty = true;
	assert_string_equal(keeps(&p, items, n, 0), "..");
}

static void a_policy_without_a_rule_is_none(void **state)
{
	struct cs_policy p = { .allow_empty = true };

	(void)state;
	assert_false(cs_policy_has_rule(&p));
	for (int rule = 0; rule <= CS_RULE_YEARLY; rule++) {
		p.count[rule] = 1;
		assert_true(cs_policy_has_rule(&p));
		p.count[rule] = 0;
	}
	p.within = 1;
	assert_true(cs_policy_has_rule(&p));
	p.within = 0;
	p.by_tag = true;
	assert_true(cs_policy_has_rule(&p));
}

/* A clock that was wrong for one point: it takes one place of a rule, and no more. */
static void a_period_that_returns_is_one(void **state)
{
	static const char *const times[] = { "2026-11-19 10:00", "2026-11-20 10:00",
					     "2026-11-21 10:00", "2099-01-01 00:00",
					     "2026-11-21 12:00", "1970-01-01 00:00",
					     "2026-11-21 14:00", NULL };
	struct cs_policy p = { .count = { [CS_RULE_DAILY] = 5 } };
	struct cs_policy_item items[MAX];
	size_t n = fill(items, times);

	(void)state;
	zone("UTC");
	assert_string_equal(keeps(&p, items, n, 0), "xx.x.xx");
}

/* ------------------------------------------------------------ calendars */

static void days_are_those_of_the_time_zone(void **state)
{
	static const char *const times[] = { "2026-11-21 22:30", "2026-11-21 23:30",
					     "2026-11-22 00:30", NULL };
	struct cs_policy p = { .count = { [CS_RULE_DAILY] = 9 } };
	struct cs_policy_item items[MAX];
	size_t n = fill(items, times);

	(void)state;
	zone("UTC");
	assert_string_equal(keeps(&p, items, n, 0), ".xx");
	zone("CET-1CEST,M3.5.0,M10.5.0/3"); /* midnight is at 23:00 UTC */
	assert_string_equal(keeps(&p, items, n, 0), "x.x");
	zone("UTC");
}

static void summer_time_ends_and_begins(void **state)
{
	/* 2026-10-25: 02:30 CEST, then 02:30 CET; 2026-03-29: 01:30 CET is followed by 03:30 CEST */
	static const char *const autumn[] = { "2026-10-25 00:30", "2026-10-25 01:30",
					      "2026-10-25 01:45", "2026-10-25 22:30", NULL };
	static const char *const spring[] = { "2026-03-28 23:30", "2026-03-29 00:30",
					      "2026-03-29 01:30", "2026-03-29 21:30",
					      "2026-03-29 22:30", NULL };
	struct cs_policy hourly = { .count = { [CS_RULE_HOURLY] = 9 } };
	struct cs_policy daily = { .count = { [CS_RULE_DAILY] = 9 } };
	struct cs_policy_item items[MAX];

	(void)state;
	zone("CET-1CEST,M3.5.0,M10.5.0/3");
	size_t n = fill(items, autumn);
	assert_string_equal(keeps(&hourly, items, n, 0), "x.xx");
	assert_string_equal(reason(&hourly, &items[0], CS_RULE_HOURLY),
			    "hourly 2026-10-25 02:00 +0200");
	assert_string_equal(keeps(&daily, items, n, 0), "...x"); /* a day of 25 hours */
	n = fill(items, spring);
	assert_string_equal(keeps(&hourly, items, n, 0), "xxxxx");
	assert_string_equal(keeps(&daily, items, n, 0), "...xx"); /* a day of 23 hours */
	zone("UTC");
}

static void weeks_begin_on_monday_and_belong_to_a_year(void **state)
{
	/* 2027-01-01 is a Friday of 2026-W53; 2027-01-04 is the Monday of 2027-W01;
	 * 2024-12-30 is the Monday of 2025-W01 */
	static const char *const times[] = { "2024-12-29 12:00", "2024-12-30 12:00",
					     "2025-01-05 23:59", "2025-01-06 00:00",
					     "2026-12-28 00:00", "2027-01-01 12:00",
					     "2027-01-03 23:59", "2027-01-04 00:00", NULL };
	struct cs_policy p = { .count = { [CS_RULE_WEEKLY] = 9 } };
	struct cs_policy_item items[MAX];
	size_t n = fill(items, times);

	(void)state;
	zone("UTC");
	assert_string_equal(keeps(&p, items, n, 0), "x.xx..xx");
	assert_string_equal(reason(&p, &items[6], CS_RULE_WEEKLY), "weekly 2026-W53");
	assert_string_equal(reason(&p, &items[2], CS_RULE_WEEKLY), "weekly 2025-W01");
	assert_string_equal(reason(&p, &items[5], CS_RULE_WEEKLY), "not the newest of 2026-W53");
	/* by year, the same points fall apart on the 1st of January */
	p = (struct cs_policy){ .count = { [CS_RULE_YEARLY] = 9 } };
	assert_string_equal(keeps(&p, items, n, 0), ".x.xx..x");
}

static void times_without_a_calendar_do_no_harm(void **state)
{
	struct cs_policy p = { .count = { 1, 1, 1, 1, 1, 1 }, .within = INT64_MAX };
	struct cs_policy_item items[3] = { { .received = INT64_MIN }, { .received = INT64_MAX },
					   { .received = 0 } };

	(void)state;
	assert_string_equal(keeps(&p, items, 3, 0), ".xx");
	p.within = 0;
	assert_string_equal(keeps(&p, items, 3, 0), "..x");
}

/* ------------------------------------------------------------ durations */

static void durations_have_a_unit(void **state)
{
	static const struct {
		const char *text;
		int64_t seconds; /* -1: refused */
		const char *back;
	} rows[] = {
		{ "0", 0, "0" },	   { "0d", 0, "0" },	  { "36h", 129600, "36h" },
		{ "7d", 604800, "7d" },	   { "4w", 2419200, "28d" }, { "1y", 31536000, "365d" },
		{ "90s", 90, "90s" },	   { "48h", 172800, "2d" }, { "007d", 604800, "7d" },
		{ "1000y", CS_DURATION_MAX, "365000d" },
		{ "1001y", -1, "" },	   { "", -1, "" },	  { "7", -1, "" },
		{ "d", -1, "" },	   { "7m", -1, "" },	  { "-7d", -1, "" },
		{ " 7d", -1, "" },	   { "7 d", -1, "" },	  { "7dd", -1, "" },
		{ "1w2d", -1, "" },	   { "0x", -1, "" },	  { "99999999999999999999d", -1, "" },
	};
	char text[CS_DURATION_TEXT];

	(void)state;
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		int64_t got = -1;
		bool ok = cs_duration_parse(rows[i].text, &got);

		if (ok != (rows[i].seconds >= 0) || got != rows[i].seconds)
			fail_msg("'%s': %d, %lld", rows[i].text, ok, (long long)got);
		if (ok)
			assert_string_equal(cs_duration_text(got, text), rows[i].back);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(last_counts_by_receipt),
		cmocka_unit_test(each_period_keeps_its_newest),
		cmocka_unit_test(rules_add_up),
		cmocka_unit_test(tags_keep),
		cmocka_unit_test(within_looks_back_from_the_newest),
		cmocka_unit_test(the_last_point_stays),
		cmocka_unit_test(a_policy_without_a_rule_is_none),
		cmocka_unit_test(a_period_that_returns_is_one),
		cmocka_unit_test(days_are_those_of_the_time_zone),
		cmocka_unit_test(summer_time_ends_and_begins),
		cmocka_unit_test(weeks_begin_on_monday_and_belong_to_a_year),
		cmocka_unit_test(times_without_a_calendar_do_no_harm),
		cmocka_unit_test(durations_have_a_unit),
	};

	return cmocka_run_group_tests_name("policy", tests, NULL, NULL);
}
