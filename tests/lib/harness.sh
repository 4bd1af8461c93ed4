# SPDX-License-Identifier: MIT
# shellcheck shell=bash
#
# harness.sh - the shell tests' TAP library. A test file sources it, makes
# checks, and ends with done_testing, which prints the plan: a file that dies
# early has none, and so fails.
#
# Each file has a private scratch directory $T. On exit everything mounted
# below it is unmounted, everything started with bg or mount_store is ended,
# and it is removed; after a failure it is kept and its path printed.
#
# The programs under test come from $BUILD (default build/release), first in
# PATH. Store of most tests: $S, also in CHUNKSTORE_STORE.

set -u
export LC_ALL=C.UTF-8 TZ=UTC
umask 022

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
BUILD=${BUILD:-$TOP/build/release}
case $BUILD in /*) ;; *) BUILD=$TOP/$BUILD ;; esac
export PATH=$BUILD:$BUILD/tests/gen:$PATH:/usr/sbin:/sbin
if [ ! -x "$BUILD/chunkstore" ]; then
	echo "1..0 # SKIP $BUILD/chunkstore is not built"
	echo "Bail out! $BUILD/chunkstore is not built"
	exit 1
fi

T=$(mktemp -d "${TMPDIR:-/tmp}/chunkstore-test.XXXXXX") || exit 1
S=$T/store
export CHUNKSTORE_STORE=$S
# Daemons have no terminal: a sanitizer's report goes to a file, which end_test looks for.
# What tests preload calls what comes after it, a sanitizer too, so it may be the first.
export ASAN_OPTIONS="log_path=$T/sanitizer:exitcode=99:verify_asan_link_order=0:${ASAN_OPTIONS-}"
export LSAN_OPTIONS="suppressions=$TOP/tests/lib/lsan.supp:print_suppressions=0:${LSAN_OPTIONS-}"
export UBSAN_OPTIONS="log_path=$T/sanitizer:print_stacktrace=1:${UBSAN_OPTIONS-}"
export TSAN_OPTIONS="log_path=$T/sanitizer:exitcode=99:${TSAN_OPTIONS-}"

test_count=0
test_runs=0
test_failed=0
test_planned=
test_pids=()
status=0

diag() { printf '%s\n' "$@" | sed 's/^/# /' >&2; }

pass() {
	test_count=$((test_count + 1))
	printf 'ok %d - %s\n' $test_count "$1"
}

fail() {
	test_count=$((test_count + 1))
	test_failed=$((test_failed + 1))
	printf 'not ok %d - %s\n' $test_count "$1"
	diag "failed: $1 (${0##*/}:${BASH_LINENO[$((${#BASH_LINENO[@]} - 2))]})"
	shift
	[ $# -eq 0 ] || diag "$@"
}

# skip DESCRIPTION REASON: one check that cannot be made here.
skip() {
	test_count=$((test_count + 1))
	printf 'ok %d - %s # SKIP %s\n' $test_count "$1" "$2"
}

# skip_all REASON: this machine cannot run the file at all.
skip_all() {
	printf '1..0 # SKIP %s\n' "$1"
	diag "SKIPPED ${0##*/}: $1"
	test_planned=1
	exit 0
}

# A misspelt word would be a test that is not made.
command_not_found_handle() {
	echo "$1: command not found (${BASH_SOURCE[1]##*/}:${BASH_LINENO[0]})" | tee -a "$T/not-found" >&2
	return 127
}

done_testing() {
	local report
	[ ! -e "$T/not-found" ] || fail "every command is there" "$(cat "$T/not-found")"
	for report in "$T"/sanitizer.*; do
		[ -e "$report" ] || continue
		fail "no sanitizer report" "$(head -n 60 "$report")"
		break
	done
	printf '1..%d\n' $test_count
	test_planned=1
	[ $test_failed -eq 0 ]
	exit
}

# run COMMAND…: sets $status; leaves its output in $T/stdout and $T/stderr, which until
# then hold those of the run before, for the command to read.
run() {
	local new=$T/new.$((++test_runs))
	status=0
	"$@" >"$new.stdout" 2>"$new.stderr" </dev/null || status=$?
	mv "$new.stdout" "$T/stdout"
	mv "$new.stderr" "$T/stderr"
}

last_output() {
	echo "status $status"
	head -c 2000 "$T/stdout" | sed 's/^/stdout: /'
	head -c 2000 "$T/stderr" | sed 's/^/stderr: /'
}

# check DESCRIPTION COMMAND…: the command succeeds.
check() {
	local what=$1
	shift
	run "$@"
	if [ $status -eq 0 ]; then pass "$what"; else fail "$what" "command: $*" "$(last_output)"; fi
}

# check_status DESCRIPTION STATUS COMMAND…: it ends with that exit status.
check_status() {
	local what=$1 want=$2
	shift 2
	run "$@"
	if [ $status -eq "$want" ]; then
		pass "$what"
	else
		fail "$what" "wanted status $want of: $*" "$(last_output)"
	fi
}

# check_not DESCRIPTION COMMAND…: it fails in an orderly way (not killed by a signal).
check_not() {
	local what=$1
	shift
	run "$@"
	if [ $status -gt 0 ] && [ $status -lt 99 ]; then
		pass "$what"
	else
		fail "$what" "wanted a failure of: $*" "$(last_output)"
	fi
}

# is DESCRIPTION GOT WANT; like DESCRIPTION TEXT REGEX; unlike.
is() {
	if [ "$2" = "$3" ]; then pass "$1"; else fail "$1" "got:    $2" "wanted: $3"; fi
}
like() {
	if [[ $2 =~ $3 ]]; then pass "$1"; else fail "$1" "got: $2" "wanted to match: $3"; fi
}
unlike() {
	if [[ $2 =~ $3 ]]; then fail "$1" "got: $2" "matches: $3"; else pass "$1"; fi
}
# num DESCRIPTION NUMBER OP NUMBER: an arithmetic comparison (-le, -gt, …).
num() {
	if test "$2" "$3" "$4" 2>/dev/null; then pass "$1"; else fail "$1" "got: $2, wanted $3 $4"; fi
}

stdout() { cat "$T/stdout"; }
stderr() { cat "$T/stderr"; }
# one_line_error DESCRIPTION REGEX: the last run said one line on stderr that matches.
one_line_error() {
	if [ "$(wc -l <"$T/stderr")" -eq 1 ] && [[ $(stderr) =~ $2 ]]; then
		pass "$1"
	else
		fail "$1" "wanted one line on stderr matching $2" "$(last_output)"
	fi
}

# wait_until SECONDS COMMAND…: poll until it succeeds; 1 when the time is over.
wait_until() {
	local deadline=$((SECONDS + $1 + 1))
	shift
	until "$@" >/dev/null 2>&1; do
		[ $SECONDS -lt $deadline ] || return 1
		sleep 0.02
	done
}

# bg COMMAND…: start in the background, pid in $!; ended with the test.
bg() {
	"$@" &
	test_pids+=($!)
}

# A daemon belongs to init, which may take its time to bury it: a zombie is gone.
is_gone() { ! kill -0 "$1" 2>/dev/null || grep -qs '^State:.*zombie' "/proc/$1/status"; }

# ------------------------------------------------------------ prerequisites

is_root() { [ "$(id -u)" = 0 ]; }
need_root() { is_root || skip_all "needs root"; }
have() { command -v "$1" >/dev/null; }
need() {
	local p
	for p in "$@"; do have "$p" || skip_all "needs $p"; done
}
need_fuse() {
	[ -e /dev/fuse ] || skip_all "there is no /dev/fuse"
	(: <>/dev/fuse) 2>/dev/null || is_root || skip_all "/dev/fuse cannot be opened"
	is_root || need fusermount3
}
# make test-long, make check, a sanitizer's build
is_long() { [ -n "${CS_TEST_LONG-}" ]; }
is_quick() { [ -n "${CS_TEST_QUICK-}" ]; }
is_sanitized() { [ "${FLAVOUR:-release}" != release ]; }
# can_mount TYPE: tmpfs, bind (root in a container may lack it)
can_mount_tmpfs() {
	is_root || return 1
	mkdir -p "$T/can-mount"
	mount -t tmpfs -o size=1m tmpfs "$T/can-mount" 2>/dev/null || return 1
	umount "$T/can-mount"
}

# ------------------------------------------------------------ mounts

mounted() { grep -q " $1 " /proc/self/mountinfo; }

# What a mount test sees is a chunkfs and not the directory below it.
is_chunkfs() { grep -q " $1 .* - fuse.chunkfs " /proc/self/mountinfo; }

# mount_store MOUNTPOINT [chunkfs arguments…]: daemonised; 0 when it answers.
mount_store() {
	local mnt=$1
	shift
	mkdir -p "$mnt"
	run chunkfs "$S" "$mnt" "$@"
	[ $status -eq 0 ] || diag "chunkfs $S $mnt $*" "$(last_output)"
	return $status
}

# daemon_of MOUNTPOINT: the pid of the chunkfs that serves it.
daemon_of() {
	local cmd
	for cmd in /proc/[0-9]*/cmdline; do
		if tr '\0' '\n' 2>/dev/null <"$cmd" |
			awk -v m="$1" 'NR == 1 && /(^|\/)chunkfs$/ { c = 1 } $0 == m { f = 1 }
				END { exit !(c && f) }'; then
			cmd=${cmd#/proc/}
			echo "${cmd%/cmdline}"
			return 0
		fi
	done
	return 1
}

unmount() {
	if is_root; then umount "$@"; else fusermount3 -u "$@"; fi
}

# unmount_store MOUNTPOINT: and wait until its daemon has ended.
unmount_store() {
	local pid
	pid=$(daemon_of "$1")
	unmount "$1" || return
	[ -z "$pid" ] || wait_until 20 is_gone "$pid"
}

# alone_with_caches: until its end this test is the only one of this run that drops the kernel's
# caches, or counts what they hold.
alone_with_caches() {
	exec {caches_fd}>"$BUILD/caches.lock"
	flock "$caches_fd"
}

# ------------------------------------------------------------ the usual steps

new_store() { chunkstore init "$@" >"$T/init.out" 2>&1 || { diag "$(cat "$T/init.out")"; return 1; }; }

# backup SERIES DIR [options…]: what it reports is then there for backup_json.
backup() {
	chunkstore backup --json --series "$1" --root "$2" "${@:3}" >"$T/backup.json"
}

# json FILTER: of the last run's stdout; backup_json: of the last backup's.
json() { jq -r "$1" "$T/stdout"; }
backup_json() { jq -r "$1" "$T/backup.json"; }

# latest SERIES: the name of its newest point.
latest() { chunkstore show --json "$1/latest" | jq -r .name; }
# stats FIELD: of the store.
stats() { chunkstore stats --json | jq -r ".$1"; }
points() { chunkstore list --json | jq length; }

file_size() { stat -c %s "$1"; }

# ------------------------------------------------------------ the end

end_test() {
	local code=$? pid mnt
	for pid in ${test_pids[@]+"${test_pids[@]}"}; do
		kill "$pid" 2>/dev/null && kill -CONT "$pid" 2>/dev/null
	done
	awk -v t="$T/" 'index($5, t) == 1 { print $5 }' /proc/self/mountinfo | tac |
		while read -r mnt; do
			pid=$(daemon_of "$mnt")
			umount -l "$mnt" 2>/dev/null || fusermount3 -uz "$mnt" 2>/dev/null
			[ -z "$pid" ] || wait_until 5 is_gone "$pid" || kill -9 "$pid" 2>/dev/null
		done
	if [ $test_failed -gt 0 ] || [ -z "$test_planned" ]; then
		diag "scratch directory kept: $T"
		return $((code ? code : 1))
	fi
	is_root || find "$T" -type d -exec chmod u+rwx {} + 2>/dev/null
	rm -rf --one-file-system "$T"
	return $code
}
trap end_test EXIT
trap 'exit 130' INT TERM HUP
