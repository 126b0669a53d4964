# SPDX-License-Identifier: GPL-2.0-only
"""Statistics of a scheduler that is not ours, through the relay, into the record and out of it."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from ktstr.cli.main import main as command
from ktstr.series.errors import FieldNotFound, MissingStatsError
from ktstr.series.sample import MissingStats, MissingStatsReason
from ktstr.series.snapshot import Snapshot
from ktstr.session.sidecar.read import read_sidecar

pytestmark = [pytest.mark.vm, pytest.mark.timeout(400)]

SCENARIO = """
    name = "foreign"
    [vm]
    topology = "1n1l2c1t"
    [scheduler]
    binary = "foreign_stats"
    [run]
    num_snapshots = 8
    [[steps]]
    hold = "6s"
    [[steps.cgroups]]
    name = "one"
    works = [{ type = "Mixed", workers = 2 }]
    [[steps]]
    hold = "300ms"
    ops = [{ op = "CaptureSnapshot", name = "mine" }]
    [[steps.cgroups]]
    name = "two"
    works = [{ type = "Mixed", workers = 2 }]
    [checks]
    not_starved = true
    max_gap_ms = 20000
"""


def test_a_foreign_server_is_read_and_its_every_misbehaviour_has_a_name(
    ktstr,  # type: ignore[no-untyped-def]
    scenario_file: Callable[[str], Path],
    tmp_path: Path,
) -> None:
    source = Path(__file__).with_name("foreign_stats.c")
    flags = ["-O2", "-Wall", "-Werror", "-static"]
    subprocess.run(["gcc", *flags, "-o", tmp_path / "foreign_stats", source], check=True)
    done = ktstr.run(scenario_file(SCENARIO))
    assert done.code == 0, done.output
    (path,) = done.out_dir.glob("*.ktstr.json")
    series = read_sidecar(path).samples

    # What the server did, in its order.
    expected: list[MissingStats | None] = [
        None,
        MissingStats.SCHEDULER_ERROR,
        MissingStats.SCHEDULER_ERROR,
        MissingStats.RESPONSE_TOO_LARGE,
        MissingStats.CANCELLED,
        MissingStats.NO_SCHEDULER,
        MissingStats.MISSING_RESP,
        None,
    ]
    periodic = series.periodic_only()
    reasons = [s.stats for s in periodic.iter_samples()]
    kinds = [r.kind if isinstance(r, MissingStatsReason) else None for r in reasons]
    assert kinds == expected, reasons
    assert "not JSON" in str(reasons[1]) and "errno 22: no target of that name" in str(reasons[2])

    util = periodic.stats_path("layers").key("batch.x").field_f64("util")
    values = [None if isinstance(v, MissingStatsError) else v for v in util.values_iter()]
    assert values == [1.25, *[None] * 6, 8.25]
    (never,) = list(periodic.stats_live_u64("never").values_iter())[:1]
    assert isinstance(never, FieldNotFound) and "but this answer lacks it" in never.message
    assert series.stats_meta is not None
    assert series.stats_meta.describe("layers.batch.x") == ""  # "x" is no field of a Layer

    # On-demand captures ask too.
    (mine,) = [s for s in series.iter_samples() if s.tag == "mine"]
    assert isinstance(mine.stats, dict) and mine.stats["busy"] == 9.5
    assert (mine.step_index, mine.boundary_offset_ms) == (2, None)

    # The record gives back what the guest's memory held.
    counters = periodic.bpf_live_u64("nr_enqueued")
    counted = [v for v in counters.values_iter() if isinstance(v, int)]
    assert len(counted) == 8 and counted == sorted(counted) and counted[0] < counted[-1]
    snapshot = mine.taken()
    assert isinstance(snapshot, Snapshot) and snapshot.active_ops == "ktstr"
    assert snapshot.active().map("ktstr_ops").get("data.name").as_str() == "ktstr"

    shown = CliRunner().invoke(command, ["show", "--stats", str(path)]).output
    assert "share of time the machine was busy" in shown
    assert "1 samples without statistics: response too large" in shown
