#!/bin/bash
# SPDX-License-Identifier: MIT
# A full disk in the middle of a backup: a clear message, old points untouched, nothing leaked.
. "$(dirname "$0")/../lib/harness.sh"
need_root
can_mount_tmpfs || skip_all "cannot mount a tmpfs"

mkdir "$T/disk"
mount -t tmpfs -o size=64m tmpfs "$T/disk"
S=$T/disk/store
export CHUNKSTORE_STORE=$S
new_store || exit 1

mkdir "$T/small" "$T/big"
head -c 10M /dev/urandom >"$T/small/file"
head -c 90M /dev/urandom >"$T/big/file"
check "a backup that fits" backup small "$T/small"

check_status "a backup that does not fit" 1 backup big "$T/big"
one_line_error "says so" "[Nn]o space"
is "and stores no point" "$(points)" 1
check "the old point is intact" chunkstore restore small "$T/out"
check "byte for byte" treecmp "$T/small" "$T/out"
check "verify still works on the full disk" chunkstore verify
check "list too" chunkstore list

# Forgetting makes no room, but it must not need any.
head -c 64M /dev/zero >"$T/disk/filler" 2>/dev/null
is "not a block is left" "$(df --output=avail "$T/disk" | tail -n 1 | tr -d ' ')" 0
check "forget on the full disk" chunkstore forget small/latest
check "undelete" chunkstore undelete "$(chunkstore list --trash --json | jq -r '.[0].id')"
check "and again" chunkstore forget small/latest
check "undelete" chunkstore undelete "$(chunkstore list --trash --json | jq -r '.[0].id')"
check "a policy" chunkstore forget --all-series --keep-last 1
check "config" chunkstore config trash 1d
is "the point is in the list" "$(points)" 1
check "gc on the full disk" chunkstore gc
rm "$T/disk/filler"
check "verify after it" chunkstore verify
cp -a "$T/small" "$T/medium"
head -c 25M /dev/urandom >"$T/medium/more"
check "then there is room again" backup small "$T/medium"
rm -rf "$T/out"
check "restore of it" chunkstore restore small "$T/out"
check "is right" treecmp "$T/medium" "$T/out"
check "verify" chunkstore verify

# What gc gave back is soon somebody else's. Even so, points can be forgotten, and their space had back.
check "forget it" chunkstore forget --purge small/latest
check "gc" chunkstore gc
num "which gives the space back to the file system" "$(stats disk_bytes)" -lt 15000000
cat /dev/zero >"$T/disk/others" 2>/dev/null
is "others take all of it" "$(df --output=avail "$T/disk" | tail -n 1 | tr -d ' ')" 0
mkdir "$T/nothing"
check_status "a backup leaves what is left for forget and gc" 1 backup nothing "$T/nothing"
one_line_error "and says so" "[Nn]o space"
run chunkstore compact
like "compact on the full disk does it or says so" "$status:$(stderr)" "^0:$|^1:.*[Nn]o space"
check "forget on the full disk" chunkstore forget --purge small/latest
check "gc on the full disk" chunkstore gc
num "makes room" "$(df --output=avail -B1 "$T/disk" | tail -n 1)" -gt 8000000
check "verify" chunkstore verify
done_testing
