# SPDX-License-Identifier: GPL-2.0-only
"""What is known of each run before anything boots: its cost, or why it is not to be."""

from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.errors import CannotRun, DefinitionInvalid
from ktstr.session import lineup
from ktstr.session.lineup import surveyed
from ktstr.session.matrix import Turn
from ktstr.session.options import RunOptions

TWO_LLCS = """
name = "two"
[vm]
topology = "1n2l2c1t"
[scheduler]
kernel_default = true
[[steps]]
hold = "1s"
cgroups = [{ name = "a", cpuset = { llc = 1 }, works = [{ type = "SpinWait", workers = 1 }] }]
"""
DETACHES = """
name = "detaches"
[scheduler]
bpf = "scx_ktstr"
[[steps]]
hold = "1s"
ops = [{ op = "DetachScheduler" }]
"""


def look(tmp_path: Path, text: str, **options: str) -> Turn:
    path = tmp_path / "x.toml"
    path.write_text(text)
    (found,) = surveyed([Turn(path, RunOptions(**options))])
    return found


def test_what_can_run_has_a_name_and_a_cost(tmp_path: Path) -> None:
    found = look(tmp_path, TWO_LLCS)
    assert (found.name, found.cost.cpus) == ("two", 4)
    assert found.refused is None and found.skipped == ""
    assert look(tmp_path, TWO_LLCS, topology="1n2l1c1t").cost.cpus == 2


def test_a_topology_without_its_place_skips_a_scenario(tmp_path: Path) -> None:
    found = look(tmp_path, TWO_LLCS, topology="1n1l4c1t")
    assert found.refused is None
    assert found.skipped.startswith("not on topology 1n1l4c1t: steps[0].cgroups[0].cpuset")


def test_what_is_wrong_everywhere_is_a_mistake(tmp_path: Path) -> None:
    broken = TWO_LLCS.replace("workers = 1", "workers = -1")
    found = look(tmp_path, broken, topology="1n1l4c1t")
    assert isinstance(found.refused, DefinitionInvalid) and found.skipped == ""
    # Its own topology is part of the definition.
    found = look(tmp_path, TWO_LLCS.replace("1n2l2c1t", "1n1l4c1t"))
    assert isinstance(found.refused, DefinitionInvalid) and found.skipped == ""


def test_too_many_cpus_for_the_machine_are_a_limit_of_the_topology(tmp_path: Path) -> None:
    found = look(tmp_path, TWO_LLCS, topology="1n10l9c2t")
    assert found.skipped == (
        "topology 1n10l9c2t: it needs APIC id 305, this machine type goes to 254"
    )


def test_ops_on_a_scheduler_need_one(tmp_path: Path) -> None:
    assert look(tmp_path, DETACHES).skipped == ""
    found = look(tmp_path, DETACHES, scheduler="none")
    assert found.skipped == "DetachScheduler: there is no scheduler to do that to"
    # Where the file itself has none, that is a mistake of the file.
    found = look(tmp_path, DETACHES.replace('bpf = "scx_ktstr"', "kernel_default = true"))
    assert found.refused is not None and found.skipped == ""


def test_what_was_refused_before_stays_refused(tmp_path: Path) -> None:
    turn = Turn(tmp_path / "gone.toml", RunOptions())
    assert isinstance(surveyed([turn])[0].refused, CannotRun)
    known = CannotRun("too many profiles")
    assert surveyed([replace(turn, refused=known)])[0].refused is known


def test_repetitions_are_looked_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[RunOptions] = []
    real = lineup.define

    def define(path: Path, options: RunOptions) -> object:
        looked.append(options)
        return real(path, options)

    monkeypatch.setattr(lineup, "define", define)
    path = tmp_path / "x.toml"
    path.write_text(TWO_LLCS)
    options = [RunOptions(), RunOptions(topology="1n2l1c1t")]
    due = [Turn(path, each, repetition=n) for n in (1, 2, 3) for each in options]
    found = surveyed(due)
    assert looked == options
    assert [(turn.repetition, turn.cost.cpus) for turn in found] == [
        (n, cpus) for n in (1, 2, 3) for cpus in (4, 2)
    ]
