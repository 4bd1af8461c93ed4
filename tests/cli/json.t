#!/bin/bash
# SPDX-License-Identifier: MIT
# Every list has JSON, and it is valid whatever the store holds.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

for c in list find\ x list\ --trash; do
	# shellcheck disable=SC2086
	run chunkstore $c --json
	is "$c: an empty list is []" "$(json -c . 2>/dev/null || jq -c . "$T/stdout")" "[]"
done
treegen "$T/a" --seed 41 --files 100 | sed 's/^/# /'
check "backup --json" backup s "$T/a" --tag daily --tag 'second tag' --consistency fs --host h
check "is one object" jq -e 'type == "object"' "$T/backup.json"
is "tags" "$(backup_json '.tags | join(",")')" "daily,second tag"
is "consistency" "$(backup_json .consistency)" fs
is "host" "$(backup_json .host)" h
like "id" "$(backup_json .id)" '^[0-9a-f]{32}$'
like "digest" "$(backup_json .digest)" '^[0-9a-f]{32}$'
backup t "$T/a" || fail "second backup"

valid() { # description, jq condition, command…
	local what=$1 condition=$2
	shift 2
	run chunkstore "$@"
	if [ $status -eq 0 ] && jq -e "$condition" "$T/stdout" >/dev/null 2>"$T/jq.err"; then
		pass "$what"
	else
		fail "$what" "$(cat "$T/jq.err")" "$(last_output)"
	fi
}
valid "list" 'length == 2 and all(.[]; .series and .name and .id and .entries > 100)' list --json
valid "list of a series" 'length == 1 and .[0].series == "t"' list --json t
valid "list of series" 'length == 2 and .[0].points == 1' list --series --json
valid "show" '.series == "s" and .entries > 100' show --json s
valid "ls" 'length > 5 and all(.[]; .path and .type and .mode)' ls --json s
valid "ls -R with every odd name" 'length > 300' ls -R --json s
valid "find" 'length > 3 and all(.[]; .path and .series)' find --json 'file-*'
valid "diff" 'length == 0' diff --json s t
valid "stats" '.points == 2 and .chunks > 10' stats --json
valid "verify" '.findings == 0 and .points == 2' verify --json
valid "forget by a policy" 'length == 2 and all(.[]; .action == "keep" and .reasons[0])' \
	forget --json --dry-run --all-series --keep-last 1
valid "config" '.trash_seconds == 604800' config --json
valid "forget" 'length == 1 and .[0].done and .[0].until' forget --json t/latest
valid "list --trash" 'length == 1 and .[0].series == "t" and .[0].until' list --trash --json
valid "gc" '.chunks_freed == 0 and .chunks_live > 10' gc --json
done_testing
