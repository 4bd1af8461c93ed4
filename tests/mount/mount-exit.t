#!/bin/bash
# SPDX-License-Identifier: MIT
# How a mount ends, and how it fails to begin.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1

mkdir "$T/a"
head -c 300000 /dev/urandom >"$T/a/file"
backup s "$T/a" || fail "backup"
M=$T/mnt
mkdir "$M"

for sig in TERM INT HUP; do
	check "mount" mount_store "$M"
	pid=$(daemon_of "$M")
	kill -$sig "$pid"
	check "SIG$sig ends the daemon" wait_until 20 is_gone "$pid"
	check "SIG$sig unmounts" bash -c "! mountpoint -q '$M'"
done

bg chunkfs -f "$S" "$M" 2>"$T/chunkfs.err"
pid=$!
wait_until 20 test -e "$M/s/latest/file" || fail "mount -f"
kill -TERM $pid
wait $pid
is "in front, SIGTERM gives status 0" $? 0

check "mount" mount_store "$M"
pid=$(daemon_of "$M")
check "umount" unmount "$M"
check "ends the daemon" wait_until 20 is_gone "$pid"

check "mount" mount_store "$M"
pid=$(daemon_of "$M")
exec 7<"$M/s/latest/file"
check_not "a busy mount does not unmount" unmount "$M"
kill -TERM "$pid"
wait_until 20 is_gone "$pid"
check "SIGTERM ends it even when busy" is_gone "$pid"
exec 7<&-
umount -l "$M" 2>/dev/null || fusermount3 -uz "$M" 2>/dev/null
check "the mount point can be used again" mount_store "$M"

# A daemon that dies leaves a mount that says so, not an empty directory.
pid=$(daemon_of "$M")
kill -9 "$pid"
wait_until 20 is_gone "$pid"
# While its last threads end, a question may still be taken, and is then broken off.
dead() { ! ls "$M" >/dev/null 2>"$T/dead" && ! grep -q abort "$T/dead"; }
check "after kill -9 the directory is an error" wait_until 20 dead
like "that says why" "$(cat "$T/dead")" "not connected"
run ls "$M/s/latest"
num "and so is what was in it" $status -gt 0
unmount "$M" 2>/dev/null || umount -l "$M"

mkdir "$T/empty"
check_status "a store that is not there" 1 chunkfs "$T/nothing" "$M"
like "is named" "$(stderr)" "$T/nothing"
check_status "a directory that is no store" 1 chunkfs "$T/empty" "$M"
is "and stays empty" "$(ls -A "$T/empty")" ""
check_status "a mount point that is not there" 1 chunkfs "$S" "$T/no-mountpoint"
like "is named" "$(stderr)" "no-mountpoint"
check_status "a mount point that is a file" 1 chunkfs "$S" "$T/a/file"
check_status "too few arguments" 2 chunkfs "$S"
check_status "too many" 2 chunkfs "$S" "$M" "$T/a"
check_not "an unknown mount option" chunkfs "$S" "$M" -o no_such_option
check "after all that nothing is mounted" bash -c "! mountpoint -q '$M'"

if is_root && can_mount_tmpfs; then
	mkdir "$T/ro"
	mount --bind "$S" "$T/ro" && mount -o remount,bind,ro "$T/ro"
	check "a store on read-only media can be mounted" chunkfs "$T/ro" "$M"
	check "and read" cmp "$T/a/file" "$M/s/latest/file"
	check "unmount" unmount_store "$M"
	umount "$T/ro"
	mkdir "$T/disc"
	mount -t tmpfs tmpfs "$T/disc"
	cp "$S/data.mdb" "$T/disc/"
	mount -o remount,ro "$T/disc"
	check "also without its lock file" chunkfs "$T/disc" "$M"
	check "and read" cmp "$T/a/file" "$M/s/latest/file"
	check "unmount" unmount_store "$M"
	umount "$T/disc"
else
	skip "read-only media" "needs root and mount"
fi
# Over itself, inside itself, above itself, by whatever name.
mkdir -p "$S/inside"
ln -s "$S" "$T/other-name"
for at in "$S" "$S/inside" "$T/other-name/inside" "$T" /; do
	check_status "a mount on $at" 1 chunkfs "$S" "$at"
	one_line_error "is refused in words" "lies in the store|would hide the store"
done
rmdir "$S/inside"

done_testing
