# SPDX-License-Identifier: GPL-2.0-only
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.errors import HostUnfit
from ktstr.model.topology import Topology
from ktstr.vm.accel import Accelerator
from ktstr.vm.spec import VmSpec, check_host, highest_apic_id, spec_warnings

SPEC = VmSpec(Path("k"), Path("i"), Topology.parse("1n2l2c1t"), Accelerator("tcg", ""))


@pytest.mark.parametrize(
    ("topology", "apic_id"),
    [
        ("1n1l1c1t", 0),
        ("1n2l2c1t", 3),
        # 3 cores take 2 bits: die 1, core 2 is 0b1_10.
        ("1n2l3c1t", 6),
        # socket 1, die 1 of 2, core 2 of 3, thread 1 of 2: 0b1_1_10_1.
        ("2n4l3c2t", 29),
        # die 13 of 14 (4 bits), core 8 of 9 (4 bits), thread 1: 0b1101_1000_1.
        ("1n14l9c2t", 433),
    ],
)
def test_apic_ids_take_whole_bits(topology: str, apic_id: int) -> None:
    assert highest_apic_id(Topology.parse(topology)) == apic_id


def test_topology_beyond_the_apic_is_refused() -> None:
    with pytest.raises(HostUnfit, match="APIC id 433"):
        check_host(replace(SPEC, topology=Topology.parse("1n14l9c2t")), meminfo="")


def test_memory_is_checked() -> None:
    with pytest.raises(HostUnfit, match=r"500 MiB of memory are free .* needs 704 MiB"):
        check_host(SPEC, meminfo="MemTotal: 999999999 kB\nMemAvailable:   512000 kB\n")
    check_host(SPEC, meminfo=f"MemAvailable: {704 * 1024} kB\n")


def test_unknown_free_memory_is_no_obstacle() -> None:
    check_host(SPEC, meminfo="MemAvailable: many kB\n")


def test_many_cpus_under_tcg_are_warned_about() -> None:
    nine = replace(SPEC, topology=Topology.parse("1n3l3c1t"))
    eight = replace(SPEC, topology=Topology.parse("1n2l4c1t"))
    assert len(spec_warnings(nine)) == 1
    assert "9 vCPUs under TCG" in spec_warnings(nine)[0]
    assert spec_warnings(eight) == []
    assert spec_warnings(replace(nine, accel=Accelerator("kvm", ""))) == []
