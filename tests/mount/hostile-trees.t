#!/bin/bash
# SPDX-License-Identifier: MIT
# A mount of points that are sound page by page and out of all proportion as a whole: it answers at
# once whatever is asked, in the memory that it was given. (The commands: tests/cli/hostile-trees.t.)
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1
forge "$S" wide many deep abyss huge strays maze || fail "forge"
M=$T/mnt
mount_store "$M" || fail "mount"
daemon=$(daemon_of "$M")

soon() { check "$1" timeout -k 5 60 "${@:2}"; }
soon_not() { check_not "$1" timeout -k 5 60 "${@:2}"; }
memory() { awk '/^RssAnon/ { print int($2 / 1024) }' "/proc/$daemon/status"; }

# ---- 2^40 entries

soon "ls" ls "$M/wide/latest/1022/0001/0500"
is "has all names" "$(stdout | wc -l)" 1023
soon "the last entry" stat -c %i "$M/wide/latest/1022/1022/1022/1022"
last=$(stdout)
is "has the last position" "$((last & 0xffffffffff))" 1096294594560
soon "its content" cat "$M/wide/latest/1022/1022/1022/1022"
is "is right" "$(stdout)" same
soon "statfs" stat -f "$M/wide/latest"
soon "a link of 2^40" stat -c %h "$M/many/latest/1022/1022/1022/1022"
# ---- files

cat >"$T/offsets" <<'END'
0 1 4095 4294967295 1099511627776 140737488355327 281474976710655 2305843009213693951
4611686018427387903 4611686018427387904 9223372036854771711 9223372036854775805
END
for file in crumbs full hole lace limit void; do
	size=$(file_size "$M/huge/latest/$file")
	for at in $(cat "$T/offsets"); do
		[ "$at" -lt "$size" ] || continue
		run timeout -k 5 60 dd if="$M/huge/latest/$file" bs=1 skip="$at" count=1 status=none
		[ $status -lt 99 ] || fail "$file at $at" "$(last_output)"
		case $file in
		crumbs | lace) [ $status -ne 0 ] ;;
		*) [ "$(file_size "$T/stdout")" = 1 ] ;;
		esac || fail "$file at $at" "$(last_output)"
	done
	pass "$file can be asked for at any place"
done
is "the last two bytes of 2^63 - 1" \
	"$(dd if="$M/huge/latest/limit" bs=1 skip=9223372036854775805 count=2 status=none)" yz

# ---- what has no end, all at once

before=$(memory)
endless=("find $M/wide/latest/ -name nix" "ls -lR $M/many/latest/")
for file in full hole limit void; do endless+=("cat $M/huge/latest/$file"); done
pids=()
for what in "${endless[@]}"; do
	# shellcheck disable=SC2086
	timeout -k 5 4 $what >/dev/null &
	pids+=($!)
done
for i in "${!endless[@]}"; do
	wait "${pids[i]}"
	is "${endless[i]/$M/} can be stopped" $? 124
done
is_sanitized || num "the daemon's memory stays ($before MB before)" "$(memory)" -lt 100

# ---- depth

soon "900 directories down" find "$M/deep/latest/" -maxdepth 900 -printf '%d\n'
is "are all there" "$(stdout | tail -n 1)" 900
path=$M/abyss/latest$(printf '/d%.0s' $(seq 1 1900))
soon "1900 directories down by path" ls "$path"
is "is one more" "$(stdout)" d

# ---- hard links

soon_not "ls of links that lead anywhere" ls -l "$M/strays/latest/"
like "names those that lead to a directory" "$(stderr)" "x0-root.*x1-dir.*x2-file"
like "and those that lead behind themselves" "$(stderr)" "x6-later"
like "what leads to itself is a file" "$(stdout)" "-rw-r--r-- 2 .* x7-self"
is "no directory has two names" "$(stdout | grep -c '^d.* x[0-9]-')" 0
soon "a list of 2^42 links" stat -c %i "$M/maze/latest/a" "$M/maze/latest/b"
is "finds one file" "$(stdout | uniq | wc -l)" 1

soon "the daemon is alive" ls "$M"
check "unmount" unmount_store "$M"
done_testing
