#!/bin/bash
# SPDX-License-Identifier: MIT
# forget --purge and gc give space back; what other points need stays.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

mkdir "$T/a" "$T/b"
head -c 4M /dev/urandom >"$T/a/shared"
cp "$T/a/shared" "$T/b/shared"
treegen "$T/a/tree" --seed 11 --files 200 | sed 's/^/# /'
head -c 30M /dev/urandom >"$T/a/only-a"
head -c 6M /dev/urandom >"$T/b/only-b"
for i in $(seq 400); do echo "small file $i" "$RANDOM" >"$T/b/small-$i"; done

check "backup a" backup a "$T/a"
check "backup b" backup b "$T/b"
id=$(backup_json .id)
digest=$(backup_json .digest)

run chunkstore gc --json
is "gc with nothing forgotten frees nothing" "$status:$(json .chunks_freed)" 0:0
check "the points are intact" chunkstore verify

check_status "forget needs a point" 2 chunkstore forget
check "forget a for good" chunkstore forget --purge a/latest
is "it is gone from the list" "$(points)" 1
check_status "and cannot be used" 1 chunkstore ls a/latest
run chunkstore gc --dry-run --json
num "a dry run tells what would be freed" "$(json .stored_freed)" -gt 30000000
run chunkstore gc --json
num "gc frees it" "$(json .stored_freed)" -gt 30000000
num "and keeps the rest" "$(json .chunks_live)" -gt 10
free=$(stats free_bytes)
num "the store has it for reuse" "$free" -gt 25000000
check "verify" chunkstore verify --no-record # whose rows would take some of that
check "restore of b" chunkstore restore "$id" "$T/b-out"
check "is untouched" treecmp "$T/b" "$T/b-out"
is "digest too" "$(chunkstore show --json b | jq -r .digest)" "$digest"

# Behind the last page that LMDB has ever used (mm_last_pg of its two meta pages). gc may have cut a
# free end off the file, which is shorter then, and of which a commit may take pages again.
page=$(getconf PAGESIZE)
end=$(for at in 136 $((page + 136)); do od -An -tu8 -j $at -N 8 "$S/data.mdb"; done |
	sort -n | awk -v page="$page" 'END { print ($1 + 1) * page }')
num "the file is not longer" "$(file_size "$S/data.mdb")" -le "$end"
head -c 20M /dev/urandom >"$T/b/new"
check "the next backup" backup b "$T/b"
num "reuses the space: no page behind the last is taken" "$(file_size "$S/data.mdb")" -le "$end"
check "restore of it" chunkstore restore b "$T/b-out-2"
check "is right" treecmp "$T/b" "$T/b-out-2"

# Half-dead bundles: every second of many small files goes.
for i in $(seq 1 2 400); do rm "$T/b/small-$i"; done
check "backup after half of the small files went" backup b "$T/b"
for p in $(chunkstore list --json | jq -r 'sort_by(.number) | .[:-1][] | .id'); do
	chunkstore forget --purge "$p" >/dev/null || fail "forget --purge $p"
done
check "gc" chunkstore gc
check "verify" chunkstore verify
check "restore" chunkstore restore b "$T/b-out-3"
check "is right" treecmp "$T/b" "$T/b-out-3"
check "backup onto what gc left" backup b "$T/b" --force
is "which finds all its chunks" "$(backup_json '.added_raw < 200000')" true
check "gc again" chunkstore gc
check "verify" chunkstore verify

# Several rounds of everything new: the file stays as large as two of them.
for i in 1 2 3 4; do
	head -c 20M /dev/urandom >"$T/b/new"
	backup b "$T/b" || fail "round $i"
	for p in $(chunkstore list --json | jq -r 'sort_by(.number) | .[:-1][] | .id'); do
		chunkstore forget --purge "$p" >/dev/null || fail "forget --purge $p"
	done
	chunkstore gc >/dev/null || fail "gc $i"
	[ $i != 1 ] || size=$(file_size "$S/data.mdb")
done
num "space is reused round after round" "$(file_size "$S/data.mdb")" -le $((size + size / 4))

for p in $(chunkstore list --json | jq -r '.[].id'); do chunkstore forget --purge "$p" >/dev/null; done
run chunkstore gc --json
is "with no point left nothing is live" "$status:$(json .chunks_live)" 0:0
is "and nothing is stored" "$(stats chunks)" 0
check "the empty store verifies" chunkstore verify
check "and takes the next backup" backup a "$T/a"
check "which comes back" chunkstore restore a "$T/a-out"
check "whole" treecmp "$T/a" "$T/a-out"

# gc beside a cat whose reader has stopped reading.
mkfifo "$T/block"
chunkstore cat a:only-a >"$T/block" & # not by bg: opening a fifo waits for the other end
pid=$!
test_pids+=("$pid")
exec 9<"$T/block"
head -c 1 <&9 >/dev/null
check "gc works while somebody reads" chunkstore gc
exec 9<&-
wait $pid
check "and afterwards" chunkstore gc
done_testing
