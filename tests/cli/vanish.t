#!/bin/bash
# SPDX-License-Identifier: MIT
# Files that change and vanish while they are read: reported, never a failure of the whole.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

mkdir "$T/a" "$T/a/churn" "$T/a/still"
treegen "$T/a/still/tree" --seed 9 --files 100 --no-deep | sed 's/^/# /'
bg churn "$T/a/churn" 1
bg churn "$T/a/churn" 2

bad=0
rounds=12
for i in $(seq $rounds); do
	force=()
	[ $((i % 3)) != 0 ] || force=(--force)
	run backup s "$T/a" "${force[@]}"
	if [ $status != 0 ] && [ $status != 3 ]; then
		bad=$((bad + 1))
		diag "round $i" "$(last_output)"
	fi
done
is "$rounds backups of a changing directory end orderly" $bad 0
is "each stored its point" "$(points)" $rounds
check "all of it verifies" chunkstore verify
kill "${test_pids[@]}"
wait "${test_pids[@]}" 2>/dev/null

check "what did not change is right" chunkstore restore s:still "$T/still"
check "in every attribute" treecmp "$T/a/still" "$T/still"
check "backup when all is still" backup s "$T/a"
is "nothing changed meanwhile" "$(backup_json '.changed + .unreadable')" 0
check "restore" chunkstore restore s "$T/out"
check "is the same" treecmp "$T/a" "$T/out"
done_testing
