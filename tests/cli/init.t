#!/bin/bash
# SPDX-License-Identifier: MIT
# A new store: what init makes, and what it refuses to touch.
. "$(dirname "$0")/../lib/harness.sh"

check "init makes a store" chunkstore init
is "its directory is private" "$(stat -c %a "$S")" 700
is "its data file is private" "$(stat -c %a "$S/data.mdb")" 600
run chunkstore list
is "an empty store lists nothing" "$status:$(stdout | wc -l)" 0:0
check "an empty store verifies" chunkstore verify
check "gc of an empty store" chunkstore gc
run chunkstore stats --json
is "it holds no point" "$(json .points)" 0

before=$(sha256sum <"$S/data.mdb")
check_status "init again is refused" 1 chunkstore init
one_line_error "in one line that names the path" "$S"
is "and changes nothing" "$(sha256sum <"$S/data.mdb")" "$before"

mkdir "$T/full"
echo precious >"$T/full/file"
check_status "a directory with something in it is refused" 1 chunkstore -s "$T/full" init
is "and left as it was" "$(ls -A "$T/full")" file

mkdir "$T/empty"
check "an empty directory becomes a store" chunkstore -s "$T/empty" init
is "and private" "$(stat -c %a "$T/empty")" 700

check_status "a missing parent directory is an error" 1 chunkstore -s "$T/no/such" init
one_line_error "that names the path" "$T/no/such"
check "and nothing is made" test ! -e "$T/no"

(umask 0; chunkstore -s "$T/umask" init)
is "the umask does not open a store" "$(stat -c %a "$T/umask" "$T/umask"/* | tr '\n' ' ')" "700 600 600 600 "
(umask 0777; chunkstore -s "$T/umask2" init) || fail "init with umask 0777"
is "nor close it" "$(stat -c %a "$T/umask2" "$T/umask2"/* | tr '\n' ' ')" "700 600 600 600 "
rm "$T/umask/lock.mdb" "$T/umask/leases"
(umask 0; chunkstore -s "$T/umask" gc) || fail "gc"
is "nor what is made in it later" "$(stat -c %a "$T/umask"/* | tr '\n' ' ')" "600 600 600 "

if is_root && can_mount_tmpfs; then
	mkdir "$T/small"
	mount -t tmpfs -o size=4k tmpfs "$T/small"
	check_not "a full disk fails init" chunkstore -s "$T/small/s" init
	check "and leaves nothing behind" test ! -e "$T/small/s"
else
	skip "a full disk fails init" "cannot mount a tmpfs"
fi
done_testing
