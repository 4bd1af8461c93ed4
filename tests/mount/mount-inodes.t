#!/bin/bash
# SPDX-License-Identifier: MIT
# Inode numbers: unique across points, stable over remounts, one for a hard-link group.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1

# Made first and last, so that their inodes lie before and behind those of all groups.
mkdir "$T/outside"
echo early >"$T/outside/early"
treegen "$T/a" --seed 61 --files 300 | sed 's/^/# /'
echo late >"$T/outside/late"
ln "$T/outside/early" "$T/outside/late" "$T/a/links/"
mkdir "$T/b"
for i in $(seq 3000); do : >"$T/b/$i"; done # more than one page of a directory
ln "$T/b/1" "$T/b/one-again"
backup a "$T/a" || fail "backup"
backup a "$T/a" || fail "backup"
backup b "$T/b" || fail "backup"
M=$T/mnt
mount_store "$M" || fail "mount"
inodes "$M" >"$T/first"
num "entries seen" "$(wc -l <"$T/first")" -gt 4000
is "d_ino is st_ino" "$(awk '$1 != $2' "$T/first" | head -3)" ""
is "no inode number twice, but for hard links" \
	"$(awk '$4 == "d" || $3 == 1 { print $1 }' "$T/first" | sort | uniq -d | head -3)" ""
is "in each point a hard-link group has one number" \
	"$(awk '$5 ~ /links\/(one|two|other\/three)$/ { print $1 }' "$T/first" | sort | uniq -c |
		awk '{ print $1 }' | tr '\n' ' ')" "3 3 "
is "of two points different ones" \
	"$(awk '$5 ~ /links\/one$/ { print $1 }' "$T/first" | sort -u | wc -l)" 2
is "b's two links share one" \
	"$(awk '$5 ~ /\/b\/[^\/]*\/(1|one-again)$/ || $5 ~ /^b\/[^\/]*\/(1|one-again)$/ { print $1, $3 }' \
		"$T/first" | sort -u | wc -l)" 1
is "links whose partners were not backed up are files of their own" \
	"$(awk '$5 ~ /links\/(early|late)$/ { print $1 }' "$T/first" | sort -u | wc -l)" 4
is "and can be read" "$(cat "$M/a/latest/links/early" "$M/a/latest/links/late")" "$(printf 'early\nlate')"
check "no inode is 0" bash -c "! grep -q '^0 ' '$T/first'"

inodes "$M" >"$T/second"
check "the same again, from the caches" cmp "$T/first" "$T/second"
unmount_store "$M"
mount_store "$M" || fail "mount"
inodes "$M" >"$T/third"
check "the same after a remount" cmp "$T/first" "$T/third"

# Directories above the points count their subdirectories, or say 1: "do not rely on it".
bad=
for d in "$M" "$M/a" "$M/b" "$M/by-id" "$M/by-tag" "$M/by-consistency" "$M"/by-consistency/*; do
	links=$(stat -c %h "$d")
	dirs=$(find "$d" -mindepth 1 -maxdepth 1 -type d | wc -l)
	[ "$links" = 1 ] || [ "$links" = $((2 + dirs)) ] || bad+="$d: $links links, $dirs directories; "
done
is "st_nlink of the directories above the points" "$bad" ""
read -r blocks free avail name_max <<<"$(stat -f -c '%b %f %a %l' "$M")"
num "statfs: the size is what the store occupies" $((blocks * $(stat -f -c %S "$M"))) -ge \
	$(($(stat -c '%b * 512' "$S/data.mdb")))
is "nothing is free, names have 255 bytes" "$free $avail $name_max" "0 0 255"

# By handle, as an NFS server finds files: also when the kernel and the daemon know nothing yet.
things=("$M" "$M/a" "$M/a/latest/." "$M/a/latest/links" "$M/a/latest/links/one" "$M/a/latest/links/symlink"
	"$M/a/latest/sizes/1048577" "$M/b/$(latest b)/1" "$M/b/$(latest b)/one-again" "$M/by-id" "$M/by-tag")
for i in "${!things[@]}"; do [ -e "${things[i]}" ] || [ -L "${things[i]}" ] || unset "things[i]"; done
if is_root && byhandle save "${things[@]}" >"$T/handles" 2>"$T/stderr"; then
	byhandle show "$M" <"$T/handles" >"$T/by-handle"
	is "handles lead to the files of their names" "$(cut -d' ' -f1,3 "$T/by-handle")" \
		"$(stat -c '%i %s' "${things[@]}")"
	(alone_with_caches && echo 2 >/proc/sys/vm/drop_caches)
	byhandle show "$M" <"$T/handles" >"$T/by-handle.2"
	check "also when the kernel has forgotten them" diff "$T/by-handle" "$T/by-handle.2"
	unmount_store "$M"
	mount_store "$M" || fail "mount"
	byhandle show "$M" <"$T/handles" >"$T/by-handle.2"
	check "and in the next mount" diff "$T/by-handle" "$T/by-handle.2"
	byhandle save "${things[@]}" | diff "$T/handles" - >"$T/diff"
	is "which gives the same handles" "$(cat "$T/diff")" ""
else
	skip "handles lead to the files of their names" "needs root: $(cat "$T/stderr")"
fi
unmount_store "$M"

# Another machine that holds the same store.
cp -a "$S" "$T/elsewhere"
rm "$T/elsewhere/lock.mdb"
CHUNKSTORE_STORE=$T/elsewhere S=$T/elsewhere mount_store "$M" || fail "mount"
inodes "$M" >"$T/third"
check "the same in a copy of the store" cmp "$T/first" "$T/third"
unmount_store "$M"

# Forgetting a point changes nobody else's numbers.
chunkstore forget "a/$(chunkstore list --json a | jq -r '.[0].name')" >/dev/null
mount_store "$M" || fail "mount"
inodes "$M/b" | sort >"$T/b-now"
b=$(latest b)
is "numbers of other points stay" "$(grep -c " $b/" "$T/b-now")" \
	"$(sed 's| b/| |' "$T/first" | sort | comm -12 - "$T/b-now" | grep -c " $b/")"
# By path, without having listed: the same number as by listing.
is "a path looked up directly has the number of its listing" \
	"$(stat -c %i "$M/b/$b/2222")" "$(awk -v p="b/$b/2222" '$5 == p { print $1 }' "$T/first")"
done_testing
