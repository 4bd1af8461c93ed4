#!/bin/bash
# SPDX-License-Identifier: MIT
# A source that is not in memory is read ahead of the backup, and one that is in memory is not.
. "$(dirname "$0")/../lib/harness.sh"
is_sanitized || strace -f -qq -o /dev/null true 2>/dev/null || skip_all "strace does not work here"
new_store || exit 1

mkdir -p "$T/a/out"
for d in {1..30}; do
	mkdir "$T/a/dir $d"
	for f in {1..20}; do head -c $((d * 300 + f)) /dev/urandom >"$T/a/dir $d/f$f"; done
done
mkfifo "$T/a/dir 1/pipe"
ln -s /etc/hostname "$T/a/dir 1/link"
for f in {1..50}; do echo "$f" >"$T/a/out/never-$f"; done

# forget_pages: what the page cache has of the source's files, and of nothing else
forget_pages() {
	sync -f "$T/a"
	find "$T/a" -type f -print0 | xargs -0 -I{} dd if={} iflag=nocache count=0 status=none
}
traced() { strace -f -qq -e trace=readahead,openat,preadv2,futex -o "$T/trace" "$@"; }
is_sanitized && traced() { "$@"; } && : >"$T/trace"
calls() { grep -c "$1" "$T/trace"; }

forget_pages
check "cold" traced chunkstore backup -q --series s --root "$T/a" --exclude out
if ! grep -q 'preadv2.*EAGAIN' "$T/trace"; then
	diag "this file system does not say what is in memory, or is memory"
else
	num "files were read ahead" "$(calls 'readahead(')" -ge 300
	num "and nobody was woken for each of them" "$(calls 'futex(')" -le 1600
	is "what is left out was not looked at" "$(calls never-)" 0
	is "nor was anything opened but files and directories" "$(calls 'pipe\|link')" 0
	for series in t u v w x; do # the kernel may take pages away at any time
		find "$T/a" -type f -exec cat {} + >/dev/null
		check "warm" traced chunkstore backup -q --series $series --root "$T/a"
		[ "$(calls 'preadv2.*EAGAIN')" -gt 0 ] || break
	done
	is "nobody goes ahead" "$(calls 'readahead(')" 0
	forget_pages
	check "a point with a parent" traced chunkstore backup -q --series $series --root "$T/a"
	is "nor does anybody when nothing is read" "$(calls 'readahead(')" 0
fi
check "restore" chunkstore restore s "$T/r"
touch -r "$T/a" "$T/then"
rm -r "$T/a/out"
touch -r "$T/then" "$T/a"
check "all is there" treecmp "$T/a" "$T/r"

# Most files vanish, change or turn into something else while somebody looks ahead.
churn() {
	while [ ! -e "$T/stop" ]; do
		for d in {1..30}; do
			rm -rf "$T/a/dir $d"
			mkdir "$T/a/dir $d"
			for f in {1..20}; do echo "$d $f" >"$T/a/dir $d/f$f"; done
			ln -s nowhere "$T/a/dir $d/g"
		done
	done
}
churn &
for round in 1 2 3 4; do
	forget_pages 2>/dev/null
	run chunkstore backup -q --series "c$round" --root "$T/a"
	num "a source that changes all the time ($round)" $status -ne 1
done
touch "$T/stop"
wait
check "verify" chunkstore verify
done_testing
