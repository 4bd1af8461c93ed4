#!/bin/bash
# SPDX-License-Identifier: MIT
# Restoring into what is there: what is overwritten, kept, deleted, and told beforehand.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

src=$T/src dst=$T/dst
old=2020-02-02T02:02:02.123456789Z

make_source() {
	mkdir -p "$src/d/sub" "$src/swap-dir"
	echo same >"$src/same"
	echo new content >"$src/changed"
	echo bigger >"$src/d/size"
	echo touched >"$src/touched"
	echo mode >"$src/d/mode"
	echo deep >"$src/d/sub/deep"
	echo in-swap >"$src/swap-dir/file"
	echo file >"$src/swap-file"
	echo link >"$src/link1"
	ln "$src/link1" "$src/d/link2"
	ln -s target "$src/symlink"
	mkfifo "$src/fifo"
	setfattr -n user.mark -v one "$src/same" 2>/dev/null
	find "$src" -exec touch -h -d $old {} +
}
make_dest() {
	rm -rf "$dst"
	cp -a "$src" "$dst"
	echo old content >"$dst/changed"       # the same size, another time
	echo small >"$dst/d/size"; echo x >>"$dst/d/size"
	touch "$dst/touched"                   # only the time
	chmod 600 "$dst/d/mode"                # only the mode
	rm "$dst/d/sub/deep"                   # not there
	echo extra >"$dst/extra"
	mkdir -p "$dst/d/extra-dir/below"
	echo extra >"$dst/d/extra-dir/below/x"
	ln -sfn elsewhere "$dst/symlink"
}
# all that can be seen of a tree, but for times of access and change
state() { (cd "$1" && find . -printf '%p %y %m %U %G %n %T@ %l ' \( -type f -exec md5sum {} \; -o -printf '\n' \) | sort); }
restore() { chunkstore restore "$@"; }

make_source
backup s "$src" || exit 1

# ---- refused unless it is asked for
make_dest
state "$dst" >"$T/before"
check_status "a DEST that is not empty is refused" 1 restore s "$dst"
one_line_error "in one line that names the way" "overwrite"
is "and left alone" "$(state "$dst")" "$(cat "$T/before")"
check_status "--delete needs --overwrite" 2 restore --delete s "$dst"
check_status "and not never" 2 restore --delete --overwrite never s "$dst"
check_status "WHEN is one of four words" 2 restore --overwrite sometimes s "$dst"

make_dest
run restore --overwrite always -v s "$dst"
like "-v lists what is done" "$(stdout)" 'replace +changed'
like "to each that it is done to" "$(stdout)" 'create +d/sub/deep'

# ---- always
for when in always if-changed; do
	make_dest
	inode=$(stat -c %i "$dst/same") ino2=$(stat -c %i "$dst/touched")
	state "$dst" >"$T/before"
	check "$when: dry run" restore --overwrite $when --dry-run --json s "$dst"
	cp "$T/stdout" "$T/dry"
	is "$when: it changes nothing" "$(state "$dst")" "$(cat "$T/before")"
	check "$when" restore --overwrite $when -v --json s "$dst"
	is "$when: what was foretold" \
		"$(json '[.changes[]|.action+" "+.path]|sort|join(",")')" \
		"$(jq -r '[.changes[]|.action+" "+.path]|sort|join(",")' "$T/dry")"
	is "$when: and the counts" \
		"$(json '[.created,.replaced,.patched,.updated,.unchanged,.kept,.deleted,.entries]|join(" ")')" \
		"$(jq -r '[.created,.replaced,.patched,.updated,.unchanged,.kept,.deleted,.entries]|join(" ")' "$T/dry")"
	is "$when: what became of the files" "$(json '[.changes[]|select(.path|test("^(changed|d/size|touched|d/mode|d/sub/deep|symlink|same)$"))|.action+" "+.path]|sort|join(",")')" \
		"create d/sub/deep,replace changed,replace d/size,replace symlink,update d/mode,update touched"
	is "$when: what is the same was not written" "$(stat -c %i "$dst/same")" "$inode"
	is "$when: nor was what only needed its time" "$(stat -c %i "$dst/touched")" "$ino2"
	is "$when: extra files stay" "$(cat "$dst/extra" "$dst/d/extra-dir/below/x")" $'extra\nextra'
	rm -r "$dst/extra" "$dst/d/extra-dir"
	touch -d $old "$dst" "$dst/d"
	check "$when: else it is the same" treecmp "$src" "$dst"
	check "$when: once more" restore --overwrite $when --json s "$dst"
	is "$when: finds all unchanged" "$(json '[.created,.replaced,.updated,.bytes_written]|join(" ")')" "0 0 0 0"
	is "$when: no temporary names stay" "$(find "$dst" -name '.chunkstore*')" ""
done

# the same size and time, another content: only always looks
make_dest
echo samE >"$dst/same"
touch -d $old "$dst/same"
check "if-changed trusts size and time" restore -q --overwrite if-changed s "$dst"
is "so that it does not see this" "$(cat "$dst/same")" samE
check "always does not" restore -q --overwrite always s "$dst"
is "and sees it" "$(cat "$dst/same")" same

# ---- never, if-newer
make_dest
state "$dst" >"$T/before"
check "never" restore --overwrite never --json s "$dst"
is "creates what is missing only" "$(json '[.created,.replaced,.updated,.patched,.deleted]|join(" ")')" "1 0 0 0 0"
is "which is there" "$(cat "$dst/d/sub/deep")" deep
rm "$dst/d/sub/deep"
is "all else is as it was, but for times of directories" \
	"$(state "$dst" | grep -v ' d ')" "$(grep -v ' d ' "$T/before")"

make_dest
touch -d 2030-01-01 "$dst/changed"
touch -d 2010-01-01 "$dst/d/size"
check "if-newer" restore -q --overwrite if-newer s "$dst"
is "keeps what is newer there" "$(cat "$dst/changed")" "old content"
is "replaces what is older" "$(cat "$dst/d/size")" bigger

# ---- delete
make_dest
mkdir "$dst/cache"
echo precious >"$dst/cache/x"
check "delete: dry run" restore --overwrite always --delete --exclude cache -n s "$dst"
like "tells" "$(stdout)" $'delete  d/extra-dir/below/x\n'
check "delete" restore --overwrite always --delete --exclude cache --json s "$dst"
is "counts" "$(json .deleted)" 4
is "what is excluded stays" "$(cat "$dst/cache/x")" precious
rm -r "$dst/cache"
touch -d $old "$dst"
check "all else is the same" treecmp "$src" "$dst"

# excluded is also neither restored nor changed
make_dest
echo mine >"$dst/changed"
check "exclude" restore -q --overwrite always --delete --exclude changed --exclude /d/sub s "$dst"
is "by name: not changed" "$(cat "$dst/changed")" mine
check "by path: not restored" test ! -e "$dst/d/sub/deep"
check "exclude without a DEST" restore -q --exclude 'd*' s "$T/part"
check "leaves it out" test ! -e "$T/part/d" -a -e "$T/part/same"

# ---- a file where a directory should be, and the other way round
make_swapped() {
	make_dest
	rm -r "$dst/swap-dir" "$dst/swap-file"
	echo precious >"$dst/swap-dir"
	mkdir -p "$dst/swap-file/sub"
	echo precious >"$dst/swap-file/sub/x"
}
make_swapped
check_status "types that differ: not without --delete" 3 restore --overwrite always s "$dst"
like "the file is named" "$(stderr)" "swap-file: .*--delete"
like "the directory is named" "$(stderr)" "swap-dir: .*--delete"
is "and left alone" "$(cat "$dst/swap-dir" "$dst/swap-file/sub/x")" $'precious\nprecious'
is "the rest went on" "$(cat "$dst/changed" "$dst/touched")" $'new content\ntouched'
make_swapped
check "with --delete" restore --overwrite always --delete s "$dst"
check "they are replaced" treecmp "$src" "$dst"
# Deeper than PATH_MAX, and than the descriptors of a process.
python3 - "$dst" 1500 <<'END' || fail "a deep directory"
import os, sys
at = os.open(sys.argv[1], os.O_RDONLY)
for i in range(int(sys.argv[2])):
    name = "a-name-of-some-length-%d" % (i % 7)
    os.mkdir(name, dir_fd=at)
    below = os.open(name, os.O_RDONLY, dir_fd=at)
    if i % 50 == 0:
        os.close(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=below))
    os.close(at)
    at = below
os.mkdir("cache", dir_fd=at)
END
check_status "a deep directory with something that must stay" 0 \
	bash -c "ulimit -n 200; chunkstore restore -q --overwrite always --delete --exclude cache s '$dst'"
is "stays, but nothing beside the way to it" \
	"$(find "$dst/a-name-of-some-length-0" -type f | wc -l) $(find "$dst/a-name-of-some-length-0" -type d | wc -l)" "0 1501"
check_status "else it goes" 0 bash -c "ulimit -n 200; chunkstore restore --overwrite always --delete s '$dst'"
check "all of it" test ! -e "$dst/a-name-of-some-length-0"
make_swapped
check_status "excluded below it: stays" 3 restore --overwrite always --delete --exclude x s "$dst"
is "with what it has" "$(cat "$dst/swap-file/sub/x")" precious

# ---- hard links
make_dest
rm "$dst/d/link2"; echo other >"$dst/d/link2"
ln "$dst/changed" "$T/outside"
ln "$dst/d/mode" "$T/outside-mode"
check "hard links" restore --overwrite always s "$dst"
is "the group is one file again" "$(stat -c %h "$dst/link1")" 2
check "with both names" test "$dst/link1" -ef "$dst/d/link2"
is "a name outside keeps its content" "$(cat "$T/outside")" "old content"
is "and its mode" "$(stat -c %a "$T/outside-mode")" 600
is "inside it is right" "$(cat "$dst/changed") $(stat -c %a "$dst/d/mode")" "new content 644"
make_dest
rm "$dst/link1" "$dst/d/link2"
echo fore >"$dst/d/link2" # the first one of the two, of the same length
check "a kept file is not linked to" restore -q --overwrite never s "$dst"
is "the other member has its content" "$(cat "$dst/d/link2" "$dst/link1")" $'fore\nlink'

# ---- a single file
echo mine >"$T/one"
check_status "a file that is there is refused" 1 restore s:changed "$T/one"
check "and replaced when asked" restore -q --overwrite always s:changed "$T/one"
is "by the content" "$(cat "$T/one")" "new content"
check_status "never by a directory's loss" 1 restore --overwrite always --delete s:changed "$dst"
check_status "nor a file's by a directory" 1 restore --overwrite always --delete s:d "$T/one"
is "the file stays" "$(cat "$T/one")" "new content"
check "nothing temporary is left beside it" test -z "$(find "$T" -maxdepth 1 -name '.chunkstore*')"

# ---- the store itself
check_status "not into the store" 2 restore --overwrite always s "$S"
mkdir "$S/sub"
check_status "nor below it" 2 restore s "$S/sub"
rmdir "$S/sub"
mkdir -p "$T/world/keep"
mv "$S" "$T/world/keep/vault"
check "the store below DEST" restore -q -s "$T/world/keep/vault" --overwrite always --delete s "$T/world"
check "is not deleted" test -e "$T/world/keep/vault/data.mdb"
check "but all else" test ! -e "$T/world/extra" -a -e "$T/world/changed"
mv "$T/world/keep/vault" "$S"

# ---- a dry run of a DEST that is not there
check "dry run without a DEST" restore -n s "$T/none"
is "lists all" "$(grep -c '^create' "$T/stdout")" "$(find "$src" | wc -l)"
check "and makes nothing" test ! -e "$T/none" -a ! -e "$T/none.partial"

# ---- other file systems
if can_mount_tmpfs; then
	make_dest
	mkdir "$dst/mnt" "$dst/d/size.d"
	mount -t tmpfs tmpfs "$dst/mnt"
	echo precious >"$dst/mnt/x"
	check "delete does not cross" restore -q --overwrite always --delete s "$dst"
	is "what is mounted stays" "$(cat "$dst/mnt/x")" precious
	umount "$dst/mnt"
	mount -t tmpfs tmpfs "$dst/d/sub"
	check "a restore does" restore -q --overwrite always s "$dst"
	is "what is in the point is there" "$(cat "$dst/d/sub/deep")" deep
	is "nothing temporary" "$(find "$dst" -name '.chunkstore*')" ""
	umount "$dst/d/sub"
else
	skip "other file systems" "tmpfs cannot be mounted"
fi

# ---- extended attributes that are too much
make_dest
if setfattr -n user.extra -v x "$dst/same" 2>/dev/null; then
	check "extended attributes" restore -q --overwrite if-changed s "$dst"
	is "that were not recorded go" "$(getfattr --absolute-names -d "$dst/same" | grep -c extra)" 0
fi
done_testing
