# SPDX-License-Identifier: GPL-2.0-only
"""The scratch disk: there when it is asked for, under the name the worker looks for."""

import re
from pathlib import Path

import pytest

from ktstr.errors import DefinitionInvalid
from ktstr.model.scenario import scenario_from_toml
from ktstr.model.topology import Topology
from ktstr.vm.accel import Accelerator
from ktstr.vm.argv import SCRATCH_SERIAL, Wiring, build_options, flatten
from ktstr.vm.spec import VmSpec

ROOT = Path(__file__).parents[3]
WIRING = Wiring(
    ram=("memory-backend-memfd,share=on",),
    bulk="null",
    ctl="null",
    console="null",
    monitors=(),
)
SCENARIO = """
[vm]
{line}
[scheduler]
kernel_default = true
[[steps]]
hold = "1s"
"""


def words(scratch_mib: int) -> list[str]:
    spec = VmSpec(
        kernel=Path("/k"),
        initrd=Path("/i"),
        topology=Topology(),
        accel=Accelerator("tcg", "because"),
        scratch_mib=scratch_mib,
    )
    return flatten(build_options(spec, WIRING, None))


def test_no_disk_unless_asked_for() -> None:
    assert not any("nvme" in word or "blockdev" in word for word in words(0))


def test_the_disk_has_the_size_asked_for_and_takes_no_room() -> None:
    given = words(64)
    at = given.index("-blockdev")
    assert given[at + 1] == "null-co,node-name=scratch,size=67108864,read-zeroes=on"
    assert "nvme,drive=scratch,serial=ktstr-scratch" in given


def test_worker_and_machine_agree_on_the_serial_number() -> None:
    header = (ROOT / "guest/worker/scratch.h").read_text()
    assert re.findall(r'#define SCRATCH_SERIAL "(.*)"', header) == [SCRATCH_SERIAL]


@pytest.mark.parametrize(("line", "mib"), [("", 0), ('scratch_disk = "1M"', 1)])
def test_the_scenario_says_whether_there_is_one(line: str, mib: int) -> None:
    assert scenario_from_toml(SCENARIO.format(line=line)).vm.scratch_mib == mib


@pytest.mark.parametrize("size", ['"0M"', '"65G"', '"1500K"'])
def test_its_size_has_bounds(size: str) -> None:
    with pytest.raises(DefinitionInvalid, match='whole MiB from "1M" to "64G"'):
        scenario_from_toml(SCENARIO.format(line=f"scratch_disk = {size}"))
