#!/bin/bash
# SPDX-License-Identifier: MIT
# What cannot be read is named, the rest is stored, and the exit status is 3.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

mkdir "$T/a" "$T/a/dir" "$T/a/closed"
echo fine >"$T/a/fine"
echo secret >"$T/a/secret"
echo inside >"$T/a/closed/inside"
head -c 300000 /dev/urandom >"$T/a/dir/large"
chmod 0 "$T/a/secret" "$T/a/closed"

# As somebody whom the modes stop.
if is_root; then
	chmod 755 "$T"
	chown -R 65534:65534 "$S" "$T/a"
	as() { setpriv --reuid=65534 --regid=65534 --clear-groups "$@"; }
	if ! as test -x "$BUILD/chunkstore"; then
		cp "$BUILD/chunkstore" "$T/chunkstore"
		chunkstore=$T/chunkstore
	fi
else
	as() { "$@"; }
fi
chunkstore=${chunkstore:-$BUILD/chunkstore}

run as "$chunkstore" backup --json --series s --root "$T/a"
is "exit status 3" $status 3
like "the file is named" "$(stderr)" "secret"
like "the directory is named" "$(stderr)" "closed"
unlike "what could be read is not" "$(stderr)" "fine|large"
is "the result counts them" "$(json .unreadable)" 2
is "the point is there" "$(points)" 1
check "the readable rest comes back" chunkstore restore s "$T/out"
is "fine" "$(cat "$T/out/fine")" fine
check "large" cmp "$T/a/dir/large" "$T/out/dir/large"
check "an unreadable file is not there as an empty one" test ! -e "$T/out/secret"
check "verify" as "$chunkstore" verify

# Readable again: the next backup has it, though nothing but the mode changed.
chmod 644 "$T/a/secret"
chmod 755 "$T/a/closed"
run as "$chunkstore" backup --json --series s --root "$T/a"
is "exit status 0 when all can be read" $status 0
rm -rf "$T/out"
check "restore" chunkstore restore s "$T/out"
check "is complete" treecmp "$T/a" "$T/out"

# One that the parent point has, and that cannot be read now, costs no neighbour its place.
for name in 1 2 3 4 5; do echo "old $name" >"$T/a/dir/n$name"; done
# Files changed within a clock tick before a backup are read again by the next: let it pass.
settled() { [ $(($(date +%s%N) - $(date -r "$T/a/dir/n5" +%s%N))) -gt 50000000 ]; }
check "the files are older than a clock tick" wait_until 10 settled
run as "$chunkstore" backup -q --series s --root "$T/a"
is "exit status 0" $status 0
chmod 0 "$T/a/dir/n2"
for changed in none n4; do
	[ $changed = none ] || echo "new" >"$T/a/dir/n4"
	run as "$chunkstore" backup -q --series s --root "$T/a"
	is "exit status 3 (changed: $changed)" $status 3
	rm -rf "$T/out"
	check "restore" chunkstore restore s "$T/out"
	is "every neighbour is there" "$(cd "$T/out/dir" && echo n*)" "n1 n3 n4 n5"
	check "with its own content" cmp "$T/a/dir/n4" "$T/out/dir/n4"
	check "verify" chunkstore verify
done

check_status "a source that is not there at all is an error" 1 \
	chunkstore backup --series t --root "$T/nowhere"
one_line_error "that names it" nowhere
check_status "a root that is a file too" 1 chunkstore backup --series t --root "$T/a/fine"
is "neither made a point" "$(points)" 5
run chunkstore backup -q --series t "$T/a/fine" "$T/nowhere"
is "one missing path among others: exit status 3" $status 3
like "it is named" "$(stderr)" nowhere
is "and the others are stored" "$(chunkstore cat "t:$T/a/fine")" fine

# What we lack ourselves is no fault of the source: then there is no point, however far it came.
few_files() {
	(
		for fd in /proc/self/fd/*; do # what the test was given would count, too
			[ "${fd##*/}" -le 2 ] || eval "exec ${fd##*/}>&-"
		done
		ulimit -n "$1" && shift && exec "$@"
	)
}
before=$(points)
enough=0
for n in {4..40}; do
	run few_files "$n" chunkstore backup -q --series u --root "$T/a/dir" --force
	[ $status != 1 ] && enough=$n && break
	like "$n descriptors: it says why" "$(stderr | tail -n 1)" "^chunkstore: .*Too many open files"
	is "$n descriptors: no point" "$(points)" "$before"
done
num "it tried with too few" $enough -ge 8
num "with enough there is no error" $status -ne 1
is "and a point" "$(points)" $((before + 1))
done_testing
