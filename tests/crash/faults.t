#!/bin/bash
# SPDX-License-Identifier: MIT
# Each change that a command makes to the store's files fails in turn, in each way: no space, a disk
# error, a commit that is on the disk and called an error, an interruption, half a write, a kill.
# The command says so in one line; old points are whole, and the store goes on.
. "$(dirname "$0")/../lib/harness.sh"
. "$(dirname "$0")/lib.sh"

seed=${CS_TEST_SEED:-$RANDOM}
RANDOM=$seed
diag "seed $seed (CS_TEST_SEED)"

make_tree "$M/a" 1000
mkdir "$M/source"
noise 1 20000 >"$M/source/one"
cp "$M/a/some/file-3" "$M/source/known"
new_store || exit 1
noise 6000 2500000 >"$M/a/first" # in front, so that compact has room to move the rest to
backup a "$M/a" || fail "backup"
gone=$(backup_json .id)
rm "$M/a/first"
for i in $(seq 12); do noise $((4000 + i)) $((i * 1500)) >"$M/a/some/file-$i"; done
noise 4100 300000 >"$M/a/more/large"
backup a "$M/a" || fail "backup"
target=$(backup_json '.id + ":" + .digest')
backup b "$M/a/some" || fail "backup"
kept=$(backup_json '.id + ":" + .digest')
chunkstore forget "${purge[@]}" "$gone" >/dev/null || fail "forget"
noise 4200 100000 >"$M/a/more/newest"
mv "$S" "$M/base"

# The store before COMMAND, which has something to do.
fresh() {
	rm -rf "$S"
	cp -r "$M/base" "$S"
	[ "${1-}" != compact ] || chunkstore gc -q
}

command_of() {
	case $1 in
	backup) echo chunkstore backup -q --series a --root "$M/a" ;;
	forget) echo chunkstore forget "${purge[@]}" "${target%:*}" ;;
	gc) echo chunkstore gc -q ;;
	compact) echo chunkstore compact -q ;;
	esac
}

# Which points must be there after COMMAND failed, and which may be.
points_after() {
	case $1 in
	forget) echo "may:$target $kept" ;;
	*) echo "$target $kept" ;;
	esac
}

# Was the change made after gc's own transaction, behind which the file is extended?
is_after_gc() {
	local extended
	extended=$(grep -m 1 ' extend ' "$T/report") && [ "${1%% *}" -gt "${extended%% *}" ]
}

# What COMMAND must do: 0 succeed, 1 fail in one line, 137 be killed, 0or1.
wanted_of() {
	local what=$1 kind=$2 hit=$3 fault=$4
	case $kind:$hit in
	kill:* | killsync:*) echo 137 ;;
	eintr:*write*) echo 0 ;;           # is repeated
	eintr:*) echo 0or1 ;;
	*:*\ punch\ * | *:*\ extend\ *) echo 0or1 ;; # a file system may refuse these
	enospc:*) # a step of gc that finds no room is tried again, smaller; and what gc does
		# after its own work, for more space, a full disk may refuse
		[ "$what" = gc ] && { [[ $fault != *+ ]] || is_after_gc "$hit"; } && echo 0or1 || echo 1 ;;
	*:*\ sync\ . | *:*\ unlink\ *) echo 0or1 ;;
	*) echo 1 ;;
	esac
}

message_of() {
	case $1 in
	enospc*) echo "[Nn]o space" ;;
	eintr*) echo "[Ii]nterrupted" ;;
	*) echo "[Ii]nput/output error" ;;
	esac
}

# try COMMAND FAULT: prints what is wrong, if anything.
try() {
	local what=$1 fault=$2 hit wanted why allowed
	fresh "$what"
	# shellcheck disable=SC2046
	run faulty "$fault" $(command_of "$what")
	hit=$(grep -m 1 " ${fault%%:*}\$" "$T/report") || { echo "was not hit"; return; }
	wanted=$(wanted_of "$what" "${fault%%:*}" "$hit" "$fault")
	[ "$status" = "$wanted" ] || [[ $wanted == 0or1 && $status -le 1 ]] ||
		{ echo "status $status, wanted $wanted ($hit): $(stderr)"; return; }
	if [ $status -eq 1 ]; then
		[ "$(wc -l <"$T/stderr")" -eq 1 ] && [[ $(stderr) =~ $(message_of "$fault") ]] ||
			{ echo "said ($hit): $(stderr)"; return; }
	fi
	allowed=$(points_after "$what")
	# what was stored or killed in the middle of its commit may be there
	if [ "$what" = backup ] && [ $status -ne 1 ]; then
		for why in $(chunkstore list --json | jq -r '.[] | .id + ":" + .digest'); do
			[[ $allowed == *$why* ]] || allowed+=" may:$why"
		done
	fi
	# shellcheck disable=SC2086
	why=$("$REPLAY" check "$S" "$M/source" $allowed 2>&1) || echo "not a good store ($hit): $why"
}

# numbers COUNT: all from 1 to COUNT, or a few of them, the last among them.
numbers() {
	if is_long || [ "$1" -le 3 ]; then
		seq "$1"
	else
		{ for _ in 1 2; do echo $((1 + RANDOM % ($1 - 1))); done; echo "$1"; } | sort -nu
	fi
}

tried=0
loop() {
	local what=$1 kind count n bad=
	for kind in enospc enospc+ eio eio+ late eintr short short+ kill killsync; do
		fresh "$what"
		# shellcheck disable=SC2046
		run faulty "${kind%+}:0" $(command_of "$what")
		[ $status -eq 0 ] || { bad="rehearsal: $(stderr)"; break; }
		count=$(wc -l <"$T/report")
		for n in $(numbers "$count"); do
			case $kind in
			*+) bad=$(try "$what" "${kind%+}:$n+") ;;
			*) bad=$(try "$what" "$kind:$n") ;;
			esac
			tried=$((tried + 1))
			[ -z "$bad" ] || break 2
		done
	done
	is "$what survives each" "${bad:+$kind:$n: $bad}" ""
}
for what in backup forget gc compact; do
	if can $what; then loop $what; else skip "$what survives each" "no such command"; fi
done
diag "$tried faults tried"

# Backups that fail for want of space leave nothing behind: the size levels off.
fresh
for round in $(seq 12); do
	noise $((5000 + round)) 200000 >"$M/a/more/newest"
	faulty enospc:$((3 + round % 4))+ chunkstore backup -q --series a --root "$M/a" 2>/dev/null &&
		fail "a backup without space"
	chunkstore gc -q || fail "gc"
	[ "$round" != 4 ] || early=$(file_size "$S/data.mdb")
done
num "failed backups and gc: the file levels off" "$(file_size "$S/data.mdb")" -le $((early + 300000))
done_testing
