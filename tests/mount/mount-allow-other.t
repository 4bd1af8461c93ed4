#!/bin/bash
# SPDX-License-Identifier: MIT
# Other users: kept out without allow_other; with it the kernel checks modes and owners.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
need_root
need setpriv
new_store || exit 1

mkdir "$T/a" "$T/a/private" "$T/a/theirs"
echo public >"$T/a/public"
echo secret >"$T/a/secret"
echo inside >"$T/a/private/inside"
echo theirs >"$T/a/theirs/file"
echo grouped >"$T/a/grouped"
chmod 600 "$T/a/secret"
chmod 700 "$T/a/private" "$T/a/theirs"
chown -R 1234 "$T/a/theirs"
chgrp 4321 "$T/a/grouped"
chmod 640 "$T/a/grouped"
chmod 755 "$T"
backup s "$T/a" || fail "backup"
M=$T/mnt
P=$M/s/latest
as() { setpriv --reuid="$1" --regid=4321 --clear-groups "${@:2}"; }

mount_store "$M" || fail "mount"
is "root reads" "$(cat "$P/public")" public
check_not "without allow_other nobody else does" as 1234 cat "$P/public"
unmount_store "$M"

check "mount -o allow_other" mount_store "$M" -o allow_other
is "another user reads what all may read" "$(as 1234 cat "$P/public")" public
check_not "but not a file of mode 600" as 1234 cat "$P/secret"
check_not "nor below a directory of mode 700" as 1234 cat "$P/private/inside"
is "the owner reads below his own" "$(as 1234 cat "$P/theirs/file")" theirs
check_not "which others do not" as 1235 cat "$P/theirs/file"
is "the group's permission counts" "$(as 1235 cat "$P/grouped")" grouped
is "root reads all" "$(cat "$P/secret" "$P/private/inside")" "$(printf 'secret\ninside')"
run as 1234 touch "$P/public"
like "changing is refused" "$(stderr)" "Read-only|Permission"
done_testing
