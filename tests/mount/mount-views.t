#!/bin/bash
# SPDX-License-Identifier: MIT
# Parts of a store: one series, trees as of a time, and the views by tag, id and consistency.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1
M=$T/mnt
A=$T/a
mkdir "$A"

# point SERIES TEXT [options…]: another point, whose file holds the text; its name in $name
point() {
	echo "$2" >"$A/file"
	backup "$1" "$A" "${@:3}" || fail "backup"
	name=$(backup_json .name)
}
second() { date -u +%Y-%m-%dT%H-%M-%SZ; }
# next_second: until the clock shows another second than the last point's
is_later() { [[ $(second) > ${name:0:20} ]]; }
next_second() { wait_until 5 is_later; }

point a 1
a1=$name
point a 2
a2=$name
next_second
point b 3
b1=$name
next_second
point a 4
a3=$name
next_second
point late 5

# ------------------------------------------------------------ one series

mount_store "$M" || fail "mount"
ino() { stat -c %i "$@" | tr '\n' ' '; }
everything=$(ino "$M/a" "$M/a/$a1" "$M/a/$a1/file" "$M/a/latest")
unmount_store "$M"

check "mount -o series=" mount_store "$M" -o series=a
is "the root has its points and latest, and nothing else" "$(ls -a "$M" | tr '\n' ' ')" \
	". .. $(printf '%s\n' "$a1" "$a2" "$a3" | sort | tr '\n' ' ')latest "
is "they are what they are" "$(cat "$M/$a1/file" "$M/$a2/file" "$M/latest/file" | tr '\n' ' ')" "1 2 4 "
is "with the same numbers" "$(ino "$M" "$M/$a1" "$M/$a1/file" "$M/latest")" "$everything"
is "the parent of a point is the root" "$(stat -c %i "$M/$a1/..")" "$(stat -c %i "$M")"
check "the root is read right in every way" dirwalk "$M" 4
for name in a b by-id by-tag by-consistency "$b1"; do
	check "there is no $name" test ! -e "$M/$name"
done
point a 6
is "a new point is there at once" "$(cat "$M/latest/file" "$M/$name/file" | tr '\n' ' ')" "6 6 "
num "and listed" "$(ls "$M" | wc -l)" -eq 5
check "forget" chunkstore forget "a/$name"
check "a forgotten one is gone at once" test ! -e "$M/$name"
is "and not listed" "$(ls "$M" | wc -l)" 4
is "latest follows" "$(cat "$M/latest/file")" 4
run touch "$M/new"
like "it is read-only" "$(stderr)" "Read-only"
unmount_store "$M"
check_status "a series that does not exist" 1 chunkfs -o series=nothing "$S" "$M"
one_line_error "is an error" "nothing"

# ------------------------------------------------------------ as of a time

check "mount --at" mount_store "$M" --at "$b1"
is "the root has the series of that time" "$(ls "$M" | tr '\n' ' ')" "a b "
is "and is their trees" "$(cat "$M/a/file" "$M/b/file" | tr '\n' ' ')" "2 3 "
is "with the numbers of the newest point of each" "$(ino "$M/a/file")" \
	"$(unmount_store "$M"; mount_store "$M"; ino "$M/a/$a2/file")"
unmount_store "$M"
for form in "$a1" "${a1:0:13}:${a1:14:2}:${a1:17:3}"; do
	check "mount -o at=$form" mount_store "$M" -o "at=$form"
	is "all points of that second count" "$(ls "$M" | tr '\n' ' '):$(cat "$M/a/file")" \
		"a :$([[ $a2 = $a1* ]] && echo 2 || echo 1)"
	unmount_store "$M"
done
local_time=$(TZ=XXX-5 date -d "@$(date -u -d "${b1:0:10} ${b1:11:2}:${b1:14:2}:${b1:17:2}" +%s)" +%Y-%m-%dT%H:%M:%S)
TZ=XXX-5 mount_store "$M" -o "at=$local_time" || fail "mount"
is "without Z it is local time" "$(ls "$M" | tr '\n' ' '):$(cat "$M/a/file")" "a b :2"
check "forget a point that is shown" chunkstore forget "a/$a2"
is "the next older one takes its place at once" "$(cat "$M/a/file")" 1
check "forget another" chunkstore forget "b/$b1"
is "a series without one goes" "$(ls "$M" | tr '\n' ' ')" "a "
check "by name as well" test ! -e "$M/b"
check "there is no by-id" test ! -e "$M/by-id"
check "and it is read right in every way" dirwalk "$M" 1
num "the root counts its directories" "$(stat -c %h "$M")" -eq 3
is "the parent of a tree is the root" "$(stat -c %i "$M/a/..")" "$(stat -c %i "$M")"
point a 7
is "a newer point changes nothing" "$(cat "$M/a/file")" 1
unmount_store "$M"

check "mount as of the end of a day" mount_store "$M" -o "at=2999-12-31"
is "shows the newest of all" "$(cat "$M/a/file" "$M/late/file" | tr '\n' ' ')" "7 5 "
point a 8
is "also those that come" "$(cat "$M/a/file")" 8
unmount_store "$M"

check "mount one series as of a time" mount_store "$M" -o "series=a,at=$a3"
is "is that tree" "$(ls "$M"):$(cat "$M/file")" "file:4"
check "forget it" chunkstore forget "a/$a3"
is "it stays what it is" "$(cat "$M/file")" 4
unmount_store "$M"

check_status "before all points" 1 chunkfs --at 1999-01-01 "$S" "$M"
one_line_error "there is nothing to mount" "1999-01-01"
check_status "nor of one series" 1 chunkfs -o "series=late,at=$a1" "$S" "$M"
one_line_error "which is named" "late"
check_status "no time" 2 chunkfs -o at=yesterday "$S" "$M"
one_line_error "is wrong use" "yesterday"
check_status "no time either" 2 chunkfs --at 2026-02-30 "$S" "$M"
check_status "a point of a series, twice" 2 chunkfs -o "point=a/latest,series=a" "$S" "$M"
check_not "after all that nothing is mounted" mounted "$M"

# ------------------------------------------------------------ by tag, id and consistency

point tagged 1 --tag nightly --tag 'a\b' --consistency fs
first=$name
point tagged 2 --tag nightly --consistency app
second=$name
point other 3 --tag nightly
mount_store "$M" || fail "mount"
is "by-tag lists tags" "$(ls "$M/by-tag" | tr '\n' ' ')" 'a\x5cb nightly '
is "and their points" "$(ls "$M/by-tag/nightly" | tr '\n' ' ')" "other@$name tagged@$first tagged@$second "
is "as links" "$(cat "$M/by-tag/nightly/tagged@$second/file" "$M"/by-tag/a*/*/file | tr '\n' ' ')" "2 1 "
is "by-consistency too" "$(cat "$M"/by-consistency/app/*/file "$M"/by-consistency/fs/*/file | tr '\n' ' ')" "2 1 "
is "by-id has all" "$(ls "$M/by-id" | sort | tr '\n' ' ')" "$(chunkstore list --json | jq -r '.[].id' | sort | tr '\n' ' ')"
is "and each leads to its point" "$(cat "$M/by-id/$(chunkstore show --json tagged | jq -r .id)/file")" 2
number=$(stat -c %i "$M/by-tag/nightly")
exec 7<"$M/by-tag/nightly"
cd "$M/by-tag/nightly" || fail "cd"
check "forget the tag's oldest bearer" chunkstore forget "tagged/$first"
is "its directory keeps its number" "$(stat -c %i "$M/by-tag/nightly")" "$number"
is "for whoever stands in it" "$(ls | tr '\n' ' ')" "other@$name tagged@$second "
is "or has it open" "$(ls /proc/self/fd/7/ | tr '\n' ' ')" "other@$name tagged@$second "
cd "$T" || fail "cd"
exec 7<&-
is "a tag without bearers goes" "$(ls "$M/by-tag")" nightly
unmount_store "$M"
mount_store "$M" || fail "mount"
is "the number is the same after a remount" "$(stat -c %i "$M/by-tag/nightly")" "$number"
inodes "$M" >"$T/inodes"
is "and nobody else's" "$(awk '$4 == "d" || $3 == 1 { print $1 }' "$T/inodes" | sort | uniq -d)" ""
check "forget the others" chunkstore forget "tagged/$second" "other/$name"
check "the tag goes" test ! -e "$M/by-tag/nightly"
point other 4 --tag nightly
is "and comes back with its number" "$(stat -c %i "$M/by-tag/nightly")" "$number"
# Two tags whose numbers would be the same.
point other 5 --tag t93165
point other 6 --tag t125209
is "tags that share a hash have two directories" "$(stat -c %i "$M/by-tag/t93165" "$M/by-tag/t125209" | sort -u | wc -l)" 2
is "each with its own point" "$(cat "$M"/by-tag/t93165/*/file "$M"/by-tag/t125209/*/file | tr '\n' ' ')" "5 6 "
check "by-tag is read right in every way" dirwalk "$M/by-tag" 3
unmount_store "$M"
done_testing
