// SPDX-License-Identifier: GPL-2.0-only
/* The small text files through which the kernel shows and takes values. */
#ifndef WORKER_CONTROL_H
#define WORKER_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>

/*
 * The file @name of the folder @dir without its last newline, at most @size - 1
 * bytes; false with errno.
 */
bool control_read(const char *dir, const char *name, char *text, size_t size);
/* The same file to read from, however long; NULL with errno. */
FILE *control_open(const char *dir, const char *name);
/* Write @text to the file @name of the folder @dir; false with errno. */
bool control_write(const char *dir, const char *name, const char *text);

#endif
