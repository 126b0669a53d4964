# SPDX-License-Identifier: GPL-2.0-only
"""Guest RAM shared with QEMU: anonymous memory files the host creates and maps before QEMU starts.

The files have no name (memfd_create(2)), so nothing can be left in /dev/shm however the harness
ends, and they are sealed against resizing, so no one can turn a host read into SIGBUS.
"""

import fcntl
import mmap
import os
from collections.abc import Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from ktstr.errors import HostUnfit

MIB = 1 << 20
_GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Segment:
    """A run of guest-physical addresses.

    :param address: first guest-physical address.
    :param size: bytes.
    :param offset: where the run starts in its backing file.
    :param backing: which backing file (one per NUMA node), as an index.
    """

    address: int
    size: int
    offset: int
    backing: int = 0


class OutsideRam(ValueError):
    """A guest-physical range that is not (entirely) RAM."""


def q35_segments(node_bytes: Sequence[int]) -> tuple[Segment, ...]:
    """Where a q35 machine puts the RAM of its nodes, in address order.

    RAM that would reach 0xb0000000 is cut at 2 GiB and goes on at 4 GiB, to leave room for the
    PCI window (QEMU hw/i386/pc_q35.c, ``pc_q35_init``). Nodes follow one another.

    :param node_bytes: bytes of each node, in node order.
    """
    total = sum(node_bytes)
    below = 2 * _GIB if total >= 0xB000_0000 else total
    segments = []
    start = 0
    for backing, size in enumerate(node_bytes):
        low = min(size, max(0, below - start))
        if low:
            segments.append(Segment(start, low, 0, backing))
        if size > low:
            high = start + low - below
            segments.append(Segment(4 * _GIB + high, size - low, low, backing))
        start += size
    return tuple(segments)


class GuestRam:
    """The RAM of one guest: owner of its backing files and their mappings.

    Reading a page the guest never touched makes the host allocate it: read what is needed, do not
    sweep.

    :param node_bytes: bytes of each NUMA node, multiples of the page size.
    :raises HostUnfit: when the kernel refuses to create or map the files.
    """

    def __init__(self, node_bytes: Sequence[int]) -> None:
        self.segments: tuple[Segment, ...] = q35_segments(node_bytes)
        self.size: int = sum(node_bytes)
        self.node_bytes: tuple[int, ...] = tuple(node_bytes)
        self.fds: tuple[int, ...] = ()
        self._maps: list[mmap.mmap] = []
        try:
            for node, size in enumerate(node_bytes):
                self._create(node, size)
        except OSError as error:
            self.close()
            raise HostUnfit(
                f"guest RAM of {self.size // MIB} MiB cannot be created: {error.strerror}",
                hint="free memory or lower vm.memory",
            ) from error
        self._spans = tuple(
            (s.address, s.address + s.size, s.address - s.offset, self._maps[s.backing])
            for s in self.segments
        )

    @property
    def fd(self) -> int:
        """Descriptor of the first (for one node: the only) backing file."""
        return self.fds[0]

    def read(self, address: int, size: int) -> bytes:
        """Copy ``size`` bytes from guest-physical ``address``.

        :raises OutsideRam: when any of them is not RAM.
        """
        end = address + size
        for start, stop, shift, mapped in self._spans:
            if start <= address and end <= stop and size >= 0:
                return mapped[address - shift : end - shift]
        return b"".join(bytes(part) for part in self._parts(address, size))

    def view(self, address: int, size: int) -> memoryview:
        """A window onto guest RAM without copying; release it before the RAM is closed.

        :raises OutsideRam: when the range is not RAM or crosses from one segment to another.
        """
        end = address + size
        for start, stop, shift, mapped in self._spans:
            if start <= address and end <= stop and size >= 0:
                return memoryview(mapped)[address - shift : end - shift]
        raise OutsideRam(self._explain(address, size) + " in one piece")

    def write(self, address: int, data: bytes | bytearray | memoryview) -> None:
        """Copy ``data`` to guest-physical ``address``; nothing is written when any part is outside.

        :raises OutsideRam: when any byte would fall outside RAM.
        """
        source = memoryview(data).cast("B")
        done = 0
        for part in self._parts(address, len(source)):
            part[:] = source[done : done + len(part)]
            done += len(part)

    def close(self) -> None:
        """Unmap and close the files; their memory is freed once QEMU is gone too."""
        self._spans = ()
        while self._maps:
            mapped = self._maps.pop()
            try:
                mapped.close()
            except BufferError:
                # A view is still held somewhere; the mapping goes when the view does.
                continue
        for fd in self.fds:
            os.close(fd)
        self.fds = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _create(self, node: int, size: int) -> None:
        fd = os.memfd_create(f"ktstr-ram{node}", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        self.fds = (*self.fds, fd)
        os.ftruncate(fd, size)
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW)
        self._maps.append(mmap.mmap(fd, size))

    def _parts(self, address: int, size: int) -> list[memoryview]:
        """Windows that together cover the range, in order."""
        parts: list[memoryview] = []
        if size < 0:
            raise OutsideRam(f"guest-physical 0x{address:x}: a size of {size} is negative")
        at, end = address, address + size
        for start, stop, shift, mapped in self._spans:
            if start <= at < stop and at < end:
                upto = min(end, stop)
                parts.append(memoryview(mapped)[at - shift : upto - shift])
                at = upto
        if at != end or (size == 0 and not self._inside(address)):
            raise OutsideRam(self._explain(address, size))
        return parts

    def _inside(self, address: int) -> bool:
        return any(start <= address <= stop for start, stop, _, _ in self._spans)

    def _explain(self, address: int, size: int) -> str:
        have = ", ".join(f"0x{s.address:x}-0x{s.address + s.size - 1:x}" for s in self.segments)
        return (
            f"guest-physical 0x{address:x} + {size} bytes: the guest has RAM at {have}, not there"
        )
