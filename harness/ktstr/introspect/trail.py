# SPDX-License-Identifier: GPL-2.0-only
"""Walks over the guest's linked lists that cost a freeze next to nothing.

A list can only be followed where it stands still, and following it in Python takes far longer
than copying what it holds. But a list mostly is what it was a moment ago. So a walk leaves a trail:
which words it read, where in RAM they lie, and which of them led it on. At the next freeze the same
words are gathered in one go and those that led on are compared. If none changed, the list has the
same members: each was reached from the one before, beginning at the list's fixed head. Then the
walk itself is done later, over the copies. If one changed, the walk is done within the freeze.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from ktstr.introspect.btf import Field
from ktstr.introspect.memory import AddressSpace, UnreadableMemory, Words

_WORD = 4


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """Fields of a structure that a walk reads together, 4 or 8 bytes each.

    :param fields: name, offset and size.
    :param leads: names of those that say where the walk goes on.
    """

    fields: tuple[tuple[str, int, int], ...]
    leads: frozenset[str]

    @staticmethod
    def of(places: dict[str, Field], leads: tuple[str, ...]) -> "Shape":
        """Of larger fields, such as list heads, the first 8 bytes count."""
        found = tuple((name, at.offset, min(at.size, 8)) for name, at in places.items())
        return Shape(found, frozenset(leads) & places.keys())

    def offset(self, name: str) -> int:
        """Where a field begins."""
        return next(offset for field, offset, _ in self.fields if field == name)

    @property
    def start(self) -> int:
        """Offset of the first byte that is read."""
        return min(offset for _, offset, _ in self.fields)

    @property
    def length(self) -> int:
        """Bytes from there to the last."""
        return max(offset + size for _, offset, size in self.fields) - self.start

    def parse(self, raw: bytes) -> dict[str, int]:
        """Values by name from the bytes between ``start`` and the end."""
        start = self.start
        return {
            name: int.from_bytes(raw[offset - start : offset - start + size], "little")
            for name, offset, size in self.fields
        }


class Reader(Protocol):
    """Structures in kernel-virtual memory, as they are or as they were copied."""

    def fields(self, address: int, shape: Shape) -> dict[str, int]:
        """Unsigned values by name.

        :raises UnreadableMemory: when they cannot be read.
        """
        ...


Walk = Callable[[Reader], object]


class Copied:
    """What a walk read in one freeze; the walk over it finds the same."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, Shape], dict[str, int] | str] = {}

    def put(self, address: int, shape: Shape, found: dict[str, int] | str) -> None:
        """Keep values, or why there are none."""
        self._found[address, shape] = found

    def fields(self, address: int, shape: Shape) -> dict[str, int]:
        """The values that were copied.

        :raises UnreadableMemory: when they could not be, or the walk did not come there.
        """
        found = self._found.get((address, shape), f"nothing was copied at {address:#x}")
        if isinstance(found, str):
            raise UnreadableMemory(found)
        return found


class Gathered:
    """The same from the words of a trail, taken apart when asked for."""

    def __init__(self, words: npt.NDArray[np.uint32], index: dict[tuple[int, Shape], int]) -> None:
        self._words = words
        self._index = index

    def fields(self, address: int, shape: Shape) -> dict[str, int]:
        """As :meth:`Copied.fields`."""
        at = self._index.get((address, shape))
        if at is None:
            raise UnreadableMemory(f"nothing was copied at {address:#x}")
        values: dict[str, int] = {}
        for name, _, size in shape.fields:
            values[name] = int(self._words[at])
            if size > _WORD:
                values[name] |= int(self._words[at + 1]) << 32
            at += size // _WORD
        return values


class _Tracker:
    """Reads the guest for a walk and notes what it reads."""

    def __init__(self, space: AddressSpace) -> None:
        self.copied = Copied()
        self.steps: list[tuple[int, Shape, dict[str, int]]] = []
        self.whole = True
        self._space = space

    def fields(self, address: int, shape: Shape) -> dict[str, int]:
        try:
            raw = self._space.read(address + shape.start, shape.length)
        except UnreadableMemory as error:
            self.whole = False
            self.copied.put(address, shape, error.message)
            raise
        values = shape.parse(raw)
        self.copied.put(address, shape, values)
        self.steps.append((address, shape, values))
        return values


@dataclass(frozen=True, slots=True)
class _Known:
    """A trail: its words, and of those that lead on, the places among them and what they said."""

    words: Words
    index: dict[tuple[int, Shape], int]
    leads: npt.NDArray[np.int64]
    said: bytes


class Trail:
    """One list's trail; belongs to a plan and serves all its freezes."""

    def __init__(self, space: AddressSpace, walk: Walk) -> None:
        self._space = space
        self._walk = walk
        self._fresh: _Tracker | None = None
        self._known: _Known | None = None

    def copy(self) -> Reader:
        """Copy what the walk will need; call it while the guest stands still."""
        known = self._known
        if known is not None:
            words = known.words.copy()
            if words[known.leads].tobytes() == known.said:
                return Gathered(words, known.index)
        self._fresh, self._known = _Tracker(self._space), None
        self._walk(self._fresh)
        return self._fresh.copied

    def settle(self) -> None:
        """After the freeze: work out where in RAM a new trail lies."""
        fresh, self._fresh = self._fresh, None
        # What could not be read cannot be compared either; no steps are no list.
        if fresh is not None and fresh.whole and fresh.steps:
            try:
                self._known = self._learnt(fresh)
            except UnreadableMemory:
                self._known = None

    def _learnt(self, fresh: _Tracker) -> _Known:
        addresses: list[int] = []
        index: dict[tuple[int, Shape], int] = {}
        leads: list[int] = []
        said: list[int] = []
        for address, shape, values in fresh.steps:
            index[address, shape] = len(addresses)
            for name, offset, size in shape.fields:
                for part in range(0, size, _WORD):
                    if name in shape.leads:
                        leads.append(len(addresses))
                        said.append(values[name] >> 8 * part & 0xFFFFFFFF)
                    addresses.append(self._space.page(address + offset + part)[0])
        return _Known(
            Words(self._space.memory, addresses),
            index,
            np.array(leads, np.int64),
            np.array(said, np.uint32).tobytes(),
        )
