# SPDX-License-Identifier: GPL-2.0-only
"""The checkpoint file: what is written is read, and nothing else is believed."""

import json
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from ktstr.errors import CheckpointUnusable, OutputUnwritable
from ktstr.model.topology import Topology
from ktstr.vm.accel import Accelerator
from ktstr.vm.checkpoint import Checkpoint, is_checkpoint, touched, write_checkpoint
from ktstr.vm.checkpoint_manifest import KernelFacts, MachineShape, Manifest, QemuVersion
from ktstr.vm.ram import MIB, GuestRam, OutsideRam
from ktstr.vm.spec import VmSpec

PAGE = 4096
PREFIX = struct.Struct("<8sIIQ")
SECTION = struct.Struct("<QQII")
SECTIONS = ("manifest", "extents", "chunks", "state", "registers")
SPEC = VmSpec(
    None,
    None,
    Topology.parse("2n2l1c1t"),
    Accelerator("tcg", ""),
    memory_mib=6,
    node_memory_mib=(2, 4),
    node_distances=((10, 21), (21, 10)),
)


def manifest(spec: VmSpec = SPEC) -> Manifest:
    return Manifest(
        scenario="two",
        run_id="r1",
        moment="at the end",
        step=2,
        elapsed_ms=12.5,
        kernel=KernelFacts(release="6.99"),
        vmcoreinfo=(0x1000, 2048),
        qemu=QemuVersion(number="7.2.22", package="Debian"),
        machine=MachineShape.of(spec, 65536),
    )


@pytest.fixture
def ram() -> Iterator[GuestRam]:
    with GuestRam([2 * MIB, 4 * MIB]) as ram:
        yield ram


@pytest.fixture
def written(ram: GuestRam, tmp_path: Path) -> Path:
    """A checkpoint with pages in both nodes, one run across them, and 40 pages that make chunks."""
    ram.write(3 * PAGE + 5, b"three")
    ram.write(2 * MIB - 2, b"both")
    for page in range(1000, 1040):
        ram.write(page * PAGE, os.urandom(PAGE))
    target = tmp_path / "x.checkpoint"
    size = write_checkpoint(target, manifest(), touched(ram), b"devices" * 99, "RIP=0")
    assert size == target.stat().st_size
    return target


def test_what_was_written_is_read(written: Path, ram: GuestRam) -> None:
    assert is_checkpoint(written)
    with Checkpoint(written) as found:
        assert found.manifest == manifest()
        assert found.state() == b"devices" * 99
        assert found.registers() == "RIP=0"
        assert found.memory.pages == 43
        assert found.memory.read(0, 6 * MIB) == ram.read(0, 6 * MIB)
        assert bytes(found.memory.view(2 * MIB - 2, 4)) == b"both"
        assert found.manifest.machine.spec() == replace(
            SPEC, accel=found.manifest.machine.spec().accel
        )


def test_it_is_loaded_into_another_machine(written: Path, ram: GuestRam) -> None:
    with GuestRam([2 * MIB, 4 * MIB]) as other, Checkpoint(written) as found:
        found.memory.load_into(other)
        # 43 pages, and nothing that was zeros has been touched: before it is read, which does.
        blocks = sum(os.fstat(fd).st_blocks for fd in other.fds)
        assert blocks * 512 == 43 * PAGE
        assert other.read(0, 6 * MIB) == ram.read(0, 6 * MIB)


def test_a_node_above_the_pci_window_keeps_its_addresses(tmp_path: Path) -> None:
    spec = replace(SPEC, memory_mib=3072, node_memory_mib=(1024, 2048))
    with GuestRam([1024 * MIB, 2048 * MIB]) as ram:
        ram.write((4 << 30) + 7 * PAGE, b"high")
        target = tmp_path / "high.checkpoint"
        write_checkpoint(target, manifest(spec), touched(ram))
    with Checkpoint(target) as found:
        assert found.memory.read((4 << 30) + 7 * PAGE, 4) == b"high"
        assert [s.address for s in found.memory.segments] == [0, 1 << 30, 4 << 30]
        with pytest.raises(OutsideRam):
            found.memory.read((2 << 30) - 4, 8)


@pytest.mark.parametrize(
    "at, size", [(-1, 1), (6 * MIB, 1), (6 * MIB - 1, 2), (0, -1), (0, 1 << 62)]
)
def test_reading_outside_ram_is_an_error(written: Path, at: int, size: int) -> None:
    with Checkpoint(written) as found, pytest.raises(OutsideRam):
        found.memory.read(at, size)


def test_memory_alone_can_be_read_but_not_resumed(ram: GuestRam, tmp_path: Path) -> None:
    target = tmp_path / "x.checkpoint"
    told = manifest().model_copy(update={"stateless": "QEMU had died"})
    write_checkpoint(target, told, touched(ram))
    with Checkpoint(target) as found:
        assert found.registers() is None
        assert found.memory.read(0, 8) == bytes(8)
        with pytest.raises(CheckpointUnusable, match="QEMU had died"):
            found.state()


def test_what_is_written_is_whole_or_not_there(ram: GuestRam, tmp_path: Path) -> None:
    ram.write(0, b"x")

    def give_up() -> None:
        raise KeyboardInterrupt

    target = tmp_path / "x.checkpoint"
    with pytest.raises(KeyboardInterrupt):
        write_checkpoint(target, manifest(), touched(ram), check=give_up)
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputUnwritable):
        write_checkpoint(tmp_path / "file" / "x", manifest(), touched(ram))


def test_a_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "x.checkpoint"
    with pytest.raises(CheckpointUnusable, match="No such file"):
        Checkpoint(path)
    assert not is_checkpoint(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointUnusable, match="no checkpoint"):
        Checkpoint(path)
    path.write_bytes(b"\x7fELF" * 100)
    with pytest.raises(CheckpointUnusable, match=r"no checkpoint: it begins with b'.x7fELF"):
        Checkpoint(path)
    assert not is_checkpoint(path)


@pytest.mark.parametrize("keep", [8, 100, 200, 5000, -1])
def test_a_file_cut_short_says_so(written: Path, keep: int) -> None:
    whole = written.read_bytes()
    written.write_bytes(whole[:keep])
    with pytest.raises(CheckpointUnusable, match="cut short"):
        Checkpoint(written)


def test_another_format_is_named(written: Path) -> None:
    data = bytearray(written.read_bytes())
    struct.pack_into("<I", data, 8, 2)
    written.write_bytes(data)
    with pytest.raises(CheckpointUnusable, match="format 2; this ktstr reads format 1"):
        Checkpoint(written)


def test_every_damaged_byte_is_noticed(written: Path) -> None:
    """Each byte of the file belongs to something with a checksum."""
    whole = written.read_bytes()
    for at in [*range(0, 144), *range(144, len(whole), 509), len(whole) - 1]:
        data = bytearray(whole)
        data[at] ^= 0x10
        written.write_bytes(data)
        with pytest.raises(CheckpointUnusable), Checkpoint(written) as found:
            found.memory.read(0, 6 * MIB)
            found.state()
            found.registers()


def test_a_damaged_chunk_spoils_its_own_pages_only(written: Path) -> None:
    with Checkpoint(written) as found:
        offset, size = found.memory._chunks[1].offset, found.memory._chunks[1].size
    data = bytearray(written.read_bytes())
    data[offset + size // 2] ^= 1
    written.write_bytes(data)
    with Checkpoint(written) as found:
        assert found.memory.read(3 * PAGE + 5, 5) == b"three"
        with pytest.raises(CheckpointUnusable, match=f"chunk 1 of its memory, {size} bytes"):
            found.memory.read(1020 * PAGE, 4)


def sections(data: bytes) -> dict[str, bytes]:
    found = {}
    for number, name in enumerate(SECTIONS):
        offset, size, _, _ = SECTION.unpack_from(data, PREFIX.size + number * SECTION.size)
        found[name] = data[offset : offset + size]
    return found


def forged(original: bytes, change: Callable[[dict[str, bytes]], None]) -> bytes:
    """The same file with other sections and right checksums, as an attacker writes it."""
    parts = sections(original)
    first = SECTION.unpack_from(original, PREFIX.size)[0]
    change(parts)
    body, table = original[144:first], b""
    assert PREFIX.size + len(SECTIONS) * SECTION.size == 144
    at = first
    for name in SECTIONS:
        table += SECTION.pack(at, len(parts[name]), zlib.crc32(parts[name]), 0)
        at += len(parts[name])
        body += parts[name]
    bare = PREFIX.pack(b"KTSTRCKP", 1, 0, at) + table
    return PREFIX.pack(b"KTSTRCKP", 1, zlib.crc32(bare), at) + table + body


def extents(*runs: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<QQ", *run) for run in runs)


FORGERIES: dict[str, tuple[Callable[[dict[str, bytes]], None], str]] = {
    "a page beyond RAM": (lambda p: p.update(extents=extents((1536, 43))), "has not"),
    "a run that ends beyond RAM": (lambda p: p.update(extents=extents((1500, 43))), "has not"),
    "a run that wraps": (lambda p: p.update(extents=extents((2**64 - 1, 43))), "has not"),
    "a count that wraps": (lambda p: p.update(extents=extents((0, 2**63 + 43))), "has not"),
    "overlapping runs": (lambda p: p.update(extents=extents((0, 40), (39, 3))), "not in order"),
    "an empty run": (lambda p: p.update(extents=extents((0, 0), (1, 43))), "has not"),
    "fewer pages than chunks": (lambda p: p.update(extents=extents((0, 9))), "hold no 9 pages"),
    "half an index": (lambda p: p.update(chunks=p["chunks"][:-3]), "not whole"),
    "a giant chunk": (
        lambda p: p.update(
            chunks=p["chunks"][:16] * 2 + struct.pack("<QII", 144, 2**31, 0)
        ),
        "larger than what it holds",
    ),
    "no JSON": (lambda p: p.update(manifest=b"{"), "what it says about itself is wrong"),
    "a manifest of another kind": (lambda p: p.update(manifest=b"[]"), "is wrong"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_index_is_refused(written: Path, name: str) -> None:
    change, words = FORGERIES[name]
    written.write_bytes(forged(written.read_bytes(), change))
    with pytest.raises(CheckpointUnusable, match=words):
        Checkpoint(written)


def test_chunks_that_unpack_to_more_are_refused(written: Path) -> None:
    bomb = zlib.compress(bytes(64 * MIB))
    data = written.read_bytes()
    whole = len(data)

    def change(parts: dict[str, bytes]) -> None:
        place = struct.pack("<QII", whole, 60000, zlib.crc32(bomb[:60000]))
        parts["chunks"] = place + parts["chunks"][16:]
        # Behind everything else, where the chunk's place says.
        parts["registers"] += bomb[:60000]

    written.write_bytes(forged(data, change))
    with Checkpoint(written) as found, pytest.raises(CheckpointUnusable, match="does not hold"):
        found.memory.read(3 * PAGE, 1)


@pytest.mark.parametrize("name", ["state", "registers"])
def test_sections_that_unpack_without_end_are_refused(written: Path, name: str) -> None:
    bomb = zlib.compress(bytes(65 * MIB))
    written.write_bytes(forged(written.read_bytes(), lambda p: p.update({name: bomb})))
    with Checkpoint(written) as found, pytest.raises(CheckpointUnusable, match=name):
        getattr(found, name)()


@pytest.mark.parametrize(
    "path, value",
    [
        ("vmcoreinfo", [0, 1 << 20]),
        ("vmcoreinfo", [-1, 1]),
        ("elapsed_ms", "NaN"),
        ("scenario", 7),
        ("machine.accelerator", "tcg,thread=multi"),
        ("machine.memory_mib", 1 << 40),
        ("machine.memory_mib", 7),
        ("machine.node_memory_mib", [6]),
        ("machine.firmware_bytes", 1 << 40),
        ("machine.topology.llcs", 3),
        ("machine.topology.llcs", 1 << 20),
        ("machine.topology.memory_only_nodes", 1 << 60),
        ("machine.topology", "1n1l1c1t"),
        ("qemu", None),
    ],
)
def test_a_manifest_with_wrong_values_is_refused(written: Path, path: str, value: object) -> None:
    def change(parts: dict[str, bytes]) -> None:
        fields = json.loads(parts["manifest"])
        inner = fields
        *outer, last = path.split(".")
        for key in outer:
            inner = inner[key]
        assert last in inner
        inner[last] = value
        parts["manifest"] = json.dumps(fields).encode()

    written.write_bytes(forged(written.read_bytes(), change))
    with pytest.raises(CheckpointUnusable):
        Checkpoint(written)


def test_what_a_later_version_adds_is_left_alone(written: Path) -> None:
    def change(parts: dict[str, bytes]) -> None:
        parts["manifest"] = json.dumps(json.loads(parts["manifest"]) | {"new": [1]}).encode()

    written.write_bytes(forged(written.read_bytes(), change))
    with Checkpoint(written) as found:
        assert found.manifest == manifest()
