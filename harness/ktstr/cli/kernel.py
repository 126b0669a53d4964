# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr kernel``: list, fetch, build and clean the kernels guests boot."""

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import click

from ktstr.cli.fetching import errors, progress_shown
from ktstr.cli.kernel_build import build

if TYPE_CHECKING:
    from ktstr.kernels import CacheEntry, Kernel, KernelCache
    from ktstr.kernels.debian import DebianKernel

_MARKS = {True: "yes", False: "no", None: "?"}


@click.group()
def kernel() -> None:
    """Kernels that guests boot: list, fetch, build and clean them."""


kernel.add_command(build)


@kernel.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--remote", is_flag=True, help="Also list the Debian kernels that can be fetched.")
def list_(as_json: bool, remote: bool) -> None:
    """List the kernels in the cache with their features."""
    from ktstr.kernels import KernelCache

    cache = KernelCache()
    with errors():
        offered = _offered(cache) if remote else []
    if as_json:
        _print_json(cache, offered, remote)
        return
    entries = cache.entries()
    if entries:
        _print_entries(cache, entries)
    else:
        click.echo("no kernel in the cache: `ktstr kernel fetch debian:7` gets one")
    for digest, reason in cache.damaged().items():
        click.echo(f"{digest[:12]}  damaged: {reason} (made again when next used)")
    if remote:
        have = {entry.origin.get("package") for entry in entries}
        click.echo("\navailable from Debian (best choice first):")
        for one in offered:
            click.echo(
                f"  {one.release:34} {one.package.suite:19} {one.package.size / 1e6:5.1f} MB"
                f"{'' if one.signed else '  unsigned'}"
                f"{'  cached' if one.package.name in have else ''}"
            )


@kernel.command()
@click.argument("spec")
def fetch(spec: str) -> None:
    """Fetch and examine the kernel SPEC: debian:VERSION, path:FILE or host."""
    import anyio

    from ktstr.kernels import resolve_kernel

    async def work(progress: Callable[[str, float | None], None]) -> "Kernel":
        return await resolve_kernel(spec, progress=progress, need=())

    with errors(), progress_shown() as progress:
        found = anyio.run(work, progress)
    for note in found.notes:
        click.echo(f"note: {note}", err=True)
    click.echo(f"release   {found.release}")
    click.echo(f"image     {found.image}")
    click.echo(f"vmlinux   {found.vmlinux or 'could not be unpacked'}")
    click.echo(f"digest    {found.digest}")
    for name, value, reason in _features(found.features):
        click.echo(f"  {name:16}{_MARKS[value]}" + (f"  ({reason})" if reason else ""))


@kernel.command()
@click.option("--keep", type=click.IntRange(min=0), help="Keep the N most recently used (3).")
@click.option(
    "--all",
    "everything",
    is_flag=True,
    help="Remove every kernel not in use, and all sources and unfinished builds.",
)
def clean(keep: int | None, everything: bool) -> None:
    """Remove kernels from the cache; those in use by a run always stay."""
    from ktstr.kernels import KernelCache

    if everything and keep is not None:
        raise click.UsageError("--all and --keep exclude each other")
    cache = KernelCache()
    with errors():
        removed, busy = cache.clean(0 if everything else 3 if keep is None else keep)
    for entry in removed:
        click.echo(f"removed {entry.digest[:12]}  {entry.release}  {entry.size / 1e6:.0f} MB")
    for entry in busy:
        click.echo(f"kept    {entry.digest[:12]}  {entry.release}  in use")
    if everything:
        with errors():
            _clean_sources(cache)
    freed = sum(entry.size for entry in removed)
    click.echo(f"{len(removed)} removed, {freed / 1e6:.0f} MB freed")


def _clean_sources(cache: "KernelCache") -> None:
    from ktstr.kernels.build.builder import remove_builds
    from ktstr.kernels.build.source import remove_unused

    for what, folders in (("source", remove_unused(cache)), ("build", remove_builds(cache))):
        for folder in folders:
            click.echo(f"removed {folder.name[:12]}  {what}")


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


def _features(features: Any) -> Iterator[tuple[str, bool | None, str | None]]:
    from ktstr.kernels import FEATURES

    for name in FEATURES:
        yield name, getattr(features, name), features.why_not(name)


def _print_json(cache: "KernelCache", offered: "list[DebianKernel]", remote: bool) -> None:
    import json

    document: dict[str, Any] = {
        "cache": str(cache.root),
        "kernels": [
            {
                "digest": entry.digest,
                "release": entry.release,
                "spec": entry.spec,
                "origin": dict(entry.origin),
                "features": entry.features.to_dict(),
                "made_at": entry.made_at,
                "used_at": entry.used_at,
                "size": entry.size,
                "in_use": cache.in_use(entry),
            }
            for entry in cache.entries()
        ],
        "damaged": cache.damaged(),
    }
    if remote:
        document["available"] = [
            {
                "release": one.release,
                "package": one.package.name,
                "version": one.package.version,
                "suite": one.package.suite,
                "size": one.package.size,
                "signed": one.signed,
            }
            for one in offered
        ]
    click.echo(json.dumps(document, indent=2))


def _print_entries(cache: "KernelCache", entries: "list[CacheEntry]") -> None:
    """Two lines for each kernel, within 80 columns."""
    for entry in entries:
        origin = entry.origin.get("suite") or next(iter(entry.origin.values()), "")
        used = "in use" if cache.in_use(entry) else _ago(time.time() - entry.used_at)
        head = f"{entry.release:28}  {origin:18}  {entry.size / 1e6:3.0f} MB"
        click.echo(f"{head}  {used:10}  {entry.digest[:12]}")
        for word, state in (("has", True), ("lacks", False), ("unknown", None)):
            names = [name for name, value, _ in _features(entry.features) if value is state]
            if names:
                click.echo(f"    {word:8}{', '.join(names)}")


def _ago(seconds: float) -> str:
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.0f} {unit} ago"
    return "just now"
