#!/bin/bash
# SPDX-License-Identifier: MIT
# While mounted: a new point is there, and a forgotten one gone, when the command has returned.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1

mkdir "$T/a"
echo 1 >"$T/a/file"
M=$T/mnt
check "an empty store can be mounted" mount_store "$M"
is "it shows no series" "$(ls "$M" | grep -cv '^by-')" 0

backup s "$T/a" || fail "backup"
is "a first point appears with its series" "$(cat "$M/s/latest/file")" 1
first=$(latest s)
bad=0
for i in $(seq 2 12); do
	echo "$i" >"$T/a/file"
	backup s "$T/a" || bad=1
	[ "$(cat "$M/s/latest/file")" = "$i" ] || { bad=1; diag "latest after $i: $(readlink "$M/s/latest")"; }
	[ "$(ls "$M/s" | grep -c ^20)" = "$i" ] || { bad=1; diag "listing after $i: $(ls "$M/s")"; }
done
is "each new point is there at once, in listing and latest" $bad 0
is "the old point keeps its content" "$(cat "$M/s/$first/file")" 1

bad=0
for i in $(seq 11 -1 6); do
	name=$(latest s)
	cat "$M/s/$name/file" >/dev/null || bad=1
	run chunkstore forget "s/$name"
	[ $status = 0 ] || { bad=1; diag "$(last_output)"; }
	[ ! -e "$M/s/$name" ] || { bad=1; diag "$name is still there"; }
	[ "$(ls "$M/s" | grep -c ^20)" = "$i" ] || { bad=1; diag "listing: $(ls "$M/s")"; }
	[ "$(cat "$M/s/latest/file")" = "$i" ] || { bad=1; diag "latest: $(readlink "$M/s/latest")"; }
done
is "each forgotten point is gone at once, and latest follows" $bad 0

# What was forgotten comes back, newest last, so that latest moves on with each.
bad=0
n=6
for p in $(chunkstore list --trash --json s | jq -r 'sort_by(.number) | .[].id'); do
	[ ! -e "$M/by-id/$p" ] || { bad=1; diag "by-id has $p"; }
	run chunkstore undelete "$p"
	n=$((n + 1))
	[ $status = 0 ] || { bad=1; diag "$(last_output)"; }
	name=$(chunkstore show --json "$p" | jq -r .name)
	[ "$(cat "$M/s/$name/file")" = "$n" ] || { bad=1; diag "$name: $(ls "$M/s")"; }
	[ "$(cat "$M/by-id/$p/file")" = "$n" ] || { bad=1; diag "by-id has no $p"; }
	[ "$(ls "$M/s" | grep -c ^20)" = "$n" ] || { bad=1; diag "listing: $(ls "$M/s")"; }
	[ "$(cat "$M/s/latest/file")" = "$n" ] || { bad=1; diag "latest: $(readlink "$M/s/latest")"; }
done
is "each point that is brought back is there at once" "$bad:$n" 0:12

name=$(latest s)
exec 8<"$M/s/$name/file"
chunkstore forget "s/$name" >/dev/null
check "a name is gone though a file is open" test ! -e "$M/s/$name"
exec 8<&-
chunkstore undelete "s/$name" >/dev/null
is "and back, with its content" "$(cat "$M/s/$name/file")" 12
chunkstore forget --purge "s/$name" >/dev/null
check "it is gone when it is purged" test ! -e "$M/s/$name"
for p in $(chunkstore list --json s | jq -r .[].id); do chunkstore forget "$p" >/dev/null; done
check "a series whose points are all in the trash is not shown" test ! -e "$M/s"
is "nor listed" "$(ls "$M" | grep -cv '^by-')" 0
chunkstore undelete "s/$first" >/dev/null
is "it comes back with one of them" "$(cat "$M/s/latest/file")" 1
chunkstore forget "s/$first" >/dev/null
# shellcheck disable=SC2046
chunkstore forget --purge $(chunkstore list --trash --json | jq -r .[].id) >/dev/null
check "a series without points goes" test ! -e "$M/s/latest"
echo again >"$T/a/file"
backup s "$T/a" || fail "backup"
is "and comes back" "$(cat "$M/s/latest/file")" again

# A point whose name was looked up in vain before it was there.
next=$T/mnt/other
for _ in 1 2 3; do ls "$next" 2>/dev/null; done
backup other "$T/a" || fail "backup"
is "a name that was missed before" "$(cat "$next/latest/file")" again

check "gc works beside the mount" chunkstore gc
is "which shows what it did" "$(cat "$next/latest/file")" again
is "stats tells of the mount" "$(chunkstore stats --json | jq -r '.users[].does')" mount
check "verify" chunkstore verify
check "unmount" unmount_store "$M"
check "gc" chunkstore gc
done_testing
