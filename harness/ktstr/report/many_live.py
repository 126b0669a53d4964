# SPDX-License-Identifier: GPL-2.0-only
"""What several scenarios are doing: on a terminal a moving line for each one that runs."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from ktstr.report.plain import describe
from ktstr.report.printable import one_line
from ktstr.session.events import Froze, Note, RunEvent, StepEnded, StepStarted

LABEL_CHARS = 60


class Watch:
    """Takes one run's events: its moving line, its warnings, and how long its steps hold.

    :ivar held_s: what the steps that began ask for, seconds.
    """

    def __init__(self, shown: "ManyProgress", name: str, task: TaskID) -> None:
        self.held_s = 0.0
        self._shown = shown
        self._name = name
        self._task = task

    def __call__(self, event: RunEvent) -> None:
        """Take one event."""
        match event:
            case StepStarted(hold_s=hold_s):
                self.held_s += hold_s
            case Note(warning=True):
                text = f"         {self._name}: {describe(event)}"
                self._shown.print(Text(one_line(text), style="yellow"))
                return
            case StepEnded() | Froze() | Note():
                return
        self._shown.describe(self._task, f"{self._name}  {describe(event)}")


class ManyProgress:
    """A bar over all scenarios and a line for each that runs; finished lines scroll up.

    Where the console is no terminal only what is printed appears, as plain lines.

    :param total: how many scenarios there are.
    """

    def __init__(self, console: Console, total: int) -> None:
        self._console = console
        self._moves = console.is_terminal and not console.is_dumb_terminal
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(28, complete_style="cyan", finished_style="green", pulse_style="cyan"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not self._moves,
        )
        self._all = self._progress.add_task("all", total=total)
        self._progress.start()

    @contextmanager
    def running(self, name: str) -> Iterator[Watch]:
        """Show a scenario while the block runs it; what is given takes its events."""
        task = self._progress.add_task(escape(one_line(name, LABEL_CHARS)), total=None)
        try:
            yield Watch(self, name, task)
        finally:
            self._progress.remove_task(task)
        self._progress.advance(self._all)

    def describe(self, task: TaskID, text: str) -> None:
        """Say what a scenario does now."""
        self._progress.update(task, description=escape(one_line(text, LABEL_CHARS)))

    def print(self, line: Text) -> None:
        """A line that stays."""
        self._console.print(line, highlight=False)

    def tick(self) -> None:
        """Keep the clocks moving."""
        if self._moves:
            self._progress.refresh()

    def close(self) -> None:
        """Give the terminal back."""
        self._progress.stop()
