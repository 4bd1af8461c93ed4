/* SPDX-License-Identifier: MIT */
/*
 * main.c - replay inputs without a fuzzer: f_NAME FILE-OR-DIRECTORY...
 *
 * Says how many were replayed. A target that finds something wrong aborts; the
 * input it was given is the last one named with -v.
 */
#include "fuzz.h"

#include <dirent.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>

static bool loud;
static unsigned long replayed;

static bool replay(const char *path)
{
	FILE *f = fopen(path, "rbe");
	struct stat st;

	if (!f || fstat(fileno(f), &st) != 0) {
		perror(path);
		return false;
	}
	size_t len = (size_t)st.st_size;
	uint8_t *data = malloc(len ? len : 1); /* exactly: a read past the end is seen */
	bool ok = data && fread(data, 1, len, f) == len;
	fclose(f);
	if (ok) {
		if (loud)
			fprintf(stderr, "%s\n", path);
		LLVMFuzzerTestOneInput(data, len);
		replayed++;
	}
	free(data);
	return ok;
}

static bool replay_all(const char *path)
{
	struct dirent **names;
	char file[4096];
	bool ok = true;
	int n = scandir(path, &names, NULL, alphasort);

	if (n < 0)
		return replay(path);
	for (int i = 0; i < n; i++) {
		snprintf(file, sizeof(file), "%s/%s", path, names[i]->d_name);
		if (names[i]->d_name[0] != '.')
			ok &= replay(file);
		free(names[i]);
	}
	free(names);
	return ok;
}

int main(int argc, char **argv)
{
	bool ok = true;

	for (int i = 1; i < argc; i++) {
		if (strcmp(argv[i], "-v") == 0)
			loud = true;
		else
			ok &= replay_all(argv[i]);
	}
	printf("%lu inputs\n", replayed);
	return ok && replayed ? 0 : 1;
}
