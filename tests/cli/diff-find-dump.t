#!/bin/bash
# SPDX-License-Identifier: MIT
# Looking into points: ls, cat, find, diff, dump, show.
. "$(dirname "$0")/../lib/harness.sh"
new_store || exit 1

treegen "$T/a" --seed 31 --files 150 --no-deep | sed 's/^/# /'
backup s "$T/a" || fail "backup"
one=$(backup_json .id)
digest=$(backup_json .digest)

# ------------------------------------------------------------ diff
check "backup again" backup s "$T/a"
run chunkstore diff "$one" s/latest
is "equal points do not differ" "$status:$(stdout)" "0:"
check "not in status either" chunkstore diff --exit-code "$one" s/latest
echo x >>"$T/a/sizes/100"
rm "$T/a/sizes/1"
mkdir "$T/a/newdir"
echo y >"$T/a/newdir/file"
chmod 600 "$T/a/sizes/64"
check "backup after changes" backup s "$T/a"
run chunkstore diff "$one" s/latest
like "a new directory" "$(stdout)" $'\\+ /?newdir/?(\n|$)'
like "what is in it" "$(stdout)" $'\\+ /?newdir/file'
like "a removed file" "$(stdout)" $'- /?sizes/1(\n|$)'
like "a changed mode" "$(stdout)" $'M /?sizes/64 \\(.*mode'
unlike "nothing of what is equal" "$(stdout)" 'names|sparse|random'
check_status "--exit-code tells" 1 chunkstore diff --exit-code "$one" s/latest
run chunkstore diff "$one:names" s:names
is "equal subtrees do not differ" "$(stdout)" ""
run chunkstore diff --json "$one" s
check "as JSON" jq -e 'length >= 4 and all(.[]; has("change") and has("path"))' "$T/stdout"

# ------------------------------------------------------------ find, ls, cat, show
run chunkstore find '131073' s/latest
is "find by name" "$(stdout | sed 's/^[^:]*://; s|^/||')" sizes/131073
run chunkstore find 'sizes/13107?' s/latest
is "find by path" "$(stdout | wc -l)" 3
run chunkstore find 131073
is "find in all points" "$(stdout | wc -l)" 3
backup other "$T/a" || fail "backup"
run chunkstore find -n 131073
is "find in the newest point of each series" "$(stdout | cut -d: -f1 | sort | tr '\n' ' ')" \
	"other/$(latest other) s/$(latest s) "
run chunkstore find nothing-has-this-name
is "find nothing" "$status:$(stdout)" "0:"
run chunkstore ls s
is "ls lists the root" "$(stdout | tr '\n' ' ')" "$(ls -A "$T/a" | tr '\n' ' ')"
run chunkstore ls -R s
is "ls -R lists all" "$(chunkstore ls -R --json s | jq length)" "$(chunkstore dump s | tail -n +2 | wc -l)"
run chunkstore ls -l s:sizes/131073
like "ls -l shows size and mode" "$(stdout)" '-rw-r--r--.*131073'
for f in sizes/0 sizes/1048577 sparse/islands; do
	chunkstore cat "s:$f" | cmp -s - "$T/a/$f"
	is "cat $f" "${PIPESTATUS[*]}" "0 0"
done
check_status "cat of a directory fails" 1 chunkstore cat s:sizes
one_line_error "and names it" sizes
check_status "cat of nothing fails" 1 chunkstore cat s:nope
run chunkstore show --json s/latest
is "show tells the source" "$(json .source)" "$T/a"
name=$(json .name)
like "names are times" "$name" '^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}-[0-9]{2}-[0-9]{2}Z'
id=$(json .id)
check "a point by its name" chunkstore show "s/$name"
check "by its id" chunkstore show "$id"
check "by the beginning of it" chunkstore show "${id:0:12}"
check "by its series" chunkstore show s

# Times are local, unless asked otherwise.
for words in "list s" "show s" "ls -l s:sizes"; do
	utc=$(TZ=UTC chunkstore $words)
	check "${words%% *}: times are local" test "$(TZ=XXX-5 chunkstore $words)" != "$utc"
	is "${words%% *} -u: UTC" "$(TZ=XXX-5 chunkstore $words -u)" "$utc"
done

# ------------------------------------------------------------ dump
run chunkstore dump "$one"
cp "$T/stdout" "$T/dump"
is "dump has one line an entry" "$(wc -l <"$T/dump")" "$(chunkstore show --json "$one" | jq .entries)"
check "each of 19 fields" awk -F' ' 'NF < 18 || NF > 19 { exit 1 }' "$T/dump"
is "a file's content is its XXH3-128" \
	"$(awk '$NF == "sizes/131073" { print $17 }' "$T/dump")" \
	"$(xxhsum -H2 <"$T/a/sizes/131073" | cut -d' ' -f1)"

# The digest follows from the dump: a directory's from its children's lines, the point's from the root's.
mkdir "$T/lines"
LC_ALL=C awk -v dir="$T/lines" '
	# path is the last field, that of the root is "."; a directory hashes its children by name
	{
		path = $NF
		line[NR] = substr($0, 1, length($0) - length(path))
		path = path == "." ? "" : path
		if ($1 == "d") {
			number[path] = NR
			digest[NR] = $17
			file = dir "/" NR
			printf "" > file
			close(file)
		}
		if (path == "")
			next
		parent = path ~ /\// ? path : ""
		sub(/\/[^\/]*$/, "", parent)
		base = path
		sub(/.*\//, "", base)
		file = dir "/" number[parent]
		print line[NR] base >> file
		close(file)
	}
	END {
		for (p in number)
			print digest[number[p]], number[p]
	}' "$T/dump" | sort >"$T/wanted"
(cd "$T/lines" && xxhsum -H2 -- * 2>/dev/null | sed 's/  */ /') | sort >"$T/got"
num "directories in the dump" "$(wc -l <"$T/wanted")" -gt 10
check "every directory's digest follows from its lines" cmp "$T/wanted" "$T/got"
is "and the point's from the root's line" \
	"$(head -n 1 "$T/dump" | head -c -2 | xxhsum -H2 | cut -d' ' -f1)" "$digest"
run chunkstore dump "$one:sizes"
is "dump of a subtree" "$(stdout | wc -l)" "$(grep -c ' sizes\(/[^ ]*\)\?$' "$T/dump")"
done_testing
