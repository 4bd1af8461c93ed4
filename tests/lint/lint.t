#!/bin/bash
# SPDX-License-Identifier: MIT
# Every executable beside this file is a check of the sources: status 0 fine, 77 cannot be
# made here (its output says why), else its output says what is wrong.
cd "$(dirname "$0")/../.." || exit 1
n=0
bad=0
for check in tests/lint/*; do
	[ -x "$check" ] && [ "$check" != tests/lint/lint.t ] || continue
	n=$((n + 1))
	output=$("$check" 2>&1)
	status=$?
	case $status in
	0) echo "ok $n - ${check##*/}" ;;
	77) echo "ok $n - ${check##*/} # SKIP $output" ;;
	*)
		echo "not ok $n - ${check##*/}"
		printf '%s\n' "$output" | sed 's/^/# /' >&2
		bad=1
		;;
	esac
done
echo "1..$n"
exit $bad
