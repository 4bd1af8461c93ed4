#!/bin/bash
# SPDX-License-Identifier: MIT
# Names that would command a terminal do not reach it; a pipe gets them as they are.
. "$(dirname "$0")/../lib/harness.sh"
need script
new_store || exit 1

evil=$'\x1b[2J\x1b]0;owned\x07\x9b2J\xc2\x9b2J'
mkdir "$T/a"
echo x >"$T/a/$evil" 2>/dev/null || skip_all "no such names here"
ln -s "$evil" "$T/a/symlink"
chunkstore backup -q --series s --tag "t$evil" --root "$T/a" || fail "backup"
chunkstore backup -q --series t "$T/a" || fail "backup"
rm "$T/a/$evil"
echo y >"$T/a/other"
chunkstore backup -q --series s --root "$T/a" || fail "backup"

# harmless WHAT COMMAND: what it shows on a terminal; the end of a line of progress is ours
harmless() {
	script -qec "$2" /dev/null </dev/null >"$T/shown" 2>&1
	num "$1 says something" "$(wc -c <"$T/shown")" -gt 5
	is "$1 shows no control characters" \
		"$(sed 's/\x1b\[K//g' "$T/shown" | tr -d '\t\r\n' | LC_ALL=C grep -acP '\x1b|[\x00-\x08\x0b-\x1f\x7f]|(?<![\xc3-\xf4])\x9b')" 0
}
first=$(chunkstore list --json s | jq -r 'sort_by(.number)[0] | .series + "/" + .name')
harmless list "chunkstore list"
harmless show "chunkstore show $first"
harmless ls "chunkstore ls -l $first"
harmless find "chunkstore find '*' $first"
harmless diff "chunkstore diff $first s/latest"
harmless dump "chunkstore dump $first"
harmless restore "chunkstore restore --dry-run $first $T/out"
harmless "an error" "chunkstore cat $first:\$'nothing\\x1b[2J'"
check "a pipe" chunkstore ls "$first"
is "gets the bytes" "$(chunkstore ls "$first" | LC_ALL=C grep -acF "$evil")" 1
done_testing
