#!/bin/bash
# SPDX-License-Identifier: MIT
# The benchmarks run to their end, leave nothing behind, and say what they saw. How fast
# anything is, is not asked here.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
is_sanitized && skip_all "a benchmark of a sanitizer is of no use"
mkdir "$T/scratch"
common=(--scratch "$T/scratch" --out "$T/out")

check "bench" "$TOP/tests/perf/run" --workload S --small --rounds 1 --cache warm --no-install \
	--peers tar --ram "$T/scratch" "${common[@]}" \
	--only first,next,unchanged,stored,mount,find,cp,again,four,restore,verify,gc
measures() { jq -r ".workloads[].results[] | select(.tool == \"$1\") | .measure" "$T/out.json" | sort | xargs; }
is "measures of ours" "$(measures chunkstore)" "again cp find first four gc mount next restore unchanged verify"
is "of tar" "$(measures tar)" "first restore verify"
is "nothing went wrong" "$(jq '.workloads[].skipped | length' "$T/out.json")" 0
is "what was copied is the same" "$(jq .workloads[0].identical.chunkstore "$T/out.json")" true
num "stored more after all points" "$(jq '.workloads[0].stored.chunkstore | .all.disk - .first.disk' "$T/out.json")" -gt 0
is "budgets do not bind a small workload" \
	"$(jq '[.verdicts[].verdict | select(. == "PASS" or . == "MISS")] | length' "$T/out.json")" 0
num "but are listed" "$(jq '.verdicts | length' "$T/out.json")" -ge 4
num "the table has them" "$(grep -c '^| .*[0-9]' "$T/out.txt")" -ge 14
is "nothing is left" "$(ls -A "$T/scratch")" ""

check "scale" "$TOP/tests/perf/scale" --entries 200,400 --directory 200 --points 2 "${common[@]}"
is "three tables" "$(jq -r '.tables[].cases | length' "$T/out.json" | xargs)" "2 1 1"
is "nothing is left" "$(ls -A "$T/scratch")" ""

mkdir "$T/one"
noise 1 100000 >"$T/one/file"
check "density" "$TOP/tests/perf/density" "$T/one" --levels 3,none --bundles '' --meta '' --rounds 1 \
	"${common[@]}"
is "nothing is left" "$(ls -A "$T/scratch")" ""
done_testing
