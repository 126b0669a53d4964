# SPDX-License-Identifier: GPL-2.0-only
"""``ktstr compare``: two sets of runs held against each other."""

import gc
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import click

from ktstr.cli.command_line import BadCommandLine, Command
from ktstr.errors import ExitCode, KtstrError

if TYPE_CHECKING:
    from ktstr.history.dimensions import RowFilter
    from ktstr.history.pool import Damaged
    from ktstr.history.rows import Row
    from ktstr.report.compare import Report

DIMENSIONS: Final = (
    *("kernel", "scheduler", "flags", "topology", "work-type", "project-commit"),
    *("kernel-commit", "run-source", "cpu-budget", "clock", "seed"),
)
"""Values of ``history.dimensions.Dimension``, here so that help needs no imports."""

NOTHING: Final = 2
"""Exit status when nothing could be compared."""

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def filter_options(sides: bool) -> Callable[[FunctionT], FunctionT]:
    """Options ``--kernel`` and so on; with ``sides`` also ``--a-kernel`` and ``--b-kernel``."""

    def add(function: FunctionT) -> FunctionT:
        for name in reversed(DIMENSIONS):
            for side in ("b-", "a-") if sides else ():
                function = click.option(
                    f"--{side}{name}", multiple=True, metavar="VALUE", hidden=True
                )(function)
            text = f"Only runs with this {name.replace('-', ' ')}"
            text += f"; --a-{name}, --b-{name} for one side." if sides else "; repeatable."
            function = click.option(f"--{name}", multiple=True, metavar="VALUE", help=text)(
                function
            )
        return function

    return add


def row_filter(given: dict[str, tuple[str, ...]], containing: str, side: str = "") -> "RowFilter":
    """The filter of the options; those of a side stand in place of the shared one."""
    from ktstr.history.dimensions import Dimension, RowFilter

    values = {}
    for each in Dimension:
        key = each.value.replace("-", "_")
        own = given.get(f"{side}_{key}", ()) if side else ()
        values[each] = tuple(own or given.get(key, ()))
    return RowFilter(values, containing)


@click.command(cls=Command)
@click.argument("places", nargs=-1, type=click.Path(path_type=Path), metavar="[A B | POOL]")
@filter_options(sides=True)
@click.option(
    "-E",
    "containing",
    default="",
    metavar="TEXT",
    help="Only runs whose scenario, topology, scheduler, work type or flags contain TEXT.",
)
@click.option(
    "--ignore",
    multiple=True,
    type=click.Choice(DIMENSIONS),
    help="Pair runs whatever this is; repeatable.",
)
@click.option("--no-phases", is_flag=True, help="Compare runs as a whole only.")
@click.option("--phases-only", is_flag=True, help="Compare phases only.")
@click.option(
    "--phase",
    "phases",
    multiple=True,
    type=click.IntRange(min=0),
    metavar="N",
    help="Of the phases, only Step[N]; repeatable.",
)
@click.option(
    "--policy",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Gates by metric, TOML or JSON.",
)
@click.option(
    "--threshold",
    type=click.FloatRange(min=0),
    metavar="PCT",
    help="Relative gate of every metric, percent.",
)
@click.option(
    "--alpha",
    type=click.FloatRange(0, 0.5, min_open=True),
    default=0.05,
    show_default=True,
    help="How often noise may be taken for a change.",
)
@click.option(
    "--no-test",
    is_flag=True,
    help="Leave noise out of account: gates on the figures of all runs together.",
)
@click.option(
    "--metrics-only",
    is_flag=True,
    help="A pass that became a fail is listed, and is no regression.",
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["text", "markdown", "json"]),
    default="text",
    show_default=True,
)
@click.option("--all", "everything", is_flag=True, help="Every row, also of what did not change.")
def compare(
    places: tuple[Path, ...],
    containing: str,
    ignore: tuple[str, ...],
    no_phases: bool,
    phases_only: bool,
    phases: tuple[int, ...],
    policy: Path | None,
    threshold: float | None,
    alpha: float,
    no_test: bool,
    metrics_only: bool,
    form: str,
    everything: bool,
    **given: tuple[str, ...],
) -> None:
    """Tell what got worse, what got better and what cannot be told between runs.

    A and B are folders of records, or records; A is the baseline. Of one POOL (by default
    ktstr-runs), filters of the sides make A and B: --a-kernel 6.12 --b-kernel 7.2. Values of one
    filter mean any of them, different filters all of them; a kernel of two numbers means its
    releases.

    Exit status: 0 no regression, 1 regressions, 2 nothing, or not what must not regress, could be
    compared, 4 bad input.
    """
    if len(places) > 2:
        raise BadCommandLine(f"found {len(places)} places; A and B are two, a pool is one")
    if policy is not None and threshold is not None:
        raise BadCommandLine("--policy and --threshold both say how large a change has to be")
    if no_phases and (phases_only or phases):
        raise BadCommandLine("--no-phases goes with neither --phases-only nor --phase")
    from ktstr.cli.screen import Screen, open_standard_streams

    open_standard_streams()
    out = Screen(sys.stdout)
    try:
        # Hundreds of thousands of small objects, without cycles, that live until the end.
        gc.disable()
        from ktstr.history.compare import Levels
        from ktstr.history.compare import compare as compared
        from ktstr.history.dimensions import Dimension
        from ktstr.history.policy import Policy
        from ktstr.report.compare import Report

        damaged: list[Damaged] = []
        filters = row_filter(given, containing, "a"), row_filter(given, containing, "b")
        ignored = [Dimension(each) for each in ignore]
        pools, sides = _sides(places, filters, ignored, damaged)
        gates = _policy(policy, pools) if policy else Policy(default_percent=threshold)
        steps = frozenset(each + 1 for each in phases) if phases else None
        comparison = compared(
            sides.a,
            sides.b,
            slicing=sides.slicing,
            ignored=ignored,
            policy=gates,
            levels=Levels(run=not phases_only, phases=not no_phases, steps=steps),
            alpha=alpha,
            test=not no_test,
            metrics_only=metrics_only,
        )
        remarks = _remarks(sides, pools, filters)
        report = Report(comparison, sides, tuple(remarks), tuple(_told(damaged)))
        _print(out, report, form, everything)
    except KtstrError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(int(ExitCode.CANNOT_RUN))
    finally:
        gc.enable()
    out.text.flush()
    if out.failure is not None and form != "text":
        click.echo(f"error: the output cannot be written: {out.failure.strerror}", err=True)
        sys.exit(int(ExitCode.CANNOT_RUN))
    sys.exit(comparison.exit_code)


def _sides(places: Any, filters: Any, ignored: Any, damaged: "list[Damaged]") -> Any:
    from ktstr.history.pool import load
    from ktstr.history.sides import one_pool, two_sets

    if len(places) == 2:
        a, b = (load(place, damaged=damaged) for place in places)
        return (a, b), two_sets(a, b, filters, _names(*places), ignored)
    rows = load(*(places or (Path("ktstr-runs"),)), damaged=damaged)
    return (rows, rows), one_pool(rows, filters)


def _names(a: Path, b: Path) -> tuple[str, str]:
    """What tells two places apart: their paths without what both begin with."""
    shared = 0
    for mine, theirs in zip(a.parts[:-1], b.parts[:-1], strict=False):
        if mine != theirs:
            break
        shared += 1
    return str(Path(*a.parts[shared:])), str(Path(*b.parts[shared:]))


def _policy(path: Path, pools: "tuple[list[Row], ...]") -> Any:
    from ktstr.history.policy import read_policy
    from ktstr.metrics.registry import METRICS

    known = {metric.name for metric in METRICS}
    for rows in pools:
        for row in rows:
            known |= row.metrics.keys()
            for phase in row.phases:
                known |= phase.metrics.keys()
    return read_policy(path, sorted(known))


def _remarks(sides: Any, pools: Any, filters: Any) -> list[str]:
    from ktstr.history.sides import remarks, why_none

    found = remarks(sides)
    for letter, taken, rows, wanted in zip("AB", (sides.a, sides.b), pools, filters, strict=True):
        if not taken:
            found += [f"{letter} is empty: {sentence}" for sentence in why_none(rows, wanted)]
    return found


def _told(damaged: "list[Damaged]") -> list[str]:
    if not damaged:
        return []
    shown = [f"left out: {each.reason}" for each in damaged[:5]]
    files = (
        "file that is no readable record"
        if len(damaged) == 1
        else ("files that are no readable records")
    )
    return [f"{len(damaged)} {files}", *shown]


def _print(out: Any, report: "Report", form: str, everything: bool) -> None:
    if form == "json":
        from ktstr.report.compare import document

        json.dump(document(report), out.text, indent=1, allow_nan=False)
        out.text.write("\n")
    elif form == "markdown":
        from ktstr.report.compare_markdown import markdown

        out.text.write(markdown(report))
    else:
        from rich.console import Console

        from ktstr.report.compare import print_report

        print_report(Console(file=out.text, soft_wrap=True), report, everything=everything)
