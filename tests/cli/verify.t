#!/bin/bash
# SPDX-License-Identifier: MIT
# verify as a command: levels, parts, what list shows, exit statuses. (Damage of each kind:
# tests/unit/t_verify.c.)
. "$(dirname "$0")/../lib/harness.sh"

mkdir -p "$T/src/dir"
for i in $(seq 40); do noise "$i" 900 >"$T/src/dir/file-$i"; done
noise 99 300000 >"$T/src/large"
new_store || exit 1
backup one "$T/src"
backup two "$T/src"

like "not verified yet" "$(chunkstore list one)" "  never  "
is "nor in JSON" "$(chunkstore list --json | jq -c '.[0] | [.damaged, .verified_digest]')" "[false,null]"
like "nor the data" "$(chunkstore stats)" "verified +0 of 1 ranges of bundles"
check "verify" chunkstore verify
like "says so" "$(stdout)" "checked 2 points, .*all is well"
like "list shows the day" "$(chunkstore list one)" "  20[0-9-]{8}  "
like "show, too" "$(chunkstore show one)" "verified +20"
is "and JSON" "$(chunkstore list --json | jq -c '[.[] | (.verified_digest and .verified_data and .verified_structure)]')" "[true,true]"
like "stats of the data" "$(chunkstore stats)" "verified +1 of 1 ranges of bundles, since 20"

check "what was verified lately" chunkstore verify --older-than 1h
like "is left out" "$(stdout)" "checked 0 points, .* 0 bundles.*left out: 2 points, 1 ranges"
backup three "$T/src"
check "but what is new is not" chunkstore verify --older-than 1h --json
is "only that" "$(json .points)" 1
points=0
for k in 1 2 3; do
	check "part $k of 3" chunkstore verify --subset $k/3 --json
	points=$((points + $(json .points)))
done
is "the parts are everything" $points 3
for bad in 0/3 4/3 1 1/ /2 a/b 1/2x -1/3; do
	check_status "--subset $bad" 2 chunkstore verify --subset "$bad"
done
check_status "--older-than" 2 chunkstore verify --older-than soon
check_status "--level" 2 chunkstore verify --level deep
check "a level" chunkstore verify --level structure --json
is "reads no data" "$(json .raw_bytes)" 0
check "write nothing" chunkstore verify --no-record --json
is "and say so" "$(json .recorded)" false
if is_root && getent group nogroup >/dev/null; then
	check "a store that others may read" chunkstore -s "$T/shared" init --group nogroup
	check "with something in it" chunkstore -s "$T/shared" backup -q --series s --root "$T/src"
	chmod a+x "$T"
	gid=$(getent group nogroup | cut -d: -f3)
	if setpriv --reuid 65534 --regid "$gid" --clear-groups test -x "$T"; then
		check "is verified by them" setpriv --reuid 65534 --regid "$gid" --clear-groups \
			"$(command -v chunkstore)" -s "$T/shared" verify --json
		is "who cannot write it down" "$(json .recorded)" false
	fi
fi

# ---- progress, on a terminal only

if have script && script -qec true /dev/null </dev/null >/dev/null 2>&1; then
	script -qec "chunkstore verify" /dev/null </dev/null >"$T/shown" 2>&1
	like "a terminal sees how far it is" "$(tr '\r' '\n' <"$T/shown" | head -n 5)" \
		"verify +[0-9]+% +[0-9]+ entries"
	is "and the line is gone at the end" "$(tail -c 500 "$T/shown" | tr '\r' '\n' | grep -c 'all is well')" 1
	is "no wider than the terminal" "$(tr '\r' '\n' <"$T/shown" | sed 's/\x1b\[K//g' | grep '^verify' | awk 'length > 79' | wc -l)" 0
	script -qec "chunkstore verify -q" /dev/null </dev/null >"$T/shown" 2>&1
	is "quiet is quiet there, too" "$(tr -d '\r\n' <"$T/shown")" ""
else
	skip "progress on a terminal" "no script(1), or no terminals here"
fi
check "no terminal" chunkstore verify
is "no progress" "$(stderr)" ""

# ---- damage

# The last bytes of the first bundle that holds the large file: it does not compress.
at=$(LC_ALL=C grep -abo -F -f <(head -c 300000 "$T/src/large" | tail -c 100000 | head -c 24 | tr -d '\n\0') "$S/data.mdb" | head -n 1 | cut -d: -f1)
if [ -n "$at" ]; then
	printf 'damaged' | dd of="$S/data.mdb" bs=1 seek="$at" conv=notrunc 2>/dev/null
	check_status "damage" 4 chunkstore verify
	like "what it is and what it affects" "$(stdout)" \
		"bundle-damaged: bundle [0-9]+ cannot be decoded; affects [0-9]+ paths in 3 points"
	like "the paths" "$(stdout)" "    one/2[0-9TZ-]*:(large|dir/file-)"
	like "in short on stderr" "$(stderr)" "1 things are wrong, 3 points are damaged"
	like "list marks it" "$(chunkstore list one)" "  DAMAGED  "
	is "in JSON" "$(chunkstore list --json | jq -c '[.[].damaged]')" "[true,true,true]"
	like "stats" "$(chunkstore stats)" "1 of them DAMAGED"
	check_status "two paths" 4 chunkstore verify -q --paths 2
	is "are two, and how many more" "$(stdout | grep -c '^    ')" 3
	like "that are" "$(stdout | tail -n 1)" "    and [0-9]+ more"
	check_status "as JSON" 4 chunkstore verify --json
	is "ids, numbers and paths" "$(json '.details[0] | [.id, .points, (.sample | length > 2)] | @csv')" \
		'"bundle-damaged",3,true'
	check_status "the structure is right" 0 chunkstore verify --level structure
	like "and says nothing of the data" "$(chunkstore list one)" "  DAMAGED  "
	cp -a "$S" "$T/damaged"
	check_status "repair without the content" 4 chunkstore verify --repair
	like "says so" "$(stdout)" "repair: 1 damaged bundles, [0-9]+ chunks healed, [0-9]+ not found"
	check_status "from a store that is not there" 1 chunkstore verify --from "$T/nothing"
	check_status "--repair --no-record" 2 chunkstore verify --repair --no-record
	check "another store" chunkstore -s "$T/second" init
	check "that has it" chunkstore -s "$T/second" backup -q --series x --root "$T/src"
	check "repair from it" chunkstore verify --from "$T/second"
	like "all is well" "$(stdout)" "all is well"
	unlike "the marks are gone" "$(chunkstore list)" "DAMAGED"
	check "restore" chunkstore restore one "$T/out"
	check "is right" treecmp "$T/src" "$T/out"
	rm -rf "$S" && mv "$T/damaged" "$S"
	check "a backup that heals" chunkstore backup --series one --root "$T/src" --heal
	like "says so" "$(stdout)" "damaged chunks healed"
	check "repair after that" chunkstore verify --repair
	check "an old point" chunkstore restore two "$T/out2"
	check "is right again" treecmp "$T/src" "$T/out2"
else
	fail "the large file's bytes are in the store as they are"
fi
done_testing
