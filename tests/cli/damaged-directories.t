#!/bin/bash
# SPDX-License-Identifier: MIT
# Where a page of a directory is damaged, find and ls -R say so and show all the rest.
. "$(dirname "$0")/../lib/harness.sh"

for d in first second third; do
	mkdir -p "$T/a/$d"
	(cd "$T/a/$d" && seq -f "$d-has-a-file-of-a-long-name-so-that-pages-fill-%04.0f" 1000 3999 | xargs touch)
done
mkdir "$T/b"
touch "$T/b/third-has-a-file-elsewhere"
new_store || exit 1
check "a point whose names lie open in the store" backup bad "$T/a" --compression none
backup good "$T/b"
check "find" chunkstore find 'third-*'
is "finds all" "$(stdout | wc -l)" 3001

LC_ALL=C grep -abo second-has-a-file-of-a-long-name-so-that-pages-fill-2500 "$S/data.mdb" | cut -d: -f1 |
	while read -r at; do
		printf 'Q' | dd of="$S/data.mdb" bs=1 seek="$at" conv=notrunc 2>/dev/null
	done
check_status "verify finds the damage" 4 chunkstore verify --no-record
bad=$(latest bad)
for how in "" --json; do
	check_status "find ${how:-as text}: not all could be read" 3 chunkstore find $how 'third-*'
	like "it says where" "$(stderr)" "^chunkstore: bad/$bad:second cannot be read to its end: "
	like "and at the end that there is more" "$(stderr | tail -n 1)" "^chunkstore: not everything could be read$"
	num "what is behind it is found" "$(stdout | grep -c "third/third-has")" -gt 1000
	is "and in other points" "$(stdout | grep -c third-has-a-file-elsewhere)" 1
	[ -z "$how" ] || check "the array is whole" jq -e length "$T/stdout"
done
check_status "ls -R: not all could be read" 3 chunkstore ls -R "bad/$bad"
like "it says where" "$(stderr)" "^chunkstore: bad/$bad:second cannot be read to its end: "
like "and at the end that there is more" "$(stderr | tail -n 1)" "^chunkstore: not everything could be read$"
num "what is before it is shown" "$(stdout | grep -c "^first/first-has")" -gt 1000
num "what is behind it is shown" "$(stdout | grep -c "^third/third-has")" -gt 1000
check_status "ls of the directory fails" 1 chunkstore ls "bad/$bad:second"
check "another is shown" chunkstore ls "good/latest"
check_status "dump prints no half a tree" 1 chunkstore dump "bad/$bad"
done_testing
