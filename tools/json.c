/* SPDX-License-Identifier: MIT */
/*
 * json.c - the only file that knows libjansson.
 *
 * Times are ISO 8601 in UTC, hashes hex. A name that is valid UTF-8 is given
 * as it is; any other gets a readable text and, under KEY_base64, its bytes:
 * a program takes those when they are there and needs to undo no escapes.
 */
#include "json.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

void cs_json_array(struct cs_json *j, struct cs_out *out, const char *key)
{
	cs_json_release(j);
	j->out = out;
	j->array = true;
	j->nested = key != NULL;
	if (key)
		cs_out_printf(out, "{\"%s\":", key);
	cs_out_printf(out, "[");
}

void cs_json_array_end(struct cs_json *j)
{
	j->array = false;
	cs_out_printf(j->out, "%s]%s", j->count > 0 ? "\n" : "", j->nested ? "" : "\n");
}

void cs_json_object(struct cs_json *j, struct cs_out *out)
{
	if (out)
		j->out = out;
	json_decref(j->object);
	j->object = json_object();
	j->failed |= !j->object;
}

static void set(struct cs_json *j, const char *key, json_t *value)
{
	j->failed |= json_object_set_new(j->object, key, value) != 0;
}

/* Text of ours, or of a name that may be anything: made valid whatever it is. */
static json_t *text_value(const char *s, size_t len)
{
	json_t *v = json_stringn(s, len);
	char *escaped;
	size_t n;

	if (v)
		return v;
	n = cs_text_escape(s, len, false, NULL, 0);
	escaped = malloc(n + 1);
	if (escaped) {
		cs_text_escape(s, len, false, escaped, n + 1);
		v = json_stringn(escaped, n);
	}
	free(escaped);
	return v;
}

static json_t *base64_value(const uint8_t *s, size_t len)
{
	static const char digits[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	size_t n = 0;
	char *text = malloc((len + 2) / 3 * 4 + 1);
	json_t *v;

	if (!text)
		return NULL;
	for (size_t i = 0; i < len; i += 3) {
		uint32_t left = len - i >= 3 ? 3 : (uint32_t)(len - i);
		uint32_t w = (uint32_t)s[i] << 16;

		w |= left > 1 ? (uint32_t)s[i + 1] << 8 : 0;
		w |= left > 2 ? s[i + 2] : 0;
		text[n++] = digits[w >> 18];
		text[n++] = digits[w >> 12 & 63];
		text[n++] = left > 1 ? digits[w >> 6 & 63] : '=';
		text[n++] = left > 2 ? digits[w & 63] : '=';
	}
	v = json_stringn(text, n);
	free(text);
	return v;
}

void cs_json_text(struct cs_json *j, const char *key, const char *text)
{
	set(j, key, text_value(text, strlen(text)));
}

void cs_json_name(struct cs_json *j, const char *key, const char *name, size_t len)
{
	json_t *plain = json_stringn(name, len);
	char raw_key[64];

	if (plain) {
		set(j, key, plain);
		return;
	}
	set(j, key, text_value(name, len));
	snprintf(raw_key, sizeof(raw_key), "%s_base64", key);
	set(j, raw_key, base64_value((const uint8_t *)name, len));
}

void cs_json_number(struct cs_json *j, const char *key, uint64_t v)
{
	char digits[24];

	if (v <= INT64_MAX) {
		set(j, key, json_integer((json_int_t)v));
		return;
	}
	/* Only a foreign inode number can be this large: as text it stays exact. */
	snprintf(digits, sizeof(digits), "%" PRIu64, v);
	set(j, key, json_string(digits));
}

void cs_json_bool(struct cs_json *j, const char *key, bool v)
{
	set(j, key, json_boolean(v));
}

void cs_json_time(struct cs_json *j, const char *key, struct cs_time t)
{
	char text[CS_OUT_TEXT];

	set(j, key, json_string(cs_out_iso(t, text)));
}

void cs_json_hash(struct cs_json *j, const char *key, const struct cs_hash *h)
{
	char text[2 * CS_HASH_SIZE + 1];

	cs_hash_hex(h, text);
	set(j, key, json_string(text));
}

void cs_json_append(struct cs_json *j, const char *key, const char *text)
{
	json_t *list = json_object_get(j->object, key);

	if (!list) {
		list = json_array();
		set(j, key, list);
	}
	if (text)
		j->failed |= json_array_append_new(list, text_value(text, strlen(text))) != 0;
}

static int write_part(const char *text, size_t len, void *arg)
{
	cs_out_bytes(arg, text, len);
	return 0;
}

int cs_json_put(struct cs_json *j, struct cs_error *err)
{
	bool tail = j->nested && !j->array;

	if (j->failed)
		return cs_fail(err, CS_E_NOMEM, "%s", cs_code_text(CS_E_NOMEM));
	if (j->array)
		cs_out_printf(j->out, j->count++ > 0 ? ",\n" : "\n");
	if (tail)
		cs_out_printf(j->out, ",\n");
	if (json_dump_callback(j->object, write_part, j->out,
			       JSON_COMPACT | (tail ? JSON_EMBED : 0)) != 0)
		return cs_fail(err, CS_E_NOMEM, "%s", cs_code_text(CS_E_NOMEM));
	if (!j->array)
		cs_out_printf(j->out, tail ? "}\n" : "\n");
	json_decref(j->object);
	j->object = NULL;
	return cs_out_check(j->out, err);
}

void cs_json_release(struct cs_json *j)
{
	json_decref(j->object);
	memset(j, 0, sizeof(*j));
}
