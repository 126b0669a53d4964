# SPDX-License-Identifier: GPL-2.0-only
"""Progress on a terminal: finished lines scroll up, what runs now has a bar."""

import time

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn

from ktstr.report.plain import describe
from ktstr.report.printable import one_line
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
from ktstr.session.record import phase_title


class LiveProgress:
    """Renders events with rich; call :meth:`tick` a few times a second."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}"),
            # Red, rich's default for what is not finished, would look like a failure.
            BarColumn(28, complete_style="cyan", finished_style="green", pulse_style="cyan"),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._stages: dict[str, TaskID] = {}
        self._step: tuple[TaskID, float, float] | None = None
        self._step_name = ""
        self._progress.start()

    def __call__(self, event: RunEvent) -> None:
        """Take one event."""
        match event:
            case StageStarted(key, text):
                self._stages[key] = self._progress.add_task(_label(text), total=None)
            case StageProgress(key, text, fraction):
                self._advance(key, text, fraction)
            case StageDone(key, _, _):
                task = self._stages.pop(key, None)
                if task is not None:
                    self._progress.remove_task(task)
                self._print(f"[green]✓[/] {escape(describe(event))}")
            case StepStarted(index, of, name, hold_s):
                self._end_step()
                self._step_name = f"{phase_title(index, name)}, {index} of {of}"
                task = self._progress.add_task(_label(self._step_name), total=hold_s)
                self._step = (task, time.monotonic(), hold_s)
            case StepEnded():
                held = self._end_step()
                if held is not None:
                    self._print(f"[green]✓[/] {_label(f'{self._step_name} ({held:.1f} s)')}")
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
            self._progress.update(task, description=_label(text), total=None)
        else:
            self._progress.update(task, description=_label(text), total=1.0, completed=fraction)

    def _end_step(self) -> float | None:
        """Take the bar away; seconds since it came, None when there was none."""
        if self._step is None:
            return None
        task, began, _ = self._step
        self._progress.remove_task(task)
        self._step = None
        return time.monotonic() - began

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


def _label(text: str) -> str:
    return escape(one_line(text))
