#!/bin/bash
# SPDX-License-Identifier: MIT
# A store with 20 000 points, 10 000 of them in one series, is listed quickly and in little memory.
# Time is what the daemon used of a processor: how long a reader waits is the machine's affair.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1
M=$T/mnt

mkdir "$T/a"
echo 1 >"$T/a/file"
backup s "$T/a" --tag all || fail "backup"
backup other "$T/a" --tag all --tag rest || fail "backup"
check "10 000 points more of a series" manypoints "$S" s 10000 1
check "and as many of 1000 others" manypoints "$S" other 10000 1000
mount_store "$M" || fail "mount"
daemon=$(daemon_of "$M")

# used: of a processor by the daemon so far, in ms
used() { awk -v hz="$(getconf CLK_TCK)" '{ sub(/.*\) /, ""); print int(($12 + $13) * 1000 / hz) }' "/proc/$daemon/stat"; }
peak() { awk '/^VmHWM/ { print int($2 / 1024) }' "/proc/$daemon/status"; }
# listed COUNT MS COMMAND…: prints that many lines, for no more time of the daemon than that
listed() {
	local what=${*:3} before now
	before=$(used)
	"${@:3}" >"$T/listed" 2>"$T/stderr"
	now=$(used)
	what=${what//"$M"/MNT}
	is "$what: lines" "$(wc -l <"$T/listed")" "$1"
	is_sanitized || num "$what: $((now - before)) ms" $((now - before)) -lt "$2"
}
listed 1004 500 ls "$M"
listed 10002 500 ls "$M/s"
listed 10002 500 ls -f --ignore='.*' "$M/s"
listed 20002 500 ls "$M/by-id"
listed 102 500 ls "$M/by-tag"
listed 20002 500 ls "$M/by-tag/all"
listed 10001 500 ls "$M/by-tag/rest"
listed 200 500 ls "$M/by-tag/hundred-7"
listed 20002 500 ls "$M/by-consistency/unknown"
listed 10003 3000 ls -l "$M/s"
listed 20002 3000 bash -c "cd '$M/by-id' && find . -type l -printf '%l\n'"
listed 1 200 readlink "$M/s/latest"
is_sanitized || num "of 20 000 points the daemon has $(peak) MiB" "$(peak)" -lt 64
listed 20002 8000 bash -c "cat '$M'/[so]*/2*/file"
is_sanitized || num "and when all were read $(peak) MiB" "$(peak)" -lt 80

check "all that is in one directory, in every way" dirwalk "$M/s" 10002
before=$(used)
check "a point more" backup s "$T/a"
# a backup waits for the mount, but no longer than a second
has_one_more() { [ "$(ls "$M/s" | wc -l)" -eq 10003 ]; }
! is_sanitized || wait_until 60 has_one_more
check "is there at once" has_one_more
is "and is the newest" "$(readlink "$M/s/latest")" "$(backup_json .name)"
diag "with everything in use, the change took $(($(used) - before)) ms"
check "forget it" chunkstore forget s/latest
has_one_less() { [ "$(ls "$M/s" | wc -l)" -eq 10002 ]; }
! is_sanitized || wait_until 60 has_one_less
check "and it is gone" has_one_less
unmount_store "$M"

check "as of a time" mount_store "$M" --at 2999-01-01
daemon=$(daemon_of "$M")
listed 1001 500 ls "$M"
listed 1001 1000 bash -c "cat '$M'/*/file"
unmount_store "$M"
listed_by_tool() {
	local t
	t=$( { TIMEFORMAT='%U %S'; time chunkstore list >"$T/listed"; } 2>&1)
	is "chunkstore list" "$(wc -l <"$T/listed")" 20002
	is_sanitized || is "in less than a second of a processor: $t" \
		"$(awk '{ print ($1 + $2 < 1) }' <<<"$t")" 1
}
listed_by_tool
done_testing
