#!/bin/bash
# SPDX-License-Identifier: MIT
# Random trees: the mount, copies from it and a restore are the source. Few in make test, many in
# make test-long. Each seed is printed; CS_TEST_SEED=N runs that one alone.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse

rounds=4
is_long && rounds=150
is_sanitized && rounds=3
first=$(($(date +%s) % 100000 * 1000))
if [ -n "${CS_TEST_SEED-}" ]; then
	first=$CS_TEST_SEED
	rounds=1
fi
new_store || exit 1
M=$T/mnt

# change DIR SEED: so that the next point shares most, but not all, with the one before
change() {
	local f n=$2
	find "$1" -type f -size -40k -perm -200 2>/dev/null | sort | awk -v s="$2" '(NR * 7919 + s) % 13 == 0' |
		while read -r f; do
			[ -f "$f" ] || continue # a name with a newline in it
			n=$((n * 1103515245 + 12345 & 0x7fffffff))
			case $((n / 65536 % 5)) in
			0) rm -f "$f" ;;
			1) echo "changed by $n" >>"$f" ;;
			2) touch -d "@$((n % 2000000000)).123456789" "$f" ;;
			3) mv "$f" "${f%/*}/moved-$n" 2>/dev/null ;;
			4) ln "$f" "${f%/*}/link-$n" 2>/dev/null ;;
			esac
		done
}

# attempt TEXT COMMAND…: says only what went wrong, with the seed
attempt() {
	local what=$1
	shift
	"$@" >"$T/attempt" 2>&1 && return
	bad+="$what: $(tail -n 20 "$T/attempt") "
}

same_as_source() { treecmp "$A" "$1" --holes; }

for ((round = 0; round < rounds; round++)); do
	seed=$((first + round))
	A=$T/a.$seed
	bad=
	extra=()
	# one in four has the path that is too long for cp and rsync
	[ $((seed % 4)) = 0 ] || extra+=(--no-deep)
	attempt "treegen" treegen "$A" --seed $seed --files $((40 + seed * 37 % 300)) "${extra[@]}"
	for again in 1 2; do
		[ $again = 1 ] || change "$A" $seed
		attempt "backup $again" backup "s$((round % 3))" "$A"
		attempt "mount $again" mount_store "$M"
		P=$M/s$((round % 3))/latest/.
		attempt "mount $again is the source" same_as_source "$P"
		[ $again = 1 ] || attempt "a listing of inodes" inodes "$P"
		if [ ${#extra[@]} = 1 ] && [ $again = 2 ]; then
			attempt "cp -a" cp -a "$P" "$T/copy"
			attempt "cp -a is the source" same_as_source "$T/copy"
			attempt "rsync" rsync -aHAXS --modify-window=-1 "$P/" "$T/rsynced/"
			attempt "rsync is the source" treecmp "$A" "$T/rsynced"
		fi
		attempt "unmount" unmount "$M"
		attempt "restore $again" chunkstore restore -q "s$((round % 3))" "$T/restored"
		attempt "restore $again is the source" same_as_source "$T/restored"
		rm -rf "$T/copy" "$T/rsynced" "$T/restored"
	done
	if [ $((round % 20)) = 19 ]; then
		# make room, and read on from what was rewritten
		for p in $(chunkstore list --json | jq -r '.[].id' | sort | awk 'NR % 3 == 0'); do
			attempt "forget" chunkstore forget --purge "$p"
		done
		attempt "gc" wait_until 20 chunkstore gc
		attempt "verify" chunkstore verify
	fi
	is "seed $seed" "$bad" ""
	[ -n "$bad" ] && diag "again with: CS_TEST_SEED=$seed ${0##*/}"
	rm -rf "$A"
done
check "verify" chunkstore verify
done_testing
