// SPDX-License-Identifier: GPL-2.0-only
/* Runs a fuzz target on files, for compilers that have no libFuzzer. */

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int main(int argc, char **argv)
{
	static uint8_t data[1 << 16];
	int i;

	for (i = 1; i < argc; i++) {
		FILE *file = fopen(argv[i], "rb");
		size_t size;

		if (!file) {
			perror(argv[i]);
			return EXIT_FAILURE;
		}
		size = fread(data, 1, sizeof(data), file);
		fclose(file);
		/* where it crashes, the last name printed is the input */
		fprintf(stderr, "\r%d/%d %s\033[K", i, argc - 1, argv[i]);
		LLVMFuzzerTestOneInput(data, size);
	}
	fprintf(stderr, "\r%d inputs\033[K\n", argc - 1);
	return argc > 1 ? EXIT_SUCCESS : EXIT_FAILURE;
}
