#!/bin/bash
# SPDX-License-Identifier: MIT
# What a mount takes of memory is bounded by its cache and 8 MiB, whatever is read from it.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
is_sanitized && skip_all "a sanitizer takes memory of its own"
new_store || exit 1
M=$T/mnt

# 12000 files of 100 bytes to 250 KB, no two alike, 380 MB in all; two of 60 MB, read by many chunks.
python3 - "$T/tree" <<'END' || fail "a tree"
import os, random, sys
r = random.Random(20261122)
noise = r.randbytes(4 << 20)
for d in range(120):
    dir = '%s/d%03d' % (sys.argv[1], d)
    os.makedirs(dir)
    for i in range(100):
        size = int(100 * 2500 ** r.random())
        at = r.randrange(len(noise) - size)
        with open('%s/f%02d' % (dir, i), 'wb') as f:
            f.write(b'%d %d\n' % (d, i) + noise[at:at + size])
for name in 'x', 'y':
    with open('%s/%s' % (sys.argv[1], name), 'wb') as f:
        for i in range(60):
            f.write(b'%s %d\n' % (name.encode(), i) + r.randbytes(1 << 20))
END
backup s "$T/tree" || fail "backup"

# peak PID: the most anonymous memory it has had, in KiB, until it ends
peak() {
	local most=0 now
	while now=$(awk '/^RssAnon/ { print $2 }' "/proc/$1/status" 2>/dev/null) && [ -n "$now" ]; do
		[ "$now" -le $most ] || most=$now
		sleep 0.02
	done
	echo $most
}

# stays_small WHAT CACHE-MIB COMMAND…: on a fresh mount
stays_small() {
	local pid sampler
	mount_store "$M" -o "cache=$2M" || fail "mount"
	pid=$(daemon_of "$M")
	peak "$pid" >"$T/peak" &
	sampler=$!
	check "$1" "${@:3}"
	unmount_store "$M"
	wait $sampler
	num "$1: $(cat "$T/peak") KiB" "$(cat "$T/peak")" -le $((($2 + 8) * 1024))
	num "$1: was measured" "$(cat "$T/peak")" -ge $((10 * 1024))
}

copied() { cp -a "$M/s/latest/." "$T/out" && diff -r "$T/tree" "$T/out"; }
packed() { tar cf - -C "$M/s/latest" . | cat >/dev/null; }
by_many() {
	local pids=() i
	for i in 0 1 2 3 4 5; do
		cat "$M/s/latest/d0$i"?/* >/dev/null &
		pids+=($!)
	done
	cat "$M/s/latest/x" >/dev/null &
	pids+=($!)
	cat "$M/s/latest/y" >/dev/null &
	wait "${pids[@]}" $!
}
stays_small "cp -a" 64 copied
stays_small "tar, a small cache" 16 packed
stays_small "eight readers, a small cache" 16 by_many
done_testing
