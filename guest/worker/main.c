// SPDX-License-Identifier: GPL-2.0-only
/*
 * worker lead KEY=VALUE...   run one work spec under the commands on fd 0
 * worker list                print the work types as JSON
 * worker measure             print what measuring costs as JSON
 */
#include <stdio.h>
#include <string.h>

#include "leader.h"
#include "measure.h"
#include "report.h"
#include "work.h"

int main(int argc, char **argv)
{
	static struct spec spec;
	char error[ERROR_TEXT_SIZE];

	if (argc == 2 && !strcmp(argv[1], "list"))
		return work_list_json();
	if (argc == 2 && !strcmp(argv[1], "measure"))
		return measure_json();
	if (argc < 2 || strcmp(argv[1], "lead")) {
		fprintf(stderr, "usage: worker lead KEY=VALUE... | worker list | worker measure\n");
		return EXIT_INVALID;
	}
	if (!spec_parse(&spec, argc - 2, argv + 2, error)) {
		send_error(error);
		return EXIT_INVALID;
	}
	return lead(&spec);
}
