#!/bin/bash
# SPDX-License-Identifier: MIT
# Every ordinary program reads in the mount what it reads in the source.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1
M=$T/mnt
A=$T/a

treegen "$A" --seed 81 --files 200 --plain --no-deep | sed 's/^/# /'
mkdir "$A/text"
for i in $(seq 30); do seq "$i" "$((i * 700))" >"$A/text/$i"; done
head -c 9000000 /dev/urandom >"$A/large"
truncate -s 20M "$A/holes" && echo middle | dd of="$A/holes" bs=1M seek=9 conv=notrunc status=none
if have git; then
	export HOME=$T GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null GIT_OPTIONAL_LOCKS=0
	export GIT_AUTHOR_NAME=a GIT_AUTHOR_EMAIL=a@b GIT_COMMITTER_NAME=a GIT_COMMITTER_EMAIL=a@b
	(
		git init -q "$A/repo" && cd "$A/repo" && cp -r ../text . && git add . &&
			git commit -qm one && echo changed >text/1 && git commit -qam two && git gc -q &&
			echo changed again >text/2 && rm text/3 && echo new >untracked && git add text/2
	) || fail "a git repository"
fi
for i in 1 2 3; do backup s "$A" || fail "backup"; done
mount_store "$M" || fail "mount"
P=$M/s/latest/.

# alike DESCRIPTION COMMAND…: says the same, run in the source and in the mount
alike() {
	local what=$1 want
	shift
	want=$(cd "$A" && "$@" 2>&1 | sha256sum; exit "${PIPESTATUS[0]}")
	local code=$?
	(cd "$P" && "$@") >"$T/got" 2>&1
	is "$what" "$? $(sha256sum <"$T/got")" "$code $want"
}
sh_() { bash -c "set -o pipefail; $1"; }

# Sizes of directories are a file system's own affair.
alike "find" sh_ 'find . -printf "%p %y %m %U %G %T@ %n %l\n" | sort'
alike "find -type by d_type alone" sh_ 'find . -type f | sort'
alike "find -newer" sh_ 'find . -newermt 2010-01-01 | sort'
alike "find -size, -empty" sh_ 'find . -type f \( -size +100k -o -empty \) | sort'
alike "ls -lR" sh_ 'ls -lnR --time-style=full-iso | tr -s " " | sed "/^total/d; /^d/s/^\([^ ]* [^ ]* [^ ]* [^ ]*\) [0-9]*/\1/"'
alike "grep -r" sh_ 'grep -ra 4711 text | sort'
alike "grep -r of what is not there" grep -rq 'no such text at all' text sizes
alike "tar" tar --sort=name --format=gnu --exclude=./specials/socket -cf - .
alike "tar of sparse files" tar --sort=name --format=gnu -S -cf - sparse holes
alike "du of files" sh_ 'find . -type f -print0 | du --apparent-size --files0-from=- -c -b -l | tail -n 1'
alike "wc" sh_ 'wc text/* sizes/* | sort'
alike "cpio-like reading in random order" sh_ 'find . -type f | sort -R --random-source=large | xargs -d "\n" sha256sum | sort'
alike "file sizes by stat -L through symlinks" sh_ 'find links -xtype f ! -name long ! -name self -exec stat -L -c "%n %s" {} + | sort'
alike "cksum of a large file" cksum large holes
check "diff -r" diff -r --no-dereference -x specials -x 'fifo*' -x random-\* "$A" "$P"
check "cmp of a large file" cmp "$A/large" "$P/large"
check "comm, join and sort" cmp <(sort -n "$A/text/29") <(sort -n "$P/text/29")
check "cp -r" cp -r --preserve=timestamps,links "$P/text" "$T/text"
check "is the same" diff -r "$A/text" "$T/text"
check "gzip" bash -c "gzip -c '$P/text/30' | gunzip | cmp - '$A/text/30'"
if have git; then
	alike "git status" git -C repo status --porcelain --branch
	alike "git log -p" git -C repo log -p --format=%H
	alike "git diff" git -C repo diff
	alike "git diff --cached" git -C repo diff --cached
	alike "git fsck" git -C repo fsck --full --strict
	alike "git grep" git -C repo grep -c 700
	check "git clone" git clone -q "$P/repo" "$T/clone"
	is "gives the same commit" "$(git -C "$T/clone" rev-parse HEAD)" "$(git -C "$A/repo" rev-parse HEAD)"
else
	skip "git" "there is no git"
fi
if [ -x /bin/true ]; then
	mkdir "$T/b" && cp /bin/true /bin/ls "$T/b"
	printf '#!/bin/sh\necho "it runs"\n' >"$T/b/script" && chmod 755 "$T/b/script"
	backup b "$T/b" || fail "backup"
	check "a program can be run from the mount" "$M/b/latest/true"
	is "and a script" "$("$M/b/latest/script")" "it runs"
fi

# ------------------------------------------------------------ each way to read a file

# Fresh caches for each: another point of the three, a remount when those are used up.
used=0
fresh() {
	used=$((used % 3 + 1))
	if [ $used = 1 ]; then
		unmount "$M"
		mount_store "$M" || fail "mount"
	fi
	P=$(find "$M/s" -maxdepth 1 -name '20*' | sort | sed -n ${used}p)
}
files=(large holes sizes/0 sizes/1 sizes/4097 sizes/131073 sizes/1048575 sizes/5243003 sparse/odd-end sparse/many-islands)
for how in read read-odd mmap mmap-populate sendfile splice copy_file_range backwards preadv direct; do
	fresh
	bad=
	for f in "${files[@]}"; do
		readby $how "$P/$f" >"$T/out" 2>"$T/err"
		code=$?
		[ $code != 77 ] || break
		[ $code = 0 ] && cmp -s "$A/$f" "$T/out" || bad+="$f (status $code $(cat "$T/err")) "
	done
	if [ $code = 77 ]; then skip "$how" "$(cat "$T/err")"; else is "$how" "$bad" ""; fi
done
fresh
bad=0
for how in mmap sendfile splice read backwards mmap-populate; do
	readby $how "$P/large" 2>&1 | cmp -s - "$A/large" || exit 1 &
	pids+=($!)
done
for pid in "${pids[@]}"; do wait "$pid" || bad=$((bad + 1)); done
is "six ways at once of one file" $bad 0
unmount "$M" || fail "unmount"

# ------------------------------------------------------------ directories of every size

counts=(0 1 2 3 100 1500 20000)
D=$T/dirs
mkdir "$D"
if can_mount_tmpfs && ! is_sanitized; then # where a large one is made quickly
	mount -t tmpfs -o mode=755,nr_inodes=1m tmpfs "$D" && counts+=(300000)
fi
for n in "${counts[@]}"; do mkbig "$D/$n" "$n"; done
check "backup of large directories" backup d "$D"
mount_store "$M" || fail "mount"
for n in "${counts[@]}"; do # two readers from the first moment, nothing in the caches
	dirwalk "$M/d/latest/$n" "$n" >"$T/walk.1" 2>&1 &
	one=$!
	two=
	[ "$n" -gt 100000 ] || { dirwalk "$M/d/latest/$n" "$n" >"$T/walk.2" 2>&1 & two=$!; }
	wait $one
	is "a directory of $n entries" "$? $(cat "$T/walk.1")" "0 "
	[ -n "$two" ] || continue # it has several processes of its own
	wait "$two"
	is "the same, the other reader" "$? $(cat "$T/walk.2")" "0 "
done
check "the series' directory" dirwalk "$M/s" 4
check "the root" dirwalk "$M" "$(find "$M" -mindepth 1 -maxdepth 1 | wc -l)"
check "by-id" dirwalk "$M/by-id" "$(points)"
unmount "$M" || fail "unmount"
! mounted "$D" || umount "$D"
done_testing
