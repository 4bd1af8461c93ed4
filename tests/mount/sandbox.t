#!/bin/bash
# SPDX-License-Identifier: MIT
# What the daemon gives up, and that it can still do all that a mount has to.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
! is_sanitized || skip_all "a sanitizer opens and starts what it likes"
new_store || exit 1

mkdir "$T/a"
head -c 300000 /dev/urandom >"$T/a/file"
backup s "$T/a" || fail "backup"
M=$T/mnt

field() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
keeper_of() {
	local status
	status=$(grep -lsx "PPid:[[:space:]]*$1" /proc/[0-9]*/status) # others come and go: not its status
	[ -n "$status" ] || return
	status=${status#/proc/}
	echo "${status%/status}"
}

check "mount" mount_store "$M"
pid=$(daemon_of "$M")
keeper=$(keeper_of "$pid")
is "no new privileges" "$(field "$pid" NoNewPrivs)" 1
is "system calls are filtered" "$(field "$pid" Seccomp)" 2
for task in "/proc/$pid/task"/*; do
	[ "$(sed -n 's/^Seccomp:[[:space:]]*//p' "$task/status")" = 2 ] || fail "a thread is outside: $task"
done
# CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH: another user's store
is "no capabilities beyond the store's files" $((0x$(field "$pid" CapEff) & ~6)) 0
is "none to get back" $((0x$(field "$pid" CapBnd) * $(is_root && echo 1 || echo 0))) 0
num "a keeper is beside it" "${keeper:-0}" -gt 1
is "under its own name" "$(tr -d '\0' <"/proc/$keeper/cmdline")" chunkfs-keeper
is "with nothing of the store open" "$(ls -l "/proc/$keeper/fd" | grep -c "$S")" 0

check "the file is the same" cmp "$T/a/file" "$M/s/latest/file"
check "a new point" backup t "$T/a"
check "is seen at once" test -e "$M/t/latest/file"
check "forgotten" chunkstore forget --purge t/latest
check_not "it is gone at once" test -e "$M/t"
check "gc beside it" chunkstore gc
kill "$keeper" "$pid"
check "SIGTERM ends the daemon" wait_until 20 is_gone "$pid"
check "and the keeper" wait_until 20 is_gone "$keeper"
check_not "and it is unmounted" mounted "$M"

check "mount" mount_store "$M"
pid=$(daemon_of "$M") keeper=$(keeper_of "$pid")
kill -9 "$pid"
check "the keeper does not outlive a killed daemon" wait_until 20 is_gone "$keeper"
check "the dead mount stays" mounted "$M"
umount -l "$M" 2>/dev/null || fusermount3 -uz "$M"

check "mount" mount_store "$M"
pid=$(daemon_of "$M") keeper=$(keeper_of "$pid")
exec 7<"$M/s/latest/file"
kill "$pid"
check "a busy mount goes, too" wait_until 20 is_gone "$pid"
check_not "from its place" mounted "$M"
exec 7<&-

check "mount" mount_store "$M"
keeper=$(keeper_of "$(daemon_of "$M")")
check "umount" unmount "$M"
check "ends the keeper" wait_until 20 is_gone "$keeper"

check "not wanted: mount" mount_store "$M" -o sandbox=no
pid=$(daemon_of "$M")
is "no filter" "$(field "$pid" Seccomp)" 0
is "no keeper" "$(keeper_of "$pid")" ""
check "umount" unmount "$M"
check_status "another word" 2 chunkfs -o sandbox=perhaps "$S" "$M"

# A store that is not sound fails inside, and leaves no mount.
cp -a "$S" "$T/bad"
dd if=/dev/zero of="$T/bad/data.mdb" bs=4096 count=2 conv=notrunc 2>/dev/null
check_status "a damaged store" 1 chunkfs "$T/bad" "$M"
one_line_error "is named" "$T/bad"
check_not "and nothing is mounted" mounted "$M"

# Another user's store, and one that has yet to get its lock file
if is_root; then
	cp -a "$S" "$T/theirs"
	chown -R 12345:12345 "$T/theirs"
	rm "$T/theirs/lock.mdb"
	S=$T/theirs
	check "another user's store" mount_store "$M"
	check "is read" cmp "$T/a/file" "$M/s/latest/file"
	check "umount" unmount "$M"
fi
done_testing
