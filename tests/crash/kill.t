#!/bin/bash
# SPDX-License-Identifier: MIT
# kill -9 at random moments of real processes on a real disk: backup, forget, gc, restore, and a
# mount that is being read. After each kill the store is a good one; nothing leaks.
. "$(dirname "$0")/../lib/harness.sh"
. "$(dirname "$0")/lib.sh"
S=$T/store # on the disk
export CHUNKSTORE_STORE=$S

rounds=3
is_long && rounds=60
seed=${CS_TEST_SEED:-$RANDOM}
RANDOM=$seed
diag "seed $seed (CS_TEST_SEED)"

mkdir "$M/source" "$T/a"
noise 1 20000 >"$M/source/one"
treegen "$T/a/tree" --seed $((seed + 1)) --files 100 | sed 's/^/# /'
noise $((seed + 2)) 20000000 >"$T/a/stays"
new_store || exit 1

# killed COMMAND…: at a random moment of the time that it took last ($took, in milliseconds).
kills=0
killed() {
	local ms=$((1 + RANDOM % (took + 1))) from=${EPOCHREALTIME/./}
	# the subshell is the one that would tell of it; in the foreground timeout waits until the killed
	# one is gone, which ends what it does with the disk before it dies
	(timeout --foreground -s KILL "$(printf '%d.%03d' $((ms / 1000)) $((ms % 1000)))" "$@"
	exit $?) >/dev/null 2>&1
	if [ $? -eq 137 ]; then
		kills=$((kills + 1))
	else
		took=$(((${EPOCHREALTIME/./} - from) / 1000))
	fi
}
# timed COMMAND…: how many milliseconds it takes, in $took.
timed() {
	local from=${EPOCHREALTIME/./}
	run "$@"
	took=$(((${EPOCHREALTIME/./} - from) / 1000))
}

# ID:DIGEST of what must be there; of going, the id, whether or not.
have=()
going=
listed() { chunkstore list --json | jq -r '.[] | .id + ":" + .digest'; }
note_have() { mapfile -t have < <(listed); }

# The store is good; what the killed command may have stored is adopted.
bad=0
good_again() {
	local id may=() extra why
	for id in "${have[@]}"; do
		[ "${id%:*}" = "$going" ] && id=may:$id
		may+=("$id")
	done
	for extra in $(listed); do
		[[ " ${have[*]} " == *" $extra "* ]] || may+=("may:$extra")
	done
	why=$("$REPLAY" check "$S" "$M/source" "${may[@]}" 2>&1) ||
		{ bad=$((bad + 1)); diag "$1: $why"; }
	for id in $(chunkstore list --json after-the-crash | jq -r '.[].id'); do
		chunkstore forget "${purge[@]}" "$id" >/dev/null || bad=$((bad + 1))
	done
	note_have
}

noise $((RANDOM + 100)) 30000000 >"$T/a/changes"
timed backup a "$T/a"
is "a backup that is let be" $status 0
note_have

bad=0 kills=0
for round in $(seq $rounds); do
	noise $((RANDOM * 100 + round)) 30000000 >"$T/a/changes"
	killed chunkstore backup -q --series a --root "$T/a"
	good_again "backup $round"
	# keep it small: the oldest and the two newest
	for id in $(chunkstore list --json | jq -r 'sort_by(.number) | .[1:-2][] | .id'); do
		chunkstore forget "${purge[@]}" "$id" >/dev/null
	done
	note_have
done
is "a store is good after a backup was killed ($kills of $rounds were)" $bad 0
num "and levels off" "$(file_size "$S/data.mdb")" -le 260000000

bad=0 kills=0
took=6
for round in $(seq $rounds); do
	noise $((RANDOM * 100 + round)) 10000000 >"$T/a/changes"
	chunkstore backup -q --series a --root "$T/a" || fail "backup"
	note_have
	going=$(chunkstore list --json a | jq -r 'sort_by(.number)[0].id')
	killed chunkstore forget "${purge[@]}" "$going"
	good_again "forget $round"
	going=
done
is "after a forget ($kills of $rounds)" $bad 0

bad=0 kills=0
timed chunkstore gc -q
for round in $(seq $rounds); do
	noise $((RANDOM * 100 + round)) 10000000 >"$T/a/changes"
	for i in $(seq 300); do noise $((RANDOM * 100 + i)) 3000 >"$T/a/small-$i"; done
	chunkstore backup -q --series a --root "$T/a" || fail "backup"
	for id in $(chunkstore list --json | jq -r 'sort_by(.number) | .[:-2][] | .id'); do
		chunkstore forget "${purge[@]}" "$id" >/dev/null
	done
	note_have
	killed chunkstore gc -q
	good_again "gc $round"
done
is "after a gc ($kills of $rounds)" $bad 0

bad=0 kills=0
timed chunkstore restore a "$T/out"
for round in $(seq $rounds); do
	rm -rf "$T/out" "$T/out.partial"
	killed chunkstore restore a "$T/out"
	good_again "restore $round"
done
is "after a restore ($kills of $rounds)" $bad 0
rm -rf "$T/out" "$T/out.partial"
check "restore" chunkstore restore a "$T/out"
check "is right" treecmp "$T/a" "$T/out"

if (need_fuse) >/dev/null; then
	bad=0 kills=0
	mkdir "$T/mnt"
	timed cp -a "$T/a" "$T/copy"
	took=$((took + 100))
	for round in $(seq $rounds); do
		rm -rf "$T/copy"
		killed chunkfs -f "$S" "$T/mnt" &
		one=$!
		wait_until 10 eval "is_chunkfs '$T/mnt' || is_gone $one"
		# nobody waits for a dead daemon
		timeout 20 cp -a "$T/mnt/a/latest" "$T/copy" 2>/dev/null
		[ $? -ne 124 ] || { bad=$((bad + 1)); diag "mount $round: cp hangs"; }
		wait $one
		! mounted "$T/mnt" || unmount "$T/mnt" || umount -l "$T/mnt"
		good_again "mount $round"
	done
	is "after a mount that was read" $bad 0
	check "the mount point can be used again" mount_store "$T/mnt"
	check "what it shows" treecmp "$T/a" "$T/mnt/a/latest"
	check "unmount" unmount_store "$T/mnt"
fi

check "gc" chunkstore gc
check "verify" chunkstore verify
# What is neither stored nor free would be lost for ever; the rest of a killed batch is behind the last page.
num "no page leaks" $(($(stats file_bytes) - $(stats free_bytes) - $(stats stored_bytes))) -le 30000000
done_testing
