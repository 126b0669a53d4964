# SPDX-License-Identifier: GPL-2.0-only
"""The RAM of a guest in one dense file: its runs of data one after the other, each with a checksum.

Dense rather than sparse: as fast, and its size tells when it was cut short, wherever it was copied.
The checksum is zlib's CRC-32: it is there against damage, not against malice, and half the price of
the fastest cryptographic hash.
"""

import errno
import mmap
import os
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ktstr.errors import StateUnusable
from ktstr.vm.ram import GuestRam
from ktstr.vm.sparse import copy_run, data_extents


@dataclass(frozen=True, slots=True)
class Run:
    """A run of data in the RAM of one NUMA node.

    :param node: which node, as an index.
    :param start: where in the node's RAM, bytes.
    :param length: bytes; as many follow in the file.
    :param crc: CRC-32 of them.
    """

    node: int
    start: int
    length: int
    crc: int


def pack(ram: GuestRam, path: Path) -> list[Run]:
    """Write the RAM of a guest that stands still; blocks.

    :raise OSError: when the file cannot be written.
    """
    places: list[tuple[int, int, int]] = []
    with path.open("w+b", buffering=0) as target:
        for node, fd in enumerate(ram.fds):
            for start, end in data_extents(fd):
                places.append((node, start, end - start))
                copy_run(fd, start, target.fileno(), end - start)
        sums = _sums(target.fileno(), [length for _, _, length in places])
    return [Run(*place, crc) for place, crc in zip(places, sums, strict=True)]


def wrong_size(found: int, runs: Sequence[Run]) -> str | None:
    """What is wrong with a packed file's size, in words."""
    due = sum(run.length for run in runs)
    return None if found == due else f"its RAM has {found} bytes instead of {due}"


def unpack(path: Path, runs: Sequence[Run], ram: GuestRam) -> None:
    """Copy packed RAM into that of a guest that has not run yet; blocks.

    :raise StateUnusable: when it cannot be read, or does not fit the guest.
    """
    with _readable(path) as source:
        at = 0
        for run in runs:
            if run.node >= len(ram.fds) or run.start + run.length > ram.node_bytes[run.node]:
                raise StateUnusable(f"saved RAM {path} is that of another machine")
            os.lseek(ram.fds[run.node], run.start, os.SEEK_SET)
            copy_run(source, at, ram.fds[run.node], run.length)
            at += run.length


def check(path: Path, runs: Sequence[Run]) -> None:
    """Hold packed RAM against its checksums; blocks.

    :raise StateUnusable: when it is damaged, or cannot be read.
    """
    with _readable(path) as source:
        sums = _sums(source, [run.length for run in runs])
    for run, crc in zip(runs, sums, strict=True):
        if crc != run.crc:
            raise StateUnusable(
                f"saved RAM {path}: node {run.node} at {run.start:#x} does not match its checksum"
            )


@contextmanager
def _readable(path: Path) -> Iterator[int]:
    try:
        with path.open("rb", buffering=0) as source:
            yield source.fileno()
    except OSError as error:
        raise StateUnusable(f"saved RAM {path}: {error.strerror}") from error


def _sums(fd: int, lengths: Sequence[int]) -> list[int]:
    total = sum(lengths)
    if not total:
        return [0 for _ in lengths]
    if os.fstat(fd).st_size < total:
        raise OSError(errno.EIO, "the file is shorter than what was written")
    sums = []
    with mmap.mmap(fd, total, prot=mmap.PROT_READ) as mapped, memoryview(mapped) as view:
        at = 0
        for length in lengths:
            with view[at : at + length] as part:
                sums.append(zlib.crc32(part))
            at += length
    return sums
