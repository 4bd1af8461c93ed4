#!/bin/bash
# SPDX-License-Identifier: MIT
# Large and sparse files: content, holes, changes in the middle.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

size=200M
if is_sanitized || is_quick; then size=40M; fi
mkdir "$T/a"
head -c $size /dev/urandom >"$T/a/random"
seq 1 4000000 | head -c $size >"$T/a/text"
truncate -s $size "$T/a/holes"
for at in 0 7000000 7004096 30000000; do
	echo "island at $at" | dd of="$T/a/holes" bs=1 seek=$at conv=notrunc 2>/dev/null
done
truncate -s 1T "$T/a/tera"
echo end | dd of="$T/a/tera" bs=4096 seek=200000000 conv=notrunc 2>/dev/null
head -c $size /dev/zero >"$T/a/zeroes"

check "backup of large files" backup big "$T/a"
rm "$T/a/tera" # 1 TiB of hole is stored, but not read here byte for byte
check "restore" bash -c "for f in random text holes zeroes; do
	chunkstore restore -q big:\$f $T/\$f && cmp $T/a/\$f $T/\$f || exit; done"
is "holes stay holes" "$(stat -c %b "$T/holes")" "$(stat -c %b "$T/a/holes")"
check "a file of 1 TiB with one island comes back" chunkstore restore -q big:tera "$T/tera"
is "in full length" "$(stat -c %s "$T/tera")" 1099511627776
num "but not on disk" "$(stat -c %b "$T/tera")" -lt 100
is "with its island" "$(tail -c +819200000001 "$T/tera" | head -c 4)" "end"
run chunkstore cat big:text
check "cat prints the bytes" cmp "$T/stdout" "$T/a/text"

printf 'changed' | dd of="$T/a/random" bs=1 seek=10000000 conv=notrunc 2>/dev/null
echo appended >>"$T/a/text"
check "backup after a change in the middle" backup big "$T/a"
num "stores little" "$(backup_json .added_raw)" -lt 3000000
rm -f "$T/random" "$T/text"
check "restore of the changed file" chunkstore restore -q big:random "$T/random"
check "has the change" cmp "$T/a/random" "$T/random"
check "restore of the longer file" chunkstore restore -q big:text "$T/text"
check "has the end" cmp "$T/a/text" "$T/text"
check "verify" chunkstore verify
done_testing
