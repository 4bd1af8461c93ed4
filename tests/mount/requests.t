#!/bin/bash
# SPDX-License-Identifier: MIT
# What reading a tree costs, counted and not timed: requests that the kernel sends, and look-ups in
# LMDB, with ceilings. A round trip to the driver is what reading many small files pays for.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1
alone_with_caches
M=$T/mnt

# 3000 files of 100 bytes to 100 KB in 50 directories, a symlink in each.
python3 - "$T/tree" <<'END' || fail "a tree"
import os, random, sys
r = random.Random(20261122)
noise = r.randbytes(1 << 20)
for d in range(50):
    dir = '%s/d%02d' % (sys.argv[1], d)
    os.makedirs(dir)
    for i in range(60):
        size = int(100 * 1000 ** r.random())
        at = r.randrange(len(noise) - size)
        with open('%s/f%02d' % (dir, i), 'wb') as f:
            f.write(b'%d %d\n' % (d, i) + noise[at:at + size])
    os.symlink('f00', dir + '/link')
END
files=3000 dirs=51 links=50
entries=$((files + dirs + links))
backup s "$T/tree" || fail "backup"

# count WHAT "MOUNT OPTIONS" COMMAND…: run it on a fresh mount and count. Whoever has
# mounted asks a few things too. The command is paced: how far the driver is ahead of it
# does not depend on who gets a processor.
count_once() {
	local pid root=$M
	rm -rf "$T/out"
	# shellcheck disable=SC2086
	# in the sandbox nobody could write the count down
	CS_GETS=$T/gets LD_PRELOAD=$BUILD/tests/lib/gets.so bg chunkfs -d $2 -o sandbox=no "$S" "$M" 2>"$T/requests"
	pid=$!
	wait_until 20 is_chunkfs "$M" || fail "mount"
	[ -n "$2" ] || root=$M/s/latest
	(cd "$root" && CS_PACED_DIR=$M CS_PACED_PID=$pid LD_PRELOAD=$BUILD/tests/lib/paced.so "${@:3}") \
		>/dev/null 2>"$T/reader"
	read_status=$?
	unmount "$M" && wait $pid || fail "$1: the end of the mount"
}
# What the kernel dropped it asks for again. That only adds to what is counted: when it says that
# something did make it drop or look for what to drop, once more, and the fewest count.
disturbed() { grep -E '^(drop_|slabs_scanned)' /proc/vmstat; }
count() {
	local before try
	what=$1
	rm -f "$T/fewest"
	for try in 1 2 3 4 5; do
		before=$(disturbed)
		count_once "$@"
		if [ ! -e "$T/fewest" ] || [ "$(wc -l <"$T/requests")" -lt "$(wc -l <"$T/fewest")" ]; then
			mv "$T/requests" "$T/fewest"
			mv "$T/gets" "$T/fewest.gets"
		fi
		[ "$before" != "$(disturbed)" ] || break
	done
	like "$what: read to its end, in $try tries" "$read_status $(<"$T/reader")" '^[01] $' # grep finds nothing
}
# requests KIND MAX: there were that many at most. others MAX KIND…: but for these kinds. Nobody
# waits for a FORGET.
kinds() {
	sed -n 's/^unique: [0-9]*, opcode: \([A-Z_]*\) .*/\1/p' "$T/fewest" | grep -v FORGET
}
requests() {
	local n
	n=$(kinds | grep -cx "$1")
	num "$what: $n $1" "$n" -le "$2"
}
others() {
	local n
	n=$(kinds | grep -cvxE "$(IFS='|' && echo "${*:2}")")
	num "$what: $n others" "$n" -le "$1"
	[ "$n" -le "$1" ] || diag "$(kinds | sort | uniq -c)"
}
# gets MAX: look-ups, and steps from one value to the next.
gets() {
	local n
	n=$(awk '{ print $2 + $4 }' "$T/fewest.gets")
	num "$what: $n look-ups in LMDB" "$n" -le "$1"
	num "$what: they were counted" "$n" -gt 5
}

mkdir -p "$M"
count "find -ls" "" find . -ls
requests READDIRPLUS $((2 * dirs))
requests READLINK $((links + 1))
others 15 READDIRPLUS READLINK
gets 60

count "cp -a" "" cp -a . "$T/out"
check "cp -a: is the same" diff -r "$T/tree" "$T/out"
requests READDIRPLUS $((2 * dirs))
requests READLINK $((links + 1))
requests LISTXATTR $((2 * entries + 2)) # by cp, which asks twice
requests GETXATTR $((entries + 2))
requests READ $((files / 30))
others 15 READDIRPLUS READLINK LISTXATTR GETXATTR READ
gets $((files / 10))

count "cp -a of a point without attributes" "-o point=s/latest" cp -a . "$T/out"
requests LISTXATTR 1
requests GETXATTR 1
requests READ $((files / 30))

count "tar" "" tar cf "$T/out" .
requests READDIRPLUS $((2 * dirs))
requests READ $((files / 30))
others 15 READDIRPLUS READLINK READ
gets $((files / 10))

count "grep -r" "" grep -r no-such-text .
requests READDIRPLUS $((2 * dirs))
requests READ $((files / 30))
others 15 READDIRPLUS READLINK READ
gets $((files / 10))

# Here and there: nothing is pushed, and each file costs what it must.
random_files() {
	local i
	for i in 11 37 5 49 23 2 41 17 30 8; do cat "d$(printf %02d "$i")/f$((i % 50 + 10))"; done
}
count "ten files" "" random_files
requests READ 20
requests LOOKUP 25
others 15 READ LOOKUP
gets 60

if is_root; then # of others the kernel wants no advice
	mount_store "$M" || fail "mount"
	is "several requests at a time for a long file" \
		"$(cat "/sys/class/bdi/$(mountpoint -d "$M")/read_ahead_kb")" 4096
fi
done_testing
