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

# What gc moves is compressed as it was: at level 19 again, at the usual one, or not at all.
# after_gc NAME [LEVEL]: bytes stored of a point most of whose bundles gc has written anew
after_gc() {
	local s=$T/gc-$1
	cp -a "$T/tree" "$T/gone"
	bulk "$T/gone" --files 300 --max-size 20000 --change 3 --percent 60 >/dev/null
	chunkstore -s "$s" init &&
		chunkstore -s "$s" backup -q --series gone --root "$T/gone" ${2:+--compression "$2"} &&
		chunkstore -s "$s" backup -q --series s --root "$T/tree" ${2:+--compression "$2"} &&
		chunkstore -s "$s" forget -q --purge gone/latest &&
		chunkstore -s "$s" gc --json >"$T/gc.json" &&
		chunkstore -s "$s" verify -q >&2 &&
		chunkstore -s "$s" stats --json | jq .stored_bytes
	rm -rf "$T/gone"
}
rm "$T/tree/noise"
fresh_slow=$(stored fresh-slow 19)
usual=$(after_gc usual)
num "gc writes bundles anew" "$(jq .bundles_rewritten "$T/gc.json")" -gt 2
slow=$(after_gc slow 19)
num "what level 19 has gained stays gained" "$slow" -le $((fresh_slow * 1015 / 1000)) # at 3: 1030
num "which the usual level does not reach" "$usual" -gt $((fresh_slow * 104 / 100))
none=$(after_gc none none)
num "and what was stored as it is stays so" "$none" -gt \
	"$(chunkstore -s "$T/gc-none" stats --json | jq .raw_bytes)"
done_testing
