/* SPDX-License-Identifier: MIT */
/* f_selector.c - how a user names points and times, and the names that are allowed. */
#include "place.h"

#include "fuzz.h"

#include "tools/duration.h"

#include <string.h>

static struct cs_store *store;

static void begin(void)
{
	struct cs_open_opts o = { .flags = CS_OPEN_WRITE };
	struct cs_point p;
	char path[256];

	snprintf(path, sizeof(path), "%s", place_path("store"));
	place_init(path);
	place_fill_tree();
	place_back_up(path, "web01");
	place_back_up(path, "web01");
	place_back_up(path, "cafe"); /* which an id may begin with */
	MUST(cs_store_open(path, &o, &store, NULL) == CS_OK);
	MUST(cs_point_by_name(store, "web01", "latest", &p, NULL) == CS_OK);
	MUST(cs_points_forget(store, &p.seq, 1, &(struct cs_forget_opts){ 0 }, NULL) == CS_OK);
}

static void as_time(const char *text)
{
	struct cs_time t, again;
	char name[CS_POINT_NAME_MAX + 1];
	int64_t seconds;
	char shown[CS_DURATION_TEXT];

	if (cs_time_parse(text, &t) == CS_OK)
		cs_time_name(t, name);
	if (cs_time_parse_name(text, &t) == CS_OK) {
		cs_time_name(t, name);
		MUST(strcmp(name, text) == 0);
		MUST(cs_time_parse(text, &again) == CS_OK && again.sec == t.sec);
	}
	if (cs_duration_parse(text, &seconds)) {
		MUST(seconds >= 0 && seconds <= CS_DURATION_MAX);
		cs_duration_text(seconds, shown);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct cs_point p;
	struct cs_series series;
	struct cs_error err;
	char *text = malloc(size + 1);

	if (!store)
		begin();
	MUST(text);
	memcpy(text, data, size);
	text[size] = '\0';
	if (cs_point_find(store, text, &p, &err) == CS_OK)
		MUST(p.seq != 0);
	(void)!cs_trash_find(store, text, &p, &err);
	(void)!cs_point_find_anywhere(store, text, &p, &err);
	(void)!cs_series_get(store, text, 0, &series, &err);
	(void)!cs_point_by_name(store, "web01", text, &p, &err);
	if (cs_series_check(text, &err) == CS_OK)
		MUST(cs_name_valid(text, strlen(text)));
	as_time(text);
	free(text);
	return 0;
}
