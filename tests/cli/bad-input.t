#!/bin/bash
# SPDX-License-Identifier: MIT
# Wrong paths, wrong options, foreign and newer stores, read-only media.
. "$(dirname "$0")/../lib/harness.sh"

mkdir "$T/src"
echo one >"$T/src/file"
commands=("list" "show s" "ls s" "cat s:f" "find x" "diff s t" "stats" "dump s" "verify" "gc"
	"forget s/latest" "undelete s/x" "config" "config trash 1d" "list --trash"
	"forget --all-series --keep-last 1" "restore s $T/dest" "backup --series s --root $T/src")

for c in "${commands[@]}"; do
	read -ra words <<<"$c"
	check_status "${words[0]}: a store that is not there" 1 chunkstore -s "$T/nothing" "${words[@]}"
	one_line_error "${words[0]}: names it" "$T/nothing"
done
check "none of them made it" test ! -e "$T/nothing"
check "nor a destination" test ! -e "$T/dest"

mkdir "$T/dir"
echo x >"$T/dir/file"
check_status "a directory that is no store" 1 chunkstore -s "$T/dir" list
one_line_error "is called that" "$T/dir"
check_status "a backup to it" 1 chunkstore -s "$T/dir" backup --series s --root "$T/src"
is "changes nothing in it" "$(ls -A "$T/dir")" file
check_status "a file that is no store" 1 chunkstore -s "$T/dir/file" list
one_line_error "is called that" "$T/dir/file"

mkdir "$T/junk"
head -c 65536 /dev/urandom >"$T/junk/data.mdb"
check_status "a store file of random bytes" 1 chunkstore -s "$T/junk" list
one_line_error "is one clear line" "$T/junk"
: >"$T/junk/data.mdb"
check_status "an empty store file" 1 chunkstore -s "$T/junk" list
is "which stays empty" "$(file_size "$T/junk/data.mdb")" 0

new_store || exit 1
backup s "$T/src" || fail "backup"
# The version is the number after the magic in the header record.
cp -a "$S" "$T/newer"
LC_ALL=C grep -abo chunkstr "$T/newer/data.mdb" | cut -d: -f1 | while read -r at; do
	printf '\x63' | dd of="$T/newer/data.mdb" bs=1 seek=$((at + 8)) conv=notrunc 2>/dev/null
done
check_status "a newer format" 1 chunkstore -s "$T/newer" list
one_line_error "is named" "99|newer|version"
check_status "a backup to a newer format" 1 chunkstore -s "$T/newer" backup --series s --root "$T/src"

head -c 20000 "$S/data.mdb" >"$T/short.mdb"
mkdir "$T/short"
mv "$T/short.mdb" "$T/short/data.mdb"
check_not "a store cut short fails" chunkstore -s "$T/short" verify

mkdir "$T/empty"
check "an empty source" backup empty "$T/empty"
is "is a point with one entry" "$(backup_json .entries)" 1
check "that comes back" chunkstore restore empty "$T/empty-out"
check "as it was" treecmp "$T/empty" "$T/empty-out"

check_status "an unknown command" 2 chunkstore frobnicate
check_status "no command" 2 chunkstore
check_status "an unknown option" 2 chunkstore list --frobnicate
check_status "an option without its value" 2 chunkstore backup --series
check_status "a point too many" 2 chunkstore show a b
check_status "nothing to back up" 2 chunkstore backup --series s
check_status "--root and a path" 2 chunkstore backup --series s --root "$T/src" "$T/src"
for level in fast 0 20 -1 '' 3x none3; do
	check_status "compression '$level'" 2 chunkstore backup --series s --root "$T/src" \
		--compression "$level"
done
check_status "a number that is none" 2 chunkstore forget --series s --keep-last many
check_status "a point that is not there" 1 chunkstore show s/2001-01-01T00-00-00Z
one_line_error "is named" 2001
check_status "a series that is not there" 1 chunkstore ls nosuch
check_status "forget of a point that is not there" 1 chunkstore forget s/2001-01-01T00-00-00Z
check_status "an id prefix that is too short or nobody's" 1 chunkstore show ffff0000ffff
is "after all that one series and one point each" "$(points)" 2

# ------------------------------------------------------------ read-only media
if is_root && can_mount_tmpfs; then
	mkdir "$T/ro"
	mount --bind "$S" "$T/ro" && mount -o remount,bind,ro "$T/ro"
	S_RW=$S S=$T/ro
	export CHUNKSTORE_STORE=$S
	check "list on read-only media" chunkstore list
	is "shows the points" "$(points)" 2
	check "show" chunkstore show s
	check "ls" chunkstore ls s
	is "cat" "$(chunkstore cat s:file)" one
	check "verify" chunkstore verify
	check "restore" chunkstore restore s "$T/from-ro"
	check_status "a backup to it is refused" 1 chunkstore backup --series s --root "$T/src"
	one_line_error "in one line" "read-only|Read-only"
	check_status "so is forget" 1 chunkstore forget s/latest
	check_status "and undelete" 1 chunkstore undelete s/latest
	check_status "and a new setting" 1 chunkstore config trash 1d
	check "list --trash" chunkstore list --trash
	check "what a policy would do" chunkstore forget -n --all-series --keep-last 1
	check_status "and gc" 1 chunkstore gc
	umount "$T/ro"

	# The same with nothing but the data file, as on a burnt disk.
	mkdir "$T/disc"
	mount -t tmpfs tmpfs "$T/disc"
	cp "$S_RW/data.mdb" "$T/disc/"
	mount -o remount,ro "$T/disc"
	check "list without a lock file on read-only media" chunkstore -s "$T/disc" list
	is "cat" "$(chunkstore -s "$T/disc" cat s:file)" one
	umount "$T/disc"
else
	skip "read-only media" "needs root and mount"
fi
# What LMDB would believe: both of its meta pages say it.
# meta WHAT OFFSET BYTES: in a copy of the store, at that offset of pages 0 and 1
meta() {
	rm -rf "$T/meta"
	cp -a "${S_RW-$S}" "$T/meta"
	local page
	for page in 0 4096; do
		printf '%b' "$3" | dd of="$T/meta/data.mdb" bs=1 seek=$((page + $2)) conv=notrunc 2>/dev/null
	done
	check_status "a file with $1 is refused" 1 chunkstore -s "$T/meta" list
	one_line_error "in words" 'data.mdb is no LMDB file that can be opened'
	check_status "for writing, too" 1 chunkstore -s "$T/meta" gc
}
meta "another magic" 16 '\x00'
meta "the other byte order" 16 '\xbe\xef\xc0\xde'
meta "another version" 20 '\x09'
meta "pages of 3 bytes" 40 '\x03\x00\x00\x00'
meta "pages of 2 GB" 40 '\x00\x00\x00\x80'
meta "2^60 pages" 136 '\xff\xff\xff\xff\xff\xff\xff\x0f'
meta "a tree 40 000 deep" 94 '\x40\x9c'
meta "a root behind the last page" 128 '\xff\xff\xff\x00'
meta "a root in the meta pages" 128 '\x01\x00\x00\x00\x00\x00\x00\x00'
meta "free pages behind the last page" 80 '\xff\xff\xff\x00'

done_testing
