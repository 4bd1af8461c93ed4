#!/bin/bash
# SPDX-License-Identifier: MIT
# Extended attributes: many of one file cost no more than as many of many files, large ones come
# back whole, and a mount of one point without any is spared the questions.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
need getfattr setfattr
new_store || exit 1
M=$T/mnt

# asked MOUNT-OPTION WHAT COMMAND…: how often the kernel asked for that while the command ran
asked() {
	local pid count
	mkdir -p "$M"
	chunkfs -d ${1:+-o "$1"} "$S" "$M" >"$T/debug" 2>&1 &
	pid=$!
	test_pids+=("$pid")
	wait_until 20 is_chunkfs "$M" || { echo "no mount: $(tail -n 3 "$T/debug")"; return; }
	"${@:3}" >"$T/asked.out" 2>&1
	unmount "$M"
	wait_until 20 is_gone $pid || kill $pid
	count=$(grep -cE "opcode: $2 " "$T/debug")
	echo "$count"
}

# ------------------------------------------------------------ a point without attributes

mkdir "$T/without" "$T/with"
for i in $(seq 50); do echo "$i" >"$T/without/$i"; done
cp -a "$T/without/." "$T/with"
if ! setfattr -n user.one -v 1 "$T/with/50" 2>/dev/null; then
	skip_all "the file system of $T has no extended attributes"
fi
backup without "$T/without" || fail "backup"
backup with "$T/with" || fail "backup"
look() { getfattr -d -m - "$M/$1"* && getfacl "$M/$1"* && ls -l "$M/$1" && cp -a "$M/$1." "$T/copy" && rm -r "$T/copy"; }
num "a point alone that has none is asked for attributes once" \
	"$(asked point=without/latest GETXATTR look "")" -le 1
num "and once for their list" "$(asked point=without/latest LISTXATTR look "")" -le 1
num "one that has some is asked" "$(asked point=with/latest LISTXATTR look "")" -ge 50
like "and answers" "$(cat "$T/asked.out")" 'user.one="1"'
num "a mount of all points is asked" "$(asked "" LISTXATTR look without/latest/)" -ge 50
asked "" LISTXATTR look with/latest/ >"$T/count"
num "for each file" "$(cat "$T/count")" -ge 50
like "and answers" "$(cat "$T/asked.out")" 'user.one="1"'

# ------------------------------------------------------------ many

if ! is_root || ! have mkfs.xfs; then
	skip "thousands of attributes of one file" "needs root and xfs"
	done_testing
fi
mkdir "$T/xfs"
truncate -s 400M "$T/img"
if ! { mkfs.xfs -q -f "$T/img" && mount -o loop "$T/img" "$T/xfs"; } 2>"$T/mkfs.err"; then
	skip "thousands of attributes of one file" "$(tail -n 1 "$T/mkfs.err")"
	done_testing
fi
mkdir "$T/xfs/many"
# one file with 2400, and as many over 240 files; every other value is a chunk of its own
short=$(printf 'v%.0s' $(seq 20))
long=$(printf 'v%.0s' $(seq 400))
restore_from() { (cd "$T/xfs" && setfattr --restore="$1"); }
for i in $(seq 2400); do
	v=$short
	[ $((i % 2)) = 0 ] || v=$long
	[ "$i" != 1 ] || echo "# file: one" >"$T/one"
	echo "user.attribute$i=\"$i$v\"" >>"$T/one"
	[ $((i % 10)) != 1 ] || { : >"$T/xfs/many/$i"; printf '\n# file: many/%s\n' "$i" >>"$T/many"; }
	echo "user.attribute$i=\"$i$v\"" >>"$T/many"
done
: >"$T/xfs/one"
restore_from "$T/one" && restore_from "$T/many" || fail "setfattr"
head -c 65536 /dev/urandom >"$T/value"
: >"$T/xfs/large"
for name in one two; do
	setfattr -n "user.$name" -v "0s$(base64 -w0 <"$T/value")" "$T/xfs/large" 2>/dev/null || fail "a large attribute"
done
setfattr -n user.empty "$T/xfs/large"
backup xfs "$T/xfs" || fail "backup"
mount_store "$M" || fail "mount"
P=$M/xfs/latest
took() { # COMMAND…: its time in ms, the best of three
	local start ms best=
	for _ in 1 2 3; do
		start=$(date +%s%N)
		"$@" >"$T/took.out" 2>&1
		ms=$((($(date +%s%N) - start) / 1000000))
		[ -n "$best" ] && [ "$best" -le $ms ] || best=$ms
	done
	echo "$best"
}
getfattr -R -d -m - "$P/many" >/dev/null 2>&1 # decodes what both need
many=$(took getfattr -R -d -m - "$P/many")
one=$(took getfattr -d -m - "$P/one")
diag "2400 attributes of one file: $one ms; of 240 files: $many ms"
num "2400 attributes of one file take no longer than those of 240 files" "$one" -le $((2 * many + 50))
is "and are right" "$(getfattr --absolute-names -d -m - "$P/one" | sed 1d | sort | sha256sum)" \
	"$(getfattr --absolute-names -d -m - "$T/xfs/one" | sed 1d | sort | sha256sum)"
is "a value of 64 KiB" "$(getfattr --absolute-names --only-values -n user.two "$P/large" | sha256sum)" "$(sha256sum <"$T/value")"
is "an empty value" "$(getfattr --absolute-names -n user.empty "$P/large" | sed 1d | tr -d '\n')" 'user.empty=""'
like "one that is not there" "$(getfattr -n user.none "$P/one" 2>&1)" "No such attribute"
pids=()
for i in 1 2 3 4; do
	getfattr --absolute-names -R -d -m - "$P/." | sed "s|^# file: .*latest/||" >"$T/all.$i" &
	pids+=($!)
done
wait "${pids[@]}"
is "four readers at once read the same" "$(sha256sum "$T"/all.? | cut -d' ' -f1 | sort -u | wc -l)" 1
is "which is all of it" "$(grep -c '^user' "$T/all.1")" 4803
unmount "$M" || fail "unmount"
umount "$T/xfs"
done_testing
