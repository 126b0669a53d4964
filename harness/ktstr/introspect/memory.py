# SPDX-License-Identifier: GPL-2.0-only
"""Guest memory by physical and by kernel-virtual address.

The walk follows the x86-64 page tables in guest RAM (Intel SDM volume 3, 4.5: 4- and 5-level
paging). Table entries come from the guest: an entry that points outside RAM is an error.
"""

import struct
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt

from ktstr.errors import KtstrError

PAGE_SIZE = 4096
_PRESENT = 1
_LARGE = 1 << 7
_FRAME = 0x000FFFFFFFFFF000
_ENTRY = struct.Struct("<Q")
_CACHED_PAGES = 65536


class UnreadableMemory(KtstrError):
    """A guest address cannot be read: not mapped, or mapped to something that is not RAM."""


class Segment(Protocol):
    """One run of guest-physical addresses backed by RAM (bytes)."""

    @property
    def address(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def offset(self) -> int: ...


class PhysicalMemory(Protocol):
    """The VM's RAM as mapped by the host; both readers raise ``ValueError`` outside RAM."""

    @property
    def segments(self) -> Sequence[Segment]: ...
    def read(self, address: int, size: int) -> bytes: ...
    def view(self, address: int, size: int) -> memoryview: ...


class Range(NamedTuple):
    """``length`` bytes of guest-physical memory from ``address``."""

    address: int
    length: int


class Words:
    """Words of 32 bits all over guest RAM that are copied in one go.

    :param addresses: guest-physical, multiples of 4.
    :raises UnreadableMemory: when one is not, or lies outside RAM.
    """

    def __init__(self, memory: PhysicalMemory, addresses: Sequence[int]) -> None:
        wanted = np.array(addresses, np.uint64)
        self._memory = memory
        self._count = len(wanted)
        self._parts: list[tuple[Segment, npt.NDArray[np.intp], npt.NDArray[np.intp]]] = []
        found = 0
        for segment in memory.segments:
            end = segment.address + segment.size
            here = np.flatnonzero((wanted >= segment.address) & (wanted < end))
            if len(here):
                places = (wanted[here] - np.uint64(segment.address)) // np.uint64(4)
                self._parts.append((segment, here, places.astype(np.intp)))
                found += len(here)
        if found < len(wanted) or (wanted % np.uint64(4)).any():
            raise UnreadableMemory("a word lies outside RAM, or across two words")

    def copy(self) -> npt.NDArray[np.uint32]:
        """The words as they are now, in the order of their addresses as given."""
        copied = np.empty(self._count, np.uint32)
        for segment, here, places in self._parts:
            ram = np.frombuffer(self._memory.view(segment.address, segment.size), "<u4")
            copied[here] = ram[places]
        return copied


class AddressSpace:
    """The kernel's half of the guest's virtual address space.

    :param root: guest-physical address of the top page table (``swapper_pg_dir``).
    :param levels: 4 or 5.
    """

    def __init__(self, memory: PhysicalMemory, root: int, levels: int) -> None:
        self.memory = memory
        self._root = root
        self._levels = levels
        self._tops: dict[int, tuple[int, int]] = {}
        self._bounds = [(s.address, s.address + s.size) for s in memory.segments]

    def page(self, address: int) -> tuple[int, int]:
        """Physical address of ``address`` and the bytes left in its page (4 KiB, 2 MiB, 1 GiB).

        Pages are remembered: call :meth:`forget` when mappings may have changed.

        :raises UnreadableMemory: when nothing is mapped there, or not RAM.
        """
        found = self._tops.get(address >> 12)
        if found is None:
            found = self._walk(address)
            if len(self._tops) >= _CACHED_PAGES:
                self._tops.clear()
            self._tops[address >> 12] = found
        base, size = found
        inside = address & (size - 1)
        return base + inside, size - inside

    def _walk(self, address: int) -> tuple[int, int]:
        top = 12 + 9 * self._levels - 1
        if address >> top != (1 << (64 - top)) - 1:
            raise UnreadableMemory(f"{address:#x} is not a kernel address")
        table = self._root
        for level in range(self._levels - 1, -1, -1):
            slot = table + 8 * (address >> (12 + 9 * level) & 511)
            try:
                (entry,) = _ENTRY.unpack(self.memory.read(slot, 8))
            except ValueError:
                raise UnreadableMemory(
                    f"page table for {address:#x} leads outside RAM ({slot:#x})"
                ) from None
            if not entry & _PRESENT:
                raise UnreadableMemory(f"nothing is mapped at {address:#x}")
            if level == 0 or (level <= 2 and entry & _LARGE):
                size = PAGE_SIZE << (9 * level)
                base = entry & _FRAME & ~(size - 1)
                if not any(low <= base < high for low, high in self._bounds):
                    raise UnreadableMemory(f"{address:#x} is mapped to {base:#x}, which is not RAM")
                return base, size
            table = entry & _FRAME
        raise AssertionError("levels is at least 1")

    def forget(self) -> None:
        """Drop remembered translations."""
        self._tops.clear()

    def ranges(self, address: int, length: int) -> list[Range]:
        """Physical ranges behind ``length`` bytes of virtual memory, neighbours joined.

        :raises UnreadableMemory: as for :meth:`page`.
        """
        joined: list[Range] = []
        while length > 0:
            physical, left = self.page(address)
            low, high = next((b for b in self._bounds if b[0] <= physical < b[1]), (0, 0))
            if high == 0:
                raise UnreadableMemory(f"{address:#x} is mapped to {physical:#x}, past RAM's end")
            step = min(left, length, high - physical)
            last = joined[-1] if joined else None
            if last and low <= last.address and last.address + last.length == physical:
                joined[-1] = Range(joined[-1].address, joined[-1].length + step)
            else:
                joined.append(Range(physical, step))
            address += step
            length -= step
        return joined

    def read(self, address: int, length: int) -> bytes:
        """Copy of ``length`` bytes of kernel-virtual memory.

        :raises UnreadableMemory: as for :meth:`page`.
        """
        physical, left = self.page(address)
        read = self.memory.read
        if length <= left:
            try:
                return read(physical, length)
            except ValueError:
                pass  # a large page may lie across two segments, or reach past the end of RAM
        return b"".join([read(a, n) for a, n in self.ranges(address, length)])
