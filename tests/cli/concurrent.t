#!/bin/bash
# SPDX-License-Identifier: MIT
# Two commands on one store at once.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

treegen "$T/a" --seed 21 --files 200 | sed 's/^/# /'
treegen "$T/b" --seed 22 --files 200 | sed 's/^/# /'
head -c 20M /dev/urandom >"$T/a/big"
cp "$T/a/big" "$T/b/big" # both meet the same new chunks
head -c 20M /dev/urandom >"$T/b/bigger"

chunkstore backup -q --series a --root "$T/a" 2>"$T/a.err" &
one=$!
chunkstore backup -q --series b --root "$T/b" 2>"$T/b.err" &
two=$!
test_pids+=("$one" "$two")
listed=0
while ! is_gone $one || ! is_gone $two; do
	chunkstore list >/dev/null || listed=1
	chunkstore stats >/dev/null || listed=1
done
wait $one; is "the first of two backups at once" $?:"$(cat "$T/a.err")" 0:
wait $two; is "the second" $?:"$(cat "$T/b.err")" 0:
is "list and stats work meanwhile" $listed 0
is "both points are there" "$(points)" 2
for s in a b; do
	check "restore of $s" chunkstore restore $s "$T/$s-out"
	check "is right" treecmp "$T/$s" "$T/$s-out"
done
check "verify" chunkstore verify

# The same series twice at once: two points, both right.
chunkstore backup -q --series same --root "$T/a" &
one=$!
chunkstore backup -q --series same --root "$T/a" &
two=$!
wait $one; is "the same series twice at once: the first" $? 0
wait $two; is "and the second" $? 0
is "two points" "$(chunkstore list --json same | jq length)" 2
# shellcheck disable=SC2046
check "that do not differ" chunkstore diff --exit-code \
	$(chunkstore list --json same | jq -r '.[].id')

# Reading while writing.
chunkstore backup -q --series c --root "$T/b" --force &
one=$!
check "restore during a backup" chunkstore restore a "$T/a-again"
check "is right" treecmp "$T/a" "$T/a-again"
wait $one; is "and the backup too" $? 0

# gc and backups: nobody refuses, nobody waits for the other.
chunkstore forget --purge a/latest >/dev/null
for i in 1 2 3; do
	chunkstore backup -q --series "d$i" --root "$T/a" --force 2>"$T/backup.err" &
	one=$!
	chunkstore backup -q --series "e$i" --root "$T/b" --force 2>"$T/backup2.err" &
	two=$!
	check "gc $i beside two backups" chunkstore gc -q
	wait $one; is "the first backup" $?:"$(cat "$T/backup.err")" 0:
	wait $two; is "the second backup" $?:"$(cat "$T/backup2.err")" 0:
	check "verify" chunkstore verify
	chunkstore forget "e$i/latest" >/dev/null
done
check "gc" chunkstore gc
check "verify" chunkstore verify
for i in 1 2 3; do
	check "restore $i" chunkstore restore "d$i" "$T/d$i-out"
	check "is right" treecmp "$T/a" "$T/d$i-out"
done

# Who uses the store: a reader that cannot go on holds its point.
is "nobody uses it" "$(chunkstore stats --json | jq -c .users)" "[]"
mkfifo "$T/pipe"
chunkstore cat d1:big >"$T/pipe" &
one=$!
test_pids+=("$one")
exec 7<"$T/pipe"
read -r -N 1 _ <&7
user=$(chunkstore stats --json | jq -r '.users[0] | "\(.process) \(.program) \(.does) \(.points)"')
is "stats shows who reads" "$user" "$one chunkstore reads 1"
exec 7<&-
wait $one
is "and not when it is gone" "$(chunkstore stats --json | jq -c .users)" "[]"
done_testing
