#!/bin/bash
# SPDX-License-Identifier: MIT
# Processors are kept awake while somebody asks, and not a moment longer, even after kill -9.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
device=/dev/cpu_dma_latency
need_root
[ -c $device ] || skip_all "there is no $device"
new_store || exit 1
M=$T/mnt

mkdir "$T/a"
seq -f "$T/a/%g" 500 | xargs touch
backup s "$T/a" || fail "backup"

# Whoever asks is no longer sent to sleep: 0; the kernel's default: 2000000000.
latency() { od -An -td4 -N4 $device | tr -d ' '; }
is_awake() { [ "$(latency)" = 0 ]; }
is_any() { [ "$(latency)" = 2000000000 ]; }
has_open() { find "/proc/$1/fd" -lname $device | grep -q .; }
# Other tests may be asking their mounts now, so this one only knows what its own holds open.

check_status "a wrong word" 2 chunkfs -o wakeups=always "$S" "$M"

# without HOW: mounted and listed by who may not open the device
without() {
	unshare -m sh -c "mount --bind $device $device && mount -o remount,bind,nodev $device &&
		chunkfs -o wakeups=$1 '$S' '$M' && ls '$M/s/latest/1' && umount '$M'"
}
mkdir "$M"
if unshare -m true 2>/dev/null; then
	check "without the right to it a mount works" without auto
	is "and does not complain" "$(stderr)" ""
	check "also when told to" without fast
	one_line_error "but says so" "processors awake: $device"
else
	skip "without the right to the device" "no namespaces"
fi

check "mount with wakeups=normal" mount_store "$M" -o wakeups=normal
check_not "does not have the device open" has_open "$(daemon_of "$M")"
unmount_store "$M"

check "mount with wakeups=fast" mount_store "$M" -o wakeups=fast
pid=$(daemon_of "$M")
check "has it open" has_open "$pid"
(while getfattr -d "$M"/s/latest/* 2>/dev/null; do :; done) &
asking=$!
test_pids+=("$asking")
check "processors are awake while somebody asks" wait_until 30 is_awake
kill $asking
wait $asking 2>/dev/null
check "and not when nobody does" wait_until 60 is_any
(while getfattr -d "$M"/s/latest/* 2>/dev/null; do :; done) &
asking=$!
test_pids+=("$asking")
check "again" wait_until 30 is_awake
kill -9 "$pid"
check "nor when the daemon was killed" wait_until 60 is_any
kill $asking 2>/dev/null
wait $asking 2>/dev/null
umount -l "$M"

mount_store "$M" || fail "mount"
if grep -qsx haltpoll /sys/devices/system/cpu/cpuidle/current_driver; then
	check "a guest has it open unless told otherwise" has_open "$(daemon_of "$M")"
else
	check_not "on bare metal it is not open" has_open "$(daemon_of "$M")"
fi
done_testing
