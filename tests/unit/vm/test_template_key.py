# SPDX-License-Identifier: GPL-2.0-only
"""The key of a template: everything that shapes the guest changes it, nothing else does."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ktstr.errors import HostUnfit
from ktstr.model.topology import Topology
from ktstr.vm.accel import Accelerator
from ktstr.vm.qemu import Qemu
from ktstr.vm.spec import VmSpec
from ktstr.vm.template_key import host_cpu, template_key

SPEC = VmSpec(
    kernel=Path("/a/vmlinux"),
    initrd=Path("/a/image.cpio"),
    topology=Topology.parse("1n2l2c1t"),
    accel=Accelerator("tcg", "no KVM here"),
)


@pytest.fixture
def qemu(tmp_path: Path) -> Qemu:
    program = tmp_path / "qemu-system-x86_64"
    program.write_bytes(b"one version")
    return Qemu(program, None)


def key(spec: VmSpec, qemu: Qemu, kernel: str = "k", image: str = "i", told: bytes = b"") -> str:
    return template_key(spec, qemu, kernel, image, told)


@pytest.mark.parametrize(
    "changed",
    [
        {"topology": Topology.parse("1n1l4c1t")},
        {"memory_mib": 768},
        {"pvh": True},
        {"cmdline": ("nosmt",)},
        {"topology": Topology.parse("2n2l2c1t")},
        {"scratch_mib": 16},
        {"pvpanic": False},
        {"one_thread": True},
        {"accel": Accelerator("kvm", "it runs guests")},
    ],
    ids=str,
)
def test_what_shapes_the_machine_changes_the_key(qemu: Qemu, changed: dict[str, Any]) -> None:
    assert key(replace(SPEC, **changed), qemu) != key(SPEC, qemu)


def test_the_split_of_memory_and_the_distances_change_the_key(qemu: Qemu) -> None:
    two = replace(SPEC, topology=Topology.parse("2n2l2c1t"))
    keys = {
        key(two, qemu),
        key(replace(two, node_memory_mib=(128, 384)), qemu),
        key(replace(two, node_distances=((10, 31), (31, 10))), qemu),
    }
    assert len(keys) == 3


def test_kernel_image_and_preparation_change_the_key(qemu: Qemu) -> None:
    keys = {
        key(SPEC, qemu),
        key(SPEC, qemu, kernel="another"),
        key(SPEC, qemu, image="another"),
        key(SPEC, qemu, told=b"a scheduler"),
        key(SPEC, qemu, told=b"another scheduler"),
    }
    assert len(keys) == 5


def test_paths_and_connections_do_not(qemu: Qemu) -> None:
    moved = replace(SPEC, kernel=Path("/b/vmlinux"), initrd=Path("/tmp/x.cpio"), watch=True)
    elsewhere = replace(SPEC, accel=Accelerator("tcg", "another reason"))
    assert key(moved, qemu) == key(elsewhere, qemu) == key(SPEC, qemu)


def test_another_qemu_changes_the_key(qemu: Qemu) -> None:
    before = key(SPEC, qemu)
    os.utime(qemu.program, ns=(1, 1))
    assert key(SPEC, qemu) != before
    with pytest.raises(HostUnfit, match="No such file"):
        key(SPEC, Qemu(qemu.program.with_name("gone"), None))


def test_firmware_changes_the_key(qemu: Qemu, tmp_path: Path) -> None:
    rom = tmp_path / "qboot.rom"
    rom.write_bytes(b"rom")
    assert key(SPEC, Qemu(qemu.program, rom)) != key(SPEC, qemu)


def test_a_host_cpu_is_what_guests_see_of_it() -> None:
    one = "processor\t: 0\nvendor_id\t: A\nmodel\t\t: 5\ncpu MHz\t\t: 900\nflags\t\t: fpu sse\n"
    other = one.replace("900", "2100") + "\nprocessor\t: 1\nvendor_id\t: B\n"
    assert host_cpu(one) == host_cpu(other) == "vendor_id\t: A\nmodel\t\t: 5\nflags\t\t: fpu sse"
    assert host_cpu(one.replace("sse", "avx")) != host_cpu(one)
