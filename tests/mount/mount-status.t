#!/bin/bash
# SPDX-License-Identifier: MIT
# A mount tells of itself in an attribute of its root that no list names.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
need getfattr setfattr
new_store || exit 1
M=$T/mnt

mkdir "$T/with" "$T/without"
echo one >"$T/with/file"
echo one >"$T/without/file"
setfattr -n user.one -v 1 "$T/with/file" 2>/dev/null || skip_all "the file system of $T has no extended attributes"
backup with "$T/with" || fail "backup"
name=$(latest with)
backup without "$T/without" || fail "backup"

told() { getfattr -n user.chunkfs.status --only-values "$M"; }
# field NAME: what the status says of it; the lines below it with it
field() { told 2>/dev/null | awk -v f="$1" 'substr($0, 1, 13) ~ "^" f " *$" { on = 1; print substr($0, 14); next }
	on && /^ / { print substr($0, 14); next } { on = 0 }'; }
# points_held: without the number of references, which the kernel's caches decide
points_held() { field holds | sed 's/: [1-9][0-9]* references*$//' | tr '\n' ';'; }

mount_store "$M" || exit 1
check "the root of a mount has a status" told
is "the store" "$(field store)" "$S"
like "the process" "$(field process)" "^$(daemon_of "$M"), since 20[0-9][0-9]-.*Z$"
is "what it shows" "$(field shows)" "all points"
is "that nobody is in a point" "$(points_held)" "0 points;"
exec 7<"$M/with/latest/file"
is "that somebody is in one" "$(points_held)" "1 point;with/$name;"
is "as stats says" "$(chunkstore stats --json | jq -c '[.users[] | select(.does == "mount") | .points]')" "[1]"
cat <&7 >/dev/null
num "what was decoded" "$(field bundles | sed 's/.* \([0-9]*\) decoded/\1/')" -ge 0
like "the limit" "$(field 'cache limit')" '^67108864 bytes$'
before=$(field requests)
stat "$M/with/nothing" "$M/without/nothing" 2>/dev/null
num "requests are counted" "$(field requests | grep -o '^[0-9]*')" -gt "${before%% *}"

# The point is forgotten while it is used, and then not used any more.
chunkstore forget --purge with/latest >/dev/null
like "a forgotten point is held" "$(points_held)" "1 point;point number [0-9]+, forgotten;"
like "the change was shown" "$(field changes)" "^[1-9]"
exec 7<&-
wait_until 20 eval '[ "$(points_held)" = "0 points;" ]'
is "until nobody is in it" "$(points_held)" "0 points;"

# Nobody sees it by the way.
is "it is in no list" "$(getfattr -d -m - "$M" 2>&1)" ""
check "a copy" cp -a "$M/without/latest/." "$T/copy"
check_not "only the root has it" getfattr -n user.chunkfs.status "$M/without"
check_not "nor has a file" getfattr -n user.chunkfs.status "$M/without/latest/file"
check "unmount" unmount_store "$M"

# Mounts of a series, of a time, of a point.
backup with "$T/with" || fail "backup"
mount_store "$M" -o series=with && is "a series" "$(field shows)" "series with"
unmount_store "$M"
mount_store "$M" -o at=2100-01-01 && is "a time" "$(field shows)" "all points as of 2100-01-01T23-59-59Z"
unmount_store "$M"
mount_store "$M" -o point=with/latest
is "a point" "$(field shows)" "with/$(latest with)"
is "which it holds" "$(points_held)" "1 point;with/$(latest with);"
check "the same after a look at attributes" getfattr -d "$M/file"
is "a point, again" "$(field shows)" "with/$(latest with)"
unmount_store "$M"
mount_store "$M" -o point=without/latest
is "a point without attributes tells when asked at once" "$(field shows)" "without/$(latest without)"
getfattr -d -n user.other "$M/file" >/dev/null 2>&1
check_not "and not after a question for others" told
unmount_store "$M"

# Another user, though he may enter, learns nothing.
if is_root && id nobody >/dev/null 2>&1; then
	chmod 755 "$T"
	mount_store "$M" -o allow_other
	check "root may ask" told
	check_not "others may not" setpriv --reuid nobody --regid nogroup --clear-groups \
		getfattr -n user.chunkfs.status "$M"
	unmount_store "$M"
else
	skip "others may not ask" "needs root"
fi
done_testing
