# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034
#
# lib.sh - for the tests of crashes and failing disks, after harness.sh: a store
# in memory, programs with io.so (io.h) in front of libc, and small trees.
#
# Many thousands of durable commits are made: $M, where the stores are, is on a
# tmpfs if there is one. It is removed like $T.

IO_SO=$BUILD/tests/crash/io.so
REPLAY=$BUILD/tests/crash/replay
LOG=$T/log

M=$T
if [ -w /dev/shm ] && [ "$(stat -f -c %T /dev/shm)" = tmpfs ]; then
	M=$(mktemp -d /dev/shm/chunkstore-test.XXXXXX) || exit 1
fi
S=$M/store
export CHUNKSTORE_STORE=$S

end_crash_test() {
	local code=$?
	if [ "$M" != "$T" ]; then
		# what is kept is kept in one place
		[ $test_failed -eq 0 ] && [ -n "$test_planned" ] || cp -r "$M" "$T/memory"
		rm -rf "$M"
	fi
	(exit $code)
	end_test
}
trap end_crash_test EXIT

# watched COMMAND…: what it does to $S is recorded in $LOG, and may go wrong (CS_IO_FAULT).
watched() { CS_IO_DIR=$S CS_IO_LOG=$LOG LD_PRELOAD=$IO_SO "$@"; }
# faulty KIND:N COMMAND…: the Nth change goes wrong. Not recorded, but listed in $T/report.
faulty() {
	local spec=$1
	shift
	rm -f "$T/report"
	CS_IO_DIR=$S CS_IO_FAULT=$spec CS_IO_REPORT=$T/report LD_PRELOAD=$IO_SO "$@"
}

# can COMMAND [OPTION]: does this chunkstore have it?
can() {
	local help
	help=$(chunkstore "$1" --help 2>/dev/null) || return 1
	[ $# -eq 1 ] || grep -q -e "$2" <<<"$help"
}

# What makes forget final, where there is a trash.
purge=()
can forget --purge && purge=(--purge)

# make_tree DIR SEED: 270 files, 470 KB that do not compress. The same seed, the same bytes.
make_tree() {
	local i
	mkdir -p "$1/some/deeper" "$1/more"
	for i in $(seq 12); do noise $(($2 + i)) $((i * 1500)) >"$1/some/file-$i"; done
	for i in $(seq 4); do noise $(($2 + 100 + i)) 700 >"$1/some/deeper/small-$i"; done
	noise $(($2 + 200)) 300000 >"$1/more/large"
	for i in $(seq 250); do noise $(($2 + 300 + i)) $((100 + i % 7 * 30)) >"$1/more/tiny-$i"; done
	ln -sfn ../some "$1/more/link"
}

# good_store WHAT [[may:]ID:DIGEST…]: as replay.c's check says.
good_store() {
	local what=$1
	shift
	check "$what" "$REPLAY" check "$S" "$M/source" "$@"
}
