#!/bin/bash
# SPDX-License-Identifier: MIT
# What commands cost, counted and not timed, so that a slow-down shows on a busy machine, too: calls
# of the kernel, bytes stored, instructions. The ceilings stand a little above what was counted.
# What a mount costs, see tests/mount/requests.t.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1
alone_with_caches # files that the kernel dropped are looked for ahead, with more calls

# 600 files of words, 100 bytes to 30 KB, in 20 directories: the same at each run.
python3 - "$T/tree" <<'END' || fail "a tree"
import os, random, sys
r = random.Random(20261122)
words = [bytes(r.choice(b'abcdefghijklmnopqrstuvwxyz') for _ in range(r.randrange(2, 9)))
         for _ in range(2000)]
for d in range(20):
    dir = '%s/d%02d' % (sys.argv[1], d)
    os.makedirs(dir)
    for i in range(30):
        size = int(100 * 300 ** r.random())
        text = b''
        while len(text) < size:
            text += r.choice(words) + b' '
        with open('%s/f%02d' % (dir, i), 'wb') as f:
            f.write(text[:size])
END
files=600 dirs=21
entries=$((files + dirs))
wait_until 5 bash -c "[ \$(date +%s) -gt \$(stat -c %Y '$T/tree/d19/f29') ]" # older than a clock tick

# The ways in and out, each on a store of its own for each counter.
ways() {
	run_one() { "$1" "$2" chunkstore "${@:3}" >/dev/null 2>&1 || fail "$2"; }
	rm -rf "$S" "$T/out"
	chunkstore init >/dev/null || fail "init"
	run_one "$1" first backup -q --series a --root "$T/tree"
	run_one "$1" unchanged backup -q --series a --root "$T/tree"
	run_one "$1" verify verify -q
	run_one "$1" restore restore a/latest "$T/out"
	check "restored as it was" diff -r "$T/tree" "$T/out"
}

# ------------------------------------------------------------ calls of the kernel

# calls COUNTED "WHAT" MAX
# Who waits for whom, and memory, is chance.
trace_() { strace -f -q -o "$T/calls-$1" "${@:2}"; }
calls() {
	local n
	n=$(sed -nE 's/^[0-9]+ +([a-z0-9_]+)\(.*/\1/p' "$T/calls-$1" |
		grep -vcE '^(futex|mmap|munmap|mremap|mprotect|madvise|brk|rt_sig.*|readahead|rseq|clone.*|set_robust_list|exit)$')
	num "$2: $n calls of the kernel" "$n" -le "$3"
	num "$2: they were counted" "$n" -gt 50
}
if have strace && ! is_sanitized; then
	ways trace_
	calls first "first backup" $((files * 9 + dirs * 15 + 300))
	calls unchanged "nothing changed" $((entries + dirs * 12 + 200))
	calls verify "verify" 250
	calls restore "restore" $((files * 6 + dirs * 15 + 300))
else
	skip "calls of the kernel" "no strace, or a sanitizer"
fi

# ----------------------------------------------------------------- bytes stored

only_() { "${@:2}"; }
ways only_
num "the bundles: $(stats stored_bytes) bytes" "$(stats stored_bytes)" -le 1390000
num "on disk: $(file_size "$S/data.mdb")" "$(file_size "$S/data.mdb")" -le 1560000

# ----------------------------------------------------------------- instructions

count_() {
	valgrind --tool=callgrind --callgrind-out-file=/dev/null --log-file="$T/count-$1" "${@:2}"
}
counts() {
	local n
	n=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$T/count-$1")
	num "$2: $((n / 1000000)) million instructions" "$n" -le $(($3 * 1000000))
	num "$2: they were counted" "$n" -gt 1000000
}
if have valgrind && ! is_sanitized; then
	ways count_
	counts first "first backup" 215
	counts unchanged "nothing changed" 21
	counts verify "verify" 97
	counts restore "restore" 70
else
	skip "instructions" "no valgrind, or a sanitizer"
fi
done_testing
