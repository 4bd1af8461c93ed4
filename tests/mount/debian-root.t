#!/bin/bash
# SPDX-License-Identifier: MIT
# A real root file system: Debian as debootstrap makes it, backed up, and restored by cp -a.
# Only in make test-long: it fetches some 40 MB from the mirror that apt is configured for.
. "$(dirname "$0")/../lib/harness.sh"
is_long || skip_all "only in make test-long"
need_fuse
need_root
need debootstrap chroot rsync

mirror=$(sed -n 's/^URIs: *\([^ ]*\).*/\1/p; s/^deb \(\[[^]]*\] \)\?\([^ ]*\) .*/\2/p' \
	/etc/apt/sources.list.d/debian.sources /etc/apt/sources.list 2>/dev/null | grep -m 1 debian)
suite=$(. /etc/os-release && echo "${VERSION_CODENAME-}")
[ -n "$mirror" ] && [ -n "$suite" ] || skip_all "apt is configured for no Debian mirror"
for scheme in http https; do
	proxy=$(apt-config dump --format '%v' "Acquire::$scheme::Proxy" 2>/dev/null)
	[ -z "$proxy" ] || export "${scheme}_proxy=$proxy"
done

A=$T/root
debootstrap --variant=minbase "$suite" "$A" "$mirror" >"$T/debootstrap.out" 2>&1 ||
	skip_all "debootstrap of $suite from $mirror: $(tail -n 1 "$T/debootstrap.out")"
# What minbase has none of: a capability, an access list, a sparse log, an immutable file.
setfacl -m u:nobody:r "$A/etc/hostname"
setcap cap_net_raw+ep "$A/bin/ls" 2>/dev/null
truncate -s 10M "$A/var/log/lastlog"
num "entries of the root file system" "$(find "$A" -xdev | wc -l)" -gt 3000

# Reading a symlink moves its access time once a day; let that be over.
attrs "$A" >"$T/source.attrs"
new_store || exit 1
M=$T/mnt
check "backup" backup root "$A" -x
check "backup again" backup root "$A" -x
is "reads nothing" "$(backup_json .files_read)" 0
mount_store "$M" || fail "mount"
P=$M/root/latest/.
attrs "$A" >"$T/source.attrs"
attrs "$P" >"$T/mount.attrs"
keys() { grep -vP "\t($1)\t" | sort; }
is "the mount is the source, attribute for attribute" "$(diff <(keys blocks <"$T/source.attrs") \
	<(keys blocks <"$T/mount.attrs") | head -n 20)" ""
check "a second witness" treecmp "$A" "$P" --holes
check "cp -a" cp -a "$P" "$T/copy"
attrs "$T/copy" >"$T/copy.attrs"
is "the copy is the source" "$(diff <(keys 'blocks|ctime|flags|xflags|projid' <"$T/source.attrs") \
	<(keys 'blocks|ctime|flags|xflags|projid' <"$T/copy.attrs") | head -n 20)" ""
run rsync -aHAXn --checksum --delete --itemize-changes "$A/" "$P"
is "rsync finds no difference" "$status $(stdout)$(stderr)" "0 "
check "restore" chunkstore restore -q root "$T/restored"
attrs "$T/restored" >"$T/restored.attrs"
# less the flag by which ext4 says that a directory has an index
no_index() { sed -E 's/(	flags	[0-9a-f]*)1(...)$/\10\2/'; }
is "what is restored is the source" "$(diff <(keys 'blocks|ctime' <"$T/source.attrs" | no_index) \
	<(keys 'blocks|ctime' <"$T/restored.attrs" | no_index) | head -n 20)" ""
for d in "$P" "$T/copy" "$T/restored"; do
	run chroot "$d" dpkg --verify
	is "dpkg --verify in ${d#"$T"/} finds every file right" "$status $(stdout)$(stderr)" "0 "
done
run chroot "$T/copy" perl -e 'print "runs\n"'
is "programs of the copy run" "$(stdout)" runs

# A day in its life: the next point has what changed, and the first stays what it was.
chroot "$T/copy" dpkg --purge --force-all tzdata >/dev/null 2>&1
check "backup after a package was purged" backup root "$T/copy" -x
num "most is shared" "$(backup_json .added_raw)" -lt "$(($(du -sb "$A" | cut -f1) / 4))"
check "it is what is there now" treecmp "$T/copy" "$M/root/latest/." --holes
first=$(chunkstore list --json root | jq -r '.[0].name')
check "and the first point is what was there" treecmp "$A" "$M/root/$first/." --holes
check "verify" chunkstore verify
unmount "$M" || fail "unmount"
done_testing
