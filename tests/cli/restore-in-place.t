#!/bin/bash
# SPDX-License-Identifier: MIT
# Large files changed in place: only what differs is written, holes are holes, and nothing is
# touched that has another name or is something else.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1
mkdir "$T/src"
img=$T/src/img

head -c 12M /dev/urandom >"$img"
truncate -s 40M "$img"
printf tail | dd of="$img" bs=1 seek=39M conv=notrunc status=none
chmod 4755 "$img"
touch -d 2020-02-02 "$img"
backup s "$T/src" || exit 1

fresh() { rm -rf "$T/dst"; cp -a --sparse=always "$T/src" "$T/dst"; }
in_place() { chunkstore restore --in-place --json s "$T/dst"; }
poke() { printf "$3" | dd of="$1" bs=1 seek="$2" conv=notrunc status=none; }

fresh
poke "$T/dst/img" 5000 "x"
poke "$T/dst/img" 11M "y"
inode=$(stat -c %i "$T/dst/img")
check "two bytes differ" in_place
is "two blocks are written" "$(json '[.patched,.bytes_written]|join(" ")')" "1 8192"
is "into the same file" "$(stat -c %i "$T/dst/img")" "$inode"
check "which is the same then" treecmp "$T/src" "$T/dst"
check "nothing differs" in_place
is "nothing is written" "$(json '[.patched,.bytes_written,.unchanged]|join(" ")')" "0 0 2"

fresh
head -c 1M /dev/zero | tr '\0' z | dd of="$T/dst/img" bs=1M seek=20 conv=notrunc status=none
check "data where a hole was" in_place
is "nothing is written" "$(json .bytes_written)" 0
check "the hole is there again" treecmp "$T/src" "$T/dst" --holes

fresh
truncate -s 3M "$T/dst/img"
check "a file that was cut" in_place
is "gets what is missing" "$(json .bytes_written)" "$(((9 << 20) + 4096))"
check "and is the same" treecmp "$T/src" "$T/dst"
fresh
head -c 5M /dev/urandom >>"$T/dst/img"
check "a file that grew" in_place
is "loses it" "$(json '[.patched,.bytes_written]|join(" ")')" "1 0"
check "and is the same" treecmp "$T/src" "$T/dst"

fresh
poke "$T/dst/img" 5000 "x"
check "if-changed goes with it" chunkstore restore --in-place --overwrite if-changed --json s "$T/dst"
is "and writes as little" "$(json .bytes_written)" 4096
check "the same" treecmp "$T/src" "$T/dst"

# what has another name is replaced
fresh
poke "$T/dst/img" 5000 "x"
ln "$T/dst/img" "$T/other"
cp "$T/other" "$T/other-copy"
check "a hard link" in_place
is "is replaced" "$(json '[.patched,.replaced]|join(" ")')" "0 1"
check "its other name stays as it was" cmp "$T/other" "$T/other-copy"
check "the file is right" cmp "$img" "$T/dst/img"

# a symbolic link is never written through
fresh
echo precious >"$T/outside"
ln -sfn "$T/outside" "$T/dst/img"
check "a symbolic link" in_place
is "what it leads to is left alone" "$(cat "$T/outside")" precious
check "the link is replaced" cmp "$img" "$T/dst/img"
ln -sfn "$T/outside" "$T/link"
check "also DEST itself" chunkstore restore -q --in-place s:img "$T/link"
is "what it leads to is left alone" "$(cat "$T/outside")" precious

# never another one's rights over a mixture
if have strace && ! is_sanitized; then
	fresh
	poke "$T/dst/img" 5000 "x"
	check "in place, watched" strace -f -e trace=fchmod,pwrite64,fchown -o "$T/trace" \
		chunkstore restore -q --in-place s "$T/dst"
	is "set-user-ID goes before the first write and comes last" \
		"$(grep -oE 'fchmod\([0-9]+, [0-7]+|pwrite64' "$T/trace" | sed 's/(.*, /(/' | uniq | tr '\n' ' ')" \
		"fchmod(0755 pwrite64 fchmod(04755 "
fi

# a block device
if is_root && have losetup && truncate -s 48M "$T/disk" && loop=$(losetup -f --show "$T/disk" 2>/dev/null); then
	check "onto a device" chunkstore restore --in-place --json s:img "$loop"
	check "the content is there" cmp -n "$((40 << 20))" "$img" "$loop"
	poke "$loop" 30M "dirt"
	poke "$loop" 44M "behind"
	sync
	check "once more" chunkstore restore --in-place --json s:img "$loop"
	is "writes the one block" "$(json .bytes_written)" 4096
	is "and leaves what is behind" "$(dd if="$loop" bs=1 skip=44M count=6 status=none)" behind
	check_status "only when it is asked for" 1 chunkstore restore s:img "$loop"
	truncate -s 8M "$T/disk"
	losetup -c "$loop"
	check_status "a device that is too small" 1 chunkstore restore --in-place s:img "$loop"
	one_line_error "is told" "smaller"
	losetup -d "$loop"
else
	skip "a block device" "no loop devices"
fi
done_testing
