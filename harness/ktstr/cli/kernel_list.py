# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr kernel list``: kernels with a name, kernels in the cache, kernels that can be had."""

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import click

from ktstr.cli.command_line import Command
from ktstr.cli.fetching import errors, progress_shown

if TYPE_CHECKING:
    from ktstr.kernels import CacheEntry, KernelCache
    from ktstr.kernels.boot_times import BootTimes
    from ktstr.kernels.catalogue import NamedKernel
    from ktstr.kernels.debian import DebianKernel

ORIGIN_CHARS = 18
"""Of where a kernel came from; the end of a file's name says more than its beginning."""


@click.command("list", cls=Command)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--remote", is_flag=True, help="Also list the Debian kernels that can be fetched.")
def list_(as_json: bool, remote: bool) -> None:
    """List the kernels that have a name, and those in the cache with their features."""
    from ktstr.kernels import KernelCache
    from ktstr.kernels.boot_times import BootTimes
    from ktstr.kernels.catalogue import cached, named_kernels

    cache = KernelCache()
    with errors():
        offered = _offered(cache) if remote else []
        rows = named_kernels().values()
    entries, times = cache.entries(), BootTimes(cache)
    named = [(row, cached(row, entries)) for row in rows]
    if as_json:
        _print_json(cache, entries, times, named, offered if remote else None)
        return
    _print_named(named)
    click.echo()
    _print_entries(cache, entries, times)
    for digest, reason in cache.damaged().items():
        click.echo(f"{digest[:12]}  damaged: {reason} (made again when next used)")
    if remote:
        _print_offered(offered, {entry.origin.get("package") for entry in entries})


def features_of(features: Any) -> Iterator[tuple[str, bool | None, str | None]]:
    """Name, state and, where it is not there, the reason of each feature."""
    from ktstr.kernels import FEATURES

    for name in FEATURES:
        yield name, getattr(features, name), features.why_not(name)


def _offered(cache: "KernelCache") -> "list[DebianKernel]":
    import anyio

    from ktstr.kernels import debian
    from ktstr.kernels.apt import AptState

    async def work(progress: Callable[[str, float | None], None]) -> "list[DebianKernel]":
        apt = AptState(cache.apt_root)
        for note in await apt.refresh(progress=progress):
            click.echo(f"note: {note}", err=True)
        return debian.available(await apt.find(debian.PACKAGES))

    with progress_shown() as progress:
        return anyio.run(work, progress)


def _print_named(named: "Sequence[tuple[NamedKernel, CacheEntry | None]]") -> None:
    """Two lines for each name: what it stands for and what of it is here, and what it is for."""
    click.echo("kernels with a name:")
    for row, entry in named:
        here = "not here yet" if entry is None else f"{entry.release}  {entry.digest[:12]}"
        click.echo(f"  {row.name:17} {row.spec:25} {here}")
        click.echo(f"      {row.note}")
        for surprise in _surprises(row, entry):
            click.echo(f"      {surprise}")


def _surprises(row: "NamedKernel", entry: "CacheEntry | None") -> Iterator[str]:
    """Where the kernel in the cache is not what the catalogue says."""
    if entry is None:
        return
    for name, state, why in features_of(entry.features):
        if name in row.has and state is not True:
            yield f"not as expected: {why}"
        elif name in row.lacks and state is True:
            yield f"not as expected: it has {name}"


def _print_entries(
    cache: "KernelCache", entries: "Sequence[CacheEntry]", times: "BootTimes"
) -> None:
    """A few lines for each kernel, within 80 columns."""
    if not entries:
        click.echo("no kernel in the cache: `ktstr kernel fetch debian:7` gets one")
        return
    click.echo("in the cache:")
    for entry in entries:
        used = "in use" if cache.in_use(entry) else _ago(time.time() - entry.used_at)
        head = f"{entry.release:28}  {_origin(entry):18}  {entry.size / 1e6:3.0f} MB"
        click.echo(f"{head}  {used:10}  {entry.digest[:12]}")
        if source := entry.origin.get("source"):
            click.echo(f"    {'source':8}{source}, {entry.origin.get('fragments', '')}")
        for word, state in (("has", True), ("lacks", False), ("unknown", None)):
            names = [name for name, value, _ in features_of(entry.features) if value is state]
            if names:
                click.echo(f"    {word:8}{', '.join(names)}")
        if modules := _module_names(entry):
            click.echo(f"    {'loads':8}{', '.join(modules)}")
        if known := times.of(entry.digest):
            click.echo(f"    {'boots':8}{'; '.join(map(str, known))}")


def _origin(entry: "CacheEntry") -> str:
    origin = entry.origin
    if "source" in origin:
        return "built here"
    if "suite" in origin:
        return origin["suite"]
    place = next(iter(origin.values()), "")
    return place if len(place) <= ORIGIN_CHARS else "…" + place[1 - ORIGIN_CHARS :]


def _module_names(entry: "CacheEntry") -> list[str]:
    from ktstr.kernels.modules import kept_modules

    return [module.name for module in kept_modules(entry)]


def _print_offered(offered: "Sequence[DebianKernel]", have: set[str | None]) -> None:
    """The flavour that is meant where none is named, and how to get the others."""
    from ktstr.kernels.debian import FLAVOURS

    usual, *others = FLAVOURS
    click.echo("\navailable from Debian (best choice first):")
    for one in offered:
        if one.flavour == usual:
            click.echo(
                f"  {one.release:34} {one.package.suite:19} {one.package.size / 1e6:5.1f} MB"
                f"{'' if one.signed else '  unsigned'}"
                f"{'  cached' if one.package.name in have else ''}"
            )
    for flavour in others:
        count = sum(1 for one in offered if one.flavour == flavour)
        click.echo(f"  and {count} of flavour {flavour}: debian:VERSION/{flavour}")


def _print_json(
    cache: "KernelCache",
    entries: "Sequence[CacheEntry]",
    times: "BootTimes",
    named: "Sequence[tuple[NamedKernel, CacheEntry | None]]",
    offered: "Sequence[DebianKernel] | None",
) -> None:
    import json
    from dataclasses import asdict

    document: dict[str, Any] = {
        "cache": str(cache.root),
        "catalogue": [
            {**asdict(row), "digest": None if entry is None else entry.digest}
            for row, entry in named
        ],
        "kernels": [
            {
                "digest": entry.digest,
                "release": entry.release,
                "spec": entry.spec,
                "origin": dict(entry.origin),
                "features": entry.features.to_dict(),
                "modules": _module_names(entry),
                "boots": [asdict(time) for time in times.of(entry.digest)],
                "made_at": entry.made_at,
                "used_at": entry.used_at,
                "size": entry.size,
                "in_use": cache.in_use(entry),
            }
            for entry in entries
        ],
        "damaged": cache.damaged(),
    }
    if offered is not None:
        document["available"] = [
            {
                "release": one.release,
                "flavour": one.flavour,
                "package": one.package.name,
                "version": one.package.version,
                "suite": one.package.suite,
                "size": one.package.size,
                "signed": one.signed,
            }
            for one in offered
        ]
    click.echo(json.dumps(document, indent=2))


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"
