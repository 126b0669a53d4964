# SPDX-License-Identifier: GPL-2.0-only
"""A run's trace, parsed back by Perfetto's own definitions."""

import copy
import math
from dataclasses import dataclass, field

from perfetto.protos.perfetto.trace.perfetto_trace_pb2 import Trace, TrackEvent

from ktstr.report.page.schema import PageData
from ktstr.report.perfetto import trace_of

PAGE: PageData = {
    "schema": 1,
    "run_id": "20260101-000000-abcd",
    "name": "two",
    "description": "",
    "verdict": "fail",
    "exit_code": 1,
    "error": None,
    "running": False,
    "reasons": [
        {
            "level": "fail",
            "kind": "Stuck",
            "message": "Step[0] a: tid 7 stuck 900ms on cpu1",
            "step": 1,
            "at_ms": 450,
            "cgroup": "a",
            "cpu": 1,
        },
        {
            "level": "inconclusive",
            "kind": "Other",
            "message": "too few samples",
            "step": 1,
            "at_ms": None,
            "cgroup": None,
            "cpu": None,
        },
    ],
    "passes": 1,
    "notes": [],
    "facts": [],
    "command": None,
    "end_ms": 1000,
    "phases": [
        {
            "step": 0,
            "label": "BASELINE",
            "title": "BASELINE",
            "start_ms": None,
            "end_ms": None,
            "detail": "",
            "captures": 0,
            "metrics": {},
        },
        {
            "step": 1,
            "label": "Step[0]",
            "title": "Step[0] steady",
            "start_ms": 10.5,
            "end_ms": 1000,
            "detail": "",
            "captures": 1,
            "metrics": {"iteration_rate": 12.5, "stuck_count": None},
        },
    ],
    "freezes": [
        {
            "tag": "periodic_000",
            "at_ms": 500,
            "paused_ms": 0.7,
            "step": 1,
            "error": None,
            "trigger": None,
        }
    ],
    "cpus": {
        "source": "monitor",
        "at_ms": [100, 200],
        "readings": 2,
        "left_out": 0,
        "cpus": [0, 3],
        "cpus_left_out": 0,
        "nr_running": [[1, 2], [0, None]],
        "busy_pct": [[None, 99.5], [None, 0.0]],
        "local_dsq": [[0, 0], [5, 6]],
        "imbalance": [1.0, 2.0],
        "events": {"dispatch_keep_last": [0, 4], "never": [0, 0]},
    },
    "cgroups": [
        {
            "name": "a",
            "phases": [
                {
                    "step": 1,
                    "workers": 2,
                    "cpus": "0-1",
                    "iterations": 1000,
                    "iterations_per_s": 1010.1,
                    "off_cpu_pct": 40.0,
                    "off_cpu_min_pct": None,
                    "off_cpu_max_pct": None,
                    "migrations": 3,
                    "gap_ms": 900,
                    "gap_cpu": 1,
                    "run_delay_us": None,
                    "stripped": False,
                    "wake": {
                        "samples": 4,
                        "total": 4,
                        "min": 1,
                        "p50": 20,
                        "p99": 30,
                        "p999": 31,
                        "max": 32,
                        "first_bin": 0,
                        "counts": [1, 3],
                    },
                    "timer": None,
                }
            ],
        }
    ],
    "captures": {"at_ms": [500, 900], "tags": ["periodic_000", "periodic_001"]},
    "counters": [
        {"holder": "scx.bss", "name": "nr_dispatched", "values": [7, "18446744073709551615"]},
        {"holder": "stats", "name": "nr_dispatched", "values": [None, 9]},
    ],
    "metrics": [],
    "logs": [],
    "left_out": [],
}


@dataclass
class Track:
    """What a trace says of one track."""

    counters: list[tuple[int, float]] = field(default_factory=list)
    slices: list[tuple[str, int, int]] = field(default_factory=list)
    instants: list[tuple[int, str]] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    unit: str | None = None


def tracks(page: PageData) -> dict[str, Track]:
    """Every track by its path from the root."""
    trace = Trace()
    trace.ParseFromString(trace_of(page))
    paths: dict[int, str] = {}
    found: dict[str, Track] = {}
    for packet in trace.packet:
        if packet.HasField("track_descriptor"):
            described = packet.track_descriptor
            above = paths[described.parent_uuid] + "/" if described.HasField("parent_uuid") else ""
            path = paths[described.uuid] = above + described.name
            unit = described.counter.unit_name if described.HasField("counter") else None
            assert path not in found
            found[path] = Track(unit=unit)
            continue
        event = packet.track_event
        assert packet.trusted_packet_sequence_id
        track = found[paths[event.track_uuid]]
        for note in event.debug_annotations:
            track.facts[note.name] = getattr(note, note.WhichOneof("value"))
        if event.type == TrackEvent.TYPE_COUNTER:
            value = getattr(event, event.WhichOneof("counter_value_field"))
            track.counters.append((packet.timestamp, value))
        elif event.type == TrackEvent.TYPE_SLICE_BEGIN:
            track.slices.append((event.name, packet.timestamp, -1))
        elif event.type == TrackEvent.TYPE_SLICE_END:
            name, begin, _ = track.slices[-1]
            track.slices[-1] = (name, begin, packet.timestamp)
        else:
            track.instants.append((packet.timestamp, event.name))
    return found


def test_phases_and_moments() -> None:
    found = tracks(PAGE)
    phases = found["two: fail/phases"]
    assert phases.slices == [("Step[0] steady", 10_500_000, 1_000_000_000)]
    # What was not measured is not there, rather than zero.
    assert phases.facts == {"iteration_rate": 12.5}
    assert found["two: fail/freezes"].instants == [(500_000_000, "periodic_000")]
    assert found["two: fail/freezes"].facts == {"paused_ms": 0.7}
    findings = found["two: fail/findings"]
    # Who does not say when stands where its step begins.
    assert [at for at, _ in findings.instants] == [450_000_000, 10_500_000]
    assert findings.facts["cpu"] == 1


def test_a_metric_may_have_any_name() -> None:
    page = copy.deepcopy(PAGE)
    page["phases"][1]["metrics"] = {"name": 1.0, "track": 2.0, "self": 3.0}
    content = trace_of(page)
    names = [
        annotation.name
        for packet in Trace.FromString(content).packet
        for annotation in packet.track_event.debug_annotations
    ]
    assert {"name", "track", "self"} <= {*names}


def test_cpus_keep_their_numbers_and_gaps() -> None:
    found = tracks(PAGE)
    assert found["two: fail/CPUs/CPU 0/nr_running"].counters == [(10**8, 1), (2 * 10**8, 2)]
    assert found["two: fail/CPUs/CPU 3/nr_running"].counters == [(10**8, 0)]
    assert found["two: fail/CPUs/CPU 0/busy"].counters == [(2 * 10**8, 99.5)]
    assert found["two: fail/CPUs/CPU 0/busy"].unit == "%"
    assert found["two: fail/CPUs/imbalance"].counters == [(10**8, 1.0), (2 * 10**8, 2.0)]
    assert [path for path in found if "sched_ext events/" in path] == [
        "two: fail/sched_ext events/dispatch_keep_last"
    ]


def test_cgroups_have_their_phases_and_figures() -> None:
    found = tracks(PAGE)
    phases = found["two: fail/cgroup a/phases"]
    assert phases.slices == [("Step[0] steady", 10_500_000, 1_000_000_000)]
    assert phases.facts["gap_cpu"] == 1
    assert phases.facts["wake_p99_ns"] == 30
    assert found["two: fail/cgroup a/wake-up p99"].counters == [(10_500_000, 30)]


def test_counters_of_several_holders_keep_apart_and_large_ones_survive() -> None:
    found = tracks(PAGE)
    assert found["two: fail/map scx.bss/nr_dispatched"].counters == [
        (500_000_000, 7),
        (900_000_000, 2.0**64),
    ]
    assert found["two: fail/stats/nr_dispatched"].counters == [(900_000_000, 9)]


def test_what_a_damaged_record_holds_is_kept_within_64_bits() -> None:
    page = copy.deepcopy(PAGE)
    page["reasons"][0]["at_ms"] = 1e300
    page["reasons"][1]["at_ms"] = math.inf
    page["phases"][1]["start_ms"] = math.nan
    page["phases"][1]["metrics"] = {"huge": 10**400}
    found = tracks(page)
    assert [at for at, _ in found["two: fail/findings"].instants] == [2**63 - 1, 2**63 - 1]
    assert found["two: fail/phases"].slices[0][1] == 0
