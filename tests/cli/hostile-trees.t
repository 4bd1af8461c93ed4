#!/bin/bash
# SPDX-License-Identifier: MIT
# Points that are sound page by page and out of all proportion as a whole: 2^40 entries, files of
# 2^62 bytes, chains of 100000 directories, lists of hard links that lead anywhere. What need not
# walk them ends in seconds; what has to goes on in little memory until it is interrupted.
# (What such a point looks like in a mount: tests/mount/hostile-trees.t.)
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1
forge "$S" wide links many deep abyss huge strays maze || fail "forge"
for kind in doubt rows hedge; do
	chunkstore -s "$T/$kind" init >/dev/null
	forge "$T/$kind" "$kind" || fail "forge $kind"
done

# within MB COMMAND…: with so much memory
within() {
	is_sanitized || ulimit -s 1024 -d $(($1 << 10))
	shift
	exec "$@"
}
# ends DESCRIPTION STATUS MB COMMAND…: by itself, and soon
ends() { check_status "$1" "$2" within_subshell "$3" timeout -k 20 100 "${@:4}"; }
within_subshell() { (within "$@"); }
# endless DESCRIPTION MB COMMAND…: says something soon, goes on until it is interrupted, and then no
# longer; silent, the same, but it need not say anything; may_end DESCRIPTION STATUS MB COMMAND…, the
# same, but there is an end, and a machine may be fast enough to come to it before.
# All at once; collect tells what became of them.
begun=()
silent() { may_end "$1" 124 "${@:2}"; }
may_end() {
	local n=${#begun[@]}
	begun+=("$1")
	echo "$2" >"$T/end.$n"
	shift
	: >"$T/first.$n"
	{
		within_subshell "$2" timeout --foreground -s TERM -k 15 4 "${@:3}" 2>"$T/stderr.$n" </dev/null |
			{ head -c 1 >"$T/first.$n"; cat >/dev/null; }
		echo "${PIPESTATUS[0]}" >"$T/code.$n"
	} &
}
endless() {
	: >"$T/speaks.${#begun[@]}"
	silent "$@"
}
collect() {
	local n code
	wait
	for n in "${!begun[@]}"; do
		code=$(cat "$T/code.$n")
		if [ "$code" -ne 124 ] && [ "$code" -ne "$(cat "$T/end.$n")" ]; then
			fail "${begun[n]}" "status $code" "$(head -c 500 "$T/stderr.$n")"
		elif [ -e "$T/speaks.$n" ] && [ ! -s "$T/first.$n" ]; then
			fail "${begun[n]}" "said nothing"
		else
			pass "${begun[n]}"
		fi
		rm -f "$T/speaks.$n"
	done
	begun=()
}

# ---- why there is no limit to directories that are one: an honest store has them, too

mkdir -p "$T/src/copy"
(cd "$T/src/copy" && for i in {1..400}; do echo $i >"a file with a name that is a little longer $i"; done)
for i in 1 2 3 4 5 6 7; do cp -al "$T/src/copy" "$T/src/copy-$i"; done
chunkstore -s "$T/honest" init >/dev/null
check "a tree with copies made of hard links" chunkstore -s "$T/honest" backup --series a --root "$T/src"
run chunkstore -s "$T/honest" stats --json
num "has each directory once" "$(json .chunks)" -lt 16
rm -r "$T/src"

# ---- 2^40 entries

ends "show tells how many there are" 0 40 chunkstore show --json wide/latest
is "and means it" "$(json .entries)" 1096294594561
ends "list" 0 40 chunkstore list
ends "stats" 0 40 chunkstore stats
ends "ls of the root" 0 40 chunkstore ls wide/latest
is "has all names" "$(stdout | wc -l)" 1023
ends "ls four levels down" 0 40 chunkstore ls -l wide/latest:1022/0001/0500/0000
ends "cat of the last file" 0 40 chunkstore cat wide/latest:1022/1022/1022/1022
is "is right" "$(stdout)" same
ends "a name that is nowhere" 0 40 chunkstore find nix wide/latest
ends "two points of the same pages" 0 40 chunkstore diff links/latest many/latest
endless "ls -R" 40 chunkstore ls -R wide/latest
endless "find" 40 chunkstore find 0001 wide/latest
endless "dump" 40 chunkstore dump wide/latest
endless "diff" 40 chunkstore diff wide/latest links/latest
endless "restore --dry-run" 40 chunkstore restore -n wide/latest "$T/no"
endless "the same where each file says that it has links" 40 \
	chunkstore restore -n links/latest "$T/no"
endless "and where all are links of one" 40 chunkstore restore -n many/latest "$T/no"
collect
is "no such restore made anything" "$(find "$T" -maxdepth 1 -name 'no*')" ""

# ---- files

for file in crumbs full hole lace limit void; do
	ends "what would be restored of $file" 0 40 chunkstore restore -n "huge/latest:$file" "$T/no"
done
for file in full hole limit void; do
	endless "cat $file" 100 chunkstore cat "huge/latest:$file"
done
collect
for file in crumbs lace; do
	ends "cat $file: too many pieces" 1 100 chunkstore cat "huge/latest:$file"
done
if can_mount_tmpfs; then
	mkdir "$T/small" && mount -t tmpfs -o size=32m,nr_inodes=10000 tmpfs "$T/small"
	ends "restore of 2^62 bytes fails" 1 100 chunkstore restore huge/latest:full "$T/small/to"
	like "for want of room" "$(stderr)" "No space left"
	is "nothing is left of it" "$(ls -A "$T/small")" ""
	silent "restore of 2^47 crumbs with holes" 100 chunkstore restore huge/latest:lace "$T/small/to"
	collect
	is "nothing is left of it" "$(ls -A "$T/small")" ""
	ends "restore of a hole of 2^62 bytes" 0 40 chunkstore restore huge/latest:hole "$T/small/to"
	is "is that" "$(file_size "$T/small/to")" 4611686018427387904
	touch -d 2000-01-01 "$T/small/to"
	for how in if-changed always; do
		silent "compare with 2^62 bytes that are there, $how" 40 chunkstore restore \
			--overwrite $how --in-place huge/latest:full "$T/small/to"
	done
	collect
	is "which are there still" "$(ls -A "$T/small"):$(file_size "$T/small/to")" to:4611686018427387904
	rm "$T/small/to"
	ends "restore of 2^40 entries ends with the disk" 1 100 chunkstore restore wide/latest "$T/small/to"
	like "for want of room" "$(stderr)" "No space left.*to.partial"
	is "and not under its name" "$(ls -A "$T/small")" to.partial
	umount "$T/small"
else
	skip "restores onto a small disk" "cannot mount tmpfs"
fi

# ---- depth

ends "find in 4000 directories" 0 100 chunkstore find -0 end deep/latest
num "has the path" "$(file_size "$T/stdout")" -gt 1024000
ends "restore of 4000 directories" 0 100 chunkstore restore deep/latest "$T/deep"
is "the end of it is there" "$(find "$T/deep" -name end -printf '%d %s')" "4001 7"
ends "find in 100000 directories: not all is read" 3 100 chunkstore find end abyss/latest
like "is too deep" "$(stderr)" "too deep"
ends "find does not hold a page a level" 0 110 chunkstore -s "$T/hedge" find nix hedge/latest
ends "nor does restore" 0 110 chunkstore -s "$T/hedge" restore -n hedge/latest "$T/no"
like "which goes through all" "$(stdout | tail -n 1)" "would restore 561802 entries"
ends "nor does dump" 0 110 sh -c "chunkstore -s '$T/hedge' dump hedge/latest >/dev/null"

# ---- hard links

ends "restore of links that lead anywhere" 3 40 chunkstore restore strays/latest "$T/strays"
is "files of different groups stay files" "$(cat "$T/strays/x1-dir" "$T/strays/a/file")" \
	"linkedof another content"
like "one that leads to a later entry is named" "$(stderr)" "x6-later: .*hard links are wrong"

# ---- those who keep the store

ends "gc finds what it needs" 0 40 chunkstore gc --dry-run
like "all of it" "$(stdout)" "would free 0 B: 0 chunks"
may_end "verify of directories that are all in doubt" 4 140 chunkstore -s "$T/doubt" verify
may_end "verify of hard links 4000 directories down" 4 140 chunkstore -s "$T/rows" verify
collect
if is_long; then
	ends "verify of these ends" 4 140 chunkstore -s "$T/rows" verify
	like "and says what was left out" "$(stdout)" "hard links lead was not looked at"
fi
ends "verify of a chain of directories with many beside" 3 140 chunkstore -s "$T/hedge" verify
ends "verify" 4 140 chunkstore verify
like "names what is wrong" "$(stdout)" "too deep.*hard links"
ends "rebuild" 0 140 chunkstore rebuild
mkdir -p "$T/src/0000/0000" "$T/src/down"
echo same >"$T/src/0000/0000/0001"
truncate -s 1M "$T/src/full" "$T/src/lace" "$T/src/void" "$T/src/x1-dir"
for series in wide links many deep abyss huge strays maze; do
	ends "backup after $series" 0 140 chunkstore backup --series $series --root "$T/src"
	ends "backup --heal" 0 140 chunkstore backup --heal --force --series $series --root "$T/src"
done
ends "a policy" 0 40 chunkstore forget --all-series --keep-last 1
ends "gc that frees them all" 0 40 chunkstore gc --empty-trash
ends "what stays is sound" 0 140 chunkstore verify

done_testing
