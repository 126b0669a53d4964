# SPDX-License-Identifier: GPL-2.0-only
"""How large a guest this host carries: by accelerator and CPUs, unless it was said."""

from typing import Any

import anyio
import pytest

from ktstr.gauntlet import host as host_module
from ktstr.gauntlet.host import HostLimits, host_limits
from ktstr.model.topology import Topology
from ktstr.session.room import Room
from ktstr.vm.accel import Accelerator
from ktstr.vm.spec import QEMU_OVERHEAD_MIB


@pytest.mark.parametrize(
    ("accelerator", "asked", "most", "words"),
    [
        ("tcg", None, 12, "at most 12 here by default (tcg on 3 CPUs)"),
        ("kvm", None, 3, "at most 3 here by default (kvm on 3 CPUs)"),
        ("tcg", 64, 64, "--max-cpus is 64"),
    ],
)
def test_limits_by_accelerator(
    monkeypatch: pytest.MonkeyPatch, accelerator: Any, asked: int | None, most: int, words: str
) -> None:
    wanted: list[str] = []

    async def choose(name: str) -> Accelerator:
        wanted.append(name)
        return Accelerator(accelerator, "because")

    monkeypatch.setattr(host_module, "choose_accelerator", choose)
    monkeypatch.setattr(host_module, "host_room", lambda: Room(3, 10))
    monkeypatch.setattr(host_module, "whole_memory_mib", lambda: 1000)
    found = anyio.run(host_limits, "auto", asked)
    assert (found.max_cpus, found.memory_mib, found.limit) == (most, 1000, words)
    assert wanted == ["auto"]


def test_a_guest_that_just_fits() -> None:
    limits = HostLimits("tcg", 1, 4, 512 + QEMU_OVERHEAD_MIB)
    four, five = Topology.parse("1n1l4c1t"), Topology.parse("1n1l5c1t")
    assert limits.why_not(four, 512) == ""
    assert limits.why_not(five, 512) == "5 CPUs, at most 4 here by default (tcg on 1 CPU)"
    assert limits.why_not(four, 513).startswith("513 MiB of memory")
    assert HostLimits("tcg", 1, 4).why_not(four, 1 << 20) == ""
