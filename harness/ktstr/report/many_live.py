# SPDX-License-Identifier: GPL-2.0-only
"""What several runs are doing: on a terminal one live table with a row for each that runs."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.text import Text

from ktstr.report.plain import describe
from ktstr.report.printable import one_line
from ktstr.session.events import Froze, Note, Reading, RunEvent, StepEnded
from ktstr.session.several import Heard

LABEL_CHARS = 80


class Watch(Heard):
    """Takes one run's events: its moving line, its warnings, and how long its steps hold."""

    def __init__(self, shown: "ManyProgress", name: str, task: TaskID) -> None:
        super().__init__()
        self._shown = shown
        self._name = name
        self._task = task

    def __call__(self, event: RunEvent) -> None:
        """Take one event."""
        super().__call__(event)
        if not isinstance(event, StepEnded | Froze | Note | Reading):
            self._shown.describe(self._task, f"{self._name}  {describe(event)}")

    def warned(self, warning: str) -> bool:
        """Keep a warning, and show it when it is news."""
        news = super().warned(warning)
        if news:
            text = f"         {self._name}: {describe(Note(warning, warning=True))}"
            self._shown.print(Text(one_line(text), style="yellow"))
        return news


class ManyProgress:
    """A row over all runs and one for each that runs; finished lines scroll up.

    Where the console is no terminal only what is printed appears, as plain lines.

    :param total: how many runs there are.
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
        self._total = total
        self._verdicts: Counter[str] = Counter()
        self._running = 0
        self._all = self._progress.add_task("", total=total)
        self._progress.start()

    @contextmanager
    def running(self, name: str) -> Iterator[Watch]:
        """Show a run while the block lasts; what is given takes its events."""
        task = self._progress.add_task(escape(one_line(name, LABEL_CHARS)), total=None)
        self._running += 1
        self._tell()
        try:
            yield Watch(self, name, task)
        finally:
            self._running -= 1
            self._progress.remove_task(task)
            self._tell()

    def expect(self, total: int) -> None:
        """Take how many runs there are, where that was not known from the start."""
        self._total = total
        self._progress.update(self._all, total=total)
        self._tell()

    def finished(self, verdict: str) -> None:
        """Count one that is over."""
        self._verdicts[verdict] += 1
        self._progress.advance(self._all)
        self._tell()

    def _tell(self) -> None:
        counted = ", ".join(f"{count} {verdict}" for verdict, count in self._verdicts.items())
        waiting = self._total - self._verdicts.total() - self._running
        text = f"{self._running} running, {waiting} waiting" + (f"; {counted}" if counted else "")
        self._progress.update(self._all, description=escape(text))

    def describe(self, task: TaskID, text: str) -> None:
        """Say what a run does now."""
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
