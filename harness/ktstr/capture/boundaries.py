# SPDX-License-Identifier: GPL-2.0-only
"""When to freeze: pure arithmetic on the workload's clock.

``N`` boundaries lie in the middle eighty per cent of the workload time ``d``, at
``0.1 d + (i + 1) * 0.8 d / (N + 1)`` from ScenarioStart; a pause of the scenario shifts
every boundary not yet fired.
"""

MAX_SNAPSHOTS = 64
MIN_SPACING_MS = 100.0
ABANDON_AFTER_FAILURES = 2


def spacing_ms(duration_ms: float, count: int) -> float:
    """Distance between two neighbouring boundaries."""
    return 0.8 * duration_ms / (count + 1)


def boundary_offsets_ms(duration_ms: float, count: int) -> tuple[float, ...]:
    """The offsets of all boundaries from ScenarioStart.

    :raise ValueError: for more than 64 snapshots, or closer than 100 ms apart.
    """
    if not 0 <= count <= MAX_SNAPSHOTS:
        raise ValueError(f"{count} snapshots; 0 to {MAX_SNAPSHOTS} are possible")
    if count == 0:
        return ()
    spacing = spacing_ms(duration_ms, count)
    if spacing < MIN_SPACING_MS:
        raise ValueError(
            f"{count} snapshots in {duration_ms:.0f} ms are {spacing:.0f} ms apart; "
            f"at least {MIN_SPACING_MS:.0f} ms are needed"
        )
    return tuple(0.1 * duration_ms + (i + 1) * spacing for i in range(count))


def periodic_tag(ordinal: int) -> str:
    """Tag of the sample at a boundary: ``periodic_000`` and so on."""
    return f"periodic_{ordinal:03d}"


class WorkloadClock:
    """Milliseconds of workload since ScenarioStart, without the pauses.

    The caller hands in host monotonic seconds; nothing here reads a clock.
    """

    def __init__(self, started: float) -> None:
        self._started = started
        self._paused_since: float | None = None
        self._paused_total = 0.0

    @property
    def paused(self) -> bool:
        """Whether a pause is in progress."""
        return self._paused_since is not None

    def pause(self, now: float) -> None:
        """The scenario paused; a second pause changes nothing."""
        if self._paused_since is None:
            self._paused_since = now

    def resume(self, now: float) -> None:
        """The scenario goes on; a resume without a pause changes nothing."""
        if self._paused_since is not None:
            self._paused_total += now - self._paused_since
            self._paused_since = None

    def elapsed_ms(self, now: float) -> float:
        """Workload time so far."""
        end = self._paused_since if self._paused_since is not None else now
        return (end - self._started - self._paused_total) * 1000.0
