#!/bin/bash
# SPDX-License-Identifier: MIT
# forget moves points to the trash, undelete brings them back as they were, and gc frees them
# when their time there is over.
. "$(dirname "$0")/../lib/harness.sh"
new_store --trash 14d || exit 1

treegen "$T/a" --seed 71 --files 60 --no-deep | sed 's/^/# /'
head -c 3M /dev/urandom >"$T/a/big"
backup s "$T/a" --tag gold || fail "backup"
name=$(backup_json .name)
id=$(backup_json .id)
echo more >"$T/a/more"
backup s "$T/a" || fail "backup"
newer=$(backup_json .name)
mkdir "$T/b"
echo b >"$T/b/b"
backup t "$T/b" || fail "backup"

# ------------------------------------------------------------ there and back
chunkstore dump "s/$name" >"$T/dump"
chunkstore show --json "s/$name" | jq -c 'with_entries(select(.key | startswith("verified") | not))' >"$T/show"
logical=$(stats logical_bytes)
check "forget" chunkstore forget "s/$name"
like "says what, and until when" "$(stdout)" "^forgot s/$name  id ${id:0:8}, in the trash until 20"
is "it is not in the list" "$(chunkstore list --json s | jq -r '.[].name')" "$newer"
for what in "s/$name" "$id" "${id:0:12}"; do
	check_status "show $what" 1 chunkstore show "$what"
	one_line_error "says where it is" "in the trash"
done
check_status "ls" 1 chunkstore ls "s/$name"
check_status "restore" 1 chunkstore restore "s/$name" "$T/out"
check_status "forget it again" 1 chunkstore forget "s/$name"
run chunkstore stats --json
is "stats counts it in the trash" "$(json '[.points, .trash_points, .series] | join(" ")')" "2 1 2"
is "and says how long it is kept" "$(json .trash_seconds)" $((14 * 86400))
num "its size is not in the sum" "$(json .logical_bytes)" -lt "$logical"
run chunkstore list --trash
like "list --trash shows it" "$(stdout)" "^s/$name +${id:0:8}  .*  20[0-9-]+ [0-9:]+\$"
run chunkstore list --trash --json
is "and as JSON" "$(json '.[] | [.series, .name, .id, .tags[0], .due] | join(" ")')" \
	"s $name $id gold false"
until=$(date -d "$(json '.[].until')" +%s)
now=$(date +%s)
num "with the end of its time" "$until" -gt $((now + 14 * 86400 - 300))
num "14 days from now" "$until" -le $((now + 14 * 86400))
is "of one series" "$(chunkstore list --trash --json t)" "[]"
check_status "--trash and --series" 2 chunkstore list --trash --series

run chunkstore gc --json
is "gc frees nothing of it" "$status:$(json '[.points_purged, .chunks_freed] | join(" ")')" "0:0 0"
run chunkstore verify --json
is "verify reads it, too" "$status:$(json .points)" 0:3

check "undelete" chunkstore undelete "s/$name"
is "says what" "$(stdout)" "brought back s/$name  id ${id:0:8}"
chunkstore show --json "s/$name" | jq -c 'with_entries(select(.key | startswith("verified") | not))' >"$T/show-2"
check "it has its id, number, time, tags and digest" cmp "$T/show" "$T/show-2"
chunkstore dump "$id" >"$T/dump-2"
check "and its tree" cmp "$T/dump" "$T/dump-2"
is "latest is the newer one" "$(latest s)" "$newer"
check_status "undelete again" 1 chunkstore undelete "s/$name"
one_line_error "names it" "$name.*trash"
check_status "undelete by an id that is nobody's" 1 chunkstore undelete ffffffffffff
check_status "undelete of a point that never was" 1 chunkstore undelete s/2001-01-01T00-00-00Z
check_status "undelete of nothing" 2 chunkstore undelete
check "forget latest" chunkstore forget s/latest
is "the other one is it then" "$(latest s)" "$name"
check_status "undelete does not know latest" 1 chunkstore undelete s/latest
check_status "all or none" 1 chunkstore undelete "s/$newer" s/2001-01-01T00-00-00Z
is "none" "$(points)" 2
check "by a prefix of its id" chunkstore undelete "$(chunkstore list --trash --json | jq -r '.[0].id[:9]')"
is "latest again" "$(latest s)" "$newer"

chunkstore forget "s/$name" "s/$newer" >/dev/null
check_status "a prefix that is too short" 1 chunkstore undelete "${id:0:3}"
check "undelete of two points, one of them named twice" chunkstore undelete "s/$newer" "$id" "$id"
is "each once" "$(stdout | wc -l)" 2

# Ids that begin alike: random numbers of our own.
if is_sanitized; then
	skip "a prefix that several points have" "a sanitizer and random numbers of our own exclude each other"
else
	cat >"$T/random.c" <<-'EOF'
		#include <string.h>
		#include <sys/types.h>
		#include <unistd.h>
		ssize_t getrandom(void *p, size_t n, unsigned flags)
		{
			(void)flags;
			memset(p, 0xab, n);
			((char *)p)[n - 1] = (char)getpid();
			return (ssize_t)n;
		}
	EOF
	"${CC:-gcc}" -shared -fPIC -o "$T/random.so" "$T/random.c" || exit 1
	for _ in 1 2 3; do
		LD_PRELOAD=$T/random.so backup alike "$T/b" || fail "backup"
	done
	alike=$(backup_json .id)
	chunkstore forget "$alike" >/dev/null
	check_status "forget by a prefix that several points have" 2 chunkstore forget ababab
	check_status "purge, though they are not all in the list" 2 chunkstore forget --purge ababab
	check "undelete by one that only one point in the trash has" chunkstore undelete ababab
	for p in $(chunkstore list --json alike | jq -r '.[:2][].id'); do
		chunkstore forget "$p" >/dev/null
	done
	check_status "undelete by a prefix that several have" 2 chunkstore undelete ababab
	one_line_error "says so" "more than one"
	is "does nothing" "$(chunkstore list --json alike | jq length)" 1
	# shellcheck disable=SC2046
	check "purge by whole ids" chunkstore forget --purge "$alike" \
		$(chunkstore list --trash --json alike | jq -r '.[].id')
	is "nothing of the series can come back" "$(chunkstore list --trash --json alike)" "[]"
	chunkstore gc -q
	is "and gc leaves nothing of it" "$(chunkstore list alike 2>&1 | grep -c 'no series')" 1
fi

# A series of which all is in the trash is in no list.
chunkstore forget t/latest >/dev/null
is "it is not counted" "$(stats series)" 1
is "nor listed" "$(chunkstore list --series | grep -c '^t ')" 0
check "but its trash is" chunkstore list --trash t
check_status "it has no latest point" 1 chunkstore show t
chunkstore undelete "$(chunkstore list --trash --json t | jq -r '.[0].id')" >/dev/null
is "undelete brings it back" "$(chunkstore list --series --json | jq -c '[.[].series]')" '["s","t"]'

# ------------------------------------------------------------ for good
check_status "a series is not forgotten by its bare name" 2 chunkstore forget s
check_status "nor purged" 2 chunkstore forget --purge s
check "forget" chunkstore forget "s/$newer"
check "purge from the trash, by name" chunkstore forget --purge "s/$newer"
is "says so" "$(stdout | cut -d' ' -f1,2)" "purged s/$newer"
check_status "nothing to bring back" 1 chunkstore undelete "s/$newer"
check "purge from the list" chunkstore forget --purge "s/$name"
check_status "nothing to bring back" 1 chunkstore undelete "$id"
is "the trash is empty" "$(chunkstore list --trash)" ""
is "and the series gone" "$(chunkstore list --series | grep -c '^s ')" 0
run chunkstore gc --json
num "gc frees it" "$(json .stored_freed)" -gt 2900000
check "verify" chunkstore verify

# ------------------------------------------------------------ a time that is over
cp "$T/a/big" "$T/b/big"
backup t "$T/b" || fail "backup"
run chunkstore config
is "config shows the setting" "$(stdout)" "trash 14d"
chunkstore forget t/latest >/dev/null
check "config changes it" chunkstore config trash 0
is "now it is" "$(chunkstore config trash)" "trash 0"
is "as JSON" "$(chunkstore config --json | jq .trash_seconds)" 0
run chunkstore gc --json
is "what was forgotten before keeps its time" "$(json .points_purged)" 0
chunkstore undelete "t/$(backup_json .name)" >/dev/null
run chunkstore forget t/latest
like "the next gc is the end" "$(stdout)" "until the next gc"
is "list --trash says so" "$(chunkstore list --trash | grep -c 'next gc$')" 1
run chunkstore gc --dry-run --json
is "a dry run purges nothing" "$(json .points_purged):$(chunkstore list --trash --json | jq length)" 1:1
dry=$(json '[.points_purged, .points_used, .chunks_live, .chunks_freed, .bundles_freed, .bundles_rewritten, .stored_freed]')
run chunkstore gc --json
is "and tells exactly what gc does" "$(json '[.points_purged, .points_used, .chunks_live, .chunks_freed, .bundles_freed, .bundles_rewritten, .stored_freed]')" "$dry"
num "which frees it" "$(json .stored_freed)" -gt 2900000
is "the trash is empty" "$(chunkstore list --trash --json)" "[]"
check "verify" chunkstore verify

mkdir "$T/many"
for i in 1 2 3; do
	backup "many$i" "$T/many" || fail "backup"
done
check "a short time" chunkstore config trash 1s
chunkstore forget many1/latest >/dev/null
purged() { [ "$(chunkstore gc --json | jq .points_purged)" = 1 ]; }
check "passes" wait_until 10 purged
check "config" chunkstore config trash 1y
chunkstore forget many2/latest many3/latest >/dev/null
run chunkstore gc --json --dry-run --empty-trash
is "gc --empty-trash does not wait: a dry run" "$(json .points_purged)" 2
dry=$(json '[.points_purged, .points_used, .chunks_live, .chunks_freed, .bundles_freed, .bundles_rewritten, .stored_freed]')
run chunkstore gc --json --empty-trash
is "and the real one" "$(json '[.points_purged, .points_used, .chunks_live, .chunks_freed, .bundles_freed, .bundles_rewritten, .stored_freed]')" "$dry"
for bad in "" 7 7m -1d 1001y "1w 2d"; do
	check_status "config trash '$bad'" 2 chunkstore config trash "$bad"
done
check_status "an unknown setting" 2 chunkstore config rubbish
check_status "init with rubbish" 2 chunkstore -s "$T/x" init --trash soon
check "which makes nothing" test ! -e "$T/x"
check "init without --trash" chunkstore -s "$T/x" init
is "keeps a week" "$(chunkstore -s "$T/x" config)" "trash 7d"

# Names in the trash are taken.
n=0
for i in $(seq 30); do
	backup same "$T/many" || fail "backup"
	chunkstore forget same/latest >/dev/null || n=$((n + 1))
done
is "forget after each of 30 backups" $n 0
is "no name was given twice" "$(chunkstore list --trash --json same | jq -r '.[].name' | sort -u | wc -l)" 30
# shellcheck disable=SC2046
check "all come back" chunkstore undelete $(chunkstore list --trash --json same | jq -r '.[].id')
is "30 points" "$(chunkstore list --json same | jq length)" 30
check "verify" chunkstore verify
done_testing
