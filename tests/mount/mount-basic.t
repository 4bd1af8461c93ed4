#!/bin/bash
# SPDX-License-Identifier: MIT
# A mounted point is the tree that was backed up, for every program that reads it.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1

seed=${CS_TEST_SEED:-1}
treegen "$T/a" --seed "$seed" --files 400 | sed 's/^/# /'
treegen "$T/plain" --seed "$seed" --files 400 --no-deep | sed 's/^/# /'
backup full "$T/a" || fail "backup full"
backup plain "$T/plain" || fail "backup plain"
M=$T/mnt
P=$M/plain/latest

check "mount" mount_store "$M"
check "it answers when chunkfs returns: it is a mount" is_chunkfs "$M"
is "the root lists the series" "$(ls "$M" | grep -v '^by-' | tr '\n' ' ')" "full plain "
is "a series lists its points and latest" "$(ls "$M/plain" | wc -l)" 2
is "latest is a link to the newest" "$(readlink "$M/plain/latest")" "$(latest plain)"
check "a missing name is not there" test ! -e "$M/plain/latest/no such file"
check "asked twice, too" test ! -e "$M/plain/latest/no such file"
check "nor a missing series" test ! -e "$M/nothing"
check "nor a missing point" test ! -e "$M/plain/2001-01-01T00-00-00Z"

check "the tree in the mount is the source, holes and deep paths too" \
	treecmp "$T/a" "$M/full/latest/." --holes
check "again, from the caches" treecmp "$T/a" "$M/full/latest/." --holes
check "diff -r" diff -r --no-dereference -x specials -x fifo -x 'fifo*' -x links -x 'random-*' "$T/plain" "$P/."
is "cat of a large file" "$(cat "$P/sizes/5243003" | sha256sum)" \
	"$(cat "$T/plain/sizes/5243003" | sha256sum)"
is "a read in the middle" "$(tail -c +1000001 "$P/sizes/1048577" | head -c 5000 | sha256sum)" \
	"$(tail -c +1000001 "$T/plain/sizes/1048577" | head -c 5000 | sha256sum)"
is "a read past the end" "$(dd if="$P/sizes/4096" bs=4096 skip=1 2>/dev/null | wc -c)" 0

check "cp -a" cp -a "$P/." "$T/copy"
check "the copy is the source" treecmp "$T/plain" "$T/copy"
run rsync -aHAXn --checksum --delete --itemize-changes "$P/." "$T/plain/"
is "rsync finds no difference" "$status:$(stdout | grep -v '/$' | head -5)" "0:"
run tar -C "$P/." --xattrs --acls --exclude=specials/socket -cf "$T/tar" .
is "tar" $status 0
mkdir "$T/untar"
if is_root; then
	tar -C "$T/untar" --xattrs --xattrs-include='*' --acls -xpf "$T/tar" 2>/dev/null
	# tar knows no sockets, no links to fifos and, in this format, no nanoseconds
	rm -f "$T/plain/specials/socket" {"$T/plain","$T/untar"}/links/{fifo,other/fifo-too}
	check "what tar unpacks is the source" \
		treecmp "$T/plain" "$T/untar" --no-mtime --no-xattrs
fi
is "find sees every entry" "$(find "$P/." -printf '.\n' | wc -l)" "$(jq .entries <<<"$(chunkstore show --json plain)")"
num "du counts blocks" "$(du -s "$P/sizes" | cut -f1)" -gt 5000
is "a hole takes none" "$(stat -c %b "$P/sparse/only-a-hole")" 0
check "df works" df "$M"
num "the root counts its series as links" "$(stat -c %h "$M")" -ge 4
is "getfattr of what is not there is ENODATA" \
	"$(getfattr -n user.nothing "$P/sizes/1" 2>&1 | grep -c 'No such attribute')" 1

check "unmount" unmount_store "$M"
check "the mount point is free again" bash -c "! mountpoint -q '$M'"

check "mount through the tool" chunkstore mount "$M"
check "answers" test -e "$P"
check "umount through the tool" chunkstore umount "$M"
check "with options" chunkstore mount -o point=plain/latest -o noexec,cache=1M "$M"
check "they are chunkfs's" test -e "$M/sizes"
like "and mount(2)'s" "$(grep " $M " /proc/self/mountinfo)" 'noexec'
cd "$M" || fail "cd"
check_status "umount of what is in use fails" 1 chunkstore umount "$M"
check "unless told otherwise" chunkstore umount -z "$M"
cd "$T" || fail "cd"
check "then it is gone" bash -c "! mountpoint -q '$M'"
bg chunkstore -s "$S" mount -f "$M"
check "mount -f stays in front" wait_until 20 test -e "$P"
check "umount" chunkstore umount "$M"
wait $!
is "and ends with it" $? 0

bg chunkfs -f "$S" "$M" 2>"$T/chunkfs.err"
check "-f stays in front" wait_until 20 test -e "$P"
check "and serves" cmp "$T/plain/sizes/128" "$P/sizes/128"
check "unmount" unmount_store "$M"
wait $!
is "it ends with status 0" $? 0
is "and said nothing" "$(cat "$T/chunkfs.err")" ""
done_testing
