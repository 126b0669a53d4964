# SPDX-License-Identifier: GPL-2.0-only
"""Drivers that are modules: which are needed, where they lie, and in which order they load."""

import gzip
import lzma
import shutil
import struct
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

import pytest

from ktstr.errors import KernelLacks, KernelUnfit
from ktstr.kernels import KernelCache, Module, open_kernel, resolve_kernel
from ktstr.kernels.apt import AptState
from ktstr.kernels.features import unknown_features
from ktstr.kernels.kernel import KernelFeatures
from ktstr.kernels.modules import (
    beside,
    chosen,
    find_modules,
    gather,
    module_folders,
    module_name,
    needs,
    read_modules,
    silent,
    unpacked,
    wanted,
    write_modules,
)
from ktstr.kernels.prepare import package_modules

if TYPE_CHECKING:
    from conftest import Archive

RELEASE = "7.9.1+test"
TREE = {
    "virtio": (),
    "virtio-ring": ("virtio",),
    "virtio_pci_modern_dev": (),
    "virtio_pci": ("virtio_pci_modern_dev", "virtio-ring", "virtio"),
    "virtio_console": ("virtio-ring",),
    "nvme-core": (),
    "nvme": ("nvme-core",),
}


def ko(depends: tuple[str, ...] = (), release: str = RELEASE, more: bytes = b"") -> bytes:
    """A relocatable x86-64 ELF with nothing but ``.modinfo``, as modpost writes it."""
    info = f"depends={','.join(depends)}\0vermagic={release} SMP preempt mod_unload \0".encode()
    info = b"license=GPL\0" + info + more
    names = b"\0.modinfo\0.shstrtab\0"
    at = 64 + len(info)
    table = at + len(names)
    header = struct.pack(
        "<16sHHIQQQIHHHHHH",
        b"\x7fELF\x02\x01\x01",
        *(1, 62, 1, 0, 0, table, 0, 64, 0, 0, 64, 3, 2),
    )
    sections = bytes(64)
    sections += struct.pack("<IIQQQQIIQQ", 1, 1, 2, 0, 64, len(info), 0, 0, 1, 0)
    sections += struct.pack("<IIQQQQIIQQ", 10, 3, 0, 0, at, len(names), 0, 0, 1, 0)
    return header + info + names + sections


def features(**values: bool | None) -> KernelFeatures:
    """All there but what is given."""
    there = dict.fromkeys(("virtio_pci", "virtio_console", "pvpanic", "pvh", "btf"), True)
    return replace(unknown_features(RELEASE, "a test"), **{**there, **values})


SILENT = features(virtio_pci=False, virtio_console=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """An unpacked folder of modules, each compressed in another way."""
    folder = tmp_path / "lib/modules" / RELEASE
    for number, (name, depends) in enumerate(TREE.items()):
        place = folder / f"kernel/drivers/{number}"
        place.mkdir(parents=True)
        suffix, pack = [("", bytes), (".xz", lzma.compress), (".gz", gzip.compress)][number % 3]
        (place / f"{name}.ko{suffix}").write_bytes(pack(ko(depends)))
    return folder


def names(modules: tuple[Module, ...]) -> list[str]:
    return [module.name for module in modules]


def test_each_comes_after_what_it_needs(tree: Path) -> None:
    found = names(gather({"virtio_pci", "virtio_console"}, find_modules(tree), RELEASE))
    assert sorted(found) == [
        *("virtio", "virtio_console", "virtio_pci", "virtio_pci_modern_dev", "virtio_ring"),
    ]
    for name in ("virtio_pci", "virtio_console", "virtio_ring"):
        depends = TREE.get(name, TREE.get(name.replace("_", "-"), ()))
        for other in depends:
            assert found.index(other.replace("-", "_")) < found.index(name)


def test_needs_come_from_the_module_itself() -> None:
    assert needs(Module("x", ko(("a-b", "c")))) == ("a_b", "c")
    assert needs(Module("x", ko())) == ()


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": ("b",)}, "no module b, which a needs"),
        ({"a": ("b",), "b": ("a",)}, "a needs itself, by way of b"),
        ({f"m{n}": (f"m{n + 1}",) for n in range(200)}, "needs more than 128"),
        ({"a": ("../b",)}, "it needs '../b'"),
    ],
)
def test_what_cannot_be_put_in_order(
    files: dict[str, tuple[str, ...]], message: str, tmp_path: Path
) -> None:
    for name, depends in files.items():
        (tmp_path / f"{name}.ko").write_bytes(ko(depends))
    with pytest.raises(KernelUnfit, match=message):
        gather({next(iter(files))}, find_modules(tmp_path), RELEASE)


def test_modules_of_another_kernel_are_refused(tmp_path: Path) -> None:
    (tmp_path / "nvme.ko").write_bytes(ko(release="6.1.0"))
    with pytest.raises(KernelUnfit, match=rf"of kernel 6\.1\.0, not of {RELEASE[:3]}"):
        gather({"nvme"}, find_modules(tmp_path), RELEASE)


@pytest.mark.parametrize("data", [b"", b"\x7fELF", b"nonsense", ko()[:100], ko()[:-64]])
def test_damaged_modules(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "nvme.ko").write_bytes(data)
    with pytest.raises(KernelUnfit, match="nvme is damaged"):
        gather({"nvme"}, find_modules(tmp_path), RELEASE)


@pytest.mark.parametrize("suffix", ["xz", "gz", "zst"])
def test_damaged_compression(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"nvme.ko.{suffix}"
    path.write_bytes(b"no such thing")
    with pytest.raises(KernelUnfit, match=f"nvme.ko.{suffix}"):
        unpacked(path)


def test_zstd(tmp_path: Path) -> None:
    path = tmp_path / "nvme.ko"
    path.write_bytes(ko())
    subprocess.run(["zstd", "-q", str(path)], check=True)
    assert unpacked(tmp_path / "nvme.ko.zst") == ko()


def test_names_of_files() -> None:
    assert module_name("kernel/drivers/virtio/virtio-pci.ko.xz") == "virtio_pci"
    assert module_name("a/nvme.ko") == "nvme"
    assert module_name("nvme.ko.sig") is None and module_name("nvme.c") is None


def test_what_is_looked_for() -> None:
    assert wanted(features()) == {"nvme"}
    assert wanted(SILENT) == {"virtio_pci", "virtio_console", "nvme"}
    assert wanted(features(pvpanic=None)) == {"pvpanic_pci", "nvme"}


def test_who_cannot_be_heard() -> None:
    assert silent(features(), ()) is None
    assert silent(features(virtio_pci=None), ()) is None, "unknown is no reason to refuse"
    both = (Module("virtio_pci", b""), Module("virtio_console", b""))
    assert silent(SILENT, both) is None
    assert "virtio_console" in (silent(SILENT, both[:1]) or "")


@pytest.mark.parametrize(
    ("image", "folder"),
    [
        ("boot/vmlinuz-R", "lib/modules/R"),
        ("boot/vmlinuz-R", "usr/lib/modules/R"),
        ("usr/lib/modules/R/vmlinuz", "usr/lib/modules/R"),
        ("copied/bzImage", "copied/lib/modules/R"),
    ],
)
def test_where_modules_lie(image: str, folder: str, tmp_path: Path) -> None:
    assert tmp_path / folder in module_folders(tmp_path / image, "R")


def test_beside_an_image(tree: Path, tmp_path: Path) -> None:
    found = names(beside(tmp_path / "bzImage", SILENT))
    assert {"virtio_pci", "virtio_console", "nvme"} <= set(found)
    assert found.index("nvme_core") < found.index("nvme")
    assert names(beside(tmp_path / "else/where/bzImage", SILENT)) == []
    assert names(beside(tmp_path / "else/where/bzImage", SILENT, tree)) == found
    for folder in (tree / "kernel/drivers/0", tmp_path / "nowhere"):
        with pytest.raises(KernelUnfit, match="any of the modules nvme, virtio_console, virtio_pc"):
            beside(tmp_path / "bzImage", SILENT, folder)


def test_what_a_kernel_can_do_without_never_stops_it(tree: Path, tmp_path: Path) -> None:
    """A disk's driver that is damaged costs the disk; one that the ports need costs the kernel."""
    (find_modules(tree)["nvme"]).write_bytes(b"damaged")
    assert "nvme" not in names(beside(tmp_path / "bzImage", SILENT))
    with pytest.raises(KernelUnfit, match="nvme is damaged"):
        beside(tmp_path / "bzImage", features(), tree)  # who names a folder is told
    find_modules(tree)["virtio_pci"].write_bytes(b"damaged")
    with pytest.raises(KernelUnfit):
        beside(tmp_path / "bzImage", SILENT)
    assert beside(tmp_path / "bzImage", features()) == ()


def test_left_out_with_what_only_it_needs(tree: Path) -> None:
    files = find_modules(tree)
    all_of_them = gather({"virtio_console", "nvme"}, files, RELEASE)
    left = names(chosen(all_of_them, ("nvme",)))
    assert sorted(left) == ["virtio", "virtio_console", "virtio_ring"]
    assert left.index("virtio_ring") < left.index("virtio_console")
    assert set(names(chosen(all_of_them))) == set(names(all_of_them))


def test_kept_in_their_order(tmp_path: Path) -> None:
    modules = (Module("b", b"22"), Module("a", b""), Module("c", bytes(3000)))
    write_modules(modules, tmp_path / "modules")
    assert read_modules(tmp_path / "modules") == modules
    (tmp_path / "modules").write_bytes(b"x" * 600)
    assert read_modules(tmp_path / "modules") == ()


NAMES = ["schedule", "sched_ext_ops", "bpf_struct_ops_sched_ext_ops"]


async def test_a_file_with_its_modules(
    kernel_file: Callable[..., Path], tree: Path, tmp_path: Path
) -> None:
    """Found beside the image, or where the specification says; else it cannot be heard."""
    cache = KernelCache(tmp_path / "kernels")
    image = kernel_file(names=NAMES, release=RELEASE)
    kernel = await resolve_kernel(f"path:{image}", cache=cache)
    assert {"virtio_pci", "virtio_console"} <= set(names(kernel.modules))
    async with open_kernel(f"path:{image}", cache=cache):
        pass
    moved = shutil.move(tree, tmp_path / "elsewhere")
    with pytest.raises(KernelUnfit, match="could not be heard: virtio_pci is absent"):
        async with open_kernel(f"path:{image}", cache=cache):
            pass
    async with open_kernel(f"path:{image}#modules={moved}", cache=cache) as opened:
        assert names(opened.modules) == names(kernel.modules)


async def test_what_is_loaded_is_as_good_as_built_in(
    kernel_file: Callable[..., Path], tree: Path, tmp_path: Path
) -> None:
    cache = KernelCache(tmp_path / "kernels")
    image = kernel_file(names=NAMES, release=RELEASE)
    with pytest.raises(KernelLacks, match="pvpanic is absent"):
        await resolve_kernel(f"path:{image}", cache=cache, need=("pvpanic", "virtio_pci"))
    (tree / "pvpanic-pci.ko").write_bytes(ko())
    kernel = await resolve_kernel(f"path:{image}", cache=cache, need=("pvpanic", "virtio_pci"))
    assert "pvpanic_pci" in names(kernel.modules) and kernel.notes == ()


def deb_files(release: str) -> dict[str, bytes]:
    """Modules as a package has them, one of them under a name that nobody would guess."""
    files = {f"{name}": ko(depends, release) for name, depends in TREE.items()}
    files["virtio_console"] = ko(("virtio-ring", "zzz-helper"), release)
    files["zzz-helper"] = ko((), release)
    base = f"usr/lib/modules/{release}/kernel"
    return {f"{base}/{name}.ko.xz": lzma.compress(data) for name, data in files.items()}


async def test_a_debian_kernel_with_its_modules(
    archive: "Archive", build: SimpleNamespace, tmp_path: Path
) -> None:
    """Of its own package or of one beside it; kept in the cache, and not kept where damaged."""
    plain = build.compress("gzip", build.elf(names=NAMES, release="7.9.1+deb14-amd64"))
    image = build.bzimage(plain, release="7.9.1+deb14-amd64")
    archive.add_kernel("sid", "7.9.1+deb14-amd64", image)
    files = deb_files("7.9.1+deb14-amd64")
    archive.add("sid", "linux-modules-7.9.1+deb14-amd64", "1.0-1", files)
    archive.publish()
    cache = KernelCache(tmp_path / "kernels")
    apt = AptState(cache.apt_root, etc_apt=archive.etc_apt, suites=["sid"])
    kernel = await resolve_kernel("debian:7/amd64", cache=cache, apt=apt)
    found = names(kernel.modules)
    assert found.index("zzz_helper") < found.index("virtio_console")
    assert {"virtio_pci", "nvme"} <= set(found)
    again = await resolve_kernel("debian:7/amd64", cache=cache, apt=apt)
    assert again.modules == kernel.modules and len(cache.entries()) == 1
    with pytest.raises(KernelUnfit, match="no prebuilt Debian kernel"):
        await resolve_kernel("debian:7", cache=cache, apt=apt)

    (packed,) = (cache.root / "entries").glob("*/modules")
    packed.write_bytes(b"damaged")
    mended = await resolve_kernel("debian:7/amd64", cache=cache, apt=apt)
    assert mended.modules == kernel.modules


def test_a_package_without_the_vital_ones(archive: "Archive", tmp_path: Path) -> None:
    deb = archive.add("sid", "x", "1", {"lib/modules/R/virtio_pci.ko": ko(("gone",))})
    with pytest.raises(KernelUnfit, match="no module gone, which virtio_pci needs"):
        package_modules(deb, tmp_path / "tree", SILENT)
