#!/bin/bash
# SPDX-License-Identifier: MIT
# A damaged record hides no other point, stops gc, which says what to do, and can be given up.
# (Damaged pages and bundles: tests/unit/t_gc.c.)
. "$(dirname "$0")/../lib/harness.sh"

mkdir "$T/a" "$T/b"
for i in $(seq 200); do
	echo "$i of a" >"$T/a/some-file-name-$i"
	echo "$i of b" >"$T/b/other-file-name-$i"
done
noise 5 700000 >"$T/a/bytes"
new_store || exit 1
backup bad "$T/b"
backup bad "$T/a" --tag a-tag-that-is-only-here
number=$(chunkstore show --json bad/latest | jq .number)
id=$(backup_json .id)
name=$(latest bad)
backup good "$T/b"
cp -a "$S" "$T/whole"
again() { rm -rf "$S"; cp -a "$T/whole" "$S"; }

# spoil PATTERN: the bytes in the store's file, wherever they are
spoil() {
	LC_ALL=C grep -abo "$1" "$S/data.mdb" | cut -d: -f1 | while read -r at; do
		printf 'Q' | dd of="$S/data.mdb" bs=1 seek="$at" conv=notrunc 2>/dev/null
	done
}

# it_is_given_up WHAT COMMAND…: gc refuses and says how; then it is done, and gc runs.
it_is_given_up() {
	local what=$1 before told
	before=$(chunkstore list --json 2>/dev/null | jq -c '[.[].id]')
	check_status "$what: gc frees nothing" 1 chunkstore gc
	like "$what: it says what to do" "$(stderr)" "'chunkstore forget --purge number:$number'"
	check_status "$what: nor does a dry run" 1 chunkstore gc --dry-run
	# shellcheck disable=SC2016
	told=$(stderr | grep -o "chunkstore forget --purge number:[0-9]*" | head -n 1)
	check "$what: $told" ${2:+"${@:2}"} ${2:-$told}
	check "$what: gc" chunkstore gc
	check "$what: verify" chunkstore verify
	is "$what: the others are there" "$(chunkstore list --json | jq -r '[.[].id] | length')" 2
	check "$what: restore" chunkstore restore bad "$T/out"
	check "$what: is right" treecmp "$T/b" "$T/out"
	rm -rf "$T/out"
	check_status "$what: it is gone" 1 chunkstore forget --purge "number:$number"
	[ -n "$before" ]
}

# ---- the record

spoil a-tag-that-is-only-here
check_status "a damaged record: list says so" 1 chunkstore list
is "and names the others" "$(stdout | wc -l)" 2
one_line_error "in one line" "number:$number"
check_status "as JSON" 1 chunkstore list --json
is "too" "$(json length)" 2
check_status "verify finds it" 4 chunkstore verify
like "and nothing else" "$(stdout)" "^record-damaged: point number $number"
check "a backup of its series" backup bad "$T/b" --force
check "which can be taken back" chunkstore forget --purge "$(backup_json .id)"
check_status "a policy changes nothing" 1 chunkstore forget --all-series --keep-last 1
check_status "its name is an error" 1 chunkstore show "bad/$name"
if [ -e /dev/fuse ] && is_root; then
	mount_store "$T/mnt"
	is "in a mount the others can be read" "$(cat "$T/mnt/good/latest/other-file-name-7")" "7 of b"
	is "and of its series" "$(cat "$T/mnt/bad/2"*/other-file-name-7 2>/dev/null)" "7 of b"
	unmount_store "$T/mnt"
fi
it_is_given_up "a damaged record"

# In the trash.
again
chunkstore forget "$id" >/dev/null
spoil a-tag-that-is-only-here
check_status "a damaged record in the trash" 1 chunkstore list --trash
it_is_given_up "a damaged record in the trash"
again
chunkstore forget --purge "$id" >/dev/null
spoil a-tag-that-is-only-here
it_is_given_up "a damaged record of a purged point"
done_testing
