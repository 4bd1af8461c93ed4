#!/bin/bash
# SPDX-License-Identifier: MIT
# Nothing lost: a tree with one of everything comes back from the mount attribute for
# attribute, for whoever reads it: stat, cp -a, rsync, tar, casync, and from restore.
#
# No one file system has everything (ext4: no project ids without quotas in the kernel,
# few attributes a file; xfs: no long symlinks; tmpfs: no sync flag, but any time), so the
# tree is made on each that this machine can mount. What none of them takes is skipped.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse

M=$T/mnt
made_on=()

# ------------------------------------------------------------ the file systems

# make_fs NAME: mounted on $T/NAME, or 1
make_fs() {
	local dir=$T/$1 img=$T/$1.img
	mkdir "$dir"
	case $1 in
	plain) return 0 ;;
	tmpfs) is_root && mount -t tmpfs -o mode=755,size=300m,noatime tmpfs "$dir" ;;
	ext4)
		is_root && have mkfs.ext4 && truncate -s 512M "$img" || return 1
		# project ids need quotas in the kernel, which is known when it mounts
		for features in project,ea_inode ea_inode; do
			mkfs.ext4 -q -F -I 512 -O $features "$img" &&
				mount -o loop,noatime "$img" "$dir" && return 0
		done
		return 1
		;;
	xfs)
		is_root && have mkfs.xfs && truncate -s 512M "$img" || return 1
		mkfs.xfs -q -f "$img" && # and let it not keep what it allocates ahead of a writer
			mount -o loop,noatime,allocsize=64k "$img" "$dir"
		;;
	esac
}

# ------------------------------------------------------------ comparing

# all_of DIR: its attributes; of a symlink's access time every look takes one away, unless
# the file system is mounted noatime
all_of() {
	if is_root; then
		attrs "$1"
	else
		attrs "$1" | awk -F '\t' '$2 == "type" { type = $3 } !(type == "l" && $2 == "atime")'
	fi
}
# as_copied: the source's attributes as a copy has them, where links from outside do not count
as_copied() {
	awk -F '\t' -v OFS='\t' '$2 == "type" { type = $3 }
		$2 == "nlink" && type != "d" { next }
		$2 == "inside" { $2 = "nlink" }
		{ print }'
}
# without KEY…: lines of other keys; "xattr" is one key
without() {
	awk -F '\t' -v keys=" $* " '{ split($2, k, " ") } !index(keys, " " k[1] " ")'
}
# as_tarred: no sockets, and links of regular files and symlinks only
as_tarred() {
	awk -F '\t' '$2 == "type" { type = $3 }
		type == "s" || ((type == "p" || type == "b" || type == "c") && ($2 == "group" || $2 == "nlink")) { next }
		{ print }'
}

# same WHO WANTED GOT: one check for each directory of the tree
same() {
	local who=$1 item
	sort "$2" >"$T/wanted"
	sort "$3" >"$T/got"
	diff "$T/wanted" "$T/got" | grep '^[<>]' >"$T/diff"
	for item in $(sed 's|[/	].*||' "$T/wanted" | sort -u); do
		grep -F -e "< $item/" -e "> $item/" -e "< $item	" -e "> $item	" "$T/diff" |
			grep -E "^[<>] ${item//./\\.}[/	]" >"$T/diff.item"
		[ "$item" = . ] && item="the root"
		is "$who: $item" "$(head -n 20 "$T/diff.item")" ""
	done
}

# blocks_are_honest TEXT: each file occupies what is not a hole, in pages
blocks_are_honest() {
	awk -F '\t' '$2 == "type" { type = $3 }
		$2 == "blocks" { blocks = $3 }
		$2 == "segs" && type == "-" {
			want = 0
			n = split($3, seg, " ")
			for (i = 1; i <= n; i++) {
				split(seg[i], e, "-")
				want += int((e[2] + 4095) / 4096) * 8 - int(e[1] / 4096) * 8
			}
			if (want != blocks)
				print $1 ": " blocks " blocks, " want " in " $3
		}' "$1"
}

# same_du WHO DIR: a file system also counts the blocks of its own lists of extents
same_du() {
	local want got
	want=$(du -sk "$SRC/sparse" | cut -f1)
	got=$(du -sk "$2" | cut -f1)
	if [ "$got" -le $((want + 64)) ] && [ "$got" -ge $((want - 64)) ]; then
		pass "$1: du of sparse files"
	else
		fail "$1: du of sparse files" "$got KiB, the source has $want"
	fi
}

# ------------------------------------------------------------ the readers

copy_cp() { cp -a "$1/." "$2"; }
# Without the window a directory made in the same second counts as having the right time.
copy_rsync() { rsync -aHAX --modify-window=-1 "$1/" "$2/"; }
copy_tar() {
	local how=(--acls --xattrs --xattrs-include='*' --selinux --numeric-owner -S)
	mkdir "$2"
	tar -C "$1" "${how[@]}" --format=posix -cf - . 2>"$T/tar.err" |
		tar -C "$2" "${how[@]}" --warning=no-timestamp -xpf - 2>>"$T/tar.err"
	local statuses="${PIPESTATUS[*]}"
	grep -v 'socket ignored' "$T/tar.err" >&2
	[ "$statuses" = "0 0" ]
}

look_at_mount() { # fs
	all_of "$P/." >"$T/$1.mount" 2>&1
	same "$1, mount" <(without blocks <"$T/$1.src") <(without blocks <"$T/$1.mount")
	is "$1, mount: blocks are what is not a hole" "$(blocks_are_honest "$T/$1.mount" | head)" ""
	all_of "$P/." >"$T/$1.again"
	check "$1, mount: the same from the caches" cmp "$T/$1.mount" "$T/$1.again"
	same_du "$1, mount" "$P/sparse"
	is "$1, mount: du --apparent-size" "$(du -s --apparent-size "$P/contents/3145729" | cut -f1)" \
		"$(du -s --apparent-size "$SRC/contents/3145729" | cut -f1)"
	if have lsattr; then
		(cd "$SRC" && lsattr -Ra flags 2>&1 | sort) >"$T/lsattr.src"
		(cd "$P/." && lsattr -Ra flags 2>&1 | sort) >"$T/lsattr.mnt"
		check "$1, mount: lsattr" cmp "$T/lsattr.src" "$T/lsattr.mnt"
		(cd "$SRC" && lsattr -p flags 2>&1 | sort) >"$T/lsattr.src"
		(cd "$P/." && lsattr -p flags 2>&1 | sort) >"$T/lsattr.mnt"
		check "$1, mount: lsattr -p" cmp "$T/lsattr.src" "$T/lsattr.mnt"
	fi
	(cd "$SRC" && find acls | sort | getfacl -n - 2>&1) >"$T/acl.src"
	(cd "$P/." && find acls | sort | getfacl -n - 2>&1) >"$T/acl.mnt"
	check "$1, mount: getfacl" cmp "$T/acl.src" "$T/acl.mnt"
}

# What the tools lose by themselves: cp, rsync and tar carry no ctime and no chattr flags,
# rsync (without -S, -U) neither holes nor access times, tar no sockets, access times, and
# links between devices or fifos.
copies() { # fs
	local who lost dest want
	for who in cp restore $([ "$1" = tmpfs ] || echo rsync tar); do
		dest=$T/$1/$who
		case $who in
		restore) run chunkstore restore -q "$1" "$dest" ;;
		*) run "copy_$who" "$P" "$dest" ;;
		esac
		is "$1, $who: status" "$status $(stderr)" "0 "
		all_of "$dest" >"$T/$1.$who"
		want=$T/$1.want
		case $who in
		cp) lost="ctime blocks flags xflags projid" ;;
		rsync) lost="ctime blocks flags xflags projid segs atime" ;;
		tar) lost="ctime blocks flags xflags projid atime" ;;
		restore) lost="ctime blocks" ;;
		esac
		# shellcheck disable=SC2086
		as_copied <"$T/$1.src" | without $lost inside | { [ $who = tar ] && as_tarred || cat; } >"$want"
		# shellcheck disable=SC2086
		without $lost inside <"$T/$1.$who" | { [ $who = tar ] && as_tarred || cat; } >"$T/$1.got"
		same "$1, $who" "$want" "$T/$1.got"
		[ $who = rsync ] || same_du "$1, $who" "$dest/sparse"
	done
}

second_opinions() { # fs
	local way
	for way in "$SRC/ $P/." "$P/ $SRC/."; do
		# shellcheck disable=SC2086
		run rsync -aHAXn --modify-window=-1 --checksum --delete --itemize-changes $way
		is "$1: rsync -aHAXn --checksum --delete is silent" "$status $(stdout)$(stderr)" "0 "
	done
	if ! have casync; then
		skip "$1: casync digest of source and mount agree" "there is no casync"
		return
	fi
	local item how=(--exclude-nodump=no --exclude-file=no) want
	for item in "$SRC"/*; do
		item=${item##*/}
		run casync digest "${how[@]}" "$SRC/$item"
		want=$(stdout)
		if [ $status != 0 ]; then
			# it takes 65535, 16 bits of ones, for "no user"
			skip "$1: casync digest agrees: $item" "casync cannot: $(stderr)"
			continue
		fi
		run casync digest "${how[@]}" "$P/$item"
		is "$1: casync digest agrees: $item" "$(stdout)$(stderr)" "$want"
	done
}

# What the mount cannot show: birth times; and what a source did not say is no zero.
records() { # fs
	local born
	born=$(stat -c %W "$SRC/contents/4096")
	is "$1: the birth time is recorded" \
		"$(chunkstore dump "$1:contents/4096" | cut -d' ' -f11 | cut -d. -f1)" "$([ "$born" = 0 ] && echo - || echo "$born")"
	# fuse knows no birth times
	check "$1: a backup of the mount" backup "$1-again" "$P"
	is "$1: its birth times are unknown, not 0" \
		"$(chunkstore dump "$1-again" | cut -d' ' -f11 | sort -u)" "-"
	is "$1: so are the flags of what has none" "$(chunkstore dump "$1-again" |
		awk '$1 != "f" && $1 != "d" { print $15, $16 }' | sort -u)" "- -"
	all_of "$M/$1-again/latest/." >"$T/again"
	check "$1: and else it is the same again" cmp "$T/$1.mount" "$T/again"
}

# ------------------------------------------------------------ the runs

filesystems=(ext4 xfs tmpfs)
is_root || { filesystems=(plain); diag "SKIPPED in part: without root no owners, devices, …"; }
: >"$T/can"
: >"$T/cannot"
new_store || exit 1
for fs in "${filesystems[@]}"; do
	make_fs "$fs" >"$T/mkfs.out" 2>&1 || { diag "there is no $fs here: $(tail -n1 "$T/mkfs.out")"; continue; }
	SRC=$T/$fs/source
	run nasty "$SRC" "$T/$fs/outside"
	is "$fs: the source is made" $status 0
	grep ^can "$T/stdout" | tee >(sed -n 's/^can //p' >>"$T/can") |
		sed -n "s/^cannot //p" | sed "s/$/ ($fs)/" >>"$T/cannot"
	all_of "$SRC" >"$T/$fs.src"
	is "$fs: nothing in it is out of reach" "$(grep -F "	error	" "$T/$fs.src")" ""
	check "$fs: backup" backup "$fs" "$SRC"
	made_on+=("$fs")
done
is_root && [ ${#made_on[@]} = 0 ] && skip_all "no file system can be mounted"

check "mount" mount_store "$M"
for fs in "${made_on[@]}"; do
	SRC=$T/$fs/source
	P=$M/$fs/$(latest "$fs")
	look_at_mount "$fs"
	copies "$fs"
	[ "$fs" = tmpfs ] || second_opinions "$fs"
	records "$fs"
	is_root || continue # it is not mounted noatime then
	all_of "$SRC" >"$T/$fs.after"
	check "$fs: nobody has touched the source meanwhile" cmp "$T/$fs.src" "$T/$fs.after"
done

# Several points copied at once keep apart, though most of their files are the same.
SRC=$T/${made_on[0]}/source/links
kept() { as_copied | without ctime inside blocks flags xflags projid segs atime | as_tarred | sort; }
for i in 1 2 3; do
	echo "$i" >"$SRC/changes"
	check "one of several points" backup several "$SRC"
	all_of "$SRC" | kept >"$T/several.$i"
done
for who in cp rsync tar; do
	dest=$T/${made_on[0]}/several-$who
	run "copy_$who" "$M/several" "$dest"
	is "$who of a series" "$status $(stderr)" "0 "
	all_of "$dest" >"$T/several.got"
	is "$who of a series: no file is linked with one of another point" "$(awk -F '\t' \
		'$2 == "group" { split($1, a, "/"); split($3, b, "/"); if (a[1] != b[1]) print }' \
		"$T/several.got" | head)" ""
	i=0
	for point in $(chunkstore list --json several | jq -r '.[].name'); do
		i=$((i + 1))
		all_of "$dest/$point" | kept >"$T/several.got"
		check "$who of a series: point $i is what it was" diff "$T/several.$i" "$T/several.got"
	done
	is "$who of a series: latest is a link" "$(readlink "$dest/latest")" "$point"
done
check "unmount" unmount "$M"
check "mount with one point as the root" mount_store "$M" -o "point=${made_on[0]}/latest"
all_of "$M" >"$T/single"
check "it has the same attributes" cmp "$T/single" "$T/${made_on[0]}.mount"
check "unmount" unmount "$M"

cut -d: -f1 "$T/cannot" | sort -u | while read -r item; do
	grep -qxF "$item" "$T/can" || echo "$item"
done >"$T/nowhere"
while read -r item; do
	diag "SKIPPED: $item: $(grep -F "$item:" "$T/cannot" | sed "s/^$item: //" | tr '\n' ' ')"
	skip "kept: $item" "no file system here takes it"
done <"$T/nowhere"

for fs in "${made_on[@]}"; do
	if is_root; then umount "$T/$fs"; fi
done
done_testing
