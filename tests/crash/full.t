#!/bin/bash
# SPDX-License-Identifier: MIT
# Others fill the disk to the last block: points can still be forgotten, and their space had back.
. "$(dirname "$0")/../lib/harness.sh"
need_root
can_mount_tmpfs || skip_all "cannot mount a tmpfs"

mkdir "$T/a" "$T/b" "$T/c" "$T/d" "$T/disk"
for i in $(seq 300); do
	noise "$i" 20000 >"$T/a/$i"
	noise $((i + 1000)) 20000 >"$T/b/$i"
	noise $((i + 2000)) 20000 >"$T/c/$i"
	[ $((i % 2)) = 0 ] || noise $((i + 3000)) 20000 >"$T/d/$i"
done

forget=(chunkstore forget)
chunkstore forget --help | grep -q -e --purge && forget+=(--purge)

mount_disk() {
	case $1 in
	tmpfs) mount -t tmpfs -o size=64m tmpfs "$T/disk" ;;
	ext4) truncate -s 100M "$T/image" && mkfs.ext4 -q -F -m 0 "$T/image" 2>/dev/null ;;
	xfs) truncate -s 300M "$T/image" && mkfs.xfs -q -f "$T/image" 2>/dev/null ;;
	esac && { [ "$1" = tmpfs ] || mount -o loop "$T/image" "$T/disk" 2>/dev/null; }
}

# Until not one byte more can be written, and no file made.
fill_disk() {
	local i=0
	cat /dev/zero >"$T/disk/others" 2>/dev/null
	while (echo x >"$T/disk/others-$i") 2>/dev/null && [ -s "$T/disk/others-$i" ]; do i=$((i + 1)); done
	for i in 1 2 3; do # a file system may find some more
		sync -f "$T/disk"
		cat /dev/zero >>"$T/disk/others" 2>/dev/null
	done
}

# The disk is full when the store has never freed anything, and again later.
kinds=(tmpfs ext4)
is_long && kinds+=(xfs)
for fs in "${kinds[@]}"; do
	mount_disk $fs || { skip "$fs" "cannot be mounted here"; continue; }
	S=$T/disk/store
	export CHUNKSTORE_STORE=$S
	new_store || exit 1
	check "$fs: a backup" backup s "$T/a"
	id=$(backup_json .id)
	check "$fs: another" backup s "$T/b"
	fill_disk
	if [ $fs = xfs ]; then # which set aside more than we asked for
		skip "$fs: no third: the disk is full" "there may be room"
	else
		check_status "$fs: no third: the disk is full" 1 backup s "$T/c"
		one_line_error "$fs: which it says" "[Nn]o space"
	fi
	check "$fs: forget" "${forget[@]}" "$id"
	run chunkstore gc --json
	num "$fs: gc frees what the point had" "$(json .stored_freed)" -gt 5000000
	check "$fs: verify" chunkstore verify
	check "$fs: a backup has room again" backup s "$T/d"
	check "$fs: restore" chunkstore restore s "$T/$fs-out"
	check "$fs: is right" treecmp "$T/d" "$T/$fs-out"
	fill_disk
	for id in $(chunkstore list --json | jq -r '.[].id'); do
		check "$fs: forget, again on a full disk" "${forget[@]}" "$id"
		check "$fs: gc" chunkstore gc
	done
	check "$fs: verify" chunkstore verify
	umount "$T/disk"
	rm -f "$T/image"
done

# All bundles are half dead and none can just be freed: what is rewritten needs room at first, and
# as much as one transaction usually takes is not there.
mkdir "$T/whole" "$T/part"
for i in $(seq 1000); do
	noise $((i + 5000)) 20000 >"$T/whole/$i"
	[ $((i % 5)) -ge 2 ] || cp "$T/whole/$i" "$T/part/$i"
done
for fs in "${kinds[@]}"; do
	mount_disk $fs || { skip "$fs" "cannot be mounted here"; continue; }
	S=$T/disk/store
	export CHUNKSTORE_STORE=$S
	new_store || exit 1
	backup s "$T/whole" && id=$(backup_json .id) && backup s "$T/part" || fail "$fs: backups"
	check "$fs: forget what needs all" "${forget[@]}" "$id"
	fill_disk
	run chunkstore gc --json
	is "$fs: gc rewrites in small steps" "$status $(stderr)" "0 "
	num "$fs: and frees half" "$(json .stored_freed)" -gt 9000000
	check "$fs: verify" chunkstore verify
	check "$fs: restore" chunkstore restore s "$T/$fs-part"
	check "$fs: is right" treecmp "$T/part" "$T/$fs-part"
	run chunkstore gc --json
	is "$fs: nothing is left to do" "$(json .bundles_rewritten)" 0
	umount "$T/disk"
	rm -f "$T/image"
done
done_testing
