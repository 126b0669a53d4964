# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr kernel``: list, fetch, build and clean the kernels guests boot."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ktstr.cli.command_line import BadCommandLine, Group
from ktstr.cli.fetching import errors, progress_shown
from ktstr.cli.kernel_build import build
from ktstr.cli.kernel_list import features_of, list_

if TYPE_CHECKING:
    from ktstr.kernels import Kernel, KernelCache

_MARKS = {True: "yes", False: "no", None: "?"}


@click.group(cls=Group)
def kernel() -> None:
    """Kernels that guests boot: list, fetch, build and clean them."""


kernel.add_command(build)
kernel.add_command(list_)


@kernel.command()
@click.argument("spec")
def fetch(spec: str) -> None:
    """Fetch and examine the kernel SPEC: debian:VERSION, path:FILE, host, a name, or a source."""
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
    if found.modules:
        click.echo(f"modules   {', '.join(module.name for module in found.modules)}")
    for name, value, reason in features_of(found.features):
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
        raise BadCommandLine("--all and --keep exclude each other")
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
