#!/bin/bash
# SPDX-License-Identifier: MIT
# One allocation of a whole process fails, be it ours, LMDB's, zstd's or libfuse's: the
# program ends with one clear line or goes on, and the store is sound. The library's own,
# each in turn: tests/unit/t_nomem.c. test-long tries each here, too.
. "$(dirname "$0")/../lib/harness.sh"
! is_sanitized || skip_all "a sanitizer has an allocator of its own"
new_store || exit 1

mkdir -p "$T/a/dir"
head -c 300000 /dev/urandom >"$T/a/large"
head -c 9000 /dev/urandom >"$T/a/dir/chunk"
ln "$T/a/dir/chunk" "$T/a/linked"
ln -s dir "$T/a/symlink"
setfattr -n user.test -v value "$T/a/linked" 2>/dev/null
backup s "$T/a" || fail "backup"
backup gone "$T/a" || fail "backup"
echo more >"$T/a/more"
backup s "$T/a" || fail "backup"
chunkstore -q forget --purge gone/latest 2>/dev/null || chunkstore forget --purge gone/latest >/dev/null
cp -r "$S" "$T/as-it-was"
SO=$BUILD/tests/lib/nomem.so

again() {
	rm -rf "$S" "$T/out"
	cp -r "$T/as-it-was" "$S"
}

# allocations COMMAND…: how many it makes
allocations() {
	again
	CS_NOMEM_COUNT=$T/count LD_PRELOAD=$SO "$@" >/dev/null 2>&1 || fail "without a failure: $*" >&2
	cat "$T/count"
}

# steps N: which of N to try
steps() {
	if is_long; then seq 1 "$1"; else
		awk -v n="$1" 'BEGIN { for (i = 1; i <= n; i += 1 + int(i / 7)) print i }'
	fi
}

# refuse NAME COMMAND…
refuse() {
	local name=$1 n tried=0 bad=""
	shift
	for n in $(steps "$(allocations "$@")"); do
		again
		tried=$((tried + 1))
		CS_NOMEM=$n LD_PRELOAD=$SO timeout 60 "$@" >/dev/null 2>"$T/err"
		status=$?
		[ $status -le 3 ] || bad+="allocation $n: status $status: $(head -n 1 "$T/err")"$'\n'
		[ $status -eq 0 ] || [ -s "$T/err" ] || bad+="allocation $n: fails without a word"$'\n'
		chunkstore verify >"$T/verify" 2>&1 || bad+="allocation $n: $(head -n 1 "$T/verify")"$'\n'
	done
	is "$name: $tried refused allocations do no harm" "$bad" ""
}

refuse backup chunkstore backup -q --force --series s --root "$T/a"
refuse gc chunkstore gc
refuse restore chunkstore restore s/latest "$T/out"
refuse "dump" chunkstore dump s/latest
refuse "list" chunkstore list
refuse verify chunkstore verify

# In a mount: whatever a request answers, the daemon lives, or says why not.
use() {
	find "$M" -ls
	cat "$M/s/latest/large" "$M/s/latest/linked"
	getfattr -d "$M/s/latest/linked"
	readlink "$M/s/latest/symlink"
}
M=$T/mnt
mkdir "$M"
if [ -e /dev/fuse ] && is_root; then
	again
	CS_NOMEM_COUNT=$T/count LD_PRELOAD=$SO bg chunkfs -f -o sandbox=no "$S" "$M" 2>"$T/err"
	wait_until 20 is_chunkfs "$M" && use >/dev/null 2>&1
	unmount "$M"
	wait $!
	bad="" tried=0
	for n in $(steps "$(cat "$T/count")"); do
		tried=$((tried + 1))
		CS_NOMEM=$n LD_PRELOAD=$SO bg chunkfs -f -o sandbox=no "$S" "$M" 2>"$T/err"
		pid=$!
		over() { is_chunkfs "$M" || ! kill -0 $pid 2>/dev/null; }
		wait_until 20 over || bad+="allocation $n: neither mounts nor ends"$'\n'
		timeout 20 bash -c "$(declare -f use); M=$M; use" >/dev/null 2>&1
		[ $? -ne 124 ] || bad+="allocation $n: a request hangs"$'\n'
		kill -TERM $pid 2>/dev/null
		wait_until 20 is_gone $pid || bad+="allocation $n: does not end"$'\n'
		wait $pid
		status=$?
		[ $status -le 3 ] || bad+="allocation $n: status $status: $(head -n 1 "$T/err")"$'\n'
		[ $status -eq 0 ] || [ -s "$T/err" ] || bad+="allocation $n: ends without a word"$'\n'
		umount -l "$M" 2>/dev/null
	done
	is "a mount: $tried refused allocations do no harm" "$bad" ""
	check "the store is sound" chunkstore verify
else
	skip "a mount" "no /dev/fuse, or not root"
fi
done_testing
