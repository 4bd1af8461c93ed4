#!/bin/bash
# SPDX-License-Identifier: MIT
# Install the Debian packages that are missing: deps.sh [build] [test] [fuzz]
#
# Does nothing, and needs no network, when all are there. As root it installs
# them; as anyone else it prints the command and fails.
set -eu

build=(gcc libc6-dev binutils pkg-config libfuse3-dev fuse3 libseccomp-dev libzstd-dev libxxhash-dev liblmdb-dev
	libjansson-dev)
# perl has prove; valgrind counts; xxhash, jq and casync are second opinions on what the tools print; the file
# systems are those that know all that there is to know of a file, and read-only media.
test=(libcmocka-dev perl python3 attr acl rsync jq xxhash strace mandoc casync e2fsprogs xfsprogs
	squashfs-tools zstd valgrind)
# clang alone has neither libFuzzer nor the sanitizers
fuzz=(clang libclang-rt-dev)

want=()
for set in "$@"; do
	case $set in
	build) want+=("${build[@]}") ;;
	test) want+=("${build[@]}" "${test[@]}") ;;
	fuzz) want+=("${build[@]}" "${fuzz[@]}") ;;
	*) echo "usage: deps.sh [build] [test] [fuzz]" >&2; exit 2 ;;
	esac
done

if ! command -v dpkg-query >/dev/null; then
	echo "deps.sh: not a Debian system; needed are what Debian calls: ${want[*]}" >&2
	exit 0
fi

have=" $(dpkg-query -W -f='${db:Status-Status}:${Package} ' 2>/dev/null) "
# Debian 13's pkg-config is a name that pkgconf provides; what counts is the program.
command -v pkg-config >/dev/null && have+="installed:pkg-config "
missing=()
for p in "${want[@]}"; do
	[[ $have == *" installed:$p "* || " ${missing[*]-} " == *" $p "* ]] || missing+=("$p")
done
[ ${#missing[@]} -gt 0 ] || exit 0

install=(apt-get install -y --no-install-recommends "${missing[@]}")
if [ "$(id -u)" != 0 ]; then
	echo "deps.sh: packages are missing; install them with" >&2
	echo "    sudo apt-get update && sudo ${install[*]}" >&2
	exit 1
fi

export DEBIAN_FRONTEND=noninteractive
echo "installing ${missing[*]}"
# Package lists may be absent (a fresh image) or older than the archive.
"${install[@]}" && exit 0
apt-get update
exec "${install[@]}"
