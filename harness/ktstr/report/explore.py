# SPDX-License-Identifier: GPL-2.0-only
"""How many seeds of one scenario went: a line each, failures by class, how far metrics spread."""

import shlex
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from ktstr.errors import ExitCode
from ktstr.metrics import RENDER_SUPPRESSED_COMPONENTS, metric_def
from ktstr.report.many import worst
from ktstr.report.many_live import ManyProgress
from ktstr.report.metrics import MAIN
from ktstr.report.printable import figure, one_line
from ktstr.report.verdict import STYLES
from ktstr.session.events import Emit
from ktstr.session.explore import Exploration
from ktstr.session.options import RunOptions
from ktstr.session.seeds import FailureClass, Spread, Tried, failure_classes, spreads

SCHEMA: Final = 1
REASON_CHARS: Final = 160
MOST_CLASSES: Final = 20
SEEDS_SHOWN: Final = 8
_STYLES: Final = {**STYLES, "guest lost": STYLES["lost"]}


def repeat_command(scenario: str, options: RunOptions, seed: int, shift: int | None = None) -> str:
    """The command that runs one seed again, ready to paste."""
    words = ["ktstr-run", scenario, "--clock", "virtual", "--seed", str(seed)]
    if shift is not None:
        words += ["--icount-shift", str(shift)]
    flags = None if options.flags is None else "+".join(options.flags) or "default"
    for name, value in (
        ("--kernel", options.kernel),
        ("--topology", options.topology),
        ("--scheduler", options.scheduler),
        ("--flags", flags),
        ("--work-type", options.work_type),
    ):
        if value is not None:
            words += [name, value]
    return shlex.join(words)


class ExploreProgress:
    """Shows the seeds that run, and prints a line for each that ended.

    :param shown: takes both.
    :param of: how many seeds are due.
    """

    def __init__(self, shown: ManyProgress, of: int) -> None:
        self._shown = shown
        self._of = of
        self._ended = 0

    def running(self, seed: int) -> AbstractContextManager[Emit]:
        """Around one seed's run; what it gives takes the run's events."""
        return self._shown.running(f"seed {seed}")

    def tried(self, tried: Tried) -> None:
        """A seed's run has ended."""
        self._ended += 1
        self._shown.print(tried_line(tried, self._ended, self._of))


def tried_line(tried: Tried, number: int, of: int) -> Text:
    """One seed in one line."""
    line = Text(f"[{number:>{len(str(of))}}/{of}] ", style="dim")
    line.append(f"{tried.verdict.upper():<12} ", style=_STYLES.get(tried.verdict, ""))
    line.append(f"seed {tried.seed} ")
    line.append(f"{tried.wall_s:.1f} s", style="dim")
    if tried.reasons:
        line.append(f"  {one_line(tried.reasons[0], REASON_CHARS)}", style="dim")
    return line


def summary(
    exploration: Exploration, scenario: str, options: RunOptions, wall_s: float, *, whole: bool
) -> list[RenderableType]:
    """Classes of failures, the spread of metrics, the totals, and how to repeat the first failure.

    :param whole: show every metric, not only the few that matter.
    """
    tried = exploration.in_order()
    parts: list[RenderableType] = []
    if classes := failure_classes(tried):
        parts += [Text(), _class_table(classes[:MOST_CLASSES])]
        if len(classes) > MOST_CLASSES:
            parts.append(Text(f"... and {len(classes) - MOST_CLASSES} classes more", style="dim"))
    if table := _spread_table(spreads(tried), whole=whole):
        parts += [Text(), table]
    parts += [Text(), _totals(exploration, wall_s)]
    failure = exploration.first_failure()
    if failure is not None:
        parts.append(Text(f"seed {failure.seed} is the first that fails; to run it again:"))
        command = repeat_command(
            scenario, options, failure.seed, exploration.shift_of(failure.seed)
        )
        parts.append(Text(f"  {command}", style="bold"))
    return parts


def document(
    exploration: Exploration,
    scenario: str,
    options: RunOptions,
    wall_s: float,
    code: ExitCode,
) -> dict[str, Any]:
    """All of it, for programs."""
    tried = exploration.in_order()
    failure = exploration.first_failure()
    return {
        "schema": SCHEMA,
        "scenario": scenario,
        "exit_code": int(code),
        "wall_s": round(wall_s, 3),
        "due": len(exploration.seeds),
        "tried": len(tried),
        "verdicts": _counted(tried),
        "first_failure": None
        if failure is None
        else {
            "seed": failure.seed,
            "command": repeat_command(
                scenario, options, failure.seed, exploration.shift_of(failure.seed)
            ),
        },
        "classes": [
            {
                "verdict": each.verdict,
                "shape": each.shape,
                "seeds": list(each.seeds),
                "example": each.example,
            }
            for each in failure_classes(tried)
        ],
        "spreads": {
            each.metric: {
                "runs": each.runs,
                "min": each.low,
                "min_seed": each.low_seed,
                "median": each.median,
                "max": each.high,
                "max_seed": each.high_seed,
            }
            for each in spreads(tried)
        },
        "seeds": [_tried_document(each) for each in tried],
    }


def _tried_document(tried: Tried) -> dict[str, Any]:
    return {
        "seed": tried.seed,
        "verdict": tried.verdict,
        "exit_code": int(tried.exit_code),
        "wall_s": round(tried.wall_s, 3),
        "identity": tried.identity or None,
        "reasons": list(tried.reasons),
        "record": None if tried.record is None else str(Path(tried.record)),
    }


def exit_code(exploration: Exploration) -> ExitCode:
    """How the command is to exit: by the worst of what was tried."""
    return worst([each.exit_code for each in exploration.tried.values()])


def _class_table(classes: Sequence[FailureClass]) -> Table:
    table = _table("verdict", "runs", "seeds", "reason, # for any number", right=("runs",))
    for each in classes:
        table.add_row(
            Text(each.verdict, style=_STYLES.get(each.verdict, "")),
            str(len(each.seeds)),
            _some(each.seeds),
            Text(one_line(each.shape, REASON_CHARS)),
        )
    return table


def _some(seeds: Sequence[int]) -> str:
    shown = " ".join(str(seed) for seed in seeds[:SEEDS_SHOWN])
    return shown if len(seeds) <= SEEDS_SHOWN else f"{shown} …"


def _spread_table(found: Sequence[Spread], *, whole: bool) -> Table | None:
    shown = [
        each
        for each in found
        if (whole or each.metric in MAIN) and each.metric not in RENDER_SUPPRESSED_COMPONENTS
    ]
    if not shown:
        return None
    heads = ("metric", "unit", "runs", "min", "seed", "median", "max", "seed")
    table = _table(*heads, right=heads[2:])
    for each in shown:
        definition = metric_def(each.metric)
        table.add_row(
            Text(one_line(each.metric)),
            "" if definition is None else definition.display_unit,
            str(each.runs),
            figure(each.low),
            str(each.low_seed),
            figure(each.median),
            figure(each.high),
            str(each.high_seed),
        )
    return table


def _table(*heads: str, right: Sequence[str]) -> Table:
    table = Table(box=None, padding=(0, 1), pad_edge=False, header_style="bold")
    for head in heads:
        table.add_column(head, justify="right" if head in right else "left", no_wrap=True)
    return table


def _totals(exploration: Exploration, wall_s: float) -> Text:
    tried = exploration.in_order()
    seeds = "seed" if len(exploration.seeds) == 1 else "seeds"
    counted = ", ".join(f"{count} {verdict}" for verdict, count in _counted(tried).items())
    text = f"{len(tried)} of {len(exploration.seeds)} {seeds} tried: {counted or 'none ended'}"
    text += f"; {wall_s:.0f} s"
    if tried:
        text += f", {wall_s / len(tried):.1f} s each"
    good = exit_code(exploration) == ExitCode.PASS
    return Text(text, style="bold green" if good else "bold red")


def _counted(tried: Sequence[Tried]) -> dict[str, int]:
    """How often each verdict came, the most frequent first."""
    return dict(Counter(each.verdict for each in tried).most_common())
