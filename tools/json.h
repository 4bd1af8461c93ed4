/* SPDX-License-Identifier: MIT */
/*
 * json.h - JSON on stdout, one object at a time: a list of any length needs
 * the memory of one element.
 *
 * Failures are kept and reported by cs_json_put.
 */
#ifndef CS_TOOLS_JSON_H
#define CS_TOOLS_JSON_H

#include "output.h"

struct cs_json {
	struct cs_out *out;
	void *object;   /* being filled; owned */
	uint64_t count; /* elements of the array so far */
	bool array;     /* an array is open */
	bool nested;    /* it is the first member of an object that is still open */
	bool failed;
};

/* Begin an array of objects: alone, or (key not NULL) as the first member of an object. */
void cs_json_array(struct cs_json *j, struct cs_out *out, const char *key);
/* End the array. After a keyed one, one object adds its members and ends it. */
void cs_json_array_end(struct cs_json *j);

/* Begin an object; out may be NULL inside an array. */
void cs_json_object(struct cs_json *j, struct cs_out *out);
void cs_json_text(struct cs_json *j, const char *key, const char *text);
/* A name or path; when it is not UTF-8: escaped, and its bytes under KEY_base64. */
void cs_json_name(struct cs_json *j, const char *key, const char *name, size_t len);
void cs_json_number(struct cs_json *j, const char *key, uint64_t v);
void cs_json_bool(struct cs_json *j, const char *key, bool v);
void cs_json_time(struct cs_json *j, const char *key, struct cs_time t);
void cs_json_hash(struct cs_json *j, const char *key, const struct cs_hash *h);
/* An array of texts that grows by one with each call; with NULL it is made, empty. */
void cs_json_append(struct cs_json *j, const char *key, const char *text);
/* Write the object. */
int cs_json_put(struct cs_json *j, struct cs_error *err) CS_MUST_CHECK;
/* Free what is unfinished. */
void cs_json_release(struct cs_json *j);

#endif
