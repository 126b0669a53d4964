# SPDX-License-Identifier: GPL-2.0-only
"""Copying guest RAM between memory files and disk: what was ever touched, inside the kernel."""

import errno
import os
from collections.abc import Iterator


def data_extents(fd: int) -> Iterator[tuple[int, int]]:
    """Start and end of each run of data in a sparse file, in order (SEEK_DATA in lseek(2))."""
    at = 0
    while True:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # no data from here to the end
                return
            raise
        at = os.lseek(fd, start, os.SEEK_HOLE)
        yield start, at


def copy_run(source: int, start: int, target: int, length: int) -> None:
    """Copy bytes from ``start`` in ``source`` to the present position of ``target``.

    :raise OSError: as the file systems answer; EIO when the source is shorter than that.
    """
    end = start + length
    while start < end:
        # copy_file_range(2) does not go from one kind of file system to another.
        count = os.sendfile(target, source, start, end - start)
        if count == 0:
            raise OSError(errno.EIO, "the file ends before its last run of data")
        start += count


def copy_data(source: int, target: int) -> int:
    """Copy the runs of data to the same places in ``target``; holes stay what they are there.

    :return: bytes copied.
    :raise OSError: as :func:`copy_run`.
    """
    copied = 0
    for start, end in data_extents(source):
        os.lseek(target, start, os.SEEK_SET)
        copy_run(source, start, target, end - start)
        copied += end - start
    return copied
