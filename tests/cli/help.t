#!/bin/bash
# SPDX-License-Identifier: MIT
# Help goes to stdout and fits 80 columns; misuse is one line on stderr and exit status 2.
. "$(dirname "$0")/../lib/harness.sh"

run chunkstore --help
is "chunkstore --help" "$status:$(stderr)" "0:"
commands=$(stdout | sed -n '/^Commands:/,/^$/s/^  \([a-z]*\) .*/\1/p')
like "lists the commands" "${commands//$'\n'/ }" "init.*backup.*list.*restore.*gc.*verify"
for c in "" $commands; do
	run chunkstore ${c:+"$c"} --help
	is "$c --help: status and stderr" "$status:$(stderr)" "0:"
	num "$c --help: says something" "$(wc -l <"$T/stdout")" -gt 3
	is "$c --help: 80 columns" "$(expand "$T/stdout" | awk 'length($0) > 80')" ""
	run chunkstore ${c:+"$c"} --no-such-option
	is "$c: unknown option, status and stdout" "$status:$(stdout)" "2:"
	like "$c: it is named" "$(stderr)" "no-such-option"
	[ "$(wc -l <"$T/stderr")" -le 2 ] || fail "$c: short" "$(stderr)"
done
run chunkstore --version
like "--version" "$status:$(stdout)" "^0:.*[0-9]+\.[0-9]+"
run chunkfs --help
is "chunkfs --help" "$status:$(stderr)" "0:"
is "80 columns" "$(expand "$T/stdout" | awk 'length($0) > 80')" ""
run chunkfs --version
like "chunkfs --version" "$status:$(stdout)" "^0:.*[0-9]+\.[0-9]+"
check_status "chunkfs without arguments" 2 chunkfs
check_status "chunkfs with an unknown option" 2 chunkfs --no-such-option a b

# Every long option of --help is in the manual, and none but these.
page=$TOP/man/chunkstore.1
if [ -r "$page" ] && have mandoc; then
	mandoc -Tutf8 "$page" | sed 's/.\x08//g' >"$T/page"
	for c in $commands; do
		chunkstore "$c" --help | grep -o -- '--[a-z][a-z-]*'
	done | sort -u >"$T/options"
	missing=$(while read -r o; do grep -qe "$o" "$T/page" || echo "$o"; done <"$T/options")
	is "every option is in chunkstore(1)" "$missing" ""
else
	skip "every option is in chunkstore(1)" "no mandoc, or no page"
fi

# Output that cannot be written is an error, not a success.
if [ -e /dev/full ]; then
	new_store || exit 1
	mkdir "$T/a"
	backup s "$T/a" || fail "backup"
	for c in "list" "show s" "dump s" "stats --json"; do
		# shellcheck disable=SC2086
		chunkstore $c >/dev/full 2>"$T/stderr"
		is "$c to a full device fails" $? 1
	done
fi
done_testing
