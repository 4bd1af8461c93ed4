#!/bin/bash
# SPDX-License-Identifier: MIT
# The words that mount(8), fstab(5) and systemd know: handed on, or passed over; and mount(8) itself.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1

mkdir "$T/a"
echo hello >"$T/a/file"
backup s "$T/a" || fail "backup"
M=$T/mnt
mkdir "$M"

# flags: of the mount and of its file system, as the kernel has them.
flags() { awk -v m="$M" '$5 == m { print "," $6 "," $NF "," }' /proc/self/mountinfo; }

# mounted_with OPTIONS: it answers; its flags are in $flags then.
mounted_with() {
	mount_store "$M" -o "$1" && [ "$(cat "$M/s/latest/file")" = hello ]
	local rc=$?
	flags=$(flags)
	unmount_store "$M" || rc=1
	return $rc
}

check "no options" mounted_with defaults
for flag in ro nosuid nodev; do
	like "the mount is $flag" "$flags" ",$flag,"
done
check "rw, suid and dev are asked for in vain" mounted_with rw,suid,dev
for flag in ro nosuid nodev; do
	like "it is $flag nevertheless" "$flags" ",$flag,"
done
for flag in noexec noatime; do
	check "$flag" mounted_with $flag
	like "is handed on to the kernel" "$flags" ",$flag,"
done
for flag in exec atime async; do
	check "$flag is taken" mounted_with $flag
done
if is_root; then # whom fusermount3 mounts for, it asks less
	for flag in sync dirsync; do
		check "$flag" mounted_with $flag
		like "is handed on to the kernel" "$flags" ",$flag,"
	done
fi
check "what others read in fstab is passed over" mounted_with \
	auto,noauto,nofail,_netdev,user,users,nouser,group,owner,comment=at\ 3\ a.m.,x-systemd.automount,x-gvfs-show,X-mount.mkdir,relatime,strictatime,lazytime,diratime,iversion,nomand,silent
check "a word too many is none" mounted_with ,noexec,,nofail,

for option in "nosuchoption" "noexec=1" "cache" "cache=much" "point" "damaged=perhaps" "owner=root" "wakeups="; do
	check_status "-o $option" 2 chunkfs "$S" "$M" -o "nofail,$option"
	like "is named" "$(stderr)" "$option"
	is "in one line" "$(stderr | wc -l)" 1
	check_not "nothing is mounted" mounted "$M"
done

# A label needs a security module that knows it: else the kernel refuses, and it is said.
if mount_store "$M" -o context=system_u:object_r:tmp_t:s0 2>/dev/null; then
	pass "a label is handed on"
	unmount_store "$M"
else
	is "a label that nobody knows is refused in one line" "$status:$(stderr | wc -l)" "1:1"
	check_not "nothing is mounted" mounted "$M"
fi

if is_root && have mount.fuse; then
	# Installed, it is "STORE MOUNTPOINT fuse.chunkfs OPTIONS"; mount(8) finds no program in our PATH.
	cat >"$T/fstab" <<-EOF
		$BUILD/chunkfs#$S $M fuse noauto,nofail,noatime,point=s/latest,x-systemd.automount 0 0
	EOF
	run mount --fstab "$T/fstab" "$M"
	is "mount(8) mounts what a line in fstab says" "$status" 0
	check "it is a chunkfs" is_chunkfs "$M"
	is "of that point" "$(cat "$M/file")" hello
	like "with the flags of that line" "$(flags)" ",noatime,"
	check "umount(8)" unmount_store "$M"
	run mount -t fuse -o frobnicate "$BUILD/chunkfs#$S" "$M"
	num "mount(8) says what is wrong" "$status" -gt 0
	like "in chunkfs's words" "$(stderr)" "frobnicate"
	check_not "nothing is mounted" mounted "$M"
else
	skip "mount(8) mounts what a line in fstab says" "not root, or no mount.fuse"
fi

done_testing
