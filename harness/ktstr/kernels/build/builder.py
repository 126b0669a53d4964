# SPDX-License-Identifier: GPL-2.0-only
"""From a source specification to a built kernel in the cache.

::

    ROOT/builds/KEY/{.config, build.log, vmlinux, …}    one build; gone when its kernel is kept
    ROOT/builds/counts.json                             files per series, for the bar
"""

import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from anyio import to_thread

from ktstr.errors import HostUnfit
from ktstr.kernels.apt import AptState, Progress
from ktstr.kernels.build.fragments import load_fragments, split_spec
from ktstr.kernels.build.make import LOG, compile_kernel, configure, refuse_built_in
from ktstr.kernels.build.recipe import Recipe
from ktstr.kernels.build.source import SourceTree, find_origin, locked, realize
from ktstr.kernels.build.toolchain import check_headers, find_toolchain
from ktstr.kernels.cache import CacheEntry, EntryDamaged, KernelCache, sha256_of
from ktstr.kernels.locks import exclusive_now
from ktstr.kernels.prepare import make_entry, read_config

_BUILD_SECONDS = 9 * 3600.0
_JOB_BYTES = 700 << 20
"""What one compiler, and at the end the one link, is taken to need."""

_MINIMUM_FREE = 4 << 30


@dataclass(frozen=True, slots=True)
class Built:
    """A kernel of the cache that was built here.

    :param fresh: it was built just now.
    """

    entry: CacheEntry
    fresh: bool
    notes: tuple[str, ...] = ()


async def build_kernel(
    spec: str,
    *,
    cache: KernelCache,
    progress: Progress,
    fragments: Sequence[str] = (),
    jobs: int | None = None,
    apt: AptState | None = None,
) -> Built:
    """The kernel that *spec* and the fragments mean, built when the cache does not have it.

    :param spec: a source, with names of fragments after plus signs if need be.
    :param fragments: more of them; ``base`` is always the first.
    :param jobs: how many compilers at a time; default: what the host has room for.
    :raise KernelUnfit: there is no such source, it does not take an option, or does not compile.
    :raise HostUnfit: this machine lacks a program, space or time for it.
    """
    spec, named = split_spec(spec)
    loaded = await to_thread.run_sync(load_fragments, (*named, *fragments))
    toolchain = await find_toolchain()
    origin = await find_origin(spec, cache=cache, progress=progress, apt=apt)
    recipe = Recipe(origin, loaded, toolchain)
    entry = await to_thread.run_sync(_kept, cache, recipe.key)
    if entry is not None:
        return Built(entry, False, origin.notes)
    await check_headers()
    async with cache.making(f"build {recipe.folder}", _BUILD_SECONDS):
        entry = await to_thread.run_sync(_kept, cache, recipe.key)
        if entry is not None:
            return Built(entry, False, origin.notes)
        source = await realize(origin, cache=cache, progress=progress)
        with locked(source, cache):
            entry = await _build(recipe, source, cache, jobs or default_jobs(), progress)
    return Built(entry, True, origin.notes)


def default_jobs() -> int:
    """Compilers that run at a time: one for each CPU, fewer where memory is short."""
    cpus = len(os.sched_getaffinity(0))
    free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            fields = dict(line.split(":", 1) for line in file)
        free = int(fields["MemAvailable"].split()[0]) << 10
    except (OSError, KeyError, ValueError, IndexError):
        pass  # the free pages alone are less than could be had, which does no harm
    return max(1, min(cpus, free // _JOB_BYTES))


def remove_builds(cache: KernelCache) -> list[Path]:
    """Remove the folders of builds that nobody is at work in, and return them."""
    removed = []
    for folder in (cache.root / "builds").glob("*/"):
        with exclusive_now(_lock(folder)) as free:
            if free:
                shutil.rmtree(folder, ignore_errors=True)
                _lock(folder).unlink(missing_ok=True)
                removed.append(folder)
    return removed


def _lock(folder: Path) -> Path:
    return folder.parent / f"{folder.name}.lock"


async def _build(
    recipe: Recipe, source: SourceTree, cache: KernelCache, jobs: int, progress: Progress
) -> CacheEntry:
    if not source.kept:
        refuse_built_in(source.path)
    build = cache.root / "builds" / recipe.folder
    build.mkdir(parents=True, exist_ok=True)
    with exclusive_now(_lock(build)) as free:
        if not free:
            raise HostUnfit(f"another process is at work in {build}", hint="try again")
        _see_room(build)
        await configure(recipe, source, build, progress)
        vmlinux = await compile_kernel(recipe, source, build, jobs, progress)
        progress(f"keeping linux {source.version}", None)
        entry = await to_thread.run_sync(partial(_keep, recipe, source, cache, build, vmlinux))
        if source.kept:  # nothing would ever be built there again
            await to_thread.run_sync(partial(shutil.rmtree, build, ignore_errors=True))
            _lock(build).unlink(missing_ok=True)
        return entry


def _keep(
    recipe: Recipe, source: SourceTree, cache: KernelCache, build: Path, vmlinux: Path
) -> CacheEntry:
    with cache.staging() as folder:
        plain = folder / "vmlinux"
        if recipe.keeps_dwarf:
            shutil.copyfile(vmlinux, plain)
        else:
            _strip(vmlinux, plain)
        origin = {
            **source.facts,
            "source_digest": source.digest,
            "fragments": recipe.names,
            "toolchain": str(recipe.toolchain),
            "recipes": " ".join(sorted({recipe.key, *_recipes(cache, sha256_of(plain))})),
        }
        entry = make_entry(
            cache,
            plain,
            folder,
            spec=source.facts["source"],
            origin=origin,
            config=read_config([build / ".config"]),
            keep=True,
        )
    shutil.copyfile(build / LOG, entry.path / LOG)
    return entry


def _recipes(cache: KernelCache, digest: str) -> list[str]:
    """Recipes that gave the same image before: the entry then stands for all of them."""
    found = (entry for entry in cache.entries() if entry.digest == digest)
    return [key for entry in found for key in entry.origin.get("recipes", "").split()]


def _strip(vmlinux: Path, dest: Path) -> None:
    """Copy without debug information, which is ten times the rest; types and symbols stay."""
    argv = ["objcopy", "--strip-debug", str(vmlinux), str(dest)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode:
        raise HostUnfit(f"objcopy could not copy {vmlinux}: {done.stderr.strip()[:300]}")


def _see_room(build: Path) -> None:
    """See that the disk has room for objects.

    :raise HostUnfit: it has less than a build takes.
    """
    free = shutil.disk_usage(build).free
    if free < _MINIMUM_FREE:
        raise HostUnfit(
            f"a build takes {_MINIMUM_FREE >> 30} GiB and {build} has {free / 2**30:.1f}",
            hint="`ktstr kernel clean --all`, or set XDG_CACHE_HOME",
        )


def _kept(cache: KernelCache, key: str) -> CacheEntry | None:
    digest = cache.find_recipe(key)
    if digest is None:
        return None
    try:
        return cache.find(digest)
    except EntryDamaged:
        return None
