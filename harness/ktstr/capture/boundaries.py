# SPDX-License-Identifier: GPL-2.0-only
"""When to freeze: pure arithmetic on the workload's clock.

``N`` boundaries lie in the middle eighty per cent of the workload time ``d``, at
``0.1 d + (i + 1) * 0.8 d / (N + 1)``; whatever stops the workload's clock shifts every boundary
not yet fired.
"""

MAX_SNAPSHOTS = 64
MIN_SPACING_MS = 100.0
ABANDON_AFTER_FAILURES = 2


def spacing_ms(duration_ms: float, count: int) -> float:
    """Distance between two neighbouring boundaries."""
    return 0.8 * duration_ms / (count + 1)


def boundary_offsets_ms(duration_ms: float, count: int) -> tuple[float, ...]:
    """The offsets of all boundaries, in workload time.

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
    """Milliseconds of workload: the time steps were held, without what lies between them.

    Setting up and clearing away take longer the slower the host is; a clock that ran meanwhile
    would let a boundary meant for one step fall into the one before. The caller hands in host
    monotonic seconds; nothing here reads a clock.
    """

    def __init__(self) -> None:
        self._since: float | None = None
        self._total = 0.0

    @property
    def running(self) -> bool:
        """Whether a step is being held."""
        return self._since is not None

    def start(self, now: float) -> None:
        """A hold begins or goes on; a second start changes nothing."""
        if self._since is None:
            self._since = now

    def stop(self, now: float) -> None:
        """The hold ends or pauses; a second stop changes nothing."""
        if self._since is not None:
            self._total += max(0.0, now - self._since)
            self._since = None

    def elapsed_ms(self, now: float) -> float:
        """Workload time so far."""
        running = 0.0 if self._since is None else max(0.0, now - self._since)
        return (self._total + running) * 1000.0
