// SPDX-License-Identifier: GPL-2.0-only
/* Where the work types that read and write blocks do so: a scratch disk, else a file. */
#ifndef WORKER_SCRATCH_H
#define WORKER_SCRATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * The serial number a disk must have to be written to. The machine's own disks
 * have another, so that no run outside a guest can ever destroy data.
 */
#define SCRATCH_SERIAL "ktstr-scratch"
#define SCRATCH_BLOCK  4096

struct scratch {
	int fd;
	uint64_t blocks; /* of SCRATCH_BLOCK bytes */
	bool disk;	 /* a disk, which all workers share */
};

/*
 * Open the scratch disk with @flags of open(2); where there is none, a nameless
 * file of @file_blocks in /tmp, filled with data. O_DIRECT is left out where the
 * file system has none. False with a sentence in @error (@size bytes).
 */
bool scratch_open(struct scratch *s, int flags, uint64_t file_blocks, char *error, size_t size);

#endif
