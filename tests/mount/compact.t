#!/bin/bash
# SPDX-License-Identifier: MIT
# compact makes the file shorter under a mount that is being read and beside a backup; it can be
# killed at any moment; the mount shows what comes afterwards.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1
M=$T/mnt

mkdir "$T/kept"
for i in $(seq 40); do head -c $((RANDOM * 16 + 10000)) /dev/urandom >"$T/kept/$i"; done
# two series in turn, so that what goes and what stays lie side by side in the file
fill() {
	local i
	for i in 1 2 3 4; do
		mkdir "$T/stays-$1-$i" "$T/goes"
		cp "$T/kept/$((i * 10))" "$T/stays-$1-$i/copy"
		head -c 2M /dev/urandom >"$T/stays-$1-$i/file"
		head -c 4M /dev/urandom >"$T/goes/file"
		backup goes "$T/goes" && backup "stays-$1-$i" "$T/stays-$1-$i" || fail "backup $i"
		rm -r "$T/goes"
	done
}
all_right() {
	local d bad=0
	diff -r "$T/kept" "$M/kept/latest" || bad=1
	for d in "$T"/stays-*; do diff -r "$d" "$M/$(basename "$d")/latest" || bad=1; done
	return $bad
}
purge=()
chunkstore forget --help | grep -q -- --purge && purge=(--purge)
forget_goes() {
	local p
	for p in $(chunkstore list --json goes | jq -r '.[].id'); do
		chunkstore forget "${purge[@]}" "$p" >/dev/null || return
	done
	chunkstore gc >/dev/null
}

fill a
check "a point that stays" backup kept "$T/kept"
check "forget and gc" forget_goes
check "mount" mount_store "$M"

reading() {
	while [ ! -e "$T/stop" ]; do
		diff -r "$T/kept" "$M/kept/latest" >>"$T/wrong" 2>&1
		echo >>"$T/passes"
	done
}
bg reading
reader=$!
mkdir "$T/large"
head -c 24M /dev/urandom >"$T/large/file"
bg chunkstore backup --series large --root "$T/large"
backing=$!
before=$(file_size "$S/data.mdb")
check "compact under the mount, beside a backup" chunkstore compact --json
wait "$backing"
is "the backup succeeds" $? 0
check "compact when it is done" chunkstore compact --json
after=$(file_size "$S/data.mdb")
is "it says what it did" "$(json .file_after)" "$after"
num "the file is about as long as what it holds" "$after" -le $(($(stats stored_bytes) * 11 / 10 + 3000000))
diag "$before bytes before, $after after, a backup of 24 MB between"
check "all is right in the mount" all_right
mkdir "$T/new"
echo new >"$T/new/file"
check "a point made after it" backup new "$T/new"
is "is in the mount" "$(cat "$M/new/latest/file")" new
check "verify" chunkstore verify

# killed at any moment, two at once
: >"$T/stop"
wait "$reader"
is "the reader never saw a wrong byte" "$(cat "$T/wrong")" ""
num "and did read" "$(wc -l <"$T/passes")" -gt 1
check "unmount" unmount_store "$M"
fill b
check "forget and gc" forget_goes
check "mount again" mount_store "$M"
bad=0
for ms in 4 8 12 17 23 30 40 55 75 100; do
	(timeout --foreground -s KILL "0.$(printf %03d $ms)" chunkstore compact; :) >/dev/null 2>&1
	chunkstore verify >"$T/verify" 2>&1 || { bad=1; diag "after $ms ms:" "$(head "$T/verify")"; }
done
is "killed at ten moments, nothing is lost" $bad 0
bg chunkstore compact -q 2>"$T/other"
other=$!
run chunkstore compact -q
wait "$other"
like "of two at once, one or both do it, and one may say so" "$? $status $(cat "$T/other" "$T/stderr")" \
	"^0 0 $|^(0 1|1 0) .*another gc or compact is running"
check "and again" chunkstore compact
check "verify" chunkstore verify
check "all is right in the mount" all_right
check "the next backup" backup kept "$T/kept"
num "the file is short" "$(file_size "$S/data.mdb")" -le $(($(stats stored_bytes) * 11 / 10 + 3000000))
check "unmount" unmount_store "$M"

# Where the file system cannot make holes, gc says so and compact does without.
if is_sanitized || ! have "${CC:-gcc}"; then
	skip "a file system without holes" "needs a compiler, and no sanitizer"
else
	fill c
	echo '#include <errno.h>
int fallocate64(int fd, int mode, long at, long n) { errno = EOPNOTSUPP; return -1; }' |
		"${CC:-gcc}" -w -shared -fPIC -o "$T/no-holes.so" -x c - || fail "compile"
	for p in $(chunkstore list --json goes | jq -r '.[].id'); do
		chunkstore forget "${purge[@]}" "$p" >/dev/null || fail "forget $p"
	done
	check "gc without holes" env LD_PRELOAD="$T/no-holes.so" chunkstore gc
	like "says so" "$(stdout)" "cannot make holes"
	disk=$(stats disk_bytes)
	check "compact without holes" env LD_PRELOAD="$T/no-holes.so" chunkstore compact
	num "gives the space back all the same" "$(stats disk_bytes)" -le $((disk - 12000000))
	check "verify" chunkstore verify
fi
done_testing
