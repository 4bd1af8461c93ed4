# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# life.sh - the life of a store, recorded, with notes of what is promised when
# (replay.c). What this chunkstore cannot do yet is left out, and said.

life_n=0
life_skipped=()

mark() { "$REPLAY" mark "$LOG" "$@"; }

# life WHAT: the next command, in the notes; its name is then in $k.
life() {
	k=c$((++life_n))
	mark note "$*"
	mark begin "$k"
}

# life_backup SERIES DIR [OPTION…]
life_backup() {
	life "backup $1"
	watched chunkstore backup --json --series "$1" --root "$2" "${@:3}" >"$T/backup.json" ||
		{ fail "life: backup $1"; return 1; }
	mark has "$(backup_json .id)" "$(backup_json .digest)" "$k"
}

# last_commit SERIES DIR: the number of durable writes that a backup makes; the last is its commit.
last_commit() {
	rm -rf "$M/copy" "$T/report"
	cp -r "$S" "$M/copy"
	CS_IO_DIR=$M/copy CS_IO_FAULT=killsync:0 CS_IO_REPORT=$T/report LD_PRELOAD=$IO_SO \
		chunkstore -s "$M/copy" backup -q --series "$1" --root "$2" || fail "life: rehearsal of $1"
	wc -l <"$T/report"
}

# life_backup_broken SERIES DIR FAULT: its commit is not on the disk when it fails, or dies.
# The point may be there, until the next commit settles it.
life_backup_broken() {
	local n
	n=$(last_commit "$1" "$2")
	chunkstore list --json | jq -r '.[].id' >"$T/known-ids"
	life "backup $1 with $3:$n"
	mark unknown
	CS_IO_FAULT=$3:$n watched chunkstore backup -q --series "$1" --root "$2" 2>/dev/null &&
		fail "life: backup $1 with $3:$n should fail"
	life_unsettled=$k
}

# life_settled: a later command has committed.
life_settled() {
	chunkstore list --json | jq -r '.[] | .id + " " + .digest' | while read -r id digest; do
		grep -q "$id" "$T/known-ids" || grep -q "$id" "$T/backup.json" ||
			mark has "$id" "$digest" "$life_unsettled"
	done
	mark known
}

# id_of SERIES: of its oldest point.
id_of() { chunkstore list --json "$1" | jq -r 'sort_by(.number)[0].id'; }

# life_forget SERIES [OPTION]: its oldest point, which is then $gone.
life_forget() {
	gone=$(id_of "$1")
	life "forget $*"
	mark change "$gone"
	watched chunkstore forget "${@:2}" "$gone" >/dev/null || fail "life: forget $*"
	mark lacks "$gone"
}

# life_undelete ID: out of the trash, whole, whatever gc has done meanwhile.
life_undelete() {
	life undelete
	mark change "$1"
	watched chunkstore undelete "$1" >/dev/null || fail "life: undelete"
	mark has "$1"
}

life_run() {
	life "$*"
	watched chunkstore "$@" >>"$T/life.out" || fail "life: $*"
}

# edit FILE OFFSET: some bytes of it.
edit() { printf 'edited at %s' "$2" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

life_skip() {
	life_skipped+=("$*")
	diag "NOT IN THIS LIFE, because chunkstore cannot do it: $*"
}

live() {
	local one two trashed
	make_tree "$M/a" 1000
	make_tree "$M/b" 2000
	cp "$M/a/more/large" "$M/b/some/large-of-a"
	make_tree "$M/source" 3000
	rm -r "$M/source/more"
	cp "$M/a/some/file-3" "$M/source/known"

	life init
	watched chunkstore init >/dev/null || fail "life: init"
	mark store
	# in front of all others, so that compact will have room to move them to
	mkdir "$M/z"
	noise 6000 2500000 >"$M/z/early"
	life_backup z "$M/z"
	noise 7000 40000 >"$M/a/more/edited"
	noise 7001 120000 >"$M/a/more/dies"
	noise 7002 120000 >"$M/a/more/dies-too"
	life_backup a "$M/a"
	rm "$M/a/more/dies" "$M/a/more/dies-too"
	edit "$M/a/more/edited" 1000 # a delta, whose base outlives the point it came with
	for i in $(seq 12); do noise $((4000 + i)) $((i * 1500)) >"$M/a/some/file-$i"; done
	noise 4100 300000 >"$M/a/more/large"
	life_backup a "$M/a"
	life_backup b "$M/b"
	life_forget a "${purge[@]}"
	life_run gc --json
	noise 5000 200000 >"$M/a/more/new"
	edit "$M/a/more/edited" 20000
	life_backup a "$M/a" --force

	# the commit is in the page cache and not on the disk; life goes on with it
	noise 5001 50000 >"$M/a/more/newer"
	life_backup_broken a "$M/a" killsync
	life_backup b "$M/b"
	life_settled
	noise 5002 50000 >"$M/a/more/newest"
	life_backup_broken a "$M/a" late
	life_backup b "$M/a/some"
	life_settled

	# two at once
	life "two backups"
	watched chunkstore backup --json --series x --root "$M/a/some" >"$T/x.json" &
	one=$!
	watched chunkstore backup --json --series y --root "$M/b/some" >"$T/y.json"
	two=$?
	wait $one || fail "life: the first of two backups"
	[ $two -eq 0 ] || fail "life: the second of two backups"
	mark has "$(jq -r .id "$T/x.json")" "$(jq -r .digest "$T/x.json")" "$k"
	mark has "$(jq -r .id "$T/y.json")" "$(jq -r .digest "$T/y.json")" "$k"

	[ ${#purge[@]} -gt 0 ] || life_skip "forget --purge"
	life_forget b
	trashed=$gone
	life_forget a "${purge[@]}"
	can undelete || life_skip undelete
	life_forget z "${purge[@]}"
	life_run gc --json
	if can compact; then life_run compact --json; else life_skip compact; fi
	life_backup a "$M/b"
	life_forget x "${purge[@]}"
	life_run gc --json
	! can undelete || life_undelete "$trashed"
	life_run verify --json
	life_run rebuild --json
	life_backup b "$M/b" --heal
	life_forget a "${purge[@]}"
	life_run gc --json
}
