# SPDX-License-Identifier: GPL-2.0-only
"""The memory that the agent shares with all workers: their live counters and the phase epoch."""

from __future__ import annotations

import mmap
import os

SLOTS = 4096
EPOCH_SLOT = SLOTS
_MAP_POPULATE = 0x8000
# The epoch between two steps; before the first it is 0, within a step the step's index.
EPOCH_GAP = (1 << 32) - 1


class WorkerFailure(Exception):
    """A worker group could not be set up; the text says which and why."""


class Counters:
    """The shared page of live iteration counters, one u64 per worker, and the phase epoch."""

    def __init__(self) -> None:
        self.fd = os.memfd_create("ktstr-live")
        size = (EPOCH_SLOT + 1) * 8
        os.ftruncate(self.fd, size)
        # Present from the start: a guest that continues need not fault it in.
        self._page = mmap.mmap(self.fd, size, flags=mmap.MAP_SHARED | _MAP_POPULATE)
        self.values = memoryview(self._page).cast("Q")
        self._free = list(range(SLOTS))

    def take(self, count: int) -> list[int]:
        """Reserve ``count`` adjacent slots, zeroed.

        :raise WorkerFailure: when more than 4096 workers are alive.
        """
        free = self._free
        for first in range(len(free) - count + 1):
            if free[first + count - 1] == free[first] + count - 1:
                slots = free[first : first + count]
                del free[first : first + count]
                for slot in slots:
                    self.values[slot] = 0
                return slots
        raise WorkerFailure(f"{count} more workers exceed the limit of {SLOTS} at a time")

    def give_back(self, slots: list[int]) -> None:
        """Return slots for reuse."""
        self._free = sorted(self._free + slots)

    def set_epoch(self, epoch: int) -> None:
        """Tell all workers that read it which phase it is."""
        self.values[EPOCH_SLOT] = epoch

    def close(self) -> None:
        """Give the page back; no slot may be read or written any more."""
        self.values.release()
        self._page.close()
        os.close(self.fd)
