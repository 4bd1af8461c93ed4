#!/bin/bash
# SPDX-License-Identifier: MIT
# What --compression does to what is stored, and that everything reads what it wrote.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

bulk "$T/tree" --files 300 --max-size 20000 >/dev/null
noise 1 300000 >"$T/tree/noise"

# stored LEVEL: bytes of the bundles of a store of its own, in $T/store-LEVEL
stored() {
	chunkstore -s "$T/store-$1" init &&
		chunkstore -s "$T/store-$1" backup -q --series s --root "$T/tree" ${2:+--compression "$2"} &&
		chunkstore -s "$T/store-$1" stats --json | jq .stored_bytes
}
usual=$(stored usual)
is "level 3 is the usual one" "$(stored three 3)" "$usual"
fast=$(stored fast 1)
slow=$(stored slow 19)
none=$(stored none none)
num "level 19 stores less" "$slow" -lt "$usual"
num "level 1 more" "$fast" -gt "$usual"
raw=$(chunkstore -s "$T/store-none" stats --json | jq .raw_bytes)
num "and none all there is" "$none" -gt "$raw"
num "but a head and a table" "$none" -lt $((raw + raw / 50))
for s in fast slow none; do
	check "verify $s" chunkstore -s "$T/store-$s" verify -q
	check "restore $s" chunkstore -s "$T/store-$s" restore -q s "$T/out-$s"
	check "is the same" treecmp "$T/tree" "$T/out-$s"
done


bulk "$T/tree" --files 300 --max-size 20000 --change 1 --percent 10 >/dev/null
printf more >>"$T/tree/g00000/d0000000/f00000007"
added() {
	chunkstore -s "$T/store-none" backup -q --series s --root "$T/tree" --json --compression none | jq .added_stored
}
num "none makes no deltas either" "$(added)" -ge \
	"$(chunkstore -s "$T/store-none" show s --json | jq .added_raw)"
check "verify" chunkstore -s "$T/store-none" verify -q
none=$(chunkstore -s "$T/store-none" stats --json | jq .stored_bytes)

# A store does not mind what it is given: what is new is compressed as told, all else is shared.
bulk "$T/tree" --files 300 --max-size 20000 --change 2 --percent 10 >/dev/null
check "another point, compressed" chunkstore -s "$T/store-none" backup -q --series s --root "$T/tree" \
	--compression 9
num "takes no more than what is new" "$(chunkstore -s "$T/store-none" stats --json | jq .stored_bytes)" \
	-lt $((none + none / 8))
check "forget the first" chunkstore -s "$T/store-none" forget -q --purge --series s --keep-last 1
check "gc" chunkstore -s "$T/store-none" gc -q
check "verify" chunkstore -s "$T/store-none" verify -q
check "restore" chunkstore -s "$T/store-none" restore -q s "$T/out-both"
check "is the same" treecmp "$T/tree" "$T/out-both"
done_testing
