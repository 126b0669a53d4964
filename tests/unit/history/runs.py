# SPDX-License-Identifier: GPL-2.0-only
"""Runs that leave real records, without guests."""

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import anyio

from ktstr.errors import ExitCode
from ktstr.history.rows import Row
from ktstr.metrics import ScenarioStats
from ktstr.session.options import RunOptions
from ktstr.session.record import RunRecord
from ktstr.session.sidecar.write import write_sidecar
from ktstr.verdict import AssertDetail, AssertResult, DetailKind

_NUMBERS = itertools.count()


def row(
    metrics: Mapping[str, float], verdict: str = "pass", seed: int | None = None, **more: Any
) -> Row:
    """A run as comparisons see it."""
    clock = "wall" if seed is None else "virtual"
    return Row(Path("x"), "id", "x", verdict, 0, metrics=metrics, seed=seed, clock=clock, **more)


class Recorded:
    """Stands in for run_scenario: figures come from a function of the scenario's text and seed.

    :ivar made: text of the scenario file and options of each run, in order.
    """

    def __init__(self, figures: Callable[[str, int], Mapping[str, float] | str]) -> None:
        self._figures = figures
        self.made: list[tuple[str, RunOptions]] = []

    async def __call__(self, path: Path, options: RunOptions, emit: Any) -> RunRecord:
        text = await anyio.Path(path).read_text()
        found = self._figures(text, len(self.made))
        self.made.append((text, options))
        result = AssertResult()
        code = ExitCode.PASS
        if isinstance(found, str):
            result.record_fail(AssertDetail(DetailKind.STUCK, found))
            code = ExitCode.FAIL
        else:
            result.record_pass()
            result.stats = ScenarioStats(ext_metrics=dict(found))
        facts = {} if options.clock != "virtual" else {"virtual": {"seed": options.seed}}
        record = RunRecord(f"20260101-000000-{next(_NUMBERS):04x}", path.stem, code, result)
        record.facts = {"kernel": {"release": "7.2"}, **facts}
        record.sidecar = write_sidecar(options.out_dir, record)
        return record
