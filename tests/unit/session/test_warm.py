# SPDX-License-Identifier: GPL-2.0-only
"""Which runs may continue a template, and when a clone's loss is no news about the scheduler."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgpack
import pytest

from ktstr.errors import GuestHung, GuestLost, GuestPanicked
from ktstr.session.definition import Definition, define
from ktstr.session.options import RunOptions
from ktstr.session.repro import with_probes
from ktstr.session.tries import Tries
from ktstr.session.warm import preparation, why_cold
from ktstr.vm.accel import Accelerator
from ktstr.vm.spec import VirtualClock, VmSpec

SCENARIO = """
name = "warm"
[vm]
topology = "1n1l2c1t"
[scheduler]
bpf = "scx_ktstr"
[[steps]]
hold = "500ms"
[[steps.cgroups]]
name = "one"
works = [{ type = "SpinWait", workers = 2 }]
[checks]
not_starved = true
"""


@pytest.fixture
def definition(tmp_path: Path) -> Definition:
    path = tmp_path / "scenario.toml"
    path.write_text(SCENARIO)
    return define(path, RunOptions())


@pytest.fixture
def spec(definition: Definition) -> VmSpec:
    accel = Accelerator("tcg", "no KVM here")
    return VmSpec(Path("/k"), Path("/i"), definition.topology, accel)


def test_a_plain_run_may_continue_a_template(definition: Definition, spec: VmSpec) -> None:
    assert why_cold(definition, spec, RunOptions()) is None


def test_who_has_to_boot_is_told_why(
    definition: Definition, spec: VmSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert why_cold(definition, spec, RunOptions(cold=True)) == "--cold"
    reasons = [
        why_cold(definition, spec, RunOptions(keep_vm=True)),
        why_cold(definition, replace(spec, scratch_mib=16), RunOptions()),
        why_cold(with_probes(definition), spec, RunOptions()),
        why_cold(definition, replace(spec, debug=True), RunOptions()),
    ]
    monkeypatch.setenv("KTSTR_TEMPLATES_MB", "0")
    reasons.append(why_cold(definition, spec, RunOptions()))
    words = ("a VM that is kept", "scratch disk", "probes", "debugger", "KTSTR_TEMPLATES_MB")
    for reason, word in zip(reasons, words, strict=True):
        assert word in str(reason)


def test_only_the_scheduler_is_got_ready_before_the_plan(
    definition: Definition, tmp_path: Path
) -> None:
    told = preparation(definition)
    assert told is not None
    assert msgpack.unpackb(told) == {"scheduler": definition.plan["scheduler"]}
    # A longer step is another plan, but the same guest.
    (tmp_path / "longer.toml").write_text(SCENARIO.replace("500ms", "900ms"))
    assert preparation(define(tmp_path / "longer.toml", RunOptions())) == told
    other = define(tmp_path / "longer.toml", RunOptions(scheduler="none"))
    assert preparation(other) is None


class Run:
    """What ``Tries.learn`` looks at."""

    def __init__(self, folder: Path, *, reached: int, heard: bool, console: str = "") -> None:
        self.discarded: list[str] = []
        self.warm = SimpleNamespace(reached=reached, give_up=self.discarded.append)
        self.link = SimpleNamespace(heard=heard)
        self.machine = SimpleNamespace(
            console_log=folder / "console.log", spec=SimpleNamespace(virtual=None)
        )
        self.machine.console_log.write_text(console)
        self.prepared = SimpleNamespace(accel=Accelerator("tcg", ""))


def learn(tries: Tries, run: Any, error: GuestLost) -> bool:
    return tries.learn(run, error)


def test_a_clone_that_never_spoke_costs_its_template_and_the_run_boots(tmp_path: Path) -> None:
    tries, run = Tries(), Run(tmp_path, reached=2, heard=False)
    assert learn(tries, run, GuestHung("no answer"))
    assert run.discarded == ["no answer"]
    assert tries.why_cold == "the template's guest did not go on"
    assert tries.slips == 0
    assert "said nothing (no answer)" in tries.why[0]


@pytest.mark.parametrize(("reached", "heard"), [(2, True), (0, False), (0, True)])
def test_what_happens_in_the_scenario_is_believed(
    tmp_path: Path, reached: int, heard: bool
) -> None:
    tries, run = Tries(), Run(tmp_path, reached=reached, heard=heard)
    assert not learn(tries, run, GuestPanicked("x"))
    assert (run.discarded, tries.why, tries.why_cold) == ([], [], None)


def test_a_slip_is_tried_again_once_and_boots(tmp_path: Path) -> None:
    tries = Tries()
    run = Run(tmp_path, reached=2, heard=True, console="Oops: int3: 0000")
    assert learn(tries, run, GuestPanicked("x"))
    assert (tries.slips, run.discarded) == (1, [])
    assert tries.why_cold is not None
    assert not learn(tries, run, GuestPanicked("x"))
    assert len(tries.why) == 1


def test_by_the_virtual_clock_a_second_try_would_go_the_same_way(tmp_path: Path) -> None:
    tries, run = Tries(), Run(tmp_path, reached=0, heard=True, console="Oops: int3: 0000")
    run.machine.spec.virtual = VirtualClock(seed=1)
    assert not learn(tries, run, GuestPanicked("x"))
    assert (tries.slips, tries.why) == (0, [])
