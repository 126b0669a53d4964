# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr history``: the runs that are recorded, newest first."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from ktstr.cli.command_line import BadCommandLine, Command
from ktstr.cli.compare import DIMENSIONS, filter_options, row_filter
from ktstr.errors import ExitCode, KtstrError

if TYPE_CHECKING:
    from ktstr.cli.screen import Screen
    from ktstr.history.rows import Row

VERDICTS = ("pass", "skip", "inconclusive", "fail", "lost")


@click.command(cls=Command)
@click.argument(
    "folders", nargs=-1, type=click.Path(path_type=Path), metavar="[FOLDER | RECORD]..."
)
@filter_options(sides=False)
@click.option(
    "-E",
    "containing",
    default="",
    metavar="TEXT",
    help="Only runs whose scenario, topology, scheduler, work type or flags contain TEXT.",
)
@click.option("--verdict", multiple=True, type=click.Choice(VERDICTS), help="Only these verdicts.")
@click.option("--failed", is_flag=True, help="Only runs that failed, or whose guest was lost.")
@click.option(
    "--last",
    type=click.IntRange(min=1),
    default=20,
    show_default=True,
    metavar="N",
    help="The newest N runs.",
)
@click.option("--every", is_flag=True, help="All runs, not only the newest.")
@click.option(
    "--metric",
    "metrics",
    multiple=True,
    metavar="NAME",
    help="Show this metric of each run; repeatable.",
)
@click.option("--plot", metavar="NAME", help="A bar of this metric for each run, oldest first.")
@click.option(
    "--values", type=click.Choice(DIMENSIONS), help="The values that runs have, and how many."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
@click.option("--paths", is_flag=True, help="Print the records' file names only.")
@click.option(
    "--scenarios",
    is_flag=True,
    help="Print the scenarios' names only, each once: what is to be run again.",
)
def history(
    folders: tuple[Path, ...],
    containing: str,
    verdict: tuple[str, ...],
    failed: bool,
    last: int,
    every: bool,
    metrics: tuple[str, ...],
    plot: str | None,
    values: str | None,
    as_json: bool,
    paths: bool,
    scenarios: bool,
    **given: tuple[str, ...],
) -> None:
    """List the runs recorded in FOLDER (by default ktstr-runs) and the folders right below it.

    Exit status: 0, also when no run passes the filters; 4 when a folder cannot be read.
    """
    forms = [plot is not None, values is not None, as_json, paths, scenarios]
    if sum(forms) > 1:
        raise BadCommandLine("--plot, --values, --json, --paths and --scenarios are one each")
    from ktstr.cli.screen import Screen, open_standard_streams

    open_standard_streams()
    out = Screen(sys.stdout)
    try:
        from ktstr.history.pool import Damaged, load

        damaged: list[Damaged] = []
        rows = load(*(folders or (Path("ktstr-runs"),)), damaged=damaged)
        for each in damaged:
            click.echo(f"note: left out: {each.reason}", err=True)
        wanted = row_filter(given, containing)
        verdicts = {*verdict, *(("fail", "lost") if failed else ())}
        rows = [
            row for row in rows if wanted.takes(row) and (not verdicts or row.verdict in verdicts)
        ]
        whole = every or values is not None or scenarios
        _print(
            out, rows if whole else rows[-last:], metrics, plot, values, as_json, paths, scenarios
        )
    except KtstrError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(int(ExitCode.CANNOT_RUN))
    out.text.flush()


def _print(
    out: "Screen",
    rows: "list[Row]",
    metrics: tuple[str, ...],
    plot: str | None,
    values: str | None,
    as_json: bool,
    paths: bool,
    scenarios: bool,
) -> None:
    """Print the runs, given oldest first, in the one form that is asked for."""
    from rich.console import Console

    from ktstr.history.dimensions import Dimension
    from ktstr.report import history as report

    console = Console(file=out.text, soft_wrap=True, highlight=False)
    newest = rows[::-1]
    if as_json:
        json.dump([report.entry(row) for row in newest], out.text, indent=1, allow_nan=False)
        out.text.write("\n")
    elif paths:
        out.text.writelines(f"{row.path}\n" for row in newest)
    elif scenarios:
        out.text.writelines(f"{name}\n" for name in dict.fromkeys(row.scenario for row in newest))
    elif values is not None:
        out.text.writelines(f"{line}\n" for line in report.value_counts(rows, Dimension(values)))
    elif plot is not None:
        _check_measured(rows, plot)
        for line in report.plot(rows, plot):
            console.print(line)
    elif rows:
        for name in metrics:
            _check_measured(rows, name)
        for line in report.listing(newest, metrics or report.KEY_METRICS):
            console.print(line)
    else:
        click.echo("no run passes the filters", err=True)


def _check_measured(rows: "list[Row]", name: str) -> None:
    """Refuse a name that no run has and nobody knows: it is misspelt.

    :raise CannotRun: naming what might have been meant.
    """
    import difflib

    from ktstr.errors import CannotRun
    from ktstr.metrics.registry import METRICS

    known = {metric.name for metric in METRICS}.union(*(row.metrics for row in rows))
    if name not in known:
        near = difflib.get_close_matches(name, known, n=3)
        hint = f"did you mean {' or '.join(near)}?" if near else "ktstr metrics lists them"
        raise CannotRun(f"there is no metric {name!r}", hint=hint)
