# SPDX-License-Identifier: GPL-2.0-only
"""Whatever a guest's memory holds, a checkpoint of it reads the same at every address."""

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from ktstr.model.topology import Topology
from ktstr.vm.accel import Accelerator
from ktstr.vm.checkpoint import Checkpoint, touched, write_checkpoint
from ktstr.vm.checkpoint_manifest import KernelFacts, MachineShape, Manifest, QemuVersion
from ktstr.vm.ram import MIB, GuestRam
from ktstr.vm.spec import VmSpec

SIZE = 3 * MIB
SPEC = VmSpec(
    None,
    None,
    Topology.parse("2n2l1c1t"),
    Accelerator("tcg", ""),
    memory_mib=3,
    node_memory_mib=(1, 2),
)
MANIFEST = Manifest(
    scenario="s",
    run_id="r",
    moment="m",
    kernel=KernelFacts(),
    qemu=QemuVersion(number="7.2.0"),
    machine=MachineShape.of(SPEC, None),
)
ADDRESSES = st.integers(0, SIZE - 1)
WRITES = st.lists(
    st.tuples(ADDRESSES, st.binary(min_size=1, max_size=20), st.integers(1, 20_000)), max_size=12
)
READS = st.lists(st.tuples(ADDRESSES, st.integers(0, 300_000)), min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(WRITES, READS)
def test_any_part_reads_as_in_the_guest(
    writes: list[tuple[int, bytes, int]], reads: list[tuple[int, int]]
) -> None:
    flat = bytearray(SIZE)
    with GuestRam([MIB, 2 * MIB]) as ram, tempfile.TemporaryDirectory() as folder:
        for address, pattern, times in writes:
            data = (pattern * times)[: SIZE - address]
            flat[address : address + len(data)] = data
            ram.write(address, data)
        path = Path(folder, "x.checkpoint")
        write_checkpoint(path, MANIFEST, touched(ram))
        with Checkpoint(path) as found:
            for address, size in reads:
                size = min(size, SIZE - address)
                assert found.memory.read(address, size) == flat[address : address + size]
            used = sum(1 for at in range(0, SIZE, 4096) if any(flat[at : at + 4096]))
            assert found.memory.pages == used
            with GuestRam([MIB, 2 * MIB]) as other:
                found.memory.load_into(other)
                assert other.read(0, SIZE) == bytes(flat)
