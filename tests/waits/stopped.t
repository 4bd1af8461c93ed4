#!/bin/bash
# SPDX-License-Identifier: MIT
# A process that is stopped in the middle of a write transaction: others are told for whom they
# wait, can be interrupted, read as before, and go on when it goes on or dies.
. "$(dirname "$0")/../lib/harness.sh"
. "$(dirname "$0")/lib.sh"

new_store || exit 1
mkdir "$T/tree" "$T/big" "$T/mnt"
echo one >"$T/tree/file"
noise 7 3000000 >"$T/big/file"
backup s "$T/tree" && backup big "$T/big" || exit 1

# stop COMMAND…: start it; it stops in its first write transaction. Its pid: $stopped
stop() {
	CS_STOP=1 "${held[@]}" "$@" >"$T/stopped.out" 2>"$T/stopped.err" &
	stopped=$!
	test_pids+=("$stopped")
	wait_until 60 is_stopped $stopped || fail "$* stops in its first transaction" "$(cat "$T/stopped.err")"
}
# waits COMMAND…: start it in the background and wait until it says so. Its pid: $waiting
waits() {
	rm -f "$T/waiting.err" # of the one before
	"$@" >"$T/waiting.out" 2>"$T/waiting.err" &
	waiting=$!
	test_pids+=("$waiting")
	wait_until 60 grep -q waiting "$T/waiting.err"
}

mounted=
[ -e /dev/fuse ] && is_root && mount_store "$T/mnt" && mounted=yes

for what in forget backup gc undelete; do
	case $what in
	forget) cmd=(forget s/latest) ;;
	backup) cmd=(backup -q --force --series b --root "$T/big") ;;
	gc)
		chunkstore forget --purge big/latest >/dev/null
		cmd=(gc -q)
		;;
	undelete)
		id=$(chunkstore show --json b/latest | jq -r .id)
		chunkstore forget "$id" >/dev/null
		cmd=(undelete "$id")
		;;
	esac
	stop chunkstore "${cmd[@]}"
	check "$what is stopped: list" chunkstore list
	check "$what is stopped: cat" chunkstore cat s:file
	[ -z "$mounted" ] || is "$what is stopped: the mount" "$(cat "$T/mnt/s/latest/file")" one
	is "$what is stopped: stats says so" \
		"$(chunkstore stats --json | jq -c ".users[] | select(.process == $stopped) | [.writing, .stopped]")" \
		"[true,true]"
	like "and in words" "$(chunkstore stats)" "process $stopped \(chunkstore\).*, is writing, is stopped"
	waits chunkstore config trash 5d
	is "$what is stopped: who waits says so" "$(cat "$T/waiting.err")" \
		"chunkstore: waiting for process $stopped (chunkstore), which is writing to the store and is stopped: 'kill -CONT $stopped' lets it go on"
	kill -TERM $waiting
	wait $waiting
	is "$what is stopped: who waits can be ended" $? 1
	like "and says so" "$(tail -n 1 "$T/waiting.err")" "^chunkstore: interrupted"
	waits chunkstore config trash 6d
	if [ $what = undelete ] || [ $what = backup ]; then
		kill -CONT $stopped
		wait $stopped
		is "$what goes on" $?:"$(cat "$T/stopped.err")" 0:
	else
		kill -9 $stopped
		wait $stopped 2>/dev/null
	fi
	wait $waiting
	is "and who waited does, too" $? 0
	check "verify" chunkstore verify
done
is "what was stopped and killed changed nothing" "$(chunkstore cat s:file)" one
is "what went on did its work" "$(chunkstore list --json b | jq length)" 1

[ -z "$mounted" ] || check "unmount" unmount_store "$T/mnt"
done_testing
