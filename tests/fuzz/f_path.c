/* SPDX-License-Identifier: MIT */
/*
 * f_path.c - a path into a point, as somebody types it: what is found by it is
 * found by its position, too; and what may be a name.
 */
#include "place.h"

#include "fuzz.h"

#include <string.h>

static struct cs_tree *tree;

static void begin(void)
{
	struct cs_store *s;
	struct cs_point p;
	char store[256];

	snprintf(store, sizeof(store), "%s", place_path("store"));
	place_init(store);
	place_fill_tree();
	place_back_up(store, "s");
	MUST(cs_store_open(store, NULL, &s, NULL) == CS_OK);
	MUST(cs_point_by_name(s, "s", "latest", &p, NULL) == CS_OK);
	MUST(cs_tree_open(s, p.seq, &tree, NULL) == CS_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cs_node n, again, child;
	struct cs_error err = { 0 };
	char *path = malloc(size + 1);

	if (!tree)
		begin();
	MUST(path);
	memcpy(path, data, size);
	path[size] = '\0';
	int rc = cs_tree_lookup(tree, path, &n, &err);
	if (rc == CS_OK) {
		MUST(cs_tree_at(tree, n.pos, &again, NULL) == CS_OK && again.pos == n.pos);
		MUST(again.entry.name_len == n.entry.name_len);
		if (S_ISDIR(n.entry.mode))
			MUST(cs_tree_child(tree, &n, "..", 2, &child, NULL) == CS_E_NOTFOUND);
		cs_node_release(&again);
		cs_node_release(&n);
	} else {
		MUST((rc == CS_E_NOTFOUND || rc == CS_E_NOTDIR) && err.text[0]);
	}
	if (cs_name_valid((const char *)data, size))
		MUST(size > 0 && size <= 255 && !memchr(data, '/', size) && !memchr(data, 0, size));
	free(path);
	return 0;
}
