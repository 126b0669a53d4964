# SPDX-License-Identifier: GPL-2.0-only
"""Runs made up for pages, with everything a page shows; and one whose every text is an attack."""

import math
from pathlib import Path

import numpy as np

from ktstr.errors import ExitCode
from ktstr.metrics.fold import fold_run
from ktstr.metrics.stimulus import StimulusEvent
from ktstr.series.host import HostReading, PerCpuTime
from ktstr.series.lazy import LazyValue
from ktstr.series.maps import MapSnapshot
from ktstr.series.monitor.report import MonitorReport
from ktstr.series.monitor.samples import CpuReading, MonitorSample, Schedstat
from ktstr.series.sample import Sample, SampleSeries
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot
from ktstr.series.values import RenderedValue, Struct, Uint
from ktstr.session.record import RunRecord
from ktstr.telemetry import TaggedReport, WorkerReport
from ktstr.verdict import AssertDetail, AssertResult, DetailKind
from ktstr.verdict.detail import PassDetail

STEP_MS = 2000
HOSTILE = (
    "<img src=x onerror=document.title=1></script><script>document.title=2</script>\u2028\u202e&\"'"
)
"""What a guest would like a page to run."""


class Ready:
    """A type whose values were rendered before."""

    def __init__(self, value: RenderedValue) -> None:
        self._value = value

    def render(self, data: bytes) -> RenderedValue:
        return self._value

    def select(self, part: str) -> None:
        return None

    def names(self) -> tuple[str, ...]:
        return self._value.names()


def section(name: str, number: int, values: dict[str, int]) -> MapSnapshot:
    """A data section with these variables of 64 bits."""
    members = tuple((variable, Uint(64, value)) for variable, value in values.items())
    return MapSnapshot(
        name=name,
        id=number,
        map_type=2,
        type_name="ARRAY",
        key_size=4,
        value_size=8 * len(values),
        max_entries=1,
        map_kva=4096 * number,
        value=LazyValue(b"", Ready(Struct(name, members))),
    )


def run(
    *,
    samples: int = 12,
    readings: int = 60,
    cpus: int = 4,
    cgroups: int = 2,
    steps: int = 3,
    counters: int = 6,
    latencies: int = 500,
    prefix: str = "",
    failing: bool = True,
) -> RunRecord:
    """A run of ``steps`` steps of 2 s, with captures and readings spread over them.

    :param prefix: begins the name of everything that a guest or a person may name.
    """
    rng = np.random.default_rng(7)
    end = steps * STEP_MS
    names = [f"{prefix}cg{number}" for number in range(cgroups)]
    reports = [
        TaggedReport(step, name, 0, 0, worker, "PipeIo", _report(rng, worker, step, latencies))
        for step in range(1, steps + 1)
        for name in names
        for worker in range(2)
    ]
    events = [event for step in range(1, steps + 1) for event in _step(step)]
    events.append(StimulusEvent.terminal(end, 0))
    series = SampleSeries(
        [_capture(place, samples, end, cpus, counters, prefix) for place in range(samples)]
    )
    monitor = MonitorReport.of(
        [_reading(place, readings, end, cpus) for place in range(readings)],
        notes=[f"{prefix}a word of the monitor"],
    )
    stats = fold_run(series, events, reports, monitor=monitor.held_samples())
    result = AssertResult(stats=stats)
    result.record_pass(PassDetail("max_gap_ms", "le", "5", "10", phase="Step[0]"))
    result.note(f"{prefix}a word of the verdict", phase="Step[0]")
    if failing:
        for kind, message in (
            (DetailKind.STUCK, f"Step[1] {names[0]}: tid 7 stuck 700ms on cpu1 at +900ms"),
            (DetailKind.UNFAIR, f"Step[1] {names[-1]}: unfair cgroup: spread=80.0%"),
        ):
            result.record_fail(AssertDetail(kind, message, phase="Step[1]"))
        result.record_inconclusive(AssertDetail(DetailKind.OTHER, f"{prefix}no data", phase=None))
    return RunRecord(
        "20260101-000000-abcd",
        f"{prefix}made_up",
        ExitCode.FAIL if failing else ExitCode.PASS,
        result=result,
        samples=series,
        monitor=monitor,
        events=events,
        reports=reports,
        facts={
            "description": f"{prefix}a run that nobody ran",
            "kernel": {"spec": "debian:7", "release": f"{prefix}7.2"},
            "topology": f"1n2l{cpus // 2 or 1}c1t",
            "memory_mib": 512,
            "accelerator": "tcg",
            "scheduler": {"kind": "bpf", "path": f"{prefix}scx_made_up", "profile": "default"},
            "steps": [
                {"index": step, "name": f"{prefix}step {step}"} for step in range(1, steps + 1)
            ],
            "notes": [f"{prefix}a word of the run"],
        },
        host={"wall_s": 7.5, "start": "clone", "again": {"scenario": "/tmp/it's.toml"}},
        console_tail=(f"{prefix}[1.0] the kernel",),
        scheduler_tail=(f"{prefix}the scheduler",),
    )


def _step(step: int) -> tuple[StimulusEvent, StimulusEvent]:
    words = {"op_kind": "ops=0", "detail": "2 cgroups, 4 workers"}
    return (
        StimulusEvent(
            (step - 1) * STEP_MS,
            f"StepStart[{step - 1}]",
            total_iterations=0,
            step_index=step,
            **words,
        ),
        StimulusEvent(
            step * STEP_MS,
            f"StepEnd[{step - 1}]",
            total_iterations=1000 * step,
            step_index=step,
            is_step_end=True,
            **words,
        ),
    )


def _report(rng: np.random.Generator, worker: int, step: int, latencies: int) -> WorkerReport:
    return WorkerReport(
        tid=100 + worker,
        wall_time_ns=STEP_MS * 1_000_000,
        cpu_time_ns=STEP_MS * 500_000,
        off_cpu_ns=STEP_MS * 500_000,
        cpus_used=frozenset({worker}),
        iterations=500 * step,
        wake_latencies_ns=rng.lognormal(11.0 + step / 2, 1.0, latencies).astype(np.uint64),
        wake_sample_total=latencies,
        completed=True,
    )


def _time(cpu: int, at_ms: float, busy: float) -> PerCpuTime:
    ns = int(at_ms * 1_000_000)
    return PerCpuTime(
        cpu, user_ns=int(ns * busy), idle_ns=ns - int(ns * busy), softirqs={"timer": 1}
    )


def _reading(place: int, readings: int, end: int, cpus: int) -> MonitorSample:
    at_ms = place * end // readings
    return MonitorSample(
        elapsed_ms=at_ms,
        taken_ms=at_ms + 40,
        step_index=at_ms // STEP_MS + 1,
        events={"dispatch_keep_last": 100 + 3 * place, "select_cpu_fallback": 0},
        cpus=tuple(
            CpuReading(
                cpu=cpu,
                nr_running=round(2 + 2 * math.sin(place / 9 + cpu)),
                local_dsq_depth=(place + cpu) % 3,
                rq_clock=1 + at_ms * 1_000_000,
                schedstat=Schedstat(place * 1000, place),
                time=_time(cpu, 1000 + at_ms, 0.25 * (cpu % 5)),
            )
            for cpu in range(cpus)
        ),
    )


def _capture(place: int, samples: int, end: int, cpus: int, counters: int, prefix: str) -> Sample:
    at_ms = (2 * place + 1) * end // (2 * samples)
    values = {f"{prefix}nr_{number}": place * (number + 1) for number in range(counters)}
    values[f"{prefix}constant"] = 5
    values["huge"] = (1 << 63) + place
    snapshot = Snapshot(
        release="7.2",
        maps=(section("made_up.bss", 1, values), section("made_up.rodata", 2, {"limit": 9})),
        cpus=tuple(
            CpuSnapshot(cpu, nr_running=cpu, local_dsq_depth=0, clock=1 + at_ms)
            for cpu in range(cpus)
        ),
        sched_ext=SchedExtState(state="enabled", ops="made_up"),
        host=HostReading(tuple(_time(cpu, 1000 + at_ms, 0.5) for cpu in range(cpus))),
        active_maps=(1, 2),
    )
    return Sample(
        tag=f"periodic_{place:03d}",
        elapsed_ms=at_ms,
        boundary_offset_ms=at_ms,
        step_index=at_ms // STEP_MS + 1,
        snapshot=snapshot,
        stats={f"{prefix}served": 10 * place, "nested": {"deep": [place, 1.5]}},
        paused_ns=1_250_000,
    )


def hostile() -> RunRecord:
    """A run whose cgroups, steps, notes, variables and logs are markup."""
    return run(prefix=HOSTILE)


def lost() -> RunRecord:
    """A run whose guest was lost before anything was seen."""
    return RunRecord(
        "20260101-000001-abcd",
        "gone",
        ExitCode.GUEST_LOST,
        error="the guest hung: no sign of life\nfor 20 s",
        console_tail=("[2.0] the last word",),
        sidecar=Path("gone-20260101-000001-abcd.ktstr.json"),
    )
