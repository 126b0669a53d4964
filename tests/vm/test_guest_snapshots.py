# SPDX-License-Identifier: GPL-2.0-only
"""Snapshots by the virtual clock: taken inside, at the same instants and with the same values."""

import json
from pathlib import Path

import pytest
from tests.vm.conftest import Finished, Ktstr

from ktstr.series.sample import SampleSeries
from ktstr.session.sidecar.read import read_sidecar

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

# 2 s of workload and four snapshots: boundaries at 0.2 s + 0.32 s * (i + 1).
SCENARIO = """
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
[run]
clock = "virtual"
seed = 3
num_snapshots = 4
[[backdrop.cgroups]]
name = "base"
works = [{ type = "PipeIo", workers = 2 }]
[[steps]]
hold = "1s"
[[steps]]
hold = "1s"
ops = [{ op = "CaptureSnapshot", name = "asked" }]
[[checks.temporal]]
var = "nr_dispatched"
pattern = "strictly_increasing"
[[checks.temporal]]
stats = "nr_dispatched"
pattern = "strictly_increasing"
per = "phase"
[[checks.temporal]]
map = "pcpu_stats"
key = 1
cpu = "sum"
pattern = "each"
at_least = 1
"""
NAMES = ["periodic_000", "periodic_001", "asked", "periodic_002", "periodic_003"]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Finished]:
    """Two runs of the same scenario."""
    done = []
    for _ in range(2):
        runner = Ktstr(tmp_path_factory.mktemp("virtual"))
        path = runner.folder / "inside.toml"
        path.write_text(SCENARIO)
        done.append(runner.run(path))
        runner.check_nothing_is_left()
    return done


@pytest.fixture(scope="module")
def series(runs: list[Finished]) -> SampleSeries:
    (path,) = Path(runs[0].out_dir).glob("*.ktstr.json")
    return read_sidecar(path).samples


def test_they_are_taken_where_they_are_due(runs: list[Finished], series: SampleSeries) -> None:
    assert runs[0].code == 0, runs[0].output
    samples = list(series.iter_samples())
    assert [sample.tag for sample in samples] == NAMES
    assert [sample.boundary_offset_ms for sample in samples] == [520, 840, None, 1160, 1480]
    assert [sample.step_index for sample in samples] == [1, 1, 2, 2, 2]
    for sample in samples:
        assert (sample.error, sample.paused_ns) == (None, None)
        assert sample.elapsed_ms is not None and sample.anchor_ms is not None
        assert sample.elapsed_ms >= sample.anchor_ms


def test_checks_judge_them_as_frozen_ones(runs: list[Finished]) -> None:
    passes = runs[0].record["result"]["passes"]
    assert [(p["name"], p["comparator"], p["value"], p["phase"]) for p in passes[:4]] == [
        ("nr_dispatched", "strictly_increasing", "3 pairs", None),
        ("stats.nr_dispatched", "strictly_increasing", "1 pair", "Step[0]"),
        ("stats.nr_dispatched", "strictly_increasing", "1 pair", "Step[1]"),
        ("pcpu_stats[1]@sum", "ge", "4 samples", None),
    ]


def test_maps_and_state_have_their_names(series: SampleSeries) -> None:
    for sample in series.iter_samples():
        snapshot = sample.taken()
        assert snapshot.active_ops == "ktstr" and snapshot.sched_ext.state == "enabled"
        names = {taken.name for taken in snapshot.active().maps}
        assert {"pcpu_stats", "task_seen", "run_hist", "scx_ktst.bss", "ktstr_ops"} <= names
        assert {taken.name: taken.error for taken in snapshot.maps if taken.error} == {}
        total = snapshot.live_var("nr_enqueued").as_u64()
        assert total > 0
        assert [cpu.cpu for cpu in snapshot.cpus] == [0, 1]
        # The scheduler answers a moment after the snapshot, by when it has done more.
        assert isinstance(sample.stats, dict)
        assert sample.stats["nr_enqueued"] >= total


def test_another_run_has_the_same(runs: list[Finished]) -> None:
    one, other = (run.record["samples"] for run in runs)
    assert len(one["entries"] if isinstance(one, dict) else one) == len(NAMES)
    assert json.dumps(one) == json.dumps(other)
    assert runs[0].record["identity"] == runs[1].record["identity"]
