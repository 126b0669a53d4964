# SPDX-License-Identifier: GPL-2.0-only
"""Hand-made kernel images and package archives, built from the formats' definitions."""

import bz2
import gzip
import hashlib
import lzma
import shutil
import struct
import subprocess
from collections.abc import Callable, Iterable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

RELEASE = "7.9.1+test-cloud-amd64"
BUILD_ID = bytes(range(20))
SCX_NAMES = ("schedule", "sched_ext_ops", "bpf_struct_ops_sched_ext_ops")
PROBES = ("virtcons_probe", "virtio_pci_probe", "pvpanic_pci_probe")


def note(name: str, kind: int, desc: bytes) -> bytes:
    raw = name.encode() + b"\0"
    pad = b"\0" * (-len(raw) % 4)
    tail = b"\0" * (-len(desc) % 4)
    return struct.pack("<III", len(raw), len(desc), kind) + raw + pad + desc + tail


def btf(names: Iterable[str]) -> bytes:
    strings = b"\0" + b"".join(name.encode() + b"\0" for name in names)
    return struct.pack("<HBBIIIII", 0xEB9F, 1, 0, 24, 0, 0, 0, len(strings)) + strings


def make_elf(
    *,
    release: str | None = RELEASE,
    names: Iterable[str] | None = SCX_NAMES + PROBES,
    pvh: bool = True,
    rodata: bytes = b"",
    machine: int = 62,
    sections: bool = True,
    filler: int = 3000,
) -> bytes:
    """A 64-bit ELF with .rodata, .notes (and its PT_NOTE) and, unless names is None, .BTF."""
    banner = f"Linux version {release} (someone) #1\n".encode() if release else b""
    notes = (
        note("Linux", 256, b"six")
        + note("GNU", 3, BUILD_ID)
        + (note("Xen", 18, bytes(8)) if pvh else b"")
    )
    # Compressible but not trivial, so that every compressor has something to do.
    rodata = b"\0" + banner + b"\0" + rodata + b"".join(b"%d," % i for i in range(filler))
    parts = [(".rodata", 1, rodata), (".notes", 7, notes)]
    if names is not None:
        parts.append((".BTF", 1, btf(names)))
    table = b"\0" + b"".join(name.encode() + b"\0" for name, _, _ in parts) + b".shstrtab\0"
    parts.append((".shstrtab", 3, table))
    body = bytearray(64 + 56)
    headers = [bytes(64)]
    note_at = 0
    for name, kind, data in parts:
        body += b"\0" * (-len(body) % 16)
        at = table.index(b"\0" + name.encode() + b"\0") + 1
        headers.append(struct.pack("<IIQQQQIIQQ", at, kind, 2, 0, len(body), len(data), 0, 0, 1, 0))
        if name == ".notes":
            note_at = len(body)
        body += data
    body += b"\0" * (-len(body) % 16)
    count = len(headers) if sections else 0
    struct.pack_into(
        "<16sHHIQQQIHHHHHH",
        body,
        0,
        b"\x7fELF\x02\x01\x01",
        *(2, machine, 1, 0, 64, len(body) if sections else 0, 0, 64, 56, 1, 64, count),
        max(count - 1, 0),
    )
    struct.pack_into("<IIQQQQQQ", body, 64, 4, 4, note_at, 0, 0, len(notes), len(notes), 4)
    return bytes(body) + (b"".join(headers) if sections else b"")


def compress(kind: str, data: bytes) -> bytes:
    """The payload as the kernel's build makes it: compressed, then the size as u32."""
    size = struct.pack("<I", len(data))
    match kind:
        case "gzip":
            return gzip.compress(data)  # ends with the size by itself
        case "xz":
            return lzma.compress(data) + size
        case "lzma":
            return lzma.compress(data, lzma.FORMAT_ALONE) + size
        case "bzip2":
            return bz2.compress(data) + size
        case "none":
            return data
        case "lz4":  # -l: the form that the kernel unpacks
            done = subprocess.run(["lz4", "-qlc"], input=data, stdout=subprocess.PIPE, check=True)
            return done.stdout + size
        case "zstd":
            done = subprocess.run(["zstd", "-qc"], input=data, stdout=subprocess.PIPE, check=True)
            return done.stdout + size
    raise ValueError(kind)


def make_bzimage(payload: bytes, *, release: str = RELEASE, protocol: int = 0x20F) -> bytes:
    """A setup of two sectors, a little code, and the payload."""
    image = bytearray(3 * 512)
    image[0x1F1] = 2
    image[0x202:0x206] = b"HdrS"
    text = f"{release} (builder@nowhere.example) #1 SMP".encode() + b"\0"
    struct.pack_into("<H", image, 0x206, protocol)
    struct.pack_into("<H", image, 0x20E, 0x300 - 0x200)
    image[0x300 : 0x300 + len(text)] = text
    struct.pack_into("<II", image, 0x248, 64, len(payload))
    return bytes(image) + b"\x90" * 64 + payload + b"signature"


@pytest.fixture(scope="session")
def build() -> SimpleNamespace:
    """The builders above, for tests that need the bytes themselves."""
    return SimpleNamespace(
        release=RELEASE,
        build_id=BUILD_ID,
        scx=SCX_NAMES,
        probes=PROBES,
        elf=make_elf,
        btf=btf,
        compress=compress,
        bzimage=make_bzimage,
    )


@pytest.fixture
def kernel_file(tmp_path: Path) -> Callable[..., Path]:
    """Writes a bzImage with a gzip payload; keywords go to :func:`make_elf`."""

    def make(name: str = "vmlinuz", *, compression: str = "gzip", **elf: Any) -> Path:
        payload = compress(compression, make_elf(**elf))
        release = elf.get("release", RELEASE)
        path = tmp_path / name
        path.write_bytes(make_bzimage(payload, release=str(release)))
        return path

    return make


@pytest.fixture
def archive(tmp_path: Path) -> "Archive":
    """An apt archive on disk, and an ``/etc/apt`` that names it as the Debian mirror."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("apt-get and dpkg-deb are not on this machine")
    return Archive(tmp_path / "mirror" / "debian", tmp_path / "etc-apt")


class Archive:
    """Builds packages and the index files of suites by hand (repository format of apt)."""

    def __init__(self, root: Path, etc_apt: Path) -> None:
        self.root = root
        self.etc_apt = etc_apt
        self.suites: dict[str, list[str]] = {}
        root.mkdir(parents=True)
        etc_apt.mkdir()
        line = f"deb [trusted=yes] file:{root} bookworm main\n"
        (etc_apt / "sources.list").write_text(line)

    def add(self, suite: str, name: str, version: str, files: dict[str, bytes]) -> Path:
        tree = self.root.parent / f"tree-{suite}-{name}"
        (tree / "DEBIAN").mkdir(parents=True)
        control = (
            f"Package: {name}\nVersion: {version}\nArchitecture: amd64\n"
            "Maintainer: Nobody <nobody@nowhere.example>\nDescription: a test\n"
        )
        (tree / "DEBIAN/control").write_text(control)
        for path, data in files.items():
            (tree / path).parent.mkdir(parents=True, exist_ok=True)
            (tree / path).write_bytes(data)
        pool = self.root / "pool"
        pool.mkdir(exist_ok=True)
        deb = pool / f"{name}_{version}_{suite}.deb"
        subprocess.run(
            ["dpkg-deb", "-Znone", "--root-owner-group", "-b", str(tree), str(deb)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        data = deb.read_bytes()
        digest = hashlib.sha256(data).hexdigest()
        stanza = f"{control}Filename: pool/{deb.name}\nSize: {len(data)}\nSHA256: {digest}\n"
        self.suites.setdefault(suite, []).append(stanza)
        return deb

    def add_kernel(self, suite: str, release: str, image: bytes, kind: str = "binary") -> Path:
        name = f"linux-{kind}-{release}"
        path = f"usr/lib/modules/{release}/vmlinuz"
        # Padding makes it larger than any meta-package, as a real image is.
        return self.add(suite, name, "1.0-1", {path: image + bytes(1 << 20)})

    def publish(self) -> None:
        for suite, stanzas in self.suites.items():
            folder = self.root / "dists" / suite / "main/binary-amd64"
            folder.mkdir(parents=True, exist_ok=True)
            index = "\n".join(stanzas).encode()
            (folder / "Packages").write_bytes(index)
            digest = hashlib.sha256(index).hexdigest()
            release = (
                f"Suite: {suite}\nCodename: {suite}\nComponents: main\nArchitectures: amd64\n"
                "Date: Thu, 01 Jan 2026 00:00:00 UTC\nSHA256:\n"
                f" {digest} {len(index)} main/binary-amd64/Packages\n"
            )
            (folder.parents[1] / "Release").write_text(release)
