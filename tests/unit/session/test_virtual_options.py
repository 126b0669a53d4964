# SPDX-License-Identifier: GPL-2.0-only
"""Which options a run by the virtual clock takes, and which accelerator it gets."""

from pathlib import Path

import pytest

from ktstr.errors import HostUnfit
from ktstr.model.scenario import scenario_from_toml
from ktstr.model.topology import Topology
from ktstr.session.definition import define
from ktstr.session.options import RunOptions
from ktstr.session.prepare import _accelerator, uneven
from ktstr.vm.checkpoint_manifest import QemuVersion
from ktstr.vm.qemu import Qemu
from ktstr.vm.qemu_choice import Choice

pytestmark = pytest.mark.anyio

TEXT = """
[scheduler]
kernel_default = true
[[steps]]
hold = "1s"
[[steps.cgroups]]
name = "a"
works = [{ type = "SpinWait" }]
"""


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    path = tmp_path / "x.toml"
    path.write_text(TEXT)
    return path


@pytest.mark.parametrize(
    ("option", "options"),
    [
        ("--keep-vm", RunOptions(clock="virtual", keep_vm=True)),
        ("--checkpoint-at", RunOptions(clock="virtual", checkpoint_at="1")),
    ],
)
def test_what_would_touch_the_guest_is_refused(
    scenario: Path, option: str, options: RunOptions
) -> None:
    with pytest.raises(HostUnfit, match=f"^{option} is not for a guest with a virtual clock"):
        define(scenario, options)


def test_by_the_hosts_clock_it_is_not(scenario: Path) -> None:
    assert define(scenario, RunOptions(keep_vm=True, checkpoint_at="1")).plan["clock"] == "wall"


def test_clock_and_seed_are_taken_from_the_options(scenario: Path) -> None:
    plan = define(scenario, RunOptions(clock="virtual", seed=9)).plan
    assert (plan["clock"], plan["seed"]) == ("virtual", 9)


async def test_instructions_are_counted_by_tcg_alone() -> None:
    virtual = scenario_from_toml(TEXT, clock="virtual")
    found = await _accelerator(virtual, RunOptions())
    assert (found.name, "counts instructions" in found.reason) == ("tcg", True)
    with pytest.raises(HostUnfit, match="KVM does not count instructions"):
        await _accelerator(virtual, RunOptions(accel="kvm"))


@pytest.mark.parametrize(
    ("topology", "obstacle", "doubted"),
    [
        ("1n1l2c1t", "no network (7 s ago)", True),
        ("1n1l1c2t", "no network (7 s ago)", True),
        ("1n1l1c1t", "no network (7 s ago)", False),
        ("1n1l2c1t", None, False),
    ],
)
def test_figures_of_an_old_qemu_with_several_cpus_are_doubted(
    topology: str, obstacle: str | None, doubted: bool
) -> None:
    choice = Choice(Qemu(Path("/q"), None), QemuVersion(number="7.2.22"), obstacle=obstacle)
    said = uneven(choice, Topology.parse(topology))
    assert (said is not None) is doubted
    if said is not None:
        # It is part of the run's identity, which why there was no other QEMU must not be.
        assert "QEMU 7.2.22 shares" in said and "network" not in said
