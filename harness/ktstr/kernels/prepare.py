# SPDX-License-Identifier: GPL-2.0-only
"""Turn a kernel file into a cache entry: examine it, unpack it, keep what a boot needs."""

import os
import shutil
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from ktstr.errors import KernelUnfit
from ktstr.kernels.apt import extract
from ktstr.kernels.cache import CacheEntry, KernelCache, sha256_of
from ktstr.kernels.elf import ImageError
from ktstr.kernels.features import read_features, unknown_features
from ktstr.kernels.image import MAX_IMAGE, mapped, read_header, unpack
from ktstr.kernels.kernel import KernelFeatures, Module
from ktstr.kernels.modules import (
    find_modules,
    likely,
    module_name,
    of_kernel,
    read_modules,
    write_modules,
)

_BUILT_IMAGES = ("arch/x86/boot/bzImage", "arch/x86_64/boot/bzImage", "bzImage", "vmlinux")
_MAX_CONFIG = 8 << 20


def digest_of_image(path: Path) -> str:
    """sha256 of a kernel file the user named.

    :raise KernelUnfit: it is missing, unreadable, or cannot be a kernel by its kind or size.
    """
    try:
        status = path.stat()
        if stat.S_ISDIR(status.st_mode):
            inside = [f"path:{path / name}" for name in _BUILT_IMAGES if (path / name).is_file()]
            raise KernelUnfit(
                f"{path} is a folder, not a kernel image",
                hint=" or ".join(inside) or "give the bzImage or vmlinux itself",
            )
        if not stat.S_ISREG(status.st_mode) or not 0 < status.st_size <= MAX_IMAGE:
            raise KernelUnfit(f"{path} is no kernel image: {status.st_size} bytes long")
        return sha256_of(path)
    except PermissionError as error:
        raise KernelUnfit(
            f"the kernel image {path} cannot be read: {error.strerror}",
            hint=f"sudo install -m 644 {path} . and give path: that copy, or use debian:7",
        ) from error
    except OSError as error:
        raise KernelUnfit(
            f"the kernel image {path} cannot be read: {error.strerror}",
            hint="check the file name, or use debian:7",
        ) from error


def make_entry(
    cache: KernelCache,
    source: Path,
    folder: Path,
    *,
    spec: str,
    origin: Mapping[str, str],
    config: str | None = None,
    keep: bool = False,
    modules: Callable[[KernelFeatures], tuple[Module, ...]] = lambda _: (),
) -> CacheEntry:
    """Examine *source* and commit an entry for it, working in the staged *folder*.

    A bzImage is copied and unpacked. A vmlinux stays where it is, for it may carry gigabytes of
    debug information; only its features are kept.

    :param config: text of the configuration file that came with the image.
    :param keep: copy a vmlinux as well.
    :param modules: gives the modules to keep with a kernel of these features.
    :raise KernelUnfit: it is no x86-64 kernel image, or a damaged one.
    :raise HostUnfit: it cannot be unpacked or stored on this machine.
    """
    made = folder / "entry"
    made.mkdir()
    try:
        features, packed = _examine(source, made, config)
        if keep and not packed:
            shutil.copyfile(source, made / "image")
            os.link(made / "image", made / "vmlinux")
    except ImageError as error:
        raise KernelUnfit(
            f"{source} is not a kernel that can be booted: {error}",
            hint="give a bzImage (vmlinuz) or an x86-64 vmlinux",
        ) from error
    if features.release is None:
        raise KernelUnfit(f"{source} tells no kernel release, so it is not taken for a kernel")
    if config is not None:
        (made / "config").write_text(config, encoding="utf-8")
    if kept := modules(features):
        write_modules(kept, made / "modules")
    return cache.commit(
        made,
        sha256_of(made / "image" if packed else source),
        spec=spec,
        release=features.release,
        origin=origin,
        features=features,
    )


def remake_entry(cache: KernelCache, digest: str) -> CacheEntry | None:
    """Make a damaged entry again from its own image; ``None`` when that is lost as well."""
    salvaged = cache.salvage(digest)
    if salvaged is None:
        return None
    entry, files = salvaged
    config = read_config([files["config"]] if "config" in files else [])
    kept = read_modules(files["modules"]) if "modules" in files else ()
    with cache.staging() as folder:
        return make_entry(
            cache,
            files["image"],
            folder,
            spec=entry.spec,
            origin=entry.origin,
            config=config,
            keep=True,
            modules=lambda _: kept,
        )


def _examine(source: Path, made: Path, config: str | None) -> tuple[KernelFeatures, bool]:
    """Features of *source* and whether it is a bzImage, which is then copied and unpacked."""
    with mapped(source) as data:
        header = read_header(data)
        if header is None:
            return read_features(data, compression="none", config=config), False
        shutil.copyfile(source, made / "image")
        kind = unpack(data, header, made / "vmlinux")
        if kind is None:
            magic = data[header.offset : header.offset + 6].hex(" ")
            reason = f"the payload begins with {magic}, a format that is not known"
            return unknown_features(header.release, reason), True
    with mapped(made / "vmlinux") as vmlinux:
        features = read_features(vmlinux, release=header.release, compression=kind, config=config)
    return features, True


def unpack_packages(debs: Iterable[Path], tree: Path, release: str) -> tuple[Path, str | None]:
    """The image of *release* in Debian packages, and its configuration if one is there.

    :raise KernelUnfit: no image lies where Debian puts it.
    :raise HostUnfit: a package is damaged, or ``dpkg-deb`` missing.
    """
    modules = f"usr/lib/modules/{release}"
    images = (f"{modules}/vmlinuz", f"{modules}/vmlinuz.unsigned", f"boot/vmlinuz-{release}")
    configs = (f"{modules}/config", f"boot/config-{release}")
    for deb in debs:
        extract(deb, (*images, *configs), tree)
    image = next((tree / name for name in images if (tree / name).exists()), None)
    if image is None:
        raise KernelUnfit(f"the package of {release} holds no kernel image where one is expected")
    return image, read_config(tree / name for name in configs)


def package_modules(deb: Path, tree: Path, features: KernelFeatures) -> tuple[Module, ...]:
    """The drivers that a kernel of these features has as modules, out of the Debian package *deb*.

    :raise KernelUnfit: one that must be there is damaged, or what it needs is not in the package.
    :raise HostUnfit: the package is damaged, or a program to unpack it is missing.
    """
    # A package has four thousand modules; a second pass is only for what nobody foresaw.
    extract(deb, likely, tree)
    try:
        return of_kernel(features, find_modules(tree))
    except KernelUnfit:
        extract(deb, lambda file: module_name(file) is not None, tree)
        return of_kernel(features, find_modules(tree))


def read_config(paths: Iterable[Path]) -> str | None:
    """Text of the first of *paths* that can be read; ``None`` when none can."""
    for path in paths:
        try:
            with path.open(encoding="utf-8", errors="replace") as file:
                return file.read(_MAX_CONFIG)
        except OSError:
            continue
    return None
