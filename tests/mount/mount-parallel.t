#!/bin/bash
# SPDX-License-Identifier: MIT
# Several readers at once, of the same and of different files, each get the right bytes.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1

treegen "$T/a" --seed 71 --files 600 --no-deep | sed 's/^/# /'
for i in 1 2 3; do head -c 20M /dev/urandom >"$T/a/big-$i"; done
seq 1 3000000 >"$T/a/text"
backup s "$T/a" || fail "backup"
M=$T/mnt
P=$M/s/latest/.
mount_store "$M" || fail "mount"

pids=()
for i in 1 2 3 4; do
	treecmp "$T/a" "$P" --holes >"$T/cmp.$i" 2>&1 &
	pids+=($!)
done
i=0
for pid in "${pids[@]}"; do
	i=$((i + 1))
	wait "$pid"
	is "reader $i of four, the whole tree" "$?" 0 || cat "$T/cmp.$i" >&2
done
unmount_store "$M"

# A small cache, so that readers push out what others have just decoded.
mount_store "$M" || fail "mount"
readers() {
	local n=$1 seed
	for seed in $(seq 40); do
		local f=$T/a/big-$((1 + (seed + n) % 3)) off=$(((seed * 7919 + n * 104729) % 5000))
		cmp -s <(dd if="$f" bs=4096 skip=$off count=64 2>/dev/null) \
			<(dd if="$P/${f##*/}" bs=4096 skip=$off count=64 2>/dev/null) || return 1
	done
}
pids=()
for i in 1 2 3 4; do
	readers $i &
	pids+=($!)
done
bad=0
for pid in "${pids[@]}"; do wait "$pid" || bad=$((bad + 1)); done
is "random pieces of large files" $bad 0

pids=()
for i in 1 2 3; do cp -a "$P" "$T/copy.$i" & pids+=($!); done
find "$P" -ls >/dev/null & pids+=($!)
for pid in "${pids[@]}"; do wait "$pid" || bad=$((bad + 1)); done
is "three cp -a and a find" $bad 0
for i in 1 2 3; do check "copy $i is right" treecmp "$T/a" "$T/copy.$i"; done
check "a backup while they read" backup s "$T/a"
check "unmount" unmount_store "$M"
done_testing
