/* SPDX-License-Identifier: MIT */
/*
 * fuzz.h - what the fuzz targets share.
 *
 * A target is one file f_NAME.c with LLVMFuzzerTestOneInput. It is built twice:
 * with main.c, by any compiler, to replay tests/fuzz/corpus/NAME in `make test`;
 * and with libFuzzer by `make fuzz`, to look for more. It never fails because of
 * its input, only when what it calls does what it must not.
 */
#ifndef CS_FUZZ_H
#define CS_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MUST(cond)                                                                \
	do {                                                                      \
		if (!(cond)) {                                                    \
			fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #cond); \
			abort();                                                  \
		}                                                                 \
	} while (0)

#endif
