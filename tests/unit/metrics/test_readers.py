# SPDX-License-Identifier: GPL-2.0-only
"""What one capture says about each metric that is read from captures."""

from typing import Any

import pytest

from ktstr.metrics.readers import READERS
from ktstr.metrics.registry import metric_def
from ktstr.series.host import HostReading, PerCpuTime
from ktstr.series.sample import Sample
from ktstr.series.snapshot import CpuSnapshot, SchedExtState, Snapshot

SOFTIRQS = [{"net_rx": 1, "net_tx": 20, "timer": 300, "sched": 4000}, {"net_rx": 5, "timer": 7}]

FULL = Sample(
    "periodic_000",
    snapshot=Snapshot(
        "7.2",
        (),
        tuple(CpuSnapshot(i, local_dsq_depth=depth) for i, depth in enumerate((1, None, 8))),
        SchedExtState(events={"select_cpu_fallback": 12, "dispatch_keep_last": 0}),
        host=HostReading(
            (
                PerCpuTime(0, 100, SOFTIRQS[0], irq_ns=3, softirq_ns=50, steal_ns=700),
                PerCpuTime(1, 11, SOFTIRQS[1], irq_ns=4, softirq_ns=60, steal_ns=0),
            )
        ),
    ),
)
EXPECTED = {
    "max_dsq_depth": 8.0,
    "avg_dsq_depth": 4.5,
    "total_fallback": 12.0,
    "total_keep_last": 0.0,
    "total_hardirqs": 111.0,
    "total_softirq_net_rx": 6.0,
    "total_softirq_net_tx": 20.0,
    "total_softirq_timer": 307.0,
    "total_softirq_sched": 4000.0,
    "total_irq_time_ns": 7.0,
    "total_softirq_time_ns": 110.0,
    "total_steal_time_ns": 700.0,
}


@pytest.mark.parametrize("name", sorted(EXPECTED))
def test_reading(name: str) -> None:
    value = READERS[name](FULL)
    assert value == EXPECTED[name]
    assert type(value) is float


def test_the_table_is_complete_and_registered() -> None:
    assert set(READERS) == set(EXPECTED)
    for name in READERS:
        definition = metric_def(name)
        assert definition is not None
        assert not definition.kind.is_derived


@pytest.mark.parametrize(
    "capture",
    [
        Sample("periodic_000", error="no"),
        Sample("periodic_000", snapshot=Snapshot("7.2", (), (), SchedExtState())),
        Sample("periodic_000", snapshot=Snapshot("7.2", (), (CpuSnapshot(0),), SchedExtState())),
        Sample("periodic_000", snapshot=Snapshot("7.2", (), (), SchedExtState(events={}))),
    ],
)
def test_what_a_capture_does_not_hold_is_none(capture: Sample) -> None:
    assert {name: read(capture) for name, read in READERS.items()} == dict.fromkeys(READERS)


def test_accounted_interrupts_without_softirqs_leave_those_out() -> None:
    host = HostReading((PerCpuTime(0, hardirqs=0),))
    capture = Sample("x", snapshot=Snapshot("7.2", (), (), SchedExtState(), host=host))
    assert READERS["total_hardirqs"](capture) == 0.0
    assert READERS["total_softirq_net_rx"](capture) is None


def test_readings_of_the_host_are_plain_in_the_snapshot() -> None:
    assert isinstance(FULL.snapshot, Snapshot)
    host: Any = FULL.snapshot.to_json()["host"]
    assert host["per_tgid_time"] == host["cgroup_psi"] == []
    assert host["per_cpu_time"][0]["softirqs"] == SOFTIRQS[0]
    assert host["per_cpu_time"][0]["iowait_sleeptime_ns"] is None
