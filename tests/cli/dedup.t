#!/bin/bash
# SPDX-License-Identifier: MIT
# Equal content is stored once; content whose hash is equal by chance is not mixed up.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

treegen "$T/a" --seed 5 --files 300 --no-deep | sed 's/^/# /'
head -c 8M /dev/urandom >"$T/a/random"
check "first backup" backup one "$T/a"
first=$(stats stored_bytes)
cp -a "$T/a" "$T/copy"
check "backup of a copy in another series" backup two "$T/copy"
second=$(stats stored_bytes)
num "adds next to nothing" "$((second - first))" -lt $((first / 50))
chunkstore restore two "$T/copy-out"
check "and comes back" treecmp "$T/copy" "$T/copy-out"

# Bytes inserted near the start of a large file shift everything behind them.
{ head -c 100000 "$T/a/random"; echo inserted; tail -c +100001 "$T/a/random"; } >"$T/copy/random"
check "backup after an insertion into a large file" backup two "$T/copy"
num "stores only the neighbourhood" "$(backup_json .added_raw)" -lt 2000000

# A file twice in one tree.
mkdir "$T/twice"
head -c 3M /dev/urandom >"$T/twice/1"
cp "$T/twice/1" "$T/twice/2"
check "backup of a file and its copy" backup twice "$T/twice"
num "stores one" "$(backup_json .added_stored)" -lt 3300000

# The hash cut to 4 bits: nearly every comparison is a collision.
export CHUNKSTORE_STORE=$T/bits
check "a store whose hash has 4 bits" chunkstore init --hash-bits 4
check "backup into it" backup one "$T/a"
check "restore from it" chunkstore restore one "$T/bits-out"
check "every file is right" treecmp "$T/a" "$T/bits-out" --holes
check "second backup, nothing opened" backup one "$T/a"
is "nothing read" "$(backup_json .files_read)" 0
check "forced backup" backup one "$T/a" --force
check "restore of that" chunkstore restore one "$T/bits-out-2"
check "every file is right again" treecmp "$T/a" "$T/bits-out-2"
check "backup of the copy" backup two "$T/copy"
check "restore of the copy" chunkstore restore two "$T/bits-out-3"
check "is right too" treecmp "$T/copy" "$T/bits-out-3"
check "verify" chunkstore verify
for p in $(chunkstore list --json | jq -r '.[] | select(.series == "one") | .series + "/" + .name'); do
	chunkstore forget --purge "$p"
done
check "gc" chunkstore gc
rm -rf "$T/bits-out-3"
check "restore after gc" chunkstore restore two "$T/bits-out-3"
check "is still right" treecmp "$T/copy" "$T/bits-out-3"
check "verify after gc" chunkstore verify
done_testing
