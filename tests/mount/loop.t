#!/bin/bash
# SPDX-License-Identifier: MIT
# Who waits for the disk keeps nobody else waiting: what can be answered from memory is, while
# others read. Here the disk does not answer at all until it is told to.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1
M=$T/mnt

mkdir "$T/a" "$M"
for i in 1 2 3; do head -c 3000000 /dev/urandom >"$T/a/large$i"; done
for i in $(seq 50); do head -c "$((i * 100))" /dev/urandom >"$T/a/small$i"; done
have setfattr && setfattr -n user.colour -v red "$T/a/small7"
backup s "$T/a" || fail "backup"

slow_mount() {
	# in the sandbox nobody could look for the file
	CS_GETS_HOLD=$T/hold LD_PRELOAD=$BUILD/tests/lib/gets.so bg chunkfs -f -o sandbox=no "$S" "$M"
	pid=$!
	wait_until 20 is_chunkfs "$M"
}
P=$M/s/latest
patience=20
is_sanitized && patience=60
# A question to the driver that no cache of the kernel answers.
asks() { timeout "$patience" python3 -c 'import os, sys; os.listxattr(sys.argv[1])' "$P/$1"; }

check "mount" slow_mount
check "its pages are read" asks small7
: >"$T/hold"
for i in 1 2 3; do
	bg cmp "$P/large$i" "$T/a/large$i"
	readers+=($!)
	check "while $i wait for the disk, others are answered" asks "small$((i + 10))"
done
for r in "${readers[@]}"; do check "who waits still does" kill -0 "$r"; done
rm "$T/hold"
for r in "${readers[@]}"; do check "and gets what is right, later" wait "$r"; done

: >"$T/hold"
bg cmp "$P/small3" "$T/a/small3"
reader=$!
check "one waits" asks small9
kill -TERM $pid
rm "$T/hold"
wait $reader
wait $pid
is "the end waits for what is being answered" $? 0
check_not "and leaves no mount" mounted "$M"

# All at once: as many as ask, and more than there are threads.
check "mount" slow_mount
all() {
	local i p=()
	for i in $(seq 24); do
		(for k in 1 2 3; do cmp "$P/large$k" "$T/a/large$k" && asks "small$((i + k))"; done) &
		p+=($!)
	done
	for i in "${p[@]}"; do wait "$i" || return 1; done
}
check "24 at a time, each is answered" all
num "with no more threads than it may have" "$(ls "/proc/$pid/task" | wc -l)" -le $(($(nproc) * 2 + 2 + 8))
check "unmount" unmount "$M"
wait $pid
is "it ends well" $? 0
# Who asks on at once finds a listener awake. Each on a processor of his own, else the scheduler
# may have them take turns on one; the rest of the machine may want them, too.
sleeps() { cat "/proc/$pid"/task/*/status | awk '/^voluntary_ctxt_switches/ { n += $2 } END { print n }'; }
apart='import os, sys
one, other = sorted(os.sched_getaffinity(0))[:2]
for task in os.listdir("/proc/%s/task" % sys.argv[1]): os.sched_setaffinity(int(task), {one})
os.sched_setaffinity(0, {other})
fd = os.open(sys.argv[2], os.O_RDONLY)
for i in range(2000): os.listxattr(fd)'
few_sleeps() {
	local before
	before=$(sleeps)
	python3 -c "$apart" "$pid" "$P/small7" && [ $(($(sleeps) - before)) -lt 1000 ]
}
if [ "$(nproc)" -gt 1 ]; then
	check "mount" slow_mount
	check "of 2000 questions in a row fewer than half find it asleep" wait_until 20 few_sleeps
	check "unmount" unmount "$M"
	wait $pid
fi
done_testing
