/* SPDX-License-Identifier: MIT */
/* noise - bytes that do not compress, the same for the same seed: noise SEED COUNT */
#include <err.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
	if (argc != 3)
		errx(2, "noise SEED COUNT");
	uint64_t state = strtoull(argv[1], NULL, 10);
	for (unsigned long long left = strtoull(argv[2], NULL, 10); left > 0;) {
		uint64_t z = state += 0x9e3779b97f4a7c15u;
		z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
		z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
		z ^= z >> 31;
		size_t n = left < sizeof(z) ? (size_t)left : sizeof(z);
		if (fwrite(&z, 1, n, stdout) != n)
			err(1, "stdout");
		left -= n;
	}
	if (fflush(stdout) != 0)
		err(1, "stdout");
	return 0;
}
