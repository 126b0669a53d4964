# SPDX-License-Identifier: GPL-2.0-only
"""The bzImage and ELF readers, on images built by hand."""

import struct
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktstr.errors import HostUnfit
from ktstr.kernels.elf import Elf, ImageError
from ktstr.kernels.features import read_features
from ktstr.kernels.image import compression_of, mapped, read_header, unpack


def test_header_gives_release_and_payload(build: SimpleNamespace) -> None:
    image = build.bzimage(b"PAYLOAD-BYTES", release="6.14.2-custom")
    header = read_header(image)
    assert header is not None
    assert header.release == "6.14.2-custom"
    assert image[header.offset : header.offset + header.length] == b"PAYLOAD-BYTES"


def test_other_bytes_are_no_bzimage() -> None:
    assert read_header(b"\x7fELF" + bytes(4096)) is None
    assert read_header(b"HdrS") is None


def test_old_boot_protocol_is_refused(build: SimpleNamespace) -> None:
    with pytest.raises(ImageError, match=r"boot protocol 2\.07"):
        read_header(build.bzimage(b"x" * 100, protocol=0x207))


def test_truncated_image_is_refused(build: SimpleNamespace) -> None:
    image = build.bzimage(b"x" * 5000)
    with pytest.raises(ImageError, match="cut short"):
        read_header(image[:4000])


@pytest.mark.parametrize("kind", ["gzip", "xz", "lzma", "bzip2", "zstd", "lz4", "none"])
def test_payload_unpacks_to_the_elf(kind: str, build: SimpleNamespace, tmp_path: Path) -> None:
    elf = build.elf()
    image = build.bzimage(build.compress(kind, elf))
    header = read_header(image)
    assert header is not None
    assert unpack(image, header, tmp_path / "vmlinux") == kind
    assert (tmp_path / "vmlinux").read_bytes() == elf


def test_relocations_after_the_elf_are_cut_off(build: SimpleNamespace, tmp_path: Path) -> None:
    elf = build.elf()
    image = build.bzimage(build.compress("gzip", elf + b"RELOCS" * 1000))
    header = read_header(image)
    assert header is not None
    unpack(image, header, tmp_path / "vmlinux")
    assert (tmp_path / "vmlinux").read_bytes() == elf


def test_unknown_payload_is_not_guessed(build: SimpleNamespace, tmp_path: Path) -> None:
    image = build.bzimage(b"\x01\x02\x03\x04 something new")
    header = read_header(image)
    assert header is not None
    assert unpack(image, header, tmp_path / "vmlinux") is None
    assert not (tmp_path / "vmlinux").exists()


@pytest.mark.parametrize("kind", ["gzip", "xz", "bzip2", "zstd"])
def test_damaged_payload_is_an_image_error(
    kind: str, build: SimpleNamespace, tmp_path: Path
) -> None:
    payload = bytearray(build.compress(kind, build.elf()))
    middle = len(payload) // 2
    payload[middle : middle + 40] = bytes(40)
    image = build.bzimage(bytes(payload))
    header = read_header(image)
    assert header is not None
    with pytest.raises(ImageError):
        unpack(image, header, tmp_path / "vmlinux")


def test_size_in_the_trailer_must_agree(build: SimpleNamespace, tmp_path: Path) -> None:
    elf = build.elf()
    payload = build.compress("xz", elf)[:-4] + struct.pack("<I", len(elf) + 1)
    image = build.bzimage(payload)
    header = read_header(image)
    assert header is not None
    with pytest.raises(ImageError, match=f"{len(elf)} bytes, its trailer says {len(elf) + 1}"):
        unpack(image, header, tmp_path / "vmlinux")


def test_missing_program_names_what_to_install(
    build: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    image = build.bzimage(b"\x28\xb5\x2f\xfd" + bytes(100))
    header = read_header(image)
    assert header is not None
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostUnfit, match="apt-get install zstd"):
        unpack(image, header, tmp_path / "vmlinux")


def test_compression_names() -> None:
    assert compression_of(b"\x02\x21\x4c\x18rest") == "lz4"
    assert compression_of(b"\x89LZO\0\r\n") == "lzo"
    assert compression_of(b"") is None


def test_empty_file_cannot_be_mapped(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    with pytest.raises(ImageError, match="0 bytes"), mapped(tmp_path / "empty"):
        pass


def test_elf_sections_and_notes(build: SimpleNamespace) -> None:
    elf = Elf(build.elf(names=["alpha"]))
    assert set(elf.sections) == {"", ".rodata", ".notes", ".BTF", ".shstrtab"}
    assert (elf.section(".BTF") or b"").endswith(b"\0alpha\0")
    assert elf.section(".absent") is None
    assert [(n.name, n.kind, n.desc) for n in elf.notes()] == [
        ("Linux", 256, b"six"),
        ("GNU", 3, bytes(range(20))),
        ("Xen", 18, bytes(8)),
    ]


def test_elf_without_sections_still_has_notes(build: SimpleNamespace) -> None:
    elf = Elf(build.elf(sections=False))
    assert elf.sections == {}
    assert [n.name for n in elf.notes()] == ["Linux", "GNU", "Xen"]


def test_other_machines_are_refused(build: SimpleNamespace) -> None:
    with pytest.raises(ImageError, match=r"machine 183, expected 62"):
        Elf(build.elf(machine=183))


@given(data=st.data())
def test_damaged_elf_raises_only_image_error(data: st.DataObject, build: SimpleNamespace) -> None:
    image = bytearray(build.elf(filler=20))
    for _ in range(data.draw(st.integers(1, 8))):
        image[data.draw(st.integers(0, len(image) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(image)))
    with suppress(ImageError):
        read_features(bytes(image[:cut]) if data.draw(st.booleans()) else bytes(image))


@given(data=st.data())
def test_damaged_setup_header_raises_only_image_error(
    data: st.DataObject, build: SimpleNamespace
) -> None:
    image = bytearray(build.bzimage(b"x" * 64))
    for _ in range(data.draw(st.integers(1, 8))):
        image[data.draw(st.integers(0x1F0, 0x260))] = data.draw(st.integers(0, 255))
    try:
        header = read_header(bytes(image[: data.draw(st.integers(0, len(image)))]))
    except ImageError:
        return
    assert header is None or header.offset + header.length <= len(image)
