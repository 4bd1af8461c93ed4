#!/bin/bash
# SPDX-License-Identifier: MIT
# forget by a policy: what it keeps and why, what it never does, and what it leaves alone.
. "$(dirname "$0")/../lib/harness.sh"
! is_sanitized || skip_all "a sanitizer and a clock of our own exclude each other"
new_store || exit 1

# A clock of our own: hours from 2026-11-22 12:00 UTC, a Sunday.
cat >"$T/clock.c" <<-'EOF'
	#include <stdlib.h>
	#include <time.h>
	static time_t now(void) { return 1795348800 + atoll(getenv("FAKE_HOURS")) * 3600; }
	int clock_gettime(clockid_t c, struct timespec *t)
	{
		static long ticks;
		*t = (struct timespec){ c == CLOCK_REALTIME ? now() : 1000, 1000000 * ++ticks };
		return 0;
	}
	time_t time(time_t *t) { return t ? *t = now() : now(); }
EOF
"${CC:-gcc}" -shared -fPIC -o "$T/clock.so" "$T/clock.c" || exit 1
at() { # HOURS COMMAND…
	FAKE_HOURS=$1 LD_PRELOAD=$T/clock.so "${@:2}"
}
mkdir "$T/a"
made=0
point() { # HOURS SERIES [options…]
	made=$((made + 1))
	echo "$made" >"$T/a/f"
	at "$1" chunkstore backup -q --series "$2" --root "$T/a" "${@:3}" || fail "backup at $1"
}
plan() { chunkstore forget -n --json "$@"; }
# kept: what a policy keeps, as the numbers of points
kept() { plan "$@" | jq -r '[.[] | select(.action == "keep") | .number] | join(" ")'; }
why() { # NUMBER options…
	plan "${@:2}" | jq -r ".[] | select(.number == $1) | .reasons | join(\", \")"
}

for h in -960 -480 -48 -30 -25 -2 0; do point $h s; done # 1 to 7
point -480 t --tag gold                                  # 8
point -240 t                                             # 9
point 0 t                                                # 10
is "points" "$(points)" 10

# ------------------------------------------------------------ what a rule keeps
is "--keep-last" "$(kept --series s --keep-last 2)" "6 7"
is "--keep-hourly" "$(kept --series s --keep-hourly 3)" "5 6 7"
is "--keep-daily" "$(kept --series s --keep-daily 3)" "3 5 7"
is "--keep-weekly" "$(kept --series s --keep-weekly 2)" "2 7"
is "--keep-monthly" "$(kept --series s --keep-monthly 9)" "1 7"
is "--keep-yearly" "$(kept --series s --keep-yearly 9)" "7"
is "--keep-within" "$(kept --series s --keep-within 26h)" "5 6 7"
is "--keep-tag" "$(kept --series t --keep-tag gold)" "8"
is "several add up" "$(kept --series s -l 1 -m 2 -d 2)" "1 5 7"
is "several series" "$(kept --series s --series t --keep-last 1)" "7 10"
is "each once" "$(plan -S s -S s --keep-last 1 | jq length)" 7
is "all series" "$(kept --all-series --keep-last 1)" "7 10"
is "--tag leaves others alone" \
	"$(plan --all-series --tag gold --keep-within 1h | jq -c '[.[].number]')" "[8]"
is "--tag of nobody" "$(plan --all-series --tag none --keep-last 1)" "[]"
is "days are those of the time zone" "$(TZ=XXX+13 kept --series s --keep-daily 9)" "1 2 3 5 7"

is "why it is kept" "$(why 7 --series s -l 1 -d 2 -w 1 --keep-within 1d)" \
	"last 1, daily 2026-11-22, weekly 2026-W47, within 1d"
is "why it is not" "$(why 4 --series s -l 1 -d 2 -w 1 --keep-within 1d --keep-tag x)" \
	"not of the last 1, not the newest of 2026-11-21, not the newest of 2026-W47, not within 1d, no tag to keep"
is "why an old one is not" "$(why 1 --series s -d 2)" "before the last 2 days kept"
check "a dry run in words" chunkstore forget -n --series t --keep-last 1
is "has a line for each point, and a sum" "$(stdout | tr -s ' ' | cut -d' ' -f1,6-)" \
	"$(printf '%s\n' 'forget not of the last 1' 'forget not of the last 1' 'keep last 1' 'would points')"
is "and does nothing" "$(points)" 10

# ------------------------------------------------------------ wrong use
check_status "POINTs and a policy" 2 chunkstore forget s/latest --keep-last 1
check_status "no series" 2 chunkstore forget --keep-last 1
one_line_error "says so" "--series.*--all-series"
check_status "--series and --all-series" 2 chunkstore forget -S s --all-series --keep-last 1
check_status "no rule" 2 chunkstore forget --all-series
one_line_error "says what that would mean" "everything"
check_status "rules of nothing" 2 chunkstore forget --all-series --keep-last 0 --keep-within 0
check_status "even with --allow-empty" 2 chunkstore forget --all-series --allow-empty --keep-daily 0
check_status "an unknown series" 1 chunkstore forget -S s -S nobody --keep-last 1
check_status "a number that is none" 2 chunkstore forget -S s --keep-last all
check_status "a negative one" 2 chunkstore forget -S s --keep-last -1
check_status "a duration that is none" 2 chunkstore forget -S s --keep-within 3
is "nothing was done" "$(points)" 10

# ------------------------------------------------------------ doing it
check "a policy" chunkstore forget --series s --keep-daily 2 --keep-monthly 2
is "line by line" "$(stdout | head -n -1 | cut -d' ' -f1 | sort | uniq -c | tr -s ' ')" " 4 forgot"
is "and in all" "$(stdout | tail -n 1)" "forgot 4 of 7 points"
is "it forgets what it said" "$(chunkstore list --json s | jq -c '[.[].number]')" "[1,5,7]"
is "into the trash" "$(chunkstore list --trash --json | jq -c '[.[].number]')" "[2,3,4,6]"
check "again" chunkstore forget --series s --keep-daily 2 --keep-monthly 2 --json
is "nothing is left to do" "$(json '[.[] | select(.action == "forget")] | length')" 0
# shellcheck disable=SC2046
check "undelete" chunkstore undelete $(chunkstore list --trash --json | jq -r '.[].id')
is "all are back" "$(points)" 10
run chunkstore forget --series s --keep-last 5 --json
is "JSON tells what was done" "$(json '[.[] | select(.done) | .number] | tojson')" "[1,2]"
is "and what was kept" "$(json '[.[] | select(.action == "keep") | .number] | tojson')" "[3,4,5,6,7]"
check "--quiet" chunkstore forget --series s --keep-last 4 -q
is "is quiet" "$(stdout)$(stderr)" ""
is "and does it" "$(chunkstore list --json s | jq length)" 4
check "--purge" chunkstore forget --series s --keep-last 3 --purge
is "says purged" "$(stdout | tail -n 1)" "purged 1 of 4 points"
is "and leaves the trash alone" "$(chunkstore list --trash --json | jq -c '[.[].number]')" "[1,2,3]"

# ------------------------------------------------------------ the last one
is "the last point stays" "$(kept --series s --keep-tag none)" 7
is "and says why" "$(why 7 --series s --keep-tag none)" "the series would be empty"
check "really" chunkstore forget --series s --keep-tag none
is "one is left" "$(chunkstore list --json s | jq -c '[.[].number]')" "[7]"
check "run it again" chunkstore forget --series s --keep-tag none
is "it stays" "$(chunkstore list --json s | jq -c '[.[].number]')" "[7]"
check "--allow-empty" chunkstore forget --series s --keep-tag none --allow-empty
is "takes it" "$(chunkstore list --json s)" "[]"
is "and nobody else's" "$(chunkstore list --json t | jq length)" 3

# ------------------------------------------------------------ wrong clocks
point 640000 u  # 11: by a clock that is 73 years ahead
point 1 u       # 12
point -400000 u # 13: 45 years behind
point 2 u       # 14
point 3 u       # 15
is "by name a point of the future is the newest" \
	"$(chunkstore list --json u | jq '.[-1].number')" 11
is "it does not count as the last one" "$(kept --series u --keep-last 2)" "14 15"
is "nor is it latest" "$(chunkstore show --json u/latest | jq .number)" 15
is "it makes nothing old" "$(kept --series u --keep-within 1h)" "11 14 15"
is "and takes one day, no more" "$(kept --series u --keep-daily 3)" "11 13 15"
check "verify" chunkstore verify
done_testing
