# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr kernel build``: a kernel from its source."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

from ktstr.cli.fetching import errors, progress_shown
from ktstr.errors import ExitCode

if TYPE_CHECKING:
    from ktstr.kernels.build.builder import Built


@click.command()
@click.argument("spec")
@click.option(
    "--config",
    "config",
    metavar="NAMES",
    default="base",
    show_default=True,
    help="Configuration fragments, with commas between them: names, or files such as ./my.config.",
)
@click.option(
    "-j", "--jobs", type=click.IntRange(min=1), help="Compilers at a time (default: one per CPU)."
)
def build(spec: str, config: str, jobs: int | None) -> None:
    """Build the kernel SPEC unless the cache has it.

    SPEC is debian-source:VERSION, git:URL#REF, tar:URL#sha256=HEX, path:FOLDER, or a name of the
    catalogue.
    """
    import anyio

    from ktstr.kernels import KernelCache
    from ktstr.kernels.build.builder import build_kernel
    from ktstr.kernels.catalogue import catalogued

    fragments = [name.strip() for name in config.split(",") if name.strip()]

    async def work(progress: Callable[[str, float | None], None]) -> "Built":
        return await build_kernel(
            catalogued(spec), cache=KernelCache(), progress=progress, fragments=fragments, jobs=jobs
        )

    started = time.monotonic()
    try:
        with errors(), progress_shown() as progress:
            built = anyio.run(work, progress)
    except KeyboardInterrupt:
        click.echo("interrupted: the same command goes on from here", err=True)
        sys.exit(int(ExitCode.INTERRUPTED))
    seconds = time.monotonic() - started
    for note in built.notes:
        click.echo(f"note: {note}", err=True)
    entry = built.entry
    click.echo(f"release   {entry.release}")
    click.echo(f"source    {entry.origin.get('source', '')}")
    click.echo(f"config    {entry.origin.get('fragments', '')}")
    click.echo(f"built by  {entry.origin.get('toolchain', '')}")
    click.echo(f"vmlinux   {entry.file('vmlinux')}")
    click.echo(f"digest    {entry.digest}")
    click.echo(f"{'built' if built.fresh else 'found in the cache'} in {_time(seconds)}")


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02} s"
