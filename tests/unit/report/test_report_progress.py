# SPDX-License-Identifier: GPL-2.0-only
"""Progress, plain and live: every event has its line."""

import io
import re
from collections.abc import Iterator
from contextlib import closing

import pytest
from rich.console import Console

from ktstr.report.live import LiveProgress
from ktstr.report.plain import PlainProgress, describe
from ktstr.session.events import (
    Froze,
    Note,
    RunEvent,
    StageDone,
    StageProgress,
    StageStarted,
    StepEnded,
    StepStarted,
)

EVENTS: list[RunEvent] = [
    StageStarted("kernel", "kernel debian:7"),
    StageProgress("kernel", "fetching [x]", 0.25),
    StageProgress("kernel", "fetching [x]", 0.5),
    StageProgress("kernel", "unpacking", None),
    StageProgress("nobody", "of a stage that is not there", None),
    StageDone("kernel", "kernel 7.0", 1.25),
    StageDone("unknown", "never begun", 0.0),
    StepEnded(9),
    StepStarted(1, 2, "steady [red]", 2.0),
    Froze("periodic_000", 1300.0, 1.25, 13, None),
    Froze("periodic_001", 1400.0, 0.0, 0, "RuntimeError: no"),
    Froze("w", 1500.0, 2.0, 13, None, "v 1 -> 2 by f+0x1 on CPU 0"),
    StepEnded(1),
    StepStarted(2, 2, "zero", 0.0),
    StepStarted(2, 2, "again", 1.0),
    StepEnded(2),
    Froze("inside", 1600.0, None, 13, None),
    Note("a word"),
    Note("a \x1b[31mword", warning=True),
]
PLAIN = """\
kernel debian:7 ...
  ... fetching [x]
  ... unpacking
  ... of a stage that is not there
kernel 7.0 (1.2 s)
never begun (0.0 s)
Step[0] steady [red], 1 of 2 (2.0 s)
  periodic_000 at 1.3 s: 1.2 ms frozen, 13 maps
  periodic_001 at 1.4 s failed: RuntimeError: no
  w at 1.5 s: 2.0 ms frozen, 13 maps, v 1 -> 2 by f+0x1 on CPU 0
Step[1] zero, 2 of 2 (0.0 s)
Step[1] again, 2 of 2 (1.0 s)
  inside at 1.6 s: 13 maps
a word
warning: a ?[31mword
"""


def test_plain_progress_is_one_line_per_event() -> None:
    out = io.StringIO()
    with closing(PlainProgress(out)) as progress:
        for event in EVENTS:
            progress(event)
            progress.tick()
    assert out.getvalue() == PLAIN


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[float]]:
    now = [100.0]
    monkeypatch.setattr("ktstr.report.live.time.monotonic", lambda: now[0])
    yield now


def test_live_progress_leaves_the_finished_lines(clock: list[float]) -> None:
    out = io.StringIO()
    console = Console(
        file=out, force_terminal=True, color_system=None, width=120, legacy_windows=False
    )
    with closing(LiveProgress(console)) as progress:
        for event in EVENTS:
            progress(event)
            clock[0] += 0.5
            progress.tick()
        progress.close()
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|\r", "", out.getvalue())
    for line in (
        "✓ kernel 7.0 (1.2 s)",
        "✓ never begun (0.0 s)",
        "❄ periodic_000 at 1.3 s: 1.2 ms frozen, 13 maps",
        "✗ periodic_001 at 1.4 s failed: RuntimeError: no",
        "❄ w at 1.5 s: 2.0 ms frozen, 13 maps, v 1 -> 2 by f+0x1 on CPU 0",
        "✓ Step[0] steady [red], 1 of 2 (2.0 s)",
        "✓ Step[1] again, 2 of 2 (0.5 s)",
        "a word",
        "warning: a ?[31mword",
    ):
        assert f"{line}\n" in text, line
    assert out.getvalue().endswith("\x1b[?25h") or "\x1b[?25h" in out.getvalue()[-40:]
    assert "Step[8]" not in text


def test_the_bar_of_a_step_moves_with_time(clock: list[float]) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=120)
    with closing(LiveProgress(console)) as progress:
        progress(StepStarted(1, 1, "steady", 2.0))
        clock[0] += 0.5
        progress.tick()
        (task,) = progress._progress.tasks
        assert (task.completed, task.total) == (0.5, 2.0)
        clock[0] += 60.0
        progress.tick()
        assert task.completed == 2.0


def test_a_line_stays_a_line() -> None:
    assert "\n" not in describe(Note("two\nlines"))
