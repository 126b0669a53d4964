# SPDX-License-Identifier: GPL-2.0-only
"""From what the user writes (``debian:7``, ``path:FILE``, ``host``) to a kernel ready to boot."""

import os
from collections.abc import AsyncIterator, Collection, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from anyio import from_thread, to_thread

from ktstr.errors import HostUnfit, KernelLacks, KernelUnfit
from ktstr.kernels import debian
from ktstr.kernels.apt import AptState, PackageVersion, Progress
from ktstr.kernels.cache import CacheEntry, EntryDamaged, KernelCache
from ktstr.kernels.catalogue import catalogued, close_names
from ktstr.kernels.kernel import Kernel, KernelFeatures, Module
from ktstr.kernels.modules import DRIVERS, beside, kept_modules, silent
from ktstr.kernels.prepare import (
    digest_of_image,
    make_entry,
    package_modules,
    read_config,
    remake_entry,
    unpack_packages,
)

FORMS = (
    "debian:VERSION (such as debian:7), path:FILE, host, a name of `ktstr kernel list`; to be"
    " built: debian-source:VERSION, git:URL#REF, tar:URL#sha256=HEX, path:FOLDER"
)
"""The kernel specifications there are, for messages and help."""

MODULES = "#modules="
"""Follows the file in ``path:FILE#modules=DIR``."""

SCHED_EXT = frozenset({"sched_ext"})
_INDEX_SURE_SECONDS = 600.0


async def resolve_kernel(
    spec: str,
    *,
    progress: Progress | None = None,
    cache: KernelCache | None = None,
    need: Collection[str] = SCHED_EXT,
    apt: AptState | None = None,
) -> Kernel:
    """Find, fetch if need be, and examine the kernel *spec* means.

    :param need: features it must not lack; ``()`` for a run without a sched_ext scheduler.
    :param apt: the package state to fetch through; default: the cache's own.
    :raise KernelUnfit: there is no such kernel, or it lacks a feature of *need*.
    :raise HostUnfit: this machine cannot fetch, unpack or store it.
    """
    cache = cache if cache is not None else KernelCache()
    request = _Request(spec, cache, progress or _silent, frozenset(need))
    kind, value = _parse(catalogued(spec))
    if kind == "debian":
        return await _debian(request, value, apt or AptState(cache.apt_root))
    if kind == "source":
        return await _source(request, value, apt)
    if kind == "path":
        file, _, folder = value.partition(MODULES)
        return await _path(request, Path(file), folder=Path(folder) if folder else None)
    return await _host(request, value)


@asynccontextmanager
async def open_kernel(
    spec: str,
    *,
    progress: Progress | None = None,
    cache: KernelCache | None = None,
    need: Collection[str] = SCHED_EXT,
) -> AsyncIterator[Kernel]:
    """:func:`resolve_kernel`, with the kernel's files held in the cache inside the block.

    :raise KernelUnfit: also when no word could come from a guest with it.
    """
    cache = cache if cache is not None else KernelCache()
    kernel = await resolve_kernel(spec, progress=progress, cache=cache, need=need)
    why = silent(kernel.features, kernel.modules)
    if why is not None:
        raise KernelUnfit(
            f"{spec} ({kernel.release}) could not be heard: {why}, and there is no such module"
            " beside it",
            hint=f"path:FILE{MODULES}DIR names the folder of its modules; debian:7 needs none",
        )
    with cache.locked(kernel.digest):
        yield kernel


def host_images(release: str, root: Path = Path("/")) -> tuple[Path, ...]:
    """Where distributions keep the image of an installed kernel."""
    return (
        root / f"boot/vmlinuz-{release}",
        root / f"lib/modules/{release}/vmlinuz",
        root / f"usr/lib/modules/{release}/vmlinuz",
    )


@dataclass(frozen=True, slots=True)
class _Request:
    """One resolution: what was asked, by which means, and what is required of the answer."""

    spec: str
    cache: KernelCache
    progress: Progress
    need: frozenset[str]

    def lacking(
        self, features: KernelFeatures, modules: Iterable[Module] = (), *, strict: bool = False
    ) -> str | None:
        """Why a kernel will not do: what it lacks and, if *strict*, what cannot be verified.

        :param modules: what is loaded into it, which is as good as built in.
        """
        accepted = (True,) if strict else (True, None)
        loaded = {module.name for module in modules}
        needed = {f for f in self.need if DRIVERS.get(f) not in loaded}
        lacks = sorted(f for f in needed if getattr(features, f) not in accepted)
        return "; ".join(features.why_not(f) or f for f in lacks) or None

    def kernel(
        self,
        entry: CacheEntry,
        notes: Iterable[str] = (),
        source: Path | None = None,
        modules: tuple[Module, ...] = (),
    ) -> Kernel:
        """The answer from a cache entry, or from *source* when that is the vmlinux itself."""
        found = kernel_of(entry, source)
        return replace(found, spec=self.spec, notes=tuple(notes), modules=modules or found.modules)


def kernel_of(entry: CacheEntry, source: Path | None = None) -> Kernel:
    """The kernel of a cache entry.

    :param source: the vmlinux, for an entry that holds no image because it stays where it lies.
    """
    kept = entry.file("image")
    image = kept or source
    assert image is not None
    return Kernel(
        spec=entry.spec,
        release=entry.release,
        image=image,
        vmlinux=entry.file("vmlinux") if kept else source,
        features=entry.features,
        digest=entry.digest,
        config=entry.file("config"),
        modules=kept_modules(entry),
        commit=entry.origin.get("commit"),
    )


def _parse(spec: str) -> tuple[str, str]:
    """The kind of *spec* and the version, absolute file name or release it speaks of."""
    from ktstr.kernels.build.fragments import split_spec
    from ktstr.kernels.build.source import is_source_spec

    if is_source_spec(split_spec(spec)[0]):
        return "source", spec
    kind, colon, value = spec.partition(":")
    if kind == "debian" and colon:
        return kind, value
    if kind == "path" and colon:
        file, mark, folder = value.partition(MODULES)
        return kind, mark.join(os.path.abspath(os.path.expanduser(p)) for p in (file, folder) if p)
    if spec == "host":
        return spec, os.uname().release
    if os.path.lexists(spec):
        return "path", os.path.abspath(spec)
    raise KernelUnfit(
        f"unknown kernel {spec!r}, and there is no such file",
        hint=f"{close_names(spec)}one of {FORMS}",
    )


def _host_image(release: str) -> Path:
    candidates = host_images(release)
    image = next((path for path in candidates if os.path.lexists(path)), None)
    if image is None:
        places = ", ".join(map(str, candidates))
        raise KernelUnfit(
            f"host: the image of the running kernel {release} is not on this machine: none of"
            f" {places}",
            hint="use debian:7, or path:FILE with the image this machine was booted from",
        )
    return image


def _silent(stage: str, fraction: float | None) -> None:
    """The progress callback of a caller that wants none."""


async def _debian(request: _Request, text: str, apt: AptState) -> Kernel:
    sought = debian.parse(text)
    if sought is None:
        raise KernelUnfit(
            f"{request.spec!r} names no version",
            hint="debian:7, debian:6.19, debian:7.1.13, or one of them with"
            f" {' or '.join('/' + flavour for flavour in debian.FLAVOURS[1:])} after it",
        )
    if len(debian.numbers(sought.version)) >= 3:  # one exact kernel: the index has nothing to add
        kernel = await _cached(request, sought, ())
        if kernel is not None:
            return kernel
    notes: list[str] = []
    try:
        notes += await apt.refresh(progress=request.progress)
        try:
            return await _from_index(request, sought, apt, notes)
        except HostUnfit:
            age = apt.age()
            if notes or age is None or age < _INDEX_SURE_SECONDS:
                raise  # the index is new, or could not be renewed just now
            # The archive drops a version when a newer one arrives: an old index lists it still.
            notes += await apt.refresh(max_age=0.0, progress=request.progress)
            return await _from_index(request, sought, apt, notes)
    except HostUnfit as error:
        kernel = await _cached(
            request, sought, (*notes, f"a kernel from the cache is used: {error.message}")
        )
        if kernel is None:
            raise
        request.progress(f"using {kernel.release} from the cache: {error.message}", None)
        return kernel


async def _from_index(
    request: _Request, sought: debian.Wanted, apt: AptState, notes: list[str]
) -> Kernel:
    kernels = debian.available(await apt.find(debian.PACKAGES))
    chosen = debian.choose(sought, kernels)
    if not chosen:
        raise KernelUnfit(
            f"{request.spec}: there is no prebuilt Debian kernel of that version",
            hint=debian.describe_choices(sought, kernels),
        )
    refused: list[str] = []
    for candidate in chosen:
        entry = await _debian_entry(request, candidate, apt, notes)
        why = request.lacking(entry.features, kept_modules(entry), strict=True)
        if why is None:
            return request.kernel(entry, [*notes, *(f"passed over {text}" for text in refused)])
        refused.append(f"{candidate.release}: {why}")
    raise KernelLacks(
        f"{request.spec}: no kernel of that version will do:\n  " + "\n  ".join(refused),
        hint=_hint(request),
    )


async def _cached(request: _Request, sought: debian.Wanted, notes: Iterable[str]) -> Kernel | None:
    """The newest whole Debian kernel in the cache that *sought* means, without any network."""
    entries = [
        entry
        for entry in request.cache.entries()
        if "package" in entry.origin
        and sought.means(entry.release)
        and request.lacking(entry.features, kept_modules(entry), strict=True) is None
    ]
    entries.sort(key=lambda entry: debian.numbers(entry.release), reverse=True)
    for entry in entries:
        found = await _find(request.cache, entry.digest, [])
        if found is not None:
            return request.kernel(found, notes)
    return None


async def _debian_entry(
    request: _Request, candidate: debian.DebianKernel, apt: AptState, notes: list[str]
) -> CacheEntry:
    cache, package = request.cache, candidate.package
    async with cache.making(f"{package.name} {package.version}"):
        digest = cache.find_package(package.name, package.version)
        entry = await _find(cache, digest, notes) if digest is not None else None
        if entry is not None:
            return entry
        damaged = cache.damaged()
        with cache.staging() as folder:
            debs = [await _fetch(request, apt, package, folder / "debs")]
            if candidate.base is not None:
                debs.append(await _fetch(request, apt, candidate.base, folder / "debs"))
            request.progress(f"unpacking and examining {candidate.release}", None)
            source, config = await to_thread.run_sync(
                unpack_packages, debs, folder / "tree", candidate.release
            )
            origin = {
                "package": package.name,
                "version": package.version,
                "suite": package.suite,
            }

            def modules(features: KernelFeatures) -> tuple[Module, ...]:
                mute = silent(features, ()) is not None
                if candidate.flavour == debian.FLAVOURS[0] and not mute:
                    return ()  # it has all drivers, and the package of its modules is large
                deb = debs[0]
                if candidate.modules is not None:
                    deb = from_thread.run(_fetch, request, apt, candidate.modules, folder / "debs")
                    stage = f"unpacking the drivers of {candidate.release}"
                    from_thread.run_sync(request.progress, stage, None)
                return package_modules(deb, folder / "modules", features)

            make = partial(
                make_entry, spec=request.spec, origin=origin, config=config, modules=modules
            )
            entry = await to_thread.run_sync(make, cache, source, folder)
        if digest is None and entry.digest in damaged:
            notes.append(_remade(entry.digest, damaged[entry.digest]))
        return entry


async def _fetch(request: _Request, apt: AptState, package: PackageVersion, dest: Path) -> Path:
    return await apt.fetch(
        package.name,
        dest,
        suite=package.suite,
        version=package.version,
        progress=request.progress,
    )


async def _path(
    request: _Request,
    path: Path,
    *,
    config: str | None = None,
    origin: str = "path",
    folder: Path | None = None,
) -> Kernel:
    cache = request.cache
    digest = await to_thread.run_sync(digest_of_image, path)
    notes: list[str] = []
    async with cache.making(digest):
        entry = await _find(cache, digest, notes)
        if entry is None:
            request.progress(f"examining {path.name}", None)
            with cache.staging() as staged:
                source = {origin: str(path)}
                make = partial(make_entry, spec=request.spec, origin=source, config=config)
                entry = await to_thread.run_sync(make, cache, path, staged)
    modules = await to_thread.run_sync(beside, path, entry.features, folder)
    why = request.lacking(entry.features, modules)
    if why is not None:
        raise KernelLacks(
            f"the kernel {path} ({entry.release}) will not do: {why}", hint=_hint(request)
        )
    unsure = request.lacking(entry.features, modules, strict=True)
    if unsure is not None:
        notes.append(unsure)
    return request.kernel(entry, notes, path, modules)


async def _source(request: _Request, spec: str, apt: AptState | None) -> Kernel:
    from ktstr.kernels.build.builder import build_kernel

    built = await build_kernel(spec, cache=request.cache, progress=request.progress, apt=apt)
    why = request.lacking(built.entry.features)
    if why is not None:
        raise KernelLacks(f"{spec}, built as {built.entry.release}, will not do: {why}")
    return request.kernel(built.entry, built.notes)


async def _host(request: _Request, release: str) -> Kernel:
    image = _host_image(release)
    configs = (image.with_name(f"config-{release}"), image.with_name("config"))
    return await _path(request, image, config=read_config(configs), origin="host")


async def _find(cache: KernelCache, digest: str, notes: list[str]) -> CacheEntry | None:
    """The whole entry *digest*; a damaged one is made again from its image if that is intact."""
    try:
        return await to_thread.run_sync(cache.find, digest)
    except EntryDamaged as error:
        notes.append(_remade(digest, str(error)))
    return await to_thread.run_sync(remake_entry, cache, digest)


def _remade(digest: str, reason: str) -> str:
    return f"the cached kernel {digest[:12]} was damaged and is made again: {reason}"


def _hint(request: _Request) -> str | None:
    return "debian:7 has sched_ext" if "sched_ext" in request.need else None
