#!/bin/bash
# SPDX-License-Identifier: MIT
# Backup, forget, gc, over and over, under a mount that is being read: what the store takes on disk
# levels off, and what is read is right. A hundred rounds in make test-long.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1

mkdir "$T/tree" "$T/kept"
M=$T/mnt
rounds=26
is_long && rounds=100
for i in $(seq 24); do head -c 128K /dev/urandom >"$T/tree/$i"; done
mkdir "$T/tree/small"
for i in $(seq 60); do echo "small file $i" >"$T/tree/small/$i"; done
cp -a "$T/tree/." "$T/kept"
check "a point that stays" backup kept "$T/kept"
check "mount" mount_store "$M"

# Reads all of the point that stays, over and over, and whatever is the latest of the other series.
reading() {
	while [ ! -e "$T/stop" ]; do
		if [ -d "$M/kept/latest" ]; then
			diff -r "$T/kept" "$M/kept/latest" >>"$T/wrong" 2>&1 || ls -A "$M" >>"$T/wrong" 2>&1
			cat "$M"/s/latest/* >/dev/null 2>&1
			echo >>"$T/passes"
		fi
		sleep 0.05
	done
}
bg reading
reader=$!

sizes=()
bad=0
for round in $(seq $rounds); do
	for i in 1 2 3 4; do
		head -c 128K /dev/urandom >"$T/tree/$((1 + RANDOM % 24))"
	done
	echo "$round" >"$T/tree/round"
	run backup s "$T/tree"
	[ $status -eq 0 ] || { bad=$((bad + 1)); diag "round $round: backup" "$(last_output)"; }
	if [ "$round" -gt 3 ]; then
		oldest=$(chunkstore list --json s | jq -r 'sort_by(.number)[0].id')
		run chunkstore forget --purge "$oldest"
		[ $status -eq 0 ] || { bad=$((bad + 1)); diag "round $round: forget" "$(last_output)"; }
	fi
	run chunkstore gc
	[ $status -eq 0 ] || { bad=$((bad + 1)); diag "round $round: gc" "$(last_output)"; }
	sizes+=("$(stats disk_bytes)")
done
: >"$T/stop"
wait "$reader"
is "every command of $rounds rounds succeeded" $bad 0

# largest FROM TO: of the sizes of these rounds, in percent of all.
largest() {
	printf '%s\n' "${sizes[@]}" | sed -n "$((rounds * $1 / 100 + 1)),$((rounds * $2 / 100))p" |
		sort -n | tail -n 1
}
early=$(largest 40 70)
late=$(largest 70 100)
diag "on disk: at most $early bytes in the middle rounds, $late in the last;" \
	"file $(stats file_bytes), free in it $(stats free_bytes), $(wc -l <"$T/passes") passes of the reader"
num "what the store takes on disk levels off" "$late" -le $((early + early / 8))
[ "$late" -le $((early + early / 8)) ] || diag "${sizes[*]}"
num "not far above what it holds" "$late" -le $(($(stats stored_bytes) * 3 / 2 + 4000000))
is "the reader never saw a wrong byte" "$(cat "$T/wrong")" ""
num "and it did read" "$(wc -l <"$T/passes")" -gt $((rounds / 10))
check "unmount" unmount_store "$M"
check "verify" chunkstore verify
check "restore of the point that stays" chunkstore restore kept "$T/out"
check "is right" treecmp "$T/kept" "$T/out"
done_testing
