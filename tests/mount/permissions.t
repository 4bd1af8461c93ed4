#!/bin/bash
# SPDX-License-Identifier: MIT
# Who may read what: with allow_other everyone may do in the mount what he may do in the
# source, access lists included; with owner= an operator may read all; and the store itself
# need not be writable to be read.

# A mount namespace of its own, where /dev/fuse can be made open to all as it mostly is.
if [ "$(id -u)" = 0 ] && [ -z "${IN_NAMESPACE-}" ] && unshare -m true 2>/dev/null; then
	IN_NAMESPACE=1 exec unshare -m "$0" "$@"
fi
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
need_root
need setpriv setfacl setfattr
new_store || exit 1
chmod 755 "$T"
M=$T/mnt
A=$T/a

# as UID:GID[,GID…] COMMAND…
as() {
	local gids=${1#*:}
	setpriv --reuid="${1%%:*}" --regid="${gids%%,*}" --groups="$gids" "${@:2}"
}

# ------------------------------------------------------------ a tree to be refused in

# 1000 owns, 2000 is the files' group; 1001 and 2001 have entries in access lists
make() { # NAME MODE [ACL…]
	mkdir "$A/dir-$1"
	echo inside >"$A/dir-$1/file"
	echo "$1" >"$A/file-$1"
	chown -R 1000:2000 "$A/dir-$1" "$A/file-$1"
	chmod "$2" "$A/dir-$1" "$A/file-$1"
	[ $# = 2 ] || setfacl -m "$3" "$A/dir-$1" "$A/file-$1" 2>/dev/null
}
mkdir "$A"
for mode in 0000 0700 0070 0007 0770 0077 0707 0750 0755 0711 0744 0444 0111 0640 1777 2750 4755; do
	make $mode $mode
done
if setfacl -m u:1001:r "$A/file-0755" 2>/dev/null; then
	make user-may 0700 u:1001:rwx
	make user-may-not 0777 u:1001:---
	make group-may 0700 g:2001:rwx
	make group-may-not 0777 g:2001:---
	make masked 0700 u:1001:rwx,g:2001:rwx,m::---
	make masked-x 0700 u:1001:rwx,g:2001:rwx,m::x
	make other-may-not 0770 u:1001:r-x,g:2001:r,o::---
	# the group bits of the mode are the mask, and so say nothing about the group
	make group-is-masked 0700 u:1001:rwx,g::---,m::rwx
	make both 0700 u:1001:r,u:1002:---,g:2001:r-x,g:2002:---
	make owner-may-not 0077 u:1000:rwx
	make default 0750 d:u:1001:rwx,u:1002:x
else
	skip "access lists" "the source's file system has none"
fi
setfattr -n user.note -v kept "$A/file-0750" || fail "setfattr"
backup a "$A" || fail "backup"
(cd "$A" && find . | sort) >"$T/paths"

# may DIR WHO: what he may do with each path, by asking and by trying
may() {
	as "$2" bash -c 'cd "$1" || exit 1
		while read -r p; do
			can=
			[ -r "$p" ] && can+=r
			[ -x "$p" ] && can+=x
			{ : <"$p"; } 2>/dev/null && can+=" opens"
			[ -e "$p" ] && can+=" stats"
			[ -d "$p" ] && cd "$p" 2>/dev/null && can+=" enters" && cd "$1"
			echo "$p: $can"
		done' bash "$1" <"$T/paths"
}

who="1000:1 1:2000 3:3,2000 1001:1 1002:2001 1:2001 1:1,2001,2000 1:1,2002 1001:2000,2001 77:77 65534:65534 0:0"
mount_store "$M" -o allow_other || fail "mount"
for w in $who; do
	may "$A" "$w" >"$T/may.a"
	may "$M/a/latest/." "$w" >"$T/may.mnt"
	check "uid:gids $w may do in the mount what they may in the source" diff "$T/may.a" "$T/may.mnt"
	sha256sum <"$T/may.mnt" >>"$T/may.sums"
done
num "which is not the same for all" "$(sort -u "$T/may.sums" | wc -l)" -gt 6
run as 77:77 cp -r "$M/a/latest/." "$T/none"
num "an unprivileged cp -r fails" $status -gt 0
check_not "device nodes of the mount do not work (nodev)" \
	bash -c "grep ' $M ' /proc/self/mountinfo | grep -qv nodev"
unmount "$M" || fail "unmount"

mount_store "$M" || fail "mount"
for w in 1000:1 77:77; do
	check_not "without allow_other $w does not even see the root" as "$w" ls "$M"
done
check "root does" ls "$M/a/latest/dir-0000"
unmount "$M" || fail "unmount"

# ------------------------------------------------------------ owner=: an operator restores

mount_store "$M" -o allow_other,owner=5555:6666 || fail "mount"
is "owner= shows one owner" "$(find "$M/a/latest/" -printf '%U:%G\n' | sort -u)" 5555:6666
as 5555:6666 bash -c 'cd "$1" && while read -r p; do
		if [ -d "$p" ]; then ls "$p" >/dev/null 2>&1 && cd "$p" && cd "$1"; else : <"$p"; fi 2>/dev/null ||
			echo "$p"
	done' bash "$M/a/latest/." <"$T/paths" >"$T/unreadable"
is "the operator reads everything, whatever its mode" \
	"$(wc -l <"$T/unreadable") unreadable: $(head -n 20 "$T/unreadable" | tr '\n' ' ')" "0 unreadable: "
install -d -o 5555 -g 6666 "$T/operator"
run as 5555:6666 cp -r "$M/a/latest/." "$T/operator/copy"
is "and cp -r brings all of it" "$status:$(find "$T/operator/copy" 2>/dev/null | wc -l)" "0:$(wc -l <"$T/paths")"
check_not "another user does not" as 77:77 cat "$M/a/latest/file-0700"
shown() { (cd "$M/a/latest/." && stat -c '%n %a' "$@" | tr '\n' ' '); }
is "r is added for the owner, and x where anybody has it" \
	"$(shown file-0000 file-0077 file-0070 file-0640 file-0111 file-0755)" \
	"file-0000 400 file-0077 577 file-0070 570 file-0640 640 file-0111 511 file-0755 755 "
is "r and x for directories" "$(shown dir-0000 dir-0640 dir-0700)" "dir-0000 500 dir-0640 740 dir-0700 700 "
is "files lose the set-ID bits, as by chown" "$(shown file-4755 file-2750 file-1777 dir-4755 dir-2750)" \
	"file-4755 755 file-2750 750 file-1777 1777 dir-4755 4755 dir-2750 2750 "
is "no access lists are shown" "$(getfattr -d -m - -R "$M/a/latest/" 2>&1 | grep -c posix_acl)" 0
is "which are there" "$(getfattr -d -m - -R "$A" 2>&1 | grep -c posix_acl)" "$(chunkstore dump a | grep -o posix_acl | wc -l)"
is "other attributes are shown" "$(getfattr --absolute-names --only-values -n user.note "$M/a/latest/file-0750" 2>&1)" kept
unmount "$M" || fail "unmount"

# ------------------------------------------------------------ a store that is only readable

# readable WHAT STORE WHO: as that user read all of it with the tool and in a mount
readable() {
	local want mnt=$T/mnt-user
	want=$(as_root_sum)
	check "$1: list" as "$3" chunkstore -s "$2" list
	rm -rf "$T/restored" && install -d -o "${3%%:*}" "$T/restored"
	check "$1: restore" as "$3" chunkstore -s "$2" restore -q b "$T/restored/b"
	is "$1: all is restored" "$(sum_of "$T/restored/b")" "$want"
	if [ -n "$no_user_mounts" ]; then
		skip "$1: mount" "$no_user_mounts"
		return
	fi
	install -d -o "${3%%:*}" "$mnt"
	run as "$3" chunkfs "$2" "$mnt"
	is "$1: mounts" "$status$(stderr)" 0
	is "$1: and all is read" "$(as "$3" bash -c "$(declare -f sum_of); sum_of '$mnt/b/latest/'" 2>&1)" "$want"
	if mounted "$mnt"; then as "$3" fusermount3 -u "$mnt" || umount "$mnt"; fi
}
sum_of() { (cd "$1" && find . -type f -print0 | sort -z | xargs -0 sha256sum | sha256sum); }
as_root_sum() { sum_of "$T/b"; }

treegen "$T/b" --seed 7 --files 60 --plain --no-deep | sed 's/^/# /'
# fusermount3 wants a user who has a name
R=$(id -u nobody):4343
chown -Rh "$R" "$T/b" && chmod -R u+rX "$T/b"
backup b "$T/b" || fail "backup"
is "the store is its owner's alone at first" "$(stat -c %a "$S" "$S"/data.mdb)" "700
600"
no_user_mounts=
if ! have fusermount3 || [ ! -u "$(command -v fusermount3)" ]; then
	no_user_mounts="no fusermount3 with the setuid bit"
elif ! as "$R" bash -c ': <>/dev/fuse' 2>/dev/null; then
	mknod -m 666 "$T/fuse" c 10 229 && [ -n "${IN_NAMESPACE-}" ] && mount --bind "$T/fuse" /dev/fuse
	as "$R" bash -c ': <>/dev/fuse' 2>/dev/null || no_user_mounts="/dev/fuse is not for users"
fi
check_not "nobody else can use it" as "$R" chunkstore -s "$S" list
one_line_error "in a line that says why" "[Pp]ermission denied"
is "even its lock files are private" "$(stat -c %a "$S"/lock.mdb "$S"/leases | tr '\n' ' ')" "600 600 "

# An existing store is shared by chgrp and chmod; its owner's next command does the rest.
chgrp 4343 "$S" "$S"/data.mdb
chmod g+rx "$S"
chmod g+r "$S"/data.mdb
modes() { stat -c '%n %a %g' "$1" "$1"/* | sed "s|^$1/*||" | tr '\n' ';'; }
check "the owner's next command" chunkstore list
is "shares the locks as well" "$(modes "$S")" " 750 4343;data.mdb 640 4343;leases 640 4343;lock.mdb 660 4343;"
readable "a member of the store's group" "$S" "$R"
readable "a member by another group" "$S" "${R%:*}:1,4343"
is "the readers leave nothing in the store" "$(find "$S" ! -user 0)" ""
check_not "who is not a member gets nothing" as 65534:77 chunkstore -s "$S" list

before=$(sha256sum <"$S/data.mdb")
for c in "backup --series b --root $T/b" "forget b" gc; do
	# shellcheck disable=SC2086
	check_status "a member cannot ${c%% *}" 1 as "$R" chunkstore -s "$S" $c
	one_line_error "in a line that says why" "may read it, but not change it"
done
is "and nothing is changed" "$(sha256sum <"$S/data.mdb")" "$before"

# Lock files are made anew when they are lost, and are the group's again.
rm "$S/lock.mdb" "$S/leases"
check_not "without its lock files a store is nothing to a member" as "$R" chunkstore -s "$S" list
check "the owner makes a point" backup b "$T/b"
is "and with it the lock files" "$(modes "$S")" " 750 4343;data.mdb 640 4343;leases 640 4343;lock.mdb 660 4343;"
check "which a member can use" as "$R" chunkstore -s "$S" list
rm "$S/lock.mdb"
mount_store "$M" && unmount_store "$M"
is "mounting makes them as well" "$(modes "$S")" " 750 4343;data.mdb 640 4343;leases 640 4343;lock.mdb 660 4343;"
(umask 077; chunkstore -s "$T/shared" init --group 4343) || fail "init --group"
is "init --group shares a store" "$(modes "$T/shared")" \
	" 2750 4343;data.mdb 640 4343;leases 640 4343;lock.mdb 660 4343;"
chunkstore -s "$T/shared" backup -q --series b --root "$T/b" || fail "backup"
check "a member lists it" as "$R" chunkstore -s "$T/shared" list
is "and reads it" "$(as "$R" chunkstore -s "$T/shared" ls b | wc -l)" "$(find "$T/b" -mindepth 1 -maxdepth 1 | wc -l)"
check_status "a group that does not exist" 2 chunkstore -s "$T/other" init --group no-such-group
check "makes nothing" test ! -e "$T/other"

# While he has it mounted, its owner goes on backing up, and sees the reader as in use.
install -d -o "${R%:*}" "$T/mnt-user"
mkfifo "$T/go"
if [ -n "$no_user_mounts" ]; then
	skip "the owner makes a point meanwhile" "$no_user_mounts"
elif as "$R" chunkfs "$S" "$T/mnt-user" 2>/dev/null; then
	echo new >"$T/b/new"
	check "the owner makes a point meanwhile" backup b "$T/b"
	is "the reader sees it at once" "$(as "$R" cat "$T/mnt-user/b/latest/new")" new
	name=$(latest b)
	as "$R" bash -c 'exec 7<"$1/new"; echo open; read -r; cat <&7' bash "$T/mnt-user/b/$name" \
		<"$T/go" >"$T/read" &
	exec 8>"$T/go"
	wait_until 20 grep -q open "$T/read" || fail "the reader opens a file"
	rm "$T/b/new"
	check "what the reader has open can be forgotten" chunkstore forget "b/$name"
	check "gc beside the reader" chunkstore gc
	is "knows of him" "$(chunkstore stats --json | jq -r '.users[].does')" mount
	echo >&8
	exec 8>&-
	wait $!
	is "who reads on" "$(tail -n 1 "$T/read")" new
	as "$R" fusermount3 -u "$T/mnt-user"
	check "gc" wait_until 20 chunkstore gc
else
	fail "the owner makes a point meanwhile" "a member of the store's group cannot mount it"
fi

# ------------------------------------------------------------ read-only media

# medium NAME COMMAND…: the command puts a read-only copy of the store on $T/NAME
medium() {
	mkdir "$T/$1"
	if ! "${@:2}" >"$T/medium.out" 2>&1; then
		skip "a store on $1" "$(tail -n 1 "$T/medium.out")"
		return
	fi
	check_not "$1 is read-only" touch "$T/$1/x"
	run chunkfs "$T/$1/store" "$M"
	is "a store on $1 can be mounted" "$status$(stderr)" 0
	is "and is read" "$(sum_of "$M/b/latest/")" "$(as_root_sum)"
	unmount "$M"
	check "list of a store on $1" chunkstore -s "$T/$1/store" list
	check "restore from a store on $1" chunkstore -s "$T/$1/store" restore -q b "$T/$1.restored"
	check "verify a store on $1" chunkstore -s "$T/$1/store" verify
	run chunkstore -s "$T/$1/store" backup --series b --root "$T/b"
	is "a backup to $1 is refused" "$status" 1
	one_line_error "in a line that says why" "[Rr]ead-only"
	run chunkstore -s "$T/$1/store" gc
	is "gc of $1 is refused" "$status" 1
	one_line_error "in a line that says why" "[Rr]ead-only"
	umount "$T/$1"
}
on_ext4() {
	have mkfs.ext4 && truncate -s 64M "$T/ext4.img" && mkfs.ext4 -q -F "$T/ext4.img" &&
		mount -o loop "$T/ext4.img" "$T/ext4" && cp -a "$S" "$T/ext4/store" &&
		umount "$T/ext4" && mount -o loop,ro "$T/ext4.img" "$T/ext4"
}
on_squashfs() {
	have mksquashfs && mkdir "$T/for-squash" && cp -a "$S" "$T/for-squash/store" &&
		rm -f "$T/for-squash/store/lock.mdb" "$T/for-squash/store/leases" &&
		mksquashfs "$T/for-squash" "$T/squash.img" -no-progress &&
		mount -t squashfs -o loop "$T/squash.img" "$T/squashfs"
}
bound() {
	mkdir "$T/for-bind" && cp -a "$S" "$T/for-bind/store" &&
		mount --bind "$T/for-bind" "$T/bind" && mount -o remount,bind,ro "$T/bind"
}
medium ext4 on_ext4
medium squashfs on_squashfs
medium bind bound
done_testing
