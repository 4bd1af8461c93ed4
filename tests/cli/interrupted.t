#!/bin/bash
# SPDX-License-Identifier: MIT
# A backup that is killed, at whatever moment, leaves a store that opens and old points that are whole.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

mkdir "$T/a"
treegen "$T/a/tree" --seed 51 --files 150 | sed 's/^/# /'
check "a backup that is let be" backup s "$T/a"
digest=$(backup_json .digest)
head -c 60M /dev/urandom >"$T/a/big"
rounds=6
is_long && rounds=40

bad=0 killed=0
for i in $(seq $rounds); do
	chunkstore backup -q --series "s" --root "$T/a" 2>/dev/null &
	pid=$!
	# kill it after a growing number of bytes were written
	limit=$((i * 40000000 / rounds))
	wait_until 20 eval "is_gone $pid || [ \$(awk '/^wchar/ { print \$2 }' /proc/$pid/io) -gt $limit ]"
	kill -9 $pid 2>/dev/null && killed=$((killed + 1))
	wait $pid 2>/dev/null
	run chunkstore verify
	[ $status -eq 0 ] || { bad=$((bad + 1)); diag "round $i" "$(last_output)"; }
	for p in $(chunkstore list --json | jq -r 'sort_by(.number) | .[1:][] | .id'); do
		chunkstore forget --purge "$p" >/dev/null
	done
	[ $((i % 2)) = 0 ] || chunkstore gc -q || bad=$((bad + 1))
done
num "backups were killed" $killed -ge 1
is "after each the store verifies" $bad 0
is "the old point is there" "$(chunkstore list --json | jq -r '.[0].digest')" "$digest"
check "it can be restored" chunkstore restore s:tree "$T/out"
check "and is whole" treecmp "$T/a/tree" "$T/out"
check "the next backup works" backup s "$T/a"
check "its restore" chunkstore restore s "$T/out-2"
check "is right" treecmp "$T/a" "$T/out-2"
check "gc" chunkstore gc
check "verify" chunkstore verify

# Asked to stop, it stops, without a point, and says so.
head -c 60M /dev/urandom >"$T/a/big2"
n=$(points)
for sig in INT TERM; do
	# a script's background job ignores SIGINT unless it is reset
	env --default-signal=INT chunkstore backup -q --series s --root "$T/a" --force 2>"$T/stderr" &
	pid=$!
	wait_until 20 eval "is_gone $pid || [ \$(awk '/^rchar/ { print \$2 }' /proc/$pid/io) -gt 9000000 ]"
	kill -$sig $pid 2>/dev/null
	wait $pid
	code=$?
	if [ $code -eq 0 ]; then
		skip "SIG$sig stops a backup" "it was done before"
		n=$(points)
		continue
	fi
	pass "SIG$sig stops a backup (status $code)"
	is "SIG$sig: no point" "$(points)" "$n"
done
check "verify" chunkstore verify
done_testing
