# SPDX-License-Identifier: GPL-2.0-only
"""The JSON that a page of one run draws.

Everything is bounded and harmless as text; what was not measured is ``null``. Times are ms of
workload: the clock that stands still between steps. Lists that belong to a list of times are as
long as that.
"""

from typing import Final, Literal, TypedDict

SCHEMA: Final = 1
"""Version of :class:`PageData`."""

Number = int | float
Series = list[Number | None]
"""One value for each time; ``None`` where it was not measured."""

Level = Literal["fail", "inconclusive", "skip"]


class Pin(TypedDict):
    """Why the verdict is no pass, and where that is on the page.

    :param message: as people read it, with the steps' own names.
    :param step: 1-based step, 0 for BASELINE; ``None`` when it is about the whole run.
    :param at_ms: the moment that the message names, or at which its snapshot was taken.
    """

    level: Level
    kind: str
    message: str
    step: int | None
    at_ms: Number | None
    cgroup: str | None
    cpu: int | None


class NoteData(TypedDict):
    """Context that is no finding."""

    message: str
    step: int | None


class PhaseData(TypedDict):
    """One phase; ``start_ms`` and ``end_ms`` are its hold's, ``None`` when nobody saw them."""

    step: int
    label: str
    title: str
    start_ms: Number | None
    end_ms: Number | None
    detail: str
    captures: int
    metrics: dict[str, Number | None]


class FreezeData(TypedDict):
    """One snapshot; ``paused_ms`` is how long the guest stood still for it."""

    tag: str
    at_ms: Number | None
    paused_ms: Number | None
    step: int | None
    error: str | None
    trigger: str | None


class CpuSeries(TypedDict):
    """Readings of every CPU: ``cpus`` names the rows, each row has a value for each time.

    Where there were more readings than are drawn, two neighbours stand for a stretch of them, with
    the lowest and the highest value of each row in the order in which they came.

    :param source: ``monitor``; ``snapshots`` where no monitor ran; ``live`` while the run goes on.
    :param at_ms: times of the columns.
    :param readings: how many readings the columns stand for.
    :param left_out: readings taken while no step was held; they belong to no phase.
    :param busy_pct: of the time since the reading before, by the kernel's accounting.
    :param events: growth of each of the kernel's sched_ext counters since the first reading.
    :param imbalance: longest run queue over shortest, the shortest counted as 1 at least.
    """

    source: Literal["monitor", "snapshots", "live"]
    at_ms: list[Number]
    readings: int
    left_out: int
    cpus: list[int]
    cpus_left_out: int
    nr_running: list[Series]
    busy_pct: list[Series]
    local_dsq: list[Series]
    imbalance: Series
    events: dict[str, Series]


class Distribution(TypedDict):
    """Latencies of one cgroup in one phase, ns.

    :param samples: how many are in the figures; ``total`` how many there were.
    :param counts: in bins of equal width on a log scale, :data:`BINS_PER_DECADE` a decade,
        the first beginning at ``10 ** (first_bin / BINS_PER_DECADE)`` ns.
    """

    samples: int
    total: int
    min: int
    p50: int
    p99: int
    p999: int
    max: int
    first_bin: int
    counts: list[int]


BINS_PER_DECADE: Final = 10


class CarrierData(TypedDict):
    """One cgroup in one phase; ``step`` is ``None`` for workers that told of no phase."""

    step: int | None
    workers: int
    cpus: str | None
    iterations: int
    iterations_per_s: Number | None
    off_cpu_pct: Number | None
    off_cpu_min_pct: Number | None
    off_cpu_max_pct: Number | None
    migrations: int
    gap_ms: int
    gap_cpu: int | None
    run_delay_us: Number | None
    stripped: bool
    wake: Distribution | None
    timer: Distribution | None


class CgroupData(TypedDict):
    """One cgroup over the phases it was in."""

    name: str
    phases: list[CarrierData]


class CounterData(TypedDict):
    """One number of the scheduler at every snapshot: a global variable, or a statistic it serves.

    :param holder: the map or, for statistics, ``stats``.
    :param values: one for each of :attr:`PageData.captures`; numbers beyond 2**53 as text.
    """

    holder: str
    name: str
    values: list[Number | str | None]


class MetricData(TypedDict):
    """A metric of the whole run; those of phases are in :attr:`PhaseData.metrics`."""

    name: str
    unit: str
    value: Number | None


class CaptureData(TypedDict):
    """The times at which counters were read."""

    at_ms: list[Number]
    tags: list[str]


class LogData(TypedDict):
    """The end of a log, folded away on the page."""

    title: str
    lines: list[str]
    left_out: int


class PageData(TypedDict):
    """A whole page.

    :param reasons: failures first, then what could not be judged, then what did not apply.
    :param facts: what ran on what, as label and text.
    :param command: runs the same again; ``None`` where the record does not tell how.
    :param end_ms: the end of the time axis.
    :param running: whether the run is still going on.
    :param left_out: what was too much for the page, in sentences.
    """

    schema: int
    run_id: str
    name: str
    description: str
    verdict: str
    exit_code: int | None
    error: str | None
    running: bool
    reasons: list[Pin]
    passes: int
    notes: list[NoteData]
    facts: list[tuple[str, str]]
    command: str | None
    end_ms: Number
    phases: list[PhaseData]
    freezes: list[FreezeData]
    cpus: CpuSeries | None
    cgroups: list[CgroupData]
    captures: CaptureData
    counters: list[CounterData]
    metrics: list[MetricData]
    logs: list[LogData]
    left_out: list[str]
