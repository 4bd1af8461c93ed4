#!/bin/bash
# SPDX-License-Identifier: MIT
# The kept inputs of the fuzz targets, replayed: none may hurt. `make fuzz` looks for more.
. "$(dirname "$0")/../lib/harness.sh"

export TMPDIR=$T
for corpus in "$TOP"/tests/fuzz/corpus/*/; do
	name=$(basename "$corpus")
	check "$name: every kept input is harmless" timeout 300 "$BUILD/tests/fuzz/f_$name" "$corpus"
done
for source in "$TOP"/tests/fuzz/f_*.c; do
	name=$(basename "$source" .c)
	check "${name#f_}: has kept inputs" test -d "$TOP/tests/fuzz/corpus/${name#f_}"
done
done_testing
