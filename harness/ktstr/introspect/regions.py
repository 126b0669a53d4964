# SPDX-License-Identifier: GPL-2.0-only
"""Kernel-virtual regions planned for copying, and the bytes copied from them."""

from bisect import bisect_right
from dataclasses import dataclass, field

from ktstr.errors import KtstrError
from ktstr.introspect.kernel import Kernel
from ktstr.introspect.memory import Range
from ktstr.introspect.trail import Copied, Reader

_JOIN_GAP = 64
"""Ranges this close together are copied as one: a call costs more than the bytes between."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of one snapshot; sizes in bytes.

    ``max_chased`` bounds the hash elements that are followed while the guest stands still.
    """

    max_map_bytes: int = 1 << 20
    max_total: int = 16 << 20
    max_entries: int = 4096
    max_ranges: int = 32768
    max_chased: int = 512
    max_maps: int = 4096


class OverLimit(KtstrError):
    """A snapshot's limits leave no room for something."""


@dataclass(frozen=True, slots=True)
class Region:
    """Kernel-virtual bytes to copy, with the guest-physical pieces behind them."""

    address: int
    length: int
    pieces: tuple[Range, ...]


class Builder:
    """Collects regions while a plan is made and keeps count of the limits."""

    def __init__(self, kernel: Kernel, limits: Limits) -> None:
        self.kernel = kernel
        self.limits = limits
        self._total = 0
        self._pieces: list[Range] = []

    @property
    def room(self) -> int:
        """Bytes that still fit into one more map."""
        return max(0, min(self.limits.max_map_bytes, self.limits.max_total - self._total))

    def add(self, address: int, length: int) -> Region:
        """Plan to copy ``length`` bytes of kernel-virtual memory.

        :raises OverLimit: when they do not fit.
        :raises UnreadableMemory: when they are not mapped.
        """
        if length > self.limits.max_total - self._total:
            raise OverLimit(f"the snapshot's {self.limits.max_total} bytes are used up")
        if len(self._pieces) >= self.limits.max_ranges:
            raise OverLimit(f"more than {self.limits.max_ranges} separate ranges to copy")
        pieces = tuple(self.kernel.space.ranges(address, length))
        self._pieces.extend(pieces)
        self._total += length
        return Region(address, length, pieces)

    def mark(self) -> tuple[int, int]:
        """A point :meth:`rewind` can return to."""
        return len(self._pieces), self._total

    def rewind(self, mark: tuple[int, int]) -> None:
        """Forget what was added since ``mark``: the map it was for failed half-way."""
        del self._pieces[mark[0] :]
        self._total = mark[1]

    def coalesced(self) -> tuple[Range, ...]:
        """All pieces in address order; neighbours in the same RAM segment joined."""
        segments = [(s.address, s.address + s.size) for s in self.kernel.memory.segments]
        joined: list[Range] = []
        for address, length in sorted(self._pieces):
            if joined:
                first, size = joined[-1]
                end = max(first + size, address + length)
                near = address <= first + size + _JOIN_GAP
                if near and any(low <= first and end <= high for low, high in segments):
                    joined[-1] = Range(first, end - first)
                    continue
            joined.append(Range(address, length))
        return tuple(joined)


@dataclass(slots=True)
class Chased:
    """Elements of one hash that were followed during the freeze.

    ``elements`` holds (bytes, per-CPU values or ``None``); ``note`` says why the walk ended
    before its end.
    """

    elements: list[tuple[bytes, dict[int, bytes | None] | None]] = field(default_factory=list)
    note: str | None = None


@dataclass(slots=True)
class Captured:
    """The bytes of one freeze.

    :param ranges: what was copied, in address order, one buffer each.
    :param chased: by map id, the elements that were followed.
    :param tasks: by CPU, the planned window of the current task's ``task_struct``.
    :param processes: what the walk over the processes needs.
    :param cgroups: what the walk over the cgroups needs.
    :param copy_ns: host time the copying took.
    """

    ranges: tuple[Range, ...]
    starts: tuple[int, ...]
    buffers: list[bytes]
    chased: dict[int, Chased] = field(default_factory=dict)
    tasks: dict[int, bytes] = field(default_factory=dict)
    processes: Reader = field(default_factory=Copied)
    cgroups: Reader = field(default_factory=Copied)
    copy_ns: int = 0

    def content(self, region: Region) -> bytes:
        """The copied bytes of a planned region."""
        parts = []
        for address, length in region.pieces:
            index = bisect_right(self.starts, address) - 1
            offset = address - self.starts[index]
            part = self.buffers[index][offset : offset + length]
            if length == region.length:
                return part
            parts.append(part)
        return b"".join(parts)

    def unsigned(self, region: Region, offset: int = 0, size: int = 8) -> int:
        """Unsigned little-endian number inside a region."""
        return int.from_bytes(self.content(region)[offset : offset + size], "little")
