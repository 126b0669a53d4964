# SPDX-License-Identifier: GPL-2.0-only
"""What commands that fetch things have in common: how they end, and how they show progress."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import click

from ktstr.errors import KtstrError

_PLAIN_STEP = 0.25
_COUNT = re.compile(r"\d+ of ")
"""What of a stage's text changes all the time."""


@contextmanager
def errors() -> Iterator[None]:
    """End the command with the error's own exit code and its sentence on standard error."""
    try:
        yield
    except KtstrError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(int(error.exit_code))


@contextmanager
def progress_shown() -> Iterator[Callable[[str, float | None], None]]:
    """A bar on a terminal; plain lines on standard error, one per stage and quarter, elsewhere."""
    if sys.stderr.isatty():
        from rich.console import Console
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

        columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            task = bar.add_task("", total=None)

            def draw(stage: str, fraction: float | None) -> None:
                bar.update(
                    task,
                    description=stage,
                    total=None if fraction is None else 1.0,
                    completed=fraction or 0.0,
                )

            yield draw
        return
    last: tuple[str, int] | None = None

    def tell(stage: str, fraction: float | None) -> None:
        nonlocal last
        now = (_COUNT.sub("", stage), int((fraction or 0.0) / _PLAIN_STEP))
        if now != last:
            percent = "" if not now[1] else f" {now[1] * _PLAIN_STEP:.0%}"
            click.echo(f"{stage}{percent}", err=True)
            last = now

    yield tell
