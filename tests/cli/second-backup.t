#!/bin/bash
# SPDX-License-Identifier: MIT
# A later backup of a series opens only what is new or changed.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

treegen "$T/a" --seed 3 --files 300 | sed 's/^/# /'
files=$(find "$T/a" -type f -size +0 | wc -l)
sleep 0.1 # see below
check "first backup" backup s "$T/a"
num "reads every file" "$(backup_json .files_read)" -ge "$((files / 2))"
digest=$(backup_json .digest)

check "second backup of the same tree" backup s "$T/a"
is "opens no file" "$(backup_json .files_read)" 0
is "has the same digest" "$(backup_json .digest)" "$digest"
is "adds nothing" "$(backup_json .chunks_new)" 0
num "takes over all entries" "$(backup_json .entries_reused)" -gt 300

if have strace; then
	# a leak checker cannot work under a tracer
	ASAN_OPTIONS=$ASAN_OPTIONS:detect_leaks=0 \
		strace -f -o "$T/trace" -e trace=open,openat,openat2 \
		chunkstore backup -q -S s --root "$T/a" 2>/dev/null
	is "nor does the kernel see one opened" \
		"$(grep -c '"1048577"' "$T/trace")" 0
else
	skip "nor does the kernel see one opened" "no strace"
fi

# What changed within a clock tick of a backup's start is read again by the next one. Here
# that would hide what is counted, so each change gets a tick of its own.
change() { # what, expected files read
	sleep 0.1
	check "backup after $1" backup s "$T/a"
	is "$1: files read" "$(backup_json .files_read)" "$2"
	chmod -R u+rwx "$T/out" 2>/dev/null
	rm -rf "$T/out"
	check "restore after $1" chunkstore restore s "$T/out"
	check "$1: the same tree" treecmp "$T/a" "$T/out"
}

echo more >>"$T/a/sizes/4096"
change "a file grew" 1

echo new >"$T/a/a new file"
change "a file is new" 1

rm "$T/a/sizes/4097"
change "a file was removed" 0

touch -d '2020-02-02 02:02:02' "$T/a/sizes/65536"
change "a file was touched" 1

# Same size, same mtime, other content: only the ctime tells.
touch -r "$T/a/sizes/131073" "$T/mtime"
printf 'X' | dd of="$T/a/sizes/131073" bs=1 seek=70000 conv=notrunc 2>/dev/null
touch -r "$T/mtime" "$T/a/sizes/131073"
change "content changed behind a restored mtime" 1

mv "$T/a/sizes" "$T/a/sizes-renamed"
check "backup after a rename" backup s "$T/a"
is "stores no content again" "$(backup_json '.added_stored < 20000')" true
chmod -R u+rwx "$T/out" 2>/dev/null
rm -rf "$T/out"
check "restore after a rename" chunkstore restore s "$T/out"
check "rename: the same tree" treecmp "$T/a" "$T/out"

# A file replaced by another of the same size and times: another inode.
cp -p "$T/a/sizes-renamed/32768" "$T/a/sizes-renamed/other"
head -c 32768 /dev/urandom >"$T/a/sizes-renamed/other"
touch -r "$T/a/sizes-renamed/32768" "$T/a/sizes-renamed/other"
mv "$T/a/sizes-renamed/other" "$T/a/sizes-renamed/32768"
change "a file was replaced" 1

chmod 0641 "$T/a/sizes-renamed/1"
check "backup after chmod" backup s "$T/a"
check "restore" chunkstore restore "s:sizes-renamed/1" "$T/one"
is "chmod alone is noticed" "$(stat -c %a "$T/one")" 641

check "--force reads again" backup s "$T/a" --force
num "every file" "$(backup_json .files_read)" -ge "$((files / 2))"
is "and stores none of them twice" "$(backup_json '.added_stored < 60000')" true

check "another series starts afresh" backup t "$T/a"
num "and reads every file" "$(backup_json .files_read)" -ge "$((files / 2))"
is "but stores none of them twice" "$(backup_json '.added_stored < 20000')" true
check "verify" chunkstore verify
done_testing
