# SPDX-License-Identifier: GPL-2.0-only
"""Walks over the guest's linked lists that cost a freeze no more than copying.

A list can only be followed where it stands still, and following it in Python takes far longer
than copying what it holds. But a list mostly is what it was a moment ago. So a walk leaves a trail:
what it read, where in RAM that lies, and which words led it on. At the next freeze the same places
are copied and those words compared. If none changed, the list has the same members: each was
reached from the one before, beginning at the list's fixed head. Then the walk itself is done
later, over the copies. If one changed, the walk is done within the freeze.
"""

from collections.abc import Callable
from typing import Protocol

from ktstr.introspect.memory import AddressSpace, Range, UnreadableMemory

_WORD = 8


class Reader(Protocol):
    """Kernel-virtual memory, as it is or as it was copied."""

    def read(self, address: int, length: int, leads: tuple[int, ...] = ()) -> bytes:
        """Copy of ``length`` bytes.

        :param leads: offsets of the words in it that say where the walk goes on.
        :raises UnreadableMemory: when it cannot be read.
        """
        ...


Walk = Callable[[Reader], object]


class Copied:
    """What a walk read in one freeze; the walk over it finds the same."""

    def __init__(self) -> None:
        self._found: dict[tuple[int, int], bytes | str] = {}

    def put(self, address: int, length: int, found: bytes | str) -> None:
        """Keep bytes, or why there are none."""
        self._found[address, length] = found

    def read(self, address: int, length: int, leads: tuple[int, ...] = ()) -> bytes:
        """The bytes that were copied.

        :raises UnreadableMemory: when they could not be, or the walk did not come there.
        """
        found = self._found.get((address, length), f"nothing was copied at {address:#x}")
        if isinstance(found, str):
            raise UnreadableMemory(found)
        return found


class _Tracker:
    """Reads the guest for a walk and notes what it reads."""

    def __init__(self, space: AddressSpace) -> None:
        self.copied = Copied()
        self.steps: list[tuple[int, int, tuple[int, ...], bytes]] = []
        self.whole = True
        self._space = space

    def read(self, address: int, length: int, leads: tuple[int, ...] = ()) -> bytes:
        try:
            raw = self._space.read(address, length)
        except UnreadableMemory as error:
            self.whole = False
            self.copied.put(address, length, error.message)
            raise
        self.copied.put(address, length, raw)
        self.steps.append((address, length, leads, raw))
        return raw


class Trail:
    """One list's trail; belongs to a plan and serves all its freezes."""

    def __init__(self, space: AddressSpace, walk: Walk) -> None:
        self._space = space
        self._walk = walk
        self._fresh: _Tracker | None = None
        self._known: list[tuple[int, int, tuple[Range, ...], tuple[tuple[int, bytes], ...]]] = []

    def copy(self) -> Copied:
        """Copy what the walk will need; call it while the guest stands still."""
        return self._along_the_known() or self._anew()

    def settle(self) -> None:
        """After the freeze: work out where in RAM a new trail lies."""
        fresh, self._fresh = self._fresh, None
        if fresh is None or not fresh.whole:
            return
        try:
            self._known = [
                (
                    address,
                    length,
                    tuple(self._space.ranges(address, length)),
                    tuple((at, raw[at : at + _WORD]) for at in leads),
                )
                for address, length, leads, raw in fresh.steps
            ]
        except UnreadableMemory:
            self._known = []

    def _along_the_known(self) -> Copied | None:
        if not self._known:
            return None
        copied = Copied()
        read, put = self._space.memory.read, copied.put
        for address, length, pieces, leads in self._known:
            if len(pieces) == 1:
                raw = read(*pieces[0])
            else:
                raw = b"".join([read(*piece) for piece in pieces])
            for at, before in leads:
                if raw[at : at + _WORD] != before:
                    return None
            put(address, length, raw)
        return copied

    def _anew(self) -> Copied:
        self._fresh, self._known = _Tracker(self._space), []
        self._walk(self._fresh)
        return self._fresh.copied
