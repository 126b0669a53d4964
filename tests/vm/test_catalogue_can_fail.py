# SPDX-License-Identifier: GPL-2.0-only
"""Files of the catalogue against a scheduler that does what they are there to find."""

from pathlib import Path

import pytest

pytestmark = [pytest.mark.vm, pytest.mark.timeout(600)]

SCENARIOS = Path(__file__).parents[2] / "configs" / "scenarios"


def misbehaving(folder: Path, scenario: str, knob: str) -> Path:
    """A copy of a catalogue file whose scheduler has one of its knobs turned."""
    text = (SCENARIOS / scenario).read_text()
    bpf = 'bpf = "scx_ktstr"'
    assert text.count(bpf) == 1
    copy = folder / Path(scenario).name
    copy.write_text(text.replace(bpf, f"{bpf}\nglobals = {{ {knob} }}"))
    return copy


def test_slices_of_a_second_are_found_by_those_that_wake(ktstr, tmp_path: Path) -> None:
    scenario = misbehaving(tmp_path, "sched_class/cgroup_pipe_io.toml", "slice_us = 1_000_000")
    done = ktstr.run(scenario)
    assert done.code == 1, done.output
    pipes = [text for text in done.details() if text.startswith("Step[0] pipes: ")]
    assert any("p99 wake latency" in text and "above limit" in text for text in pipes), pipes
    assert any("(PipeIo, " in text and "below floor" in text for text in pipes), pipes


def test_a_scheduler_that_seldom_dispatches_is_found_behind_a_cpuset(ktstr, tmp_path: Path) -> None:
    scenario = misbehaving(tmp_path, "advanced/cgroup_idle_overloaded.toml", "slow_every = 25")
    done = ktstr.run(scenario)
    assert done.code == 1, done.output
    found = [text for text in done.details() if text.startswith("Step[0] ")]
    # How each fares depends on who is let in at all: some wait, some never get their turn, and they
    # leave no rates to compare. On a busy host the crowd may get by and the lone
    # sleeper, which is let in no more often, falls behind instead.
    crowd = (" stuck ", "no progress", "below floor", "unfair cgroup")
    sleeper = ("below floor", "p99 wake latency")
    assert any(
        any(words in text for words in signs)
        for cgroup, signs in (("overloaded", crowd), ("idle", sleeper))
        for text in found
        if text.startswith(f"Step[0] {cgroup}: ")
    ), done.output
