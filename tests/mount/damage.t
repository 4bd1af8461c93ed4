#!/bin/bash
# SPDX-License-Identifier: MIT
# A mount of a store that is damaged, before or while it is mounted: what is affected is EIO, and
# nothing else happens. (One damage after the other, without FUSE: tests/unit/t_damage.c.)
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1
M=$T/mnt
mkdir "$M"
data=$S/data.mdb

treegen "$T/a" --seed "${CS_TEST_SEED:-1}" --files 200 --no-deep | sed 's/^/# /'
for i in 1 2 3 4 5 6; do noise $i 3000000 >"$T/a/noise-$i"; done
backup web "$T/a" || fail "backup"
backup web "$T/a" --force || fail "backup again"
cp "$data" "$T/whole"
size=$(file_size "$data")

# Through the same inode: it stays mapped.
restore_data() { dd if="$T/whole" of="$data" bs=1M conv=notrunc status=none; }
# spoil OFFSET…: a bit of one byte at each
spoil() {
	local at byte
	for at; do
		byte=$(od -An -tu1 -j "$at" -N 1 "$data")
		# shellcheck disable=SC2059
		printf "\\$(printf %o $((byte ^ 64)))" |
			dd of="$data" bs=1 seek="$at" conv=notrunc status=none
	done
}
start() {
	bg chunkfs -f "$S" "$M" "$@" 2>"$T/log"
	daemon=${test_pids[-1]}
	wait_until 20 is_chunkfs "$M"
}
stop() {
	unmount "$M"
	wait_until 20 is_gone "$daemon"
}
compare() {
	run eiocmp "$@" "$T/a" "$M/web/latest/."
	[ $status -eq 0 ] || diag "$(stdout | head -n 5)"
}
counted() { stdout | sed -n "s/.*$1 \([0-9]*\).*/\1/p" | tail -n 1; }

start || fail "mount"
compare
is "whole: all is the same" "$status:$(counted failed)" 0:0
all=$(counted same)
stop

# ---- bytes, before it is mounted

spoil $((size / 7)) $((size / 3)) $((size / 2))
start || fail "mount"
compare
is "three bytes: what can be read is right" "$status" 0
num "something is an error" "$(counted failed)" -gt 0
num "most is not" "$(counted same)" -gt $((all * 3 / 4))
like "a line says which point and file" "$(cat "$T/log")" "chunkfs: web/2[^ ]*Z(-002)?:[^ ]+: .*bundle [0-9]+"
failed=$(counted failed)
compare
is "asked again, it is the same" "$status:$(counted failed)" "0:$failed"
num "there are not too many lines" "$(wc -l <"$T/log")" -le 60
stop
start -o damaged=zeros || fail "mount"
compare --zeros
is "damaged=zeros: no error is left" "$status:$(counted failed)" 0:0
is "but as many pages of zeros" "$(counted zeroed)" "$failed"
like "a line says so" "$(cat "$T/log")" "web/2[^ ]*:[^ ]+: .* bytes from [0-9]+ on have zeros for it"
stop
start -o damaged=eio || fail "mount"
compare
is "damaged=eio is the default" "$status:$(counted failed)" "0:$failed"
stop
check_status "there is nothing else" 2 chunkfs -o damaged=else "$S" "$M"
restore_data

# ---- a file that becomes shorter under the mount

start || fail "mount"
check "alive" test -d "$M/web/latest/."
truncate -s $((size / 2)) "$data"
compare
is "cut in half: what can be read is right" "$status" 0
num "something is an error" "$(counted failed)" -gt 0
check_not "a list is not just empty" ls "$M/by-id"
check "the mount is up" is_chunkfs "$M"
restore_data
compare
is "whole again: all can be read" "$status:$(counted failed)" 0:0
truncate -s 0 "$data"
check_not "cut to nothing: a list is an error" ls "$M/by-id"
like "which one" "$(stderr)" "Input/output error"
check_not "a name as well" test -d "$M/web/no-such-name"
restore_data
check "whole again" ls "$M/by-id/"
compare
is "all can be read" "$status:$(counted failed)" 0:0
stop

# Again and again, while it is read: a value may be cut off in the middle of being decoded.
churn() {
	local i
	for i in $(seq 40); do
		truncate -s $((size * (i % 5 + 1) / 7)) "$data"
		restore_data
	done
}
for i in 1 2 3; do
	mount_store "$M" -o cache=8M || fail "mount"
	churn &
	churning=$!
	while kill -0 $churning 2>/dev/null; do
		compare
		[ "$status" -eq 0 ] || break
		[ ! -w /proc/sys/vm/drop_caches ] || (alone_with_caches && echo 2 >/proc/sys/vm/drop_caches)
	done
	wait $churning
	is "cut while it is read, round $i: never wrong" "$status" 0
	check "the mount is up" is_chunkfs "$M"
	unmount_store "$M"
	start || fail "mount"
	compare
	is "whole again" "$status:$(counted failed)" 0:0
	stop
done

# ---- commands

for cut in 0 4096 8192 20000 $((size / 2)) $((size - 8192)); do
	truncate -s "$cut" "$data"
	for command in list "ls web/latest:" "show web" stats verify gc "forget web/latest" \
		"restore web/latest $T/out.$cut" "backup --series web --root $T/a" \
		"cat web/latest:noise-6" compact; do
		# shellcheck disable=SC2086
		run chunkstore $command
		if [ $status -eq 1 ] && [ "$(stderr | wc -l)" -eq 1 ] &&
			[[ $(stderr) =~ data.mdb ]]; then
			pass "$cut bytes: $command fails"
		else
			fail "$cut bytes: $command" "$(last_output)"
		fi
		truncate -s "$cut" "$data"
	done
	restore_data
done
check "nothing is lost" chunkstore verify
done_testing
