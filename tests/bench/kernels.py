# SPDX-License-Identifier: GPL-2.0-only
"""Kernels: Debian's fetched into an empty cache, ktstr's own built and found again."""

import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ktstr.kernels import KernelCache, resolve_kernel
from ktstr.kernels.build.builder import build_kernel
from ktstr.kernels.build.source import ensure_source

SOURCE = "debian-source:6.12"


@dataclass
class Figures:
    """Seconds.

    :ivar fetched_s: from nothing to a Debian kernel that is ready to boot, index and download too.
    :ivar download_s: of that, while packages came over the network.
    :ivar built_s: a build of ``base`` from an unpacked source; empty when none was asked for.
    :ivar found_s: the same command when the kernel is there; empty when none was ever built.
    """

    fetched_s: list[float] = field(default_factory=list)
    download_s: list[float] = field(default_factory=list)
    built_s: list[float] = field(default_factory=list)
    found_s: list[float] = field(default_factory=list)


async def measure(runs: int, *, build: bool) -> Figures:
    """Fetch ``runs`` times, build once if asked to, and find what was built."""
    figures = Figures()
    for _ in range(runs):
        with tempfile.TemporaryDirectory(prefix="ktstr-bench-") as scratch:
            watch = _Downloads()
            began = time.monotonic()
            await resolve_kernel("debian:7", cache=KernelCache(Path(scratch)), progress=watch.see)
            figures.fetched_s.append(time.monotonic() - began)
            figures.download_s.append(watch.seconds())
    cache = KernelCache()
    if build:
        figures.built_s.append(await _built(cache))
    with suppress(_NotThere):
        for _ in range(runs):
            began = time.monotonic()
            await build_kernel(SOURCE, cache=cache, progress=_no_build)
            figures.found_s.append(time.monotonic() - began)
    return figures


async def _built(cache: KernelCache) -> float:
    """Seconds of a build, with the user's sources and an otherwise empty cache."""
    with tempfile.TemporaryDirectory(prefix="ktstr-bench-", dir=cache.root) as scratch:
        own = KernelCache(Path(scratch))
        # The tree is fetched and unpacked before the clock starts, into the user's cache.
        await ensure_source(SOURCE, cache=cache, progress=_unheard)
        for kept in ("sources", "apt"):
            (own.root / kept).symlink_to(cache.root / kept)
        began = time.monotonic()
        built = await build_kernel(SOURCE, cache=own, progress=_unheard)
        assert built.fresh
        return time.monotonic() - began


class _Downloads:
    """Sums the time in which stages called ``downloading`` lasted."""

    def __init__(self) -> None:
        self._total = 0.0
        self._since: float | None = None

    def see(self, stage: str, fraction: float | None) -> None:
        now = time.monotonic()
        if self._since is not None:
            self._total += now - self._since
        self._since = now if stage.startswith("downloading") else None

    def seconds(self) -> float:
        return self._total


class _NotThere(Exception):
    """The kernel would have to be built."""


def _no_build(stage: str, fraction: float | None) -> None:
    if stage.startswith(("unpacking", "configuring", "compiling")):
        raise _NotThere


def _unheard(stage: str, fraction: float | None) -> None:
    """Nobody looks on."""
