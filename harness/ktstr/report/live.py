# SPDX-License-Identifier: GPL-2.0-only
"""Progress on a terminal: finished lines scroll up, what runs now has a bar."""

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from ktstr.report.plain import describe
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


class LiveProgress:
    """Renders events with rich; call :meth:`tick` a few times a second."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            BarColumn(bar_width=28),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._stages: dict[str, TaskID] = {}
        self._step: tuple[TaskID, float, float] | None = None
        self._progress.start()

    def __call__(self, event: RunEvent) -> None:
        """Take one event."""
        match event:
            case StageStarted(key, text):
                self._stages[key] = self._progress.add_task(escape(text), total=None)
            case StageProgress(key, text, fraction):
                self._advance(key, text, fraction)
            case StageDone(key, _, _):
                task = self._stages.pop(key, None)
                if task is not None:
                    self._progress.remove_task(task)
                self._print(f"[green]✓[/] {escape(describe(event))}")
            case StepStarted(index, of, name, hold_s):
                self._end_step()
                text = escape(f"step {index}/{of} {name}")
                self._step = (self._progress.add_task(text, total=hold_s), time.monotonic(), hold_s)
            case StepEnded(index):
                self._end_step()
                self._print(f"[green]✓[/] step {index}")
            case Froze(error=error):
                mark = "[cyan]❄[/]" if error is None else "[red]✗[/]"
                self._print(f"{mark} {escape(describe(event).strip())}")
            case Note(_, warning):
                style = "yellow" if warning else "dim"
                self._print(f"[{style}]{escape(describe(event))}[/]")

    def _advance(self, key: str, text: str, fraction: float | None) -> None:
        task = self._stages.get(key)
        if task is None:
            return
        if fraction is None:
            self._progress.update(task, description=escape(text), total=None)
        else:
            self._progress.update(task, description=escape(text), total=1.0, completed=fraction)

    def _end_step(self) -> None:
        if self._step is not None:
            self._progress.remove_task(self._step[0])
            self._step = None

    def _print(self, text: str) -> None:
        self._progress.console.print(text, highlight=False)

    def tick(self) -> None:
        """Move the bar of the running step."""
        if self._step is not None:
            task, began, hold_s = self._step
            self._progress.update(task, completed=min(hold_s, time.monotonic() - began))

    def close(self) -> None:
        """Give the terminal back."""
        self._progress.stop()
