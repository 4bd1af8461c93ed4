#!/bin/bash
# SPDX-License-Identifier: MIT
# Everything at once on one store, for a moment; make stress takes its time.
. "$(dirname "$0")/../lib/harness.sh"
need_fuse
[ -x /usr/bin/python3 ] || skip_all "needs /usr/bin/python3"

seconds=12
is_long && seconds=120
export STRESS_SECONDS=${STRESS_SECONDS:-$seconds} TMPDIR=$T
check "$STRESS_SECONDS s of everything at once" "$TOP/tests/stress/run"
diag "$(sed -n "1s/^# //p" "$T/stdout")" "$(tail -n 1 "$T/stdout")"
[ $status -eq 0 ] || diag "$(tail -n 100 "$T/stdout")"
done_testing
