#!/bin/bash
# SPDX-License-Identifier: MIT
# Nobody waits longer than for one bounded write transaction: while backups of large trees, a gc
# with much to free and a compact work on one store, small commands come through at once; and no
# write transaction of anybody holds the lock for long.
. "$(dirname "$0")/../lib/harness.sh"
. "$(dirname "$0")/lib.sh"

# What a busy machine does to us is not what is looked at: processor time is counted where it can
# be, and the bounds on the clock of the wall are ten times what is right.
HELD_CPU_MS=500 HELD_WALL_MS=5000 WAIT_MS=5000
size=$((80 << 20))
is_quick && size=$((20 << 20))
is_sanitized && size=$((20 << 20)) HELD_CPU_MS=3000 HELD_WALL_MS=15000 WAIT_MS=15000

new_store || exit 1
mkdir "$T/a" "$T/b" "$T/small" "$T/mnt"
noise 1 $size >"$T/a/one"
noise 2 $size >"$T/b/one"
for i in $(seq 2000); do printf '%s' "$i" >"$T/a/f$i"; done
echo small >"$T/small/file"
for i in 1 2; do # gc's work: whole bundles, and halves of others
	mkdir "$T/old$i"
	noise $((10 + i)) $size >"$T/old$i/one"
	for n in $(seq 600); do noise $((i * 10000 + n)) 30000 >"$T/old$i/$n"; done
done
backup old "$T/old1" && backup old "$T/old2" || exit 1
for n in $(seq 1 2 600); do rm "$T/old1/$n"; done
backup half "$T/old1" || exit 1
backup small "$T/small"
id=$(backup_json .id)
chunkstore list --json old | jq -r '.[].id' | xargs chunkstore forget --purge >/dev/null || exit 1

need_mount=yes
{ [ -e /dev/fuse ] && is_root && mount_store "$T/mnt"; } || need_mount=''

# ---- everything at once

long=()
"${held[@]}" chunkstore backup -q --force --series a --root "$T/a" 2>"$T/a.err" &
long+=($!)
"${held[@]}" chunkstore backup -q --force --series b --root "$T/b" 2>"$T/b.err" &
long+=($!)
"${held[@]}" chunkstore gc -q 2>"$T/gc.err" &
long+=($!)
test_pids+=("${long[@]}")

longest=0 longest_what='' rounds=0 bad=''
# timed WHAT…: by the clock of the wall
timed() {
	local start end ms
	start=$(date +%s%N)
	"$@" >"$T/timed.out" 2>&1 || bad="$bad$* ($(cat "$T/timed.out")) "
	end=$(date +%s%N)
	ms=$(((end - start) / 1000000))
	[ $ms -le $longest ] || { longest=$ms; longest_what=$*; }
}
one_round() {
	timed "${held[@]}" chunkstore forget -q "$id"
	timed "${held[@]}" chunkstore undelete "$id"
	timed "${held[@]}" chunkstore config trash 7d
	timed "${held[@]}" chunkstore backup -q --series more --root "$T/small"
	timed chunkstore list
	timed chunkstore ls "$id"
	[ -z "$need_mount" ] || timed cat "$T/mnt/small/latest/file"
	rounds=$((rounds + 1))
}
any_runs() { local p; for p in "${long[@]}"; do is_gone "$p" || return 0; done; return 1; }
while any_runs; do one_round; done
for p in "${long[@]}"; do
	wait "$p"
	is "what took long went well" $?:"$(cat "$T/a.err" "$T/b.err" "$T/gc.err")" 0:
done

# ---- and compact, with holes to fill and an end to move

chunkstore list --json a | jq -r '.[].id' | xargs chunkstore forget --purge >/dev/null
check "gc" "${held[@]}" chunkstore gc -q
"${held[@]}" chunkstore compact -q 2>"$T/compact.err" &
long=($!)
test_pids+=("${long[@]}")
while any_runs; do one_round; done
wait "${long[0]}"
is "compact went well" $?:"$(cat "$T/compact.err")" 0:

# ---- what it was like

is "all small commands went well, too" "$bad" ""
num "there were some" $rounds -gt 1
diag "$rounds rounds of small commands, the slowest took $longest ms: $longest_what"
num "none waited long: at most $longest ms" "$longest" -le $WAIT_MS
read -r count wall cpu < <(awk '{ if ($2 > w) w = $2; if ($3 > c) c = $3 }
	END { printf "%d %d %d\n", NR, w / 1000, c / 1000 }' "$T/held")
diag "$count write transactions; the longest lasted $wall ms, and $cpu ms of a processor"
num "transactions were seen" "$count" -gt 30
num "none took long: at most $wall ms" "$wall" -le $HELD_WALL_MS
num "nor much of a processor: at most $cpu ms" "$cpu" -le $HELD_CPU_MS
[ -z "$need_mount" ] || check "unmount" unmount_store "$T/mnt"
check "verify" chunkstore verify
done_testing
