#!/bin/bash
# SPDX-License-Identifier: MIT
# Whatever is left of a store by a crash at any moment of its life is a good store.
. "$(dirname "$0")/../lib/harness.sh"
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/life.sh"

cuts=2
is_long && cuts=100
is_sanitized && cuts=0 # a process was killed: a tenth of the states, each of which takes longer
seed=${CS_TEST_SEED:-$((RANDOM * 32768 + RANDOM))}
diag "seed $seed (CS_TEST_SEED)"

live
check "the store that lived" chunkstore verify --no-record # which is not in the log
num "gc freed bundles in that life" "$(jq -s 'map(.bundles_freed? // 0) | add' "$T/life.out")" -gt 0
num "and rewrote some" "$(jq -s 'map(.bundles_rewritten? // 0) | add' "$T/life.out")" -gt 0
num "and it holds deltas" "$(chunkstore stats --json | jq .deltas)" -gt 0
! can compact ||
	num "compact moved something" "$(jq -s 'map(.moved? // 0) | add' "$T/life.out")" -gt 0

mkdir "$M/states"
replay() {
	"$REPLAY" run "$LOG" "$S" "$M/source" "$M/states" --seed "$seed" --jobs 2 "$@"
}
check "each state after a crash is a good store" replay --cuts $cuts --keep "$M/bad-state"
sed 's/^# //' "$T/stdout" | while read -r line; do diag "$line"; done

# A disk that lies about syncs must be found out, or the test sees nothing.
is_sanitized || check_status "and without syncs not each is" 1 replay --cuts 4 --ignore-sync
done_testing
