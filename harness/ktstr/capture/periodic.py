# SPDX-License-Identifier: GPL-2.0-only
"""Periodic capture: one sample at each boundary of the workload's clock."""

import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, runtime_checkable

import anyio

from ktstr.capture.boundaries import ABANDON_AFTER_FAILURES, WorkloadClock, periodic_tag
from ktstr.capture.freezer import Capture
from ktstr.capture.stats import Answer
from ktstr.errors import GuestLost
from ktstr.series.sample import Sample

PAUSE_POLL_S = 0.02


class Capturing(Protocol):
    """What takes one capture."""

    async def prepare(self) -> None: ...

    async def capture(self) -> Capture: ...


@runtime_checkable
class Asking(Protocol):
    """What asks the scheduler for its statistics."""

    async def request(self) -> tuple[Answer, float]: ...


class PeriodicCapture:
    """Fires the boundaries of one run, in order.

    Two failures in a row abandon the rest, with ``abandoned`` saying so.

    :param step_index: gives the step running now (0 is BASELINE).
    :param on_sample: called with each sample, also a failed one.
    """

    def __init__(
        self,
        offsets_ms: tuple[float, ...],
        freezer: Capturing,
        stats: Asking | Answer,
        *,
        step_index: Callable[[], int],
        on_sample: Callable[[Sample], None],
    ) -> None:
        self.offsets_ms = offsets_ms
        self.fired = 0
        self.abandoned: str | None = None
        self._freezer = freezer
        self._stats = stats
        self._step_index = step_index
        self._on_sample = on_sample

    async def run(self, clock: WorkloadClock) -> None:
        """Serve every boundary; ends after the last, or once abandoned.

        :raise GuestLost: when the machine is gone.
        """
        failures = 0
        for ordinal, offset_ms in enumerate(self.offsets_ms):
            # Ahead of time, outside the freeze; a failure here comes up again in the capture.
            with suppress(Exception):
                await self._freezer.prepare()
            await self._sleep_until(clock, offset_ms)
            sample = await self._sample(clock, ordinal, offset_ms)
            self.fired += 1
            self._on_sample(sample)
            failures = failures + 1 if sample.snapshot is None else 0
            if failures == ABANDON_AFTER_FAILURES:
                left = len(self.offsets_ms) - ordinal - 1
                self.abandoned = f"{left} snapshots abandoned after two failures in a row"
                return

    async def _sleep_until(self, clock: WorkloadClock, offset_ms: float) -> None:
        while True:
            left_ms = offset_ms - clock.elapsed_ms(time.monotonic())
            if left_ms <= 0 and clock.running:
                return
            # The clock may stop at any moment of the wait, which shifts its end.
            longest = left_ms / 1000 if clock.running else PAUSE_POLL_S
            await anyio.sleep(max(0.001, min(longest, PAUSE_POLL_S * 5)))

    async def _sample(self, clock: WorkloadClock, ordinal: int, offset_ms: float) -> Sample:
        if isinstance(self._stats, Asking):
            stats, answered = await self._stats.request()
        else:
            stats, answered = self._stats, time.monotonic()
        elapsed_ms = round(clock.elapsed_ms(answered))
        step_index = self._step_index()
        error: str | None
        try:
            taken = await self._freezer.capture()
            snapshot, paused_ns, error = taken.snapshot, taken.paused_ns, taken.error
        except GuestLost:
            raise
        except Exception as failure:
            # Whatever hostile memory makes a decoder raise is a sample that failed, no more.
            snapshot, paused_ns = None, None
            error = f"{type(failure).__name__}: {failure}"
        return Sample(
            tag=periodic_tag(ordinal),
            elapsed_ms=elapsed_ms,
            boundary_offset_ms=round(offset_ms),
            step_index=step_index,
            snapshot=snapshot,
            stats=stats,
            paused_ns=paused_ns,
            error=error,
        )
