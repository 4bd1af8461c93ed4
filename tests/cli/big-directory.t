#!/bin/bash
# SPDX-License-Identifier: MIT
# A directory with very many entries: 300 000, and 30 000 in the quick tests and under a sanitizer.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

count=300000
if is_sanitized || is_quick; then count=30000; fi
mkbig "$T/big" $count
sleep 0.1 # what is younger than a clock tick when a backup starts is read again by the next
check "backup of $count entries in one directory" backup big "$T/big"
is "all are there" "$(backup_json .entries)" $((count + 1))
check "restore" chunkstore restore -q big "$T/out"
check "is the same" treecmp "$T/big" "$T/out"
rm -rf "$T/out"

check "second backup" backup big "$T/big"
is "reads nothing" "$(backup_json .files_read)" 0
echo x >"$T/big/entry-00012345x"
check "backup with one entry more" backup big "$T/big"
is "reads one file" "$(backup_json .files_read)" 1
num "and stores a few pages" "$(backup_json .added_raw)" -lt 700000

middle=$(printf 'entry-%08d' $((count / 2 + 7)))
run chunkstore ls "big/latest:$middle"
is "a name in the middle is found" "$status" 0
run chunkstore find 'entry-00012345?' big/latest
is "find sees the new one" "$(stdout | wc -l)" 1
is "ls lists all" "$(chunkstore ls big | wc -l)" $((count + 1))
check "verify" chunkstore verify
done_testing
