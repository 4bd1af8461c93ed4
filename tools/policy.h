/* SPDX-License-Identifier: MIT */
/*
 * policy.h - which points of a series a policy keeps, and why.
 *
 * A function of its arguments and of the time zone (localtime(3)): no store,
 * no clock.
 */
#ifndef CS_TOOLS_POLICY_H
#define CS_TOOLS_POLICY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum cs_rule {
	CS_RULE_LAST,
	/* the newest point of each of the last count[rule] periods that have points */
	CS_RULE_HOURLY,
	CS_RULE_DAILY,
	CS_RULE_WEEKLY, /* ISO 8601: from Monday */
	CS_RULE_MONTHLY,
	CS_RULE_YEARLY,
	CS_RULE_WITHIN,
	CS_RULE_TAG,
	CS_RULE_ONLY, /* not asked for: the series would have no point left */
	CS_RULES,
};

struct cs_policy {
	long count[CS_RULE_YEARLY + 1]; /* 0: no such rule */
	int64_t within;                 /* seconds; 0: no such rule */
	bool by_tag;                    /* points with a tag are kept */
	bool allow_empty;
};

/* One point. */
struct cs_policy_item {
	int64_t received;  /* seconds: when the store got it, whatever date it has itself */
	const char *tag;   /* a tag for which it is kept, or NULL. Borrowed. */
	/* out: sets of 1 << enum cs_rule */
	unsigned kept_by;  /* 0: to be forgotten */
	unsigned newer;    /* rules by period: a newer point is kept for its period */
};

/* Does the policy have a rule at all? One without would forget everything. */
bool cs_policy_has_rule(const struct cs_policy *p);

/*
 * Decide about the points of one series, in the order in which the store
 * received them, the oldest first. others: the series has more points, which
 * the policy is not about. False: out of memory, and nothing is decided.
 */
bool cs_policy_decide(const struct cs_policy *p, struct cs_policy_item *items, size_t n,
		      bool others, int64_t now);

#define CS_POLICY_TEXT 160
/*
 * What a rule says of a point that was decided about: why it keeps it, or if
 * none keeps it, why this one does not. False when it says nothing.
 */
bool cs_policy_reason(const struct cs_policy *p, const struct cs_policy_item *item,
		      enum cs_rule rule, char out[CS_POLICY_TEXT]);

#endif
