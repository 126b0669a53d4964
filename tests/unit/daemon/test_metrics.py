# SPDX-License-Identifier: GPL-2.0-only
"""The figures for Prometheus, by hand."""

from dataclasses import replace
from pathlib import Path

import pytest
from tests.unit.daemon.conftest import script
from tests.unit.daemon.served import SMALL, served

from ktstr.daemon.metrics import MAX_SHARES, OTHER_SHARES, Histogram, Metrics, exposition
from ktstr.daemon.settings import Status
from ktstr.daemon.submission import RunRow, RunState

pytestmark = pytest.mark.anyio

STATUS = Status(
    draining=False,
    queued={"ci": 3, 'a"b\\c\nd': 1},
    runs={"queued": 4, "finished": 7},
    running=2,
    leased=1,
    cpus=2,
    cpus_budget=4,
    memory_mib=700,
    memory_budget_mib=None,
    store_errors=5,
    store_failure=None,
    events_lost=2,
    fork_server=None,
)
ROW = RunRow("20261121-120000-0000", RunState.QUEUED, script("x"), "a", submitted_at=100.0)


def values(text: str) -> dict[str, float]:
    """Each series and its value."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def test_a_histogram_counts_up_to_each_bound() -> None:
    histogram = Histogram((1.0, 5.0))
    for value in (0.5, 1.0, 1.5, 7.0, -2.0):
        histogram.add(value)
    assert list(histogram.lines("x")) == [
        'x_bucket{le="1"} 3',
        'x_bucket{le="5"} 4',
        'x_bucket{le="+Inf"} 5',
        "x_sum 10.000000",
        "x_count 5",
    ]


def test_each_run_is_counted_once_however_often_it_is_told() -> None:
    metrics = Metrics()
    started = replace(ROW, state=RunState.STARTING, started_at=102.0)
    ended = replace(
        started, state=RunState.FINISHED, ended_at=110.0, verdict="fail", events_dropped=3
    )
    cancelled = replace(ROW, id="20261121-120000-0001", state=RunState.CANCELLED, ended_at=101.0)
    for row in (ROW, started, started, ended, ended, cancelled):
        metrics.observe(row)
    found = values(exposition(metrics, STATUS))
    assert found['ktstr_runs_ended_total{verdict="fail"}'] == 1
    assert found['ktstr_runs_ended_total{verdict="cancelled"}'] == 1
    assert found["ktstr_wait_seconds_count"] == 1
    assert found["ktstr_wait_seconds_sum"] == 2.0
    assert found["ktstr_run_seconds_sum"] == 8.0
    assert found["ktstr_events_dropped_total"] == 5


def test_what_the_supervisor_tells_is_told() -> None:
    text = exposition(Metrics(), STATUS)
    found = values(text)
    assert found['ktstr_runs{state="queued"}'] == 4
    assert found['ktstr_runs{state="lost"}'] == 0
    assert found['ktstr_queue_depth{share="ci"}'] == 3
    assert found['ktstr_queue_depth{share="a\\"b\\\\c\\nd"}'] == 1
    assert found["ktstr_vcpus_in_use"] == 2
    assert found["ktstr_vcpus_budget"] == 4
    assert found["ktstr_memory_in_use_bytes"] == 700 * 1024 * 1024
    assert "ktstr_memory_budget_bytes" not in found
    assert found["ktstr_store_errors_total"] == 5
    assert found["process_resident_memory_bytes"] > 1e6
    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(types) == len(set(types)), "a metric has its type twice"
    names = {line.split()[2] for line in text.splitlines() if line.startswith("# HELP")}
    assert names == set(types)


def test_shares_beyond_a_bound_are_counted_together() -> None:
    queued = {f"s{index}": 1 for index in range(MAX_SHARES + 5)} | {"large": 9}
    found = values(exposition(Metrics(), replace(STATUS, queued=queued)))
    depths = {name: value for name, value in found.items() if name.startswith("ktstr_queue_depth")}
    assert len(depths) == MAX_SHARES + 1
    assert depths['ktstr_queue_depth{share="large"}'] == 9
    assert depths[f'ktstr_queue_depth{{share="{OTHER_SHARES}"}}'] == 6


async def test_they_are_served(tmp_path: Path) -> None:
    async with served(tmp_path) as site:
        await site.ask("POST", "/v1/runs", SMALL)
        reply = await site.ask("GET", "/metrics")
        assert reply.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert values(reply.body.decode())['ktstr_queue_depth{share="default"}'] == 1
