# SPDX-License-Identifier: GPL-2.0-only
"""The live table of several runs: a row for each that runs, one over all, warnings once."""

import io
import re
from contextlib import closing

from rich.console import Console
from rich.text import Text

from ktstr.report.many_live import ManyProgress
from ktstr.session.events import Froze, Note, StepEnded, StepStarted
from ktstr.session.several import MAX_WARNINGS


def console(terminal: bool) -> tuple[Console, io.StringIO]:
    out = io.StringIO()
    kind = {"TERM": "xterm"} if terminal else {"TERM": "dumb"}
    return Console(file=out, force_terminal=terminal, width=120, _environ=kind), out


def plain(out: io.StringIO) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", out.getvalue())


def test_on_a_terminal_every_run_has_a_row() -> None:
    screen, out = console(True)
    with closing(ManyProgress(screen, 4)) as progress:
        with progress.running("first [x]") as first, progress.running("second"):
            first(StepStarted(1, 2, "steady", 2.0))
            progress.tick()
            seen = plain(out)
            assert "first [x]  Step[0] steady, 1 of 2 (2.0 s)" in seen and "second" in seen
            assert "2 running, 2 waiting" in seen
        progress.finished("pass")
        progress.finished("fail")
        progress.print(Text("[1/4] PASS first"))
        out.truncate(0)
        progress.tick()
        last = plain(out)
        assert "0 running, 2 waiting; 1 pass, 1 fail" in last
        assert "second" not in last


def test_elsewhere_only_what_is_printed_appears() -> None:
    screen, out = console(False)
    with closing(ManyProgress(screen, 1)) as progress, progress.running("a") as watch:
        watch(StepStarted(1, 1, "", 2.0))
        progress.tick()
        progress.print(Text("a line"))
    assert out.getvalue() == "a line\n"


def test_a_watch_adds_up_holds_and_keeps_warnings_once() -> None:
    screen, out = console(False)
    with closing(ManyProgress(screen, 1)) as progress, progress.running("a") as watch:
        watch(StepStarted(1, 2, "", 2.0))
        watch(StepEnded(1))
        watch(StepStarted(2, 2, "", 0.5))
        watch(Froze("p", 1.0, 1.0, 1, None))
        watch(Note("plain"))
        for number in range(MAX_WARNINGS + 5):
            for _ in range(2):
                watch(Note(f"warning {number}\x1b[2J", warning=True))
    assert watch.held_s == 2.5
    assert len(watch.warnings) == MAX_WARNINGS
    lines = out.getvalue().splitlines()
    assert len(lines) == MAX_WARNINGS and "\x1b" not in out.getvalue()
    assert lines[0].strip() == "a: warning: warning 0?[2J"
