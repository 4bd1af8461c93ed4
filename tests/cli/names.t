#!/bin/bash
# SPDX-License-Identifier: MIT
# Names are bytes: they are stored as they are, and never break a line of output.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

mkdir "$T/a"
cd "$T/a" || exit 1
long=$(printf 'x%.0s' {1..255})
bytes=$(printf '\xff%.0s' {1..255})
names=($'new\nline' $'\xff\xfe' $'caf\xe9' 'café' ' ' '-rf' $'\x01\x7f' 'back\slash' "$long" "$bytes"
	'a:b' '*' $'\e[31mred' latest)
for n in "${names[@]}"; do
	printf '%s' "$n" >"./$n"
done
cd / || exit 1

check "backup" backup s "$T/a"
check "restore" chunkstore restore s "$T/out"
check "every name and content is the same" treecmp "$T/a" "$T/out"
for n in "${names[@]}"; do
	run chunkstore cat "s/latest:$n"
	is "cat finds $(printf %q "${n:0:20}")" "$(stdout)" "$n"
done

run chunkstore ls s
printf '%s\n' "${names[@]}" | LC_ALL=C sort >"$T/wanted"
check "ls prints names as they are" bash -c "LC_ALL=C sort '$T/stdout' | cmp - '$T/wanted'"
if have script && script -qec true /dev/null </dev/null >/dev/null 2>&1; then
	script -qec "chunkstore ls s" /dev/null </dev/null | tr -d '\r' >"$T/terminal"
	is "on a terminal one line a name" "$(wc -l <"$T/terminal")" ${#names[@]}
	check "and no byte it could trip over" \
		bash -c "! sed 's/é//' '$T/terminal' | LC_ALL=C grep -q '[^[:print:]]'"
else
	skip "on a terminal one line a name" "no script(1), or no terminal for it"
fi
run chunkstore ls --json s
is "JSON has every name" "$(json length)" ${#names[@]}
check "and is UTF-8" iconv -f UTF-8 -t UTF-8 "$T/stdout"
is "with the bytes beside it where they are not text" \
	"$(jq -r '.[] | .path_base64 // empty' "$T/stdout" 2>/dev/null |
		while read -r b; do base64 -d <<<"$b"; echo; done | LC_ALL=C sort | head -c 4 | od -An -tx1)" \
	"$(printf 'caf\xe9' | od -An -tx1)"
run chunkstore find -0 $'new?line' s
is "find -0 ends a name with NUL" "$(stdout | tr -cd '\0' | wc -c)" 1
run chunkstore dump s
is "dump is one line an entry" "$(stdout | wc -l)" $((${#names[@]} + 1))

# A path longer than the kernel takes in one piece.
treegen "$T/deep" --files 0 | sed 's/^/# /'
check "backup of a path beyond 4096 bytes" backup deep "$T/deep"
num "it is that long" "$(chunkstore dump deep | awk '{ print length($NF) }' | sort -n | tail -1)" -gt 4096
check "restore of it" chunkstore restore deep "$T/deep-out"
check "is the same" treecmp "$T/deep" "$T/deep-out"
path=$(chunkstore dump deep | awk '$NF ~ /bottom$/ { print $NF }')
run chunkstore cat "deep:${path//\\x20/ }"
is "cat of the file at the bottom" "$status:$(stdout | wc -c)" 0:5000

# Series and tags have a small alphabet.
for bad in . .. a/b -x .hidden 'a b' latest by-id by-tag '' "$(printf 's%.0s' {1..129})"; do
	run chunkstore backup -q --series "$bad" --root "$T/a"
	is "series '${bad:0:12}' is refused" "$status" 2
done
is "and none was made" "$(chunkstore list --series | wc -l)" 2
done_testing
