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

# gc and a backup: one of them may have to say no, neither may do harm.
chunkstore forget a/latest
for i in 1 2 3; do
	chunkstore backup -q --series "d$i" --root "$T/a" --force 2>/dev/null &
	one=$!
	chunkstore gc -q 2>/dev/null
	wait $one
done
check "verify after gc against backup" chunkstore verify
check "a backup afterwards" backup e "$T/a"
check "restore" chunkstore restore e "$T/e-out"
check "is right" treecmp "$T/a" "$T/e-out"
done_testing
