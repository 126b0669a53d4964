# SPDX-License-Identifier: GPL-2.0-only
"""Estimates: measured runs before boot times before the formula; the share of the host."""

from pathlib import Path

import pytest
from tests.unit.gauntlet.made import made_facts

from ktstr.errors import ExitCode
from ktstr.gauntlet.cells import Cell, CellResult
from ktstr.gauntlet.cost import Estimate, Estimator, Measured
from ktstr.gauntlet.host import HostLimits
from ktstr.gauntlet.plan import Entry
from ktstr.kernels.boot_times import BootTime
from ktstr.model.topology import Topology
from ktstr.session.options import RunOptions
from ktstr.session.pool import Cost

TCG, KVM = HostLimits("tcg", 2, 8), HostLimits("kvm", 64, 64)


def entry(topology: str = "1n1l4c1t", *, name: str = "x", hold_s: float = 3.0) -> Entry:
    found = Topology.parse(topology)
    cell = Cell(Path("/x.toml"), name, topology, options=RunOptions())
    facts = made_facts(name, "g", found, hold_s)
    return Entry(cell, facts, Cost(found.cpus, 256), kernel_digest="d")


def run(wall_s: float, *, verdict: str = "pass", accel: str = "tcg", **what: str) -> Measured:
    cell = entry(**what).cell
    facts = {"accelerator": accel}
    code = ExitCode.PASS
    return Measured(cell, CellResult(verdict, code, wall_s=wall_s, workload_s=3.0, facts=facts))


@pytest.mark.parametrize(
    ("host", "topology", "wall_s"),
    [
        # The reference: 10 + max(0, (CPUs - 16) / 10, whole) + duration + 2 s.
        (KVM, "1n1l4c1t", 15.0),
        (KVM, "1n4l4c2t", 16.0),
        (KVM, "1n8l16c1t", 26.0),
        # Emulated, boots take longer than that by vCPUs for two of which there is a host CPU.
        (TCG, "1n1l4c1t", 15.0),
        (TCG, "1n2l2c2t", 25.0),
    ],
)
def test_by_the_formula(host: HostLimits, topology: str, wall_s: float) -> None:
    found = Estimator(host).of(entry(topology))
    assert (found.wall_s, found.source) == (wall_s, "formula")


def test_what_was_measured_goes_before_what_is_thought() -> None:
    boots = [BootTime(4, "kvm", 1.0, 3), BootTime(2, "tcg", 2.0, 3), BootTime(4, "tcg", 4.0, 3)]
    found = Estimator(TCG, boots=lambda digest: boots if digest == "d" else ()).of(entry())
    assert (found.wall_s, found.source) == (9.0, "boot")
    other = [run(7.0, name="other"), run(9.0, name="other"), run(10.0, name="other")]
    found = Estimator(TCG, other).of(entry(hold_s=5.0))
    assert (found.wall_s, found.source) == (11.0, "topology")
    same = [*other, run(4.0), run(5.0), run(60.0)]
    assert Estimator(TCG, same).of(entry()) == Estimate(5.0, 1.0, "run")


def test_runs_that_say_nothing_of_the_time_are_passed_over() -> None:
    useless = [
        run(1.0, verdict="guest lost"),
        run(1.0, verdict="cannot run"),
        run(0.0, verdict="skip"),
        run(1.0, accel="kvm"),
        run(1.0, topology="1n1l2c1t"),
    ]
    assert Estimator(TCG, useless).of(entry()).source == "formula"


def test_a_cell_costs_its_share_of_the_host() -> None:
    wide = HostLimits("kvm", 16, 16)
    assert Estimator(wide).of(entry()).share == 0.25
    assert Estimator(wide).of(entry()).cost_s == 15.0 / 4
    assert Estimator(TCG).of(entry()).share == 1.0
    assert Estimator(TCG, jobs=3).of(entry()).share == pytest.approx(1 / 3)
    assert Estimator(HostLimits("kvm", 16, 16, machines=4)).of(entry()).share == 1 / 16
    assert Estimator(HostLimits("tcg", 2, 8, machines=2), jobs=2).of(entry()).share == 1 / 4
