# SPDX-License-Identifier: GPL-2.0-only
"""Runs that continue a saved guest: the same verdict, another clock and other random numbers."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from platformdirs import user_cache_path

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

SHORT = """
name = "clones"
[vm]
topology = "TOPOLOGY"
[scheduler]
bpf = "scx_ktstr"
[[steps]]
hold = "500ms"
ops = [{ op = "CaptureSnapshot", name = "look" }, OPS]
[[steps.cgroups]]
name = "one"
works = [{ type = "Mixed", workers = 2 }]
[checks]
not_starved = true
max_gap_ms = 20000
max_spread_pct = 100.0
"""

PROGRAM = r"""
#include <stdio.h>
#include <sys/random.h>
#include <time.h>
int main(void)
{
    unsigned long number;
    struct timespec now;
    if (getrandom(&number, sizeof(number), 0) != sizeof(number))
        return 1;
    clock_gettime(CLOCK_REALTIME, &now);
    printf("{\"random\": %lu, \"wall_s\": %ld.%09ld}\n", number >> 11, now.tv_sec, now.tv_nsec);
    return 0;
}
"""
ASK = """
    { op = "RunPayload", name = "ask", command = "program" },
    { op = "WaitPayload", name = "ask" },
"""


@pytest.fixture
def runs(ktstr: Any, tmp_path: Path) -> Iterator[Callable[..., dict[str, Any]]]:
    """Runs a scenario and gives its record; with templates of the test's own."""
    cache = tmp_path / "cache"
    (cache / "ktstr").mkdir(parents=True)
    for kept in user_cache_path("ktstr").iterdir():
        if kept.name != "templates":
            (cache / "ktstr" / kept.name).symlink_to(kept)
    ktstr.env["XDG_CACHE_HOME"] = str(cache)

    def once(path: Path, *args: str) -> dict[str, Any]:
        known = set(ktstr.folder.glob("out/*.ktstr.json"))
        done = ktstr.run(path, *args)
        assert done.code == 0, done.output
        (new,) = set(ktstr.folder.glob("out/*.ktstr.json")) - known
        record: dict[str, Any] = json.loads(new.read_text())
        return record

    def run(text: str, *args: str, topology: str = "1n1l2c1t", ops: str = "") -> dict[str, Any]:
        path = tmp_path / "scenario.toml"
        path.write_text(text.replace("TOPOLOGY", topology).replace("OPS", ops))
        record = once(path, *args)
        for _ in range(2):
            # A second try after a slip of the emulator boots and keeps nothing.
            if "one thread" in record["host"].get("why_cold", ""):
                record = once(path, *args)
        return record

    yield run


def ram_of_templates(folder: Path) -> list[Path]:
    return sorted((folder / "cache/ktstr/templates/entries").glob("*/ram"))


def test_later_runs_continue_the_first_ones_guest(runs: Any, tmp_path: Path) -> None:
    (tmp_path / "program.c").write_text(PROGRAM)
    subprocess.run(["cc", "-o", tmp_path / "program", tmp_path / "program.c"], check=True)
    records, asked = [], []
    for _ in range(3):
        records.append(runs(SHORT, ops=ASK))
        asked.append(time.time())
    assert [record["host"]["start"] for record in records] == ["template", "clone", "clone"]
    assert [kept["level"] for kept in records[0]["host"]["templates_kept"]] == [1, 2]
    assert len(ram_of_templates(tmp_path)) == 2

    for record in records:
        assert record["notes"] == []
        assert [s["event"] for s in record["scheduler"]["statuses"]] == ["loaded", "attached"]
        assert [sample["error"] for sample in record["samples"]] == [None]
        assert record["link"]["missing"] == record["link"]["dropped_bytes"] == 0
        assert len(record["workers"]) == 2
    # The same guest: it booted once.
    assert len({record["host"]["agent_start_s"] for record in records}) == 1

    said = [record["result"]["measurements"] for record in records]
    numbers = [one["payload.ask.random"] for one in said]
    assert len(set(numbers)) == 3, numbers
    # By the host's clock: each ran in the minute before its record was there.
    for one, after in zip(said, asked, strict=True):
        assert after - 60 < one["payload.ask.wall_s"] < after


def test_damage_is_noticed_and_the_template_made_again(runs: Any, tmp_path: Path) -> None:
    plain = SHORT.replace('bpf = "scx_ktstr"', "kernel_default = true")
    assert runs(plain)["host"]["start"] == "template"
    (path,) = ram_of_templates(tmp_path)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))
    cold = runs(plain, "--cold")
    assert (cold["host"]["start"], cold["host"]["why_cold"]) == ("cold", "--cold")
    assert cold["notes"] == []
    again = runs(plain)
    assert again["host"]["start"] == "template"
    (note,) = again["notes"]
    assert "a warm template was unusable and is made again" in note
    assert "does not match its checksum" in note
    clone = runs(plain)
    assert (clone["host"]["start"], clone["notes"]) == ("clone", [])


def test_two_nodes_and_another_scheduler(runs: Any) -> None:
    topology = "2n2l1c1t"
    first = runs(SHORT, topology=topology)
    clone = runs(SHORT, topology=topology)
    assert [record["host"]["start"] for record in (first, clone)] == ["template", "clone"]
    assert len(clone["numa_nodes"]) == 2
    assert clone["numa_nodes"] == first["numa_nodes"]
    assert [cpu["cpu"] for cpu in clone["samples"][0]["cpus"]] == [0, 1]

    # What another scheduler starts from is the same guest, before any was attached.
    globals_ = '"scx_ktstr"\nglobals = { slice_us = 5000 }'
    other = runs(SHORT.replace('"scx_ktstr"', globals_), topology=topology)
    assert other["host"]["start"] == "template"
    assert [kept["level"] for kept in other["host"]["templates_kept"]] == [2]
    assert other["host"]["agent_start_s"] == first["host"]["agent_start_s"]
