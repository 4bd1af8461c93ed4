#!/bin/bash
# SPDX-License-Identifier: MIT
# Whatever a tree holds comes back: backup, then restore, compared attribute by attribute.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

seed=${CS_TEST_SEED:-1}
treegen "$T/a" --seed "$seed" --files 400 | sed 's/^/# /'

check "backup of a tree with everything in it" backup tree "$T/a"
num "it counts the entries" "$(backup_json .entries)" -gt 500
is "nothing was unreadable" "$(backup_json .unreadable)" 0
check "restore of the point" chunkstore restore tree/latest "$T/b"
check "the restored tree is the same" treecmp "$T/a" "$T/b" --holes
check "verify finds nothing wrong" chunkstore verify

check "restore of a subdirectory" chunkstore restore tree/latest:names "$T/names"
check "is the same" treecmp "$T/a/names" "$T/names"
check "restore of one file" chunkstore restore tree:sizes/1048577 "$T/file"
check "is the same bytes" cmp "$T/a/sizes/1048577" "$T/file"
is "and the same time" "$(stat -c %y "$T/file")" "$(stat -c %y "$T/a/sizes/1048577")"
mkdir "$T/ready"
check "restore into an empty directory" chunkstore restore tree "$T/ready"
check "is the same" treecmp "$T/a" "$T/ready"

check_status "restore over something that is there is refused" 1 \
	chunkstore restore tree/latest "$T/b"
one_line_error "in one line" "$T/b"
check "and it is left alone" treecmp "$T/a" "$T/b"
check_status "restore of a path that is not there" 1 chunkstore restore tree:no/such "$T/x"
one_line_error "names it" "no/such"
check "and makes nothing" test ! -e "$T/x"
check_status "restore of a point that is not there" 1 chunkstore restore other/latest "$T/x"
check "makes nothing" test ! -e "$T/x"

# Absolute paths are kept, also of two sources with a common beginning.
check "backup of paths" chunkstore backup -q -S paths "$T/a/sizes" "$T/a/names" "$T/file"
# Only root can give the directories on the way to their owners.
if is_root; then owners_status=0; else owners_status=3; fi
check_status "restore of the paths" $owners_status chunkstore restore paths "$T/paths"
check "the first is at its absolute path" treecmp "$T/a/sizes" "$T/paths/$T/a/sizes"
check "so is the second" treecmp "$T/a/names" "$T/paths/$T/a/names"
check "a single file too" cmp "$T/file" "$T/paths/$T/file"
is "and nothing else is there" "$(find "$T/paths/$T" -maxdepth 2 | wc -l)" 5

check "relative paths become absolute" bash -c "cd '$T/a' && chunkstore backup -q -S rel sizes ./names"
check "restore of them" chunkstore restore "rel:$T/a/sizes" "$T/rel"
check "is the same" treecmp "$T/a/sizes" "$T/rel"

mkdir "$T/part"
ln "$T/file" "$T/part/link"
check "backup of a link whose partner is elsewhere" backup link "$T/part"
check "restore of it" chunkstore restore link "$T/part-out"
check "is the same" treecmp "$T/part" "$T/part-out" --no-nlink

check "excludes" backup part "$T/a" --exclude 'same-*' --exclude sizes/1 --exclude deep
run chunkstore ls -R part
unlike "by name are left out" "$(stdout)" same-
unlike "so are whole directories" "$(stdout)" 'deep'
run chunkstore ls part:sizes
unlike "and by path" "$(stdout)" $'(^|\n)1\n'
like "others stay" "$(stdout)" 128
done_testing
