#!/bin/bash
# SPDX-License-Identifier: MIT
# rebuild while two mounts are read all the time, and while a backup wants to write: nobody
# sees anything of it, and what was lost is there again.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
mkdir -p "$T/src/dir"
for i in $(seq 60); do noise "$i" 3000 >"$T/src/dir/file-$i"; done
noise 99 700000 >"$T/src/large"
new_store || exit 1
backup one "$T/src"
noise 100 50000 >"$T/src/later"
backup one "$T/src"
mkdir "$T/a" "$T/b"
mount_store "$T/a"
mount_store "$T/b" -o cache=8M

# Readers: compare everything, again and again, until told to stop; what differs is written down.
reader() { # MOUNT NAME
	local n=0
	while [ ! -e "$T/stop" ]; do
		cmp -s "$T/src/large" "$1/one/latest/large" || echo "large differs" >>"$T/differs.$2"
		diff -r "$T/src" "$1/one/latest" >>"$T/differs.$2" 2>&1
		n=$((n + 1))
		echo $n >"$T/rounds.$2.new" && mv "$T/rounds.$2.new" "$T/rounds.$2"
	done
}
rounds() { cat "$T/rounds.$1" 2>/dev/null || echo 0; }
has_gone_on() { [ "$(rounds a)" -ge "$1" ] && [ "$(rounds b)" -ge "$1" ]; }
reader "$T/a" a & a=$!
reader "$T/b" b & b=$!
check "both are read" wait_until 60 has_gone_on 1

# Backups of another series, of which each wants the writer's turn, while it is rebuilt.
(
	for i in 1 2 3 4 5; do
		chunkstore backup -q --series two --root "$T/src" || echo "backup $i" >>"$T/failed"
	done
	: >"$T/backed-up"
) & c=$!
n=0
while [ ! -e "$T/backed-up" ] || [ $n -lt 5 ]; do
	chunkstore rebuild -q 2>>"$T/rebuild.err" || echo "rebuild $n" >>"$T/failed"
	n=$((n + 1))
done
wait $c
is "rebuilds and backups went well" "$(cat "$T/failed" "$T/rebuild.err" 2>/dev/null)" ""
num "rebuilds meanwhile" $n -ge 5
at=$(($(rounds a) > $(rounds b) ? $(rounds a) : $(rounds b)))
check "both are still read" wait_until 60 has_gone_on $((at + 1))
: >"$T/stop"
wait $a $b
is "nothing differed in one mount" "$(cat "$T/differs.a")" ""
is "nor in the other" "$(cat "$T/differs.b")" ""
is "all points are there" "$(points)" 7
check "verify" chunkstore verify -q
unmount "$T/a"
unmount "$T/b"
done_testing
