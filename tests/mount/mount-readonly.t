#!/bin/bash
# SPDX-License-Identifier: MIT
# The mount is read-only towards everyone: every call that would change it says EROFS.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1

mkdir -p "$T/a/dir"
echo x >"$T/a/file"
echo y >"$T/a/dir/inside"
ln -s file "$T/a/link"
backup s "$T/a" || fail "backup"
M=$T/mnt
mount_store "$M" || fail "mount"

for d in "$M" "$M/s" "$M/s/latest/." "$M/s/latest/dir"; do
	where=${d#"$T"/}
	refused() { # description, command…
		run "${@:2}"
		if [ $status -ne 0 ] && [[ $(stderr) == *"Read-only file system"* ]]; then
			pass "$where: $1"
		else
			fail "$where: $1" "$(last_output)"
		fi
	}
	refused "create" touch "$d/new"
	refused "mkdir" mkdir "$d/newdir"
	refused "mkfifo" mkfifo "$d/fifo"
	refused "symlink" ln -s x "$d/symlink"
	refused "chmod" chmod 777 "$d"
	refused "touch" touch -d 2001-01-01 "$d"
	refused "chown" chown -h "$(id -u)" "$d"
done
# The same without programs in between: every system call that changes something.
for d in "$M" "$M/s" "$M/by-id" "$M/by-tag" "$M/by-consistency/unknown"; do
	check "${d#"$T"/}: every changing system call" changes "$d"
done
check "a point: every changing system call" changes "$M/s/latest/." file
check "below it: every changing system call" changes "$M/s/latest/dir" inside
unmount_store "$M"
mount_store "$M" -o point=s/latest || fail "mount"
check "a point alone: every changing system call" changes "$M" file
unmount_store "$M"
mount_store "$M" || fail "mount"
where="a file"
f=$M/s/latest/file
refused "write" bash -c "echo y >>'$f'"
refused "truncate" truncate -s 0 "$f"
refused "unlink" rm -f "$f"
refused "rename" mv -f "$f" "$M/s/latest/other"
refused "link" ln "$f" "$M/s/latest/hard"
refused "rmdir" rmdir "$M/s/latest/dir"
refused "setxattr" setfattr -n user.x -v y "$f"
refused "removexattr" setfattr -x user.x "$f"
where="the virtual directories"
refused "rmdir of a series" rmdir "$M/s"
refused "rmdir of a point" rmdir "$M/s/$(latest s)"
refused "unlink of latest" rm "$M/s/latest"
is "and nothing has changed" "$(cat "$f")" x
check "remounting it read-write does not help" bash -c \
	"mount -o remount,rw '$M' 2>/dev/null; ! touch '$f' 2>/dev/null"
done_testing
