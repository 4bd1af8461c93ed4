#!/bin/bash
# SPDX-License-Identifier: MIT
# What is in use in a mount holds its point: forgotten, it stays readable, and gc leaves it alone;
# and what is not in use holds nothing.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
new_store || exit 1
M=$T/mnt
A=$T/a

# held: how many points are held, by the locks on the lease file
held() {
	awk -v inode=":$(stat -c %i "$S/leases")" 'substr($6, length($6) - length(inode) + 1) == inode &&
		$7 >= 2 ^ 40 && $7 < 2 ^ 41 { n += $8 - $7 + 1 } END { print n + 0 }' /proc/locks
}
holds() { [ "$(held)" = "$1" ]; }
# drop_caches: what the kernel keeps without need
drop_caches() { echo 2 >/proc/sys/vm/drop_caches; }

forget() { chunkstore forget --purge "$1"; }

mkdir -p "$A/dir/below"
seq 100 >"$A/dir/file"
head -c 3000000 /dev/urandom >"$A/large"
for i in $(seq 300); do echo "$i" >"$A/dir/below/$i"; done
ids=()
for i in 1 2 3 4 5; do
	echo "$i" >"$A/changes"
	head -c 200000 /dev/urandom >"$A/random-$i"
	backup s "$A" || fail "backup"
	ids+=("$(backup_json .name)")
done

# ------------------------------------------------------------ references come and go

alone_with_caches
mount_store "$M" || fail "mount"
is "a mount holds nothing at first" "$(held)" 0
ls "$M" "$M/s" "$M/by-id" >/dev/null
is "nor for its lists" "$(held)" 0
cat "$M/s/${ids[0]}/changes" >/dev/null
is "who reads in a point holds it" "$(held)" 1
find "$M/s" -ls >/dev/null
is "a find holds all" "$(held)" 5
tar -C "$M/s" -cf /dev/null . && getfattr -R -d -m - "$M/s" >/dev/null 2>&1
is "whatever is read, once each" "$(held)" 5
if is_root && drop_caches 2>/dev/null; then
	check "what the kernel forgets is dropped" wait_until 20 eval 'drop_caches; holds 0'
	cat "$M/s/${ids[1]}/dir/below/7" >/dev/null
	is "and held again when it is read again" "$(held)" 1
	for i in 1 2 3 4; do find "$M/s" -ls >/dev/null & pids[i]=$!; done
	while kill -0 "${pids[@]}" 2>/dev/null; do drop_caches; done
	wait "${pids[@]}"
	check "with four readers that forget all the time" wait_until 20 eval 'drop_caches; holds 0'
else
	skip "what the kernel forgets is dropped" "its caches cannot be dropped"
fi
cat "$M"/s/*/changes >/dev/null
is "all five" "$(held)" 5

# ------------------------------------------------------------ a point that is forgotten

check "forget" forget "s/${ids[0]}"
check "a point that nobody uses is let go" wait_until 20 holds 4

exec 7<"$M/s/${ids[1]}/large"
check "forget one with an open file" forget "s/${ids[1]}"
check "its name is gone" test ! -e "$M/s/${ids[1]}"
check "gc" chunkstore gc
is "it is held" "$(held)" 4
is "the file is read" "$(sha256sum <&7)" "$(sha256sum <"$A/large")"
exec 7<&-
check "closed, it is let go" wait_until 20 holds 3

cd "$M/s/${ids[2]}/dir" || fail "cd"
check "forget one that somebody stands in" forget "s/${ids[2]}"
check "gc" chunkstore gc
is "it is held" "$(held)" 3
is "a file there is read" "$(sha256sum <file)" "$(sha256sum <"$A/dir/file")"
is "and listed, and all below, first met now" "$(find . | wc -l):$(cat below/* | sha256sum)" \
	"303:$(cat "$A"/dir/below/* | sha256sum)"
is "the way up ends at the point" "$(cat ../changes)" 3
cd "$T" || fail "cd"
check "left, it is let go" wait_until 20 holds 2

run python3 -c 'import sys' || true
if [ $status = 0 ]; then
	cat >"$T/mapped.py" <<-'END'
	import hashlib, mmap, os, sys
	fd = os.open(sys.argv[1], os.O_RDONLY)
	m = mmap.mmap(fd, 0, prot=mmap.PROT_READ)
	os.close(fd)
	print("mapped", flush=True)
	sys.stdin.readline()
	print(hashlib.sha256(m).hexdigest(), flush=True)
	END
	mkfifo "$T/go"
	python3 "$T/mapped.py" "$M/s/${ids[3]}/large" <"$T/go" >"$T/mapped" &
	pid=$!
	test_pids+=("$pid")
	exec 8>"$T/go"
	wait_until 20 grep -q mapped "$T/mapped" || fail "mapping a file"
	check "forget one with a mapped file" forget "s/${ids[3]}"
	check "gc" chunkstore gc
	is "it is held" "$(held)" 2
	! is_root || echo 1 >/proc/sys/vm/drop_caches # its pages
	echo >&8
	wait $pid
	exec 8>&-
	is "the map is read" "$(tail -n 1 "$T/mapped")" "$(sha256sum <"$A/large" | cut -d' ' -f1)"
	check "unmapped, it is let go" wait_until 20 holds 1
else
	skip "a mapped file" "there is no python3"
	check "forget" forget "s/${ids[3]}"
fi

# A point that comes back out of the trash is one like others for whoever stood in it meanwhile.
cd "$M/s/latest/dir" || fail "cd"
check "forget for a time" chunkstore forget "s/${ids[4]}"
check "gc" chunkstore gc
is "it is held" "$(held)" 1
is "and read" "$(cat file below/* | sha256sum)" "$(cat "$A"/dir/file "$A"/dir/below/* | sha256sum)"
check "bring it back" chunkstore undelete "s/${ids[4]}"
is "it is where it was" "$(cat "$M/s/latest/dir/file" | sha256sum)" "$(sha256sum <"$A/dir/file")"
is "the same directory" "$(stat -c %i .)" "$(stat -c %i "$M/s/latest/dir")"
is "on the way up as well" "$(cat ../changes)" 5
cd "$T" || fail "cd"

check "gc" chunkstore gc
is "the last one is complete" "$(cat "$M/s/latest/changes")" 5
check "verify" chunkstore verify
is "one is held" "$(held)" 1
unmount_store "$M"
check "without the mount nothing is" wait_until 20 holds 0

# ------------------------------------------------------------ a point alone

check "mount one point" mount_store "$M" -o point=s/latest
is "it is held from the start" "$(held)" 1
! is_root || drop_caches 2>/dev/null
check "forget it" forget s/latest
check "gc" chunkstore gc
is "it is all there" "$(cat "$M"/dir/below/* | sha256sum)" "$(cat "$A"/dir/below/* | sha256sum)"
is "and held" "$(held)" 1
pid=$(daemon_of "$M")
kill -9 "$pid"
check "a daemon that is killed holds nothing" wait_until 20 holds 0
unmount "$M" 2>/dev/null || umount -l "$M"
check "gc" chunkstore gc
is "which frees everything" "$(stats bundles)" 0
done_testing
