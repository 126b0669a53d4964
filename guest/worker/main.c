// SPDX-License-Identifier: GPL-2.0-only
/*
 * worker lead KEY=VALUE...   run one work spec under the commands on fd 0
 * worker wait                the same, with the KEY=VALUE... from fd 0 in front of the commands:
 *                            their length (u16, little-endian), then each with a NUL behind it
 * worker list                print the work types as JSON
 * worker measure             print what measuring costs as JSON
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "leader.h"
#include "measure.h"
#include "report.h"
#include "work.h"

#define WAIT_BYTES 4096
#define WAIT_WORDS 128

static bool read_exactly(void *to, size_t size)
{
	for (size_t got = 0; got < size;) {
		ssize_t n = read(STDIN_FILENO, (char *)to + got, size - got);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		got += (size_t)n;
	}
	return true;
}

/* Wait for the words of a lead; false when nobody sends any more. Their count is -1 for nonsense. */
static bool wait_for_words(char **words, int *count)
{
	static char text[WAIT_BYTES];
	unsigned char head[2];
	size_t size;

	if (!read_exactly(head, sizeof(head)))
		return false;
	size = head[0] | (size_t)head[1] << 8;
	*count = -1;
	if (!size || size > sizeof(text))
		return true;
	if (!read_exactly(text, size))
		return false;
	if (text[size - 1])
		return true;
	*count = 0;
	for (char *at = text; at < text + size; at += strlen(at) + 1) {
		if (*count == WAIT_WORDS) {
			*count = -1;
			return true;
		}
		words[(*count)++] = at;
	}
	return true;
}

int main(int argc, char **argv)
{
	char *words[WAIT_WORDS];
	static struct spec spec;
	char error[ERROR_TEXT_SIZE];

	if (argc == 2 && !strcmp(argv[1], "list"))
		return work_list_json();
	if (argc == 2 && !strcmp(argv[1], "measure"))
		return measure_json();
	if (argc == 2 && !strcmp(argv[1], "wait")) {
		if (!wait_for_words(words, &argc))
			return EXIT_OK;
		if (argc < 0) {
			send_error("wait: what came is not a list of KEY=VALUE");
			return EXIT_INVALID;
		}
		argv = words;
	} else if (argc >= 2 && !strcmp(argv[1], "lead")) {
		argc -= 2;
		argv += 2;
	} else {
		fprintf(stderr, "usage: worker lead KEY=VALUE... | worker wait | worker list | "
				"worker measure\n");
		return EXIT_INVALID;
	}
	if (!spec_parse(&spec, argc, argv, error)) {
		send_error(error);
		return EXIT_INVALID;
	}
	return lead(&spec);
}
