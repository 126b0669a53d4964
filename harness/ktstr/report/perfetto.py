# SPDX-License-Identifier: GPL-2.0-only
"""A run as a trace that opens in Perfetto: phases, freezes, findings, CPUs, cgroups and counters.

Tracks and their events are those of TrackEvent (protos/perfetto/trace/track_event in Perfetto's
source); time is workload time, as everywhere in a record.
"""

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

from perfetto.protos.perfetto.trace import perfetto_trace_pb2 as protos
from perfetto.trace_builder.proto_builder import TraceProtoBuilder

from ktstr.report.page.data import page_data
from ktstr.report.page.limits import Limits
from ktstr.report.page.schema import CarrierData, CgroupData, PageData, Series
from ktstr.session.record import RunRecord

EVERYTHING: Final = Limits(
    columns=1 << 20,
    cells=1 << 24,
    cpus=4096,
    captures=1 << 16,
    counters=1 << 16,
    counter_cells=1 << 24,
    carriers=1 << 20,
    phases=1 << 16,
    reasons=1 << 16,
)
"""A trace is for looking closely: nothing that a record holds is thinned out."""

_NS: Final = 1_000_000
_SEQUENCE: Final = 1
_LARGEST: Final = 1 << 63


def perfetto_trace(record: RunRecord) -> bytes:
    """The trace of a run, in Perfetto's binary form."""
    return trace_of(page_data(record, limits=EVERYTHING))


def trace_of(page: PageData) -> bytes:
    """The trace of what a page would draw."""
    trace = _Trace()
    run = trace.track(f"{page['name']}: {page['verdict']}", None, ordered=True)
    _phases(trace, page, run)
    _moments(trace, page, run)
    _cpus(trace, page, run)
    for cgroup in page["cgroups"]:
        _cgroup(trace, cgroup, page, run)
    _counters(trace, page, run)
    content: bytes = trace.builder.serialize()
    return content


def write_trace(path: Path, record: RunRecord) -> None:
    """Write the trace of a run.

    :raise OSError: when it cannot be written.
    """
    path.write_bytes(perfetto_trace(record))


class _Trace:
    """Tracks with numbers of their own, and what happens on them."""

    def __init__(self) -> None:
        self.builder = TraceProtoBuilder()
        self._tracks = 0

    def track(
        self,
        name: str,
        parent: int | None,
        *,
        ordered: bool = False,
        rank: int = 0,
        unit: str | None = None,
    ) -> int:
        """A track below ``parent``; a counter's when there is a ``unit``.

        :param ordered: whether its children stand by their ranks.
        """
        self._tracks += 1
        found = self.builder.add_packet().track_descriptor
        found.uuid = self._tracks
        found.name = name
        found.sibling_order_rank = rank
        if parent is not None:
            found.parent_uuid = parent
        if ordered:
            found.child_ordering = protos.TrackDescriptor.EXPLICIT
        if unit is not None:
            found.counter.unit_name = unit
        return self._tracks

    def slice(
        self, track: int, name: str, begin_ms: float, end_ms: float, /, **facts: object
    ) -> None:
        """Something that took a while; facts may have any name, a scheduler chooses them."""
        self._event(track, begin_ms, protos.TrackEvent.TYPE_SLICE_BEGIN, name, facts)
        self._event(track, max(begin_ms, end_ms), protos.TrackEvent.TYPE_SLICE_END, None, {})

    def instant(self, track: int, name: str, at_ms: float, **facts: object) -> None:
        """Something that happened."""
        self._event(track, at_ms, protos.TrackEvent.TYPE_INSTANT, name, facts)

    def counter(self, track: int, at_ms: float, value: float) -> None:
        """A value from ``at_ms`` on."""
        event = self._event(track, at_ms, protos.TrackEvent.TYPE_COUNTER, None, {})
        if isinstance(value, int) and -_LARGEST <= value < _LARGEST:
            event.counter_value = value
        else:
            event.double_counter_value = _double(value)

    def _event(
        self, track: int, at_ms: float, kind: Any, name: str | None, facts: dict[str, object]
    ) -> Any:
        packet = self.builder.add_packet()
        packet.timestamp = _ns(at_ms)
        packet.trusted_packet_sequence_id = _SEQUENCE
        event = packet.track_event
        event.type = kind
        event.track_uuid = track
        if name is not None:
            event.name = name
        for key, value in facts.items():
            if value is not None:
                _annotate(event.debug_annotations.add(), key, value)
        return event


def _ns(at_ms: float) -> int:
    """A time in nanoseconds, as near as a trace can have it: a damaged record may hold any."""
    if not at_ms > 0:
        return 0
    # Compared before it is rounded: what is infinite cannot be.
    return round(at_ms * _NS) if at_ms < _LARGEST // _NS else _LARGEST - 1


def _double(value: float) -> float:
    """The number as a double has it; one too large for that is infinite."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def _annotate(annotation: Any, name: str, value: object) -> None:
    annotation.name = name
    if isinstance(value, bool):
        annotation.bool_value = value
    elif isinstance(value, int) and -_LARGEST <= value < _LARGEST:
        annotation.int_value = value
    elif isinstance(value, float | int):
        annotation.double_value = _double(value)
    else:
        annotation.string_value = str(value)


def _phases(trace: _Trace, page: PageData, run: int) -> None:
    track = trace.track("phases", run, rank=0)
    for phase in page["phases"]:
        begin, end = phase["start_ms"], phase["end_ms"]
        if begin is not None and end is not None:
            trace.slice(track, phase["title"], begin, end, **phase["metrics"])


def _moments(trace: _Trace, page: PageData, run: int) -> None:
    if page["freezes"]:
        track = trace.track("freezes", run, rank=1)
        for freeze in page["freezes"]:
            if freeze["at_ms"] is not None:
                trace.instant(
                    track,
                    freeze["tag"],
                    freeze["at_ms"],
                    paused_ms=freeze["paused_ms"],
                    error=freeze["error"],
                    trigger=freeze["trigger"],
                )
    if page["reasons"]:
        track = trace.track("findings", run, rank=2)
        starts = {phase["step"]: phase["start_ms"] for phase in page["phases"]}
        for pin in page["reasons"]:
            at_ms = pin["at_ms"]
            if at_ms is None and pin["step"] is not None:
                at_ms = starts.get(pin["step"])
            trace.instant(
                track,
                pin["message"],
                at_ms or 0,
                level=pin["level"],
                kind=pin["kind"],
                cgroup=pin["cgroup"],
                cpu=pin["cpu"],
            )


def _cpus(trace: _Trace, page: PageData, run: int) -> None:
    found = page["cpus"]
    if found is None:
        return
    times = found["at_ms"]
    group = trace.track("CPUs", run, rank=3, ordered=True)
    imbalance = trace.track("imbalance", group, rank=0, unit="ratio")
    _line(trace, imbalance, times, found["imbalance"])
    for row, cpu in enumerate(found["cpus"]):
        parent = trace.track(f"CPU {cpu}", group, rank=row + 1, ordered=True)
        for rank, (name, unit, rows) in enumerate(
            (
                ("nr_running", "tasks", found["nr_running"]),
                ("busy", "%", found["busy_pct"]),
                ("local DSQ", "tasks", found["local_dsq"]),
            )
        ):
            _line(trace, trace.track(name, parent, rank=rank, unit=unit), times, rows[row])
    events = trace.track("sched_ext events", run, rank=6)
    for name, values in found["events"].items():
        if any(values):
            _line(trace, trace.track(name, events, unit="events"), times, values)


def _cgroup(trace: _Trace, cgroup: CgroupData, page: PageData, run: int) -> None:
    windows = {
        phase["step"]: (phase["start_ms"], phase["end_ms"], phase["title"])
        for phase in page["phases"]
    }
    track = trace.track(f"cgroup {cgroup['name']}", run, rank=4, ordered=True)
    phases = trace.track("phases", track)
    lines = {
        name: trace.track(name, track, rank=rank + 1, unit=unit)
        for rank, (name, unit) in enumerate(
            (("iterations", "1/s"), ("off CPU", "%"), ("wake-up p99", "ns"))
        )
    }
    for carrier in cgroup["phases"]:
        begin, end, title = windows.get(carrier["step"] or 0, (None, None, ""))
        if carrier["step"] is None or begin is None or end is None:
            continue
        trace.slice(phases, title, begin, end, **_carrier(carrier))
        wake = carrier["wake"]
        for name, value in (
            ("iterations", carrier["iterations_per_s"]),
            ("off CPU", carrier["off_cpu_pct"]),
            ("wake-up p99", None if wake is None else wake["p99"]),
        ):
            if value is not None:
                trace.counter(lines[name], begin, value)


def _carrier(carrier: CarrierData) -> dict[str, object]:
    plain = {key: value for key, value in carrier.items() if not isinstance(value, dict)}
    wake = dict(carrier["wake"] or {})
    percentiles = {f"wake_{key}_ns": wake.get(key) for key in ("p50", "p99", "p999", "max")}
    return {key: value for key, value in plain.items() if key != "step"} | percentiles


def _counters(trace: _Trace, page: PageData, run: int) -> None:
    times = page["captures"]["at_ms"]
    groups: dict[str, int] = {}
    for counter in page["counters"]:
        holder = counter["holder"]
        if holder not in groups:
            groups[holder] = trace.track(
                f"map {holder}" if holder != "stats" else holder, run, rank=5
            )
        track = trace.track(counter["name"], groups[holder], unit="")
        # Numbers that JavaScript has not are text on a page.
        numbers: Iterable[float | None] = (
            int(value) if isinstance(value, str) else value for value in counter["values"]
        )
        _line(trace, track, times, list(numbers))


def _line(trace: _Trace, track: int, times: Sequence[float], values: Series) -> None:
    for at_ms, value in zip(times, values, strict=True):
        if value is not None:
            trace.counter(track, at_ms, value)
