# SPDX-License-Identifier: GPL-2.0-only
"""Guest RAM inside a checkpoint, read page by page."""

import zlib
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from ktstr.errors import CheckpointUnusable
from ktstr.vm.ram import GuestRam, OutsideRam, Segment

PAGE: Final = 4096
CHUNK: Final = 16 * PAGE
"""Bytes of pages that are compressed together; unpacking them takes 0.15 ms."""

CACHED_CHUNKS: Final = 1024
"""Chunks kept unpacked, 64 MiB: attaching to a kernel reads its tables of symbols and types."""

_HOT_PAGES: Final = 1024
"""Pages kept by their number: symbols are read in hundreds of thousands of small pieces."""

_PACKED_MOST: Final = CHUNK + 1024
_LARGEST_READ: Final = 1 << 30


class ChunkPlace(NamedTuple):
    """Where a compressed chunk is in the file, its length in bytes, and its crc32."""

    offset: int
    size: int
    checksum: int


class CheckpointRam:
    """The RAM of a checkpoint, to be read like a guest's. Not thread-safe.

    :param name: of the checkpoint, for errors.
    :param extents: first page and number of pages of each run that is not zeros.
    :param fetch: reads a chunk from the file.
    :raises CheckpointUnusable: when the index contradicts itself or the machine.
    """

    def __init__(
        self,
        name: str,
        segments: tuple[Segment, ...],
        extents: npt.NDArray[np.uint64],
        chunks: Sequence[ChunkPlace],
        fetch: Callable[[ChunkPlace, str], bytes],
    ) -> None:
        self.segments: tuple[Segment, ...] = segments
        self._name = name
        self._chunks = chunks
        self._fetch = fetch
        self._cache: OrderedDict[int, bytes] = OrderedDict()
        self._hot: dict[int, bytes] = {}
        self._starts: list[int]
        self._counts: list[int]
        self._places: list[int]
        self._index(extents)

    def _index(self, extents: npt.NDArray[np.uint64]) -> None:
        """Take the extents over, once they are in order, inside RAM, and as many as the chunks."""
        most = max(s.address + s.size for s in self.segments) // PAGE
        starts, counts = extents[:, 0], extents[:, 1]
        if (starts > most).any() or (counts > most).any() or (counts == 0).any():
            raise self._wrong("it has memory that the machine has not")
        # What is left fits 64 bits with room, signs included.
        first, many = starts.astype(np.int64), counts.astype(np.int64)
        ends = first + many
        if (first[1:] < ends[:-1]).any():
            raise self._wrong("its parts of memory are not in order")
        inside = np.zeros(len(first), dtype=bool)
        for segment in self.segments:
            low, high = segment.address // PAGE, (segment.address + segment.size) // PAGE
            inside |= (first >= low) & (ends <= high)
        # A run may go on from one node's RAM into the next's, which is its neighbour.
        for number in np.flatnonzero(~inside):
            if not self._covered(int(first[number]) * PAGE, int(many[number]) * PAGE):
                raise self._wrong("it has memory that the machine has not")
        self.pages = int(many.sum())
        if len(self._chunks) != -(-self.pages * PAGE // CHUNK):
            raise self._wrong(f"{len(self._chunks)} chunks hold no {self.pages} pages")
        if any(place.size > _PACKED_MOST for place in self._chunks):
            raise self._wrong("a chunk is larger than what it holds")
        self._starts, self._counts = first.tolist(), many.tolist()
        self._places = (np.cumsum(many) - many).tolist()

    def read(self, address: int, size: int) -> bytes:
        """Copy ``size`` bytes from guest-physical ``address``.

        :raises OutsideRam: when any of them is not RAM.
        :raises CheckpointUnusable: when their part of the file is damaged.
        """
        page, inside = divmod(address, PAGE)
        hot = self._hot.get(page)
        if hot is not None and 0 <= size <= PAGE - inside:
            return hot[inside : inside + size]
        if not self._covered(address, size) or size > _LARGEST_READ:
            have = ", ".join(f"{s.address:#x}-{s.address + s.size - 1:#x}" for s in self.segments)
            raise OutsideRam(
                f"guest-physical {address:#x} + {size} bytes: the guest has RAM at {have}"
            )
        parts = []
        while size > 0:
            step = self._next(address, size)
            parts.append(step)
            address += len(step)
            size -= len(step)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def view(self, address: int, size: int) -> memoryview:
        """The same as a window; see :meth:`read`."""
        return memoryview(self.read(address, size))

    def load_into(self, ram: GuestRam, check: Callable[[], object] = lambda: None) -> None:
        """Write all of it into a machine's RAM that has not been touched; blocks.

        :param check: called now and then; whatever it raises ends the loading.
        :raises OutsideRam: when the machine has not that RAM.
        :raises CheckpointUnusable: when the file is damaged.
        """
        for start, count, place in zip(self._starts, self._counts, self._places, strict=True):
            at, left = start * PAGE, count * PAGE
            offset = place * PAGE
            while left:
                number, inside = divmod(offset, CHUNK)
                step = min(left, CHUNK - inside)
                if not inside:
                    check()
                ram.write(at, memoryview(self._chunk(number))[inside : inside + step])
                at, offset, left = at + step, offset + step, left - step

    def _next(self, address: int, size: int) -> bytes:
        """The first of ``size`` bytes: up to the end of a chunk, a run or a hole."""
        page, inside = divmod(address, PAGE)
        at = bisect_right(self._starts, page) - 1
        into = page - self._starts[at] if at >= 0 else 0
        if at < 0 or into >= self._counts[at]:
            following = self._starts[at + 1] * PAGE if at + 1 < len(self._starts) else None
            hole = size if following is None else min(size, following - address)
            return bytes(hole)
        run = (self._counts[at] - into) * PAGE - inside
        number, start = divmod((self._places[at] + into) * PAGE + inside, CHUNK)
        chunk = self._chunk(number)
        if len(self._hot) >= _HOT_PAGES:
            self._hot.clear()
        self._hot[page] = chunk[start - inside : start - inside + PAGE]
        return chunk[start : start + min(size, run)]

    def _chunk(self, number: int) -> bytes:
        found = self._cache.get(number)
        if found is not None:
            self._cache.move_to_end(number)
            return found
        found = self._unpacked(number)
        self._cache[number] = found
        if len(self._cache) > CACHED_CHUNKS:
            self._cache.popitem(last=False)
        return found

    def _unpacked(self, number: int) -> bytes:
        place = self._chunks[number]
        what = f"chunk {number} of its memory, {place.size} bytes at {place.offset}"
        packed = self._fetch(place, what)
        if zlib.crc32(packed) != place.checksum:
            raise self._wrong(f"{what}, has another checksum")
        expected = min(CHUNK, self.pages * PAGE - number * CHUNK)
        unpack = zlib.decompressobj()
        try:
            data = unpack.decompress(packed, expected + 1)
        except zlib.error as error:
            raise self._wrong(f"{what}: {error}") from None
        if len(data) != expected or not unpack.eof:
            raise self._wrong(f"{what}, does not hold {expected} bytes")
        return data

    def _covered(self, address: int, size: int) -> bool:
        """Whether all of a range is RAM; segments are in address order."""
        end = address + size
        for segment in self.segments:
            if segment.address <= address < segment.address + segment.size:
                address = min(end, segment.address + segment.size)
                if address == end:
                    return size >= 0
        return False

    def _wrong(self, what: str) -> CheckpointUnusable:
        return CheckpointUnusable(f"{self._name} is damaged: {what}", hint="copy it again")
