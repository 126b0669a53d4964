# SPDX-License-Identifier: GPL-2.0-only
"""A small gauntlet in real VMs, interrupted by SIGINT and by SIGKILL, and brought to its end."""

import json
import shutil
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

SCENARIO = """
name = "{name}"
[vm]
topology = "1n1l1c1t"
memory = "256M"
[scheduler]
bpf = "scx_ktstr"
[[steps]]
hold = "200ms"
cgroups = [{{ name = "one", works = [{{ type = "SpinWait", workers = 1 }}] }}]
[checks]
min_iteration_rate = {rate}
"""
KINDS = {"none": "none", "scx_ktstr": "bpf"}


def lines(folder: Path) -> list[dict[str, Any]]:
    text = (folder / "gauntlet.jsonl").read_text()
    return [json.loads(line) for line in text.split("\n")[:-1]]


def keys(folder: Path, kind: str) -> Counter[str]:
    return Counter(line["key"] for line in lines(folder) if line["type"] == kind)


def test_interrupted_twice_it_ends_with_every_cell_judged_once(ktstr) -> None:
    scenarios, folder = ktstr.folder / "scenarios", ktstr.folder / "out"
    scenarios.mkdir()
    for name, rate in (("good", 0), ("slow", 10**15)):
        (scenarios / f"{name}.toml").write_text(SCENARIO.format(name=name, rate=rate))
    chosen = ["--presets", "1n1l1c1t,1n2l1c1t", "--schedulers", "scx_ktstr,none", "--no-repro"]
    process = ktstr.command(
        "gauntlet", "--scenarios", str(scenarios), *chosen, "--jobs", "1", "--out", str(folder)
    )
    seen = ktstr.read_until(process, "[2/8]")
    assert "gauntlet gauntlet: 8 of 8 cells" in seen
    process.send_signal(signal.SIGINT)
    done = ktstr.finish(process, seen)
    assert done.code == 130, done.output
    assert f"go on with: ktstr gauntlet --resume {folder}" in done.output
    ended = keys(folder, "ended")
    assert 2 <= len(ended) < 8

    process = ktstr.command("gauntlet", "--resume", str(folder))
    seen = ktstr.read_until(process, f"[2/{8 - len(ended)}]")
    assert f"{len(ended)} of 8 cells are done" in seen
    process.kill()
    process.communicate(timeout=60)
    deadline = time.monotonic() + 20
    while ktstr.processes() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert ktstr.processes() == {}, "a guest outlived its gauntlet"
    for scratch in ktstr.folder.glob("ktstr-*"):
        shutil.rmtree(scratch)  # nobody could remove it
    before, began = keys(folder, "ended"), keys(folder, "began")
    assert len(before) >= len(ended) + 2
    with (folder / "gauntlet.jsonl").open("a") as journal:
        journal.write('{"type":"ended","key":"')  # as a machine that stopped leaves it

    reports = [f"--json={ktstr.folder}/r.json", f"--markdown={ktstr.folder}/r.md"]
    process = ktstr.command("gauntlet", "--resume", str(folder), *reports)
    done = ktstr.finish(process)
    assert done.code == 1, done.output
    ended = keys(folder, "ended")
    assert len(ended) == 8 and set(ended.values()) == {1}
    again = keys(folder, "began")
    assert {key for key in again if again[key] > began[key]} == set(ended) - set(before)
    report = json.loads((ktstr.folder / "r.json").read_text())
    assert report["verdicts"] == {"pass": 4, "fail": 4}
    assert [(row["name"], {c["verdict"] for c in row["cells"]}) for row in report["rows"]] == [
        ("good", {"pass"}),
        ("slow", {"fail"}),
    ]
    for run in report["runs"]:
        record = json.loads(Path(run["record"]).read_text())
        assert record["topology"] == run["topology"] and record["verdict"] == run["verdict"]
        assert record["scheduler"]["kind"] == KINDS[run["scheduler"]]
    assert (
        "| slow | **fail** | **fail** | **fail** | **fail** |"
        in (ktstr.folder / "r.md").read_text()
    )
