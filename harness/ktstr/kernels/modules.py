# SPDX-License-Identifier: GPL-2.0-only
"""The modules a guest needs before it can speak: found, checked, each after those it needs.

What a module needs stands in the module itself (``depends=`` of its ``.modinfo`` section), which
also holds where no ``depmod`` has run: distribution packages come without a ``modules.dep``.
"""

import gzip
import io
import lzma
import os
import re
import shutil
import subprocess
import tarfile
import zlib
from collections.abc import Callable, Collection, Iterable
from pathlib import Path
from typing import Final

from ktstr.errors import HostUnfit, KernelUnfit
from ktstr.kernels.cache import CacheEntry
from ktstr.kernels.elf import Elf, ImageError
from ktstr.kernels.kernel import KernelFeatures, Module

DRIVERS: Final = {
    "virtio_pci": "virtio_pci",
    "virtio_console": "virtio_console",
    "pvpanic": "pvpanic_pci",
}
"""The module that gives a kernel each feature it can be without at first."""

SCRATCH: Final = "nvme"
"""The driver of the scratch disk."""

NEEDED: Final = ("virtio_pci", "virtio_console")
"""Features without which no word comes from the guest."""

_LIKELY: Final = re.compile(r"(virtio|pvpanic|nvme|t10|crc|dh_generic|hkdf).*")
_NAME: Final = re.compile(r"\w{1,64}", re.ASCII)
_SUFFIXES: Final = (".ko", ".ko.xz", ".ko.zst", ".ko.gz")
_MAX_MODULE: Final = 64 << 20
_MAX_MODULES: Final = 128
_MAX_FILES: Final = 1_000_000
_UNPACK_SECONDS: Final = 60.0


def wanted(features: KernelFeatures) -> frozenset[str]:
    """Modules to look for beside a kernel: the drivers that are not surely built into it."""
    missing = {driver for feature, driver in DRIVERS.items() if not getattr(features, feature)}
    return frozenset({*missing, SCRATCH})


def silent(features: KernelFeatures, modules: Iterable[Module]) -> str | None:
    """Why a kernel could not be heard even with *modules*; ``None`` when it could."""
    names = {module.name for module in modules}
    for feature in NEEDED:
        if getattr(features, feature) is False and DRIVERS[feature] not in names:
            return features.why_not(feature)
    return None


def beside(image: Path, features: KernelFeatures, folder: Path | None = None) -> tuple[Module, ...]:
    """The drivers that a kernel has as modules, from where they lie with *image*.

    :param folder: where they lie instead.
    :raise KernelUnfit: the kernel cannot be heard without them, and they are damaged or another's;
        or *folder* is none or has not what is needed.
    :raise HostUnfit: a program to unpack them is missing.
    """
    if features.release is None:
        return ()
    if folder is None:
        for place in module_folders(image, features.release):
            found = of_kernel(features, find_modules(place))
            if found:
                return found
        return ()
    # Who names a folder wants what is in it: nothing of it is left out in silence.
    found = gather(wanted(features), find_modules(folder), features.release)
    if not found:
        raise KernelUnfit(
            f"{folder} is no folder with any of the modules {', '.join(sorted(wanted(features)))}",
            hint=f"modules are installed in a folder lib/modules/{features.release}",
        )
    return found


def of_kernel(features: KernelFeatures, files: dict[str, Path]) -> tuple[Module, ...]:
    """The drivers that a kernel of these features has as modules, out of *files*.

    Those that a guest cannot be heard without must be sound. Others (the scratch disk, the panic
    device) are left out when they are not: the kernel boots without them.

    :raise KernelUnfit: as :func:`gather`, of a driver that must be there.
    :raise HostUnfit: a program to unpack them is missing.
    """
    vital = {DRIVERS[feature] for feature in NEEDED} & wanted(features)
    names = set(vital)
    found = gather(names, files, features.release)
    for name in sorted(wanted(features) - vital):
        try:
            found = gather({*names, name}, files, features.release)
        except KernelUnfit:
            continue
        names.add(name)
    return found


def likely(file: str) -> bool:
    """Whether a package's file may be one of the modules that are looked for, by its name."""
    name = module_name(file)
    return name is not None and _LIKELY.fullmatch(name) is not None


def module_name(file: str) -> str | None:
    """``virtio_pci`` for ``kernel/drivers/virtio/virtio-pci.ko.xz``; ``None`` for no module."""
    base = file.rpartition("/")[2]
    for suffix in _SUFFIXES:
        if base.endswith(suffix):
            return base.removesuffix(suffix).replace("-", "_")
    return None


def find_modules(folder: Path) -> dict[str, Path]:
    """Files of the modules below *folder*, by name.

    :raise KernelUnfit: it holds more files than a kernel's modules can be.
    """
    found: dict[str, Path] = {}
    seen = 0
    for place, _, files in os.walk(folder):
        seen += len(files)
        if seen > _MAX_FILES:
            raise KernelUnfit(
                f"{folder} has more than {_MAX_FILES} files in it: no folder of modules",
                hint="name the folder lib/modules/RELEASE itself",
            )
        for file in files:
            name = module_name(file)
            if name is not None:
                found.setdefault(name, Path(place, file))
    return found


def module_folders(image: Path, release: str) -> tuple[Path, ...]:
    """Where the modules of an image lie in the layouts of distributions and of unpacked packages.

    ``/boot/vmlinuz-R`` has them in ``/lib/modules/R``, ``usr/lib/modules/R/vmlinuz`` beside itself,
    and an image that somebody copied may have a ``lib/modules/R`` copied along.
    """
    here = image.parent
    places = [here] if here.name == release else []
    for root in (here, here.parent):
        places += [root / "lib/modules" / release, root / "usr/lib/modules" / release]
    return tuple(dict.fromkeys(places))


def gather(
    names: Collection[str], files: dict[str, Path], release: str | None
) -> tuple[Module, ...]:
    """Those of *names* that are among *files*, with all they need.

    :param release: of the kernel; ``None``: not known, so not checked.
    :raise KernelUnfit: a module is damaged, of another kernel, or what it needs is not there.
    :raise HostUnfit: the program that unpacks it is not on this machine.
    """

    def read(name: str) -> bytes | None:
        path = files.get(name)
        return None if path is None else unpacked(path)

    modules = in_order([name for name in sorted(names) if name in files], read)
    for module in modules:
        made_for = _info(module).get("vermagic", "").partition(" ")[0]
        if release is not None and made_for != release:
            raise KernelUnfit(
                f"{files[module.name]} is a module of kernel {made_for or '?'}, not of {release}",
                hint="give the modules that were built with the image",
            )
    return modules


def in_order(names: Iterable[str], read: Callable[[str], bytes | None]) -> tuple[Module, ...]:
    """Modules *names* and all they need, each after those it needs.

    :param read: the object file of a module; ``None`` when there is none.
    :raise KernelUnfit: one is not there, is damaged, or they need each other in a circle.
    """
    done: dict[str, Module] = {}

    def add(name: str, by: tuple[str, ...]) -> None:
        if name in done:
            return
        if name in by:
            raise KernelUnfit(f"module {name} needs itself, by way of {by[-1]}")
        if len(by) + len(done) >= _MAX_MODULES:
            raise KernelUnfit(f"module {by[0]} needs more than {_MAX_MODULES} others")
        data = read(name)
        if data is None:
            needed = f", which {by[-1]} needs," if by else ""
            raise KernelUnfit(f"there is no module {name}{needed} beside the kernel")
        module = Module(name, data)
        for other in needs(module):
            add(other, (*by, name))
        done[name] = module

    for name in names:
        add(name, ())
    return tuple(done.values())


def chosen(modules: Iterable[Module], leave_out: Collection[str] = ()) -> tuple[Module, ...]:
    """*modules* without those of *leave_out* and without what only these need, in load order."""
    known = {module.name: module.data for module in modules}
    needed = {other for module in modules for other in needs(module)}
    first = [name for name in known if name not in leave_out and name not in needed]
    return in_order(first, known.get)


def needs(module: Module) -> tuple[str, ...]:
    """The modules that must be there before *module*.

    :raise KernelUnfit: it is damaged.
    """
    names = _info(module).get("depends", "").split(",")
    found = tuple(name.replace("-", "_") for name in names if name)
    for name in found:
        if not _NAME.fullmatch(name):
            raise KernelUnfit(f"module {module.name} is damaged: it needs {name!r}")
    return found


def _info(module: Module) -> dict[str, str]:
    try:
        section = Elf(module.data).section(".modinfo")
    except ImageError as error:
        raise KernelUnfit(f"module {module.name} is damaged: {error}") from error
    if section is None:
        raise KernelUnfit(f"module {module.name} is damaged: it has no .modinfo section")
    lines = section.decode("utf-8", "replace").split("\0")
    return dict(line.partition("=")[::2] for line in lines if "=" in line)


def unpacked(path: Path) -> bytes:
    """The object file in a module's file, which may be compressed (scripts/Makefile.modinst).

    :raise KernelUnfit: it is damaged, too large, or cannot be read.
    :raise HostUnfit: it is compressed with zstd, and there is no program for that.
    """
    try:
        if path.stat().st_size > _MAX_MODULE:
            raise KernelUnfit(f"{path} is no module: {path.stat().st_size} bytes long")
        if path.suffix == ".zst":
            data = _zstd(path)
        elif path.suffix == ".xz":
            with lzma.open(path) as xz:
                data = xz.read(_MAX_MODULE + 1)
        elif path.suffix == ".gz":
            with gzip.open(path) as gz:
                data = gz.read(_MAX_MODULE + 1)
        else:
            data = path.read_bytes()
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        raise KernelUnfit(f"the module {path} cannot be read: {error}") from error
    if len(data) > _MAX_MODULE:
        raise KernelUnfit(f"the module {path} unpacks to more than {_MAX_MODULE} bytes")
    return data


def _zstd(path: Path) -> bytes:
    program = shutil.which("zstd")
    if program is None:
        raise HostUnfit(
            f"the module {path} is compressed with zstd and there is no `zstd` program",
            hint="apt-get install zstd",
        )
    try:
        done = subprocess.run(
            [program, "-dcq", str(path)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_UNPACK_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise HostUnfit(
            f"{program} did not unpack {path} within {_UNPACK_SECONDS:.0f} s",
            hint="the machine is overloaded: try again",
        ) from error
    if done.returncode:
        said = done.stderr.decode("utf-8", "replace").strip()[:300]
        raise KernelUnfit(f"the module {path} is damaged: {said}")
    return done.stdout


def write_modules(modules: Iterable[Module], path: Path) -> None:
    """Keep modules in one file (tar), in their order."""
    with tarfile.open(path, "w") as archive:
        for module in modules:
            member = tarfile.TarInfo(module.name)
            member.size = len(module.data)
            archive.addfile(member, io.BytesIO(module.data))


def read_modules(path: Path) -> tuple[Module, ...]:
    """What :func:`write_modules` kept; nothing where that is damaged."""
    found: list[Module] = []
    try:
        with tarfile.open(path, "r") as archive:
            for member in archive:
                content = archive.extractfile(member)
                if content is not None:
                    found.append(Module(member.name, content.read()))
    except (OSError, tarfile.TarError):
        return ()
    return tuple(found)


def kept_modules(entry: CacheEntry) -> tuple[Module, ...]:
    """The modules that the cache has for a kernel."""
    packed = entry.file("modules")
    return () if packed is None else read_modules(packed)
