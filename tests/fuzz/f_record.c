/* SPDX-License-Identifier: MIT */
/* f_record.c - the store's header, series records and trash rows: the first byte says which. */
#include "fuzz.h"

#include "store/hash.h"
#include "store/record.h"

#include <string.h>

static void store_header(const uint8_t *data, size_t len)
{
	struct cs_store_header h, again;
	struct cs_error err;
	uint8_t packed[CS_STORE_HEADER_SIZE];

	if (cs_store_header_unpack(data, len, &h, &err) != CS_OK) {
		MUST(err.text[0] && strlen(err.text) < sizeof(err.text));
		return;
	}
	cs_store_header_pack(&h, packed);
	MUST(cs_store_header_unpack(packed, sizeof(packed), &again, &err) == CS_OK);
	MUST(again.hash_bits == h.hash_bits && again.created == h.created);
}

/* Behind a right checksum, so that the rest is looked at. */
static void series(const uint8_t *data, size_t len)
{
	struct cs_series_record s, again;
	struct cs_buf b = { 0 }, sealed = { 0 };

	cs_buf_add(&sealed, data, len);
	cs_buf_u64(&sealed, cs_checksum(data, len));
	if (cs_series_record_unpack(sealed.data, sealed.len, &s) == CS_OK) {
		cs_series_record_pack(&s, &b);
		MUST(cs_series_record_unpack(b.data, b.len, &again) == CS_OK);
		MUST(again.id == s.id && again.latest == s.latest && again.points == s.points);
	}
	cs_buf_release(&b);
	cs_buf_release(&sealed);
	(void)!cs_series_record_unpack(data, len, &s);
}

static void trash_row(const uint8_t *data, size_t len)
{
	size_t key_len = len < 12 ? len : 12;
	struct cs_trash_row r, again;
	uint8_t packed[CS_TRASH_ROW_SIZE];

	if (cs_trash_row_unpack(data + key_len, len - key_len, data, key_len, &r) == CS_OK)
		cs_trash_row_pack(&r, data, key_len, packed);
	if (len < key_len + 16)
		return;
	memcpy(packed, data + key_len, 16);
	struct cs_buf b = { 0 };
	cs_buf_add(&b, packed, 16);
	cs_buf_u64(&b, cs_checksum_seeded(packed, 16, cs_checksum(data, key_len)));
	MUST(cs_trash_row_unpack(b.data, b.len, data, key_len, &r) == CS_OK);
	cs_trash_row_pack(&r, data, key_len, packed);
	MUST(cs_trash_row_unpack(packed, sizeof(packed), data, key_len, &again) == CS_OK);
	MUST(again.seq == r.seq && again.purge_after == r.purge_after);
	cs_buf_release(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size == 0)
		return 0;
	switch (data[0] % 3) {
	case 0:
		store_header(data + 1, size - 1);
		break;
	case 1:
		series(data + 1, size - 1);
		break;
	default:
		trash_row(data + 1, size - 1);
	}
	return 0;
}
