# SPDX-License-Identifier: GPL-2.0-only
"""Write watches in real guests: who wrote what, and what memory showed at that moment."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(400)]

SCENARIO = """
name = "watched"
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
[run]
num_snapshots = 3
[backdrop]
cgroups = [{ name = "base", works = [{ type = "SpinWait", workers = 3 }] }]
ops = [{ op = "WatchSnapshot", name = "never", variable = "stall_cnt" }]
[[steps]]
name = "writes"
hold = "1s"
ops = [
    { op = "WatchSnapshot", name = "beat", variable = "nr_heartbeat", hits = 3 },
    { op = "WatchSnapshot", name = "cgroup", symbol = "css_serial_nr_next", size = 8 },
    { op = "AddCgroup", cgroup = "made" },
]
[[steps]]
name = "part"
hold = "500ms"
ops = [{ op = "WatchSnapshot", name = "part", variable = "live.last_dispatch.ns", hits = 2 }]
[checks]
not_starved = true
max_gap_ms = 20000
max_spread_pct = 100
"""


def variable(sample: dict[str, Any], name: str) -> int:
    """The value of a scheduler's global in a sample's record."""
    members = [m for section in sample["globals"].values() for m in section["members"]]
    (found,) = [m for m in members if m["name"] == name]
    return int(found["value"]["value"])


def test_watches_fire_and_end(ktstr: Any, scenario_file: Callable[[str], Path]) -> None:
    done = ktstr.run(scenario_file(SCENARIO))
    assert done.code == 0, done.output
    record = done.record
    samples = {sample["tag"]: sample for sample in record["samples"]}
    assert [sample["error"] for sample in samples.values()] == [None] * 9, done.output
    assert set(samples) == {
        "periodic_000", "periodic_001", "periodic_002",
        "beat", "beat#2", "beat#3", "cgroup", "part", "part#2",
    }  # fmt: skip
    hits = {tag: sample["trigger"] for tag, sample in samples.items() if sample["trigger"]}
    assert len(hits) == 6
    steps = {tag: samples[tag]["step_index"] for tag in hits}
    assert steps == dict.fromkeys(("beat", "beat#2", "beat#3", "cgroup"), 1) | dict.fromkeys(
        ("part", "part#2"), 2
    )

    # Each beat adds one, and the memory of that moment has the value just written.
    for tag in ("beat", "beat#2", "beat#3"):
        assert hits[tag]["new"] == hits[tag]["old"] + 1
        assert variable(samples[tag], "nr_heartbeat") == hits[tag]["new"]
        assert hits[tag]["code"].startswith("beat+0x") and hits[tag]["code"].endswith(" (BPF)")
        assert hits[tag]["cpu"] in (0, 1)
        assert samples[tag]["paused_ns"] > 0
    assert hits["beat#2"]["old"] == hits["beat"]["new"]
    assert hits["beat#3"]["old"] == hits["beat#2"]["new"]

    assert hits["cgroup"]["watch"] == "css_serial_nr_next"
    assert hits["cgroup"]["new"] == hits["cgroup"]["old"] + 1
    assert "css" in hits["cgroup"]["code"] or "cgroup" in hits["cgroup"]["code"]
    assert hits["part"]["code"].startswith("count_dispatch+0x")
    # A time stamp, so it grows.
    assert hits["part#2"]["new"] > hits["part"]["new"] > 0

    # The freezes at boundaries were not disturbed, and the counter went on counting.
    assert variable(samples["periodic_002"], "nr_heartbeat") > hits["beat#3"]["new"]
    notes = record["notes"]
    never = [note for note in notes if "never fired" in note]
    assert len(never) == 1 and never[0].startswith("watch never never fired (stall_cnt in ")
    assert "beat at " in done.output and "nr_heartbeat" in done.output


BROKEN = """
[vm]
topology = "1n1l1c1t"
[scheduler]
bpf = "scx_ktstr"
[[steps]]
hold = "200ms"
cgroups = [{{ name = "a", works = [{{ type = "SpinWait" }}] }}]
ops = [{op}]
[checks]
not_starved = true
"""


def test_a_symbol_that_is_not_there_fails_the_step(
    ktstr: Any, scenario_file: Callable[[str], Path]
) -> None:
    op = '{ op = "WatchSnapshot", name = "w", symbol = "css_serial_nr_nxt" }'
    done = ktstr.run(scenario_file(BROKEN.format(op=op)))
    assert done.code == 1, done.output
    (detail,) = [detail for detail in done.details() if "WatchSnapshot" in detail]
    assert "has no symbol 'css_serial_nr_nxt'; near it: css_serial_nr_next" in detail


def test_a_fourth_watch_is_refused_before_anything_runs(
    ktstr: Any, scenario_file: Callable[[str], Path]
) -> None:
    ops = ", ".join(
        f'{{ op = "WatchSnapshot", name = "w{n}", variable = "nr_{n}" }}' for n in range(4)
    )
    done = ktstr.run(scenario_file(BROKEN.format(op=ops)))
    assert done.code == 4
    assert "at most 3 watches at a time" in done.output
    assert not list(done.out_dir.glob("*"))


PANIC = """
[vm]
topology = "1n1l1c1t"
[scheduler]
bpf = "scx_ktstr"
[[steps]]
hold = "2s"
cgroups = [{ name = "a", works = [{ type = "SpinWait" }] }]
ops = [
    { op = "WatchSnapshot", name = "w", variable = "nr_heartbeat", hits = 2 },
    { op = "WatchSnapshot", name = "v", variable = "stall_cnt" },
    { op = "InjectFault", fault = "kernel-panic", at = "1s" },
]
[checks]
not_starved = true
"""


def test_a_panic_under_watches_is_told_as_any(
    ktstr: Any, scenario_file: Callable[[str], Path]
) -> None:
    done = ktstr.run(scenario_file(PANIC))
    assert done.code == 3, done.output
    record = done.record
    assert "panicked" in record["error"]
    assert "last-snapshot.json" in done.evidence
    assert [s["tag"] for s in record["samples"]] == ["w", "w#2"]
    assert any(note.startswith("watch v never fired") for note in record["notes"])
