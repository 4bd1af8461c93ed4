# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034
#
# lib.sh - for the tests of waiting, after harness.sh.

# "${held[@]}" COMMAND…: with held.so before LMDB. An array, so that $! is the command itself.
held=(env CS_HELD="$T/held" LD_PRELOAD="$BUILD/tests/waits/held.so")

is_stopped() { grep -qs '^State:[[:space:]]*T' "/proc/$1/status"; }
