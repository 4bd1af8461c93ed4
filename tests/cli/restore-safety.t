#!/bin/bash
# SPDX-License-Identifier: MIT
# Whatever others do to DEST, however a restore ends: nothing outside is touched, every name is
# old or new, whole, and nothing temporary stays.
. "$(dirname "$0")/../lib/harness.sh"
need python3
new_store || exit 1

# ---- two versions of one tree: all the old files say A, all the new ones B
files=3000
make_tree() { # DIR LETTER
	python3 - "$1" "$2" $files <<-'EOF'
		import os, sys
		top, letter, n = sys.argv[1], sys.argv[2], int(sys.argv[3])
		for i in range(n):
		    d = f"{top}/d{i % 30}/sub"
		    os.makedirs(d, exist_ok=True)
		    with open(f"{d}/f{i}", "w") as f:
		        f.write(letter * (200 + i * 7 % 30000))
	EOF
}
# whole TREE: every file is old or new from end to end; prints how many are new
cat >"$T/whole.py" <<'EOF'
import os, sys
new = 0
for top, dirs, names in os.walk(sys.argv[1]):
    dirs[:] = [d for d in dirs if not d.startswith(".chunkstore-restore.")]
    for name in names:
        if not name.startswith("f"):
            continue
        i = int(name[1:])
        with open(os.path.join(top, name)) as f:
            text = f.read()
        if text not in (c * (200 + i * 7 % 30000) for c in "AB"):
            sys.exit(f"{name}: {len(text)} bytes")
        new += text[0] == "B"
print(new)
EOF
whole() { python3 "$T/whole.py" "$1"; }

make_tree "$T/new" B
backup s "$T/new" || exit 1
mkdir "$T/fresh"
make_tree "$T/fresh" A
old_copy() { rm -rf "$T/dst"; cp -a "$T/fresh" "$T/dst"; }

# ---- killed
changed_by() { grep -qs ^B "$T/dst/d$1/sub/f$1"; }
rounds=0
for at in 0 10 20 29; do
	old_copy
	chunkstore restore -q --overwrite always s "$T/dst" &
	pid=$!
	until changed_by $at || ! kill -0 $pid 2>/dev/null; do :; done
	kill -9 $pid 2>/dev/null && rounds=$((rounds + 1))
	wait $pid 2>/dev/null
	check "killed: every file is old or new" whole "$T/dst"
done
diag "killed in $rounds of 4 rounds, the last with $(stdout) of $files files new"
num "some were killed on the way" $rounds -gt 0
mkdir -m 700 "$T/dst/.chunkstore-restore.0123456789abcdef"
echo half >"$T/dst/.chunkstore-restore.0123456789abcdef/7"
touch "$T/dst/d0"
check "the next one carries on" chunkstore restore -q --overwrite if-changed s "$T/dst"
check "to the end" treecmp "$T/new" "$T/dst"
old_copy
mkdir -m 700 "$T/dst/.chunkstore-restore.0123456789abcdef"
echo half >"$T/dst/.chunkstore-restore.0123456789abcdef/7"
check "after one that was killed" chunkstore restore -q --overwrite always s "$T/dst"
is "its leftovers are gone" "$(find "$T/dst" -name '.chunkstore*')" ""

# DEST was not there
chunkstore restore -q s "$T/dst2" &
pid=$!
until [ -e "$T/dst2.partial/d5/sub" ] || ! kill -0 $pid 2>/dev/null; do :; done
kill -9 $pid 2>/dev/null
wait $pid 2>/dev/null
if [ -e "$T/dst2.partial" ]; then
	check "killed without a DEST: there is none" test ! -e "$T/dst2"
	check_status "the next one does not take what is left" 1 chunkstore restore s "$T/dst2"
	check_status "nor does one that overwrites nothing" 1 chunkstore restore --overwrite never s "$T/dst2"
	printf half >"$T/dst2.partial/d0/sub/f0"
	check "unless it is told to" chunkstore restore --overwrite if-changed s "$T/dst2"
	check "then it completes it" treecmp "$T/new" "$T/dst2"
	check "under its name" test ! -e "$T/dst2.partial"
else
	skip "killed without a DEST" "it was too fast"
fi

# interrupted: nothing temporary stays
old_copy
chunkstore restore -q --overwrite always s "$T/dst" 2>/dev/null &
pid=$!
until changed_by 3 || ! kill -0 $pid 2>/dev/null; do :; done
kill -INT $pid 2>/dev/null
wait $pid
is "interrupted: nothing temporary stays" "$(find "$T/dst" -name '.chunkstore*')" ""
check "every file is old or new" whole "$T/dst"

# ---- a full disk
if can_mount_tmpfs; then
	mkdir "$T/small"
	mount -t tmpfs -o size=20m tmpfs "$T/small"
	mkdir "$T/small/dst"
	cp -a "$T/fresh/d0" "$T/fresh/d1" "$T/small/dst"
	check_status "a full disk" 1 chunkstore restore -q --overwrite always s "$T/small/dst"
	one_line_error "is told" "No space left"
	is "nothing temporary stays" "$(find "$T/small" -name '.chunkstore*')" ""
	check "every file is old or new" whole "$T/small/dst"
	umount "$T/small"
else
	skip "a full disk" "tmpfs cannot be mounted"
fi

# ---- another one is at work
old_copy
mkdir -m 700 "$T/dst/.chunkstore-restore.0123456789abcdef"
touch "$T/dst/.chunkstore-restore.0123456789abcdef/1"
exec 7<"$T/dst/.chunkstore-restore.0123456789abcdef"
flock -n 7
check "beside another restore" chunkstore restore -q --overwrite always --delete s "$T/dst"
check "whose files are not deleted" test -e "$T/dst/.chunkstore-restore.0123456789abcdef/1"
exec 7<&-

# ---- somebody swaps directories for links out of DEST
cat >"$T/swap.py" <<'EOF'
import os, sys
dst, victim, flag = sys.argv[1:]
n = 0
while not os.path.exists(flag):
    for i in range(30):
        for d, moved in ((f"{dst}/d{i}", f"{dst}/m{i}"), (f"{dst}/d{i}/sub", f"{dst}/d{i}/m")):
            try:
                os.rename(d, moved)
                os.symlink(victim, d)
                n += 1
                os.unlink(d)
                os.rename(moved, d)
            except OSError:
                try:
                    if os.path.islink(d):
                        os.unlink(d)
                    os.rename(moved, d)
                except OSError:
                    pass
print(n)
EOF
mkdir -p "$T/victim/sub"
echo precious >"$T/victim/f0"
echo precious >"$T/victim/sub/f1"
ls -lR --time-style=full-iso "$T/victim" >"$T/victim.before"
for round in 1 2 3; do
	old_copy
	rm -f "$T/flag"
	python3 "$T/swap.py" "$T/dst" "$T/victim" "$T/flag" >"$T/swaps" &
	pid=$!
	test_pids+=("$pid")
	# shellcheck disable=SC2046
	run chunkstore restore -q --overwrite always $([ $round = 3 ] && echo --delete) s "$T/dst"
	touch "$T/flag"
	wait $pid
	diag "$(cat "$T/swaps") swaps, status $status, $(wc -l <"$T/stderr") lines"
	num "directories were swapped" "$(cat "$T/swaps")" -gt 10
	is "nothing outside was touched" "$(ls -lR --time-style=full-iso "$T/victim")" "$(cat "$T/victim.before")"
	like "the status says whether all went well" "$status" '^[013]$'
done

# ---- what is planted in DEST
old_copy
rm -r "$T/dst/d1" "$T/dst/d2/sub/f2" "$T/dst/d3/sub/f3" "$T/dst/d4/sub/f4"
ln -s "$T/victim" "$T/dst/d1"
ln -s "$T/victim/f0" "$T/dst/d2/sub/f2"
mkfifo "$T/dst/d3/sub/f3"
ln "$T/victim/f0" "$T/dst/d4/sub/f4"
ls -lR --time-style=full-iso "$T/victim" >"$T/victim.before"
check_status "planted links: the directory's is told" 3 timeout 60 chunkstore restore --overwrite always s "$T/dst"
like "by its name" "$(stderr)" "/d1: "
check "a link for a file is replaced" test -f "$T/dst/d2/sub/f2" -a ! -L "$T/dst/d2/sub/f2"
check "a FIFO is not opened, but replaced" test -f "$T/dst/d3/sub/f3"
check "with --delete the directory's goes too" chunkstore restore -q --overwrite always --delete s "$T/dst"
check "and all is as in the point" treecmp "$T/new" "$T/dst"
rm "$T/victim.before"
is "nothing was written through any" "$(cat "$T/victim/f0" "$T/victim/sub/f1")" $'precious\nprecious'
is "nor was its mode or owner set" "$(stat -c '%a %h' "$T/victim/f0")" "644 1"

# ---- access lists of DEST are not inherited
if have setfacl && mkdir "$T/acl" && setfacl -d -m u:1234:rwx "$T/acl" 2>/dev/null; then
	touch "$T/acl/there"
	check "restore where access is handed down" chunkstore restore -q --overwrite always s "$T/acl"
	is "hands nothing down" "$(getfacl -cpR "$T/acl/d0" | grep -c 1234)" 0
fi

# ---- rights come when the content is there
mkdir "$T/rights" "$T/rights/closed"
for f in small large closed/large; do
	noise 7 $((RANDOM + ($(basename "$f" | wc -c) - 5) * 3000000 + 5000)) >"$T/rights/$f"
	chmod 4755 "$T/rights/$f"
	have setfacl && setfacl -m u:1234:rwx "$T/rights/$f" 2>/dev/null
	is_root && chown 1234:1234 "$T/rights/$f" && chmod 4750 "$T/rights/$f"
done
chmod 700 "$T/rights/closed"
chunkstore backup -q -S rights --root "$T/rights" || fail "backup"
traced() {
	strace -f -y -o "$T/trace" -e trace=pwritev,pwrite64,pwritev2,fchown,fchmod,fsetxattr,mkdirat "$@"
}
# early: writes to a file that has rights already, and directories that others can enter
early() {
	# what other threads interrupt has two lines: the first tells of which file
	awk '/resumed>/ { next }
		match($0, /\([0-9]+<[^>]*>/) { file = substr($0, RSTART, RLENGTH); sub(/^[^<]*/, "", file) }
		/pwrite/ { writes++; if (file in rights) early++ }
		/fch|fsetxattr/ { rights[file] = 1; given++ }
		/mkdirat/ && !/0700\) /{ early++ }
		END { print early + 0, (writes > 2), (given > 5) }' "$T/trace"
}
if have strace && ! is_sanitized && traced true 2>/dev/null; then
	check "restore, traced" traced chunkstore restore -q rights "$T/rights.1"
	is "no content is written to what has its rights already" "$(early)" "0 1 1"
	cp -r "$T/rights" "$T/rights.2"
	for f in small large closed/large; do echo other >"$T/rights.2/$f"; done
	check "over what is there" traced chunkstore restore -q --overwrite always rights "$T/rights.2"
	is "nor then" "$(early)" "0 1 1"
	check "and all is right" treecmp "$T/rights" "$T/rights.2"
	# in place: what is too much goes first
	for f in large closed/large; do
		noise 8 3000000 >"$T/rights.2/$f"
		chmod 6777 "$T/rights.2/$f"
	done
	check "in place" traced chunkstore restore -q --in-place rights "$T/rights.2"
	is "what is open or set-ID is closed before" \
		"$(grep -oE "rights.2/large>, 0[0-7]+|pwrite.*rights.2/large" "$T/trace" | head -n 2 | sed 's/.*large>, //; s/pwrite.*/pwrite/' | tr '\n' ' ')" \
		"$(printf '0%o pwrite ' $((0$(stat -c %a "$T/rights/large") & 01777)))"
	check "and all is right" treecmp "$T/rights" "$T/rights.2"
fi

# ---- an ordinary user
if is_root && have setpriv; then
	user() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
	mkdir "$T/u"
	chmod 755 "$T"
	chown 65534:65534 "$T/u"
	user mkdir -p "$T/u/src/closed/sub" "$T/u/src/open"
	user bash -c "echo a >'$T/u/src/closed/a'; echo b >'$T/u/src/closed/sub/b'; echo c >'$T/u/src/open/c'
		chmod 555 '$T/u/src/closed' '$T/u/src/closed/sub'; chmod 4755 '$T/u/src/open/c'"
	check "a user's store" user chunkstore -s "$T/u/store" init
	check "and backup" user chunkstore -s "$T/u/store" backup -q -S u --root "$T/u/src"
	check "and restore" user chunkstore -s "$T/u/store" restore -q u "$T/u/dst"
	user bash -c "chmod 755 '$T/u/dst/closed'; echo x >'$T/u/dst/closed/a'; rm '$T/u/dst/open/c'
		touch '$T/u/dst/extra'; chmod 555 '$T/u/dst/closed'"
	check "and again into it" user chunkstore -s "$T/u/store" restore -q --overwrite always --delete u "$T/u/dst"
	check "is the same, also where it is closed" treecmp "$T/u/src" "$T/u/dst"
	chown 0:0 "$T/u/dst"
	user bash -c "echo x >'$T/u/dst/open/c'"
	check_status "where DEST itself is closed to him" 3 user chunkstore -s "$T/u/store" restore --overwrite always u "$T/u/dst"
	is "what is below it is restored" "$(cat "$T/u/dst/open/c")" c
	is "nothing temporary stays" "$(find "$T/u/dst" -name '.chunkstore*')" ""
	chown 65534:65534 "$T/u/dst"
	mkdir "$T/u/dst/roots"
	touch "$T/u/dst/roots/x"
	check_status "what he may not delete is told" 3 user chunkstore -s "$T/u/store" restore --overwrite always --delete u "$T/u/dst"
	like "by its name" "$(stderr)" "roots/x: cannot delete"
	chown -R 1:1 "$T/u/src"
	chmod 4755 "$T/u/src/open/c"
	check "a backup of what is not his" chunkstore -s "$T/u/store" backup -q -S r --root "$T/u/src"
	check_status "and his restore" 3 user chunkstore -s "$T/u/store" restore r "$T/u/theirs"
	is "no set-user-ID without the owner" "$(stat -c %a "$T/u/theirs/open/c")" 755
	check_status "also over what is there" 3 \
		user chunkstore -s "$T/u/store" restore --overwrite always r "$T/u/theirs"
	is "no set-user-ID without the owner" "$(stat -c %a "$T/u/theirs/open/c")" 755
else
	skip "an ordinary user" "needs root and setpriv"
fi
done_testing
