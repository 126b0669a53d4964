# SPDX-License-Identifier: GPL-2.0-only
"""The page of a real run: everything on it comes out of a guest."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

SCENARIO = """
name = "page"

[vm]
topology = "1n2l2c1t"

[scheduler]
bpf = "scx_ktstr"

[run]
num_snapshots = 4

[[steps]]
name = "pipes"
hold = "2s"

[[steps.cgroups]]
name = "left"
works = [{ type = "PipeIo", workers = 2 }]

[[steps]]
name = "spin"
hold = "1s"

[[steps.cgroups]]
name = "right"
cpuset = { llc = 1 }
works = [{ type = "SpinWait", workers = 2 }]

[checks]
min_iteration_rate = 1e12
"""


def data_of(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="data">(.*?)</script>', page.read_text())
    assert found is not None
    data: dict[str, Any] = json.loads(found[1])["data"]
    return data


def test_a_real_run_is_on_its_page(ktstr: Any, tmp_path: Path) -> None:
    scenario, page = tmp_path / "page.toml", tmp_path / "page.html"
    scenario.write_text(SCENARIO)
    done = ktstr.run(scenario, "--html", str(page), "--no-repro")
    assert done.code == 1, done.output
    data = data_of(page)
    assert [phase["title"] for phase in data["phases"]] == ["Step[0] pipes", "Step[1] spin"]
    begin, end = data["phases"][1]["start_ms"], data["phases"][1]["end_ms"]
    assert 2000 <= begin < end <= data["end_ms"]
    # Nobody makes 10^12 iterations a second: four workers in two cgroups, each pinned to its phase.
    assert [(pin["step"], pin["cgroup"]) for pin in data["reasons"]] == [(1, "left")] * 2 + [
        (2, "right")
    ] * 2
    cpus = data["cpus"]
    assert cpus["source"] == "monitor" and cpus["cpus"] == [0, 1, 2, 3] and cpus["readings"] >= 10
    shares = [share for row in cpus["busy_pct"] for share in row if share is not None]
    assert shares and all(0 <= share <= 100 for share in shares)
    spun = [
        row[at]
        for row in cpus["busy_pct"][2:]
        for at, time in enumerate(cpus["at_ms"])
        if begin + 300 <= time < end
    ]
    # Two that spin on two CPUs: each has one all the time, wherever the other tasks are.
    assert max(share for share in spun if share is not None) >= 80
    assert [freeze["error"] for freeze in data["freezes"]] == [None] * 4
    counters = {
        (counter["holder"], counter["name"]): counter["values"] for counter in data["counters"]
    }
    (enqueued,) = [
        values
        for (holder, name), values in counters.items()
        if name == "nr_enqueued" and holder != "stats"
    ]
    assert len(enqueued) == 4 and enqueued == sorted(enqueued) and enqueued[0] > 0
    assert ("stats", "nr_enqueued") in counters
    wake = {
        (cgroup["name"], carrier["step"]): carrier["wake"]
        for cgroup in data["cgroups"]
        for carrier in cgroup["phases"]
    }
    assert wake["right", 2] is None, "spinning waits for nothing"
    found = wake["left", 1]
    assert found["min"] <= found["p50"] <= found["p99"] <= found["p999"] <= found["max"]
    assert sum(found["counts"]) == found["samples"] > 100
    assert data["command"] == f"ktstr-run {scenario}"
    assert data["logs"][0]["title"] == "failure dump"
