# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr kernel build``: a kernel from its source."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ktstr.cli.command_line import Command
from ktstr.cli.fetching import errors, progress_shown
from ktstr.errors import ExitCode

if TYPE_CHECKING:
    from ktstr.kernels.build.builder import Built


@click.command(cls=Command)
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
    catalogue. The schedulers of its source are made too, for `binary = "kernel:NAME"`.
    """
    import anyio

    from ktstr.kernels import KernelCache
    from ktstr.kernels.build.builder import build_kernel
    from ktstr.kernels.build.schedulers import all_schedulers
    from ktstr.kernels.catalogue import catalogued
    from ktstr.kernels.resolve import kernel_of

    fragments = [name.strip() for name in config.split(",") if name.strip()]

    made: dict[str, Path] = {}
    refused: dict[str, str] = {}

    async def work(progress: Callable[[str, float | None], None]) -> "Built":
        cache = KernelCache()
        built = await build_kernel(
            catalogued(spec), cache=cache, progress=progress, fragments=fragments, jobs=jobs
        )
        if built.fresh:
            with cache.locked(built.entry):
                done, failed = await all_schedulers(
                    kernel_of(built.entry), cache=cache, progress=progress
                )
            made.update(done)
            refused.update(failed)
        return built

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
    if made:
        click.echo(f"has       {', '.join(sorted(made))}")
    for name, why in sorted(refused.items()):
        click.echo(f"note: {name} of its source cannot be made: {why}", err=True)
    click.echo(f"{'built' if built.fresh else 'found in the cache'} in {_time(seconds)}")


def _time(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    return f"{int(seconds) // 60} min {int(seconds) % 60:02} s"
