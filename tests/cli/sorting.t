#!/bin/bash
# SPDX-License-Identifier: MIT
# Names and hard links that do not fit the memory for sorting are sorted on the store's disk.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

# CS_SORT_BYTES is there for this test: names have 64 KiB even so.
little() { CS_SORT_BYTES=4096 "$@"; }
digest_of() { chunkstore show --json "$1/latest" | jq -r .digest; }

mkbig "$T/tree" 8000                      # one large directory,
mkbig "$T/tree/entry-00001000/below" 8000 # and one inside it
mkdir "$T/tree/links"
(
	cd "$T/tree/links" || exit
	for i in {1..60}; do
		mkdir "$i"
		echo "$i" >"$i/one-$i" # its links are all over
		touch "$i"/file-{1..40}
		cp -al "$i" "linked-$i"
	done
	for i in {1..60}; do
		ln "1/one-1" "$i/of-many"
		ln "$i/one-$i" "$((i % 60 + 1))/two"
	done
)
sleep 0.1 # what is younger than a clock tick when a backup starts is read again by the next

check "a backup that sorts in memory" backup memory "$T/tree"
check "one that sorts on disk" little backup disk "$T/tree"
is "has the same entries" "$(digest_of disk)" "$(digest_of memory)"
num "and the same list of links" "$(backup_json .chunks_new)" -eq 0
is "nothing but the store is in its directory" "$(cd "$S" && echo *)" "data.mdb leases lock.mdb"
check "restore" chunkstore restore -q disk "$T/out"
check "is the same, links and all" treecmp "$T/tree" "$T/out"
check "verify" chunkstore verify

check "again, with nothing changed" little backup disk "$T/tree"
is "reads nothing" "$(backup_json .files_read)" 0
echo x >"$T/tree/entry-00000777b"
rm "$T/tree/links/1/of-many"
check "with one name more and one link less" little backup disk "$T/tree"
check "in memory too" backup memory "$T/tree"
is "has the same entries" "$(digest_of disk)" "$(digest_of memory)"
check "named paths" little chunkstore backup -q --series paths "$T/tree/links/3" "$T/tree/links/4"
is "are found" "$(chunkstore ls "paths/latest:$T/tree/links" | tr '\n' ' ')" "3 4 "

if can_mount_tmpfs; then
	mkdir "$T/disk"
	mount -t tmpfs -o size=8m tmpfs "$T/disk"
	S=$T/disk/store
	export CHUNKSTORE_STORE=$S
	new_store
	head -c 16M /dev/zero >"$T/disk/filler" 2>/dev/null
	truncate -s -256K "$T/disk/filler"
	check_status "without room to sort" 1 little backup disk "$T/tree"
	one_line_error "says what for" "temporary file for sorting: No space left"
	is "and leaves nothing" "$(cd "$S" && echo *)" "data.mdb leases lock.mdb"
	rm "$T/disk/filler"
	check "with room it is done" little backup disk "$T/tree"
else
	skip "without room to sort" "cannot mount a tmpfs"
fi
done_testing
